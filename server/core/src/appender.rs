//! The log's way in: one task that stores, for all logs of the process.
//!
//! Believe this: there is one committer. Calls that wait while it commits are stored together by its next commit, so one sync of
//! the disk serves all of them. *Readable first, announced second, answered third*: a writer never learns of an event that a
//! subscriber could not yet read.

pub mod committer;
pub mod counters;
mod task;
mod wanted;
mod decide;
mod deltas;
mod kept;
mod outcome;
mod fill;
mod trim;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use counters::Counters;

use crate::event::{Draft, ItemKey, SessionRef};
use crate::hold::{Barred, Take};
use crate::id::{EventId, SessionId, WriterId};
use crate::lease::Ended;
use crate::limits;
use crate::log::Log;
use crate::offset::Offset;
use crate::retention::Retention;
use crate::store::{self, Stored};
use crate::window::deltas::Channel;
use bytes::Bytes;

pub use crate::hold::Claim;

/// Why an event will not be stored as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field is out of its range or form.
    InvalidField,
    /// The payload is of a kind that this hub does not know.
    PayloadUnknown,
    /// There is no payload.
    PayloadMissing,
    /// The payload is of a kind that only the hub writes.
    PayloadReserved,
    /// It is too large.
    TooLarge,
    /// Its seq is beyond the writer's last one plus one.
    SeqGap,
    /// Id and key name different sessions.
    SessionConflict,
    /// Another writer holds the session, and its lease lives.
    SessionOwned,
    /// The session was held under a newer fence since.
    Fenced,
    /// The database refused it: a promise of the hub's own was broken.
    Internal,
}

/// An event that will not be stored as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub refusal: Refusal,
    /// In words: what, and what to do.
    pub message: String,
    /// The field at fault; empty when none is.
    pub field: String,
    /// What varies in the message: names and values.
    pub metadata: Vec<(&'static str, String)>,
}

/// When an event is to be stored at all. What is stored under a condition is a method's own and let in whoever holds the session; what
/// is stored always comes from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// Only if it opens its session.
    OpensSession,
    /// Only if it changes what is known of its session.
    ChangesFacts,
}

/// One event to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Its number among all that its writer ever appended, from 1; 0 without a writer.
    pub seq: u64,
    /// When to store it.
    pub condition: Condition,
    /// The event, or why the door refused it: a refused one still consumes its seq.
    pub draft: Result<Box<Draft>, Rejection>,
}

/// A fragment on its way in.
#[derive(Clone, Debug)]
pub struct DeltaDraft {
    /// Its session.
    pub session: SessionRef,
    /// Its item.
    pub item: ItemKey,
    /// The item's id, as it is sent.
    pub item_id: Arc<str>,
    /// Which of the item's texts.
    pub channel: Channel,
    /// Bytes of that text before it.
    pub at: u64,
    /// The bytes it adds.
    pub text: Bytes,
    /// The message without its session.
    pub body: Bytes,
}

/// What became of one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Stored {
        /// Its name.
        event_id: EventId,
        /// Its session; none where it is of the tenant as a whole.
        session: Option<SessionId>,
        /// Its place.
        stored: Stored,
    },
    /// It was durable before.
    Duplicate {
        /// The session, where it is known.
        session: Option<SessionId>,
        /// The first one's place, where it is known.
        stored: Option<Stored>,
    },
    /// Its condition did not hold, and nothing was stored.
    Unchanged {
        /// Its session.
        session: SessionId,
    },
    /// It will not be stored as it is.
    Rejected(Rejection),
}

/// What a writer is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Proves the claim.
    pub fence: u64,
    /// The last seq that was consumed.
    pub last_seq: u64,
    /// What became of the sessions asked for, in the same order.
    pub sessions: Vec<Claimed>,
}

/// What became of a writer's claim to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The session.
    pub session: SessionId,
    /// Who or what keeps the writer out; none where it holds it now.
    pub barred: Option<Barred>,
}

/// All that a writer holds, as it says: what it names it claims, what it holds and does not name it lets go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The sessions.
    pub sessions: Vec<SessionRef>,
    /// What to do about other writers.
    pub take: Take,
    /// The last seq that it knows as acknowledged; 0 where it knows none. What the hub has less it has lost, and tells so.
    pub acknowledged: u64,
}

/// Why a whole call did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The writer was never opened.
    #[error("writer was never opened; call OpenWriter first")]
    WriterUnknown,
    /// A later opening of the writer holds a newer fence.
    #[error("fence {given} is not the writer's any more, {current} is; call OpenWriter again")]
    Fenced {
        /// What was given.
        given: u64,
        /// What is.
        current: u64,
    },
    /// The disk is full.
    #[error("the disk is full; try again when there is room")]
    Full,
    /// The store cannot be used now, or does not say whether it did it.
    #[error("the log cannot be written now; try again with the same ids")]
    Unavailable,
    /// The hub stops.
    #[error("this node stops; try again at any node")]
    Stopped,
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Full => Error::Full,
            store::Error::Constraint(_)
            | store::Error::CommitUnknown
            | store::Error::Unavailable(_)
            | store::Error::Trimmed(_)
            | store::Error::Corrupt(_) => Error::Unavailable,
        }
    }
}

/// What one piece of a trim did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Smallest offset still kept.
    pub oldest: Offset,
    /// Whether there may be more to trim.
    pub more: bool,
}

/// The answer to a call that was queued.
pub type Pending<T> = oneshot::Receiver<Result<T, Error>>;

/// What the committer is asked.
#[derive(Debug)]
enum Job {
    Append {
        log: Arc<Log>,
        claim: Option<Claim>,
        appends: Vec<Append>,
        reply: oneshot::Sender<Result<Vec<Outcome>, Error>>,
    },
    Open {
        log: Arc<Log>,
        writer: WriterId,
        wish: Wish,
        reply: oneshot::Sender<Result<Grant, Error>>,
    },
    Renew {
        log: Arc<Log>,
        claim: Claim,
        /// None where only the writer itself is looked at.
        wish: Option<Wish>,
        reply: oneshot::Sender<Result<Grant, Error>>,
    },
    End {
        log: Arc<Log>,
        writers: Vec<WriterId>,
        reply: oneshot::Sender<Result<Vec<Ended>, Error>>,
    },
    Deltas {
        log: Arc<Log>,
        claim: Option<Claim>,
        deltas: Vec<DeltaDraft>,
    },
    Compare {
        log: Arc<Log>,
        /// Told when it was done, or could not be; none where nobody waits.
        looked: Option<oneshot::Sender<()>>,
    },
    Trim {
        log: Arc<Log>,
        retention: Retention,
        reply: oneshot::Sender<Result<Trimmed, Error>>,
    },
}

/// A job and the bytes it holds of the queue's bound, given back when it is done.
type Queued = (Job, OwnedSemaphorePermit);

/// The way to the committer. Cheap to clone; the committer ends when the last one is gone.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    /// Written by the committer.
    counters: Arc<Counters>,
}

impl Appender {
    /// A handle, and the committer's end of the queue.
    fn channel() -> (Appender, mpsc::Receiver<Queued>) {
        let (queue, jobs) = mpsc::channel(limits::COMMIT_QUEUE_MAX);
        (
            Appender {
                queue,
                bytes: Arc::new(Semaphore::new(limits::COMMIT_QUEUE_BYTES_MAX)),
                counters: Arc::default(),
            },
            jobs,
        )
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Queues events, waiting for room. The answer tells of each of them, in order, once all are durable.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub stops.
    pub async fn append(
        &self,
        log: Arc<Log>,
        claim: Option<Claim>,
        appends: Vec<Append>,
    ) -> Result<Pending<Vec<Outcome>>, Error> {
        let bytes = appends
            .iter()
            .filter_map(|append| append.draft.as_ref().ok())
            .map(|draft| draft_bytes(draft))
            .sum();
        let (reply, pending) = oneshot::channel();
        self.submit(
            Job::Append {
                log,
                claim,
                appends,
                reply,
            },
            bytes,
        )
        .await?;
        Ok(pending)
    }

    /// Opens a writer under a new fence, which ends its earlier ones, and claims the sessions that it names.
    ///
    /// # Errors
    /// When the store cannot be used, or the hub stops.
    pub async fn open_writer(&self, log: Arc<Log>, writer: WriterId, wish: Wish) -> Result<Grant, Error> {
        let (reply, pending) = oneshot::channel();
        let job = Job::Open {
            log,
            writer,
            wish,
            reply,
        };
        self.submit(job, 0).await?;
        pending.await.unwrap_or(Err(Error::Stopped))
    }

    /// Renews a writer under its fence, and claims the sessions that it names.
    ///
    /// # Errors
    /// When the fence is not the writer's any more, the store cannot be used, or the hub stops.
    pub async fn renew_writer(&self, log: Arc<Log>, claim: Claim, wish: Wish) -> Result<Grant, Error> {
        self.renew(log, claim, Some(wish)).await
    }

    /// Looks whether a writer still has its fence. What it holds stays as it is.
    ///
    /// # Errors
    /// As [`Appender::renew_writer`].
    pub async fn check_writer(&self, log: Arc<Log>, claim: Claim) -> Result<Grant, Error> {
        self.renew(log, claim, None).await
    }

    async fn renew(&self, log: Arc<Log>, claim: Claim, wish: Option<Wish>) -> Result<Grant, Error> {
        let (reply, pending) = oneshot::channel();
        let job = Job::Renew {
            log,
            claim,
            wish,
            reply,
        };
        self.submit(job, 0).await?;
        pending.await.unwrap_or(Err(Error::Stopped))
    }

    /// Lets go of what these writers hold, of those whose leases have ended. Gives whose have.
    ///
    /// # Errors
    /// When the store cannot be used, or the hub stops.
    pub async fn end_leases(&self, log: Arc<Log>, writers: Vec<WriterId>) -> Result<Vec<Ended>, Error> {
        let (reply, pending) = oneshot::channel();
        self.submit(Job::End { log, writers, reply }, 0).await?;
        pending.await.unwrap_or(Err(Error::Stopped))
    }

    /// Queues fragments behind the events that were queued before them.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub stops.
    pub async fn deltas(&self, log: Arc<Log>, claim: Option<Claim>, deltas: Vec<DeltaDraft>) -> Result<(), Error> {
        let bytes = deltas.iter().map(|delta| delta.text.len() + delta.body.len()).sum();
        self.submit(Job::Deltas { log, claim, deltas }, bytes).await
    }

    /// Queues a look at the store: what was stored without this process' knowledge is announced.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub stops.
    pub async fn compare(&self, log: Arc<Log>) -> Result<(), Error> {
        self.submit(Job::Compare { log, looked: None }, 0).await
    }

    /// The same, and waits for it: what any node had acknowledged before this call is announced here when it returns, if the store can be
    /// read.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub stops.
    pub async fn look(&self, log: Arc<Log>) -> Result<(), Error> {
        let (looked, pending) = oneshot::channel();
        let looked = Some(looked);
        self.submit(Job::Compare { log, looked }, 0).await?;
        pending.await.map_err(|_| Error::Stopped)
    }

    /// Trims one piece of a log, of at most [`limits::TRIM_EVENTS_MAX`] events.
    ///
    /// # Errors
    /// When the store cannot be used, or the hub stops.
    pub async fn trim(&self, log: Arc<Log>, retention: Retention) -> Result<Trimmed, Error> {
        let (reply, pending) = oneshot::channel();
        self.submit(Job::Trim { log, retention, reply }, 0).await?;
        pending.await.unwrap_or(Err(Error::Stopped))
    }

    async fn submit(&self, job: Job, bytes: usize) -> Result<(), Error> {
        // A call larger than the whole bound would wait for ever: it takes all of it instead.
        let bytes = u32::try_from(bytes.min(limits::COMMIT_QUEUE_BYTES_MAX)).unwrap_or(u32::MAX);
        let permit = self
            .bytes
            .clone()
            .acquire_many_owned(bytes)
            .await
            .map_err(|_| Error::Stopped)?;
        self.queue.send((job, permit)).await.map_err(|_| Error::Stopped)
    }
}

fn draft_bytes(draft: &Draft) -> usize {
    draft.body.len() + draft.raw.as_ref().map_or(0, |raw| raw.content.len())
}

#[cfg(test)]
mod tests;
