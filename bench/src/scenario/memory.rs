//! What an idle stream holds, and what a reader holds that has stopped to read.

use std::time::Duration;

use bellboard_proto::v1;

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
const STALLED_ALONE: Number = Number {
    name: "stalled_alone",
    what: "the same, who shares with nobody, KB",
    scale: 1e-3,
};

/// What a reader asks for who takes what there is.
const FRAME_BYTES: u32 = 256 * 1024;

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
        (STALLED_ALONE, Goal::OwnAtMost(64.0)),
    ];
    Ok(rows("memory", &rounds.await?, &sides, &numbers))
}

async fn sample(bench: &Bench, side: Side) -> Result<Sample> {
    let (streams, connections) = bench.size.pick((2000, 50), (1000, 50), (40, 2));
    let readers = bench.size.pick(100, 50, 2);
    let events = bench.size.pick(20_000, 10_000, 400);

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

    let equal = vec![request(from_start(), Duration::ZERO); readers];
    // Frames of sizes that nobody else has, so that no two readers are given the same.
    let alone = (1..).map(|less| v1::SubscribeRequest {
        max_frame_bytes: FRAME_BYTES - less,
        ..request(from_start(), Duration::ZERO)
    });
    let alone: Vec<_> = alone.take(readers).collect();
    let stalled = around_stalled(bench, side, events, &equal).await?;
    let stalled_alone = around_stalled(bench, side, events, &alone).await?;

    let each = |before: u64, after: u64, streams: usize| count(after.saturating_sub(before)) / count(streams as u64);
    Ok(Sample::of(usage)
        .with("idle", each(before, after, streams))
        .with("used", each(before, used, streams))
        .with("stalled", each(stalled.0, stalled.1, readers))
        .with("stalled_alone", each(stalled_alone.0, stalled_alone.1, readers)))
}

/// The memory of a fresh server before and after these readers came, who stop to read at once.
async fn around_stalled(
    bench: &Bench,
    side: Side,
    events: u64,
    requests: &[v1::SubscribeRequest],
) -> Result<(u64, u64)> {
    let kept = events.to_string();
    let started = side.start(bench, Cores::Any, &[], &["--preload", &kept]).await?;
    let server = &started.server;
    if side.is_hub() {
        fill(&server.target, events).await?;
    }
    let warm = Stalled::open(&server.target, &requests[..2.min(requests.len())]).await?;
    let before = settled(server).await?;
    let readers = Stalled::open(&server.target, requests).await?;
    let after = settled(server).await?;
    drop((warm, readers));
    Ok((before, after))
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
