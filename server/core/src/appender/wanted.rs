//! What a batch must know before it is decided: the rows that it names, read in as few questions as there are kinds of row.
//!
//! Believe this: what was asked for and is absent afterwards does not exist. The decision asks nothing more.

use std::collections::{HashMap, HashSet};

use crate::appender::decide::Rows;
use crate::appender::{Append, Claim};
use crate::event::{DedupeKey, SessionRef, SessionStep};
use crate::id::{SessionId, WriterId};
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
    dedupes: Vec<(SessionRef, DedupeKey)>,
    seqs: HashMap<(SessionRef, WriterId), Vec<u64>>,
    /// Sessions and the parents that they get.
    links: Vec<(SessionRef, SessionRef)>,
}

impl Wanted {
    /// A writer and the sessions that it names.
    pub(super) fn writer(&mut self, writer: &WriterId, sessions: &[SessionRef]) {
        self.writers.insert(writer.clone());
        sessions.iter().for_each(|session| self.session(session));
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
        self.session(&draft.session);
        if let Some(key) = &draft.opens {
            self.keys.insert(key.clone());
        }
        if let SessionStep::Opened(facts) | SessionStep::Changed(facts) = &draft.session_step
            && let Some(parent) = &facts.parent
        {
            self.session(parent);
            self.links.push((draft.session.clone(), parent.clone()));
        }
        if let Some(key) = draft.dedupe {
            self.dedupes.push((draft.session.clone(), key));
        }
        if let Some(claim) = claim {
            let named = (draft.session.clone(), claim.writer.clone());
            self.seqs.entry(named).or_default().push(append.seq);
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
        self.load_below(transaction, log, rows).await
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
        rows: &Rows,
    ) -> Result<HashMap<(SessionNumber, DedupeKey), Stored>, store::Error> {
        let known = |(session, key): &(SessionRef, DedupeKey)| Some((rows.resolve(session)?.number, *key));
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
        rows: &Rows,
    ) -> Result<HashMap<(WriterId, u64), Stored>, store::Error> {
        let mut found = HashMap::new();
        for ((session, writer), seqs) in &self.seqs {
            let last = rows.writers.get(writer).map_or(0, |row| row.last_seq);
            let repeated: Vec<u64> = seqs.iter().copied().filter(|seq| *seq <= last).collect();
            let Some(session) = rows.resolve(session).filter(|_| !repeated.is_empty()) else {
                continue;
            };
            let stored = transaction
                .find_seqs(session.number, writer, &repeated, limits::DUPLICATE_SCAN_MAX)
                .await?;
            found.extend(stored.into_iter().map(|(seq, stored)| ((writer.clone(), seq), stored)));
        }
        Ok(found)
    }
}
