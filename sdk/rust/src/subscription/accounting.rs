//! Whether a stream accounts for every offset, once.
//!
//! The one thing to believe: each `events`, `gap` and `heartbeat` begins where the last one ended. What does not is never
//! handed out: the stream is dialled anew from the last frame that was right.

use std::collections::HashMap;

use bellboard_proto::v1;
use bellboard_proto::v1::{Answer, SnapshotReason};

use super::frame::{Events, Frame};

/// Most sessions whose earlier events are to be dropped at one time: a snapshot of sessions that entered is smaller, and past
/// it an event comes that its session's snapshot had, which a fold by `index` ignores.
const FLOORS_MAX: usize = 10_000;

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
    /// The snapshot under way is of sessions that entered, as of this offset: it leaves the stream's place.
    entering: Option<u64>,
    /// Per session that entered with a snapshot: its first index that is not in the snapshot. Forgotten once the stream is past
    /// the snapshot's offset.
    floors: HashMap<String, Floor>,
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    index: u64,
    offset: u64,
}

impl Accounting {
    /// A new connection was made, which continues where the last one was.
    pub(crate) const fn redialled(&mut self) {
        self.subscribed = false;
        self.entering = None;
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
                self.drop_known(events);
                self.move_to(events.until);
            }
            Frame::Gap(gap) => {
                check_range(place, gap.from, gap.until)?;
                self.move_to(gap.until);
            }
            Frame::Heartbeat(heartbeat) => {
                check_range(place, heartbeat.from, heartbeat.until)?;
                self.move_to(heartbeat.until);
            }
            Frame::SnapshotBegin(begin) => self.snapshot_begins(begin),
            Frame::SnapshotPage(page) => self.snapshot_goes_on(page),
            Frame::SnapshotEnd(_) => self.entering = None,
            // These have no place in the log.
            Frame::Subscribed(_)
            | Frame::Deltas(_)
            | Frame::ItemText(_)
            | Frame::SubscriptionUpdated(_)
            | Frame::CaughtUp(_)
            | Frame::FellBehind(_)
            | Frame::CredentialExpiring(_)
            | Frame::Closing(_)
            | Frame::Undecodable(_)
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
            self.floors.clear();
        }
        self.subscribed = true;
        self.place = Some(from);
        Ok(())
    }

    fn snapshot_begins(&mut self, begin: &v1::SnapshotBegin) {
        let entered = matches!(
            begin.reason(),
            SnapshotReason::SessionEntered | SnapshotReason::InterestAdded
        );
        self.entering = entered.then_some(begin.offset);
        if !entered {
            self.floors.clear();
            self.place = Some(begin.offset);
        }
    }

    fn snapshot_goes_on(&mut self, page: &v1::SnapshotPage) {
        let Some(offset) = self.entering else {
            return;
        };
        for session in page.sessions.iter().filter_map(|snapshot| snapshot.session.as_ref()) {
            if self.floors.len() < FLOORS_MAX {
                let index = session.event_count;
                self.floors.insert(session.session_id.clone(), Floor { index, offset });
            }
        }
    }

    fn drop_known(&self, events: &mut Events) {
        if self.floors.is_empty() {
            return;
        }
        let floors = &self.floors;
        let known = |event: &v1::Event| {
            floors
                .get(&event.session_id)
                .is_some_and(|floor| event.index < floor.index)
        };
        let dropped: Vec<u64> = events
            .events
            .iter()
            .filter(|event| known(event))
            .map(|event| event.offset)
            .collect();
        events.events.retain(|event| !known(event));
        events.raws.retain(|raw| !dropped.contains(&raw.offset));
    }

    fn move_to(&mut self, until: u64) {
        self.place = Some(until);
        self.floors.retain(|_, floor| floor.offset > until);
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
