//! What an idle stream holds, and what a reader holds that has stopped to read.

use std::time::Duration;

use super::replay::fill;
use super::steady::count;
use super::{Bench, Side, rows};
use crate::error::Result;
use crate::load::subscribers::{Stalled, Subscribers, from_now, from_start, request};
use crate::load::writers::{Pace, Writers};
use crate::probe::{Meter, resident};
use crate::report::{Goal, Number, Row};
use crate::rounds::Sample;
use crate::server::{Cores, Server};

const IDLE: Number = Number {
    name: "idle",
    what: "memory per idle stream, KB",
    scale: 1e-3,
};
const USED: Number = Number {
    name: "used",
    what: "the same after 40 events each, KB",
    scale: 1e-3,
};
const STALLED: Number = Number {
    name: "stalled",
    what: "memory per stalled reader, KB",
    scale: 1e-3,
};

/// Between two looks at memory, which count when they say the same.
const SETTLE: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 20;

pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    // What is encoded when makes no difference here.
    let sides: Vec<Side> = bench.sides().into_iter().filter(|side| *side != Side::Once).collect();
    let rounds = bench.rounds(&sides, async |side: Side| sample(bench, side).await);
    let numbers = [
        (IDLE, Goal::OwnAtMost(6.0)),
        (USED, Goal::OwnAtMost(6.0)),
        (STALLED, Goal::OwnAtMost(64.0)),
    ];
    Ok(rows("memory", &rounds.await?, &sides, &numbers))
}

async fn sample(bench: &Bench, side: Side) -> Result<Sample> {
    let (streams, connections) = bench.size.pick((2000, 50), (1000, 50), (40, 2));
    let readers = bench.size.pick(100, 50, 2);
    let events = bench.size.pick(20_000, 10_000, 400);
    let kept = events.to_string();

    // As small a window as can be, so that what is measured is streams; what it holds is there before the first look.
    let flags = ["--window-bytes", "1MiB"];
    let started = side.start(bench, Cores::Any, &flags, &[]).await?;
    let server = &started.server;
    let now = request(from_now(), Duration::ZERO);
    let meter = Meter::start(server.pid()?)?;
    if side.is_hub() {
        fill(&server.target, events).await?;
    }
    let writers = Writers::open(&server.target, 1, 1).await?;
    // The first streams warm the allocator up.
    let warm = Subscribers::open(&server.target, connections, connections, &now).await?;
    let before = settled(server).await?;
    let idle = Subscribers::open(&server.target, streams, connections, &now).await?;
    let after = settled(server).await?;
    let written = writers.start(Pace::Batches { events: 40, size: 1 }).finish().await?;
    idle.complete(written.tail).await?;
    let used = settled(server).await?;
    let usage = meter.stop()?;
    drop((idle, warm));

    let started = side.start(bench, Cores::Any, &[], &["--preload", &kept]).await?;
    let server = &started.server;
    if side.is_hub() {
        fill(&server.target, events).await?;
    }
    let from_start = request(from_start(), Duration::ZERO);
    let warm = Stalled::open(&server.target, 2, &from_start).await?;
    let none = settled(server).await?;
    let stalled = Stalled::open(&server.target, readers, &from_start).await?;
    let all = settled(server).await?;
    drop((warm, stalled));

    let each = |before: u64, after: u64, streams: usize| count(after.saturating_sub(before)) / count(streams as u64);
    Ok(Sample::of(usage)
        .with("idle", each(before, after, streams))
        .with("used", each(before, used, streams))
        .with("stalled", each(none, all, readers)))
}

/// The server's memory once it stays the same.
async fn settled(server: &Server) -> Result<u64> {
    let mut before = 0;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(SETTLE).await;
        let now = resident(server.pid()?)?;
        if now.abs_diff(before) * 200 <= now {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}
