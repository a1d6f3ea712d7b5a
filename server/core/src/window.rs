//! The newest events of a log, in memory, shared by all its subscribers.
//!
//! Believe this: the window is a suffix of the log without holes. A read that begins inside it sees exactly what the store would
//! give; a read that begins before it is told to go there.

pub mod batch;
pub mod deltas;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::event::{Event, Of};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::limits;
use crate::link::Link;
use crate::offset::Offset;
use batch::{Batch, Batches, Wish};

/// What all windows of a process may hold together.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    windows: AtomicUsize,
    /// Whose window must shrink when another one has grown. Held for one look or one entry, never while a window is.
    holders: Mutex<Vec<Weak<Mutex<Window>>>>,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            windows: AtomicUsize::new(0),
            holders: Mutex::default(),
        })
    }

    /// A new window under this budget, empty at the tail of a log.
    #[must_use]
    pub fn window(self: &Arc<Self>, tail: Offset, link: Link) -> Arc<Mutex<Window>> {
        let window = Arc::new(Mutex::new(Window::new(tail, link, self.clone())));
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.retain(|held| held.strong_count() > 0);
        holders.push(Arc::downgrade(&window));
        window
    }

    /// Where the process is over its limit, lets the windows shrink that hold more than their fair share: those that grew while there were
    /// fewer. To be called after a push, holding no window.
    pub fn relieve(&self) {
        if self.used_bytes() <= self.limit_bytes {
            return;
        }
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let windows: Vec<_> = holders.iter().filter_map(Weak::upgrade).collect();
        drop(holders);
        for window in windows {
            window.lock().unwrap_or_else(PoisonError::into_inner).shrink();
        }
    }

    const fn share(&self, windows: usize) -> usize {
        match windows {
            0 => self.limit_bytes,
            windows => self.limit_bytes / windows,
        }
    }

    /// Bytes held by all windows.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether a window of `own_bytes` must shrink: the process is over its limit, and the window over its fair share of it. A busy
    /// tenant thus never costs a quiet one its window.
    fn exceeded_by(&self, own_bytes: usize) -> bool {
        let share = self.share(self.windows.load(Ordering::Relaxed));
        self.used_bytes() > self.limit_bytes && own_bytes > share
    }

    /// The same for a window that shrinks for another's sake: a little more goes than must, so that it is not asked again at once.
    fn relieved_by(&self, own_bytes: usize) -> bool {
        let share = self.share(self.windows.load(Ordering::Relaxed));
        self.used_bytes() > self.limit_bytes - self.limit_bytes / 16 && own_bytes > share
    }
}

/// What a read found.
#[derive(Debug)]
pub struct Found {
    /// The wanted events, in offset order.
    pub events: Vec<Event>,
    /// How far was looked.
    pub until: Offset,
    /// The link before `until`.
    pub link: Link,
    /// How many slots were looked at: what the cost rule is asserted by.
    pub visited: usize,
}

/// The newest events of one log.
#[derive(Debug)]
pub struct Window {
    start: Offset,
    /// The link before `start`.
    start_link: Link,
    slots: VecDeque<Event>,
    /// The offsets in `slots` of each session, so that a reader of few sessions skips the others.
    postings: HashMap<SessionId, VecDeque<Offset>>,
    /// The offsets of those that have no session, which are few: a reader of any session looks at them.
    of_tenant: VecDeque<Offset>,
    /// What wide readers were given of late.
    batches: Batches,
    /// Of slots and batches.
    bytes: usize,
    budget: Arc<Budget>,
}

impl Window {
    /// An empty window at the tail of a log.
    #[must_use]
    pub fn new(tail: Offset, link: Link, budget: Arc<Budget>) -> Window {
        budget.windows.fetch_add(1, Ordering::Relaxed);
        Window {
            start: tail,
            start_link: link,
            slots: VecDeque::new(),
            postings: HashMap::new(),
            of_tenant: VecDeque::new(),
            batches: Batches::default(),
            bytes: 0,
            budget,
        }
    }

    /// The oldest offset held.
    #[must_use]
    pub const fn start(&self) -> Offset {
        self.start
    }

    /// One past the newest offset held.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.start.0 + self.slots.len() as u64)
    }

    /// Adds an event at the end and lets the oldest go while the budget is exceeded.
    ///
    /// # Panics
    /// When the event does not follow the last one: a broken promise of the appender.
    pub fn push(&mut self, event: Event) {
        assert!(
            event.offset == self.end(),
            "window is at {}, not at {}",
            self.end(),
            event.offset
        );
        self.holds_more(cost(&event));
        match &event.of {
            Of::Session(of) => {
                let posting = self.postings.entry(of.routing.session.clone()).or_default();
                posting.push_back(event.offset);
            }
            Of::Tenant(_) => self.of_tenant.push_back(event.offset),
        }
        self.slots.push_back(event);
        while self.budget.exceeded_by(self.bytes) && (self.drop_batch() || self.trim_one()) {}
    }

    fn shrink(&mut self) {
        while self.budget.relieved_by(self.bytes) && (self.drop_batch() || self.trim_one()) {}
    }

    /// Empties the window and begins anew at a tail that was reached without it.
    pub fn restart(&mut self, tail: Offset, link: Link) {
        while self.drop_batch() || self.trim_one() {}
        self.start = tail;
        self.start_link = link;
    }

    /// Lets everything before `oldest` go.
    pub fn trim(&mut self, oldest: Offset) {
        if self.start < oldest {
            while self.drop_batch() {}
        }
        while self.start < oldest && self.trim_one() {}
    }

    /// The link before an offset that the window can tell.
    #[must_use]
    pub fn link_before(&self, offset: Offset) -> Option<Link> {
        if offset == self.start {
            return Some(self.start_link);
        }
        let at = offset.0.checked_sub(self.start.0 + 1)?;
        self.slots.get(usize::try_from(at).ok()?).map(|event| event.link)
    }

    /// What [`Window::read`] finds, shared with all who ask for the same; and how many slots were looked at for it. Readers of single
    /// sessions read for themselves: they are few of each, and find what they want by its postings.
    pub fn share(&mut self, mut wish: Wish<'_>) -> Option<(Arc<Batch>, usize)> {
        if wish.from < self.start {
            return None;
        }
        let wide = wish.interests.single_sessions().is_none();
        if wide {
            wish.until = aligned(&wish);
            if let Some(batch) = self.batches.find(&wish) {
                return Some((batch, 0));
            }
        }
        let found = self.read(wish.interests, wish.from, wish.until, wish.bytes_max)?;
        let batch = Arc::new(Batch::new(found.events, found.until, found.link));
        if wide && !batch.events.is_empty() {
            let (more, less) = self.batches.keep(&wish, batch.clone());
            self.holds_more(more);
            self.holds_less(less);
            while self.budget.exceeded_by(self.bytes) && self.drop_batch() {}
        }
        Some((batch, found.visited))
    }

    /// Wanted events of `[from, until)`, up to [`limits::FRAME_EVENTS_MAX`] of them and about `bytes_max` bytes, at least one, among
    /// the first [`limits::SCAN_EVENTS_MAX`] that are looked at; none when `from` lies before the window.
    #[must_use]
    pub fn read(&self, interests: &Interests, from: Offset, until: Offset, bytes_max: usize) -> Option<Found> {
        if from < self.start {
            return None;
        }
        let mut found = Found {
            events: Vec::new(),
            until: from,
            link: self.link_before(from)?,
            visited: 0,
        };
        let mut bytes = 0;
        let (candidates, until) = self.candidates(interests, from, until);
        for event in candidates {
            // The window is locked meanwhile: a selective read of a long one goes on where it stopped.
            if found.visited == limits::SCAN_EVENTS_MAX {
                found.until = event.offset;
                found.link = self.link_before(event.offset)?;
                return Some(found);
            }
            found.visited += 1;
            if !interests.want_event(event) {
                continue;
            }
            let full =
                found.events.len() >= limits::FRAME_EVENTS_MAX || (bytes > 0 && bytes + event.bytes.len() > bytes_max);
            if full {
                found.until = event.offset;
                found.link = self.link_before(event.offset)?;
                return Some(found);
            }
            bytes += event.bytes.len();
            found.events.push(event.clone());
        }
        found.until = until;
        found.link = self.link_before(until)?;
        Some(found)
    }

    /// The slots worth looking at: by session where few sessions are wanted, all in the range otherwise. And how far they reach,
    /// which is less than `until` where a session has more of them than one frame can take.
    fn candidates<'a>(
        &'a self,
        interests: &Interests,
        from: Offset,
        mut until: Offset,
    ) -> (Box<dyn Iterator<Item = &'a Event> + 'a>, Offset) {
        let slot = |offset: Offset| {
            self.slots
                .get(usize::try_from(offset.0 - self.start.0).unwrap_or(usize::MAX))
        };
        let Some(sessions) = interests.single_sessions() else {
            let skip = usize::try_from(from.0 - self.start.0).unwrap_or(usize::MAX);
            let all = self.slots.iter().skip(skip);
            return (Box::new(all.take_while(move |event| event.offset < until)), until);
        };
        let mut offsets: Vec<Offset> = Vec::new();
        let of_tenant = interests.look_at_tenant().then_some(&self.of_tenant);
        let of_sessions = sessions.into_iter().filter_map(|session| self.postings.get(session));
        for posting in of_sessions.chain(of_tenant) {
            let begin = posting.partition_point(|offset| *offset < from);
            // Not looked at is not read: the range ends where the first session was left.
            until = posting
                .get(begin + limits::FRAME_EVENTS_MAX + 1)
                .map_or(until, |beyond| until.min(*beyond));
            offsets.extend(posting.range(begin..).take_while(|offset| **offset < until));
        }
        offsets.sort_unstable();
        let within = offsets.into_iter().take_while(move |offset| *offset < until);
        (Box::new(within.filter_map(slot)), until)
    }

    fn trim_one(&mut self) -> bool {
        let Some(event) = self.slots.pop_front() else {
            return false;
        };
        self.holds_less(cost(&event));
        self.start = event.offset.next();
        self.start_link = event.link;
        let Some(session) = event.in_session().map(|of| &of.routing.session) else {
            self.of_tenant.pop_front();
            return true;
        };
        if let Some(posting) = self.postings.get_mut(session) {
            posting.pop_front();
            if posting.is_empty() {
                self.postings.remove(session);
            }
        }
        true
    }

    fn drop_batch(&mut self) -> bool {
        let dropped = self.batches.drop_oldest();
        self.holds_less(dropped.unwrap_or_default());
        dropped.is_some()
    }

    fn holds_more(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn holds_less(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.windows.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a read of everything stops: readers who came from different places far behind thus soon stand at the same ones.
fn aligned(wish: &Wish<'_>) -> Offset {
    if !wish.interests.everything() {
        return wish.until;
    }
    let frame = limits::FRAME_EVENTS_MAX as u64;
    wish.until.min(Offset((wish.from.0 / frame + 1) * frame))
}

fn cost(event: &Event) -> usize {
    // Events that share an audience each count it: that is too much, and never too little.
    let audience = match &event.of {
        Of::Session(_) => 0,
        Of::Tenant(audience) => audience.bytes(),
    };
    event.bytes.len() + limits::WINDOW_SLOT_OVERHEAD_BYTES + audience
}

#[cfg(test)]
mod tests;
