//! Live fan-out: 500 events a second, each sent at once, to 100 subscribers.

use std::time::Duration;

use super::steady::{self, Load};
use super::{Bench, CPU, EACH, ONCE, P50, P99, Side};
use crate::error::Result;
use crate::report::{Goal, Number, Row};
use crate::server::Cores;

/// What telling subscribers costs, without what storing costs.
const FANOUT: Number = Number {
    name: "fanout",
    what: "CPU per delivery, fan-out alone, us",
    scale: 1e6,
};

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let shared = load(bench, bench.size.pick(10, 10, 2), Duration::ZERO);
    let own = load(bench, shared.subscribers, Duration::ZERO);
    let linger = load(bench, shared.subscribers, Duration::from_millis(5));
    let mut rows = Vec::new();
    let goals = (Goal::AtMost(0.5), Goal::AtMost(1.0));
    rows.extend(compare(bench, "live, 10 conns", &[shared], goals).await?);
    // The same two baselines serve both: they know no linger.
    let goals = (Goal::AtMost(1.1), Goal::None);
    rows.extend(compare(bench, "live, own conns", &[own, linger], goals).await?);
    Ok(rows)
}

fn load(bench: &Bench, connections: usize, linger: Duration) -> Load {
    Load {
        writers: 1,
        rate: 500.0,
        subscribers: bench.size.pick(100, 100, 4),
        connections,
        linger,
        stalled: 0,
        window: Duration::from_millis(bench.size.pick(4000, 2000, 200)),
    }
}

/// The hub under the first load beside raw tonic under the same; and, where there is a second one, the hub under that.
async fn compare(bench: &Bench, name: &'static str, loads: &[Load], goals: (Goal, Goal)) -> Result<Vec<Row>> {
    let mut sides = vec![(Side::Hub, loads[0]), (Side::Each, loads[0]), (Side::Once, loads[0])];
    sides.extend(loads.get(1).map(|lingering| (Side::Hub, *lingering)));
    let rounds = bench.rounds(&sides, async |(side, load): (Side, Load)| {
        let started = side.start(bench, Cores::Any, &[], &[]).await?;
        steady::run(&started.server, load).await
    });
    let rounds = rounds.await?;
    let mut rows = Vec::new();
    for (beside, other) in [(1, EACH), (2, ONCE)] {
        let row = |number, goal| Row::of(name, &rounds, 0, (beside, other), number, goal);
        rows.extend([
            row(FANOUT, goals.0),
            row(CPU, Goal::None),
            row(P50, goals.1),
            row(P99, Goal::None),
        ]);
        if loads.len() > 1 {
            let row = |number, goal| Row::of("live, 5 ms linger", &rounds, 3, (beside, other), number, goal);
            rows.extend([
                row(FANOUT, Goal::AtMost(0.4)),
                row(CPU, Goal::None),
                row(P50, Goal::None),
            ]);
        }
    }
    Ok(rows)
}
