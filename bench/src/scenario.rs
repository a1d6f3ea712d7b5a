//! What is measured.
//!
//! Believe this: a scenario says what load both sides get and which numbers are compared; how, is the same for all of them.

mod steady;
mod live;
mod whole;
mod saturated;
mod append;
mod replay;
mod storm;
mod memory;
mod stalled;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Result;
use crate::report::{Goal, Number, Row};
use crate::rounds::{Plan, Rounds, Sample, rounds};
use crate::server::{Cores, Data, Server};

/// How large the loads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Size {
    /// As the goals say.
    Full,
    /// Small.
    Quick,
    /// As small as shows that it works.
    Smoke,
}

impl Size {
    /// One of three.
    pub(crate) fn pick<T>(self, full: T, quick: T, smoke: T) -> T {
        match self {
            Size::Full => full,
            Size::Quick => quick,
            Size::Smoke => smoke,
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 100 subscribers at 500 events/s: on shared connections, on own ones, with a linger.
    Live,
    /// 16 writers and 100 subscribers at a fixed rate, all in.
    Whole,
    /// 100 subscribers that take as much as they can get.
    Saturated,
    /// Durable appends of 1, 16 and 256 writers that each wait for the last one.
    Append,
    /// 100,000 events from their beginning, and 50,000 from a resume token.
    Replay,
    /// 1,000 and 5,000 subscribers that come back at once.
    Storm,
    /// What an idle stream and a stalled reader hold.
    Memory,
    /// How late events come while one reader in ten has stopped to read.
    Stalled,
}

impl Scenario {
    /// All, in the order in which they run.
    pub(crate) const ALL: [Scenario; 8] = [
        Scenario::Live,
        Scenario::Whole,
        Scenario::Saturated,
        Scenario::Append,
        Scenario::Replay,
        Scenario::Storm,
        Scenario::Memory,
        Scenario::Stalled,
    ];

    /// Its name, as typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Scenario::Live => "live",
            Scenario::Whole => "whole",
            Scenario::Saturated => "saturated",
            Scenario::Append => "append",
            Scenario::Replay => "replay",
            Scenario::Storm => "storm",
            Scenario::Memory => "memory",
            Scenario::Stalled => "stalled",
        }
    }

    /// Runs it.
    pub(crate) async fn run(self, bench: &Bench) -> Result<Vec<Row>> {
        match self {
            Scenario::Live => live::run(bench).await,
            Scenario::Whole => whole::run(bench).await,
            Scenario::Saturated => saturated::run(bench).await,
            Scenario::Append => append::run(bench).await,
            Scenario::Replay => replay::run(bench).await,
            Scenario::Storm => storm::run(bench).await,
            Scenario::Memory => memory::run(bench).await,
            Scenario::Stalled => stalled::run(bench).await,
        }
    }
}

/// How everything is measured.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// The hub's program.
    pub(crate) hub: PathBuf,
    /// Another hub's program, to be met in place of the baselines.
    pub(crate) beside: Option<PathBuf>,
    /// How large the loads are.
    pub(crate) size: Size,
    /// How many rounds.
    pub(crate) plan: Plan,
}

/// A server of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The hub.
    Hub,
    /// Another build of it.
    OtherHub,
    /// Raw tonic that encodes for every subscriber.
    Each,
    /// Raw tonic that encodes once.
    Once,
}

/// A server, and its data if it has some.
#[derive(Debug)]
struct Started {
    server: Server,
    /// Removed when the server is dropped.
    _data: Option<Data>,
}

impl Side {
    /// Its name in tables.
    const fn name(self) -> &'static str {
        match self {
            Side::Hub => "hub",
            Side::OtherHub => "the other hub",
            Side::Each => "raw tonic",
            Side::Once => "raw tonic, once",
        }
    }

    const fn is_hub(self) -> bool {
        matches!(self, Side::Hub | Side::OtherHub)
    }

    /// Starts a fresh one.
    async fn start(self, bench: &Bench, cores: Cores, hub: &[&str], raw: &[&str]) -> Result<Started> {
        let encode = match self {
            Side::Hub | Side::OtherHub => {
                let data = Data::new()?;
                let server = Server::hub(bench.program(self), &data, cores, hub).await?;
                return Ok(Started {
                    server,
                    _data: Some(data),
                });
            }
            Side::Each => "each",
            Side::Once => "once",
        };
        let flags = [&["--encode", encode], raw].concat();
        Ok(Started {
            server: Server::raw(cores, &flags).await?,
            _data: None,
        })
    }
}

impl Bench {
    /// The hub, and whatever streams are measured beside.
    fn sides(&self) -> Vec<Side> {
        match &self.beside {
            Some(_) => vec![Side::Hub, Side::OtherHub],
            None => vec![Side::Hub, Side::Each, Side::Once],
        }
    }

    /// The program of a side that is a hub.
    fn program(&self, side: Side) -> &Path {
        match (side, &self.beside) {
            (Side::OtherHub, Some(other)) => other,
            (Side::Hub | Side::OtherHub | Side::Each | Side::Once, _) => &self.hub,
        }
    }

    async fn rounds<S: Copy>(&self, sides: &[S], run: impl AsyncFnMut(S) -> Result<Sample>) -> Result<Rounds> {
        // Where hubs put their data: the disk that is waited for.
        rounds(self.plan, &std::env::temp_dir(), sides, run).await
    }
}

/// Rows of the first side beside each of the others.
fn rows(name: &'static str, rounds: &Rounds, sides: &[Side], numbers: &[(Number, Goal)]) -> Vec<Row> {
    let others = sides.iter().enumerate().skip(1);
    let row = |(at, side): (usize, &Side)| {
        let beside = (at, side.name());
        let row = move |(number, goal): &(Number, Goal)| Row::of(name, rounds, 0, beside, *number, *goal);
        numbers.iter().map(row)
    };
    others.flat_map(row).collect()
}

/// CPU of the server for each event that a subscriber was given.
const CPU: Number = Number {
    name: "cpu",
    what: "CPU per delivery, us",
    scale: 1e6,
};
/// How long half of the events took.
const P50: Number = Number {
    name: "p50",
    what: "p50 from sent to received, us",
    scale: 1e6,
};
/// How long 99 of 100 events took at most.
const P99: Number = Number {
    name: "p99",
    what: "p99 from sent to received, us",
    scale: 1e6,
};
