//! How much of a log is kept: which of its oldest events go, and which are too old to be given out until they do.
//!
//! Believe this: time within a log never goes back, so what is too old is a prefix, like what is too much. A trim takes a prefix in
//! pieces of bounded size; what remains of it are its sessions' bases, its links for a while, and its dedupe keys.

mod projection;
mod sweep;

use std::time::Duration;

use crate::event::{Encode, Told, ToldOf};
use crate::id::SessionId;
use crate::offset::{SessionNumber, Time};
use crate::session::Session;
use crate::store::{LogRow, StoredEvent, Trim};

pub use projection::Projection;
pub use sweep::{Sweeper, run};

/// How much of each log is kept. The default keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For how long an event is kept and given out.
    pub age: Option<Duration>,
    /// How many bytes of events are kept per log, as `EventRow::bytes` counts them.
    pub bytes: Option<u64>,
}

impl Retention {
    /// What was stored before this time is too old.
    #[must_use]
    pub fn cutoff(&self, now: Time) -> Option<Time> {
        self.age.map(|age| now.minus(age))
    }

    /// Whether anything is kept at all that might go. A look at its oldest events decides.
    #[must_use]
    pub fn is_due(&self, log: &LogRow, now: Time) -> bool {
        let too_old = self.cutoff(now).is_some_and(|cutoff| log.oldest_recorded < cutoff);
        let too_much = self.bytes.is_some_and(|bytes| log.bytes > bytes);
        log.oldest < log.tail && (too_old || too_much)
    }

    /// How many of these oldest events of a log go.
    fn cut(&self, log: &LogRow, now: Time, oldest: &[Weight]) -> usize {
        let cutoff = self.cutoff(now);
        let is_old = |weight: &Weight| matches!((cutoff, weight.recorded), (Some(cutoff), Some(at)) if at < cutoff);
        // What cannot be read has no time, and goes with the first younger one that is too old itself.
        let too_old = oldest.iter().rposition(is_old).map_or(0, |at| at + 1);
        let mut left = log.bytes;
        let too_much = oldest.iter().take_while(|weight| {
            let over = self.bytes.is_some_and(|bytes| left > bytes);
            left = left.saturating_sub(weight.bytes);
            over
        });
        too_old.max(too_much.count())
    }
}

/// What of an event decides whether it goes.
#[derive(Clone, Copy, Debug)]
struct Weight {
    recorded: Option<Time>,
    bytes: u64,
}

/// The oldest events of a log and what they say, ready to be decided about.
#[derive(Debug)]
pub(crate) struct Oldest {
    events: Vec<(StoredEvent, Option<Told>)>,
}

impl Oldest {
    /// Reads what events say.
    pub(crate) fn new(events: Vec<StoredEvent>, encode: &dyn Encode) -> Oldest {
        let told = |event: StoredEvent| {
            let told = encode.told(&event.stored);
            (event, told)
        };
        Oldest {
            events: events.into_iter().map(told).collect(),
        }
    }

    /// Leaves those that go. Gives the time of the first that stays, where it is among these.
    pub(crate) fn cut(&mut self, retention: &Retention, log: &LogRow, now: Time) -> Option<Time> {
        let recorded = |told: &Option<Told>| told.as_ref().map(|told| told.recorded);
        let weigh = |(event, told): &(StoredEvent, Option<Told>)| Weight {
            recorded: recorded(told),
            bytes: event.bytes,
        };
        let weights: Vec<Weight> = self.events.iter().map(weigh).collect();
        let stays = self.events.split_off(retention.cut(log, now, &weights));
        stays.iter().find_map(|(_, told)| recorded(told))
    }

    /// Whether nothing goes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The parents that sessions of those that go get by them.
    pub(crate) fn parents(&self) -> Vec<SessionId> {
        self.told().filter_map(ToldOf::new_parent).cloned().collect()
    }

    /// The sessions that get another parent: what lies below them follows.
    pub(crate) fn moving(&self) -> Vec<SessionId> {
        let moving = self.told().filter(|told| told.new_parent().is_some());
        moving.map(|told| told.session.clone()).collect()
    }

    /// What they say of their sessions.
    fn told(&self) -> impl Iterator<Item = &ToldOf> {
        let told = self.events.iter().filter_map(|(_, told)| told.as_ref());
        told.filter_map(|told| told.session.as_ref())
    }

    /// The sessions of those that go, each once.
    pub(crate) fn sessions(&self) -> Vec<SessionNumber> {
        let spots = self.events.iter().filter_map(|(event, _)| event.spot);
        let mut sessions: Vec<_> = spots.map(|spot| spot.session).collect();
        sessions.sort_unstable_by_key(|session| session.0);
        sessions.dedup();
        sessions
    }

    /// Takes them out of a log. `bases` are those of their sessions so far; `next` is the time of the first that stays.
    pub(crate) fn trim(self, mut log: LogRow, bases: Vec<Session>, next: Option<Time>) -> Trim {
        let mut projection = Projection::over(bases);
        let mut links = Vec::with_capacity(self.events.len());
        for (event, told) in &self.events {
            projection.fold(event, told.as_ref());
            projection.take(event);
            links.push(std::mem::replace(&mut log.base, event.link));
            log.oldest = event.offset.next();
            log.bytes = log.bytes.saturating_sub(event.bytes);
            // No later than the next one's: where that is not among these, it is looked up when it comes to be the oldest.
            log.oldest_recorded = told.as_ref().map_or(log.oldest_recorded, |told| told.recorded);
        }
        log.oldest_recorded = next.unwrap_or(log.oldest_recorded);
        Trim {
            log,
            links,
            bases: projection.into_changed(),
        }
    }
}

#[cfg(test)]
mod tests;
