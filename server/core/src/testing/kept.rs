//! An encoding that keeps the pages of snapshots, so that a test can look into them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::event::{Encode, Kind, Lost, Placement, Told};
use crate::id::{SessionId, WriterId};
use crate::link::Link;
use crate::offset::{Offset, Time};
use crate::session::SessionKey;
use crate::store::suite::PlainEncode;
use crate::subscription::frame::{Frame, SnapshotEntry};

/// A page's message is the page's number here, padded to the bytes of its sessions' items.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<Vec<SnapshotEntry>>>);

impl Kept {
    /// What this frame, a page, was made of.
    pub(crate) fn page(&self, frame: &Frame) -> Vec<SnapshotEntry> {
        let Frame::SnapshotPage(page) = frame else {
            panic!("{frame:?} is no page")
        };
        let (number, _) = page.split_first_chunk().unwrap();
        self.0.lock().unwrap()[usize::from_be_bytes(*number)].clone()
    }
}

impl Encode for Kept {
    fn event(&self, placement: &Placement<'_>, body: &Bytes) -> Bytes {
        PlainEncode.event(placement, body)
    }

    fn linked(&self, stored: &Bytes, link: Link) -> Bytes {
        PlainEncode.linked(stored, link)
    }

    fn opened(&self, key: Option<&SessionKey>, now: Time) -> (Kind, Bytes) {
        PlainEncode.opened(key, now)
    }

    fn lost(&self, writer: &WriterId, connector: &str, lost: Lost, now: Time) -> (Kind, Bytes) {
        PlainEncode.lost(writer, connector, lost, now)
    }

    fn item_id(&self, sent: &Bytes) -> Arc<str> {
        PlainEncode.item_id(sent)
    }

    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, _: Offset) -> Bytes {
        let mut pages = self.0.lock().unwrap();
        let items = sessions.iter().flat_map(|entry| &entry.snapshot.items);
        let bytes = items.map(|event| event.bytes.len()).sum();
        let page = [&pages.len().to_be_bytes()[..], &vec![0; bytes]].concat();
        pages.push(sessions);
        page.into()
    }

    fn recorded(&self, _: &Bytes) -> Option<Time> {
        None
    }

    fn told(&self, _: &Bytes) -> Option<Told> {
        None
    }

    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes {
        PlainEncode.delta(session, body)
    }
}
