//! A store that is watched, and made to fail where a test wants it.
//!
//! Believe this: it adds nothing of its own. Every call goes through to the store behind it, is counted, or fails as it was told.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::client::{ClientKey, Incarnation};
use crate::event::{DedupeKey, Raw, Routing};
use crate::id::{SessionId, TenantId, WriterId};
use crate::interest::Interests;
use crate::link::Link;
use crate::offset::{Epoch, LogKey, Offset, SessionNumber};
use crate::resume_token::{KeyId, ResumeKey};
use crate::session::{Session, SessionKey};
use crate::store::{
    Changes, Error, LogRow, Missing, Page, Read, SessionFilter, SessionOrder, Snapshot, SnapshotLimits, Store, Stored,
    StoredEvent, Transaction, Trim, WriterRow,
};
use crate::verify::{Evidence, KeptEvents, KeptSession};

/// What is seen and told, shared with its transactions.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Commits that were tried.
    pub(crate) commits: AtomicU64,
    /// Snapshots that were taken.
    pub(crate) snapshots: AtomicU64,
    /// So many of the next snapshots fail.
    failing_snapshots: AtomicU32,
    /// Times that numbers of clients were taken.
    pub(crate) takes: AtomicU64,
    /// Held while taken numbers are kept from who asked for them.
    takes_held: Arc<tokio::sync::Mutex<()>>,
    /// So many of the next looks at a log (begin, open) fail.
    blind: AtomicU32,
    /// What `blind` becomes at the next commit.
    blind_after: AtomicU32,
    /// Events with this in their bytes break a constraint.
    pub(crate) poison: Mutex<Option<&'static [u8]>>,
}

impl Watch {
    /// The next commit goes through, and so many looks at a log after it fail.
    pub(crate) fn go_blind_after_commit(&self, looks: u32) {
        self.blind_after.store(looks, Ordering::Relaxed);
    }

    /// So many of the next snapshots fail.
    pub(crate) fn fail_snapshots(&self, count: u32) {
        self.failing_snapshots.store(count, Ordering::Relaxed);
    }

    /// So many of the next looks at a log fail.
    pub(crate) fn go_blind(&self, looks: u32) {
        self.blind.store(looks, Ordering::Relaxed);
    }

    /// Numbers of clients are taken and not told until what is returned is dropped.
    pub(crate) fn hold_takes(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.takes_held.clone().try_lock_owned().expect("nobody holds them")
    }

    fn look(&self) -> Result<(), Error> {
        fail_one(&self.blind)
    }

    fn check(&self, changes: &Changes) -> Result<(), Error> {
        let poison = *self.poison.lock().unwrap();
        let poisoned = |poison: &[u8]| {
            let mut rows = changes.events.iter();
            rows.any(|row| row.stored.windows(poison.len()).any(|bytes| bytes == poison))
        };
        match poison {
            Some(poison) if poisoned(poison) => Err(Error::Constraint("poison".into())),
            _ => Ok(()),
        }
    }
}

fn fail_one(left: &AtomicU32) -> Result<(), Error> {
    let less = |left: u32| left.checked_sub(1);
    match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
        Ok(_) => Err(Error::Unavailable("blind".into())),
        Err(_) => Ok(()),
    }
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) watch: Arc<Watch>,
}

struct Open {
    inner: Box<dyn Transaction>,
    watch: Arc<Watch>,
}

#[async_trait]
impl Transaction for Open {
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error> {
        self.inner.lock(log).await
    }

    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error> {
        self.inner.sessions(log, ids).await
    }

    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        self.inner.sessions_by_key(log, keys).await
    }

    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error> {
        self.inner.writers(log, ids).await
    }

    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
        self.inner.deduplicated(keys).await
    }

    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error> {
        self.inner.find_seqs(session, writer, seqs, scan_max).await
    }

    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.inner.descendants(log, ancestors, most).await
    }

    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error> {
        self.watch.check(&changes)?;
        self.inner.write(log, changes).await
    }

    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.inner.events(log, from, events_max, bytes_max).await
    }

    async fn bases(&mut self, log: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error> {
        self.inner.bases(log, sessions).await
    }

    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.inner.bases_below(log, ancestors, most).await
    }

    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error> {
        self.inner.trim(trim, links_max).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.watch.commits.fetch_add(1, Ordering::Relaxed);
        let blind = self.watch.blind_after.swap(0, Ordering::Relaxed);
        self.watch.blind.fetch_add(blind, Ordering::Relaxed);
        self.inner.commit().await
    }
}

#[async_trait]
impl Store for Watched {
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error> {
        self.watch.look()?;
        self.inner.open_log(tenant).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        self.watch.look()?;
        Ok(Box::new(Open {
            inner: self.inner.begin().await?,
            watch: self.watch.clone(),
        }))
    }

    async fn read(&self, read: Read<'_>) -> Result<Page, Error> {
        self.inner.read(read).await
    }

    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error> {
        self.inner.read_back(read).await
    }

    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error> {
        self.inner.renew_epoch(log, epoch, fence).await
    }

    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error> {
        self.inner.link_before(log, offset).await
    }

    async fn missing(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: usize,
    ) -> Result<Vec<Missing>, Error> {
        self.inner.missing(log, interests, from, until, most).await
    }

    async fn count(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: u64,
    ) -> Result<u64, Error> {
        self.inner.count(log, interests, from, until, most).await
    }

    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error> {
        self.inner.seek_back(log, interests, until, count).await
    }

    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error> {
        self.inner.moved_at(log, offset).await
    }

    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error> {
        self.inner.raws(log, offsets).await
    }

    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error> {
        self.inner.session(log, id).await
    }

    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.inner.session_by_key(log, key).await
    }

    async fn list_sessions(
        &self,
        log: LogKey,
        filter: &SessionFilter,
        order: SessionOrder,
        below: Offset,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        self.inner.list_sessions(log, filter, order, below, limit).await
    }

    async fn snapshot(&self, log: LogKey, interests: &Interests, limits: SnapshotLimits) -> Result<Snapshot, Error> {
        self.watch.snapshots.fetch_add(1, Ordering::Relaxed);
        // As with a database, others have their turn meanwhile.
        tokio::task::yield_now().await;
        fail_one(&self.watch.failing_snapshots)?;
        self.inner.snapshot(log, interests, limits).await
    }

    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
        self.watch.look()?;
        self.watch.takes.fetch_add(1, Ordering::Relaxed);
        let taken = self.inner.take_incarnations(clients).await;
        drop(self.watch.takes_held.lock().await);
        taken
    }

    async fn newest_incarnation(&self) -> Result<Incarnation, Error> {
        self.inner.newest_incarnation().await
    }

    async fn incarnations(&self, after: Incarnation, most: usize) -> Result<Vec<(ClientKey, Incarnation)>, Error> {
        self.inner.incarnations(after, most).await
    }

    async fn resume_keys(&self) -> Result<Vec<ResumeKey>, Error> {
        self.inner.resume_keys().await
    }

    async fn add_resume_key(&self, key: &ResumeKey) -> Result<(), Error> {
        self.inner.add_resume_key(key).await
    }

    async fn remove_resume_key(&self, id: KeyId) -> Result<(), Error> {
        self.inner.remove_resume_key(id).await
    }
}

#[async_trait]
impl Evidence for Watched {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        self.inner.logs().await
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        self.inner.kept_events(log, from, most).await
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        self.inner.kept_sessions(log, after, most).await
    }
}
