//! What a client that obeys the rules of the stream ends up with: the state that two clients must agree on, however often one of them was
//! cut.

use std::collections::BTreeMap;

use bellboard_proto::v1::{self, delta::Fragment, event::Payload, item_text::State, subscribe_response::Frame};

use crate::events::text;
use crate::stream::of_sessions;

/// A client's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replica {
    /// Every event that came, by offset.
    pub events: BTreeMap<u64, v1::Event>,
    /// Sessions of snapshots, by id, with the items that came with them.
    pub sessions: BTreeMap<String, (u64, Vec<v1::Event>)>,
    /// Texts of items that are open, by session and item.
    pub texts: BTreeMap<(String, String), String>,
    /// The offset of the snapshot of sessions that is under way.
    under_way: Option<u64>,
    /// Per session that came in such a snapshot the offset that it is as of: its events before that are in it.
    held: BTreeMap<String, u64>,
}

impl Replica {
    /// Takes a frame.
    ///
    /// # Panics
    /// When it repeats an event, or shows text that the item does not turn out to have.
    pub fn take(&mut self, frame: &Frame) {
        match frame {
            Frame::SnapshotBegin(begin) if of_sessions(begin) => self.under_way = Some(begin.offset),
            Frame::SnapshotBegin(_) => *self = Replica::default(),
            Frame::SnapshotEnd(_) => self.under_way = None,
            Frame::SnapshotPage(page) => {
                for entry in &page.sessions {
                    let session = entry.session.clone().unwrap_or_default();
                    if let Some(offset) = self.under_way {
                        self.forget(&session.session_id);
                        self.held.insert(session.session_id.clone(), offset);
                    }
                    self.sessions
                        .insert(session.session_id, (session.event_count, entry.items.clone()));
                    entry.item_texts.iter().for_each(|text| self.replace(text));
                }
            }
            Frame::Events(batch) => batch.events.iter().for_each(|event| self.event(event)),
            Frame::Deltas(deltas) => deltas.deltas.iter().for_each(|delta| self.delta(delta)),
            Frame::ItemText(text) => self.replace(text),
            _ => {}
        }
    }

    /// How many events of a session are known, told by a snapshot or one by one.
    #[must_use]
    pub fn known(&self, session: &str) -> u64 {
        let told = self.sessions.get(session).map_or(0, |(count, _)| *count);
        let delivered = self
            .events
            .values()
            .filter(|event| event.session_id == session)
            .map(|event| event.index + 1);
        delivered.max().unwrap_or(0).max(told)
    }

    /// The texts of a session's complete items, however they became known.
    #[must_use]
    pub fn items(&self, session: &str) -> BTreeMap<String, String> {
        let told = self.sessions.get(session).into_iter().flat_map(|(_, items)| items);
        let delivered = self.events.values().filter(|event| event.session_id == session);
        told.chain(delivered)
            .filter(|event| !text(event).is_empty())
            .map(|event| (event.item_id.clone(), text(event)))
            .collect()
    }

    /// Forgets what is known of a session.
    pub fn forget(&mut self, session: &str) {
        self.events.retain(|_, event| event.session_id != session);
        self.sessions.remove(session);
        self.texts.retain(|(of, _), _| of != session);
    }

    fn event(&mut self, event: &v1::Event) {
        if self
            .held
            .get(&event.session_id)
            .is_some_and(|offset| event.offset < *offset)
        {
            return;
        }
        let repeated = self.events.insert(event.offset, event.clone());
        assert!(repeated.is_none(), "offset {} was delivered twice", event.offset);
        let item = (event.session_id.clone(), event.item_id.clone());
        match &event.payload {
            Some(Payload::MessageStarted(_)) => drop(self.texts.insert(item, String::new())),
            Some(Payload::MessageCompleted(_)) => {
                let shown = self.texts.remove(&item).unwrap_or_default();
                let whole = text(event);
                assert!(
                    whole.starts_with(&shown),
                    "item {} showed {shown:?}, which is no beginning of {whole:?}",
                    item.1
                );
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &v1::Delta) {
        let Some(Fragment::MessageText(more)) = &delta.fragment else {
            return;
        };
        let item = (delta.session_id.clone(), delta.item_id.clone());
        let Some(text) = self.texts.get_mut(&item) else {
            panic!("a fragment of {} came without its start, or after its end", item.1);
        };
        if text.len() as u64 == delta.at {
            text.push_str(more);
        }
    }

    fn replace(&mut self, text: &v1::ItemText) {
        if let Some(State::MessageText(so_far)) = &text.state {
            assert_eq!(so_far.len() as u64, text.at, "item_text names its own length");
            self.texts
                .insert((text.session_id.clone(), text.item_id.clone()), so_far.clone());
        }
    }
}
