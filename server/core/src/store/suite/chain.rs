//! Builds rows that fit onto a log's tail, and remembers them all.
//!
//! Believe this: it is the model that reads are compared with. It folds sessions and links exactly as the appender does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::PlainEncode;
use super::wishes::{ONLINE, SESSION};
use crate::audience::Audience;
use crate::event::{Encode as _, Event, InSession, Kind, Of, Routing, SessionStep};
use crate::id::{SessionId, TenantId, WriterId};
use crate::interest::Interests;
use crate::link::{Digest, Link};
use crate::offset::{Offset, SessionNumber, Spot, Time};
use crate::session::{Session, SessionFacts, Stood};
use crate::store::{Changes, Error, EventRow, LogRow, RowOf, Store, Trim};

/// One log of a store, and all that was written to it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The log's row as it is after the next commit.
    pub log: LogRow,
    /// Every session as it is after the next commit.
    pub sessions: BTreeMap<SessionId, Session>,
    /// Every event, those of the next commit included.
    pub history: Vec<EventRow>,
    /// Where sessions stood that were moved, those of the next commit included, oldest first.
    pub stood: Vec<Stood>,
    /// What the next commit writes beside [`Chain::history`].
    pub changes: Changes,
    committed: usize,
    committed_stood: usize,
    genesis: Link,
    touched: BTreeSet<SessionId>,
    /// The sessions as the last commit left them: of those that only got further no more than that is written.
    written: BTreeMap<SessionId, Session>,
}

impl Chain {
    /// On the tenant's log, which must be empty.
    pub async fn on(store: &Arc<dyn Store>, tenant: &str) -> Chain {
        let log = store.open_log(&tenant_id(tenant)).await.unwrap();
        assert_eq!(log.tail, Offset::ZERO, "a chain starts on an empty log");
        Chain::continued(store, log, BTreeMap::new(), Vec::new())
    }

    /// On a log that already holds this.
    #[must_use]
    pub fn continued(
        store: &Arc<dyn Store>,
        log: LogRow,
        sessions: BTreeMap<SessionId, Session>,
        history: Vec<EventRow>,
    ) -> Chain {
        Chain {
            store: Arc::clone(store),
            genesis: log.base,
            log,
            written: sessions.clone(),
            sessions,
            committed: history.len(),
            history,
            stood: Vec::new(),
            committed_stood: 0,
            changes: Changes::default(),
            touched: BTreeSet::new(),
        }
    }

    /// The session, opened if it is new. What the caller changes is written by the next commit.
    pub fn session(&mut self, id: &str) -> &mut Session {
        let id = session_id(id);
        self.touched.insert(id.clone());
        let log = &mut self.log;
        self.sessions.entry(id.clone()).or_insert_with(|| {
            let number = SessionNumber::of(log.key, log.sessions);
            log.sessions += 1;
            Session::new(number, id, None, log.tail, time(log.tail))
        })
    }

    /// One event at the tail with a short body. Columns that the link does not cover may be changed afterwards.
    pub fn event(&mut self, session: &str, kind: Kind) -> &mut EventRow {
        let body = format!("{session} says {}", kind.0);
        self.event_of(session, kind, body.as_bytes())
    }

    /// One event at the tail.
    pub fn event_of(&mut self, session: &str, kind: Kind, body: &[u8]) -> &mut EventRow {
        self.place(session, kind, body, &SessionStep::None, None)
    }

    /// One event at the tail that moves its session: to this project, if one is given, and below these, the parent first, if any are
    /// given. What lies below it follows.
    pub fn moves(&mut self, session: &str, project: Option<&str>, above: Option<&[&str]>) -> &mut EventRow {
        let facts = SessionFacts {
            project: project.map(Into::into),
            ..SessionFacts::default()
        };
        let lineage = above.map(|above| above.iter().map(|id| session_id(id)).collect());
        let step = SessionStep::Changed(Box::new(facts));
        self.place(session, SESSION, b"moves", &step, lineage)
    }

    /// One event at the tail without a session, of a writer that holds these.
    pub fn tells(&mut self, writer: &str, holds: &[&str]) -> &mut EventRow {
        let stands = |id: &&str| match self.sessions.get(&session_id(id)) {
            Some(session) => session.routing(),
            None => self.session(id).routing(),
        };
        let held: Vec<Routing> = holds.iter().map(stands).collect();
        let audience = Audience::holding(writer_id(writer), &held);
        let body = format!("{writer} tells");
        self.put(ONLINE, body.as_bytes(), RowOf::Tenant(Arc::new(audience)))
    }

    fn place(
        &mut self,
        session: &str,
        kind: Kind,
        body: &[u8],
        step: &SessionStep,
        lineage: Option<Box<[SessionId]>>,
    ) -> &mut EventRow {
        let offset = self.log.tail;
        let session = self.session(session);
        let (number, index) = (session.number, session.next_index);
        let stood = session.apply(step, lineage, offset, time(offset));
        let moved = stood.is_some().then(|| session.routing());
        self.stood.extend(stood);
        if let Some(parent) = moved {
            for (id, below) in &mut self.sessions {
                let stood = below.follow(&parent, offset);
                self.touched.extend(stood.is_some().then(|| id.clone()));
                self.stood.extend(stood);
            }
        }
        self.put(kind, body, RowOf::Session(Spot { session: number, index }))
    }

    fn put(&mut self, kind: Kind, body: &[u8], of: RowOf) -> &mut EventRow {
        let offset = self.log.tail;
        let stored = PlainEncode::stored(offset, body);
        let link = self.log.link_key.next(self.log.link, &Digest::of(&stored));
        (self.log.tail, self.log.link) = (offset.next(), link);
        self.log.recorded = time(offset);
        self.history.push(EventRow {
            offset,
            of,
            kind,
            item: None,
            item_step: None,
            writer: None,
            dedupe: None,
            link,
            stored,
            raw: None,
        });
        self.history.last_mut().unwrap()
    }

    /// What the next commit writes.
    #[must_use]
    pub fn pending(&self) -> Changes {
        let mut sessions = self.changes.sessions.clone();
        let mut progress = self.changes.progress.clone();
        for id in &self.touched {
            let session = &self.sessions[id];
            let before = self.written.get(id);
            match before.and_then(|before| session.progress_since(before)) {
                Some(further) => progress.push(further),
                None => sessions.push(session.clone()),
            }
        }
        Changes {
            events: self.history[self.committed..].to_vec(),
            sessions,
            progress,
            holds: self.changes.holds.clone(),
            writers: self.changes.writers.clone(),
            stood: self.stood[self.committed_stood..].to_vec(),
        }
    }

    /// Writes what is pending.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn commit(&mut self) {
        self.try_commit().await.expect("the commit goes through");
    }

    /// Writes what is pending.
    ///
    /// # Errors
    /// What the store says; then the chain is no longer what the store holds.
    pub async fn try_commit(&mut self) -> Result<(), Error> {
        for event in &self.history[self.committed..] {
            self.log.keep(event, time(event.offset));
        }
        let mut transaction = self.store.begin().await?;
        transaction.lock(self.log.key).await?;
        transaction.write(&self.log, self.pending()).await?;
        transaction.commit().await?;
        self.committed = self.history.len();
        self.committed_stood = self.stood.len();
        for id in std::mem::take(&mut self.touched) {
            self.written.insert(id.clone(), self.sessions[&id].clone());
        }
        self.changes = Changes::default();
        Ok(())
    }

    /// What takes everything before `until` away. A base is its session as it is now, under a title that says so.
    #[must_use]
    pub fn trim(&self, until: Offset) -> Trim {
        let mut log = self.log.clone();
        let mut bases: BTreeMap<SessionNumber, Session> = BTreeMap::new();
        let gone = &self.history[log.oldest.0 as usize..until.0 as usize];
        for event in gone {
            log.bytes -= event.bytes();
            let Some(Spot { session, index }) = event.spot() else {
                continue;
            };
            let base = bases.entry(session).or_insert_with(|| Session {
                ancestors: Box::default(),
                ..self.numbered(session).clone()
            });
            base.facts.title = Some(format!("base at {until}").into());
            base.trimmed.take(index, event.kind.family(), event.offset);
        }
        let links = gone.iter().map(|event| self.link_before(event.offset)).collect();
        (log.oldest, log.base, log.oldest_recorded) = (until, self.link_before(until), time(until));
        Trim {
            log,
            links,
            bases: bases.into_values().collect(),
        }
    }

    /// Takes everything before `until` away, and keeps so many links or a few more.
    ///
    /// # Panics
    /// When the store refuses.
    pub async fn commit_trim(&mut self, until: Offset, links_max: u64) {
        let trim = self.trim(until);
        let mut transaction = self.store.begin().await.unwrap();
        transaction.lock(self.log.key).await.unwrap();
        transaction
            .trim(trim.clone(), links_max)
            .await
            .expect("the trim is taken");
        transaction.commit().await.unwrap();
        self.log = trim.log;
        for base in trim.bases {
            self.sessions.get_mut(&base.id).expect("a known session").trimmed = base.trimmed;
        }
    }

    /// The link before an offset.
    #[must_use]
    pub fn link_before(&self, offset: Offset) -> Link {
        match offset.0.checked_sub(1) {
            None => self.genesis,
            Some(before) => self.history[before as usize].link,
        }
    }

    /// A session by its number.
    #[must_use]
    pub fn numbered(&self, number: SessionNumber) -> &Session {
        let mut sessions = self.sessions.values();
        sessions
            .find(|session| session.number == number)
            .expect("a known session")
    }

    /// Where a session stood when its event at this offset was stored, and where it stood before, if the event moved it.
    #[must_use]
    pub fn routing(&self, session: SessionNumber, offset: Offset) -> (Routing, Option<Routing>) {
        let stood = || self.stood.iter().filter(|stood| stood.session == session);
        let then = stood().find(|stood| (stood.from..stood.until).contains(&offset));
        let now = || self.numbered(session).routing();
        let routing = then.map_or_else(now, |stood| Routing::clone(&stood.routing));
        let before = stood().find(|stood| stood.until == offset);
        (routing, before.map(|stood| Routing::clone(&stood.routing)))
    }

    fn is_wanted(&self, interests: &Interests, row: &EventRow) -> bool {
        let family = row.kind.family().unwrap();
        match &row.of {
            RowOf::Session(spot) => {
                let (routing, before) = self.routing(spot.session, row.offset);
                interests.want_move(before.as_ref(), &routing, family)
            }
            RowOf::Tenant(audience) => interests.want_of_tenant(audience, family),
        }
    }

    /// The events that a reader of these interests must see in `[from, until)`.
    #[must_use]
    pub fn wanted(&self, interests: &Interests, from: Offset, until: Offset) -> Vec<&EventRow> {
        let range = from.0.min(until.0) as usize..until.0 as usize;
        let rows = self.history[range].iter();
        rows.filter(|row| self.is_wanted(interests, row)).collect()
    }

    /// Fails unless these events are exactly those rows, in this order.
    pub fn assert_events(&self, events: &[Event], rows: &[&EventRow], what: &str) {
        let offsets: Vec<_> = events.iter().map(|event| event.offset.0).collect();
        let expected: Vec<_> = rows.iter().map(|row| row.offset.0).collect();
        assert_eq!(offsets, expected, "offsets of {what}");
        for (event, row) in events.iter().zip(rows) {
            self.assert_event(event, row);
        }
    }

    fn assert_event(&self, event: &Event, row: &EventRow) {
        // Every field is named: a new one must be compared.
        let Event {
            offset,
            of,
            kind,
            family,
            item,
            item_step,
            has_raw,
            link,
            bytes,
        } = event;
        assert_eq!(*offset, row.offset);
        match (of, &row.of) {
            (Of::Session(of), RowOf::Session(spot)) => {
                let InSession {
                    index,
                    routing,
                    moved_from,
                } = of;
                assert_eq!(*index, spot.index, "index at {offset}");
                let (then, before) = self.routing(spot.session, *offset);
                assert_eq!(**routing, then, "routing at {offset}");
                assert_eq!(
                    moved_from.as_deref(),
                    before.as_ref(),
                    "where {offset} moved its session from"
                );
            }
            (Of::Tenant(found), RowOf::Tenant(audience)) => assert_eq!(found, audience, "whom {offset} is for"),
            (of, row) => panic!("{offset} is of {of:?}, not of {row:?}"),
        }
        assert_eq!(*kind, row.kind, "kind at {offset}");
        assert_eq!(Some(*family), row.kind.family(), "family at {offset}");
        assert_eq!(*item, row.item, "item at {offset}");
        assert_eq!(*item_step, row.item_step, "item step at {offset}");
        assert_eq!(*has_raw, row.raw.is_some(), "raw at {offset}");
        assert_eq!(*link, row.link, "link at {offset}");
        assert!(*bytes == PlainEncode.linked(&row.stored, row.link), "bytes at {offset}");
    }
}

/// When the event at this offset was stored.
fn time(offset: Offset) -> Time {
    Time(1_700_000_000_000_001 + offset.0 as i64 * 1_003)
}

pub(super) fn tenant_id(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

pub(super) fn session_id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

pub(super) fn writer_id(text: &str) -> WriterId {
    WriterId::parse(text).unwrap()
}

/// What a test says of an item.
pub(super) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
