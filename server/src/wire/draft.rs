//! Appends at the door: what a writer sent becomes a draft, or is refused with the field at fault.
//!
//! Believe this: payload bytes are copied, never re-encoded. The event is decoded to be understood, but what goes on is the slice of
//! the request that holds the payload, unknown fields within it included.

use bellboard_core::appender::{Append, Condition, DeltaDraft, Refusal, Rejection};
use bellboard_core::event::{DedupeKey, Draft, Family, ItemKey, ItemStep, Kind, Raw, SessionStep};
use bellboard_core::id::{EventId, WriterId};
use bellboard_core::limits;
use bellboard_core::offset::Time;
use bellboard_core::session::{SessionFacts, SessionKey};
use bellboard_core::window::deltas::Channel;
use bellboard_proto::hub::v1 as hub;
use bellboard_proto::v1::{self, delta::Fragment, event::Payload};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::wire::encode::timestamp;
use crate::wire::session::{Fault, Mask, kept_whole, parse_facts, parse_key, parse_ref};

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
        return Err(rejection(
            Refusal::PayloadMissing,
            "event",
            "is missing; give an event with a payload",
        ));
    }
    if bytes.len() > limits::EVENT_BYTES_MAX {
        let problem = format!("has {} bytes; give at most {}", bytes.len(), limits::EVENT_BYTES_MAX);
        return Err(rejection(Refusal::TooLarge, "event", &problem));
    }
    let event = v1::Event::decode(bytes.clone())
        .map_err(|error| rejection(Refusal::InvalidField, "event", &format!("cannot be read: {error}")))?;
    let (tag, payload_bytes) = payload(bytes)?;
    let kind = known(tag, event.payload.as_ref())?;
    let family = writable(kind)?;
    let session = parse_ref("session", session.as_ref())?;
    let event_id = match event.event_id.as_str() {
        "" => EventId::random(),
        id => EventId::parse(id).map_err(|error| Fault::new("event.event_id", error))?,
    };
    let without_writer = writer.is_none();
    if without_writer && *seq != 0 {
        return Err(Fault::new("seq", "is set without a writer; leave it 0, or name the writer").into());
    }
    check_names(&event, dedupe_key)?;
    let dedupe = match (dedupe_key.as_str(), event.event_id.as_str()) {
        ("", "") => None,
        ("", _) => without_writer.then(|| DedupeKey::of_event_id(&event_id)),
        (key, _) => Some(DedupeKey::of_key(key)),
    };
    let meaning = meaning(event.payload.as_ref())?;
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
        body: body(event, writer, now, &payload_bytes)?,
        raw: raw_content(raw.as_ref())?,
    })
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
    let fault = |rejection: Rejection| Fault::new(rejection.field, rejection.message);
    let (tag, _) = self::payload(&bytes).map_err(fault)?;
    let kind = known(tag, event.payload.as_ref()).map_err(fault)?;
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

/// The number of the payload's field, and its bytes as they were sent.
fn payload(event: &Bytes) -> Result<(u32, Bytes), Rejection> {
    let unreadable = |error| rejection(Refusal::InvalidField, "event", &format!("cannot be read: {error}"));
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
            return Err(rejection(
                Refusal::InvalidField,
                "event.payload",
                "is given twice, by different fields; give one",
            ));
        }
        found = Some(tag);
        bytes.put_slice(&before[..before.len() - rest.len()]);
    }
    let missing = || rejection(Refusal::PayloadMissing, "event.payload", "is missing; give one");
    Ok((found.ok_or_else(missing)?, bytes.freeze()))
}

/// The payload's kind, where this hub could read it.
fn known(tag: u32, payload: Option<&Payload>) -> Result<Kind, Rejection> {
    let kind = payload.and_then(|_| u16::try_from(tag).ok()).map(Kind);
    kind.ok_or_else(|| {
        let problem = format!("is field {tag}, which this hub does not know; send it as vendor_raw");
        rejection(Refusal::PayloadUnknown, "event.payload", &problem)
    })
}

/// The payload's family, if a writer may write it.
fn writable(kind: Kind) -> Result<Family, Rejection> {
    // `redacted` (16), `session_state_changed`, `connector_lost`, `ask_answering` and `ask_unconfirmed` are the hub's own.
    let reserved = || {
        rejection(
            Refusal::PayloadReserved,
            "event.payload",
            "is of a kind that only the hub writes",
        )
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
            return Err(Fault::new(
                field,
                format!("has a control character or more than {NAME_BYTES_MAX} bytes"),
            ));
        }
    }
    if dedupe_key.len() > DEDUPE_BYTES_MAX {
        return Err(Fault::new(
            "dedupe_key",
            format!("has {} bytes; give at most {DEDUPE_BYTES_MAX}", dedupe_key.len()),
        ));
    }
    Ok(())
}

/// What the hub understands of a payload.
#[derive(Default)]
struct Meaning {
    item_step: Option<ItemStep>,
    session_step: SessionStep,
    opens: Option<SessionKey>,
}

fn meaning(payload: Option<&Payload>) -> Result<Meaning, Fault> {
    let item = |step| {
        Ok(Meaning {
            item_step: Some(step),
            ..Meaning::default()
        })
    };
    let session = |session_step| {
        Ok(Meaning {
            session_step,
            ..Meaning::default()
        })
    };
    match payload {
        Some(Payload::MessageStarted(_) | Payload::ReasoningStarted(_) | Payload::ToolStarted(_)) => {
            item(ItemStep::Started)
        }
        Some(Payload::MessageCompleted(_) | Payload::ReasoningCompleted(_) | Payload::ToolCompleted(_)) => {
            item(ItemStep::Completed)
        }
        Some(Payload::SessionOpened(opened)) => {
            let opens = opened
                .key
                .as_ref()
                .map(|key| parse_key("event.session_opened.key", key))
                .transpose()?;
            Ok(Meaning {
                session_step: SessionStep::Opened(Box::new(opening(opened)?)),
                opens,
                item_step: None,
            })
        }
        Some(Payload::SessionUpdated(updated)) => session(SessionStep::Changed(Box::new(changes(updated)?))),
        Some(Payload::SessionConfigChanged(changed)) => {
            let other = [
                kept_whole("config", changed.config.as_ref()),
                kept_whole("capabilities", changed.capabilities.as_ref()),
            ];
            let facts = SessionFacts {
                other: other.into_iter().flatten().collect(),
                ..SessionFacts::default()
            };
            session(SessionStep::Changed(Box::new(facts)))
        }
        Some(Payload::SessionAliased(aliased)) => {
            session(SessionStep::Renewed((aliased.life > 0).then_some(aliased.life)))
        }
        Some(Payload::SessionClosed(_)) => session(SessionStep::Closed),
        Some(Payload::SessionArchived(_)) => session(SessionStep::Archived),
        Some(Payload::SessionUnarchived(_)) => session(SessionStep::Unarchived),
        _ => Ok(Meaning::default()),
    }
}

fn opening(opened: &v1::SessionOpened) -> Result<SessionFacts, Fault> {
    let v1::SessionOpened {
        key: _,
        facts,
        config,
        capabilities,
        origin: _,
        forked_from_session_id: _,
        parent_session,
    } = opened;
    let facts = facts
        .as_ref()
        .map(|facts| parse_facts("event.session_opened.facts", facts, &Mask::Populated))
        .transpose()?;
    let mut facts = facts.unwrap_or_default();
    facts.other.extend(
        [
            kept_whole("config", config.as_ref()),
            kept_whole("capabilities", capabilities.as_ref()),
        ]
        .into_iter()
        .flatten(),
    );
    if parent_session.is_some() {
        facts.parent = Some(parse_ref(
            "event.session_opened.parent_session",
            parent_session.as_ref(),
        )?);
    }
    Ok(facts)
}

fn changes(updated: &v1::SessionUpdated) -> Result<SessionFacts, Fault> {
    let v1::SessionUpdated {
        facts,
        update_mask,
        parent_session,
    } = updated;
    let mask = Mask::parse("event.session_updated.update_mask", "", update_mask.as_ref())?;
    let mut facts = parse_facts("event.session_updated.facts", &facts.clone().unwrap_or_default(), &mask)?;
    if parent_session.is_some() {
        facts.parent = Some(parse_ref(
            "event.session_updated.parent_session",
            parent_session.as_ref(),
        )?);
    }
    Ok(facts)
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
        let problem = format!(
            "has {} bytes; give at most {}",
            raw.content.len(),
            limits::RAW_BYTES_MAX
        );
        return Err(rejection(Refusal::TooLarge, "raw.content", &problem));
    }
    if raw.media_type.len() > NAME_BYTES_MAX {
        return Err(Fault::new("raw.media_type", format!("has more than {NAME_BYTES_MAX} bytes")).into());
    }
    Ok(Some(Raw {
        media_type: raw.media_type.as_str().into(),
        content: raw.content.clone(),
    }))
}

fn rejection(refusal: Refusal, field: &str, problem: &str) -> Rejection {
    Rejection {
        refusal,
        message: format!("{field} {problem}"),
        field: field.to_owned(),
        metadata: Vec::new(),
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Rejection {
        rejection(Refusal::InvalidField, &fault.field, &fault.problem)
    }
}

#[cfg(test)]
mod tests;
