//! The whole hub, durable and resumable, beside a server that is neither.

use std::time::Duration;

use super::steady::{self, Load};
use super::{Bench, P50, P99, Side, rows};
use crate::error::Result;
use crate::report::{Goal, Number, Row};
use crate::server::Cores;

/// Deliveries for each second of CPU, publishing and storing included.
const PER_CPU: Number = Number {
    name: "per_cpu_second",
    what: "deliveries per CPU second, all in",
    scale: 1.0,
};
const BATCH: Number = Number {
    name: "batch",
    what: "events per frame",
    scale: 1.0,
};

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let load = Load {
        writers: bench.size.pick(16, 16, 2),
        rate: bench.size.pick(4000.0, 4000.0, 200.0),
        subscribers: bench.size.pick(100, 100, 4),
        connections: bench.size.pick(4, 4, 2),
        linger: Duration::ZERO,
        stalled: 0,
        window: Duration::from_millis(bench.size.pick(4000, 2000, 200)),
        missed_max: steady::missed_max(bench.size),
    };
    let sides = bench.sides();
    let rounds = bench.rounds(&sides, async |side: Side| {
        let started = side.start(bench, Cores::Any, &[], &[]).await?;
        steady::run(&started.server, load).await
    });
    let numbers = [
        (PER_CPU, Goal::AtLeast(0.9)),
        (P50, Goal::None),
        (P99, Goal::None),
        (BATCH, Goal::None),
    ];
    Ok(rows("whole hub", &rounds.await?, &sides, &numbers))
}
