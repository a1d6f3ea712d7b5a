//! From history to live and back, for one subscriber: the deciding part.
//!
//! Believe this: there is no seam. A subscriber holds one place, reads from it towards the tail, and waits when it is there. History
//! is a read far behind, live is a read one behind. Nothing is pushed, so nothing can be pushed twice or forgotten.
//!
//! ```text
//! next < tail, nothing due before the tail --> (Skip: next = tail)
//! next < tail, before what is kept         --> Gone
//! next < tail, inside the window           --> Read from the window
//! next < tail, before the window, live     --> FellBehind, then as below
//! next < tail, before the window           --> Read from the store
//! next = tail, first time                  --> CaughtUp
//! next > tail, or before a snapshot held   --> Wait
//! next = tail, texts not in step           --> SyncTexts
//! next = tail, fragments due               --> ReadDeltas
//! otherwise                                --> Wait
//! ```

use crate::interest::index::Reach;
use crate::link::Link;
use crate::offset::Offset;

/// What the subscriber can see at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How far the log reaches, and what of it is due to this subscriber.
    pub reach: Reach,
    /// Smallest offset that is given out: what lies before it is trimmed, or too old.
    pub oldest: Offset,
    /// The oldest offset in the window.
    pub window_start: Offset,
}

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The newest events, in memory.
    Window,
    /// All events.
    Store,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read `[from, until)`, then say how far it went by [`Handoff::has_read`].
    Read {
        /// Where to read.
        source: Source,
        /// The first offset.
        from: Offset,
        /// The tail.
        until: Offset,
    },
    /// What lies before this offset is no longer kept: find out whether any of it was wanted. Go on there by [`Handoff::has_read`]
    /// where none was, and by [`Handoff::has_lost`] where some was.
    Gone(Offset),
    /// Tell that the subscriber has everything before this offset.
    CaughtUp(Offset),
    /// Tell that the subscriber was too slow for the window, by so many events.
    FellBehind(u64),
    /// Give the texts so far of all open items, then say so by [`Handoff::has_texts`].
    SyncTexts,
    /// Give fragments from this number on, then say how far it went by [`Handoff::has_deltas`].
    ReadDeltas(u64),
    /// Wait until woken.
    Wait,
}

/// Where the subscriber stands among the fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragments {
    /// It does not want any.
    Unwanted,
    /// It may have missed some: it needs the texts first.
    Unsynced,
    /// It has the texts as they were before this fragment.
    From(u64),
}

/// Whether the subscriber was told that it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Replay,
    Live,
}

/// One subscriber's place.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// All wanted events before it have been read.
    next: Offset,
    /// The link before `next`.
    link: Link,
    /// All offsets before it have been accounted for in a frame. Between `told` and `next` lies nothing that is wanted.
    told: (Offset, Link),
    phase: Phase,
    fragments: Fragments,
    /// The offset that the newest snapshot of sessions is as of, which left the place where it was.
    held: Offset,
}

impl Handoff {
    /// A subscriber that wants everything from `next` on, and fragments too where `live`.
    #[must_use]
    pub const fn new(next: Offset, link: Link, live: Live) -> Handoff {
        let fragments = match live {
            Live::Wanted => Fragments::Unsynced,
            Live::Unwanted => Fragments::Unwanted,
        };
        Handoff {
            next,
            link,
            told: (next, link),
            phase: Phase::Replay,
            fragments,
            held: Offset::ZERO,
        }
    }

    /// The next offset to read, and the link before it.
    #[must_use]
    pub const fn place(&self) -> (Offset, Link) {
        (self.next, self.link)
    }

    /// How far the subscriber was given anything: its place, or a snapshot that is ahead of it.
    #[must_use]
    pub fn ahead(&self) -> Offset {
        self.next.max(self.held)
    }

    /// The offset up to which frames have accounted for everything, and the link before it: what a resume token holds. Whoever comes
    /// back with it is accounted to from there on, so that no offset is in no frame.
    #[must_use]
    pub const fn told(&self) -> (Offset, Link) {
        self.told
    }

    /// What to do in this view.
    pub fn step(&mut self, view: View) -> Step {
        let Reach {
            tail,
            link,
            due,
            delta_due,
        } = view.reach;
        if self.next < tail && due <= self.next {
            // Everything due was read: between here and the tail is nothing for this subscriber.
            self.next = tail;
            self.link = link;
        }
        if self.next < tail {
            return if self.next < view.oldest {
                Step::Gone(view.oldest.min(tail))
            } else {
                self.read(view)
            };
        }
        if self.phase == Phase::Replay {
            self.phase = Phase::Live;
            return Step::CaughtUp(self.next);
        }
        if self.ahead() > tail {
            // What is held was read from the store, a moment before it is announced: an item may have ended there that still counts as open.
            return Step::Wait;
        }
        match self.fragments {
            Fragments::Unsynced => Step::SyncTexts,
            Fragments::From(number) if number < delta_due => Step::ReadDeltas(number),
            Fragments::From(_) | Fragments::Unwanted => Step::Wait,
        }
    }

    fn read(&mut self, view: View) -> Step {
        let behind_window = self.next < view.window_start;
        if behind_window && self.phase == Phase::Live {
            self.phase = Phase::Replay;
            self.lose_texts();
            return Step::FellBehind(self.next.distance(view.reach.tail));
        }
        let source = if behind_window { Source::Store } else { Source::Window };
        Step::Read {
            source,
            from: self.next,
            until: view.reach.tail,
        }
    }

    /// A read has looked at everything up to `until`.
    ///
    /// # Panics
    /// When the place would move backwards: a broken promise of the reader.
    pub fn has_read(&mut self, until: Offset, link: Link) {
        assert!(until >= self.next, "read went backwards: {} after {}", until, self.next);
        self.next = until;
        self.link = link;
    }

    /// Wanted events before `until` will not come, and the subscriber is about to be told so. With them it may have missed where a text
    /// began or ended.
    pub fn has_lost(&mut self, until: Offset, link: Link) {
        self.has_read(until, link);
        self.phase = Phase::Replay;
        self.lose_texts();
    }

    /// A snapshot of sessions was given that is as of `offset`. The place stays; of those sessions the texts are missing.
    pub fn has_snapshot(&mut self, offset: Offset) {
        self.held = self.held.max(offset);
        self.phase = Phase::Replay;
        self.lose_texts();
    }

    /// From here on fragments are wanted, be it of other sessions than before, or they are not.
    pub const fn wants(&mut self, live: Live) {
        self.fragments = match live {
            Live::Wanted => Fragments::Unsynced,
            Live::Unwanted => Fragments::Unwanted,
        };
    }

    /// The texts so far were given, as they were before this fragment.
    pub const fn has_texts(&mut self, number: u64) {
        self.fragments = Fragments::From(number);
    }

    /// Fragments were given, up to this one.
    ///
    /// # Panics
    /// When the number would move backwards: a broken promise of the reader.
    pub fn has_deltas(&mut self, until: u64) {
        assert!(
            matches!(self.fragments, Fragments::From(number) if number <= until),
            "fragments went backwards"
        );
        self.fragments = Fragments::From(until);
    }

    /// Fragments were missed, so the texts must come first.
    pub fn lose_texts(&mut self) {
        if self.fragments != Fragments::Unwanted {
            self.fragments = Fragments::Unsynced;
        }
    }

    /// The range that the next accounting frame covers, which is accounted for from now on.
    pub fn tell(&mut self) -> (Offset, Offset) {
        let (from, _) = std::mem::replace(&mut self.told, (self.next, self.link));
        (from, self.next)
    }

    /// Whether offsets were passed that no frame has accounted for yet.
    #[must_use]
    pub fn untold(&self) -> bool {
        self.told.0 < self.next
    }
}

/// Whether a subscriber wants fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// It does.
    Wanted,
    /// It does not.
    Unwanted,
}

#[cfg(test)]
mod tests;
