//! What a stream gives, typed.
//!
//! The one thing to believe: nothing that this build cannot read stops a stream. A frame of a kind it does not know is
//! [`Frame::Unknown`], an event whose bytes cannot be read is in [`Events::undecodable`], and the resume token moves past both.

use bellboard_proto::v1;
use bellboard_proto::v1::subscribe_response::Frame as Wire;
use bytes::Bytes;
use prost::Message as _;

use super::wire::{self, Value};

/// The field numbers of `SubscribeResponse` and of its `events` frame that are read by hand when a typed read fails.
const RESUME_TOKEN: u32 = 1;
const FIRST_FRAME: u32 = 16;
const EVENTS: u32 = 20;
const EVENTS_FROM: u32 = 1;
const EVENTS_UNTIL: u32 = 2;
const EVENTS_EVENT: u32 = 3;
const EVENTS_RAW: u32 = 4;
const EVENT_OFFSET: u32 = 2;
const EVENT_SESSION_ID: u32 = 5;

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// How the stream starts, or goes on after a redial. A reset's snapshot replaces all that is held.
    Subscribed(v1::Subscribed),
    /// A snapshot begins.
    SnapshotBegin(v1::SnapshotBegin),
    /// A part of the snapshot.
    SnapshotPage(v1::SnapshotPage),
    /// The snapshot is complete.
    SnapshotEnd(v1::SnapshotEnd),
    /// Durable events.
    Events(Events),
    /// Live fragments.
    Deltas(v1::DeltasFrame),
    /// An open item's text so far.
    ItemText(v1::ItemText),
    /// The interests changed.
    SubscriptionUpdated(v1::SubscriptionUpdated),
    /// What follows is live.
    CaughtUp(v1::CaughtUp),
    /// The application reads slower than events come. No event is skipped; deltas are.
    FellBehind(v1::FellBehind),
    /// Events that will not come.
    Gap(v1::Gap),
    /// A sign of life and place.
    Heartbeat(v1::Heartbeat),
    /// The key is about to expire.
    CredentialExpiring(v1::CredentialExpiring),
    /// The hub ends this connection. After COMPLETE the stream ends; otherwise it dials again by itself or ends with an error.
    Closing(v1::Closing),
    /// A frame of a kind that is known, whose bytes cannot be read.
    Undecodable(UnknownFrame),
    /// A frame of a kind that a later hub knows.
    Unknown(UnknownFrame),
}

/// Durable events. It accounts for every offset in `[from, until)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// The first offset accounted for.
    pub from: u64,
    /// The first offset not accounted for.
    pub until: u64,
    /// The events, ascending by offset. One with a payload of a later hub has `payload: None`.
    pub events: Vec<v1::Event>,
    /// The raw vendor bytes of those of the events that have some, when asked for.
    pub raws: Vec<v1::EventRaw>,
    /// The events that cannot be read. Empty but for a broken hub; what happens next says
    /// [`OnUndecodable`](crate::OnUndecodable).
    pub undecodable: Vec<UndecodableEvent>,
}

/// An event that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecodableEvent {
    /// Its offset, as far as it could be made out.
    pub offset: Option<u64>,
    /// Its session, as far as it could be made out.
    pub session_id: Option<String>,
    /// Its bytes, as they came.
    pub bytes: Bytes,
}

/// A frame kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnknownFrame {
    /// The number of its field in `SubscribeResponse`. 0 when it has none at all.
    pub field_number: u32,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Frame {
    /// The frame as the contract has it, for instance to print it as protobuf-JSON. What could not be read is left out.
    #[must_use]
    pub fn into_response(self, resume_token: impl Into<String>) -> v1::SubscribeResponse {
        let frame = match self {
            Frame::Subscribed(frame) => Some(Wire::Subscribed(frame)),
            Frame::SnapshotBegin(frame) => Some(Wire::SnapshotBegin(frame)),
            Frame::SnapshotPage(frame) => Some(Wire::SnapshotPage(frame)),
            Frame::SnapshotEnd(frame) => Some(Wire::SnapshotEnd(frame)),
            Frame::Events(frame) => Some(Wire::Events(v1::EventsFrame {
                from: frame.from,
                until: frame.until,
                events: frame.events,
                raws: frame.raws,
            })),
            Frame::Deltas(frame) => Some(Wire::Deltas(frame)),
            Frame::ItemText(frame) => Some(Wire::ItemText(frame)),
            Frame::SubscriptionUpdated(frame) => Some(Wire::SubscriptionUpdated(frame)),
            Frame::CaughtUp(frame) => Some(Wire::CaughtUp(frame)),
            Frame::FellBehind(frame) => Some(Wire::FellBehind(frame)),
            Frame::Gap(frame) => Some(Wire::Gap(frame)),
            Frame::Heartbeat(frame) => Some(Wire::Heartbeat(frame)),
            Frame::CredentialExpiring(frame) => Some(Wire::CredentialExpiring(frame)),
            Frame::Closing(frame) => Some(Wire::Closing(frame)),
            Frame::Undecodable(_) | Frame::Unknown(_) => None,
        };
        v1::SubscribeResponse {
            resume_token: resume_token.into(),
            frame,
        }
    }

    /// Whether something of it could not be read.
    #[must_use]
    pub(crate) const fn lacks_something(&self) -> bool {
        if let Frame::Events(events) = self {
            !events.undecodable.is_empty()
        } else {
            matches!(self, Frame::Undecodable(_))
        }
    }

    fn typed(frame: Wire) -> Frame {
        match frame {
            Wire::Subscribed(frame) => Frame::Subscribed(frame),
            Wire::SnapshotBegin(frame) => Frame::SnapshotBegin(frame),
            Wire::SnapshotPage(frame) => Frame::SnapshotPage(frame),
            Wire::SnapshotEnd(frame) => Frame::SnapshotEnd(frame),
            Wire::Events(v1::EventsFrame {
                from,
                until,
                events,
                raws,
            }) => Frame::Events(Events {
                from,
                until,
                events,
                raws,
                undecodable: Vec::new(),
            }),
            Wire::Deltas(frame) => Frame::Deltas(frame),
            Wire::ItemText(frame) => Frame::ItemText(frame),
            Wire::SubscriptionUpdated(frame) => Frame::SubscriptionUpdated(frame),
            Wire::CaughtUp(frame) => Frame::CaughtUp(frame),
            Wire::FellBehind(frame) => Frame::FellBehind(frame),
            Wire::Gap(frame) => Frame::Gap(frame),
            Wire::Heartbeat(frame) => Frame::Heartbeat(frame),
            Wire::CredentialExpiring(frame) => Frame::CredentialExpiring(frame),
            Wire::Closing(frame) => Frame::Closing(frame),
        }
    }
}

/// A frame and the place that it leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) resume_token: String,
    pub(crate) frame: Frame,
}

impl Received {
    /// Reads a frame; `None` when not even its outermost form can be made out.
    pub(crate) fn read(bytes: &Bytes) -> Option<Received> {
        match v1::SubscribeResponse::decode(bytes.clone()) {
            Ok(v1::SubscribeResponse {
                resume_token,
                frame: Some(frame),
            }) => Some(Received {
                resume_token,
                frame: Frame::typed(frame),
            }),
            Ok(v1::SubscribeResponse { frame: None, .. }) | Err(_) => Received::salvage(bytes),
        }
    }

    fn salvage(bytes: &Bytes) -> Option<Received> {
        let mut received = Received {
            resume_token: String::new(),
            frame: Frame::Unknown(UnknownFrame::default()),
        };
        for field in wire::fields(bytes) {
            match field? {
                (RESUME_TOKEN, Value::Bytes(text)) => received.resume_token = String::from_utf8(text.into()).ok()?,
                (EVENTS, Value::Bytes(frame)) => received.frame = salvage_events(frame),
                (field_number, Value::Bytes(bytes)) if field_number >= FIRST_FRAME => {
                    received.frame = kept(UnknownFrame { field_number, bytes });
                }
                _ => {}
            }
        }
        Some(received)
    }
}

/// Kinds up to `closing` are known, so that one of them that gets here is broken.
fn kept(frame: UnknownFrame) -> Frame {
    const LAST_KNOWN: u32 = 29;
    if frame.field_number <= LAST_KNOWN {
        Frame::Undecodable(frame)
    } else {
        Frame::Unknown(frame)
    }
}

fn salvage_events(frame: Bytes) -> Frame {
    let mut events = Events::default();
    for field in wire::fields(&frame) {
        match field {
            Some((EVENTS_FROM, Value::Number(from))) => events.from = from,
            Some((EVENTS_UNTIL, Value::Number(until))) => events.until = until,
            Some((EVENTS_EVENT, Value::Bytes(bytes))) => match v1::Event::decode(bytes.clone()) {
                Ok(event) => events.events.push(event),
                Err(_) => events.undecodable.push(undecodable(bytes)),
            },
            Some((EVENTS_RAW, Value::Bytes(bytes))) => {
                // Raw bytes are an extra; one that cannot be read is missing, and its event is not.
                events.raws.extend(v1::EventRaw::decode(bytes));
            }
            Some(_) => {}
            None => {
                return Frame::Undecodable(UnknownFrame {
                    field_number: EVENTS,
                    bytes: frame,
                });
            }
        }
    }
    Frame::Events(events)
}

fn undecodable(bytes: Bytes) -> UndecodableEvent {
    let mut event = UndecodableEvent {
        offset: None,
        session_id: None,
        bytes: bytes.clone(),
    };
    for field in wire::fields(&bytes) {
        match field {
            Some((EVENT_OFFSET, Value::Number(offset))) => event.offset = Some(offset),
            Some((EVENT_SESSION_ID, Value::Bytes(text))) => event.session_id = String::from_utf8(text.into()).ok(),
            Some(_) => {}
            None => break,
        }
    }
    event
}

#[cfg(test)]
mod tests;
