//! What the application's half and the publishing half of a writer share.
//!
//! The one thing to believe: one lock guards the queue and the disk together, so that the order of seqs is the order on disk and
//! on the wire. It is held for a push or a pop, and for a write into the system's cache; never over an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bellboard_proto::v1::{AppendResult, DeltaAppend, EventAppend, PublishBatch, WriterSession, WriterSessionResult};
use prost::Message as _;
use tokio::sync::{Notify, oneshot};

use super::held::Held;
use super::queue::{APPEND_BYTES_MAX, Acknowledged, Queue, Resync, Window};
use super::spool::Disk;
use super::{Spool, WriterStats, too_long};
use crate::error::{Error, Result};

type Receipt = oneshot::Receiver<Result<AppendResult>>;

#[derive(Debug)]
pub(super) struct Shared {
    events_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    /// Who waits for room stands in line here, so that a large event is not overtaken for ever by small ones.
    line: tokio::sync::Mutex<()>,
    /// Who tells the hub what is held has it, from the list to the answer: the hub takes every list for all that there is.
    pub(super) claiming: tokio::sync::Mutex<()>,
    /// Rung when something was answered and when the writer ends; heard by who waits for room or for a flush.
    progress: Notify,
    /// Rung when there is something to send or the writer is to close; heard by the publishing task alone.
    pub(super) work: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    disk: Option<Disk>,
    held: Held,
    fence: u64,
    dials: u64,
    closing: bool,
    /// Why the writer takes nothing any more.
    ended: Option<Error>,
}

impl Shared {
    pub(super) fn new(spool: &Spool, last_seq: u64, waiting: Vec<EventAppend>, disk: Option<Disk>) -> Shared {
        Shared {
            events_max: spool.events_max,
            bytes_max: spool.bytes_max,
            state: Mutex::new(State {
                queue: Queue::new(last_seq, waiting),
                disk,
                held: Held::default(),
                fence: 0,
                dials: 0,
                closing: false,
                ended: None,
            }),
            line: tokio::sync::Mutex::new(()),
            claiming: tokio::sync::Mutex::new(()),
            progress: Notify::new(),
            work: Notify::new(),
        }
    }

    pub(super) async fn append(&self, append: EventAppend) -> Result<Receipt> {
        let append = sized(append)?;
        let _turn = self.line.lock().await;
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.has_room(append.1)? {
                return self.push(append);
            }
            progress.await;
        }
    }

    pub(super) fn try_append(&self, append: EventAppend) -> Result<Receipt> {
        let append = sized(append)?;
        // Whoever stands in line was there first.
        let Ok(_turn) = self.line.try_lock() else {
            return Err(Error::SpoolFull);
        };
        if self.has_room(append.1)? {
            self.push(append)
        } else {
            Err(Error::SpoolFull)
        }
    }

    /// Only who holds the line pushes, so that room that was seen stays.
    fn has_room(&self, bytes: usize) -> Result<bool> {
        let state = self.state();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        if state.closing {
            return Err(Error::Closed);
        }
        let queue = &state.queue;
        let fits = queue.events() < self.events_max && queue.bytes() + bytes <= self.bytes_max;
        Ok(fits || queue.events() == 0)
    }

    fn push(&self, (mut append, _): (EventAppend, usize)) -> Result<Receipt> {
        let (answer, receipt) = oneshot::channel();
        let mut state = self.state();
        append.seq = state.queue.next_seq();
        if let Some(disk) = &mut state.disk {
            disk.append(&append)?;
        }
        state.queue.push(append, Some(answer));
        drop(state);
        self.work.notify_one();
        Ok(receipt)
    }

    pub(super) fn delta(&self, delta: DeltaAppend) {
        let mut state = self.state();
        if state.ended.is_none() && !state.closing {
            state.queue.push_delta(delta);
            drop(state);
            self.work.notify_one();
        }
    }

    pub(super) async fn flush(&self) -> Result<()> {
        let mut target = None;
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            {
                let state = self.state();
                if let Some(error) = &state.ended {
                    // A polite end comes after the last answer.
                    let done = state.queue.events() == 0 && matches!(error, Error::Closed);
                    return if done { Ok(()) } else { Err(error.clone()) };
                }
                let target = *target.get_or_insert_with(|| state.queue.taken());
                if state.queue.answered() >= target {
                    return Ok(());
                }
            }
            progress.await;
        }
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.work.notify_one();
    }

    pub(super) fn stats(&self) -> WriterStats {
        let state = self.state();
        WriterStats {
            unacknowledged_events: state.queue.events(),
            unacknowledged_bytes: state.queue.bytes(),
            deltas_dropped: state.queue.deltas.dropped(),
            dials: state.dials,
        }
    }

    /// The hub was told of these, and answered so.
    pub(super) fn claimed(&self, named: Vec<WriterSession>, results: &[WriterSessionResult]) {
        self.state().held.answered(named, results);
    }

    /// All that the writer holds, as far as the hub has answered.
    pub(super) fn held(&self) -> Vec<WriterSession> {
        self.state().held.list()
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.state().held.is_empty()
    }

    pub(super) fn set_fence(&self, fence: u64) {
        self.state().fence = fence;
    }

    pub(super) fn fence(&self) -> u64 {
        self.state().fence
    }

    pub(super) fn dialled(&self) {
        self.state().dials += 1;
    }

    pub(super) fn next_batch(&self, window: Window) -> Option<PublishBatch> {
        self.state().queue.next_batch(window)
    }

    pub(super) fn has_batch(&self, window: Window) -> bool {
        self.state().queue.has_batch(window)
    }

    pub(super) fn awaits_answers(&self) -> bool {
        self.state().queue.awaits_answers()
    }

    /// Whether the writer is to close and owes nothing any more.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state();
        state.closing && state.queue.is_empty()
    }

    pub(super) fn acknowledge(&self, results: Vec<AppendResult>) -> Acknowledged {
        let mut state = self.state();
        let mut outcome = Acknowledged::Taken;
        for result in results {
            state.held.acknowledged(&result);
            outcome = state.queue.acknowledge(result);
            if outcome != Acknowledged::Taken {
                break;
            }
        }
        let until = state.queue.acknowledged_until();
        if let Some(disk) = &mut state.disk {
            disk.acknowledged_until(until);
        }
        drop(state);
        self.progress.notify_waiters();
        outcome
    }

    /// A new stream is open. Where the hub has less than it acknowledged, what is still on disk of the rest is sent again.
    ///
    /// # Errors
    /// [`Error::Spool`] when the disk cannot be read, or the new numbers cannot be written.
    pub(super) fn resync(&self, last_seq: u64) -> Result<Resync> {
        let mut state = self.state();
        let State { queue, disk, .. } = &mut *state;
        let lost = last_seq + 1..queue.acknowledged_until();
        let kept = match disk {
            Some(disk) if queue.is_ahead_of(last_seq) => disk.kept(lost)?,
            Some(_) | None => Vec::new(),
        };
        let resync = queue.resync(last_seq, kept);
        if resync == Resync::Renumbered
            && let Some(disk) = disk
        {
            disk.begin_generation(queue.acknowledged(), queue.waiting())?;
        }
        drop(state);
        self.work.notify_one();
        Ok(resync)
    }

    /// The last seq that the hub acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.state().queue.acknowledged()
    }

    /// Whether the hub, which has all up to this seq, has less than it acknowledged.
    pub(super) fn is_ahead_of(&self, last_seq: u64) -> bool {
        self.state().queue.is_ahead_of(last_seq)
    }

    /// The writer takes nothing any more, and owes no answers. The first reason stays.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.state();
        let acknowledged = state.queue.acknowledged();
        if let Some(disk) = &mut state.disk {
            disk.mark(acknowledged);
        }
        let answers = state.queue.drain_answers();
        state.ended.get_or_insert_with(|| error.clone());
        // The lock on the folder goes with it, so that the next incarnation can open it.
        state.disk = None;
        drop(state);
        for answer in answers {
            let _ = answer.send(Err(error.clone()));
        }
        self.progress.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sized(append: EventAppend) -> Result<(EventAppend, usize)> {
    let bytes = append.encoded_len();
    if bytes > APPEND_BYTES_MAX {
        return Err(too_long(bytes));
    }
    Ok((append, bytes))
}
