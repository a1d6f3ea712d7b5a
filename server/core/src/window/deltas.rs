//! Fragments on their way past the log, and the texts they add up to.
//!
//! Believe this: a delta is worth nothing without the text before it. So every open item's text so far is kept here, a subscriber
//! that missed a fragment is given the text instead of the fragment, and an item that completed takes its fragments with it.

mod items;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, Family, InSession, ItemKey, ItemStep, Routing};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::limits;
use crate::offset::Offset;
use items::OpenItems;

/// Which of an item's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A message's text.
    Message,
    /// A reasoning block's text.
    Reasoning,
    /// A tool call's input.
    ToolInput,
    /// A tool call's output.
    ToolOutput,
}

impl Channel {
    /// Every channel.
    const ALL: [Channel; 4] = [
        Channel::Message,
        Channel::Reasoning,
        Channel::ToolInput,
        Channel::ToolOutput,
    ];

    /// The family whose interests want it.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Channel::Message => Family::Message,
            Channel::Reasoning => Family::Reasoning,
            Channel::ToolInput | Channel::ToolOutput => Family::Tool,
        }
    }
}

/// A fragment on its way in.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Its session.
    pub session: SessionId,
    /// Its item.
    pub item: ItemKey,
    /// The item's id, as it is sent.
    pub item_id: Arc<str>,
    /// Which of the item's texts.
    pub channel: Channel,
    /// Bytes of that text before it.
    pub at: u64,
    /// The bytes it adds to the text.
    pub text: Bytes,
    /// The message that is sent.
    pub message: Bytes,
}

/// Why a fragment went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its item was never started, or is completed.
    NotOpen,
    /// It was here before.
    Repeated,
    /// Something before it is missing, so that nobody could place it.
    Misplaced,
    /// The text is longer than the hub keeps.
    TooLong,
}

/// The text of one open item so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemText {
    /// Its session.
    pub session: SessionId,
    /// Its item.
    pub item_id: Arc<str>,
    /// Which of the item's texts.
    pub channel: Channel,
    /// The text; none when the hub does not have it, and the item is to be waited for.
    pub text: Option<Bytes>,
}

/// One item as it was started. Begun again under its name, it is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub item: ItemKey,
    /// The place of the event that started it.
    pub started: Offset,
}

#[derive(Debug)]
struct Slot {
    /// The tail when it came: who has read up to here has read the item's start. Never less than that of the slot before.
    after: Offset,
    routing: Arc<Routing>,
    item: ItemKey,
    channel: Channel,
    message: Bytes,
}

/// The newest fragments of one log, and its open items.
#[derive(Debug, Default)]
pub struct DeltaWindow {
    /// The number of the oldest fragment held. Fragments are counted from 0 for the life of the process.
    start: u64,
    slots: VecDeque<Slot>,
    slot_bytes: usize,
    /// The numbers in `slots` of each session, so that a reader of few sessions skips the others.
    postings: HashMap<SessionId, VecDeque<u64>>,
    items: OpenItems,
    dropped: u64,
}

/// Fragments that a subscriber is given.
#[derive(Debug)]
pub struct FoundDeltas {
    /// Whole messages, in order.
    pub messages: Vec<Bytes>,
    /// The number of the next fragment to look at.
    pub until: u64,
    /// How many fragments were looked at: what the cost rule is asserted by.
    pub visited: usize,
}

/// What a fragment that was taken means to subscribers.
#[derive(Debug)]
pub struct Pushed {
    /// One past its number.
    pub due: u64,
    /// Who is to look: whoever wants fragments of these families of sessions that stand there.
    pub wake: Vec<(Arc<Routing>, Family)>,
}

impl DeltaWindow {
    /// The number of the next fragment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.slots.len() as u64
    }

    /// How many fragments were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes of texts in flight.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        self.items.text_bytes()
    }

    /// Takes notice of an event: items open and close with the events that say so, before those are published.
    /// An item goes where its session goes.
    pub fn observe(&mut self, event: &Event) {
        let Some(InSession {
            routing, moved_from, ..
        }) = event.in_session()
        else {
            return;
        };
        if moved_from.is_some() {
            self.items.follow(routing);
        }
        let Some(item) = event.item else { return };
        match event.item_step {
            Some(ItemStep::Started) => self.items.start(routing, item, event.family, event.offset),
            Some(ItemStep::Completed) => self.items.complete(&routing.session, item),
            None => {}
        }
    }

    /// Forgets all items and fragments: events went by unseen, and may have completed any of them.
    pub fn restart(&mut self) {
        self.start = self.end();
        self.slots.clear();
        self.slot_bytes = 0;
        self.postings.clear();
        self.items.clear();
    }

    /// Takes notice of events that were stored before this process, in offset order: what is open after them has lost its texts, and
    /// whoever looks at it is told so. `name` tells an event's item id.
    pub fn recover(&mut self, events: &[Event], name: impl Fn(&Event) -> Arc<str>) {
        events.iter().for_each(|event| self.observe(event));
        for event in events {
            if let (Some(of), Some(item), Some(ItemStep::Started)) = (event.in_session(), event.item, event.item_step) {
                self.items.lose(&of.routing.session, item, &name(event));
            }
        }
    }

    /// Takes a fragment that came when the log reached `tail`.
    ///
    /// Where a text is lost over it, all fragments go with it: whoever reads them finds them gone, and is given the texts anew, among
    /// them the one that is not to be had any more.
    ///
    /// # Errors
    /// Why it goes no further; it was counted.
    pub fn push(&mut self, delta: &Delta, tail: Offset) -> Result<Pushed, Dropped> {
        let extended = self.items.extend(delta).inspect_err(|_| self.dropped += 1)?;
        let mut wake = extended.lost;
        if extended.grown {
            self.keep(delta, extended.routing.clone(), tail);
        } else {
            self.dropped += 1;
        }
        if !wake.is_empty() {
            self.start = self.end() + 1;
            self.slots.clear();
            self.slot_bytes = 0;
            self.postings.clear();
        }
        wake.push((extended.routing, delta.channel.family()));
        Ok(Pushed { due: self.end(), wake })
    }

    fn keep(&mut self, delta: &Delta, routing: Arc<Routing>, tail: Offset) {
        let number = self.end();
        self.slot_bytes += delta.message.len();
        let posting = self.postings.entry(routing.session.clone()).or_default();
        posting.push_back(number);
        self.slots.push_back(Slot {
            after: self.slots.back().map_or(tail, |last| tail.max(last.after)),
            routing,
            item: delta.item,
            channel: delta.channel,
            message: delta.message.clone(),
        });
        while self.slot_bytes > limits::DELTA_WINDOW_BYTES_MAX && self.trim_one() {}
    }

    /// Fragments from number `from` on, for a subscriber that has read the log up to `next`; none when some of them are gone. About
    /// [`limits::FRAME_BYTES_MAX`] of them, among the first [`limits::SCAN_EVENTS_MAX`] that are looked at.
    ///
    /// It stops before the first fragment that came after an event which the subscriber has yet to read.
    #[must_use]
    pub fn read(&self, interests: &Interests, from: u64, next: Offset) -> Option<FoundDeltas> {
        if from < self.start {
            return None;
        }
        let (candidates, until) = self.candidates(interests, from, next);
        let mut found = FoundDeltas {
            messages: Vec::new(),
            until,
            visited: 0,
        };
        let mut bytes = 0;
        for number in candidates {
            let Some(slot) = self.slot(number) else { break };
            // The fragments are locked meanwhile: a selective read of many goes on where it stopped.
            if found.visited == limits::SCAN_EVENTS_MAX {
                found.until = number;
                break;
            }
            found.visited += 1;
            if !self.is_for(slot, interests) {
                continue;
            }
            if bytes > 0 && bytes + slot.message.len() > limits::FRAME_BYTES_MAX {
                found.until = number;
                break;
            }
            bytes += slot.message.len();
            found.messages.push(slot.message.clone());
        }
        Some(found)
    }

    /// The numbers worth looking at: by session where few sessions are wanted, all in the range otherwise. And how far they reach,
    /// which is less than what may be read where a session has more of them than one read looks at.
    fn candidates(&self, interests: &Interests, from: u64, next: Offset) -> (Box<dyn Iterator<Item = u64>>, u64) {
        // A fragment came at a tail, and tails only grow: those that may be read now are the first so many.
        let readable = self.slots.partition_point(|slot| slot.after <= next);
        let mut until = from.max(self.start + readable as u64);
        let Some(sessions) = interests.single_sessions() else {
            return (Box::new(from..until), until);
        };
        let mut numbers: Vec<u64> = Vec::new();
        for posting in sessions.into_iter().filter_map(|session| self.postings.get(session)) {
            let begin = posting.partition_point(|number| *number < from);
            // Not looked at is not read: the range ends where the first session was left.
            until = posting
                .get(begin + limits::SCAN_EVENTS_MAX)
                .map_or(until, |beyond| until.min(*beyond));
            numbers.extend(posting.range(begin..).take_while(|number| **number < until));
        }
        numbers.sort_unstable();
        let within = numbers.into_iter().take_while(move |number| *number < until);
        (Box::new(within), until)
    }

    /// Whether a fragment is wanted, and its item still the one that it continues.
    fn is_for(&self, slot: &Slot, interests: &Interests) -> bool {
        let open = || self.items.get(&slot.routing.session, slot.item);
        interests.want_deltas(&slot.routing, slot.channel.family())
            && open().is_some_and(|item| item.started < slot.after)
    }

    /// The open items with texts that are wanted, oldest first, and the number of the first fragment that is not in those texts now;
    /// none while the subscriber, which has read the log up to `next`, has yet to read an event that came before a fragment.
    ///
    /// At most [`limits::ITEMS_IN_FLIGHT_MAX`] items. The texts themselves are large and are copied item by item, by
    /// [`DeltaWindow::texts_so_far`], with the lock given back in between.
    #[must_use]
    pub fn opened(&self, interests: &Interests, next: Offset) -> Option<(VecDeque<Opened>, u64)> {
        if self.slots.back().is_some_and(|slot| slot.after > next) {
            return None;
        }
        Some((self.items.wanted(interests, next), self.end()))
    }

    /// The texts so far of one item; none when it was completed meanwhile, or begun again.
    #[must_use]
    pub fn texts_so_far(&self, opened: &Opened) -> Vec<ItemText> {
        let open = self.items.get(&opened.session, opened.item);
        open.filter(|item| item.started == opened.started)
            .into_iter()
            .flat_map(items::OpenItem::so_far)
            .collect()
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        let at = number.checked_sub(self.start)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    fn trim_one(&mut self) -> bool {
        let Some(slot) = self.slots.pop_front() else {
            return false;
        };
        self.slot_bytes -= slot.message.len();
        self.start += 1;
        if let Some(posting) = self.postings.get_mut(&slot.routing.session) {
            posting.pop_front();
            if posting.is_empty() {
                self.postings.remove(&slot.routing.session);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
