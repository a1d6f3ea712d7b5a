//! A transaction: rows beside the tables until they are committed.
//!
//! Believe this: it holds the lock of each log that it took until it is dropped, so nothing that it looked up can change under it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;

use super::rows::{Log, Rows};
use super::{Fault, Shared, constraint, no_log};
use crate::event::{DedupeKey, Routing};
use crate::id::{SessionId, WriterId};
use crate::lease::Sign;
use crate::offset::{LogKey, Offset, SessionNumber, Spot};
use crate::session::{Session, SessionKey};
use crate::store::{Changes, Error, EventRow, LogRow, RowOf, Stored, StoredEvent, Transaction, Trim, WriterRow};

/// One open transaction.
pub(super) struct Open {
    state: Shared,
    logs: BTreeMap<LogKey, Pending>,
}

/// What a transaction adds to one log.
struct Pending {
    row: LogRow,
    rows: Rows,
    trims: Vec<Trim>,
    links_max: usize,
    /// Lets the next transaction in when it is dropped.
    _lock: OwnedMutexGuard<()>,
}

impl Open {
    pub(super) fn new(state: Shared) -> Open {
        Open {
            state,
            logs: BTreeMap::new(),
        }
    }

    /// Looks things up in this transaction first, then in what is committed.
    fn find<K, T>(&self, log: LogKey, keys: &[K], one: impl Fn(&Rows, &K) -> Option<T>) -> Result<Vec<T>, Error> {
        let pending = self.logs.get(&log).map(|pending| &pending.rows);
        self.state.with_log(log, |committed| {
            let find = |key| {
                pending
                    .and_then(|rows| one(rows, key))
                    .or_else(|| one(&committed.rows, key))
            };
            Ok(keys.iter().filter_map(find).collect())
        })
    }
}

#[async_trait]
impl Transaction for Open {
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error> {
        if let Some(pending) = self.logs.get(&log) {
            return Ok(pending.row.clone());
        }
        let lock = self.state.with_log(log, |log| Ok(Arc::clone(&log.lock)))?;
        let lock = lock.lock_owned().await;
        let row = self.state.with_log(log, |log| Ok(log.row.clone()))?;
        self.logs.insert(
            log,
            Pending {
                row: row.clone(),
                rows: Rows::default(),
                trims: Vec::new(),
                links_max: 0,
                _lock: lock,
            },
        );
        Ok(row)
    }

    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error> {
        self.find(log, ids, |rows, id| rows.session_by_id(id).cloned())
    }

    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        self.find(log, keys, |rows, key| rows.session_by_key(key).cloned())
    }

    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error> {
        self.find(log, ids, |rows, id| rows.writers.get(id).cloned())
    }

    async fn signs(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<Sign>, Error> {
        let rows = self.writers(log, ids).await?;
        let sign = |committed: &Log| rows.iter().map(|row| committed.rows.sign(row)).collect();
        self.state.with_log(log, |committed| Ok(sign(committed)))
    }

    async fn held(&mut self, log: LogKey, writers: &[WriterId], most: usize) -> Result<Vec<Session>, Error> {
        let held = |session: &&Session| session.hold.owner.as_ref().is_some_and(|owner| writers.contains(owner));
        self.state.with_log(log, |committed| {
            let sessions = committed.rows.sessions.values();
            Ok(sessions.filter(held).take(most).cloned().collect())
        })
    }

    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
        let mut found = Vec::new();
        for key in keys {
            let one = |rows: &Rows, key: &(SessionNumber, DedupeKey)| rows.dedupe.get(key).copied();
            let stored = self.find(key.0.log(), &[*key], one)?;
            found.extend(stored.into_iter().map(|stored| (key.0, key.1, stored)));
        }
        Ok(found)
    }

    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error> {
        let log = session.log();
        let pending = self.logs.get(&log).map(|pending| &pending.rows);
        self.state.with_log(log, |committed| {
            let own = pending.into_iter().flat_map(|rows| rows.events.iter().rev());
            let older = committed.rows.offsets(session).rev();
            let found = own
                .filter(|row| row.session_or_tenant(log) == session)
                .chain(older.filter_map(|offset| committed.event(offset)))
                .take(scan_max)
                .filter_map(|row| {
                    let (id, seq) = row.writer.as_ref()?;
                    (id == writer && seqs.contains(seq)).then(|| (*seq, row.stored()))
                });
            Ok(found.collect())
        })
    }

    async fn held_routings(&mut self, log: LogKey, writer: &WriterId) -> Result<Vec<Routing>, Error> {
        self.state.with_log(log, |committed| {
            let sessions = committed.rows.sessions.values();
            Ok(sessions
                .filter(|session| session.hold.is_of(writer))
                .map(Session::routing)
                .collect())
        })
    }

    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        let below = |session: &&Session| session.ancestors.iter().any(|id| ancestors.contains(id));
        self.state.with_log(log, |committed| {
            let sessions = committed.rows.sessions.values();
            Ok(sessions.filter(below).take(most).cloned().collect())
        })
    }

    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error> {
        let pending = self
            .logs
            .get_mut(&log.key)
            .ok_or_else(|| constraint("the log was not locked before it was written"))?;
        self.state
            .with_log(log.key, |committed| pending.write(committed, log, changes))
    }

    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.state.with_log(log.key, |committed| {
            committed.check_kept(from)?;
            let mut bytes = 0;
            let rows = (from.0..committed.row.tail.0).filter_map(|offset| committed.event(Offset(offset)));
            let fit = rows.take(events_max).take_while(|row| {
                bytes += row.stored.len();
                bytes <= bytes_max || row.offset == from
            });
            Ok(fit.map(kept).collect())
        })
    }

    async fn bases(&mut self, log: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error> {
        self.state.with_log(log, |committed| {
            let base = |session| committed.trimmed.bases.get(session).cloned();
            Ok(sessions.iter().filter_map(base).collect())
        })
    }

    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        let below = |base: &&Session| base.ancestors.iter().any(|id| ancestors.contains(id));
        self.state.with_log(log, |committed| {
            let bases = committed.trimmed.bases.values();
            Ok(bases.filter(below).take(most).cloned().collect())
        })
    }

    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error> {
        let pending = self
            .logs
            .get_mut(&trim.log.key)
            .ok_or_else(|| constraint("the log was not locked before it was trimmed"))?;
        let trimmed = pending.row.oldest.distance(trim.log.oldest);
        if trim.log.oldest > pending.row.tail || trimmed != trim.links.len() as u64 {
            return Err(constraint("a trim does not begin at the oldest event"));
        }
        let LogRow {
            oldest,
            base,
            oldest_recorded,
            bytes,
            ..
        } = trim.log;
        (pending.row.oldest, pending.row.base) = (oldest, base);
        (pending.row.oldest_recorded, pending.row.bytes) = (oldest_recorded, bytes);
        pending.links_max = usize::try_from(links_max).unwrap_or(usize::MAX);
        pending.trims.push(trim);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        let Open { state, logs } = *self;
        // The locks are let go only after the rows are in, so whoever waited sees them.
        state.locked(|state| {
            let fault = state.faults.pop_front();
            if let Some(Fault::Before(error)) = fault {
                return Err(error);
            }
            for (key, pending) in logs {
                let log = state.logs.get_mut(&key).ok_or_else(|| no_log(key))?;
                pending.apply(log);
            }
            match fault {
                Some(Fault::After) => Err(Error::CommitUnknown),
                Some(Fault::Before(_)) | None => Ok(()),
            }
        })
    }
}

/// The row as a trim and a rebuild take it.
fn kept(row: &EventRow) -> StoredEvent {
    StoredEvent {
        offset: row.offset,
        spot: row.spot(),
        kind: row.kind,
        writer: row.writer.clone(),
        link: row.link,
        stored: row.stored.clone(),
        bytes: row.bytes(),
    }
}

impl Pending {
    /// Puts everything into the tables.
    fn apply(self, log: &mut Log) {
        log.row = self.row;
        let key = log.row.key;
        log.rows.absorb(key, self.rows);
        for Trim { log: _, links, bases } in self.trims {
            let gone = log.rows.trim(key, links.len(), &bases);
            let of_tenant = gone.into_iter().filter_map(|row| match row.of {
                RowOf::Session(_) => None,
                RowOf::Tenant(audience) => Some((row.offset, row.kind.family()?, audience)),
            });
            log.trimmed.of_tenant.extend(of_tenant);
            log.trimmed.links.extend(links);
            let excess = log.trimmed.links.len().saturating_sub(self.links_max);
            log.trimmed.links.drain(..excess);
            let first = Offset(log.row.oldest.0.saturating_sub(log.trimmed.links.len() as u64));
            log.rows.forget_stood(first);
            log.trimmed.of_tenant.retain(|(offset, ..)| *offset >= first);
            log.trimmed
                .bases
                .extend(bases.into_iter().map(|base| (base.number, base)));
        }
    }

    fn write(&mut self, committed: &Log, log: &LogRow, changes: Changes) -> Result<(), Error> {
        let Changes {
            events,
            sessions,
            progress,
            holds,
            writers,
            stood,
        } = changes;
        let tail = self.row.tail.0 + events.len() as u64;
        if log.tail.0 != tail {
            return Err(constraint(format!("tail is {}, not {tail}", log.tail)));
        }
        let last_link = events.last().map_or(self.row.link, |event| event.link);
        if log.link != last_link {
            return Err(constraint("the log's link is not its newest event's"));
        }
        for session in sessions {
            self.check_session(committed, &session)?;
            self.rows.put_session(session);
        }
        for progress in progress {
            let known = self.rows.sessions.get(&progress.session);
            let known = known.or_else(|| committed.rows.sessions.get(&progress.session));
            let known = known.ok_or_else(|| constraint("a session that got further has no row"))?;
            let session = Session {
                next_index: progress.next_index,
                last_offset: progress.last_offset,
                updated: progress.updated,
                ..known.clone()
            };
            self.rows.put_session(session);
        }
        for event in events {
            self.check_event(committed, &event)?;
            self.row.tail = event.offset.next();
            self.rows.put_event(self.row.key, event);
        }
        for writer in writers {
            self.rows.writers.insert(writer.id.clone(), writer);
        }
        for stood in stood {
            self.rows.put_stood(stood);
        }
        self.rows.holds.extend(holds);
        // Every field is named: a new one must be decided on here.
        let LogRow {
            key: _,
            tenant: _,
            epoch: _,
            link_key: _,
            oldest: _,
            base: _,
            tail,
            link,
            recorded,
            fence,
            sessions,
            oldest_recorded,
            bytes,
        } = *log;
        (self.row.tail, self.row.link, self.row.recorded) = (tail, link, recorded);
        (self.row.fence, self.row.sessions) = (fence, sessions);
        (self.row.oldest_recorded, self.row.bytes) = (oldest_recorded, bytes);
        Ok(())
    }

    fn check_session(&self, committed: &Log, session: &Session) -> Result<(), Error> {
        let number = session.number;
        if number.log() != self.row.key {
            return Err(constraint(format!("session {} is of another log", number.0)));
        }
        let both = [&self.rows, &committed.rows];
        let mut same_id = both.iter().filter_map(|rows| rows.session_by_id(&session.id));
        if same_id.any(|other| other.number != number) {
            return Err(constraint(format!("session id {} is taken", session.id)));
        }
        let key = session.key.as_ref();
        let mut same_key = key
            .into_iter()
            .flat_map(|key| both.iter().filter_map(|rows| rows.session_by_key(key)));
        if same_key.any(|other| other.number != number) {
            return Err(constraint(format!("the key of {} is taken", session.id)));
        }
        Ok(())
    }

    fn check_event(&self, committed: &Log, event: &EventRow) -> Result<(), Error> {
        let offset = event.offset;
        if offset != self.row.tail {
            return Err(constraint(format!("offset {offset} is not the tail")));
        }
        let both = [&self.rows, &committed.rows];
        if let Some(spot) = event.spot() {
            self.check_spot(committed, offset, spot)?;
        }
        let session = event.session_or_tenant(self.row.key);
        let key = event.dedupe.map(|key| (session, key));
        if key.is_some_and(|key| both.iter().any(|rows| rows.dedupe.contains_key(&key))) {
            return Err(constraint(format!("event {offset} was stored before")));
        }
        Ok(())
    }

    fn check_spot(&self, committed: &Log, offset: Offset, Spot { session, index }: Spot) -> Result<(), Error> {
        let both = [&self.rows, &committed.rows];
        if !both.iter().any(|rows| rows.sessions.contains_key(&session)) {
            return Err(constraint(format!("event {offset} has no session")));
        }
        let kept: usize = both.iter().map(|rows| rows.offsets(session).count()).sum();
        let trimmed = committed
            .rows
            .sessions
            .get(&session)
            .map_or(0, |row| row.trimmed.until.0);
        let next = trimmed + kept as u64;
        if index.0 != next {
            return Err(constraint(format!("event {offset} has not index {next}")));
        }
        Ok(())
    }
}
