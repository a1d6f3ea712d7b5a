//! A store in memory: what the core's tests run on, and what other stores are compared with.
//!
//! Believe this: it keeps every promise of [`super`] but lasting. Its tables are plain maps; a transaction collects its rows beside
//! them and puts them in at its commit.

mod clients;
mod read;
mod rows;
mod snapshot;
mod transaction;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use self::clients::Clients;
use self::rows::Log;
use self::transaction::Open;
use super::{
    Error, LogRow, Missing, Page, Read, SessionFilter, SessionOrder, Shown, Snapshot, SnapshotLimits, Store,
    Transaction,
};
use crate::client::{ClientKey, Incarnation};
use crate::event::{Encode, Raw, Routing};
use crate::id::{SessionId, TenantId, WriterId};
use crate::interest::Interests;
use crate::lease::Sign;
use crate::link::{Link, LinkKey};
use crate::offset::{Epoch, LogKey, Offset, SessionNumber, Time};
use crate::resume_token::{KeyId, ResumeKey};
use crate::session::{Session, SessionKey};
use crate::verify::{Evidence, KeptEvents, KeptSession};

/// All logs of all tenants, gone when the last handle is dropped.
pub struct Memory {
    encode: Arc<dyn Encode>,
    state: Shared,
    reads: AtomicU64,
}

/// The tables, also in the hands of every open transaction.
///
/// Held for the length of one method, never over an await. Who waits for a log waits for [`Log::lock`] instead.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tenants: HashMap<TenantId, LogKey>,
    logs: BTreeMap<LogKey, Log>,
    clients: Clients,
    resume_keys: BTreeMap<KeyId, ResumeKey>,
    /// What befalls the next commits, one each. As long as a test made it.
    faults: VecDeque<Fault>,
}

/// What a test wants to go wrong at a commit.
enum Fault {
    Before(Error),
    After,
}

impl Memory {
    /// An empty store. `encode` puts the links behind the events that are read.
    #[must_use]
    pub fn new(encode: Arc<dyn Encode>) -> Arc<Memory> {
        Arc::new(Memory {
            encode,
            state: Shared::default(),
            reads: AtomicU64::new(0),
        })
    }

    /// For tests: the next commit does not happen and gives `error`. Called several times, it concerns as many commits, in order.
    pub fn fail_commit_before(&self, error: Error) {
        self.state.locked(|state| state.faults.push_back(Fault::Before(error)));
    }

    /// For tests: the next commit happens and gives [`Error::CommitUnknown`]. In one row with [`Memory::fail_commit_before`].
    pub fn fail_commit_after(&self) {
        self.state.locked(|state| state.faults.push_back(Fault::After));
    }

    /// For tests: how many times [`Store::read`] and [`Store::read_back`] were called.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn read_page(
        &self,
        read: &Read<'_>,
        page: fn(&Log, &dyn Encode, &Read<'_>) -> Result<Page, Error>,
    ) -> Result<Page, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.state.with_log(read.log.key, |log| page(log, &*self.encode, read))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state
            .locked(|state| write!(f, "Memory({} logs)", state.logs.len()))
    }
}

impl Shared {
    fn locked<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        // Every method checks before it changes anything, so the tables are whole even after a panic.
        body(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_log<T>(&self, key: LogKey, body: impl FnOnce(&Log) -> Result<T, Error>) -> Result<T, Error> {
        self.locked(|state| body(state.log(key)?))
    }
}

impl State {
    fn log(&self, key: LogKey) -> Result<&Log, Error> {
        self.logs.get(&key).ok_or_else(|| no_log(key))
    }

    fn open(&mut self, tenant: &TenantId) -> Result<LogRow, Error> {
        if let Some(key) = self.tenants.get(tenant) {
            return Ok(self.log(*key)?.row.clone());
        }
        let mut random = [0; 40];
        getrandom::fill(&mut random).map_err(|error| Error::Unavailable(error.to_string().into()))?;
        let (epoch, secret) = random.split_at(8);
        let mut link_key = [0; 32];
        link_key.copy_from_slice(secret);
        let link_key = LinkKey::new(&link_key);
        // Zero is what a field says that nobody filled in.
        let epoch = Epoch(crate::link::first_eight_bytes(epoch).max(1));
        let key = LogKey(self.logs.len() as u32 + 1);
        let row = LogRow {
            key,
            tenant: tenant.clone(),
            epoch,
            link: link_key.genesis(epoch),
            base: link_key.genesis(epoch),
            link_key,
            oldest: Offset::ZERO,
            tail: Offset::ZERO,
            recorded: Time::default(),
            fence: 0,
            sessions: 0,
            oldest_recorded: Time::default(),
            bytes: 0,
        };
        self.tenants.insert(tenant.clone(), key);
        self.logs.insert(key, Log::new(row.clone()));
        Ok(row)
    }
}

fn no_log(key: LogKey) -> Error {
    Error::Corrupt(format!("there is no log {}", key.0).into())
}

fn constraint(text: impl Into<Arc<str>>) -> Error {
    Error::Constraint(text.into())
}

#[async_trait]
impl Store for Memory {
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error> {
        self.state.locked(|state| state.open(tenant))
    }

    async fn log_rows(&self, logs: &[LogKey]) -> Result<Vec<LogRow>, Error> {
        self.state.locked(|state| {
            let rows = logs.iter().filter_map(|key| state.logs.get(key));
            Ok(rows.map(|log| log.row.clone()).collect())
        })
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        Ok(Box::new(Open::new(self.state.clone())))
    }

    async fn read(&self, read: Read<'_>) -> Result<Page, Error> {
        self.read_page(&read, read::forward)
    }

    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error> {
        self.read_page(&read, read::back)
    }

    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error> {
        self.state.locked(|state| {
            let log = state.logs.get_mut(&log).ok_or_else(|| no_log(log))?;
            (log.row.epoch, log.row.fence) = (epoch, fence);
            let writers = log.rows.writers.values_mut();
            writers.for_each(|writer| writer.presence.lost = None);
            Ok(())
        })
    }

    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error> {
        self.state.with_log(log.key, |log| log.link_before(offset))
    }

    async fn missing(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: usize,
    ) -> Result<Vec<Missing>, Error> {
        self.state
            .with_log(log.key, |log| read::missing(log, interests, from, until, most))
    }

    async fn count(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: u64,
    ) -> Result<u64, Error> {
        self.state
            .with_log(log.key, |log| read::count(log, interests, from, until, most))
    }

    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error> {
        self.state
            .with_log(log.key, |of| read::seek_back(of, interests, log.oldest, until, count))
    }

    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error> {
        self.state.with_log(log, |log| {
            let stood = log.rows.stood.values().flatten();
            let moved = stood.filter(|stood| stood.until == offset);
            Ok(moved.map(|stood| Arc::clone(&stood.routing)).collect())
        })
    }

    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error> {
        self.state.with_log(log, |log| {
            let raw = |offset: &Offset| Some((*offset, log.event(*offset)?.raw.clone()?));
            Ok(offsets.iter().filter_map(raw).collect())
        })
    }

    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error> {
        self.state.with_log(log, |log| Ok(log.rows.session_by_id(id).cloned()))
    }

    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.state
            .with_log(log, |log| Ok(log.rows.session_by_key(key).cloned()))
    }

    async fn list_sessions(
        &self,
        log: LogKey,
        filter: &SessionFilter,
        order: SessionOrder,
        below: Offset,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        self.state
            .with_log(log, |log| Ok(snapshot::list(log, filter, order, below, limit)))
    }

    async fn snapshot(&self, log: LogKey, shown: Shown<'_>, limits: SnapshotLimits) -> Result<Snapshot, Error> {
        self.state
            .with_log(log, |log| snapshot::take(log, &*self.encode, shown, limits))
    }

    async fn holders(&self, log: LogKey) -> Result<Vec<Sign>, Error> {
        self.state.with_log(log, |log| Ok(log.rows.holders()))
    }

    async fn beat(&self, log: LogKey, writers: &[(WriterId, u64)]) -> Result<(), Error> {
        self.state.locked(|state| {
            let rows = &mut state.logs.get_mut(&log).ok_or_else(|| no_log(log))?.rows;
            for (writer, fence) in writers {
                if rows.writers.get(writer).is_some_and(|row| row.fence == *fence) {
                    *rows.beats.entry(writer.clone()).or_default() += 1;
                }
            }
            Ok(())
        })
    }

    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
        self.state
            .locked(|state| Ok(clients.iter().map(|client| state.clients.take(client)).collect()))
    }

    async fn newest_incarnation(&self) -> Result<Incarnation, Error> {
        self.state.locked(|state| Ok(state.clients.newest))
    }

    async fn incarnations(&self, after: Incarnation, most: usize) -> Result<Vec<(ClientKey, Incarnation)>, Error> {
        self.state.locked(|state| Ok(state.clients.above(after, most)))
    }

    async fn resume_keys(&self) -> Result<Vec<ResumeKey>, Error> {
        self.state
            .locked(|state| Ok(state.resume_keys.values().cloned().collect()))
    }

    async fn add_resume_key(&self, key: &ResumeKey) -> Result<(), Error> {
        self.state.locked(|state| {
            if state.resume_keys.contains_key(&key.id) {
                return Err(constraint(format!("resume key {} is not new", key.id.0)));
            }
            state.resume_keys.insert(key.id, key.clone());
            Ok(())
        })
    }

    async fn remove_resume_key(&self, id: KeyId) -> Result<(), Error> {
        self.state.locked(|state| {
            if let Some(key) = state.resume_keys.get_mut(&id) {
                key.secret = None;
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Evidence for Memory {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        self.state
            .locked(|state| Ok(state.logs.values().map(|log| log.row.clone()).collect()))
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        self.state.with_log(log, |log| Ok(log.kept(from, most)))
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        self.state.with_log(log, |log| {
            let behind = |session: &&Session| after.is_none_or(|after| session.number > after);
            let mut found: Vec<&Session> = log.rows.sessions.values().filter(behind).collect();
            found.sort_unstable_by_key(|session| session.number);
            Ok(found.into_iter().take(most).map(kept_session).collect())
        })
    }
}

fn kept_session(session: &Session) -> KeptSession {
    KeptSession {
        number: session.number,
        id: session.id.clone(),
        next_index: session.next_index,
        last_offset: session.last_offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::store::suite::{Chain, PlainEncode, Subject};

    crate::store_suite!(async || {
        let memory = Memory::new(Arc::new(PlainEncode));
        let mut subject = Subject::new(memory.clone());
        // As long as a handle is left it remembers, which is what opening again means here.
        subject.reopen = Some(Box::new(move || {
            let memory: Arc<dyn Store> = memory.clone();
            Box::pin(async { memory })
        }));
        subject
    });

    #[tokio::test]
    async fn a_commit_fails_as_it_was_told_and_the_next_does_not() {
        let memory = Memory::new(Arc::new(PlainEncode));
        let store: Arc<dyn Store> = memory.clone();
        let mut chain = Chain::on(&store, "t").await;
        let tenant = chain.log.tenant.clone();
        let tail = async || store.open_log(&tenant).await.unwrap().tail;
        memory.fail_commit_before(Error::Full);
        memory.fail_commit_after();
        chain.event("a", Kind(20));
        assert_eq!(chain.try_commit().await, Err(Error::Full));
        assert_eq!(tail().await, Offset(0), "it did not happen");
        let again = chain.clone();
        assert_eq!(chain.try_commit().await, Err(Error::CommitUnknown));
        assert_eq!(tail().await, Offset(1), "it did happen");
        let mut next = Chain::continued(&store, again.log, again.sessions, again.history);
        next.event("a", Kind(70));
        assert_eq!(next.try_commit().await, Ok(()));
        assert_eq!(memory.reads(), 0);
    }
}
