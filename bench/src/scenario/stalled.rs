//! How late events come to those who read while one reader in ten does not.

use std::time::Duration;

use super::steady::{self, Load};
use super::{Bench, CPU, P50, P99, Side};
use crate::error::Result;
use crate::report::{Goal, Row};
use crate::server::Cores;

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let load = |stalled| Load {
        writers: 1,
        rate: 500.0,
        subscribers: bench.size.pick(90, 90, 4),
        connections: bench.size.pick(9, 9, 2),
        linger: Duration::ZERO,
        stalled,
        window: Duration::from_millis(bench.size.pick(4000, 2000, 200)),
        missed_max: steady::missed_max(bench.size),
    };
    let sides = [load(bench.size.pick(10, 10, 1)), load(0)];
    let rounds = bench.rounds(&sides, async |load: Load| {
        let started = Side::Hub.start(bench, Cores::Any, &[], &[]).await?;
        steady::run(&started.server, load).await
    });
    let rounds = rounds.await?;
    let row = |number, goal| Row::of("1 in 10 stalled", &rounds, 0, (1, "hub, none stalled"), number, goal);
    Ok(vec![
        row(P99, Goal::AtMost(1.1)),
        row(P50, Goal::None),
        row(CPU, Goal::None),
    ])
}
