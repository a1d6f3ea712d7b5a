//! What waits, in which order, and what of it is under way.
//!
//! The one thing to believe: an event leaves this queue only by its answer. What was sent and not answered goes back to the front
//! when the connection is lost, with the same seq, so that the hub tells it from a new one.

use std::collections::VecDeque;

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::publish_entry::Entry as WireEntry;
use bellboard_proto::v1::{AppendResult, DeltaAppend, ErrorReason, EventAppend, PublishBatch, PublishEntry};
use prost::Message as _;
use tokio::sync::oneshot;

use super::deltas::Deltas;
use crate::error::Result;

/// No append is longer: the contract's 256 KiB of an event and its raw content fit, and a batch of 4 MiB holds it.
pub const APPEND_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What one frame carries at most: few enough bytes that an acknowledgement is never far behind, many enough entries that a
/// commit is shared.
const BATCH_ENTRIES_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Answers an append.
pub(super) type Answer = oneshot::Sender<Result<AppendResult>>;

#[derive(Debug)]
pub(super) struct Waiting {
    /// Boxed, since an event has room for its largest payload.
    pub(super) append: Box<EventAppend>,
    pub(super) bytes: usize,
    /// `None` for one that another process took.
    pub(super) answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Append(Waiting),
    Delta { delta: DeltaAppend, bytes: usize },
}

/// How much may be sent and not yet acknowledged, as the hub said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// What an acknowledgement came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Taken.
    Taken,
    /// The hub misses an append before this one: begin again from what it has.
    OutOfStep,
    /// The append's session was held under a newer fence since: the writer must open anew before it may have it.
    Fenced,
}

/// What a freshly opened stream's `last_seq` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resync {
    /// What waits goes on from it.
    InStep,
    /// The hub has less than it acknowledged: what waits has new seqs now, and the disk must be told.
    Renumbered,
    /// The hub has consumed seqs that were never given out here: somebody else writes as this writer.
    Overtaken,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Events under way, by seq.
    sent: VecDeque<Waiting>,
    sent_bytes: usize,
    /// What follows them.
    unsent: VecDeque<Entry>,
    /// Events of both, and their bytes.
    events: usize,
    bytes: usize,
    /// The next event's.
    next_seq: u64,
    /// How many events were ever taken. What of them waits is in `events`, and the rest is answered.
    taken: u64,
    pub(super) deltas: Deltas,
}

impl Queue {
    pub(super) fn new(last_seq: u64, waiting: Vec<EventAppend>) -> Queue {
        let mut queue = Queue {
            sent: VecDeque::new(),
            sent_bytes: 0,
            unsent: VecDeque::new(),
            events: 0,
            bytes: 0,
            next_seq: last_seq + 1,
            taken: 0,
            deltas: Deltas::default(),
        };
        for append in waiting {
            queue.push(append, None);
        }
        queue
    }

    pub(super) const fn events(&self) -> usize {
        self.events
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq that the next event gets.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Up to where everything is answered.
    pub(super) const fn acknowledged_until(&self) -> u64 {
        self.next_seq - self.events as u64
    }

    /// The last seq that is known as acknowledged, before which all are.
    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged_until() - 1
    }

    /// How many events were taken so far. Unlike seqs this never goes back.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them, in their order, are answered.
    pub(super) const fn answered(&self) -> u64 {
        self.taken.saturating_sub(self.events as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events == 0 && self.unsent.is_empty()
    }

    /// Whether events are under way.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.sent.is_empty()
    }

    pub(super) fn push(&mut self, mut append: EventAppend, answer: Option<Answer>) {
        append.seq = self.next_seq;
        self.next_seq += 1;
        self.taken += 1;
        if let Some(event) = &append.event {
            self.deltas.event_taken(event);
        }
        let bytes = append.encoded_len();
        self.events += 1;
        self.bytes += bytes;
        self.unsent.push_back(Entry::Append(Waiting {
            append: Box::new(append),
            bytes,
            answer,
        }));
    }

    pub(super) fn push_delta(&mut self, delta: DeltaAppend) {
        let last = match self.unsent.back_mut() {
            Some(Entry::Delta { delta, bytes }) => Some((delta, bytes)),
            Some(Entry::Append(_)) | None => None,
        };
        if let Some((delta, bytes)) = self.deltas.take(delta, last) {
            self.unsent.push_back(Entry::Delta { delta, bytes });
        }
    }

    /// What to send next within the window. `None`: nothing, or nothing now.
    pub(super) fn next_batch(&mut self, window: Window) -> Option<PublishBatch> {
        let mut batch = PublishBatch::default();
        let mut batch_bytes = 0;
        while let Some(entry) = self.unsent.front() {
            let bytes = match entry {
                Entry::Append(waiting) => {
                    let fits = self.sent.len() < window.events && self.sent_bytes + waiting.bytes <= window.bytes;
                    if !fits && !self.sent.is_empty() {
                        break;
                    }
                    waiting.bytes
                }
                Entry::Delta { bytes, .. } => *bytes,
            };
            let is_full = batch.entries.len() >= BATCH_ENTRIES_MAX || batch_bytes + bytes > BATCH_BYTES_MAX;
            if is_full && !batch.entries.is_empty() {
                break;
            }
            batch_bytes += bytes;
            batch.entries.extend(self.send_front());
        }
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// Whether [`Queue::next_batch`] would give one.
    pub(super) fn has_batch(&self, window: Window) -> bool {
        match self.unsent.front() {
            Some(Entry::Append(waiting)) => {
                self.sent.is_empty()
                    || (self.sent.len() < window.events && self.sent_bytes + waiting.bytes <= window.bytes)
            }
            Some(Entry::Delta { .. }) => true,
            None => false,
        }
    }

    fn send_front(&mut self) -> Option<PublishEntry> {
        let entry = match self.unsent.pop_front()? {
            Entry::Append(waiting) => {
                let append = EventAppend::clone(&waiting.append);
                self.sent_bytes += waiting.bytes;
                self.sent.push_back(waiting);
                WireEntry::Append(append)
            }
            Entry::Delta { delta, bytes } => {
                self.deltas.sent(bytes);
                WireEntry::Delta(delta)
            }
        };
        Some(PublishEntry { entry: Some(entry) })
    }

    /// Takes the answer to the oldest event under way.
    pub(super) fn acknowledge(&mut self, result: AppendResult) -> Acknowledged {
        match self.sent.front() {
            Some(oldest) if oldest.append.seq == result.seq => {}
            // An answer to something else: what is under way is not what the hub thinks.
            Some(_) | None => return Acknowledged::OutOfStep,
        }
        if let Some(Outcome::Rejected(rejected)) = &result.outcome {
            // Every other reason consumes the seq: the event is answered, and the rest goes on.
            if rejected.reason() == ErrorReason::SeqGap {
                return Acknowledged::OutOfStep;
            } else if rejected.reason() == ErrorReason::Fenced {
                return Acknowledged::Fenced;
            }
        }
        if let Some(Waiting { bytes, answer, .. }) = self.sent.pop_front() {
            self.sent_bytes -= bytes;
            self.bytes -= bytes;
            self.events -= 1;
            if let Some(answer) = answer {
                // Nobody waits for an answer whose ticket was dropped.
                let _ = answer.send(Ok(result));
            }
        }
        Acknowledged::Taken
    }

    /// Whether the hub, which has all up to this seq, has less than it acknowledged.
    pub(super) const fn is_ahead_of(&self, last_seq: u64) -> bool {
        last_seq < self.acknowledged()
    }

    /// A new connection is open, on which nothing was sent yet: what is unanswered is to be sent again. `kept` is what is still here of the
    /// acknowledged events that the hub has lost: it goes before them.
    pub(super) fn resync(&mut self, last_seq: u64, kept: Vec<EventAppend>) -> Resync {
        for waiting in self.sent.drain(..).rev() {
            self.unsent.push_front(Entry::Append(waiting));
        }
        self.sent_bytes = 0;
        for append in kept.into_iter().rev() {
            let bytes = append.encoded_len();
            self.events += 1;
            self.bytes += bytes;
            self.unsent.push_front(Entry::Append(Waiting {
                append: Box::new(append),
                bytes,
                answer: None,
            }));
        }
        if last_seq >= self.next_seq {
            return Resync::Overtaken;
        }
        if last_seq + 1 >= self.acknowledged_until() {
            return Resync::InStep;
        }
        let mut seq = last_seq;
        for entry in &mut self.unsent {
            if let Entry::Append(waiting) = entry {
                seq += 1;
                waiting.append.seq = seq;
            }
        }
        self.next_seq = seq + 1;
        Resync::Renumbered
    }

    /// The events that wait, in order. Only complete while nothing is under way.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &EventAppend> {
        self.unsent.iter().filter_map(|entry| match entry {
            Entry::Append(waiting) => Some(&*waiting.append),
            Entry::Delta { .. } => None,
        })
    }

    /// Gives up: takes the answers that are owed.
    pub(super) fn drain_answers(&mut self) -> Vec<Answer> {
        let unsent = self.unsent.drain(..).filter_map(|entry| match entry {
            Entry::Append(waiting) => Some(waiting),
            Entry::Delta { .. } => None,
        });
        self.sent
            .drain(..)
            .chain(unsent)
            .filter_map(|waiting| waiting.answer)
            .collect()
    }
}

#[cfg(test)]
mod tests;
