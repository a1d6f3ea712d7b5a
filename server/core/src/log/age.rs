//! From where on a log is given out: what is trimmed and what is too old lies before it.
//!
//! Believe this: what is too old is found by looking, not by waiting for the next sweep. Time within a log never goes back, so one
//! event that is young enough has only such behind it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Log;
use crate::event::Event;
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::offset::{Offset, Time};
use crate::store;

/// How many events that cannot be read are passed to find out how old they are.
const UNREADABLE_MAX: u64 = 16;

/// The places before which nothing is given out. Read at every step of every stream, so it takes no lock.
#[derive(Debug)]
pub(super) struct Kept {
    /// What lies before it is trimmed. It only grows.
    oldest: AtomicU64,
    /// What lies before it was too old when somebody looked. It goes back when the wall clock does.
    young: AtomicU64,
    /// When that was.
    looked: AtomicI64,
}

impl Kept {
    pub(super) const fn from(oldest: Offset) -> Kept {
        Kept {
            oldest: AtomicU64::new(oldest.0),
            young: AtomicU64::new(oldest.0),
            looked: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether that is news.
    pub(super) fn trimmed(&self, oldest: Offset) -> bool {
        self.young.fetch_max(oldest.0, Ordering::AcqRel);
        self.oldest.fetch_max(oldest.0, Ordering::AcqRel) < oldest.0
    }

    fn oldest(&self) -> Offset {
        Offset(self.young.load(Ordering::Acquire))
    }

    /// Where to begin to look at this time.
    fn begin_at(&self, now: Time) -> Offset {
        if self.looked.swap(now.0, Ordering::AcqRel) > now.0 {
            self.young.store(self.oldest.load(Ordering::Acquire), Ordering::Release);
        }
        self.oldest()
    }
}

impl Log {
    /// Smallest offset that is given out, as far as it was looked. [`Log::look_at_age`] looks.
    #[must_use]
    pub fn oldest(&self) -> Offset {
        self.kept.oldest()
    }

    /// Whether an event is too old to be given out.
    pub(crate) fn is_too_old(&self, event: &Event, now: Time) -> bool {
        let cutoff = self.retention.cutoff(now);
        cutoff.is_some_and(|cutoff| self.encode.recorded(&event.bytes).is_some_and(|at| at < cutoff))
    }

    /// Whether the event at this offset is known to be young enough, because it lies in the window; so is what comes after it.
    pub(crate) fn is_young(&self, offset: Offset, now: Time) -> bool {
        if self.retention.age.is_none() || offset >= self.tail().0 {
            return true;
        }
        let interests = everything();
        let found = self.window().read(&interests, offset, offset.next(), 0);
        let event = found.and_then(|found| found.events.into_iter().next());
        event.is_some_and(|event| !self.is_too_old(&event, now))
    }

    /// Finds the smallest offset that may be given out at this time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn look_at_age(&self, now: Time) -> Result<Offset, store::Error> {
        self.look_behind(Offset::ZERO, now).await
    }

    /// The same, where everything before `old` is known to be too old. Steps of growing width first, because it is mostly near the last
    /// one, then halves.
    pub(crate) async fn look_behind(&self, old: Offset, now: Time) -> Result<Offset, store::Error> {
        let Some(cutoff) = self.retention.cutoff(now) else {
            return Ok(self.oldest());
        };
        let (tail, _) = self.tail();
        let mut from = self.kept.begin_at(now).max(old);
        let (mut step, mut until, mut halving) = (1, tail, false);
        while from < until {
            let left = from.distance(until);
            let ahead = if halving { left.div_ceil(2) } else { left.min(step) };
            let looked = Offset(from.0 + ahead - 1);
            match self.next_recorded(looked, until).await {
                Ok(Some((at, recorded))) if recorded < cutoff => {
                    from = at.next();
                    step *= 2;
                }
                Ok(Some(_) | None) => {
                    until = looked;
                    halving = true;
                }
                Err(store::Error::Trimmed(oldest)) => {
                    self.trimmed(oldest);
                    from = from.max(oldest);
                }
                Err(error) => return Err(error),
            }
        }
        self.kept.young.fetch_max(from.0, Ordering::AcqRel);
        Ok(self.oldest())
    }

    /// The first event of `[from, until)` that says when it was stored, and when; none where the next few cannot be read.
    async fn next_recorded(&self, from: Offset, until: Offset) -> Result<Option<(Offset, Time)>, store::Error> {
        let interests = everything();
        let until = until.min(Offset(from.0 + UNREADABLE_MAX));
        let mut from = from;
        while from < until {
            let in_window = self.window().read(&interests, from, from.next(), 0);
            let events = match in_window {
                Some(found) => found.events,
                None => self.store.read(store::one(&self.row, &interests, from)).await?.events,
            };
            let recorded = events.first().and_then(|event| self.encode.recorded(&event.bytes));
            if let Some(recorded) = recorded {
                return Ok(Some((from, recorded)));
            }
            from = from.next();
        }
        Ok(None)
    }
}

fn everything() -> Interests {
    Interests::from(Interest::new(Selector::All, Detail::Content))
}
