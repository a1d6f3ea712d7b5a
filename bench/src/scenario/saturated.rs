//! Subscribers that take as much as they can get.
//!
//! Believe this: each side is at its best. The raw server makes events itself, as fast as its slowest subscriber takes them; the hub's
//! subscribers stand behind, and read what the window has.

use std::time::Duration;

use super::steady::count;
use super::{Bench, CPU, Side, rows};
use crate::clock;
use crate::error::Result;
use crate::load::subscribers::{Subscribers, from_now, from_start, request};
use crate::load::writers::{Pace, Writers};
use crate::probe::Meter;
use crate::report::{Goal, Number, Row};
use crate::rounds::Sample;
use crate::server::Cores;

const PER_SECOND: Number = Number {
    name: "per_second",
    what: "deliveries per second",
    scale: 1.0,
};

/// Room for all events of any size of this.
const WINDOW: &[&str] = &["--window-bytes", "256MiB"];

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let events: u64 = bench.size.pick(20_000, 10_000, 200);
    let subscribers: usize = bench.size.pick(100, 100, 4);
    let sides = bench.sides();
    let rounds = bench.rounds(&sides, async |side: Side| {
        sample(bench, side, events, subscribers).await
    });
    let numbers = [(PER_SECOND, Goal::AtLeast(1.8)), (CPU, Goal::None)];
    Ok(rows("saturated", &rounds.await?, &sides, &numbers))
}

async fn sample(bench: &Bench, side: Side, events: u64, subscribers: usize) -> Result<Sample> {
    let (produce, listening) = (events.to_string(), subscribers.to_string());
    let raw = ["--produce", &produce, "--subscribers", &listening];
    let started = side.start(bench, Cores::First, WINDOW, &raw).await?;
    let server = &started.server;
    let (until, start) = if side.is_hub() {
        let writers = Writers::open(&server.target, 1, 1).await?;
        let written = writers.start(Pace::Batches { events, size: 250 }).finish().await?;
        (written.tail, from_start())
    } else {
        (events, from_now())
    };
    let meter = Meter::start(server.pid()?)?;
    let request = request(start, Duration::ZERO);
    let readers = Subscribers::begin(&server.target, subscribers, subscribers, &request, until).await?;
    let began = clock::now();
    readers.complete(until).await?;
    let usage = meter.stop()?;
    let seconds = readers.reached().saturating_sub(began).as_secs_f64();
    let delivered = count(readers.delivered().events);
    Ok(Sample::of(usage)
        .with("per_second", delivered / seconds)
        .with("cpu", usage.server_s / delivered))
}
