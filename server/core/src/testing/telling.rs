//! An encoding that tells what it holds: times, lives, parents and steps, as the contract's does.
//!
//! Believe this: a draft's step is not in its body, so whoever stores one that says something of its session names it here first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::event::{Draft, Encode, Kind, Lost, PlacedIn, Placement, SessionStep, Told, ToldOf};
use crate::id::{EventId, SessionId, WriterId};
use crate::link::Link;
use crate::offset::{Offset, Time};
use crate::session::{SessionFacts, SessionKey};
use crate::store::suite::PlainEncode;
use crate::subscription::frame::SnapshotEntry;
use crate::testing::OPENED;

/// What a body says.
type Said = (SessionStep, Option<SessionKey>);

/// Stored bytes are one line (time, life, session, parent; only the time where there is no session) and the body.
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
        let recorded = placement.recorded.0;
        let line = match placement.session {
            Some(PlacedIn {
                session, parent, life, ..
            }) => {
                let parent = parent.map(SessionId::as_str).unwrap_or_default();
                format!("{recorded}|{life}|{session}|{parent}\n")
            }
            None => format!("{recorded}\n"),
        };
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

    fn lost(&self, writer: &WriterId, connector: &str, lost: Lost, now: Time) -> (Kind, Bytes) {
        PlainEncode.lost(writer, connector, lost, now)
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
        let session = match &head[..] {
            [_, life, session, parent] => Some(ToldOf {
                session: SessionId::parse(session).ok()?,
                parent: SessionId::parse(parent).ok(),
                life: life.parse().ok()?,
                opens,
                session_step,
            }),
            _ => None,
        };
        Some(Told {
            recorded: Time(head[0].parse().ok()?),
            session,
        })
    }

    fn snapshot_page(&self, sessions: Vec<SnapshotEntry>, offset: Offset) -> Bytes {
        PlainEncode.snapshot_page(sessions, offset)
    }

    fn delta(&self, session: &SessionId, body: &Bytes) -> Bytes {
        PlainEncode.delta(session, body)
    }
}
