//! An encoding that tells what it holds: times, lives, parents and steps, as the contract's does.
//!
//! Believe this: a draft's step is not in its body, so whoever stores one that says something of its session names it here first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::event::{Draft, Encode, Kind, Placement, SessionStep, Told};
use crate::id::{EventId, SessionId};
use crate::link::Link;
use crate::offset::{Offset, Time};
use crate::session::{SessionFacts, SessionKey};
use crate::store::suite::PlainEncode;
use crate::subscription::frame::SnapshotEntry;
use crate::testing::OPENED;

/// What a body says.
type Said = (SessionStep, Option<SessionKey>);

/// Stored bytes are one line (time, life, session, parent) and the body.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    said: Mutex<HashMap<Bytes, Said>>,
}

impl Telling {
    /// Notes what a draft says.
    pub(crate) fn name(&self, draft: Draft) -> Draft {
        let said = (draft.session_step.clone(), draft.opens.clone());
        self.said.lock().unwrap().insert(draft.body.clone(), said);
        draft
    }
}

fn head(bytes: &Bytes) -> Option<(Vec<String>, Bytes)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((line.split('|').map(str::to_owned).collect(), bytes.slice(end + 1..)))
}

impl Encode for Telling {
    fn event(&self, placement: &Placement<'_>, body: &Bytes) -> Bytes {
        let Placement {
            recorded,
            session,
            parent,
            life,
            ..
        } = placement;
        let parent = parent.map(SessionId::as_str).unwrap_or_default();
        let line = format!("{}|{life}|{session}|{parent}\n", recorded.0);
        [line.as_bytes(), body].concat().into()
    }

    fn linked(&self, stored: &Bytes, link: Link) -> Bytes {
        PlainEncode.linked(stored, link)
    }

    fn opened(&self, key: Option<&SessionKey>, _: Time) -> (Kind, Bytes) {
        let body = Bytes::from(EventId::random().to_string());
        let step = SessionStep::Opened(Box::<SessionFacts>::default());
        self.said.lock().unwrap().insert(body.clone(), (step, key.cloned()));
        (OPENED, body)
    }

    fn item_id(&self, _: &Bytes) -> Arc<str> {
        "item".into()
    }

    fn recorded(&self, bytes: &Bytes) -> Option<Time> {
        let (head, _) = head(bytes)?;
        Some(Time(head[0].parse().ok()?))
    }

    fn told(&self, stored: &Bytes) -> Option<Told> {
        let (head, body) = head(stored)?;
        let said = self.said.lock().unwrap();
        let (session_step, opens) = said.get(&body).cloned().unwrap_or_default();
        Some(Told {
            session: SessionId::parse(&head[2]).ok()?,
            parent: SessionId::parse(&head[3]).ok(),
            life: head[1].parse().ok()?,
            recorded: Time(head[0].parse().ok()?),
            opens,
            session_step,
        })
    }

    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, offset: Offset) -> Bytes {
        PlainEncode.snapshot_page(sessions, offset)
    }

    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes {
        PlainEncode.delta(session, body)
    }
}
