//! Appends at the door: what a writer sent becomes a draft, or is refused with the field at fault.
//!
//! Believe this: payload bytes are copied, never re-encoded. The event is decoded to be understood, but what goes on is the slice of
//! the request that holds the payload, unknown fields within it included.

pub(in crate::wire) mod meaning;

use bellboard_core::appender::{Append, Condition, DeltaDraft, Refusal, Rejection};
use bellboard_core::event::{ConnectorStep, DedupeKey, Draft, Family, ItemKey, Kind, Raw, SessionRef, SessionStep};
use bellboard_core::id::{EventId, WriterId};
use bellboard_core::limits;
use bellboard_core::offset::Time;
use bellboard_core::session::SessionKey;
use bellboard_core::window::deltas::Channel;
use bellboard_proto::hub::v1 as hub;
use bellboard_proto::v1::{self, delta::Fragment, event::Payload};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::wire::draft::meaning::meaning;
use crate::wire::encode::{session_key, timestamp};
use crate::wire::fault::Fault;
use crate::wire::session::parse_ref;

/// Longest name that a vendor gives to a turn, an item or an ask, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest dedupe key, in bytes, as the contract says.
const DEDUPE_BYTES_MAX: usize = 256;
/// What a timestamp may be, in seconds: the years 1 to 9999. Other languages cannot even print more.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Payload fields begin here; envelope fields lie below.
const PAYLOAD_FIELDS_FROM: u32 = 16;

/// Reads one append. One that is refused still goes on, because it consumes its seq.
#[must_use]
pub fn append(append: &hub::EventAppend, writer: Option<&WriterId>, now: Time) -> Append {
    Append {
        seq: append.seq,
        condition: Condition::Always,
        draft: draft(append, writer, now).map(Box::new),
    }
}

fn draft(append: &hub::EventAppend, writer: Option<&WriterId>, now: Time) -> Result<Draft, Rejection> {
    let hub::EventAppend {
        session,
        event: bytes,
        seq,
        dedupe_key,
        raw,
    } = append;
    if bytes.is_empty() {
        let fault = Fault::new("event", "is missing; give an event with a payload");
        return Err(fault.refused(Refusal::PayloadMissing));
    }
    if bytes.len() > limits::EVENT_BYTES_MAX {
        return Err(Fault::bytes("event", bytes.len(), limits::EVENT_BYTES_MAX).refused(Refusal::TooLarge));
    }
    let event = v1::Event::decode(bytes.clone()).map_err(unreadable)?;
    let (tag, payload_bytes) = payload(bytes)?;
    let kind = known(tag, event.payload.as_ref())?;
    let family = writable(kind)?;
    let session = match (family, session) {
        (Family::Connector, None) => None,
        (Family::Connector, Some(_)) => {
            let problem = "is set for a payload that is of no session; leave it out";
            return Err(Fault::new("session", problem).into());
        }
        (_, session) => Some(parse_ref("session", session.as_ref())?),
    };
    let event_id = match event.event_id.as_str() {
        "" => None,
        id => Some(EventId::parse(id).map_err(|error| Fault::id("event.event_id", &error))?),
    };
    let without_writer = writer.is_none();
    if without_writer && *seq != 0 {
        return Err(Fault::new("seq", "is set without a writer; leave it 0, or name the writer").into());
    }
    check_names(&event, dedupe_key)?;
    let dedupe = match dedupe_key.as_str() {
        "" => event_id.as_ref().filter(|_| without_writer).map(DedupeKey::of_event_id),
        // Unique within the session, or among what its writer says without one.
        key => Some(match (&session, writer) {
            (None, Some(writer)) => DedupeKey::of_key(&format!("{writer}\0{key}")),
            (None, None) | (Some(_), _) => DedupeKey::of_key(key),
        }),
    };
    let mut meaning = meaning(event.payload.as_ref())?;
    let connector_step = connector_step(event.payload.as_ref(), writer)?;
    let mut payload_bytes = payload_bytes;
    if let (Some(SessionRef::Key(key)), SessionStep::Opened(_), None) =
        (&session, &meaning.session_step, &meaning.opens)
    {
        payload_bytes = with_key(&payload_bytes, key);
        meaning.opens = Some(key.clone());
    }
    Ok(Draft {
        session,
        opens: meaning.opens,
        event_id,
        dedupe,
        kind,
        family,
        life: (event.life > 0).then_some(event.life),
        item: (!event.item_id.is_empty()).then(|| ItemKey::of(&event.item_id)),
        item_step: meaning.item_step,
        session_step: meaning.session_step,
        connector_step,
        body: body(event, writer, now, &payload_bytes)?,
        raw: raw_content(raw.as_ref())?,
    })
}

/// What a payload says of its writer's connector.
fn connector_step(payload: Option<&Payload>, writer: Option<&WriterId>) -> Result<Option<ConnectorStep>, Fault> {
    let (field, connector, of) = match payload {
        Some(Payload::ConnectorOnline(online)) => ("connector_online", &online.connector_id, &online.writer_id),
        Some(Payload::ConnectorOffline(offline)) => ("connector_offline", &offline.connector_id, &offline.writer_id),
        _ => return Ok(None),
    };
    let Some(writer) = writer else {
        return Err(Fault::new(
            "event.payload",
            "is said by a writer only; name it and its fence",
        ));
    };
    if connector.is_empty() || connector.len() > NAME_BYTES_MAX || connector.chars().any(char::is_control) {
        let problem = format!("is empty, or has a control character or more than {NAME_BYTES_MAX} bytes");
        return Err(Fault::new(format!("event.{field}.connector_id"), problem).with("limit", NAME_BYTES_MAX));
    }
    if !of.is_empty() && of != writer.as_str() {
        let problem = format!("is not {writer}, which sends it; leave it out");
        return Err(Fault::new(format!("event.{field}.writer_id"), problem));
    }
    Ok(Some(match payload {
        Some(Payload::ConnectorOnline(_)) => ConnectorStep::Online(connector.as_str().into()),
        _ => ConnectorStep::Offline,
    }))
}

/// An event of the hub's own making, for methods that change a session: its kind, family and body.
#[derive(Debug)]
pub struct Written {
    /// The payload's kind.
    pub kind: Kind,
    /// The payload's family.
    pub family: Family,
    /// The bytes.
    pub body: Bytes,
    /// What it says of its session.
    pub session_step: SessionStep,
}

/// Makes an event out of a payload that the hub writes for a caller.
///
/// # Errors
/// Names what of the payload is at fault.
pub fn written(payload: Payload, now: Time) -> Result<Written, Fault> {
    let meaning = meaning(Some(&payload))?;
    let event = v1::Event {
        payload: Some(payload),
        occurred_time: Some(timestamp(now)),
        ..v1::Event::default()
    };
    let bytes = Bytes::from(event.encode_to_vec());
    let (tag, _) = self::payload(&bytes)?;
    let kind = known(tag, event.payload.as_ref())?;
    let family = kind.family().ok_or_else(|| Fault::new("payload", "is of no family"))?;
    Ok(Written {
        kind,
        family,
        body: bytes,
        session_step: meaning.session_step,
    })
}

/// Reads one delta; none when it can mean nothing to anybody.
#[must_use]
pub fn delta(append: &hub::DeltaAppend) -> Option<DeltaDraft> {
    let session = parse_ref("session", append.session.as_ref()).ok()?;
    let delta = v1::Delta::decode(append.delta.clone()).ok()?;
    if delta.item_id.is_empty() || delta.item_id.len() > NAME_BYTES_MAX || append.delta.len() > limits::EVENT_BYTES_MAX
    {
        return None;
    }
    let (channel, text) = match delta.fragment.clone()? {
        Fragment::MessageText(text) => (Channel::Message, Bytes::from(text)),
        Fragment::ReasoningText(text) => (Channel::Reasoning, Bytes::from(text)),
        Fragment::ToolInput(bytes) => (Channel::ToolInput, bytes),
        Fragment::ToolOutput(output) => (Channel::ToolOutput, output.content),
    };
    let (item, item_id, at) = (ItemKey::of(&delta.item_id), delta.item_id.as_str().into(), delta.at);
    let body = v1::Delta {
        session_id: String::new(),
        ..delta
    }
    .encode_to_vec()
    .into();
    Some(DeltaDraft {
        session,
        item,
        item_id,
        channel,
        at,
        text,
        body,
    })
}

/// A `session_opened` with the key that its session was named by, so that the log itself says what it opened. Its own bytes stay as they
/// are: a field that comes twice is one message, merged.
fn with_key(payload: &Bytes, key: &SessionKey) -> Bytes {
    let opened = v1::SessionOpened {
        key: Some(session_key(key)),
        ..v1::SessionOpened::default()
    };
    let event = v1::Event {
        payload: Some(Payload::SessionOpened(opened)),
        ..v1::Event::default()
    };
    [&payload[..], &event.encode_to_vec()].concat().into()
}

/// The number of the payload's field, and its bytes as they were sent.
fn payload(event: &Bytes) -> Result<(u32, Bytes), Rejection> {
    let mut rest = event.clone();
    let mut found: Option<u32> = None;
    let mut bytes = BytesMut::new();
    while !rest.is_empty() {
        let before = rest.clone();
        let (tag, wire_type) = decode_key(&mut rest).map_err(unreadable)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(unreadable)?;
        if tag < PAYLOAD_FIELDS_FROM {
            continue;
        }
        if found.is_some_and(|other| other != tag) {
            return Err(Fault::new("event.payload", "is given twice, by different fields; give one").into());
        }
        found = Some(tag);
        bytes.put_slice(&before[..before.len() - rest.len()]);
    }
    let missing = || Fault::new("event.payload", "is missing; give one").refused(Refusal::PayloadMissing);
    Ok((found.ok_or_else(missing)?, bytes.freeze()))
}

/// The payload's kind, where this hub could read it.
fn known(tag: u32, payload: Option<&Payload>) -> Result<Kind, Rejection> {
    let kind = payload.and_then(|_| u16::try_from(tag).ok()).map(Kind);
    kind.ok_or_else(|| {
        let problem = format!("is field {tag}, which this hub does not know; send it as vendor_raw");
        let fault = Fault::new("event.payload", problem).with("payload_field", tag);
        fault.refused(Refusal::PayloadUnknown)
    })
}

/// The payload's family, if a writer may write it.
fn writable(kind: Kind) -> Result<Family, Rejection> {
    // `redacted` (16), `session_state_changed`, `connector_lost`, `ask_answering` and `ask_unconfirmed` are the hub's own.
    let reserved = || {
        let fault = Fault::new("event.payload", "is of a kind that only the hub writes");
        fault.refused(Refusal::PayloadReserved)
    };
    match (kind.family(), kind.0) {
        (None, _) | (_, 30 | 42 | 102 | 107) | (Some(Family::Attention | Family::Command), _) => Err(reserved()),
        (Some(family), _) => Ok(family),
    }
}

fn check_names(event: &v1::Event, dedupe_key: &str) -> Result<(), Fault> {
    let names = [
        ("event.turn_id", &event.turn_id),
        ("event.item_id", &event.item_id),
        ("event.ask_id", &event.ask_id),
        ("event.command_id", &event.command_id),
    ];
    for (field, name) in names {
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let problem = format!("has a control character or more than {NAME_BYTES_MAX} bytes");
            return Err(Fault::new(field, problem).with("limit", NAME_BYTES_MAX));
        }
    }
    if dedupe_key.len() > DEDUPE_BYTES_MAX {
        return Err(Fault::bytes("dedupe_key", dedupe_key.len(), DEDUPE_BYTES_MAX));
    }
    Ok(())
}

/// The writer's part of the stored bytes: the envelope fields that are its own, then the payload as it was sent.
fn body(event: v1::Event, writer: Option<&WriterId>, now: Time, payload: &Bytes) -> Result<Bytes, Fault> {
    let occurred_time = match event.occurred_time {
        None => timestamp(now),
        Some(time) if SECONDS.contains(&time.seconds) && Time::from_parts(time.seconds, time.nanos).is_some() => time,
        Some(_) => {
            return Err(Fault::new(
                "event.occurred_time",
                "is out of range; give the years 1 to 9999 and nanos of 0 to 999999999",
            ));
        }
    };
    let attribution = event.attribution.unwrap_or_default();
    let envelope = v1::Event {
        turn_id: event.turn_id,
        item_id: event.item_id,
        ask_id: event.ask_id,
        command_id: event.command_id,
        occurred_time: Some(occurred_time),
        attribution: Some(v1::Attribution {
            writer_id: writer.map(ToString::to_string).unwrap_or_default(),
            audience: String::new(),
            ..attribution
        }),
        ..v1::Event::default()
    };
    let mut bytes = BytesMut::with_capacity(envelope.encoded_len() + payload.len());
    // A `BytesMut` grows: there is always room.
    let _ = envelope.encode(&mut bytes);
    bytes.put_slice(payload);
    Ok(bytes.freeze())
}

fn raw_content(raw: Option<&v1::RawContent>) -> Result<Option<Raw>, Rejection> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.content.len() > limits::RAW_BYTES_MAX {
        return Err(Fault::bytes("raw.content", raw.content.len(), limits::RAW_BYTES_MAX).refused(Refusal::TooLarge));
    }
    if raw.media_type.len() > NAME_BYTES_MAX {
        return Err(Fault::bytes("raw.media_type", raw.media_type.len(), NAME_BYTES_MAX).into());
    }
    Ok(Some(Raw {
        media_type: raw.media_type.as_str().into(),
        content: raw.content.clone(),
    }))
}

fn unreadable(error: prost::DecodeError) -> Fault {
    Fault::new("event", format!("cannot be read: {error}")).with("cause", error)
}

#[cfg(test)]
mod tests;
