//! Fragments on their way past the log, and the texts they add up to.
//!
//! Believe this: a delta is worth nothing without the text before it. So every open item's text so far is kept here, a subscriber
//! that missed a fragment is given the text instead of the fragment, and an item that completed takes its fragments with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::event::{Event, Family, ItemKey, ItemStep, Routing};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::limits;
use crate::offset::Offset;

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

#[derive(Debug)]
struct OpenItem {
    routing: Arc<Routing>,
    family: Family,
    started: Offset,
    texts: Vec<OpenText>,
}

#[derive(Debug)]
struct OpenText {
    channel: Channel,
    item_id: Arc<str>,
    /// Empty for ever once it was too long or gave way to others: `lost` then.
    text: BytesMut,
    lost: bool,
}

#[derive(Debug)]
struct Slot {
    /// The tail when it came: who has read up to here has read the item's start.
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
    items: HashMap<(SessionId, ItemKey), OpenItem>,
    /// Oldest first, completed ones included until they come to the front.
    opened: VecDeque<(SessionId, ItemKey, Offset)>,
    text_bytes: usize,
    dropped: u64,
}

/// Fragments that a subscriber is given.
#[derive(Debug)]
pub struct FoundDeltas {
    /// Whole messages, in order.
    pub messages: Vec<Bytes>,
    /// The number of the next fragment to look at.
    pub until: u64,
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
        self.text_bytes
    }

    /// Takes notice of an event: items open and close with the events that say so, before those are published.
    pub fn observe(&mut self, event: &Event) {
        let Some(item) = event.item else { return };
        let key = (event.routing.session.clone(), item);
        match event.item_step {
            Some(ItemStep::Started) => {
                self.opened.push_back((key.0.clone(), key.1, event.offset));
                let open = OpenItem {
                    routing: event.routing.clone(),
                    family: event.family,
                    started: event.offset,
                    texts: Vec::new(),
                };
                if let Some(former) = self.items.insert(key, open) {
                    self.forget_texts(&former);
                }
                self.bound_items();
            }
            Some(ItemStep::Completed) => {
                if let Some(item) = self.items.remove(&key) {
                    self.forget_texts(&item);
                }
            }
            None => {}
        }
    }

    /// Forgets all items and fragments: events went by unseen, and may have completed any of them.
    pub fn restart(&mut self) {
        self.start = self.end();
        self.slots.clear();
        self.slot_bytes = 0;
        self.items.clear();
        self.opened.clear();
        self.text_bytes = 0;
    }

    /// Takes a fragment that came when the log reached `tail`. Returns its number and where its session stands.
    ///
    /// # Errors
    /// Why it goes no further; it was counted.
    pub fn push(&mut self, delta: &Delta, tail: Offset) -> Result<(u64, Arc<Routing>), Dropped> {
        let routing = self.extend_text(delta).inspect_err(|_| self.dropped += 1)?;
        self.bound_texts();
        let number = self.end();
        self.slot_bytes += delta.message.len();
        self.slots.push_back(Slot {
            after: tail,
            routing: routing.clone(),
            item: delta.item,
            channel: delta.channel,
            message: delta.message.clone(),
        });
        while self.slot_bytes > limits::DELTA_WINDOW_BYTES_MAX {
            let Some(slot) = self.slots.pop_front() else { break };
            self.slot_bytes -= slot.message.len();
            self.start += 1;
        }
        Ok((number, routing))
    }

    fn extend_text(&mut self, delta: &Delta) -> Result<Arc<Routing>, Dropped> {
        let key = (delta.session.clone(), delta.item);
        let item = self.items.get_mut(&key).ok_or(Dropped::NotOpen)?;
        let at = match item.texts.iter().position(|text| text.channel == delta.channel) {
            Some(at) => at,
            None => {
                item.texts.push(OpenText {
                    channel: delta.channel,
                    item_id: delta.item_id.clone(),
                    text: BytesMut::new(),
                    lost: false,
                });
                item.texts.len() - 1
            }
        };
        let open = &mut item.texts[at];
        if open.lost {
            return Err(Dropped::TooLong);
        }
        let have = open.text.len() as u64;
        if delta.at < have {
            return Err(Dropped::Repeated);
        }
        if delta.at > have {
            return Err(Dropped::Misplaced);
        }
        if open.text.len() + delta.text.len() > limits::ITEM_TEXT_BYTES_MAX {
            self.text_bytes -= open.text.len();
            *open = OpenText {
                text: BytesMut::new(),
                lost: true,
                ..open.clone_names()
            };
            return Err(Dropped::TooLong);
        }
        open.text.extend_from_slice(&delta.text);
        self.text_bytes += delta.text.len();
        Ok(item.routing.clone())
    }

    /// Fragments from number `from` on, for a subscriber that has read the log up to `next`; none when some of them are gone.
    ///
    /// It stops before the first fragment that came after an event which the subscriber has yet to read.
    #[must_use]
    pub fn read(&self, interests: &Interests, from: u64, next: Offset) -> Option<FoundDeltas> {
        let skip = usize::try_from(from.checked_sub(self.start)?).ok()?;
        let mut found = FoundDeltas {
            messages: Vec::new(),
            until: from,
        };
        let mut bytes = 0;
        for slot in self.slots.iter().skip(skip) {
            if slot.after > next || (bytes > 0 && bytes + slot.message.len() > limits::FRAME_BYTES_MAX) {
                break;
            }
            found.until += 1;
            // Most fragments are of other sessions.
            if !interests.want_deltas(&slot.routing, slot.channel.family()) {
                continue;
            }
            let open = self.items.get(&(slot.routing.session.clone(), slot.item));
            if open.is_some_and(|item| item.started < slot.after) {
                bytes += slot.message.len();
                found.messages.push(slot.message.clone());
            }
        }
        Some(found)
    }

    /// The texts so far of all open items that are wanted, and the number of the first fragment after them; none while the
    /// subscriber, which has read the log up to `next`, has yet to read an event that came before a fragment.
    #[must_use]
    pub fn texts(&self, interests: &Interests, next: Offset) -> Option<(Vec<ItemText>, u64)> {
        if self.slots.back().is_some_and(|slot| slot.after > next) {
            return None;
        }
        let mut open: Vec<_> = self
            .items
            .values()
            .filter(|item| item.started < next && interests.want_deltas(&item.routing, item.family))
            .collect();
        open.sort_by_key(|item| item.started);
        Some((open.into_iter().flat_map(OpenItem::so_far).collect(), self.end()))
    }

    /// The texts so far of one item that is open.
    #[must_use]
    pub fn texts_of(&self, session: &SessionId, item: ItemKey) -> Vec<ItemText> {
        let open = self.items.get(&(session.clone(), item));
        open.into_iter().flat_map(OpenItem::so_far).collect()
    }

    fn forget_texts(&mut self, item: &OpenItem) {
        self.text_bytes -= item.texts.iter().map(|text| text.text.len()).sum::<usize>();
    }

    fn bound_items(&mut self) {
        // Completed items stay in the queue until they come to its front; more than twice the limit of them are cleaned out.
        if self.opened.len() > 2 * limits::ITEMS_IN_FLIGHT_MAX {
            let items = &self.items;
            self.opened.retain(|(session, item, started)| {
                items
                    .get(&(session.clone(), *item))
                    .is_some_and(|open| open.started == *started)
            });
        }
        while self.items.len() > limits::ITEMS_IN_FLIGHT_MAX {
            let Some((session, item, started)) = self.opened.pop_front() else {
                break;
            };
            let key = (session, item);
            if self.items.get(&key).is_some_and(|open| open.started == started)
                && let Some(item) = self.items.remove(&key)
            {
                self.forget_texts(&item);
            }
        }
    }

    fn bound_texts(&mut self) {
        if self.text_bytes <= limits::ITEM_TEXTS_BYTES_MAX {
            return;
        }
        for (session, item, _) in &self.opened {
            let Some(open) = self.items.get_mut(&(session.clone(), *item)) else {
                continue;
            };
            for text in &mut open.texts {
                self.text_bytes -= text.text.len();
                text.text = BytesMut::new();
                text.lost = true;
            }
            if self.text_bytes <= limits::ITEM_TEXTS_BYTES_MAX {
                return;
            }
        }
    }
}

impl OpenItem {
    fn so_far(&self) -> impl Iterator<Item = ItemText> {
        self.texts.iter().map(|open| ItemText {
            session: self.routing.session.clone(),
            item_id: open.item_id.clone(),
            channel: open.channel,
            text: (!open.lost).then(|| Bytes::copy_from_slice(&open.text)),
        })
    }
}

impl OpenText {
    fn clone_names(&self) -> OpenText {
        OpenText {
            channel: self.channel,
            item_id: self.item_id.clone(),
            text: BytesMut::new(),
            lost: self.lost,
        }
    }
}

#[cfg(test)]
mod tests;
