//! The items that are open, and the texts that their fragments add up to.
//!
//! Believe this: a text is whole or it is lost, never a part. What is too long, or too much together, is lost until its item
//! completes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Channel, Delta, Dropped, ItemText, Opened};
use crate::event::{Family, ItemKey, Routing};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::limits;
use crate::offset::Offset;

/// An item that is open.
#[derive(Debug)]
pub(super) struct OpenItem {
    routing: Arc<Routing>,
    family: Family,
    pub(super) started: Offset,
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

/// What a fragment did.
#[derive(Debug)]
pub(super) struct Extended {
    /// Where its session stands.
    pub(super) routing: Arc<Routing>,
    /// Whether its text grew by it.
    pub(super) grown: bool,
    /// Whose texts were lost over it.
    pub(super) lost: Vec<(Arc<Routing>, Family)>,
}

/// The open items of one log.
#[derive(Debug, Default)]
pub(super) struct OpenItems {
    pub(super) items: HashMap<(SessionId, ItemKey), OpenItem>,
    /// Oldest first, completed ones included until they come to the front.
    pub(super) opened: VecDeque<Opened>,
    text_bytes: usize,
}

impl OpenItems {
    /// Bytes of all texts.
    pub(super) const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The item of this name, if it is open.
    pub(super) fn get(&self, session: &SessionId, item: ItemKey) -> Option<&OpenItem> {
        self.items.get(&(session.clone(), item))
    }

    /// An item begins; a text that it had before is gone.
    pub(super) fn start(&mut self, routing: &Arc<Routing>, item: ItemKey, family: Family, started: Offset) {
        let session = routing.session.clone();
        self.opened.push_back(Opened {
            session: session.clone(),
            item,
            started,
        });
        let open = OpenItem {
            routing: routing.clone(),
            family,
            started,
            texts: Vec::new(),
        };
        if let Some(former) = self.items.insert((session, item), open) {
            self.forget_texts(&former);
        }
        self.bound_items();
    }

    /// A session was moved there, and what lies below it with it. There are at most [`limits::ITEMS_IN_FLIGHT_MAX`] items to look at.
    pub(super) fn follow(&mut self, moved: &Arc<Routing>) {
        for item in self.items.values_mut() {
            if item.routing.session == moved.session {
                item.routing = moved.clone();
            } else if let Some(routing) = item.routing.below(moved) {
                item.routing = Arc::new(routing);
            }
        }
    }

    /// An item has its full value.
    pub(super) fn complete(&mut self, session: &SessionId, item: ItemKey) {
        if let Some(item) = self.items.remove(&(session.clone(), item)) {
            self.forget_texts(&item);
        }
    }

    /// Adds a fragment to its text, or loses the text where it becomes too long.
    pub(super) fn extend(&mut self, delta: &Delta) -> Result<Extended, Dropped> {
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
        let routing = item.routing.clone();
        if open.text.len() + delta.text.len() > limits::ITEM_TEXT_BYTES_MAX {
            self.text_bytes -= open.lose();
            return Ok(Extended {
                lost: vec![(routing.clone(), item.family)],
                routing,
                grown: false,
            });
        }
        open.text.extend_from_slice(&delta.text);
        self.text_bytes += delta.text.len();
        Ok(Extended {
            routing,
            grown: true,
            lost: self.bound_texts(),
        })
    }

    /// Takes over an item that began before this process: what was said of it is lost.
    pub(super) fn lose(&mut self, session: &SessionId, item: ItemKey, item_id: &Arc<str>) {
        let Some(open) = self.items.get_mut(&(session.clone(), item)) else {
            return;
        };
        let channels = Channel::ALL
            .into_iter()
            .filter(|channel| channel.family() == open.family);
        open.texts = channels
            .map(|channel| OpenText {
                channel,
                item_id: item_id.clone(),
                text: BytesMut::new(),
                lost: true,
            })
            .collect();
    }

    /// The items with texts that are wanted and were started before `next`, in the order of their starts.
    pub(super) fn wanted(&self, interests: &Interests, next: Offset) -> VecDeque<Opened> {
        let wanted = |open: &OpenItem| {
            open.started < next && !open.texts.is_empty() && interests.want_deltas(&open.routing, open.family)
        };
        let found = self.items.iter().filter(|(_, open)| wanted(open));
        let mut found: Vec<Opened> = found
            .map(|((session, item), open)| Opened {
                session: session.clone(),
                item: *item,
                started: open.started,
            })
            .collect();
        found.sort_unstable_by_key(|opened| opened.started);
        found.into()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = OpenItems::default();
    }

    fn forget_texts(&mut self, item: &OpenItem) {
        self.text_bytes -= item.texts.iter().map(|text| text.text.len()).sum::<usize>();
    }

    /// Whether this is what stands there under its name now: neither completed nor begun again.
    fn is_open(&self, opened: &Opened) -> bool {
        self.get(&opened.session, opened.item)
            .is_some_and(|open| open.started == opened.started)
    }

    fn bound_items(&mut self) {
        // Completed items stay in the queue until they come to its front; more than twice the limit of them are cleaned out.
        if self.opened.len() > 2 * limits::ITEMS_IN_FLIGHT_MAX {
            let mut opened = std::mem::take(&mut self.opened);
            opened.retain(|opened| self.is_open(opened));
            self.opened = opened;
        }
        while self.items.len() > limits::ITEMS_IN_FLIGHT_MAX {
            let Some(oldest) = self.opened.pop_front() else { break };
            if self.is_open(&oldest) {
                self.complete(&oldest.session, oldest.item);
            }
        }
    }

    /// Loses the oldest texts while there are too many bytes of them. Returns whose.
    fn bound_texts(&mut self) -> Vec<(Arc<Routing>, Family)> {
        let mut lost = Vec::new();
        for Opened { session, item, .. } in &self.opened {
            if self.text_bytes <= limits::ITEM_TEXTS_BYTES_MAX {
                break;
            }
            let Some(open) = self.items.get_mut(&(session.clone(), *item)) else {
                continue;
            };
            self.text_bytes -= open.texts.iter_mut().map(OpenText::lose).sum::<usize>();
            lost.push((open.routing.clone(), open.family));
        }
        lost
    }
}

impl OpenItem {
    /// A copy of its texts as they are now.
    pub(super) fn so_far(&self) -> impl Iterator<Item = ItemText> {
        self.texts.iter().map(|open| ItemText {
            session: self.routing.session.clone(),
            item_id: open.item_id.clone(),
            channel: open.channel,
            text: (!open.lost).then(|| Bytes::copy_from_slice(&open.text)),
        })
    }
}

impl OpenText {
    /// Gives its bytes back, so many.
    fn lose(&mut self) -> usize {
        self.lost = true;
        std::mem::take(&mut self.text).len()
    }
}
