//! Sessions that a caller creates and changes: the appends that do it, and what came of them.
//!
//! Believe this: a session is changed by an event like any other, so that whoever follows it learns of the change.

use bellboard_core::appender::{self, Append, Condition, Outcome};
use bellboard_core::event::{Draft, SessionRef};
use bellboard_core::id::SessionId;
use bellboard_core::log::Log;
use bellboard_core::offset::Time;
use bellboard_core::session::{Session, SessionKey};
use bellboard_proto::v1::{self, event::Payload};
use tonic::Status;

use crate::wire::draft;
use crate::wire::facts::{Mask, parse_facts, parse_setup};
use crate::wire::fault::Fault;
use crate::wire::session::{parse_id, parse_key, parse_ref};
use crate::wire::status::{appended, no_session, rejected, stored};

/// Looks a session up.
///
/// # Errors
/// NOT_FOUND when there is none of this name.
pub async fn find(log: &Log, name: &SessionRef) -> Result<Session, Status> {
    let found = match name {
        SessionRef::Id(id) => log.store().session(log.row().key, id).await,
        SessionRef::Key(key) => log.store().session_by_key(log.row().key, key).await,
    };
    found.map_err(|error| stored(&error))?.ok_or_else(|| no_session(name))
}

/// The append that opens the session of a CreateSession.
///
/// # Errors
/// Names the field at fault.
pub fn creation(request: v1::CreateSessionRequest, now: Time) -> Result<Append, Fault> {
    let v1::CreateSessionRequest {
        session_id,
        key,
        parent_session,
        facts,
        config,
        capabilities,
    } = request;
    let parsed = key.as_ref().map(|key| parse_key("key", key)).transpose()?;
    let session = match (session_id.as_str(), &parsed) {
        ("", None) => {
            let problem = "is empty and there is no key; give one of the two";
            return Err(Fault::new("session_id", problem));
        }
        ("", Some(key)) => SessionRef::Key(key.clone()),
        (id, _) => SessionRef::Id(parse_id("session_id", id)?),
    };
    // Checked here so that the field is named as in this request, not as in the event.
    parse_facts("facts", &facts.clone().unwrap_or_default(), &Mask::Populated)?;
    parse_setup("", config.as_ref(), capabilities.as_ref())?;
    if parent_session.is_some() {
        parse_ref("parent_session", parent_session.as_ref())?;
    }
    let payload = v1::SessionOpened {
        key,
        facts,
        config,
        capabilities,
        origin: v1::SessionOrigin::Hub.into(),
        forked_from_session_id: String::new(),
        parent_session,
    };
    let condition = Condition::OpensSession;
    own(session, parsed, condition, Payload::SessionOpened(payload), now)
}

/// What came of it: the session, and whether it is new.
///
/// # Errors
/// ALREADY_EXISTS when id and key name different sessions.
pub fn created(outcome: Outcome) -> Result<(SessionId, bool), Status> {
    match outcome {
        Outcome::Stored {
            session: Some(session), ..
        } => Ok((session, true)),
        // What the hub writes by itself has no dedupe key, and so is never a duplicate of anything.
        Outcome::Unchanged { session }
        | Outcome::Duplicate {
            session: Some(session), ..
        } => Ok((session, false)),
        Outcome::Stored { session: None, .. } | Outcome::Duplicate { session: None, .. } => {
            Err(appended(&appender::Error::Unavailable))
        }
        Outcome::Rejected(rejection) => Err(rejected(rejection)),
    }
}

/// An UpdateSession, understood.
#[derive(Debug)]
pub struct Update {
    /// The session.
    pub session: SessionRef,
    facts: v1::SessionFacts,
    mask: Mask,
}

impl Update {
    /// Reads the request.
    ///
    /// # Errors
    /// Names the field at fault.
    pub fn parse(request: v1::UpdateSessionRequest) -> Result<Update, Fault> {
        let v1::UpdateSessionRequest { session, update_mask } = request;
        let session = session.ok_or_else(|| Fault::new("session", "is missing; give session_id and facts"))?;
        let id = parse_id("session.session_id", &session.session_id)?;
        let mask = Mask::parse("update_mask", "facts.", update_mask.as_ref())?;
        let facts = session.facts.unwrap_or_default();
        parse_facts("session.facts", &facts, &mask)?;
        Ok(Update {
            session: SessionRef::Id(id),
            facts,
            mask,
        })
    }

    /// The append that changes the facts.
    ///
    /// # Errors
    /// Names the field at fault.
    pub fn append(self, now: Time) -> Result<Append, Fault> {
        let paths = match self.mask {
            Mask::Populated => Vec::new(),
            Mask::All => vec!["*".to_owned()],
            Mask::Named(names) => names,
        };
        let payload = v1::SessionUpdated {
            facts: Some(self.facts),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            parent_session: None,
        };
        let condition = Condition::ChangesFacts;
        own(self.session, None, condition, Payload::SessionUpdated(payload), now)
    }
}

/// An append of the hub's own making.
fn own(
    session: SessionRef,
    opens: Option<SessionKey>,
    condition: Condition,
    payload: Payload,
    now: Time,
) -> Result<Append, Fault> {
    let draft::Written {
        kind,
        family,
        body,
        session_step,
    } = draft::written(payload, now)?;
    let draft = Draft {
        session: Some(session),
        opens,
        event_id: None,
        dedupe: None,
        kind,
        family,
        life: None,
        item: None,
        item_step: None,
        session_step,
        connector_step: None,
        body,
        raw: None,
    };
    Ok(Append {
        seq: 0,
        condition,
        draft: Ok(Box::new(draft)),
    })
}
