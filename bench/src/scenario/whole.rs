//! The whole hub, durable and resumable, beside a server that is neither.

use std::time::Duration;

use super::steady::{self, Load};
use super::{Bench, EACH, ONCE, P50, P99, Side};
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
    };
    let rounds = bench.rounds(&[Side::Hub, Side::Each, Side::Once], async |side: Side| {
        let started = side.start(bench, Cores::Any, &[], &[]).await?;
        steady::run(&started.server, load).await
    });
    let rounds = rounds.await?;
    let mut rows = Vec::new();
    for (beside, other) in [(1, EACH), (2, ONCE)] {
        let row = |number, goal| Row::of("whole hub", &rounds, 0, (beside, other), number, goal);
        rows.push(row(PER_CPU, Goal::AtLeast(0.9)));
        rows.extend([P50, P99, BATCH].map(|number| row(number, Goal::None)));
    }
    Ok(rows)
}
