//! Fragments and the texts that they continue.
//!
//! Believe this: a client needs an item's text before its fragments, and may get the text a little later than the number from which
//! the fragments come.

use std::collections::VecDeque;

use super::{Subscription, complete};
use crate::log::Log;
use crate::subscription::frame::Frame;

impl Subscription {
    pub(super) fn sync_texts(&mut self) {
        let (next, _) = self.handoff.place();
        let opened = self.around.log.deltas().opened(&self.request.interests, next);
        // None: an event came before the newest fragment, and is read first.
        if let Some((opened, number)) = opened {
            self.handoff.has_texts(number);
            self.texts_due = opened;
        }
    }

    /// Copies the texts of one item that is due; false when none is.
    ///
    /// A text that is copied later than the number of the next fragment was taken holds fragments from that number on too. They come
    /// once more, and do no harm: a client applies a fragment iff its `at` equals what it has, so it passes over all that its text
    /// holds and goes on with the first one behind it. None is missing in between, because a text grows by every fragment that is
    /// numbered, under the same lock. And nothing is read from the log meanwhile: an item that ended is gone from the open ones before
    /// its end can be read, so no text comes behind an end.
    pub(super) fn copy_next_texts(&mut self) -> bool {
        let Some(opened) = self.texts_due.pop_front() else {
            // A parked stream is small: what the queue needed is given back.
            self.texts_due = VecDeque::new();
            return false;
        };
        let texts = self.around.log.deltas().texts_so_far(&opened);
        self.ready
            .extend(texts.into_iter().map(|text| complete(Frame::ItemText(text))));
        true
    }

    pub(super) fn read_deltas(&mut self, number: u64) -> Option<Frame> {
        let (next, _) = self.handoff.place();
        let Some(found) = self.around.log.deltas().read(&self.request.interests, number, next) else {
            self.handoff.lose_texts();
            return None;
        };
        Log::count(&self.around.log.counters().slots_visited, found.visited);
        self.handoff.has_deltas(found.until);
        (!found.messages.is_empty()).then_some(Frame::Deltas(found.messages))
    }
}
