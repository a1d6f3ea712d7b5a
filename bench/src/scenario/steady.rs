//! Writers at a fixed rate and subscribers that keep up.
//!
//! Believe this: the same server is measured twice at the same rate, first without subscribers, then with them; the difference is what
//! telling them costs, and the whole is told beside it.

use std::time::Duration;

use super::Size;
use crate::clock;
use crate::error::{Error, Result};
use crate::load::connection::Target;
use crate::load::subscribers::{Stalled, Subscribers, from_now, request};
use crate::load::writers::{Pace, Writers};
use crate::probe::{Meter, Usage};
use crate::rounds::{Sample, quantile};
use crate::server::Server;

/// A steady load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// How many write.
    pub(super) writers: usize,
    /// Events per second of all of them.
    pub(super) rate: f64,
    /// How many subscribe.
    pub(super) subscribers: usize,
    /// On how many connections.
    pub(super) connections: usize,
    /// What they ask for.
    pub(super) linger: Duration,
    /// How many more subscribe and never read.
    pub(super) stalled: usize,
    /// How long is measured.
    pub(super) window: Duration,
    /// How far the rate may be missed, as a share of it. See [`missed_max`].
    pub(super) missed_max: f64,
}

/// How far a fixed rate may be missed: a server that does not keep up has no cost per event. A disk that is slow for a moment moves some
/// acknowledgements past the end of a window. Where no time is looked at it may be missed altogether.
pub(super) fn missed_max(size: Size) -> f64 {
    size.pick(0.15, 0.15, f64::INFINITY)
}

/// Runs it: `cpu` and `fanout` in seconds per delivery, `p50` and `p99` in seconds, `batch` in events per frame.
pub(super) async fn run(server: &Server, load: Load) -> Result<Sample> {
    let target = &server.target;
    let writers = open(target, load).await?;
    let rate = load.rate / count(load.writers as u64);
    let writing = writers.start(Pace::PerSecond(rate));
    let alone = window(server, load.window, || writing.stored()).await?;
    let alone_s = alone.0.server_s / count(alone.1);
    writing.stop().await?;

    let writers = open(target, load).await?;
    let request = request(from_now(), load.linger);
    let subscribers = Subscribers::open(target, load.subscribers, load.connections, &request).await?;
    let stalled = Stalled::open(target, &vec![request; load.stalled]).await?;
    let writing = writers.start(Pace::PerSecond(rate));
    tokio::time::sleep(load.window / 4).await;
    subscribers.measure();
    let before = subscribers.delivered();
    let (usage, stored) = window(server, load.window, || writing.stored()).await?;
    let after = subscribers.delivered();
    let latencies = subscribers.latencies();
    let written = writing.stop().await?;
    subscribers.complete(written.tail).await?;
    drop(stalled);

    let wanted = load.rate * usage.wall_s;
    if (count(stored) - wanted).abs() > wanted * load.missed_max + 2.0 {
        return Err(Error::Void(format!(
            "{stored} events were stored in place of {wanted:.0}"
        )));
    }
    let delivered = count(after.events - before.events);
    let fanout = usage.server_s - alone_s * count(stored);
    Ok(Sample::of(usage)
        .with("cpu", usage.server_s / delivered)
        .with("fanout", fanout / delivered)
        .with("per_cpu_second", delivered / usage.server_s)
        .with("batch", delivered / count(after.frames - before.frames))
        .with("p50", quantile(&latencies, 0.50))
        .with("p99", quantile(&latencies, 0.99)))
}

async fn open(target: &Target, load: Load) -> Result<Writers> {
    Writers::open(target, load.writers, load.writers.min(4)).await
}

/// What the server used in a window, and how many events were stored in it.
async fn window(server: &Server, time: Duration, stored: impl Fn() -> u64) -> Result<(Usage, u64)> {
    let (meter, before) = (Meter::start(server.pid()?)?, stored());
    let began = clock::now();
    tokio::time::sleep(time.saturating_sub(clock::since(began))).await;
    Ok((meter.stop()?, stored() - before))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) const fn count(count: u64) -> f64 {
    count as f64
}
