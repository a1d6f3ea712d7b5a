//! What the hub understands of a payload: the steps of its item and its session, and nothing else.
//!
//! Believe this: a kind that is not named here is stored and sent like any other, and changes no row.

use bellboard_core::event::{ItemStep, SessionStep};
use bellboard_core::session::{SessionFacts, SessionKey};
use bellboard_proto::v1::{self, event::Payload};

use crate::wire::facts::{Mask, parse_facts, parse_setup};
use crate::wire::fault::Fault;
use crate::wire::session::{parse_key, parse_ref};

/// What the hub understands of a payload.
#[derive(Default)]
pub(in crate::wire) struct Meaning {
    /// What it does to its item.
    pub(in crate::wire) item_step: Option<ItemStep>,
    /// What it says of its session.
    pub(in crate::wire) session_step: SessionStep,
    /// The key of the session that it opens.
    pub(in crate::wire) opens: Option<SessionKey>,
}

/// Reads a payload for what it means.
///
/// # Errors
/// Names what of it is at fault.
pub(in crate::wire) fn meaning(payload: Option<&Payload>) -> Result<Meaning, Fault> {
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
            let (config, capabilities) = (changed.config.as_ref(), changed.capabilities.as_ref());
            let facts = SessionFacts {
                other: parse_setup("event.session_config_changed.", config, capabilities)?,
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
    facts.other.extend(parse_setup(
        "event.session_opened.",
        config.as_ref(),
        capabilities.as_ref(),
    )?);
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
