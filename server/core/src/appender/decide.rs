//! What an append becomes: the deciding part of the appender.
//!
//! Believe this: it is a function of rows that were read under the log's lock. It reads nothing, writes nothing and asks no clock;
//! what it decides becomes true only when the committer has stored it.

mod holds;
mod lineage;
mod tenant;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::appender::{Append, Claim, Condition, Error, Outcome, Refusal, Rejection};
use crate::audience::Audience;
use crate::event::{
    DedupeKey, Draft, Encode, Event, Family, InSession, Of, PlacedIn, Placement, Routing, SessionRef, SessionStep,
};
use crate::hold::Hold;
use crate::id::{EventId, SessionId, WriterId};
use crate::link::Digest;
use crate::offset::{SessionNumber, Spot, Time};
use crate::session::{Session, SessionFacts, SessionKey};
use crate::store::{Changes, EventRow, LogRow, RowOf, Stored, WriterRow};
use bytes::Bytes;

/// Rows of one log as they were at one tail. What is absent from a map was not asked for, or does not exist: the committer asks for
/// everything that a batch names before it decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) sessions: HashMap<SessionId, Session>,
    pub(super) keys: HashMap<SessionKey, SessionId>,
    pub(super) writers: HashMap<WriterId, WriterRow>,
    /// Of all sessions, as [`Session::bytes`] reckons them.
    session_bytes: usize,
}

impl Rows {
    pub(super) fn insert_session(&mut self, session: Session) {
        if let Some(key) = &session.key {
            self.keys.insert(key.clone(), session.id.clone());
        }
        self.session_bytes += session.bytes();
        if let Some(replaced) = self.sessions.insert(session.id.clone(), session) {
            self.session_bytes -= replaced.bytes();
        }
    }

    /// Bytes of all sessions. Rows of writers are small, and bounded in number.
    pub(super) const fn bytes(&self) -> usize {
        self.session_bytes
    }

    pub(super) fn resolve(&self, session: &SessionRef) -> Option<&Session> {
        match session {
            SessionRef::Id(id) => self.sessions.get(id),
            SessionRef::Key(key) => self.sessions.get(self.keys.get(key)?),
        }
    }
}

/// One commit's worth of one log, while it is decided.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    /// The log's row, moved on with every event.
    pub(super) log: LogRow,
    /// What to write.
    pub(super) changes: Changes,
    /// The same events as they will be read.
    pub(super) events: Vec<Event>,
    base: &'a Rows,
    /// What this decision changed: looked at before `base`.
    changed: Rows,
    /// Where dedupe keys of this batch were stored, before or by this decision.
    dedupes: HashMap<(SessionNumber, DedupeKey), Stored>,
    /// Where seqs that come again were stored, before (as far as was found) or by this decision.
    repeats: HashMap<(WriterId, u64), Stored>,
    /// The writers whose leases live, of all that hold a session which this decision names and of those that it gives one to.
    living: HashSet<WriterId>,
    /// The fence that was newest before this decision.
    fence_before: u64,
    /// Where the sessions stood that writers held before this decision, of those of which something is told.
    standing: HashMap<WriterId, Vec<Routing>>,
    /// Whom events of the tenant as a whole concern, as long as no session changes hands or moves.
    audiences: HashMap<WriterId, Arc<Audience>>,
    routings: HashMap<SessionId, Arc<Routing>>,
    encode: &'a dyn Encode,
    now: Time,
}

/// What is known beside rows before a batch is decided.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where the dedupe keys lie that were stored before.
    pub(super) dedupes: HashMap<(SessionNumber, DedupeKey), Stored>,
    /// Where the appends lie that come again.
    pub(super) repeats: HashMap<(WriterId, u64), Stored>,
    /// The writers whose leases live, of those that bar others.
    pub(super) living: HashSet<WriterId>,
    /// Where the sessions stand that writers hold, of those of which something may be told to the tenant as a whole.
    pub(super) standing: HashMap<WriterId, Vec<Routing>>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(log: LogRow, base: &'a Rows, known: Known, encode: &'a dyn Encode, now: Time) -> Decision<'a> {
        let Known {
            dedupes,
            repeats,
            living,
            standing,
        } = known;
        // Time within a log never goes back, whatever the machine's clock does.
        let now = now.max(log.recorded);
        Decision {
            living,
            fence_before: log.fence,
            log,
            changes: Changes::default(),
            events: Vec::new(),
            base,
            changed: Rows::default(),
            dedupes,
            repeats,
            standing,
            audiences: HashMap::new(),
            routings: HashMap::new(),
            encode,
            now,
        }
    }

    /// The rows that this decision changed, for the committer's cache.
    pub(super) fn finish(mut self) -> (LogRow, Changes, Vec<Event>, Rows) {
        for session in self.changed.sessions.values() {
            let before = self.base.sessions.get(&session.id);
            if before.is_none_or(|before| before.is_behind(session)) {
                match before.and_then(|before| session.progress_since(before)) {
                    Some(progress) => self.changes.progress.push(progress),
                    None => self.changes.sessions.push(session.clone()),
                }
            }
            let is_held_otherwise = match before {
                Some(before) => before.hold != session.hold,
                None => session.hold != Hold::default(),
            };
            if is_held_otherwise {
                self.changes.holds.push((session.number, session.hold.clone()));
            }
        }
        self.changes.writers = self.changed.writers.values().cloned().collect();
        // What others keep of this log is true for its tail and its newest fence: where no event moves the tail, the fence moves on.
        let is_silent = self.events.is_empty() && !(self.changes.holds.is_empty() && self.changes.writers.is_empty());
        if is_silent && self.log.fence == self.fence_before {
            self.log.fence += 1;
        }
        self.log.recorded = if self.events.is_empty() {
            self.log.recorded
        } else {
            self.now
        };
        (self.log, self.changes, self.events, self.changed)
    }

    /// Checks that a writer still is who it was.
    pub(super) fn check(&self, claim: &Claim) -> Result<&WriterRow, Error> {
        let row = self.writer(&claim.writer).ok_or(Error::WriterUnknown)?;
        if row.fence == claim.fence {
            Ok(row)
        } else {
            Err(Error::Fenced {
                given: claim.fence,
                current: row.fence,
            })
        }
    }

    /// Opens a writer under the next fence.
    pub(super) fn open_writer(&mut self, id: &WriterId) -> WriterRow {
        self.log.fence += 1;
        let before = self.writer(id).cloned();
        let last_seq = before.as_ref().map_or(0, |row| row.last_seq);
        let row = WriterRow {
            id: id.clone(),
            fence: self.log.fence,
            last_seq,
            presence: before.map(|row| row.presence).unwrap_or_default(),
        };
        self.changed.writers.insert(id.clone(), row.clone());
        row
    }

    /// The session of this name, opened if it is new.
    pub(super) fn open_session(&mut self, name: &SessionRef) -> Session {
        if let Some(session) = self.session(name) {
            return session.clone();
        }
        let session = self.new_session(name, None);
        self.place_opening(session)
    }

    /// Decides one append.
    pub(super) fn append(&mut self, claim: Option<&Claim>, append: &Append) -> Outcome {
        if let Some(claim) = claim
            && let Some(answer) = self.consume(claim, append)
        {
            return answer;
        }
        match &append.draft {
            Ok(draft) => self
                .store(claim, append.seq, append.condition, draft)
                .unwrap_or_else(Outcome::Rejected),
            Err(rejection) => Outcome::Rejected(rejection.clone()),
        }
    }

    /// Counts a seq; an answer when it was counted before, or must not be counted.
    fn consume(&mut self, claim: &Claim, append: &Append) -> Option<Outcome> {
        let row = self.writer(&claim.writer)?.clone();
        if append.seq == 0 {
            let message = "seq is 0; count from 1 where a writer is named".to_owned();
            return Some(Outcome::Rejected(Rejection {
                refusal: Refusal::InvalidField,
                message,
                field: "seq".to_owned(),
                metadata: Vec::new(),
            }));
        }
        if append.seq <= row.last_seq {
            let session = append
                .draft
                .as_ref()
                .ok()
                .and_then(|draft| self.session(draft.session.as_ref()?))
                .map(|row| row.id.clone());
            let stored = self.repeats.get(&(row.id, append.seq)).copied();
            self.stay(Some(claim), session.as_ref());
            return Some(Outcome::Duplicate { session, stored });
        }
        if append.seq > row.last_seq + 1 {
            let message = format!(
                "seq {} does not follow {}; send what lies between first",
                append.seq, row.last_seq
            );
            return Some(Outcome::Rejected(Rejection {
                refusal: Refusal::SeqGap,
                message,
                field: "seq".to_owned(),
                metadata: vec![("seq", append.seq.to_string()), ("last_seq", row.last_seq.to_string())],
            }));
        }
        if let Some(fenced) = self.fenced(claim, append) {
            return Some(Outcome::Rejected(fenced));
        }
        self.changed.writers.insert(
            row.id.clone(),
            WriterRow {
                last_seq: append.seq,
                ..row
            },
        );
        None
    }

    fn store(
        &mut self,
        claim: Option<&Claim>,
        seq: u64,
        condition: Condition,
        draft: &Draft,
    ) -> Result<Outcome, Rejection> {
        let Some(name) = &draft.session else {
            return self.store_of_tenant(claim, seq, draft);
        };
        let mut known = self.known(name, draft, condition)?;
        if let Some(session) = &mut known {
            let duplicate = draft
                .dedupe
                .and_then(|key| self.dedupes.get(&(session.number, key)).copied());
            if let Some(stored) = duplicate {
                // Whoever holds the session: what was stored once is answered as that.
                self.stay(claim, Some(&session.id));
                return Ok(Outcome::Duplicate {
                    session: Some(session.id.clone()),
                    stored: Some(stored),
                });
            }
            self.enter(session, claim, condition)?;
            let holds = match condition {
                Condition::Always => true,
                Condition::OpensSession => false,
                Condition::ChangesFacts => changes_facts(session, &draft.session_step),
            };
            if !holds {
                return Ok(Outcome::Unchanged {
                    session: session.id.clone(),
                });
            }
        }
        let lineage = self.lineage(draft, known.as_ref().map(|session| &session.id))?;
        let mut session = known.unwrap_or_else(|| self.open_for(name, draft));
        if let Some(claim) = claim {
            self.hold(&mut session, claim);
        }
        let writer = claim.map(|claim| (claim.writer.clone(), seq));
        let (session, event_id, stored) = self.place(session, draft, writer.clone(), lineage);
        self.remember(draft, session.number, writer, stored);
        Ok(Outcome::Stored {
            event_id,
            session: Some(session.id),
            stored,
        })
    }

    /// Lets an append be recognised that comes again in this batch.
    fn remember(&mut self, draft: &Draft, session: SessionNumber, writer: Option<(WriterId, u64)>, stored: Stored) {
        self.repeats.extend(writer.map(|seq| (seq, stored)));
        if let Some(key) = draft.dedupe {
            self.dedupes.insert((session, key), stored);
        }
    }

    /// The draft's session, if it exists; refused when its id and its key name different ones.
    fn known(&self, name: &SessionRef, draft: &Draft, condition: Condition) -> Result<Option<Session>, Rejection> {
        let conflict = |message: String, with: &SessionId| {
            Err(Rejection {
                refusal: Refusal::SessionConflict,
                message,
                field: "session".to_owned(),
                metadata: vec![("session_id", with.to_string())],
            })
        };
        let known = self.session(name).cloned();
        let Some(key) = &draft.opens else { return Ok(known) };
        let keyed = self.session(&SessionRef::Key(key.clone()));
        match (&known, keyed) {
            // An event brings its session a key that it lacks; a creation would be answered as if it had.
            (Some(Session { id, key: None, .. }), _) if condition == Condition::OpensSession => conflict(
                format!("session {id} exists without a key; leave the key out, or use another session id"),
                id,
            ),
            (Some(Session { id, key: has, .. }), _) if has.is_some() && has.as_ref() != Some(key) => conflict(
                format!("session {id} has another key; leave the key out, or use another session id"),
                id,
            ),
            (known, Some(keyed)) if known.as_ref().is_none_or(|session| session.id != keyed.id) => conflict(
                format!(
                    "the key belongs to session {}; use that id, or leave the id out",
                    keyed.id
                ),
                &keyed.id,
            ),
            _ => Ok(known),
        }
    }

    /// Opens the session of a draft, with an event of the hub's own where the draft is not that event.
    fn open_for(&mut self, name: &SessionRef, draft: &Draft) -> Session {
        let session = self.new_session(name, draft.opens.as_ref());
        if matches!(draft.session_step, SessionStep::Opened(_)) {
            session
        } else {
            self.place_opening(session)
        }
    }

    fn new_session(&mut self, name: &SessionRef, opens: Option<&SessionKey>) -> Session {
        let (id, key) = match name {
            SessionRef::Id(id) => (id.clone(), opens.cloned()),
            SessionRef::Key(key) => (SessionId::random(), Some(key.clone())),
        };
        let number = SessionNumber::of(self.log.key, self.log.sessions);
        self.log.sessions += 1;
        Session::new(number, id, key, self.log.tail, self.now)
    }

    fn place_opening(&mut self, session: Session) -> Session {
        let (kind, body) = self.encode.opened(session.key.as_ref(), self.now);
        let draft = Draft {
            session: Some(SessionRef::Id(session.id.clone())),
            opens: None,
            event_id: None,
            dedupe: None,
            kind,
            family: Family::Session,
            life: None,
            item: None,
            item_step: None,
            session_step: SessionStep::Opened(Box::default()),
            connector_step: None,
            body,
            raw: None,
        };
        self.place(session, &draft, None, None).0
    }

    /// Gives an event its place, its bytes and its link, and folds it into its session.
    fn place(
        &mut self,
        mut session: Session,
        draft: &Draft,
        writer: Option<(WriterId, u64)>,
        lineage: Option<Box<[SessionId]>>,
    ) -> (Session, EventId, Stored) {
        let (offset, index) = (self.log.tail, session.next_index);
        let step = session.meet(draft.life, draft.opens.as_ref(), &draft.session_step);
        let stood = session.apply(&step, lineage, offset, self.now);
        let moved_from = stood.as_ref().map(|stood| stood.routing.clone());
        if let Some(stood) = stood {
            self.audiences.clear();
            self.changes.stood.push(stood);
            self.relink(&session.routing(), offset);
        }
        let event_id = draft.event_id.clone().unwrap_or_else(EventId::random);
        let placement = Placement {
            offset,
            recorded: self.now,
            event_id: &event_id,
            session: Some(PlacedIn {
                index,
                session: &session.id,
                root: session.root(),
                parent: session.parent(),
                life: draft.life.unwrap_or(session.life),
            }),
        };
        let stored = self.encode.event(&placement, &draft.body);
        let routing = self.routing(&session);
        let of = Of::Session(InSession {
            index,
            routing,
            moved_from,
        });
        let spot = Spot {
            session: session.number,
            index,
        };
        let stored = self.put(draft, stored, of, RowOf::Session(spot), writer);
        self.changed.insert_session(session.clone());
        (session, event_id, stored)
    }

    /// Puts an event behind the last one: its link, and what is written and announced of it.
    fn put(&mut self, draft: &Draft, bytes: Bytes, of: Of, row_of: RowOf, writer: Option<(WriterId, u64)>) -> Stored {
        let offset = self.log.tail;
        let link = self.log.link_key.next(self.log.link, &Digest::of(&bytes));
        (self.log.tail, self.log.link) = (offset.next(), link);
        self.events.push(Event {
            offset,
            of,
            kind: draft.kind,
            family: draft.family,
            item: draft.item,
            item_step: draft.item_step,
            has_raw: draft.raw.is_some(),
            link,
            bytes: self.encode.linked(&bytes, link),
        });
        let row = EventRow {
            offset,
            of: row_of,
            kind: draft.kind,
            item: draft.item,
            item_step: draft.item_step,
            writer,
            dedupe: draft.dedupe,
            link,
            stored: bytes,
            raw: draft.raw.clone(),
        };
        self.log.keep(&row, self.now);
        let stored = row.stored();
        self.changes.events.push(row);
        stored
    }

    /// Shared by the events of one session, as long as it stands where it stood.
    fn routing(&mut self, session: &Session) -> Arc<Routing> {
        let now = session.routing();
        match self.routings.get(&session.id) {
            Some(routing) if **routing == now => routing.clone(),
            _ => {
                let routing = Arc::new(now);
                self.routings.insert(session.id.clone(), routing.clone());
                routing
            }
        }
    }

    fn session(&self, name: &SessionRef) -> Option<&Session> {
        // Rows of both sides: a key may be known to one and its session's newest row to the other.
        let id = match name {
            SessionRef::Id(id) => id,
            SessionRef::Key(key) => self.changed.keys.get(key).or_else(|| self.base.keys.get(key))?,
        };
        self.changed.sessions.get(id).or_else(|| self.base.sessions.get(id))
    }

    fn writer(&self, id: &WriterId) -> Option<&WriterRow> {
        self.changed.writers.get(id).or_else(|| self.base.writers.get(id))
    }
}

fn changes_facts(session: &Session, step: &SessionStep) -> bool {
    let changed = |facts: &SessionFacts| session.with(facts) != session.facts;
    match step {
        SessionStep::Opened(facts) | SessionStep::Changed(facts) => changed(facts),
        SessionStep::None
        | SessionStep::Renewed(_)
        | SessionStep::Closed
        | SessionStep::Archived
        | SessionStep::Unarchived => true,
    }
}
