//! What the appender did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::appender::Outcome;
use crate::appender::task::Done;
use crate::event::Event;
use crate::meter::{Histogram, Tally};

/// Events in one commit, as steps of a histogram.
const COMMIT_EVENTS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_096];

/// Microseconds that storing or reading takes, as steps of a histogram.
pub const STORE_MICROSECONDS: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
];

/// What became of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    /// It is durable.
    Stored,
    /// It was durable before.
    Duplicate,
    /// Its condition did not hold.
    Unchanged,
    /// It will not be stored as it is.
    Rejected,
    /// It could not be stored now, or nobody knows.
    Failed,
}

/// What the appender of a process did, over all logs. Shared by the committer, which counts, and whoever shows it.
#[derive(Debug)]
pub struct Counters {
    /// What became of the appends.
    pub appends: Tally<Became>,
    /// Events that were stored.
    pub events: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Events in each commit that stored any.
    pub commit_events: Histogram,
    /// Microseconds that each such commit took, from its beginning until it was durable.
    pub commit_microseconds: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            appends: Tally::default(),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            commit_events: Histogram::new(COMMIT_EVENTS),
            commit_microseconds: Histogram::new(STORE_MICROSECONDS),
        }
    }
}

impl Counters {
    pub(super) fn became(&self, done: &[Done]) {
        for done in done {
            self.appends.add(match done {
                Done::Append(Ok(Outcome::Stored { .. })) => Became::Stored,
                Done::Append(Ok(Outcome::Duplicate { .. })) => Became::Duplicate,
                Done::Append(Ok(Outcome::Unchanged { .. })) => Became::Unchanged,
                Done::Append(Ok(Outcome::Rejected(_))) => Became::Rejected,
                Done::Append(Err(_)) => Became::Failed,
                Done::Writer(_) | Done::Ended(_) => continue,
            });
        }
    }

    pub(super) fn committed(&self, size: &Size, took: Duration) {
        if size.events > 0 {
            self.events.fetch_add(size.events, Ordering::Relaxed);
            self.bytes.fetch_add(size.bytes, Ordering::Relaxed);
            self.commit_events.add(size.events);
            self.commit_microseconds.add(microseconds(took));
        }
    }
}

/// How much one commit stores.
#[derive(Debug, Default)]
pub(super) struct Size {
    events: u64,
    bytes: u64,
}

impl Size {
    pub(super) fn add(&mut self, events: &[Event]) {
        self.events += events.len() as u64;
        self.bytes += events.iter().map(|event| event.bytes.len() as u64).sum::<u64>();
    }
}

/// As many whole microseconds.
pub(crate) fn microseconds(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
