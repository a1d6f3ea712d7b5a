//! Durable appends: each writer waits for one event before it sends the next.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::steady::count;
use super::{Bench, Side};
use crate::baseline::bare::Report;
use crate::clock;
use crate::error::Result;
use crate::load::writers::{Pace, Writers};
use crate::probe::Meter;
use crate::report::{Goal, Number, Row};
use crate::rounds::{Sample, quantile};
use crate::server::{self, Cores, Data, Server};

/// Most connections that writers share.
const CONNECTIONS_MAX: usize = 16;

const PER_SECOND: Number = Number {
    name: "per_second",
    what: "events per second",
    scale: 1.0,
};
const CPU: Number = Number {
    name: "cpu",
    what: "CPU per event, us",
    scale: 1e6,
};
const P50: Number = Number {
    name: "p50",
    what: "p50 of an acknowledgement, us",
    scale: 1e6,
};
const P99: Number = Number {
    name: "p99",
    what: "p99 of an acknowledgement, us",
    scale: 1e6,
};

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let loads = [
        ("append, 1 writer", 1),
        ("append, 16", bench.size.pick(16, 16, 2)),
        ("append, 256", bench.size.pick(256, 256, 4)),
    ];
    for (name, writers) in loads {
        let time = Duration::from_millis(bench.size.pick(3000, 1500, 200));
        let (other, goal) = match bench.beside {
            Some(_) => (Some(Side::OtherHub), Goal::None),
            None => (None, Goal::AtLeast(0.7)),
        };
        let sides = [Some(Side::Hub), other];
        let rounds = bench.rounds(&sides, async |side: Option<Side>| match side {
            Some(side) => hub(bench.program(side), writers, time).await,
            None => bare(bench, writers, time).await,
        });
        let rounds = rounds.await?;
        let beside = other.map_or("bare SQLite", Side::name);
        let row = |number, goal| Row::of(name, &rounds, 0, (1, beside), number, goal);
        rows.push(row(PER_SECOND, goal));
        rows.extend([CPU, P50, P99].map(|number| row(number, Goal::None)));
    }
    Ok(rows)
}

async fn hub(program: &Path, writers: usize, time: Duration) -> Result<Sample> {
    let data = Data::new()?;
    let server = Server::hub(program, &data, Cores::Any, &[]).await?;
    let writers = Writers::open(&server.target, writers, writers.min(CONNECTIONS_MAX)).await?;
    let writing = writers.start(Pace::OneByOne);
    tokio::time::sleep(time / 4).await;
    let (began, meter) = (clock::now(), Meter::start(server.pid()?)?);
    tokio::time::sleep(time).await;
    let (ended, usage) = (clock::now(), meter.stop()?);
    let written = writing.stop().await?;
    let within = written
        .acknowledgements
        .iter()
        .filter(|(at, _)| (began..ended).contains(at));
    let mut took: Vec<Duration> = within.map(|(_, took)| *took).collect();
    took.sort_unstable();
    let stored = count(took.len() as u64);
    Ok(Sample::of(usage)
        .with("per_second", stored / ended.saturating_sub(began).as_secs_f64())
        .with("cpu", usage.server_s / stored)
        .with("p50", quantile(&took, 0.50))
        .with("p99", quantile(&took, 0.99)))
}

async fn bare(bench: &Bench, writers: usize, time: Duration) -> Result<Sample> {
    let data = Data::new()?;
    let hub = Server::hub(&bench.hub, &data, Cores::Any, &[]).await?;
    drop(Writers::open(&hub.target, writers, writers.min(CONNECTIONS_MAX)).await?);
    hub.terminate().await?;
    let args: [OsString; 6] = [
        "--database".into(),
        data.database().into(),
        "--writers".into(),
        writers.to_string().into(),
        "--millis".into(),
        time.as_millis().to_string().into(),
    ];
    // The baseline measures itself; here only what others take is looked at. Its own work is counted off below.
    let meter = Meter::start(std::process::id())?;
    let report: Report = serde_json::from_str(&server::bare(&args).await?)?;
    let mut usage = meter.stop()?;
    let all = report.cpu_s * usage.wall_s / report.wall_s;
    usage.others_cores = (usage.others_cores - all / usage.wall_s).max(0.0);
    usage.server_s = report.cpu_s;
    let stored = count(report.stored);
    Ok(Sample::of(usage)
        .with("per_second", stored / report.wall_s)
        .with("cpu", report.cpu_s / stored)
        .with("p50", report.p50_s)
        .with("p99", report.p99_s))
}
