//! A writer: what appends to sessions, and holds them.
//!
//! The one thing to believe: every event that is taken is stored once and answered once, over all losses of the connection; with
//! a spool on disk also over the death of the process. Memory does not grow: who appends faster than the hub stores waits.

mod deltas;
mod held;
mod options;
mod publish;
mod queue;
mod shared;
mod spool;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bellboard_proto::v1::{
    AppendResult, DeltaAppend, EventAppend, OpenWriterRequest, RenewWriterRequest, WriterSession, WriterSessionResult,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{Error, Failure, Result};
use crate::retry::retrying;
use publish::Publisher;
use shared::Shared;
use spool::Disk;

pub use deltas::DELTA_BYTES_MAX;
pub use options::{Spool, WriterOptions};
pub use queue::APPEND_BYTES_MAX;

/// How long the hub may take to hear at the end that nothing is held any more.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a spool on disk held when it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Events that the hub had not consumed and that are sent now.
    pub resent: usize,
    /// Events that the hub had consumed.
    pub acknowledged: usize,
    /// Bytes that could not be read: the torn end of a file after a loss of power, or damage.
    pub torn_bytes: u64,
}

/// How a writer is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Events that wait to be acknowledged, sent or not.
    pub unacknowledged_events: usize,
    /// Their bytes.
    pub unacknowledged_bytes: usize,
    /// Deltas that were dropped here since the writer was opened.
    pub deltas_dropped: u64,
    /// How often the stream was dialled since the writer was opened.
    pub dials: u64,
}

/// An open writer. Share it by `Arc` or by reference: all methods but `close` take `&self`.
///
/// **Order.** Events and deltas leave in the order in which the calls took them.
///
/// **Never twice.** Each event has a seq, counted over the writer's whole life. After a lost connection all that is not
/// acknowledged is sent again with the same seqs, and the hub answers what it had as duplicate. A duplicate without an offset
/// was consumed before, stored or rejected.
///
/// **Sessions.** It holds those that it was opened with and those that it appends to, tells the hub each time that it comes back, and never
/// takes one from another writer unless told to: by [`WriterOptions::take_over`] once, when it opens, and by
/// [`take_over`](Writer::take_over). What another writer holds is rejected, which [`accepted`](crate::accepted) makes
/// [`Error::SessionOwned`]: wait until its lease has ended, or take over.
///
/// **Fenced.** Once another incarnation of this writer was opened, everything fails with [`Error::Fenced`]; a spool on disk keeps its
/// events. Opening it again would throw the other one out.
///
/// **Dropping** it ends the stream at once: tickets fail with [`Error::Closed`], events in memory are lost, those on disk are
/// sent at the next opening. [`close`](Writer::close) loses nothing.
///
/// ```no_run
/// use bellboard_sdk::v1::{Event, EventAppend, MessageCompleted, event::Payload};
/// use bellboard_sdk::{Client, Options, Spool, Writer, WriterOptions, session_id};
///
/// # async fn example() -> bellboard_sdk::Result<()> {
/// let client = Client::connect(Options::default())?;
/// let options = WriterOptions::new("my-connector").with_spool(Spool::on_disk("spool"));
/// let writer = Writer::open(&client, options).await?;
/// let ticket = writer
///     .append(EventAppend {
///         session: Some(session_id("s-1")),
///         event: Some(Event {
///             item_id: "m-1".to_owned(),
///             payload: Some(Payload::MessageCompleted(MessageCompleted::default())),
///             ..Event::default()
///         }),
///         ..EventAppend::default()
///     })
///     .await?;
/// println!("{:?}", ticket.await?.outcome);
/// writer.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Writer {
    client: Client,
    writer_id: String,
    // The other holder is the publishing task.
    shared: Arc<Shared>,
    opened: Vec<WriterSessionResult>,
    recovered: Recovered,
    /// The publishing task alone. Dropping it ends the task.
    task: JoinSet<()>,
}

impl Writer {
    /// Opens a writer: locks and reads its spool, claims its sessions, and begins to send. A hub that is away is waited for as
    /// [`WriterOptions::retry`] says, without end by default.
    ///
    /// # Errors
    /// [`Error::Spool`] when the spool is in use, damaged beyond reading or another writer's; [`Error::Option`];
    /// [`Error::InvalidRequest`], [`Error::Credential`] and [`Error::Permission`] as the hub says.
    pub async fn open(client: &Client, options: WriterOptions) -> Result<Writer> {
        options.check()?;
        let WriterOptions {
            writer_id,
            sessions,
            take_over,
            spool,
            retry,
        } = options;
        let disk = match spool.dir.clone() {
            Some(dir) => Some(spool::open(dir, writer_id.clone()).await?),
            None => None,
        };
        let request = OpenWriterRequest {
            writer_id: writer_id.clone(),
            sessions,
            take_over,
            acknowledged_seq: disk.as_ref().map_or(0, |(_, contents)| contents.acknowledged),
        };
        let opened = retrying(&retry, || publish::open(client, request.clone())).await?;
        let (disk, waiting, recovered) = recover(disk, opened.last_seq).await?;
        let shared = Arc::new(Shared::new(&spool, opened.last_seq, waiting, disk));
        shared.set_fence(opened.fence);
        shared.claimed(request.sessions, &opened.results);
        let publisher = Publisher::new(client.clone(), writer_id.clone(), Arc::clone(&shared), retry);
        let mut task = JoinSet::new();
        task.spawn(publisher.run());
        Ok(Writer {
            client: client.clone(),
            writer_id,
            shared,
            opened: opened.results,
            recovered,
            task,
        })
    }

    /// What became of the claim to each session of the options, in their order.
    #[must_use]
    pub fn claims(&self) -> &[WriterSessionResult] {
        &self.opened
    }

    /// What the spool on disk held when it was opened.
    #[must_use]
    pub const fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// The writer's id.
    #[must_use]
    pub fn writer_id(&self) -> &str {
        &self.writer_id
    }

    /// How the writer is doing.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        self.shared.stats()
    }

    /// Takes an event, and waits for room while the spool is full. Once it returns the event is in the spool, and on disk if
    /// there is one; the ticket tells what became of it. The append's `seq` is ignored: the writer counts.
    ///
    /// Cancel safe: an append that was not returned from was not taken.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] when it is longer than [`APPEND_BYTES_MAX`]; [`Error::Spool`] when the disk fails, and it was
    /// not taken; whatever ended the writer.
    pub async fn append(&self, append: EventAppend) -> Result<Ticket> {
        self.shared.append(append).await.map(Ticket)
    }

    /// Takes an event if there is room now.
    ///
    /// # Errors
    /// [`Error::SpoolFull`], and those of [`Writer::append`].
    pub fn try_append(&self, append: EventAppend) -> Result<Ticket> {
        self.shared.try_append(append).map(Ticket)
    }

    /// Takes a delta, which is sent in its order or dropped, and never waits. Deltas wait in memory only, at most
    /// [`DELTA_BYTES_MAX`]. Neighbours of one item are joined. When one must be dropped, so are the later ones of its item, which
    /// nobody could use, until the item's completed event was taken.
    pub fn delta(&self, delta: DeltaAppend) {
        self.shared.delta(delta);
    }

    /// Waits until all events taken before this call are acknowledged.
    ///
    /// # Errors
    /// Whatever ended the writer.
    pub async fn flush(&self) -> Result<()> {
        self.shared.flush().await
    }

    /// Claims and releases sessions: the list is all that the writer holds from now on. Also used when the hub must be told anew
    /// after it forgot the writer. Leases are renewed by the stream itself.
    ///
    /// # Errors
    /// [`Error::Fenced`], and those of every call.
    pub async fn hold(&self, sessions: Vec<WriterSession>) -> Result<Vec<WriterSessionResult>> {
        self.renew(sessions, false).await
    }

    /// As [`Writer::hold`], and takes sessions from other writers whose leases still live.
    ///
    /// # Errors
    /// Those of [`Writer::hold`].
    pub async fn take_over(&self, sessions: Vec<WriterSession>) -> Result<Vec<WriterSessionResult>> {
        self.renew(sessions, true).await
    }

    async fn renew(&self, sessions: Vec<WriterSession>, take_over: bool) -> Result<Vec<WriterSessionResult>> {
        let _turn = self.shared.claiming.lock().await;
        let request = RenewWriterRequest {
            writer_id: self.writer_id.clone(),
            fence: self.shared.fence(),
            sessions,
            take_over,
        };
        let answer = retrying(self.client.retry(), || publish::renew(&self.client, request.clone())).await?;
        self.shared.claimed(request.sessions, &answer.results);
        Ok(answer.results)
    }

    /// Waits until all is acknowledged, then ends the stream politely and lets go of all sessions, at once instead of when the lease
    /// ends. While the hub is away it waits for the hub: put a timeout
    /// around it where that is too long, which then does what dropping does.
    ///
    /// # Errors
    /// Whatever ended the writer before.
    pub async fn close(mut self) -> Result<()> {
        self.shared.close();
        let flushed = self.shared.flush().await;
        // The task ends by itself: at once when the writer has failed, else after the hub's OK.
        while self.task.join_next().await.is_some() {}
        if flushed.is_ok() && !self.shared.holds_nothing() {
            // A hub that is away learns it by the end of the lease.
            let _ = tokio::time::timeout(RELEASE_TIMEOUT, self.release()).await;
        }
        flushed
    }

    /// Lets go of everything, so that nobody waits for a lease to end.
    async fn release(&self) -> Result<()> {
        let request = RenewWriterRequest {
            writer_id: self.writer_id.clone(),
            fence: self.shared.fence(),
            ..RenewWriterRequest::default()
        };
        publish::renew(&self.client, request).await.map(drop)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Here and not when the task is dropped, which is later: who opens the spool next finds it unlocked.
        self.shared.end(Error::Closed);
    }
}

/// Resolves once the hub has told what became of an event: stored, duplicate or rejected. Treat an outcome that is unset as
/// rejected. Dropping it changes nothing.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<AppendResult>>);

impl Future for Ticket {
    type Output = Result<AppendResult>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<AppendResult>> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}

/// Drops what the hub consumed, numbers the rest anew from there, and begins the spool's next generation with it.
async fn recover(
    disk: Option<(Disk, spool::Contents)>,
    last_seq: u64,
) -> Result<(Option<Disk>, Vec<EventAppend>, Recovered)> {
    let Some((mut disk, contents)) = disk else {
        return Ok((None, Vec::new(), Recovered::default()));
    };
    let all = contents.appends.len();
    let waiting: Vec<EventAppend> = contents
        .appends
        .into_iter()
        .filter(|append| append.seq > last_seq)
        .zip(last_seq + 1..)
        .map(|(append, seq)| EventAppend { seq, ..append })
        .collect();
    let recovered = Recovered {
        resent: waiting.len(),
        acknowledged: all - waiting.len(),
        torn_bytes: contents.torn_bytes,
    };
    let (disk, waiting) = tokio::task::spawn_blocking(move || {
        disk.begin_generation(last_seq, waiting.iter())?;
        Ok::<_, Error>((disk, waiting))
    })
    .await
    .map_err(|_| Error::Closed)??;
    Ok((Some(disk), waiting, recovered))
}

/// What an append is answered that no hub would take.
fn too_long(bytes: usize) -> Error {
    Error::InvalidRequest(Failure::local(
        tonic::Code::InvalidArgument,
        Some(bellboard_proto::v1::ErrorReason::EventTooLarge),
        format!("the append has {bytes} bytes, more than {APPEND_BYTES_MAX}; shorten its texts or its raw content"),
    ))
}
