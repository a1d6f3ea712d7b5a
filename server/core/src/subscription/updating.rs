//! How an open stream comes to other interests.
//!
//! Believe this: everything before `subscription_updated` is of the old interests and everything behind it of the new ones. The seat
//! changes under the lock that moves the tail, and the place stays: what lies behind it is read with the new interests, and what was
//! passed before is in the snapshot of what was added.

use std::collections::VecDeque;

use super::Subscription;
use crate::interest::Interests;
use crate::resume_token::Kind;
use crate::subscription::closings::Closings;
use crate::subscription::frame::{Frame, Then};
use crate::subscription::giving::{Giving, Of};

/// A change of interests.
#[derive(Clone, Debug)]
pub struct Update {
    /// The client's number of it.
    pub revision: u64,
    /// What is wanted from then on.
    pub interests: Interests,
}

impl Subscription {
    /// Lets a change that waits take effect. Gives the frame that comes of it: before all the one that accounts for what was passed with the old
    /// interests, so that the place of the change is one that a resume with either can go on from.
    pub(super) fn update(&mut self) -> Option<(Frame, Kind)> {
        self.update.as_ref()?;
        if self.handoff.untold() {
            return Some(self.account());
        }
        let Update { revision, interests } = *self.update.take()?;
        let old = std::mem::replace(&mut self.request.interests, interests);
        let new = &self.request.interests;
        self.around.log.change_seat(self.seat_id, &old, new);
        // Texts that were due come with the others, where they are still wanted.
        self.texts_due = VecDeque::new();
        self.handoff.wants(self.request.live());
        if self.request.stop_when_closed {
            self.closings = Closings::watch(&self.around.log, new).map(Box::new);
            self.check_closed = true;
        }
        let then = if new.beyond(&old).is_some() {
            self.giving = Some(Box::new(Giving::due(Of::Added(old))));
            Then::Snapshot
        } else {
            self.interests_hash = new.hash();
            Then::Nothing
        };
        Some((Frame::Updated { revision, then }, Kind::Complete))
    }
}
