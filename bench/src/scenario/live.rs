//! Live fan-out: 500 events a second, each sent at once, to 100 subscribers.

use std::time::Duration;

use super::steady::{self, Load};
use super::{Bench, CPU, P50, P99, Side, rows};
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
    let mut told = Vec::new();
    let goals = (Goal::AtMost(0.5), Goal::AtMost(1.0));
    told.extend(compare(bench, "live, 10 conns", &[shared], goals).await?);
    // The same two baselines serve both: they know no linger.
    let goals = (Goal::AtMost(1.1), Goal::None);
    told.extend(compare(bench, "live, own conns", &[own, linger], goals).await?);
    Ok(told)
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
        missed_max: steady::missed_max(bench.size),
    }
}

/// The hub under the first load beside the others under the same; and, where there is a second one, the hub under that.
async fn compare(bench: &Bench, name: &'static str, loads: &[Load], goals: (Goal, Goal)) -> Result<Vec<Row>> {
    let sides = bench.sides();
    let mut runs: Vec<_> = sides.iter().map(|side| (*side, loads[0])).collect();
    runs.extend(loads.get(1).map(|lingering| (Side::Hub, *lingering)));
    let rounds = bench.rounds(&runs, async |(side, load): (Side, Load)| {
        let started = side.start(bench, Cores::Any, &[], &[]).await?;
        steady::run(&started.server, load).await
    });
    let rounds = rounds.await?;
    let numbers = [(FANOUT, goals.0), (CPU, Goal::None), (P50, goals.1), (P99, Goal::None)];
    let mut told = rows(name, &rounds, &sides, &numbers);
    if loads.len() > 1 {
        let numbers = [(FANOUT, Goal::AtMost(0.4)), (CPU, Goal::None), (P50, Goal::None)];
        for (at, side) in sides.iter().enumerate().skip(1) {
            let row = |(number, goal)| {
                Row::of(
                    "live, 5 ms linger",
                    &rounds,
                    sides.len(),
                    (at, side.name()),
                    number,
                    goal,
                )
            };
            told.extend(numbers.map(row));
        }
    }
    Ok(told)
}
