//! An encoding that a test can read.
//!
//! Believe this: the store must treat what it gives as opaque; only its lengths and its last eight bytes mean something.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Encode, Kind, Lost, Placement, Told};
use crate::id::{SessionId, WriterId};
use crate::link::Link;
use crate::offset::{Offset, Time};
use crate::session::SessionKey;
use crate::subscription::frame::SnapshotEntry;

/// Stored bytes are the offset (8 bytes, big endian) and the body. The link comes behind them, in the same spelling.
/// No time and no step is in them. A delta is its session's id, a line feed and its body; a snapshot's page the offset and the sessions'
/// ids, a line feed between each.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainEncode;

impl PlainEncode {
    /// The stored bytes of a body at an offset.
    #[must_use]
    pub fn stored(offset: Offset, body: &[u8]) -> Bytes {
        [&offset.0.to_be_bytes()[..], body].concat().into()
    }
}

impl Encode for PlainEncode {
    fn event(&self, placement: &Placement<'_>, body: &Bytes) -> Bytes {
        PlainEncode::stored(placement.offset, body)
    }

    fn linked(&self, stored: &Bytes, link: Link) -> Bytes {
        [&stored[..], &link.0.to_be_bytes()[..]].concat().into()
    }

    fn opened(&self, key: Option<&SessionKey>, _: Time) -> (Kind, Bytes) {
        let native_id = key.map_or("", |key| &*key.native_id);
        (Kind(20), Bytes::copy_from_slice(native_id.as_bytes()))
    }

    fn lost(&self, writer: &WriterId, connector: &str, lost: Lost, _: Time) -> (Kind, Bytes) {
        (Kind(42), format!("{connector} of {writer}: {lost:?}").into())
    }

    fn item_id(&self, _: &Bytes) -> Arc<str> {
        "item".into()
    }

    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, offset: Offset) -> Bytes {
        let ids = sessions.iter().map(|entry| entry.snapshot.session.id.as_str());
        let lines: Vec<&str> = ids.collect();
        format!("{offset}\n{}", lines.join("\n")).into()
    }

    fn recorded(&self, _: &Bytes) -> Option<Time> {
        None
    }

    fn told(&self, _: &Bytes) -> Option<Told> {
        None
    }

    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes {
        [session.as_str().as_bytes(), b"\n", body].concat().into()
    }
}
