//! What a batch must know before it is decided: the rows that it names, read in as few questions as there are kinds of row.
//!
//! Believe this: what was asked for and is absent afterwards does not exist. The decision asks nothing more.

use std::collections::{HashMap, HashSet};

use crate::appender::decide::Rows;
use crate::appender::{Append, Claim, DeltaDraft, Wish};
use crate::event::{DedupeKey, Routing, SessionRef, SessionStep};
use crate::id::{SessionId, WriterId};
use crate::lease::Sign;
use crate::limits;
use crate::offset::{LogKey, SessionNumber};
use crate::session::SessionKey;
use crate::store::{self, Stored, Transaction};

/// Everything that tasks name, to be read before they are decided.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    ids: HashSet<SessionId>,
    keys: HashSet<SessionKey>,
    writers: HashSet<WriterId>,
    /// Without a session where the tenant as a whole is told; in `seqs` too.
    dedupes: Vec<(Option<SessionRef>, DedupeKey)>,
    seqs: HashMap<(Option<SessionRef>, WriterId), Vec<u64>>,
    /// Sessions that are appended to without a writer.
    strangers: HashSet<SessionRef>,
    /// Sessions that writers claim.
    claims: Vec<(WriterId, SessionRef)>,
    /// Writers of which all that they hold is wanted.
    holders: Vec<WriterId>,
    /// Writers whose leases may have ended.
    ending: Vec<WriterId>,
    /// Writers of which something is told to the tenant as a whole: whom it concerns hangs on what they hold.
    speaking: HashSet<WriterId>,
    /// Sessions and the parents that they get.
    links: Vec<(SessionRef, SessionRef)>,
}

impl Wanted {
    /// A writer, and all sessions that it names or holds, where it says what it holds.
    pub(super) fn writer(&mut self, writer: &WriterId, wish: Option<&Wish>) {
        self.writers.insert(writer.clone());
        let Some(wish) = wish else { return };
        let Wish {
            sessions,
            take: _,
            acknowledged,
        } = wish;
        if *acknowledged > 0 {
            self.speaking.insert(writer.clone());
        }
        self.holders.push(writer.clone());
        for session in sessions {
            self.session(session);
            self.claims.push((writer.clone(), session.clone()));
        }
    }

    /// Writers whose leases may have ended, and what they hold.
    pub(super) fn ending(&mut self, writers: &[WriterId]) {
        self.writers.extend(writers.iter().cloned());
        self.holders.extend(writers.iter().cloned());
        self.ending.extend(writers.iter().cloned());
        self.speaking.extend(writers.iter().cloned());
    }

    /// What fragments name.
    pub(super) fn deltas(&mut self, claim: Option<&Claim>, deltas: &[DeltaDraft]) {
        self.writers.extend(claim.map(|claim| claim.writer.clone()));
        deltas.iter().for_each(|delta| self.session(&delta.session));
    }

    fn session(&mut self, session: &SessionRef) {
        match session {
            SessionRef::Id(id) => drop(self.ids.insert(id.clone())),
            SessionRef::Key(key) => drop(self.keys.insert(key.clone())),
        }
    }

    /// What one append names.
    pub(super) fn append(&mut self, claim: Option<&Claim>, append: &Append) {
        if let Some(claim) = claim {
            self.writers.insert(claim.writer.clone());
        }
        let Ok(draft) = &append.draft else { return };
        match &draft.session {
            Some(session) => self.session(session),
            None => self.speaking.extend(claim.map(|claim| claim.writer.clone())),
        }
        if let Some(key) = &draft.opens {
            self.keys.insert(key.clone());
        }
        if let SessionStep::Opened(facts) | SessionStep::Changed(facts) = &draft.session_step
            && let Some(parent) = &facts.parent
        {
            self.session(parent);
            self.links
                .extend(draft.session.clone().map(|session| (session, parent.clone())));
        }
        if let Some(key) = draft.dedupe {
            self.dedupes.push((draft.session.clone(), key));
        }
        if let Some(claim) = claim {
            let named = (draft.session.clone(), claim.writer.clone());
            self.seqs.entry(named).or_default().push(append.seq);
        } else {
            self.strangers.extend(draft.session.clone());
        }
    }

    /// Reads the rows that are not in the cache.
    pub(super) async fn load(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
        rows: &mut Rows,
    ) -> Result<(), store::Error> {
        let keys: Vec<_> = self
            .keys
            .iter()
            .filter(|key| !rows.keys.contains_key(*key))
            .cloned()
            .collect();
        if !keys.is_empty() {
            let found = transaction.sessions_by_key(log, &keys).await?;
            found.into_iter().for_each(|session| rows.insert_session(session));
        }
        let ids: Vec<_> = self
            .ids
            .iter()
            .filter(|id| !rows.sessions.contains_key(*id))
            .cloned()
            .collect();
        if !ids.is_empty() {
            let found = transaction.sessions(log, &ids).await?;
            found.into_iter().for_each(|session| rows.insert_session(session));
        }
        let writers: Vec<_> = self
            .writers
            .iter()
            .filter(|id| !rows.writers.contains_key(*id))
            .cloned()
            .collect();
        if !writers.is_empty() {
            let found = transaction.writers(log, &writers).await?;
            rows.writers
                .extend(found.into_iter().map(|writer| (writer.id.clone(), writer)));
        }
        if !self.holders.is_empty() {
            let held = transaction
                .held(log, &self.holders, limits::WRITER_SESSIONS_MAX)
                .await?;
            held.into_iter().for_each(|session| rows.insert_session(session));
        }
        self.load_below(transaction, log, rows).await
    }

    /// Whose lease decides something, with what their rows tell of their lives now: those that hold a session which somebody else
    /// names, and those whose leases may have ended.
    pub(super) async fn signs(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
        rows: &Rows,
    ) -> Result<Vec<Sign>, store::Error> {
        let owner = |session: &SessionRef| rows.resolve(session)?.hold.owner.as_ref();
        let appended = self.seqs.keys().filter_map(|(of, writer)| Some((writer, of.as_ref()?)));
        let claimed = self.claims.iter().map(|(writer, session)| (writer, session));
        let by_writers = appended
            .chain(claimed)
            .filter_map(|(writer, session)| owner(session).filter(|owner| *owner != writer));
        let by_strangers = self.strangers.iter().filter_map(owner);
        let asked: HashSet<&WriterId> = by_writers.chain(by_strangers).chain(&self.ending).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<WriterId> = asked.into_iter().cloned().collect();
        // Not from the cache: a beat moves neither tail nor fence.
        transaction.signs(log, &asked).await
    }

    /// Reads what lies below sessions that get another parent: it gets other ancestors too.
    async fn load_below(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
        rows: &mut Rows,
    ) -> Result<(), store::Error> {
        let moves = |(session, parent): &(SessionRef, SessionRef)| {
            let session = rows.resolve(session)?;
            let parent = rows.resolve(parent).map(|parent| &parent.id);
            (parent.is_none() || session.parent() != parent).then(|| session.id.clone())
        };
        let moving: Vec<_> = self.links.iter().filter_map(moves).collect();
        if !moving.is_empty() {
            let found = transaction
                .descendants(log, &moving, limits::RELINKED_SESSIONS_MAX)
                .await?;
            found.into_iter().for_each(|session| rows.insert_session(session));
        }
        Ok(())
    }

    /// Where the dedupe keys lie that were stored before.
    pub(super) async fn dedupes(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
        rows: &Rows,
    ) -> Result<HashMap<(SessionNumber, DedupeKey), Stored>, store::Error> {
        let known = |(of, key): &(Option<SessionRef>, DedupeKey)| Some((number(rows, log, of.as_ref())?, *key));
        let keys: Vec<_> = self.dedupes.iter().filter_map(known).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let found = transaction.deduplicated(&keys).await?;
        Ok(found
            .into_iter()
            .map(|(session, key, stored)| ((session, key), stored))
            .collect())
    }

    /// Where the appends lie that come again.
    pub(super) async fn repeats(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
        rows: &Rows,
    ) -> Result<HashMap<(WriterId, u64), Stored>, store::Error> {
        let mut found = HashMap::new();
        for ((of, writer), seqs) in &self.seqs {
            let last = rows.writers.get(writer).map_or(0, |row| row.last_seq);
            let repeated: Vec<u64> = seqs.iter().copied().filter(|seq| *seq <= last).collect();
            let Some(session) = number(rows, log, of.as_ref()).filter(|_| !repeated.is_empty()) else {
                continue;
            };
            let stored = transaction
                .find_seqs(session, writer, &repeated, limits::DUPLICATE_SCAN_MAX)
                .await?;
            found.extend(stored.into_iter().map(|(seq, stored)| ((writer.clone(), seq), stored)));
        }
        Ok(found)
    }

    /// Where the sessions stand that each writer holds of which something is told.
    pub(super) async fn standing(
        &self,
        transaction: &mut dyn Transaction,
        log: LogKey,
    ) -> Result<HashMap<WriterId, Vec<Routing>>, store::Error> {
        let mut standing = HashMap::new();
        for writer in &self.speaking {
            standing.insert(writer.clone(), transaction.held_routings(log, writer).await?);
        }
        Ok(standing)
    }
}

/// The number of a session, or what stands for the tenant.
fn number(rows: &Rows, log: LogKey, of: Option<&SessionRef>) -> Option<SessionNumber> {
    match of {
        Some(session) => rows.resolve(session).map(|session| session.number),
        None => Some(SessionNumber::of_tenant(log)),
    }
}
