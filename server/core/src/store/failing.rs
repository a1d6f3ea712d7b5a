//! A store that fails, waits or is counted wherever a test says so.
//!
//! Believe this: it adds nothing of its own. Every call goes through to the store behind it, unless [`Points`] say that it fails.

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
    Changes, Error, LogRow, Missing, Page, Read, SessionFilter, SessionOrder, Snapshot, SnapshotLimits, Store, Stored,
    StoredEvent, Transaction, Trim, WriterRow,
};
use crate::verify::{Evidence, KeptEvents, KeptSession};

/// Where a call is. What fails at a point has not happened, but at [`Point::Committed`] and [`Point::Taken`], where it has.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    /// Before a log is opened, or its row compared.
    Open,
    /// Before a transaction begins.
    Begin,
    /// Before it takes a log's row.
    Lock,
    /// Before it reads what a batch names.
    Load,
    /// Before it writes these.
    Write(&'a Changes),
    /// Before it takes events away.
    Trim,
    /// Before it is committed: everything of it is written.
    Commit,
    /// After it was committed, before anybody is told.
    Committed,
    /// Before a read outside of transactions.
    Read,
    /// Before a snapshot.
    Snapshot,
    /// Before the beats of writers are counted on.
    Beat,
    /// Before numbers of clients are taken.
    Take,
    /// After they were, before they are told.
    Taken,
}

/// What happens where. Shared by a store and all of its transactions.
#[async_trait]
pub trait Points: Debug + Send + Sync + 'static {
    /// Called at every point. Nothing goes on before it returns.
    ///
    /// # Errors
    /// What the caller of the store is told.
    async fn at(&self, point: Point<'_>) -> Result<(), Error>;
}

/// A store behind points.
#[derive(Debug)]
pub struct Failing {
    /// The store that does it.
    pub inner: Arc<dyn Store>,
    /// What happens before it does.
    pub points: Arc<dyn Points>,
}

struct Open {
    inner: Box<dyn Transaction>,
    points: Arc<dyn Points>,
}

#[async_trait]
impl Transaction for Open {
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error> {
        self.points.at(Point::Lock).await?;
        self.inner.lock(log).await
    }

    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.sessions(log, ids).await
    }

    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.sessions_by_key(log, keys).await
    }

    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.writers(log, ids).await
    }

    async fn signs(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<Sign>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.signs(log, ids).await
    }

    async fn held(&mut self, log: LogKey, writers: &[WriterId], most: usize) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.held(log, writers, most).await
    }

    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.deduplicated(keys).await
    }

    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.find_seqs(session, writer, seqs, scan_max).await
    }

    async fn held_routings(&mut self, log: LogKey, writer: &WriterId) -> Result<Vec<Routing>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.held_routings(log, writer).await
    }

    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.descendants(log, ancestors, most).await
    }

    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error> {
        self.points.at(Point::Write(&changes)).await?;
        self.inner.write(log, changes).await
    }

    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.events(log, from, events_max, bytes_max).await
    }

    async fn bases(&mut self, log: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.bases(log, sessions).await
    }

    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        self.points.at(Point::Load).await?;
        self.inner.bases_below(log, ancestors, most).await
    }

    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error> {
        self.points.at(Point::Trim).await?;
        self.inner.trim(trim, links_max).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.points.at(Point::Commit).await?;
        self.inner.commit().await?;
        self.points.at(Point::Committed).await
    }
}

#[async_trait]
impl Store for Failing {
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error> {
        self.points.at(Point::Open).await?;
        self.inner.open_log(tenant).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        self.points.at(Point::Begin).await?;
        Ok(Box::new(Open {
            inner: self.inner.begin().await?,
            points: self.points.clone(),
        }))
    }

    async fn read(&self, read: Read<'_>) -> Result<Page, Error> {
        self.points.at(Point::Read).await?;
        self.inner.read(read).await
    }

    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error> {
        self.points.at(Point::Read).await?;
        self.inner.read_back(read).await
    }

    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error> {
        self.inner.renew_epoch(log, epoch, fence).await
    }

    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error> {
        self.points.at(Point::Read).await?;
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
        self.points.at(Point::Read).await?;
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
        self.points.at(Point::Read).await?;
        self.inner.count(log, interests, from, until, most).await
    }

    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error> {
        self.points.at(Point::Read).await?;
        self.inner.seek_back(log, interests, until, count).await
    }

    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error> {
        self.points.at(Point::Read).await?;
        self.inner.moved_at(log, offset).await
    }

    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error> {
        self.points.at(Point::Read).await?;
        self.inner.raws(log, offsets).await
    }

    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error> {
        self.points.at(Point::Read).await?;
        self.inner.session(log, id).await
    }

    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error> {
        self.points.at(Point::Read).await?;
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
        self.points.at(Point::Read).await?;
        self.inner.list_sessions(log, filter, order, below, limit).await
    }

    async fn snapshot(&self, log: LogKey, interests: &Interests, limits: SnapshotLimits) -> Result<Snapshot, Error> {
        self.points.at(Point::Snapshot).await?;
        self.inner.snapshot(log, interests, limits).await
    }

    async fn holders(&self, log: LogKey) -> Result<Vec<Sign>, Error> {
        self.points.at(Point::Read).await?;
        self.inner.holders(log).await
    }

    async fn beat(&self, log: LogKey, writers: &[(WriterId, u64)]) -> Result<(), Error> {
        self.points.at(Point::Beat).await?;
        self.inner.beat(log, writers).await
    }

    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
        self.points.at(Point::Take).await?;
        let taken = self.inner.take_incarnations(clients).await?;
        self.points.at(Point::Taken).await?;
        Ok(taken)
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
impl Evidence for Failing {
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
