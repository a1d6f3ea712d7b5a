//! A session's row, there and back.
//!
//! Believe this: a session read is the session written. Both conversions name every field, so that a new one stops the build.

use std::sync::Arc;

use bellboard_core::event::Family;
use bellboard_core::hold::Hold;
use bellboard_core::id::SessionId;
use bellboard_core::link::Digest;
use bellboard_core::offset::{Index, LogKey, Offset, SessionNumber, Time};
use bellboard_core::session::{Lifecycle, Session, SessionFacts, SessionKey, Trimmed};
use bellboard_core::store::Error;
use sea_orm::Value;

use super::entity::session;
use super::error;
use super::writers::writer_id;

pub(super) const LIVE: i16 = 1;
pub(super) const CLOSED: i16 = 2;

/// What `ancestors` says where there are none.
pub(super) const NO_ANCESTORS: &str = EMPTY;

/// An empty array.
const EMPTY: &str = "[]";

/// The parts, each behind its length, so that no two keys have the same bytes.
pub(super) fn key_hash(key: &SessionKey) -> Vec<u8> {
    let SessionKey {
        vendor,
        installation,
        project,
        native_id,
    } = key;
    let mut bytes = Vec::new();
    for part in [vendor, installation, project, native_id] {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    Digest::of(&bytes).0.to_vec()
}

/// The row of a session.
pub(super) fn model(log: LogKey, session: Session) -> Result<session::Model, Error> {
    let Session {
        number,
        id,
        key,
        ancestors,
        life,
        lifecycle,
        archived,
        facts:
            SessionFacts {
                title,
                project,
                vendor,
                // What an event names; the row has the ancestors.
                parent: _,
                other,
            },
        next_index,
        opened_offset,
        last_offset,
        stands_from,
        created,
        updated,
        closed,
        trimmed,
        hold: Hold { owner, fence },
    } = session;
    let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
    let part = |part: fn(&SessionKey) -> &Arc<str>| key.as_ref().map(|key| part(key).to_string());
    let ancestors: Vec<&str> = ancestors.iter().map(SessionId::as_str).collect();
    let facts: Vec<(&str, &str)> = other.iter().map(|(name, value)| (&**name, &**value)).collect();
    Ok(session::Model {
        number: number.0.cast_signed(),
        log: i64::from(log.0),
        id: id.to_string(),
        key_hash: key.as_ref().map(key_hash),
        key_vendor: part(|key| &key.vendor),
        key_installation: part(|key| &key.installation),
        key_project: part(|key| &key.project),
        key_native: part(|key| &key.native_id),
        ancestors: json(&ancestors)?,
        life: i64::from(life),
        lifecycle: match lifecycle {
            Lifecycle::Live => LIVE,
            Lifecycle::Closed => CLOSED,
        },
        archived,
        title: text(title),
        project: text(project),
        vendor: text(vendor),
        facts: json(&facts)?,
        next_index: next_index.0.cast_signed(),
        opened_offset: opened_offset.0.cast_signed(),
        last_offset: last_offset.0.cast_signed(),
        stands_from: stands_from.0.cast_signed(),
        created: created.0,
        updated: updated.0,
        closed: closed.map(|time| time.0),
        trimmed_index: trimmed.until.0.cast_signed(),
        trimmed_offset: trimmed.offset().0.cast_signed(),
        trimmed_families: families(&trimmed)?,
        owner: owner.map(|owner| owner.to_string()),
        owner_fence: fence.cast_signed(),
    })
}

/// What of a session is trimmed, per family.
pub(super) fn families(trimmed: &Trimmed) -> Result<String, Error> {
    if trimmed.families.is_empty() {
        return Ok(EMPTY.to_owned());
    }
    let pairs = trimmed
        .families
        .iter()
        .map(|(family, offset)| (*family as i32, offset.0));
    json(&pairs.collect::<Vec<_>>())
}

/// A base as it lies in its column.
pub(super) fn base(log: LogKey, session: Session) -> Result<String, Error> {
    json(&model(log, session)?)
}

/// The session of a base.
pub(super) fn of_base(text: &str) -> Result<Session, Error> {
    session(parse(text)?)
}

/// The values of the statement that writes it, in its order. What of it is trimmed is not among them, nor who holds it:
/// these are written by statements of their own.
pub(super) fn push(values: &mut Vec<Value>, model: session::Model) {
    values.extend::<[Value; 23]>([
        model.number.into(),
        model.log.into(),
        model.id.into(),
        model.key_hash.into(),
        model.key_vendor.into(),
        model.key_installation.into(),
        model.key_project.into(),
        model.key_native.into(),
        model.ancestors.into(),
        model.life.into(),
        model.lifecycle.into(),
        model.archived.into(),
        model.title.into(),
        model.project.into(),
        model.vendor.into(),
        model.facts.into(),
        model.next_index.into(),
        model.opened_offset.into(),
        model.last_offset.into(),
        model.stands_from.into(),
        model.created.into(),
        model.updated.into(),
        model.closed.into(),
    ]);
}

/// The session of a row.
pub(super) fn session(model: session::Model) -> Result<Session, Error> {
    let session::Model {
        number,
        log: _,
        id: name,
        key_hash: _,
        key_vendor,
        key_installation,
        key_project,
        key_native,
        ancestors,
        life,
        lifecycle,
        archived,
        title,
        project,
        vendor,
        facts,
        next_index,
        opened_offset,
        last_offset,
        stands_from,
        created,
        updated,
        closed,
        trimmed_index,
        trimmed_offset: _,
        trimmed_families,
        owner,
        owner_fence,
    } = model;
    let key = match (key_vendor, key_installation, key_project, key_native) {
        (Some(vendor), Some(installation), Some(project), Some(native_id)) => Some(SessionKey {
            vendor: vendor.into(),
            installation: installation.into(),
            project: project.into(),
            native_id: native_id.into(),
        }),
        (None, None, None, None) => None,
        _ => return Err(error::corrupt("a session with half a native key")),
    };
    let other: Vec<(String, String)> = parse(&facts)?;
    Ok(Session {
        number: SessionNumber(number.cast_unsigned()),
        id: id(&name)?,
        key,
        ancestors: ids(&ancestors)?,
        life: u32::try_from(life).map_err(|_| error::corrupt("a session's life"))?,
        lifecycle: match lifecycle {
            LIVE => Lifecycle::Live,
            CLOSED => Lifecycle::Closed,
            _ => return Err(error::corrupt("a session's lifecycle")),
        },
        archived,
        facts: SessionFacts {
            title: title.map(Into::into),
            project: project.map(Into::into),
            vendor: vendor.map(Into::into),
            parent: None,
            other: other
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        },
        next_index: Index(next_index.cast_unsigned()),
        opened_offset: Offset(opened_offset.cast_unsigned()),
        last_offset: Offset(last_offset.cast_unsigned()),
        stands_from: Offset(stands_from.cast_unsigned()),
        created: Time(created),
        updated: Time(updated),
        closed: closed.map(Time),
        trimmed: Trimmed {
            until: Index(trimmed_index.cast_unsigned()),
            families: trimmed_of(&trimmed_families)?,
        },
        hold: Hold {
            owner: owner.as_deref().map(writer_id).transpose()?,
            fence: owner_fence.cast_unsigned(),
        },
    })
}

fn trimmed_of(text: &str) -> Result<Vec<(Family, Offset)>, Error> {
    if text == EMPTY {
        return Ok(Vec::new());
    }
    let pairs: Vec<(i32, u64)> = parse(text)?;
    let family = |number| Family::of_number(number).ok_or_else(|| error::corrupt("a trimmed family"));
    let pairs = pairs
        .into_iter()
        .map(|(number, offset)| Ok((family(number)?, Offset(offset))));
    pairs.collect()
}

/// A session's id that lies in a column.
pub(super) fn id(text: &str) -> Result<SessionId, Error> {
    SessionId::parse(text).map_err(|error| error::corrupt(format!("a session's id {error}")))
}

/// The ancestors of a row.
pub(super) fn ids(text: &str) -> Result<Box<[SessionId]>, Error> {
    // Most sessions have no parent, and every page of events comes by here.
    if text == NO_ANCESTORS {
        return Ok(Box::default());
    }
    let texts: Vec<String> = parse(text)?;
    texts.iter().map(|text| id(text)).collect()
}

/// A list as it lies in a column.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| error::corrupt(error.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| error::corrupt(error.to_string()))
}
