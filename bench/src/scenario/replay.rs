//! History: 100,000 events from their beginning, and the second half of them from a resume token.

use std::time::Duration;

use super::steady::count;
use super::{Bench, Side};
use crate::clock;
use crate::error::Result;
use crate::load::connection::Target;
use crate::load::subscribers::{Subscribers, from_now, from_start, request};
use crate::load::writers::{Pace, Writers};
use crate::probe::Meter;
use crate::report::{Goal, Number, Row};
use crate::rounds::Sample;
use crate::server::{Cores, Data, Server};
use bellboard_proto::v1::{self, subscribe_request::Start};

/// Where a server has its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// In its store, and not in its window.
    Store,
    /// In memory.
    Memory,
}

const REPLAY: Number = Number {
    name: "replay",
    what: "replay by 1, events per CPU second",
    scale: 1.0,
};
const REPLAY_SMALL: Number = Number {
    name: "replay_small",
    what: "the same in frames of 64 KiB",
    scale: 1.0,
};
const RESUME_1: Number = Number {
    name: "resume_1",
    what: "resume of half by 1, events per second",
    scale: 1.0,
};
const RESUME_10: Number = Number {
    name: "resume_10",
    what: "resume of half by 10, events per second",
    scale: 1.0,
};

/// Room for all events; and a window that is empty after a restart, whatever its size.
const WINDOW: &[&str] = &["--window-bytes", "256MiB", "--replay-limit", "0"];

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let events: u64 = bench.size.pick(100_000, 40_000, 400);
    let stored = Data::new()?;
    let server = Server::hub(&bench.hub, &stored, Cores::Any, WINDOW).await?;
    let (half, tail) = fill(&server.target, events).await?;
    server.terminate().await?;
    let mut runs = vec![(Side::Hub, From::Store), (Side::Hub, From::Memory)];
    runs.extend(match bench.beside {
        Some(_) => [(Side::OtherHub, From::Store), (Side::OtherHub, From::Memory)],
        None => [(Side::Each, From::Memory), (Side::Once, From::Memory)],
    });
    let rounds = bench.rounds(&runs, async |(side, from): (Side, From)| match (side.is_hub(), from) {
        (true, From::Store) => {
            let server = Server::hub(bench.program(side), &stored, Cores::Any, WINDOW).await?;
            let sample = sample(&server, &half, tail).await?;
            // Ended in order: the next one opens the same folder.
            server.terminate().await?;
            Ok(sample)
        }
        (true, From::Memory) => {
            let started = side.start(bench, Cores::Any, WINDOW, &[]).await?;
            let (half, tail) = fill(&started.server.target, events).await?;
            sample(&started.server, &half, tail).await
        }
        (false, _) => {
            let all = events.to_string();
            let started = side.start(bench, Cores::Any, &[], &["--preload", &all]).await?;
            sample(&started.server, &(events / 2).to_string(), events).await
        }
    });
    let rounds = rounds.await?;
    let mut told = Vec::new();
    for (own, name) in [(0, "from the store"), (1, "from memory")] {
        for (at, (side, from)) in runs.iter().enumerate().skip(2) {
            if side.is_hub() && *from != runs[own].1 {
                continue;
            }
            let goal = if own == 0 && !side.is_hub() {
                Goal::AtLeast(0.3)
            } else {
                Goal::None
            };
            let row = |number, goal| Row::of(name, &rounds, own, (at, side.name()), number, goal);
            told.push(row(REPLAY, goal));
            told.extend([REPLAY_SMALL, RESUME_1, RESUME_10].map(|number| row(number, Goal::None)));
        }
    }
    Ok(told)
}

/// Stores so many events, and gives a resume token in their middle and the tail.
pub(super) async fn fill(target: &Target, events: u64) -> Result<(String, u64)> {
    let write = async |events| {
        let writers = Writers::open(target, 1, 1).await?;
        writers.start(Pace::Batches { events, size: 500 }).finish().await
    };
    // A writer's opening stores one or two of them.
    write(events / 2).await?;
    let reader = Subscribers::open(target, 1, 1, &request(from_now(), Duration::ZERO)).await?;
    let half = reader.token();
    drop(reader);
    Ok((half, write(events / 2).await?.tail))
}

async fn sample(server: &Server, half: &str, tail: u64) -> Result<Sample> {
    let resume = || Start::ResumeToken(half.to_owned());
    // Once for nothing: the system's cache is warm on both sides, and so are both programs.
    let whole = || request(from_start(), Duration::ZERO);
    read(server, whole(), 1, tail).await?;
    let meter = Meter::start(server.pid()?)?;
    let (events, _) = read(server, whole(), 1, tail).await?;
    let usage = meter.stop()?;
    let small = v1::SubscribeRequest {
        max_frame_bytes: 64 * 1024,
        ..whole()
    };
    let meter = Meter::start(server.pid()?)?;
    let (events_small, _) = read(server, small, 1, tail).await?;
    let small_s = meter.stop()?.server_s;
    let resume = || request(resume(), Duration::ZERO);
    let (one, seconds_1) = read(server, resume(), 1, tail).await?;
    let (ten, seconds_10) = read(server, resume(), 10, tail).await?;
    Ok(Sample::of(usage)
        .with("replay", events / usage.server_s)
        .with("replay_small", events_small / small_s)
        .with("resume_1", one / seconds_1)
        .with("resume_10", ten / seconds_10))
}

/// How many events so many readers were given, and how long the slowest of them took.
async fn read(server: &Server, request: v1::SubscribeRequest, readers: usize, until: u64) -> Result<(f64, f64)> {
    let readers = Subscribers::begin(&server.target, readers, readers, &request, until).await?;
    let began = clock::now();
    readers.complete(until).await?;
    let seconds = readers.reached().saturating_sub(began).as_secs_f64();
    Ok((count(readers.delivered().events), seconds))
}
