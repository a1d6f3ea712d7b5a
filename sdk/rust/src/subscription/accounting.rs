//! Whether a stream accounts for every offset, once.
//!
//! The one thing to believe: each `events`, `gap` and `heartbeat` begins where the last one ended, and within each the events of a
//! session that comes whole have one index after the other. What does not is never handed out: the stream is dialled anew from
//! the last frame that was right.

mod indexes;

use bellboard_proto::v1;
use bellboard_proto::v1::{Answer, SnapshotReason};

use super::frame::{Events, Frame};
use indexes::{Indexes, Snapshot};

/// A promise that the hub broke on this stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the first frame is not `subscribed`")]
    NotSubscribed,
    #[error("a second `subscribed` on one stream")]
    SubscribedAgain,
    #[error("resumed at offset {from}, which is before {place}")]
    ResumedBefore { from: u64, place: u64 },
    #[error("a frame begins at offset {from} where {place} was next")]
    Torn { from: u64, place: u64 },
    #[error("a frame ends at offset {until}, before its beginning {from}")]
    Backwards { from: u64, until: u64 },
    #[error("an event at offset {offset} does not belong in its batch [{from}, {until})")]
    Misplaced { offset: u64, from: u64, until: u64 },
    #[error("session {session_id} goes on at index {index} where {next} was next")]
    Skipped { session_id: String, index: u64, next: u64 },
    #[error("session {session_id} came back without a snapshot")]
    Unannounced { session_id: String },
    #[error("a frame cannot be read at all")]
    Garbled,
}

/// Where a stream is.
#[derive(Debug, Default)]
pub(crate) struct Accounting {
    /// The next offset. Kept over redials. `None` before the first `subscribed`.
    place: Option<u64>,
    /// Whether this connection's `subscribed` has come.
    subscribed: bool,
    /// The snapshot under way. `None`: there is none.
    snapshot: Option<Snapshot>,
    indexes: Indexes,
}

impl Accounting {
    /// A new connection was made, which continues where the last one was.
    pub(crate) const fn redialled(&mut self) {
        self.subscribed = false;
        self.snapshot = None;
    }

    /// These interests are in force from the last frame on.
    pub(crate) fn hold(&mut self, interests: &[v1::Interest]) {
        self.indexes.hold(interests);
    }

    /// The next offset that is not accounted for.
    pub(crate) const fn place(&self) -> Option<u64> {
        self.place
    }

    /// Checks a frame and moves on, and takes from it what a session's snapshot already had.
    ///
    /// # Errors
    /// The promise that the frame breaks; nothing is changed then.
    pub(crate) fn accept(&mut self, frame: &mut Frame) -> Result<(), Violation> {
        if let Frame::Subscribed(subscribed) = frame {
            return self.subscribed(subscribed);
        }
        let place = match self.place {
            Some(place) if self.subscribed => place,
            Some(_) | None => return Err(Violation::NotSubscribed),
        };
        match frame {
            Frame::Events(events) => {
                check_range(place, events.from, events.until)?;
                check_order(events)?;
                self.indexes.check_owed()?;
                self.indexes.check(events)?;
                self.indexes.take(events);
                self.move_to(events.until);
            }
            Frame::Gap(gap) => {
                check_range(place, gap.from, gap.until)?;
                self.indexes.check_owed()?;
                self.indexes.take_gap(gap);
                self.move_to(gap.until);
            }
            Frame::Heartbeat(heartbeat) => {
                check_range(place, heartbeat.from, heartbeat.until)?;
                self.move_to(heartbeat.until);
            }
            Frame::SnapshotBegin(begin) => self.snapshot_begins(begin),
            Frame::SnapshotPage(page) => {
                if let Some(snapshot) = self.snapshot {
                    self.indexes.take_page(snapshot, page);
                }
            }
            Frame::SnapshotEnd(_) => self.snapshot = None,
            // It may have been events.
            Frame::Undecodable(_) => self.indexes.forget_next(),
            // These have no place in the log.
            Frame::Subscribed(_)
            | Frame::Deltas(_)
            | Frame::ItemText(_)
            | Frame::SubscriptionUpdated(_)
            | Frame::CaughtUp(_)
            | Frame::FellBehind(_)
            | Frame::CredentialExpiring(_)
            | Frame::Closing(_)
            | Frame::Unknown(_) => {}
        }
        Ok(())
    }

    fn subscribed(&mut self, subscribed: &v1::Subscribed) -> Result<(), Violation> {
        if self.subscribed {
            return Err(Violation::SubscribedAgain);
        }
        let from = subscribed.from;
        if let Some(place) = self.place
            && subscribed.answer() == Answer::Resumed
            && from < place
        {
            // Beyond the place is right: a token also covers offsets that were skipped as nothing of ours.
            return Err(Violation::ResumedBefore { from, place });
        }
        if subscribed.answer() != Answer::Resumed {
            self.indexes.clear();
        }
        self.subscribed = true;
        self.place = Some(from);
        Ok(())
    }

    fn snapshot_begins(&mut self, begin: &v1::SnapshotBegin) {
        let offset = begin.offset;
        self.snapshot = Some(match begin.reason() {
            SnapshotReason::SessionEntered | SnapshotReason::InterestAdded => {
                self.indexes.enter(begin);
                Snapshot::Entered { offset }
            }
            SnapshotReason::Unspecified | SnapshotReason::Start | SnapshotReason::Reset => {
                self.indexes.clear();
                self.place = Some(offset);
                Snapshot::Whole
            }
        });
    }

    fn move_to(&mut self, until: u64) {
        self.place = Some(until);
        self.indexes.passed(until);
    }
}

const fn check_range(place: u64, from: u64, until: u64) -> Result<(), Violation> {
    if from != place {
        Err(Violation::Torn { from, place })
    } else if until < from {
        Err(Violation::Backwards { from, until })
    } else {
        Ok(())
    }
}

fn check_order(events: &Events) -> Result<(), Violation> {
    let (from, until) = (events.from, events.until);
    let mut next = from;
    for event in &events.events {
        let offset = event.offset;
        if offset < next || offset >= until {
            return Err(Violation::Misplaced { offset, from, until });
        }
        next = offset + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
