//! The tables of one log.
//!
//! Believe this: [`Rows`] serves twice, for what is committed and for what an open transaction adds to it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::audience::Audience;
use crate::event::{DedupeKey, Encode, Event, Family, InSession, Of, Routing};
use crate::hold::Hold;
use crate::id::{SessionId, WriterId};
use crate::lease::Sign;
use crate::link::Link;
use crate::offset::{LogKey, Offset, SessionNumber, Spot};
use crate::session::{Session, SessionKey, Stood};
use crate::store::{Error, EventRow, LogRow, RowOf, Stored, WriterRow};
use crate::verify::{KeptEvent, KeptEvents};

/// One log as committed.
pub(super) struct Log {
    pub(super) row: LogRow,
    pub(super) rows: Rows,
    pub(super) trimmed: Trimmed,
    /// Held by the transaction that took the log's row, until it ends.
    pub(super) lock: Arc<tokio::sync::Mutex<()>>,
}

/// What is left of events that were trimmed.
#[derive(Default)]
pub(super) struct Trimmed {
    pub(super) bases: HashMap<SessionNumber, Session>,
    /// The links before them, those of the newest last.
    pub(super) links: VecDeque<Link>,
    /// Those without a session, in offset order, as far back as the links go.
    pub(super) of_tenant: Vec<(Offset, Family, Arc<Audience>)>,
}

/// Rows, and the ways to find them.
#[derive(Default)]
pub(super) struct Rows {
    /// In offset order, without holes.
    pub(super) events: VecDeque<EventRow>,
    pub(super) sessions: HashMap<SessionNumber, Session>,
    pub(super) writers: HashMap<WriterId, WriterRow>,
    /// Who holds sessions, of those whose holds were written.
    pub(super) holds: HashMap<SessionNumber, Hold>,
    /// How often the beats of writers were counted on.
    pub(super) beats: HashMap<WriterId, u64>,
    pub(super) dedupe: HashMap<(SessionNumber, DedupeKey), Stored>,
    /// Where sessions stood that were moved, each oldest first.
    pub(super) stood: HashMap<SessionNumber, Vec<Stood>>,
    ids: HashMap<SessionId, SessionNumber>,
    keys: HashMap<SessionKey, SessionNumber>,
    offsets: HashMap<SessionNumber, VecDeque<Offset>>,
}

/// Where the sessions stand now that one read meets, each made once.
pub(super) type Routings = HashMap<SessionNumber, Arc<Routing>>;

impl Log {
    pub(super) fn new(row: LogRow) -> Log {
        Log {
            row,
            rows: Rows::default(),
            trimmed: Trimmed::default(),
            lock: Arc::default(),
        }
    }

    pub(super) fn event(&self, offset: Offset) -> Option<&EventRow> {
        let at = offset.0.checked_sub(self.row.oldest.0)?;
        self.rows.events.get(usize::try_from(at).ok()?)
    }

    /// Fails when something of `[from, ..)` was trimmed.
    pub(super) fn check_kept(&self, from: Offset) -> Result<(), Error> {
        if from < self.row.oldest {
            Err(Error::Trimmed(self.row.oldest))
        } else {
            Ok(())
        }
    }

    /// The first events at or behind an offset, as they lie here.
    pub(super) fn kept(&self, from: Offset, most: usize) -> KeptEvents {
        let rows = self.rows.events.iter().filter(|row| row.offset >= from).take(most);
        let mut kept = KeptEvents::default();
        for row in rows {
            kept.raws.extend(row.raw.as_ref().map(|_| row.offset));
            kept.events.push(KeptEvent {
                offset: row.offset,
                spot: row.spot(),
                link: row.link,
                has_raw: row.raw.is_some(),
                stored: row.stored.clone(),
            });
        }
        kept
    }

    pub(super) fn link_before(&self, offset: Offset) -> Result<Link, Error> {
        let LogRow { oldest, base, .. } = self.row;
        if offset == oldest {
            return Ok(base);
        }
        if offset > oldest {
            let event = self.event(Offset(offset.0 - 1));
            return event
                .map(|row| row.link)
                .ok_or_else(|| Error::Corrupt(format!("there is no event before {offset}").into()));
        }
        let back = usize::try_from(offset.distance(oldest) - 1).unwrap_or(usize::MAX);
        let links = self.trimmed.links.iter().rev();
        links.copied().nth(back).ok_or(Error::Trimmed(oldest))
    }

    /// Where a session stood when its event at `offset` was stored.
    pub(super) fn routing(
        &self,
        known: &mut Routings,
        number: SessionNumber,
        offset: Offset,
    ) -> Result<Arc<Routing>, Error> {
        let stood = self.rows.stood(number);
        if let Some(stood) = stood.get(stood.partition_point(|stood| stood.until <= offset)) {
            return Ok(Arc::clone(&stood.routing));
        }
        if let Some(routing) = known.get(&number) {
            return Ok(Arc::clone(routing));
        }
        let session = self
            .rows
            .sessions
            .get(&number)
            .ok_or_else(|| Error::Corrupt(format!("there is no session {}", number.0).into()))?;
        let routing = Arc::new(session.routing());
        known.insert(number, Arc::clone(&routing));
        Ok(routing)
    }

    /// Where a session stood before, if its event at this offset moved it.
    fn moved_from(&self, session: SessionNumber, offset: Offset) -> Option<&Arc<Routing>> {
        let mut stood = self.rows.stood(session).iter();
        let moved = stood.find(|stood| stood.until == offset);
        moved.map(|stood| &stood.routing)
    }

    /// What the row's event is of.
    pub(super) fn of(&self, known: &mut Routings, row: &EventRow) -> Result<Of, Error> {
        Ok(match &row.of {
            RowOf::Session(Spot { session, index }) => Of::Session(InSession {
                index: *index,
                routing: self.routing(known, *session, row.offset)?,
                moved_from: self.moved_from(*session, row.offset).map(Arc::clone),
            }),
            RowOf::Tenant(audience) => Of::Tenant(Arc::clone(audience)),
        })
    }

    /// The row as it is read and sent.
    pub(super) fn read(&self, known: &mut Routings, row: &EventRow, encode: &dyn Encode) -> Result<Event, Error> {
        Ok(Event {
            offset: row.offset,
            of: self.of(known, row)?,
            kind: row.kind,
            family: family(row)?,
            item: row.item,
            item_step: row.item_step,
            has_raw: row.raw.is_some(),
            link: row.link,
            bytes: encode.linked(&row.stored, row.link),
        })
    }
}

impl Rows {
    pub(super) fn session_by_id(&self, id: &SessionId) -> Option<&Session> {
        self.sessions.get(self.ids.get(id)?)
    }

    pub(super) fn session_by_key(&self, key: &SessionKey) -> Option<&Session> {
        self.sessions
            .get(self.keys.get(key)?)
            .filter(|session| session.key.as_ref() == Some(key))
    }

    /// Where the events of a session lie, or those of the tenant as a whole, oldest first.
    pub(super) fn offsets(&self, session: SessionNumber) -> impl DoubleEndedIterator<Item = Offset> + '_ {
        self.offsets.get(&session).into_iter().flatten().copied()
    }

    /// Where a session stood before, oldest first.
    pub(super) fn stood(&self, session: SessionNumber) -> &[Stood] {
        self.stood.get(&session).map_or(&[], Vec::as_slice)
    }

    /// Lets go of where sessions stood that they left before this offset.
    pub(super) fn forget_stood(&mut self, before: Offset) {
        self.stood
            .values_mut()
            .for_each(|stood| stood.retain(|stood| stood.until >= before));
    }

    pub(super) fn put_stood(&mut self, stood: Stood) {
        self.stood.entry(stood.session).or_default().push(stood);
    }

    /// What of a session is trimmed stays, and who holds it.
    pub(super) fn put_session(&mut self, mut session: Session) {
        session.hold = Hold::default();
        if let Some(known) = self.sessions.get(&session.number) {
            session.trimmed.clone_from(&known.trimmed);
            session.hold.clone_from(&known.hold);
        }
        self.ids.insert(session.id.clone(), session.number);
        if let Some(key) = &session.key {
            self.keys.insert(key.clone(), session.number);
        }
        self.sessions.insert(session.number, session);
    }

    pub(super) fn put_event(&mut self, log: LogKey, event: EventRow) {
        if let Some(key) = event.dedupe {
            let session = event.session_or_tenant(log);
            self.dedupe.insert((session, key), event.stored());
        }
        let session = event.session_or_tenant(log);
        self.offsets.entry(session).or_default().push_back(event.offset);
        self.events.push_back(event);
    }

    /// Lets the oldest events go, gives them, and moves what their sessions' bases say of them.
    pub(super) fn trim(&mut self, log: LogKey, count: usize, bases: &[Session]) -> Vec<EventRow> {
        let gone: Vec<EventRow> = self.events.drain(..count).collect();
        for event in &gone {
            if let Some(offsets) = self.offsets.get_mut(&event.session_or_tenant(log)) {
                offsets.pop_front();
            }
        }
        for base in bases {
            if let Some(session) = self.sessions.get_mut(&base.number) {
                session.trimmed.clone_from(&base.trimmed);
            }
        }
        gone
    }

    /// Adds all of `newer`, which comes after these.
    pub(super) fn absorb(&mut self, log: LogKey, newer: Rows) {
        let Rows {
            events,
            sessions,
            writers,
            holds,
            beats: _,
            dedupe: _,
            stood,
            ids: _,
            keys: _,
            offsets: _,
        } = newer;
        for session in sessions.into_values() {
            self.put_session(session);
        }
        for event in events {
            self.put_event(log, event);
        }
        for stood in stood.into_values().flatten() {
            self.put_stood(stood);
        }
        self.writers.extend(writers);
        for (number, hold) in holds {
            if let Some(session) = self.sessions.get_mut(&number) {
                session.hold = hold;
            }
        }
    }

    /// What a writer's row tells of its life.
    pub(super) fn sign(&self, row: &WriterRow) -> Sign {
        Sign {
            writer: row.id.clone(),
            fence: row.fence,
            last_seq: row.last_seq,
            beat: self.beats.get(&row.id).copied().unwrap_or_default(),
        }
    }

    /// The writers that hold sessions, or whose connectors are there.
    pub(super) fn holders(&self) -> Vec<Sign> {
        let owners: HashSet<&WriterId> = self
            .sessions
            .values()
            .filter_map(|row| row.hold.owner.as_ref())
            .collect();
        let rows = self.writers.values();
        let rows = rows.filter(|row| row.presence.online || owners.contains(&row.id));
        rows.map(|row| self.sign(row)).collect()
    }
}

/// The row's family.
pub(super) fn family(row: &EventRow) -> Result<Family, Error> {
    row.kind
        .family()
        .ok_or_else(|| Error::Corrupt(format!("event {} has unknown kind {}", row.offset, row.kind.0).into()))
}
