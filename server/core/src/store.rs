//! Where logs last: the one seam between the hub and a database.
//!
//! Believe this: a store decides nothing. It takes rows in one transaction and gives rows back; what may be written is decided by
//! `appender`, what is read is decided by `handoff`.
//!
//! ```text
//!        oldest            from        until           tail
//!          |                 |           |               |
//!   trimmed| e e e e e e e e |e e e e e e| e e e e e e e | not yet written
//! ```
//!
//! Rules that every store keeps, and [`suite`] checks:
//! - [`Transaction::lock`] takes the log's row, and holds it until the transaction ends: two transactions on one log come one after
//!   the other, and the second sees what the first wrote.
//! - A transaction that was not committed leaves nothing. After [`Transaction::commit`] returned, nothing can take it back.
//! - A read sees whole transactions only.
//! - A read selects an event by where its session stood when it was stored: the [`Stood`]s of its session, or its row for what came
//!   after them all. So history is selected as it was while it was new. One without a session is selected by its [`Audience`], which was
//!   stored with it.

#[cfg(any(test, feature = "suite"))]
pub mod suite;
#[cfg(any(test, feature = "suite"))]
pub mod failing;

pub mod around;
pub mod memory;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::audience::Audience;
use crate::client::{ClientKey, Incarnation};
use crate::event::{DedupeKey, Event, Family, ItemKey, ItemStep, Kind, Raw, Routing};
use crate::hold::Hold;
use crate::id::{SessionId, TenantId, WriterId};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::lease::Sign;
use crate::link::{Link, LinkKey};
use crate::offset::{Epoch, Index, LogKey, Offset, SessionNumber, Spot, Time};
use crate::resume_token::ResumeKey;
use crate::session::{Session, SessionKey, Stood};
use crate::verify::Evidence;

/// Why a store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The disk is full. Reads go on; writes succeed again when there is room.
    #[error("the disk is full")]
    Full,
    /// What was to be written breaks a rule of the database. Nothing was written.
    #[error("a row breaks a constraint: {0}")]
    Constraint(Arc<str>),
    /// It is not known whether a commit happened. Reading the log's row tells.
    #[error("it is not known whether the commit happened")]
    CommitUnknown,
    /// The database cannot be used right now.
    #[error("the database is not available: {0}")]
    Unavailable(Arc<str>),
    /// What is stored cannot be understood: the log is damaged, or was written by a newer version.
    #[error("what is stored cannot be read: {0}")]
    Corrupt(Arc<str>),
    /// What was asked for was trimmed. The log begins at this offset now.
    #[error("what was asked for is no longer kept; the log begins at {0}")]
    Trimmed(Offset),
}

/// A log's row.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// The store's number of it.
    pub key: LogKey,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its identity.
    pub epoch: Epoch,
    /// The secret of its links.
    pub link_key: LinkKey,
    /// Smallest offset still kept.
    pub oldest: Offset,
    /// The link before `oldest`: where the chain that is kept begins. That of a log that was made with this epoch and never trimmed is
    /// its genesis; a log that was given another epoch keeps the one it had.
    pub base: Link,
    /// First unwritten offset.
    pub tail: Offset,
    /// The link before the tail.
    pub link: Link,
    /// The newest event's time; the next one is not earlier.
    pub recorded: Time,
    /// The newest fence that was given out.
    pub fence: u64,
    /// How many sessions were ever opened.
    pub sessions: u32,
    /// The time of the event at `oldest`, or an earlier one where that is not known. Not used while nothing is kept.
    pub oldest_recorded: Time,
    /// Bytes of all events that are kept, as [`EventRow::bytes`] counts them.
    pub bytes: u64,
}

impl LogRow {
    /// Counts an event that is kept from now on, stored at this time. To be called before `oldest` could pass it.
    pub fn keep(&mut self, event: &EventRow, recorded: Time) {
        self.bytes += event.bytes();
        if event.offset == self.oldest {
            self.oldest_recorded = recorded;
        }
    }
}

/// A writer's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterRow {
    /// Its name.
    pub id: WriterId,
    /// The fence that it holds. An older one is refused.
    pub fence: u64,
    /// The last `seq` that was stored or rejected.
    pub last_seq: u64,
    /// What was told of its connector.
    pub presence: Presence,
}

/// What was told of a writer's connector, by itself or by the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Its id; none while it never said that it is there.
    pub connector: Option<Arc<str>>,
    /// Whether it is there: it came, and neither left nor was lost since.
    pub online: bool,
    /// What it was last told to have lost: the last seq that the hub had, and the last that the writer knew as acknowledged.
    pub lost: Option<(u64, u64)>,
}

/// What an event's row is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOf {
    /// A session.
    Session(Spot),
    /// The tenant as a whole, for these. Who they were outlives the event as long as its link does.
    Tenant(Arc<Audience>),
}

/// An event's row.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// Its place in the log.
    pub offset: Offset,
    /// What it is of.
    pub of: RowOf,
    /// The payload's kind, which also tells its family.
    pub kind: Kind,
    /// The item it names.
    pub item: Option<ItemKey>,
    /// What it does to that item.
    pub item_step: Option<ItemStep>,
    /// Who appended it, and as which of its appends.
    pub writer: Option<(WriterId, u64)>,
    /// What makes it recognisable when sent again.
    pub dedupe: Option<DedupeKey>,
    /// The chain after it.
    pub link: Link,
    /// The stored bytes: all but the link.
    pub stored: Bytes,
    /// The vendor's bytes beside it.
    pub raw: Option<Raw>,
}

impl EventRow {
    /// Its place in a session; none where it is of the tenant as a whole.
    #[must_use]
    pub const fn spot(&self) -> Option<Spot> {
        match self.of {
            RowOf::Session(spot) => Some(spot),
            RowOf::Tenant(_) => None,
        }
    }

    /// The session within which its dedupe key is unique, or what stands for the tenant of this log.
    #[must_use]
    pub fn session_or_tenant(&self, log: LogKey) -> SessionNumber {
        self.spot()
            .map_or_else(|| SessionNumber::of_tenant(log), |spot| spot.session)
    }

    /// Where it lies.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            offset: self.offset,
            index: self.spot().map(|spot| spot.index),
        }
    }

    /// What it counts against `Retention::bytes`: its stored bytes and the vendor's beside them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let raw = self.raw.as_ref();
        (self.stored.len() + raw.map_or(0, |raw| raw.content.len() + raw.media_type.len())) as u64
    }
}

/// An event as the log keeps it: what a trim takes away, and what is folded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the log.
    pub offset: Offset,
    /// Its place in a session; none where it is of the tenant as a whole.
    pub spot: Option<Spot>,
    /// The payload's kind.
    pub kind: Kind,
    /// Who appended it, and as which of its appends.
    pub writer: Option<(WriterId, u64)>,
    /// The chain after it.
    pub link: Link,
    /// The stored bytes.
    pub stored: Bytes,
    /// Its [`EventRow::bytes`].
    pub bytes: u64,
}

/// A prefix of a log that goes, with what stays of it.
#[derive(Clone, Debug)]
pub struct Trim {
    /// The log as it is then: its events from its present `oldest` to before this one's go.
    pub log: LogRow,
    /// The links before the events that go, in offset order.
    pub links: Vec<Link>,
    /// Sessions of which events go, and those that such an event moved, as they were at the new oldest offset: what they are folded from
    /// later.
    pub bases: Vec<Session>,
}

/// Events that interests want and that will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Of a session.
    Session {
        /// The session.
        session: SessionId,
        /// The first index that may be missing: 0 where it is not known, because events before it were trimmed as well.
        from: Index,
        /// The first index that is not missing.
        until: Index,
    },
    /// Of the tenant as a whole.
    Tenant,
}

/// Where an event was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the log.
    pub offset: Offset,
    /// Its place in its session; none where it has no session.
    pub index: Option<Index>,
}

/// How far a session is: all that most of its events change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The session, which has a row.
    pub session: SessionNumber,
    /// See [`Session::next_index`].
    pub next_index: Index,
    /// See [`Session::last_offset`].
    pub last_offset: Offset,
    /// See [`Session::updated`].
    pub updated: Time,
}

/// Rows that a transaction writes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New events, in offset order.
    pub events: Vec<EventRow>,
    /// New sessions, and those of which more changed than [`Progress`] tells. What of them is trimmed stays as it is stored: only
    /// [`Transaction::trim`] moves it; and who holds them: only `holds` says so.
    pub sessions: Vec<Session>,
    /// Sessions that only got further.
    pub progress: Vec<Progress>,
    /// Who holds sessions from now on, each named once.
    pub holds: Vec<(SessionNumber, Hold)>,
    /// New and changed writers.
    pub writers: Vec<WriterRow>,
    /// Where sessions stood that were moved, oldest first.
    pub stood: Vec<Stood>,
}

/// Which events a read wants, and how much of them.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// The log.
    pub log: &'a LogRow,
    /// What is wanted.
    pub interests: &'a Interests,
    /// The first offset to look at.
    pub from: Offset,
    /// The offset to stop before.
    pub until: Offset,
    /// Most events to return, at least 1.
    pub events_max: usize,
    /// Most bytes of events, as sent; the first one is returned however large.
    pub bytes_max: usize,
    /// Most events to look at, at least 1.
    pub scan_max: usize,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Page {
    /// The wanted events, in offset order.
    pub events: Vec<Event>,
    /// How far was looked: everything wanted in `[from, until)` is in `events`.
    pub until: Offset,
    /// The link before `until`.
    pub link: Link,
}

/// Which sessions a list wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Of this project only.
    pub project: Option<Arc<str>>,
    /// Of this vendor only.
    pub vendor: Option<Arc<str>>,
    /// Direct children of this session only.
    pub parent: Option<SessionId>,
    /// Only sessions without a parent.
    pub roots_only: bool,
    /// Closed ones too.
    pub include_closed: bool,
    /// Archived ones too.
    pub include_archived: bool,
}

/// In which order a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOrder {
    /// The most recently active first: by the offset of the newest event.
    Recent,
    /// The most recently opened first: by the offset of the opening.
    Opened,
}

/// A session in a snapshot.
#[derive(Clone, Debug)]
pub struct SessionSnapshot {
    /// Its row.
    pub session: Session,
    /// The newest items, in offset order: the event that completed each, or the one that started it while it is open.
    pub items: Vec<Event>,
    /// Where older items lie: below this offset. None when there are none.
    pub more_below: Option<Offset>,
}

/// Which sessions a snapshot is of.
#[derive(Clone, Copy, Debug)]
pub enum Only<'a> {
    /// All that the interests select.
    All,
    /// Those among these that the interests select.
    These(&'a [SessionId]),
    /// Those that these select too.
    SelectedBy(&'a Interests),
}

/// What a snapshot is to show.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What is wanted of the sessions: how much of each is shown.
    pub interests: &'a Interests,
    /// Which of them.
    pub only: Only<'a>,
}

impl Shown<'_> {
    /// How much of a session that stands there is shown; none where it is left out. Where some are named, it is one of them.
    #[must_use]
    pub fn detail(&self, routing: &Routing) -> Option<Detail> {
        let shows = match self.only {
            Only::All | Only::These(_) => true,
            Only::SelectedBy(some) => some.detail(routing).is_some(),
        };
        self.interests.detail(routing).filter(|_| shows)
    }
}

impl<'a> From<&'a Interests> for Shown<'a> {
    fn from(interests: &'a Interests) -> Self {
        Shown {
            interests,
            only: Only::All,
        }
    }
}

/// How much a snapshot may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Most sessions.
    pub sessions: usize,
    /// Most items of each.
    pub items: usize,
    /// Most events of each session to look at for items.
    pub scan: usize,
    /// Bytes of all items.
    pub bytes: usize,
    /// Bytes of all rows, as [`Session::bytes`] reckons them. At least one row comes.
    pub row_bytes: usize,
    /// No item lies below it: what is older is not given out any more.
    pub oldest: Offset,
}

/// All that is shown at one offset.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The log at that moment; the snapshot holds everything before its tail.
    pub log: LogRow,
    /// The sessions, most recently active first; those that were named in the order of their names. At SUMMARY without items.
    pub sessions: Vec<SessionSnapshot>,
    /// Whether there were more sessions than the limits take.
    pub truncated: bool,
}

/// One open transaction. Dropped without a commit, it never happened.
#[async_trait]
pub trait Transaction: Send {
    /// Takes the log's row and returns it as it is now.
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error>;

    /// The sessions of these ids, in any order; unknown ones are left out.
    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error>;

    /// The sessions of these native keys, in any order; unknown ones are left out.
    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error>;

    /// The writers of these ids, in any order; unknown ones are left out.
    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error>;

    /// What the rows of these writers tell of their lives, in any order; unknown ones are left out.
    async fn signs(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<Sign>, Error>;

    /// The sessions that these writers hold, at most `most` of them, in any order.
    async fn held(&mut self, log: LogKey, writers: &[WriterId], most: usize) -> Result<Vec<Session>, Error>;

    /// Which of these dedupe keys were stored before, and where. [`SessionNumber::of_tenant`] stands for those without a session, here and
    /// wherever a session's events are asked for.
    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error>;

    /// Where these appends of a writer lie, those that are among the newest `scan_max` events of the session, in any order.
    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error>;

    /// Where the sessions stand that a writer holds, in any order.
    async fn held_routings(&mut self, log: LogKey, writer: &WriterId) -> Result<Vec<Routing>, Error>;

    /// The sessions below these, at any depth, at most `most` of them, in any order.
    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error>;

    /// Writes rows and the log's row, whose `tail`, `link`, `recorded`, `fence`, `sessions`, `oldest_recorded` and `bytes` are taken
    /// from `log`.
    ///
    /// # Errors
    /// [`Error::Constraint`] when an offset is not the next one, `tail` does not follow from the events, or a session's id, a native
    /// key or a session's dedupe key is taken. Then the transaction can only be dropped.
    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error>;

    /// Events of `[from, tail)` that are kept, oldest first, up to these limits; the first one is returned however large. `from` is
    /// not below the log's `oldest`.
    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error>;

    /// The bases of these sessions, in any order; those that have none are left out.
    async fn bases(&mut self, log: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error>;

    /// The bases of all sessions that lie below these in their bases, at any depth, at most `most` of them, in any order.
    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error>;

    /// Takes a prefix of a log away, and keeps what [`Trim`] says of it: the log's row with its `oldest`, `base`, `oldest_recorded`
    /// and `bytes`; the links of the newest `links_max` events that were ever trimmed, or a few more, and where sessions stood that were
    /// moved among them; the bases, and in the row of each of their sessions what of it is trimmed. Dedupe keys stay, so that what was stored once is never stored again.
    ///
    /// # Errors
    /// [`Error::Constraint`] when the new oldest offset is not as many links beyond the present one, or lies beyond the tail.
    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error>;

    /// Makes all of it durable and visible at once.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when it may have happened; any other error when it did not.
    async fn commit(self: Box<Self>) -> Result<(), Error>;
}

/// Where logs last. What lies in one can be looked at as [`Evidence`].
#[async_trait]
pub trait Store: Evidence + Debug + 'static {
    /// The tenant's log, made with a random epoch if it is new.
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error>;

    /// The rows of these logs as they are now, in any order; unknown ones are left out.
    async fn log_rows(&self, logs: &[LogKey]) -> Result<Vec<LogRow>, Error>;

    /// Begins a transaction that may write.
    async fn begin(&self) -> Result<Box<dyn Transaction>, Error>;

    /// Wanted events of `[from, until)`, in offset order, up to its limits. `until` is not beyond a tail that was announced.
    ///
    /// # Errors
    /// [`Error::Trimmed`] when something of what was looked at was trimmed, be it while it was read: nothing is ever left out silently.
    async fn read(&self, read: Read<'_>) -> Result<Page, Error>;

    /// The same, newest first: `events` in falling order, and `until` is the offset down to which was looked (its link is the one
    /// before it).
    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error>;

    /// Gives a log another identity, and sets the newest fence that was given out. Its events, their links and everything else stay, but
    /// for what writers were told to have lost: they may have lost the same once more.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such log.
    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error>;

    /// The link before an offset of `[oldest, tail]`, and before older ones as far as [`Transaction::trim`] keeps their links.
    ///
    /// # Errors
    /// [`Error::Trimmed`] when it is no longer known.
    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error>;

    /// Which sessions have wanted events in `[from, until)` that are trimmed, or that are still kept there: all that a reader at
    /// `from` lacks when it goes on at `until`, which is not below the log's oldest offset; and whether it lacks some without a session.
    /// At most `most` of them, in any order.
    /// What was trimmed is sorted by family and by where its session stood since `from`; where it stood several times, some of it may be
    /// taken for wanted that was not, and never the other way round.
    async fn missing(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: usize,
    ) -> Result<Vec<Missing>, Error>;

    /// How many wanted events lie in `[from, until)`, counted up to `most`.
    async fn count(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: u64,
    ) -> Result<u64, Error>;

    /// The offset of the `count`-th wanted event before `until`, counted backwards; `log.oldest` when there are fewer. `count` is at least 1.
    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error>;

    /// Where those sessions stood that the event at this offset moved: the one it is of, and those below it. At most
    /// [`crate::limits::RELINKED_SESSIONS_MAX`] and one, in any order.
    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error>;

    /// The raw records beside these events; those without one are left out.
    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error>;

    /// One session.
    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error>;

    /// The session of a native key.
    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error>;

    /// At most `limit` sessions whose order offset lies below `below`, in falling order of it.
    async fn list_sessions(
        &self,
        log: LogKey,
        filter: &SessionFilter,
        order: SessionOrder,
        below: Offset,
        limit: usize,
    ) -> Result<Vec<Session>, Error>;

    /// All that is to be shown, at one moment.
    async fn snapshot(&self, log: LogKey, shown: Shown<'_>, limits: SnapshotLimits) -> Result<Snapshot, Error>;

    /// The writers that hold a session or whose connectors are there, in any order, with what their rows tell of their lives.
    async fn holders(&self, log: LogKey) -> Result<Vec<Sign>, Error>;

    /// Counts the beats of these writers on, of those that still have this fence. It waits for no log's row.
    async fn beat(&self, log: LogKey, writers: &[(WriterId, u64)]) -> Result<(), Error>;

    /// Takes the next number for a stream of each of these clients, in their order, each above every number that was ever given. Of a
    /// principal the newest [`limits::CLIENTS_PER_PRINCIPAL_MAX`] clients are kept.
    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error>;

    /// The highest number that was ever given; 0 before the first.
    async fn newest_incarnation(&self) -> Result<Incarnation, Error>;

    /// The newest number of each client that took one above `after`, ascending, at most `most` of them. Whoever has read up to a number
    /// misses none below it later.
    async fn incarnations(&self, after: Incarnation, most: usize) -> Result<Vec<(ClientKey, Incarnation)>, Error>;

    /// All resume token keys that were ever minted, removed ones without their secret.
    async fn resume_keys(&self) -> Result<Vec<ResumeKey>, Error>;

    /// Adds a resume token key. Its id must be new.
    async fn add_resume_key(&self, key: &ResumeKey) -> Result<(), Error>;

    /// Erases a key's secret; its number stays.
    async fn remove_resume_key(&self, id: crate::resume_token::KeyId) -> Result<(), Error>;
}

/// Whether interests want something of a session that was trimmed at `from` or behind it, of a log that begins at `oldest`. `stood` is
/// where it stood, oldest first; what it left before `from` does not matter. For stores.
#[must_use]
pub fn lacks(session: &Session, stood: &[Stood], interests: &Interests, from: Offset, oldest: Offset) -> bool {
    let now = Arc::new(session.routing());
    let is_missed = |routing: &Routing, since: Offset| {
        let from = from.max(since);
        session.trimmed.lacks(from, |family| interests.want(routing, family))
    };
    let next = stood.iter().skip(1).map(|stood| &stood.routing).chain([&now]);
    let mut then = stood.iter().zip(next).filter(|(stood, _)| stood.until >= from);
    is_missed(&now, session.stands_from)
        || then.any(|(stood, next)| {
            // The event that moved it belongs to where it stood before as well, and tells of itself whoever it enters or leaves.
            let moved = stood.until < oldest && interests.want_move(Some(&stood.routing), next, Family::Session);
            moved || is_missed(&stood.routing, stood.from)
        })
}

/// Raw records that are read at once: together they are at most a few MiB.
const RAWS_READ_MAX: usize = 8;

/// The raw records beside these events. Where events and records are more than `bytes_max` bytes together, `events` ends before the
/// first that does not fit; the first one stays, however large it is.
///
/// # Errors
/// When the store cannot be read, and [`Error::Trimmed`] when an event went after it was read, so that its record is not there.
pub async fn raws_beside(
    store: &dyn Store,
    log: &LogRow,
    events: &mut Vec<Event>,
    bytes_max: usize,
) -> Result<Vec<(Offset, Raw)>, Error> {
    let mut found = Vec::new();
    let mut ahead: HashMap<Offset, Raw> = HashMap::new();
    let mut bytes = 0;
    for (at, event) in events.iter().enumerate() {
        if event.has_raw && ahead.is_empty() {
            let with_raw = events.iter().skip(at).filter(|event| event.has_raw);
            let next: Vec<Offset> = with_raw.take(RAWS_READ_MAX).map(|event| event.offset).collect();
            ahead.extend(store.raws(log.key, &next).await?);
        }
        let raw = ahead.remove(&event.offset);
        if event.has_raw && raw.is_none() {
            let interests = Interests::from(Interest::new(Selector::All, Detail::Content));
            store.read(one(log, &interests, event.offset)).await?;
        }
        bytes += event.bytes.len();
        bytes += raw.as_ref().map_or(0, |raw| raw.content.len() + raw.media_type.len());
        if bytes > bytes_max && at > 0 {
            events.truncate(at);
            break;
        }
        found.extend(raw.map(|raw| (event.offset, raw)));
    }
    Ok(found)
}

/// A read of the event at this offset, whatever it is.
#[must_use]
pub const fn one<'a>(log: &'a LogRow, everything: &'a Interests, offset: Offset) -> Read<'a> {
    Read {
        log,
        interests: everything,
        from: offset,
        until: offset.next(),
        events_max: 1,
        bytes_max: 0,
        scan_max: 1,
    }
}
