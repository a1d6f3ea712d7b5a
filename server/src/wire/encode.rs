//! Events and deltas as protobuf bytes: what the core asks of the wire.
//!
//! Believe this: an event is encoded once. Its writer's part (the body) was cut out at the door, the hub's part is put before it, the
//! link behind it; protobuf lets fields stand in any order, so nothing is ever taken apart again.

use std::sync::Arc;

use bellboard_core::event::{Encode, Kind, Lost, PlacedIn, Placement, Told, ToldOf};
use bellboard_core::id::{SessionId, WriterId};
use bellboard_core::link::Link;
use bellboard_core::offset::{Offset, Time};
use bellboard_core::session::SessionKey;
use bellboard_core::subscription::frame::SnapshotEntry;
use bellboard_proto::v1;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, skip_field};

use crate::wire::draft::meaning::meaning;
use crate::wire::frame::snapshot_page;

/// The field number of `Event.link`.
const LINK_FIELD: u32 = 4;
/// The field number of `Event.recorded_time`.
const RECORDED_TIME_FIELD: u32 = 14;
/// The field number of `Event.session_opened`.
const SESSION_OPENED_FIELD: u16 = 20;

/// The field number of `Event.connector_lost`.
const CONNECTOR_LOST_FIELD: u16 = 42;

/// The contract's encoding.
#[derive(Debug, Default)]
pub struct Protobuf;

impl Encode for Protobuf {
    fn event(&self, placement: &Placement<'_>, body: &Bytes) -> Bytes {
        let Placement {
            offset,
            recorded,
            event_id,
            session,
        } = placement;
        let mut hub = v1::Event {
            event_id: event_id.to_string(),
            offset: offset.0,
            recorded_time: Some(timestamp(*recorded)),
            ..v1::Event::default()
        };
        if let Some(PlacedIn {
            index,
            session,
            root,
            parent,
            life,
        }) = session
        {
            hub.index = index.0;
            hub.session_id = session.to_string();
            hub.root_session_id = root.to_string();
            hub.parent_session_id = parent.map(ToString::to_string).unwrap_or_default();
            hub.life = *life;
        }
        let mut bytes = BytesMut::with_capacity(hub.encoded_len() + body.len());
        // A `BytesMut` grows: there is always room.
        let _ = hub.encode(&mut bytes);
        bytes.put_slice(body);
        bytes.freeze()
    }

    fn linked(&self, stored: &Bytes, link: Link) -> Bytes {
        let mut bytes = BytesMut::with_capacity(stored.len() + 9);
        bytes.put_slice(stored);
        encode_key(LINK_FIELD, WireType::SixtyFourBit, &mut bytes);
        bytes.put_u64_le(link.0);
        bytes.freeze()
    }

    fn opened(&self, key: Option<&SessionKey>, now: Time) -> (Kind, Bytes) {
        let payload = v1::SessionOpened {
            key: key.map(session_key),
            ..v1::SessionOpened::default()
        };
        let event = v1::Event {
            occurred_time: Some(timestamp(now)),
            payload: Some(v1::event::Payload::SessionOpened(payload)),
            ..v1::Event::default()
        };
        (Kind(SESSION_OPENED_FIELD), event.encode_to_vec().into())
    }

    fn lost(&self, writer: &WriterId, connector: &str, lost: Lost, now: Time) -> (Kind, Bytes) {
        let (last_seq, reason, range) = match lost {
            Lost::LeaseEnded { last_seq } => (last_seq, v1::ConnectorLostReason::LeaseEnded, None),
            Lost::AcknowledgedLost { last_seq, acknowledged } => {
                let range = (last_seq + 1, acknowledged + 1);
                (last_seq, v1::ConnectorLostReason::AcknowledgedLost, Some(range))
            }
        };
        let payload = v1::ConnectorLost {
            connector_id: connector.to_owned(),
            writer_id: writer.to_string(),
            last_seq,
            reason: reason.into(),
            lost_from_seq: range.map_or(0, |(from, _)| from),
            lost_until_seq: range.map_or(0, |(_, until)| until),
        };
        let event = v1::Event {
            occurred_time: Some(timestamp(now)),
            payload: Some(v1::event::Payload::ConnectorLost(payload)),
            ..v1::Event::default()
        };
        (Kind(CONNECTOR_LOST_FIELD), event.encode_to_vec().into())
    }

    fn item_id(&self, sent: &Bytes) -> Arc<str> {
        // What this hub stored it can read; were it otherwise, the item has no name to tell.
        v1::Event::decode(sent.clone()).unwrap_or_default().item_id.into()
    }

    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, offset: Offset) -> Bytes {
        snapshot_page(sessions, offset).encode_to_vec().into()
    }

    fn recorded(&self, bytes: &Bytes) -> Option<Time> {
        // The hub's part lies before the writer's, so this stops after a few short fields.
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let (tag, wire_type) = decode_key(&mut rest).ok()?;
            if tag == RECORDED_TIME_FIELD {
                let time: prost_types::Timestamp = Message::decode_length_delimited(&mut rest).ok()?;
                return Time::from_parts(time.seconds, time.nanos);
            }
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
        }
        None
    }

    fn told(&self, stored: &Bytes) -> Option<Told> {
        let event = v1::Event::decode(stored.clone()).ok()?;
        let recorded = event.recorded_time?;
        let recorded = Time::from_parts(recorded.seconds, recorded.nanos)?;
        if event.session_id.is_empty() {
            let session = None;
            return Some(Told { recorded, session });
        }
        let meaning = meaning(event.payload.as_ref()).ok()?;
        let session = ToldOf {
            session: SessionId::parse(&event.session_id).ok()?,
            parent: SessionId::parse(&event.parent_session_id).ok(),
            life: event.life,
            opens: meaning.opens,
            session_step: meaning.session_step,
        };
        Some(Told {
            recorded,
            session: Some(session),
        })
    }

    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes {
        let named = v1::Delta {
            session_id: session.to_string(),
            ..v1::Delta::default()
        };
        let mut bytes = BytesMut::with_capacity(named.encoded_len() + body.len());
        let _ = named.encode(&mut bytes);
        bytes.put_slice(body);
        bytes.freeze()
    }
}

/// A point in time as protobuf has it.
#[must_use]
pub fn timestamp(time: Time) -> prost_types::Timestamp {
    let (seconds, nanos) = time.parts();
    prost_types::Timestamp { seconds, nanos }
}

/// A session's key as protobuf has it.
#[must_use]
pub fn session_key(key: &SessionKey) -> v1::SessionKey {
    let SessionKey {
        vendor,
        installation,
        project,
        native_id,
    } = key;
    v1::SessionKey {
        vendor: vendor.to_string(),
        installation: installation.to_string(),
        project: project.to_string(),
        native_id: native_id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellboard_core::event::SessionStep;
    use bellboard_core::id::EventId;
    use bellboard_core::offset::Index;

    #[test]
    fn what_was_encoded_in_parts_is_one_event() {
        let session = SessionId::parse("s").unwrap();
        let event_id = EventId::parse("e").unwrap();
        let placement = Placement {
            offset: Offset(7),
            recorded: Time(1_500_000),
            event_id: &event_id,
            session: Some(PlacedIn {
                index: Index(3),
                session: &session,
                root: &session,
                parent: None,
                life: 2,
            }),
        };
        let body = v1::Event {
            item_id: "i".into(),
            payload: Some(v1::event::Payload::MessageStarted(v1::MessageStarted::default())),
            ..v1::Event::default()
        };
        let stored = Protobuf.event(&placement, &body.encode_to_vec().into());
        let sent = Protobuf.linked(&stored, Link(0x0102_0304_0506_0708));
        let event = v1::Event::decode(&*sent).unwrap();
        assert_eq!(
            (event.offset, event.index, event.life, event.link),
            (7, 3, 2, 0x0102_0304_0506_0708)
        );
        assert_eq!((event.event_id.as_str(), event.item_id.as_str()), ("e", "i"));
        assert_eq!(
            event.recorded_time,
            Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 500_000_000
            })
        );
        assert!(matches!(event.payload, Some(v1::event::Payload::MessageStarted(_))));
        assert_eq!(&sent[..stored.len()], &stored[..], "the link is the last field");
        assert_eq!(Protobuf.recorded(&stored), Some(Time(1_500_000)));
        assert_eq!(Protobuf.recorded(&sent), Some(Time(1_500_000)));
        assert_eq!(Protobuf.recorded(&stored.slice(..10)), None);
    }

    #[test]
    fn what_was_stored_tells_what_its_draft_said() {
        let [session, parent] = ["s", "p"].map(|id| SessionId::parse(id).unwrap());
        let event_id = EventId::parse("e").unwrap();
        let placement = Placement {
            offset: Offset(7),
            recorded: Time(1_500_000),
            event_id: &event_id,
            session: Some(PlacedIn {
                index: Index(3),
                session: &session,
                root: &parent,
                parent: Some(&parent),
                life: 2,
            }),
        };
        let key = SessionKey::parse("v", "i", "/p", "n").unwrap();
        let (_, body) = Protobuf.opened(Some(&key), Time(1));
        let told = Protobuf.told(&Protobuf.event(&placement, &body)).unwrap();
        let expected = Told {
            recorded: Time(1_500_000),
            session: Some(ToldOf {
                session: session.clone(),
                parent: Some(parent.clone()),
                life: 2,
                opens: Some(key),
                session_step: SessionStep::Opened(Box::default()),
            }),
        };
        assert_eq!(told, expected);
        assert_eq!(Protobuf.told(&Bytes::from_static(b"\xff")), None);
    }

    #[test]
    fn what_is_of_the_tenant_has_a_time_and_no_session() {
        let event_id = EventId::parse("e").unwrap();
        let placement = Placement {
            offset: Offset(7),
            recorded: Time(1_500_000),
            event_id: &event_id,
            session: None,
        };
        let lost = Lost::AcknowledgedLost {
            last_seq: 100,
            acknowledged: 150,
        };
        let (kind, body) = Protobuf.lost(&WriterId::parse("w").unwrap(), "c", lost, Time(1));
        let stored = Protobuf.event(&placement, &body);
        let expected = Told {
            recorded: Time(1_500_000),
            session: None,
        };
        assert_eq!((kind, Protobuf.told(&stored)), (Kind(42), Some(expected)));
        let event = v1::Event::decode(stored).unwrap();
        assert_eq!((event.offset, event.index, event.session_id.as_str()), (7, 0, ""));
        let Some(v1::event::Payload::ConnectorLost(lost)) = event.payload else {
            panic!("{event:?}");
        };
        assert_eq!(
            (lost.lost_from_seq, lost.lost_until_seq, lost.last_seq),
            (101, 151, 100)
        );
        assert_eq!(lost.reason(), v1::ConnectorLostReason::AcknowledgedLost);
    }
}
