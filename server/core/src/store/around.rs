//! A store with something around every call of it: a bound on its time, or the failures of a test.
//!
//! Believe this: it adds nothing of its own. Every call goes through to the store behind it, and this is the only place that names them
//! all for such a purpose.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::{ClientKey, Incarnation};
use crate::event::{DedupeKey, Raw, Routing};
use crate::id::{SessionId, TenantId, WriterId};
use crate::interest::Interests;
use crate::lease::Sign;
use crate::link::Link;
use crate::offset::{Epoch, LogKey, Offset, SessionNumber};
use crate::resume_token::{KeyId, ResumeKey};
use crate::session::{Session, SessionKey};
use crate::store::{
    Changes, Error, LogRow, Missing, Page, Read, SessionFilter, SessionOrder, Shown, Snapshot, SnapshotLimits, Store,
    Stored, StoredEvent, Transaction, Trim, WriterRow,
};
use crate::verify::{Evidence, KeptEvents, KeptSession};

/// What is about to be asked. Questions that no test lets fail have no name here.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// A log is opened, or its row compared.
    Open,
    /// A transaction begins.
    Begin,
    /// It takes a log's row.
    Lock,
    /// It reads what a batch names.
    Load,
    /// It writes these.
    Write(&'a Changes),
    /// It takes events away.
    Trim,
    /// It is committed: everything of it is written.
    Commit,
    /// A read outside of transactions.
    Read,
    /// A snapshot.
    Snapshot,
    /// Numbers of clients are taken.
    Take,
    /// The beats of writers are counted on.
    Beat,
}

/// What a call does, and so what it means when it is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It only reads.
    Read,
    /// It is a part of what is yet to be committed, or of what may be done twice.
    Write,
    /// It commits: without an answer nobody knows.
    Commit,
    /// It takes numbers for clients, which is committed with it.
    Take,
}

/// What is around every call.
pub trait Around: Debug + Send + Sync + 'static {
    /// Before it. Nothing goes on before this returns.
    ///
    /// # Errors
    /// What the caller is told instead.
    fn before(&self, call: Call<'_>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Does it. Dropped before it is done, a call may have happened.
    ///
    /// # Errors
    /// What the store said, or what is around it.
    fn during<T: Send>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send;
}

/// A store and what is around it.
#[derive(Debug)]
pub struct Surrounded<A> {
    inner: Arc<dyn Store>,
    /// Shared with all of its transactions.
    around: Arc<A>,
}

impl<A: Around> Surrounded<A> {
    /// This store with that around it.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, around: Arc<A>) -> Surrounded<A> {
        Surrounded { inner, around }
    }
}

struct Open<A> {
    inner: Box<dyn Transaction>,
    around: Arc<A>,
}

#[async_trait]
impl<A: Around> Transaction for Open<A> {
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error> {
        self.around.before(Call::Lock).await?;
        self.around.during(Step::Write, self.inner.lock(log)).await
    }

    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around.during(Step::Write, self.inner.sessions(log, ids)).await
    }

    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.sessions_by_key(log, keys))
            .await
    }

    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error> {
        self.around.before(Call::Load).await?;
        self.around.during(Step::Write, self.inner.writers(log, ids)).await
    }

    async fn signs(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<Sign>, Error> {
        self.around.before(Call::Load).await?;
        self.around.during(Step::Write, self.inner.signs(log, ids)).await
    }

    async fn held(&mut self, log: LogKey, writers: &[WriterId], most: usize) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.held(log, writers, most))
            .await
    }

    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
        self.around.before(Call::Load).await?;
        self.around.during(Step::Write, self.inner.deduplicated(keys)).await
    }

    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.find_seqs(session, writer, seqs, scan_max))
            .await
    }

    async fn held_routings(&mut self, log: LogKey, writer: &WriterId) -> Result<Vec<Routing>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.held_routings(log, writer))
            .await
    }

    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.descendants(log, ancestors, most))
            .await
    }

    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error> {
        self.around.before(Call::Write(&changes)).await?;
        self.around.during(Step::Write, self.inner.write(log, changes)).await
    }

    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.events(log, from, events_max, bytes_max))
            .await
    }

    async fn bases(&mut self, log: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around.during(Step::Write, self.inner.bases(log, sessions)).await
    }

    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Load).await?;
        self.around
            .during(Step::Write, self.inner.bases_below(log, ancestors, most))
            .await
    }

    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error> {
        self.around.before(Call::Trim).await?;
        self.around.during(Step::Write, self.inner.trim(trim, links_max)).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.around.before(Call::Commit).await?;
        let Open { inner, around } = *self;
        around.during(Step::Commit, inner.commit()).await
    }
}

#[async_trait]
impl<A: Around> Store for Surrounded<A> {
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error> {
        self.around.before(Call::Open).await?;
        self.around.during(Step::Write, self.inner.open_log(tenant)).await
    }

    async fn log_rows(&self, logs: &[LogKey]) -> Result<Vec<LogRow>, Error> {
        self.around.before(Call::Open).await?;
        self.around.during(Step::Read, self.inner.log_rows(logs)).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        self.around.before(Call::Begin).await?;
        Ok(Box::new(Open {
            inner: self.around.during(Step::Write, self.inner.begin()).await?,
            around: self.around.clone(),
        }))
    }

    async fn holders(&self, log: LogKey) -> Result<Vec<Sign>, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.holders(log)).await
    }

    async fn beat(&self, log: LogKey, writers: &[(WriterId, u64)]) -> Result<(), Error> {
        self.around.before(Call::Beat).await?;
        self.around.during(Step::Write, self.inner.beat(log, writers)).await
    }

    async fn read(&self, read: Read<'_>) -> Result<Page, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.read(read)).await
    }

    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.read_back(read)).await
    }

    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error> {
        self.around
            .during(Step::Write, self.inner.renew_epoch(log, epoch, fence))
            .await
    }

    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.link_before(log, offset))
            .await
    }

    async fn missing(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: usize,
    ) -> Result<Vec<Missing>, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.missing(log, interests, from, until, most))
            .await
    }

    async fn count(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: u64,
    ) -> Result<u64, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.count(log, interests, from, until, most))
            .await
    }

    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.seek_back(log, interests, until, count))
            .await
    }

    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.moved_at(log, offset)).await
    }

    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.raws(log, offsets)).await
    }

    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error> {
        self.around.before(Call::Read).await?;
        self.around.during(Step::Read, self.inner.session(log, id)).await
    }

    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.session_by_key(log, key))
            .await
    }

    async fn list_sessions(
        &self,
        log: LogKey,
        filter: &SessionFilter,
        order: SessionOrder,
        below: Offset,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        self.around.before(Call::Read).await?;
        self.around
            .during(Step::Read, self.inner.list_sessions(log, filter, order, below, limit))
            .await
    }

    async fn snapshot(&self, log: LogKey, shown: Shown<'_>, limits: SnapshotLimits) -> Result<Snapshot, Error> {
        self.around.before(Call::Snapshot).await?;
        self.around
            .during(Step::Read, self.inner.snapshot(log, shown, limits))
            .await
    }

    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
        self.around.before(Call::Take).await?;
        self.around
            .during(Step::Take, self.inner.take_incarnations(clients))
            .await
    }

    async fn newest_incarnation(&self) -> Result<Incarnation, Error> {
        self.around.during(Step::Read, self.inner.newest_incarnation()).await
    }

    async fn incarnations(&self, after: Incarnation, most: usize) -> Result<Vec<(ClientKey, Incarnation)>, Error> {
        self.around
            .during(Step::Read, self.inner.incarnations(after, most))
            .await
    }

    async fn resume_keys(&self) -> Result<Vec<ResumeKey>, Error> {
        self.around.during(Step::Read, self.inner.resume_keys()).await
    }

    async fn add_resume_key(&self, key: &ResumeKey) -> Result<(), Error> {
        self.around.during(Step::Write, self.inner.add_resume_key(key)).await
    }

    async fn remove_resume_key(&self, id: KeyId) -> Result<(), Error> {
        self.around.during(Step::Write, self.inner.remove_resume_key(id)).await
    }
}

#[async_trait]
impl<A: Around> Evidence for Surrounded<A> {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        self.around.during(Step::Read, self.inner.logs()).await
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        self.around
            .during(Step::Read, self.inner.kept_events(log, from, most))
            .await
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        self.around
            .during(Step::Read, self.inner.kept_sessions(log, after, most))
            .await
    }
}
