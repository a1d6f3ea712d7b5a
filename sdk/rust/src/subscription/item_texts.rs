//! The texts of open items, put together from deltas.
//!
//! The one thing to believe: a delta counts only if its `at` is exactly what is held; everything else waits for the item's
//! `item_text` or its completed event. So a text here is always a beginning of the whole, never a stutter or a hole.

use std::collections::{HashMap, VecDeque};

use bellboard_proto::v1::delta::Fragment;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::item_text::State;
use bellboard_proto::v1::{Delta, DeltaChannel, Event, ItemText};

use super::Frame;

/// Most texts held at a time. One agent writes one or two; past it the oldest is forgotten and waits for its completed event.
const TEXTS_MAX: usize = 1_024;
/// Most bytes of one text: as many as the hub keeps of an open item.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// What became of a delta or an item text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextChange {
    /// The text grew by it.
    Grew,
    /// The text was replaced by it.
    Replaced,
    /// It does not follow what is held, and nothing was changed.
    Dropped,
    /// The text is not to be had and was forgotten.
    Forgotten,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Channel {
    session_id: String,
    item_id: String,
    channel: DeltaChannel,
}

/// The texts so far of all open items of a stream.
#[derive(Debug, Default)]
pub struct ItemTexts {
    texts: HashMap<Channel, Vec<u8>>,
    /// The keys of `texts`, oldest first.
    order: VecDeque<Channel>,
}

impl ItemTexts {
    /// Holds nothing.
    #[must_use]
    pub fn new() -> ItemTexts {
        ItemTexts::default()
    }

    /// The text so far of an item's channel. `None`: none is held.
    #[must_use]
    pub fn text(&self, session_id: &str, item_id: &str, channel: DeltaChannel) -> Option<&[u8]> {
        let key = Channel {
            session_id: session_id.to_owned(),
            item_id: item_id.to_owned(),
            channel,
        };
        self.texts.get(&key).map(Vec::as_slice)
    }

    /// Takes from a frame whatever it says about texts.
    pub fn apply(&mut self, frame: &Frame) {
        match frame {
            Frame::Deltas(deltas) => {
                for delta in &deltas.deltas {
                    self.apply_delta(delta);
                }
            }
            Frame::ItemText(text) => {
                self.apply_item_text(text);
            }
            Frame::Events(events) => events.events.iter().for_each(|event| self.apply_event(event)),
            Frame::SnapshotPage(page) => {
                for text in page.sessions.iter().flat_map(|session| &session.item_texts) {
                    self.apply_item_text(text);
                }
            }
            // These say nothing about texts.
            Frame::Subscribed(_)
            | Frame::SnapshotBegin(_)
            | Frame::SnapshotEnd(_)
            | Frame::SubscriptionUpdated(_)
            | Frame::CaughtUp(_)
            | Frame::FellBehind(_)
            | Frame::Gap(_)
            | Frame::Heartbeat(_)
            | Frame::CredentialExpiring(_)
            | Frame::Closing(_)
            | Frame::Undecodable(_)
            | Frame::Unknown(_) => {}
        }
    }

    /// Appends a delta if it follows what is held.
    pub fn apply_delta(&mut self, delta: &Delta) -> TextChange {
        let (channel, fragment) = match &delta.fragment {
            Some(Fragment::MessageText(text)) => (DeltaChannel::MessageText, text.as_bytes()),
            Some(Fragment::ReasoningText(text)) => (DeltaChannel::ReasoningText, text.as_bytes()),
            Some(Fragment::ToolInput(bytes)) => (DeltaChannel::ToolInput, bytes.as_ref()),
            Some(Fragment::ToolOutput(output)) => (DeltaChannel::ToolOutput, output.content.as_ref()),
            // A later hub's.
            None => return TextChange::Dropped,
        };
        let key = Channel {
            session_id: delta.session_id.clone(),
            item_id: delta.item_id.clone(),
            channel,
        };
        let held = self.texts.get(&key).map_or(0, Vec::len);
        if delta.at != held as u64 || held + fragment.len() > TEXT_BYTES_MAX {
            return TextChange::Dropped;
        }
        self.entry(key).extend_from_slice(fragment);
        TextChange::Grew
    }

    /// Replaces a channel's text.
    pub fn apply_item_text(&mut self, text: &ItemText) -> TextChange {
        let bytes = match &text.state {
            Some(State::MessageText(text) | State::ReasoningText(text)) => Some(text.as_bytes()),
            Some(State::ToolInput(bytes) | State::ToolOutput(bytes)) => Some(bytes.as_ref()),
            // Not to be had, or told in a later hub's way.
            Some(State::Unavailable(_)) | None => None,
        };
        let key = Channel {
            session_id: text.session_id.clone(),
            item_id: text.item_id.clone(),
            channel: text.channel(),
        };
        match bytes {
            Some(bytes) if bytes.len() <= TEXT_BYTES_MAX => {
                let held = self.entry(key);
                held.clear();
                held.extend_from_slice(bytes);
                TextChange::Replaced
            }
            Some(_) | None => {
                self.forget(|other| *other == key);
                TextChange::Forgotten
            }
        }
    }

    /// Forgets the texts of an item that the event completes, because the event has the full value, or begins, because it begins
    /// empty, also for the second time.
    pub fn apply_event(&mut self, event: &Event) {
        let completed = matches!(
            event.payload,
            Some(Payload::MessageCompleted(_) | Payload::ReasoningCompleted(_) | Payload::ToolCompleted(_))
        );
        let started = matches!(
            event.payload,
            Some(Payload::MessageStarted(_) | Payload::ReasoningStarted(_) | Payload::ToolStarted(_))
        );
        if completed || started {
            self.forget(|channel| channel.session_id == event.session_id && channel.item_id == event.item_id);
        }
    }

    fn entry(&mut self, key: Channel) -> &mut Vec<u8> {
        if !self.texts.contains_key(&key) {
            if self.order.len() >= TEXTS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.texts.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.texts.entry(key).or_default()
    }

    fn forget(&mut self, is_gone: impl Fn(&Channel) -> bool) {
        let texts = &mut self.texts;
        self.order.retain(|channel| {
            let gone = is_gone(channel);
            if gone {
                texts.remove(channel);
            }
            !gone
        });
    }
}

#[cfg(test)]
mod tests;
