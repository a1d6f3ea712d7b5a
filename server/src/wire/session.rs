//! Sessions between the wire and the core: names, keys, rows.

use bellboard_core::event::SessionRef;
use bellboard_core::id::SessionId;
use bellboard_core::session::{Lifecycle, Session, SessionKey};
use bellboard_proto::v1;

use crate::wire::encode::{session_key, timestamp};
use crate::wire::facts::{facts_row, kept};
use crate::wire::fault::Fault;

/// Reads the name of a session.
///
/// # Errors
/// Names the part at fault below `field`.
pub fn parse_ref(field: &str, session: Option<&v1::SessionRef>) -> Result<SessionRef, Fault> {
    match session.and_then(|session| session.r#ref.as_ref()) {
        None => Err(Fault::new(field, "is missing; name the session by session_id or key")),
        Some(v1::session_ref::Ref::SessionId(id)) => Ok(SessionRef::Id(parse_id(&format!("{field}.session_id"), id)?)),
        Some(v1::session_ref::Ref::Key(key)) => Ok(SessionRef::Key(parse_key(&format!("{field}.key"), key)?)),
    }
}

/// Reads a session's id.
///
/// # Errors
/// Names the field and what is wrong.
pub fn parse_id(field: &str, id: &str) -> Result<SessionId, Fault> {
    SessionId::parse(id).map_err(|error| Fault::id(field, &error))
}

/// Reads and normalises a session's key.
///
/// # Errors
/// Names the part at fault below `field`.
pub fn parse_key(field: &str, key: &v1::SessionKey) -> Result<SessionKey, Fault> {
    let v1::SessionKey {
        vendor,
        installation,
        project,
        native_id,
    } = key;
    SessionKey::parse(vendor, installation, project, native_id).map_err(|error| Fault::key(field, &error))
}

/// A session's row as the contract has it. What the board will compute (state beyond lifecycle, totals) is left unset.
#[must_use]
pub fn row(session: &Session) -> v1::Session {
    let facts = &session.facts;
    let lifecycle = match session.lifecycle {
        Lifecycle::Live => v1::Lifecycle::Live,
        Lifecycle::Closed => v1::Lifecycle::Closed,
    };
    v1::Session {
        session_id: session.id.to_string(),
        root_session_id: session.root().to_string(),
        parent_session_id: session.parent().map(ToString::to_string).unwrap_or_default(),
        key: session.key.as_ref().map(session_key),
        facts: Some(facts_row(facts)),
        config: kept(facts, "config"),
        capabilities: kept(facts, "capabilities"),
        life: session.life,
        state: Some(v1::SessionState {
            lifecycle: lifecycle.into(),
            archived: session.archived,
            ..v1::SessionState::default()
        }),
        totals: None,
        event_count: session.next_index.0,
        trimmed_until: session.trimmed.until.0,
        last_offset: Some(session.last_offset.0),
        create_time: Some(timestamp(session.created)),
        update_time: Some(timestamp(session.updated)),
        close_time: session.closed.map(timestamp),
        merged_into_session_id: String::new(),
        owner: session.hold.owner.as_ref().map(|owner| v1::SessionOwner {
            writer_id: owner.to_string(),
            fence: session.hold.fence,
            lease_expire_time: None,
        }),
    }
}
