//! Everybody comes back at once.

use std::time::Duration;

use super::steady::count;
use super::{Bench, Side, rows};
use crate::clock;
use crate::error::Result;
use crate::load::connection::Target;
use crate::load::subscribers::{Subscribers, from_now, request};
use crate::load::writers::{Pace, Writers};
use crate::probe::Meter;
use crate::report::{Goal, Number, Row};
use crate::rounds::Sample;
use crate::server::Cores;
use bellboard_proto::v1::subscribe_request::Start;

const TIME: Number = Number {
    name: "time",
    what: "until all have all, connecting included, ms",
    scale: 1e3,
};
const CPU: Number = Number {
    name: "cpu",
    what: "CPU per event, us",
    scale: 1e6,
};

/// Events that each has missed.
const MISSED: u64 = 100;

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut told = Vec::new();
    let sides = bench.sides();
    let connections = bench.size.pick(50, 50, 2);
    let loads = [
        ("storm of 1,000", bench.size.pick(1000, 1000, 4)),
        ("storm of 5,000", bench.size.pick(5000, 2000, 8)),
    ];
    for (name, subscribers) in loads {
        let rounds = bench.rounds(&sides, async |side: Side| {
            let kept = MISSED.to_string();
            let started = side.start(bench, Cores::Any, &[], &["--preload", &kept]).await?;
            let server = &started.server;
            let (token, tail) = match side {
                Side::Hub | Side::OtherHub => missed(&server.target).await?,
                Side::Each | Side::Once => ("0".to_owned(), MISSED),
            };
            let request = request(Start::ResumeToken(token), Duration::ZERO);
            let (began, meter) = (clock::now(), Meter::start(server.pid()?)?);
            let readers = Subscribers::begin(&server.target, subscribers, connections, &request, tail).await?;
            readers.complete(tail).await?;
            let usage = meter.stop()?;
            Ok(Sample::of(usage)
                .with("time", readers.reached().saturating_sub(began).as_secs_f64())
                .with("cpu", usage.server_s / count(readers.delivered().events)))
        });
        let numbers = [(TIME, Goal::AtMost(1.5)), (CPU, Goal::None)];
        told.extend(rows(name, &rounds.await?, &sides, &numbers));
    }
    Ok(told)
}

/// A place that [`MISSED`] events follow, and the tail.
async fn missed(target: &Target) -> Result<(String, u64)> {
    let writers = Writers::open(target, 1, 1).await?;
    let reader = Subscribers::open(target, 1, 1, &request(from_now(), Duration::ZERO)).await?;
    let token = reader.token();
    drop(reader);
    let (events, size) = (MISSED, MISSED);
    let written = writers.start(Pace::Batches { events, size }).finish().await?;
    Ok((token, written.tail))
}
