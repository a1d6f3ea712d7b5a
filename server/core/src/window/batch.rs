//! What reads of the window found, kept for the next reader who asks for the same.
//!
//! Believe this: nothing in a batch ever changes, and whoever is given one has what he would have found by himself. So subscribers who
//! want the same and stand at the same place share one list of events, and the one message that the wire made of it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::event::Event;
use crate::interest::Interests;
use crate::limits;
use crate::link::Link;
use crate::offset::Offset;
use crate::resume_token::{KeyId, Place};

/// Events that were read in one piece.
#[derive(Debug)]
pub struct Batch {
    /// The events, in offset order.
    pub events: Vec<Event>,
    /// How far was looked.
    pub until: Offset,
    /// The link before `until`.
    pub link: Link,
    /// What the wire made of it first.
    message: OnceLock<(Made, Bytes)>,
}

/// What a message holds beside a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where the frame begins: at what was asked for, or further back.
    pub from: Offset,
    /// What its resume token stands for.
    pub place: Place,
    /// What its resume token is signed with.
    pub key: KeyId,
}

impl Batch {
    /// Events that were looked for up to `until`.
    #[must_use]
    pub const fn new(events: Vec<Event>, until: Offset, link: Link) -> Batch {
        Batch {
            events,
            until,
            link,
            message: OnceLock::new(),
        }
    }

    /// The message that `make` makes of it, made once where all readers have the same beside it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn message<E>(&self, made: Made, make: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        if let Some((known, message)) = self.message.get()
            && *known == made
        {
            return Ok(message.clone());
        }
        let message = make()?;
        // Where two make it at once, the first is kept; they are equal.
        let _ = self.message.set((made, message.clone()));
        Ok(message)
    }

    /// Bytes that it holds, with the message that is made of it sooner or later.
    fn bytes(&self) -> usize {
        let events: usize = self.events.iter().map(|event| event.bytes.len()).sum();
        2 * events + (self.events.len() + 1) * limits::WINDOW_SLOT_OVERHEAD_BYTES
    }
}

/// What a reader of the window wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Which events.
    pub interests: &'a Interests,
    /// Their hash.
    pub interests_hash: u64,
    /// The first offset.
    pub from: Offset,
    /// The offset to stop before.
    pub until: Offset,
    /// Most bytes of events, at least one event.
    pub bytes_max: usize,
}

/// A batch, and what was asked for when it was read.
#[derive(Debug)]
struct Kept {
    interests: Interests,
    interests_hash: u64,
    from: Offset,
    bytes_max: usize,
    /// It reaches as far as was asked; a longer log would have given more.
    to_the_end: bool,
    bytes: usize,
    batch: Arc<Batch>,
}

impl Kept {
    fn answers(&self, wish: &Wish<'_>) -> bool {
        let Wish {
            interests,
            interests_hash,
            from,
            until,
            bytes_max,
        } = *wish;
        self.from == from
            && self.interests_hash == interests_hash
            && self.bytes_max == bytes_max
            && (self.batch.until == until || (!self.to_the_end && self.batch.until < until))
            && self.interests == *interests
    }
}

/// The batches of one window, the newest last.
#[derive(Debug, Default)]
pub(super) struct Batches {
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Batches {
    /// The batch that a read of this would give.
    pub(super) fn find(&self, wish: &Wish<'_>) -> Option<Arc<Batch>> {
        // Subscribers follow one another closely: what they want is mostly the newest.
        let kept = self.kept.iter().rev().find(|kept| kept.answers(wish));
        kept.map(|kept| kept.batch.clone())
    }

    /// Keeps a batch, and gives how many bytes are held more, and how many less.
    pub(super) fn keep(&mut self, wish: &Wish<'_>, batch: Arc<Batch>) -> (usize, usize) {
        let bytes = batch.bytes();
        self.kept.push_back(Kept {
            interests: wish.interests.clone(),
            interests_hash: wish.interests_hash,
            from: wish.from,
            bytes_max: wish.bytes_max,
            to_the_end: batch.until == wish.until,
            bytes,
            batch,
        });
        self.bytes += bytes;
        let mut dropped = 0;
        while self.bytes > limits::BATCHES_BYTES_MAX || self.kept.len() > limits::BATCHES_MAX {
            match self.drop_oldest() {
                Some(bytes) => dropped += bytes,
                None => break,
            }
        }
        (bytes, dropped)
    }

    /// Lets the oldest go, and gives how many bytes it held.
    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let kept = self.kept.pop_front()?;
        self.bytes -= kept.bytes;
        Some(kept.bytes)
    }
}

#[cfg(test)]
mod tests;
