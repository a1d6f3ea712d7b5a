//! Snapshots as all subscribers of a process share them: read once, encoded once, held within a bound.
//!
//! Believe this: who asks for what somebody else asked for a moment ago gets the same pages, if nothing was stored in between or too
//! many ask. A stream goes on from its snapshot's own offset, so one that is a moment old is as exact as a new one; and a reader that
//! stalls holds pages that others hold too, or that are taken back from it when there are too many.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use crate::clock::Clock;
use crate::event::{Encode, Event, ItemStep};
use crate::id::SessionId;
use crate::interest::{Detail, Interests};
use crate::limits;
use crate::link::Link;
use crate::log::Log;
use crate::offset::{LogKey, Offset};
use crate::store::{self, Only, SessionSnapshot, Shown, SnapshotLimits};
use crate::subscription::entering::Entry;
use crate::subscription::frame::SnapshotEntry;
use crate::subscription::pages::{fit, fitting, pages};
use crate::window::deltas::Opened;

/// Which sessions a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All that the interests see.
    All,
    /// Those that entered the interests there.
    Entered(Entry),
    /// Those that the interests select which are beyond these.
    Beyond(Interests),
}

/// What two who share a snapshot have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wish {
    log: LogKey,
    interests: Interests,
    frame_bytes: usize,
    scope: Scope,
}

impl Wish {
    /// The interests that were added, where it is of those.
    fn added(&self) -> Option<Interests> {
        match &self.scope {
            Scope::All | Scope::Entered(_) => None,
            Scope::Beyond(others) => self.interests.beyond(others),
        }
    }
}

/// A snapshot that is being taken, or was taken.
#[derive(Debug)]
struct Slot {
    /// How often the same was read, this time included, without a pause of [`limits::SNAPSHOT_SHARED_FOR`].
    reads: u32,
    /// When it was read, by the clock's monotonic time, and what was found.
    read: OnceCell<(Duration, Result<Arc<Shared>, store::Error>)>,
}

impl Slot {
    /// Whether it was read a moment ago at the longest, or is being read.
    fn is_young(&self, now: Duration) -> bool {
        let young = |taken: &Duration| now.saturating_sub(*taken) < limits::SNAPSHOT_SHARED_FOR;
        self.read.get().is_none_or(|(taken, _)| young(taken))
    }

    /// Whether what was read is for somebody who needs all before `least`: it holds all of it, or was read so often that it must do.
    fn serves(&self, shared: &Result<Arc<Shared>, store::Error>, scope: &Scope, least: Offset) -> bool {
        // A stream goes on from where a snapshot of everything was read. One of some sessions leaves its place, and must not be older.
        let must_do = *scope == Scope::All && self.reads >= limits::SNAPSHOT_READS_MAX;
        shared
            .as_ref()
            .is_ok_and(|shared| shared.is_whole() && (shared.offset >= least || must_do))
    }
}

/// One snapshot, in the hands of all who read it.
#[derive(Debug)]
pub struct Shared {
    /// It holds everything before this offset.
    pub offset: Offset,
    /// The link before it.
    pub link: Link,
    /// How many sessions it holds.
    pub sessions: u64,
    /// Whether there were more.
    pub truncated: bool,
    /// The sessions that entered, as many as are named.
    pub entered: Box<[SessionId]>,
    /// The sessions that it is of, sorted, where it is not of all: of their events before its offset none is sent.
    of: Box<[SessionId]>,
    bytes: usize,
    /// None once it was taken back. Held for one look.
    pages: Mutex<Option<Box<[Bytes]>>>,
}

/// What a reader of a snapshot is given next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next page.
    Page(Bytes),
    /// Nothing: it was whole.
    End,
    /// Nothing: its pages were taken back, and a newer snapshot is to be read from its beginning.
    Revoked,
}

impl Shared {
    /// The page of this number.
    #[must_use]
    pub fn page(&self, number: usize) -> Turn {
        match &*lock(&self.pages) {
            None => Turn::Revoked,
            Some(pages) => pages.get(number).cloned().map_or(Turn::End, Turn::Page),
        }
    }

    /// One that holds these sessions, for tests that look at nothing else of it.
    #[cfg(test)]
    pub(crate) fn of_sessions(offset: Offset, sessions: &[SessionId]) -> Arc<Shared> {
        let mut of = sessions.to_vec();
        of.sort_unstable();
        Arc::new(Shared {
            offset,
            link: Link(0),
            sessions: of.len() as u64,
            truncated: false,
            entered: Box::default(),
            of: of.into(),
            bytes: 0,
            pages: Mutex::default(),
        })
    }

    /// The sessions of whose events none before its offset is sent, sorted; none where it is of all that the interests see.
    #[must_use]
    pub fn of(&self) -> &[SessionId] {
        &self.of
    }

    fn revoke(&self) {
        *lock(&self.pages) = None;
    }

    fn is_whole(&self) -> bool {
        lock(&self.pages).is_some()
    }
}

/// How often it was worth it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Snapshots that were read from the store.
    pub taken: AtomicU64,
    /// Times that one was asked for.
    pub asked: AtomicU64,
    /// Snapshots whose pages were taken back from readers that had not finished.
    pub revoked: AtomicU64,
}

/// The snapshots of a process.
#[derive(Debug)]
pub struct Snapshots {
    encode: Arc<dyn Encode>,
    clock: Arc<dyn Clock>,
    bytes_max: usize,
    /// Taking one needs a connection to the store and memory of its own: a storm of different ones waits here, while other reads go on.
    taking: Semaphore,
    counters: Counters,
    /// Held for one look or one change, never over an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that a newcomer may share.
    slots: HashMap<Wish, Arc<Slot>>,
    /// Those that somebody holds, oldest first. Their bytes together are what is bounded.
    held: VecDeque<Weak<Shared>>,
}

impl Snapshots {
    /// None yet. All of them together hold about `bytes_max` bytes, and at least the newest one.
    #[must_use]
    pub fn new(encode: Arc<dyn Encode>, clock: Arc<dyn Clock>, bytes_max: usize) -> Arc<Snapshots> {
        Arc::new(Snapshots {
            encode,
            clock,
            bytes_max,
            taking: Semaphore::new(limits::SNAPSHOTS_TAKEN_AT_ONCE),
            counters: Counters::default(),
            state: Mutex::default(),
        })
    }

    /// How often it was worth it.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes of all pages that somebody holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let state = lock(&self.state);
        let held = state.held.iter().filter_map(Weak::upgrade);
        held.filter(|shared| shared.is_whole()).map(|shared| shared.bytes).sum()
    }

    /// What these interests see: everything before `least`, but where many ask for all of it while the log grows. Then it is what was
    /// read up to [`limits::SNAPSHOT_SHARED_FOR`] ago.
    ///
    /// # Errors
    /// When the store cannot be read. All who waited for this read are told; who asks then tries again.
    pub async fn get(
        &self,
        log: &Log,
        interests: &Interests,
        frame_bytes: usize,
        scope: Scope,
        least: Offset,
    ) -> Result<Arc<Shared>, store::Error> {
        let wish = Wish {
            log: log.row().key,
            interests: interests.clone(),
            frame_bytes,
            scope,
        };
        self.counters.asked.fetch_add(1, Ordering::Relaxed);
        loop {
            let slot = self.slot(&wish, least);
            let take = || async {
                let taken = self.take(log, &wish).await;
                (self.clock.elapsed(), taken)
            };
            // Whoever comes first reads, the others wait; if the first one goes away meanwhile, the next one reads.
            let (_, shared) = slot.read.get_or_init(take).await;
            // One that was begun before this was asked may lack what was announced since.
            if shared.as_ref().is_err() || slot.serves(shared, &wish.scope, least) {
                return shared.clone();
            }
        }
    }

    /// The slot to wait at: one that may be shared by who needs all before `least`, or a new one.
    fn slot(&self, wish: &Wish, least: Offset) -> Arc<Slot> {
        let now = self.clock.elapsed();
        let mut state = lock(&self.state);
        let serves = |slot: &Slot| {
            let read = slot.read.get();
            read.is_none_or(|(_, shared)| slot.serves(shared, &wish.scope, least))
        };
        let reads = match state.slots.get(wish).filter(|slot| slot.is_young(now)) {
            Some(slot) if serves(slot) => return slot.clone(),
            Some(slot) => slot.reads + 1,
            None => 1,
        };
        let slot = Arc::new(Slot {
            reads,
            read: OnceCell::new(),
        });
        state.slots.insert(wish.clone(), slot.clone());
        slot
    }

    /// Lets go, every [`limits::SNAPSHOT_SHARED_FOR`], of what may not be shared any more, so that what nobody reads is not kept. A task of
    /// its own, for as long as the process lives.
    pub async fn sweep(self: Arc<Self>) {
        loop {
            self.clock.sleep(limits::SNAPSHOT_SHARED_FOR).await;
            let now = self.clock.elapsed();
            lock(&self.state).slots.retain(|_, slot| slot.is_young(now));
        }
    }

    async fn take(&self, log: &Log, wish: &Wish) -> Result<Arc<Shared>, store::Error> {
        // Never closed: without a permit nothing would be bounded, so an error is as good as a wait.
        let _permit = self.taking.acquire().await;
        let limits = SnapshotLimits {
            sessions: limits::SNAPSHOT_SESSIONS_MAX,
            items: limits::SNAPSHOT_ITEMS_MAX,
            scan: limits::SNAPSHOT_SCAN_MAX,
            bytes: limits::SNAPSHOT_BYTES_MAX,
            row_bytes: limits::SNAPSHOT_ROW_BYTES_MAX,
            oldest: log.look_at_age(self.clock.now()).await?,
        };
        let (mut entered, added) = (Vec::new(), wish.added());
        let only = match &wish.scope {
            Scope::All => Only::All,
            Scope::Beyond(_) => added.as_ref().map_or(Only::These(&[]), Only::SelectedBy),
            Scope::Entered(entry) => {
                let moved = log.store().moved_at(wish.log, entry.at).await?;
                entered = entry.entering(&moved, &wish.interests);
                Only::These(&entered)
            }
        };
        let shown = Shown {
            interests: &wish.interests,
            only,
        };
        let snapshot = log.store().snapshot(wish.log, shown, limits).await?;
        self.counters.taken.fetch_add(1, Ordering::Relaxed);
        let (offset, link) = (snapshot.log.tail, snapshot.log.link);
        let entries = snapshot
            .sessions
            .into_iter()
            .map(|session| entry(log, &wish.interests, session));
        let (mut encoded, mut bytes, mut sessions, mut of): (_, _, _, Vec<SessionId>) = (Vec::new(), 0, 0, Vec::new());
        let mut truncated = snapshot.truncated;
        for page in pages(entries, wish.frame_bytes) {
            if bytes > limits::SNAPSHOT_ENCODED_BYTES_MAX {
                truncated = true;
                break;
            }
            sessions += page.len() as u64;
            if wish.scope != Scope::All {
                of.extend(page.iter().map(|entry| entry.snapshot.session.id.clone()));
            }
            let page = self.encode.snapshot_page(page, offset);
            bytes += page.len();
            encoded.push(page);
            // Encoding is all work: between two pages others have their turn.
            tokio::task::yield_now().await;
        }
        if !truncated {
            // Who left again and came with another is not told of at all. The event's own session was, and is until it is told to leave.
            let own = match &wish.scope {
                Scope::Entered(entry) => Some(&entry.routing.session),
                Scope::All | Scope::Beyond(_) => None,
            };
            of.extend(entered.iter().filter(|id| Some(*id) != own).cloned());
        }
        of.sort_unstable();
        of.dedup();
        entered.truncate(limits::SNAPSHOT_NAMES_MAX);
        let shared = Arc::new(Shared {
            offset,
            link,
            sessions,
            truncated,
            entered: entered.into(),
            of: of.into(),
            bytes,
            pages: Mutex::new(Some(encoded.into())),
        });
        self.hold(&shared);
        Ok(shared)
    }

    /// Counts a new one among the held, and takes the oldest ones back where all are too many.
    fn hold(&self, newest: &Arc<Shared>) {
        let mut state = lock(&self.state);
        state
            .held
            .retain(|held| held.upgrade().is_some_and(|shared| shared.is_whole()));
        let mut held: Vec<Arc<Shared>> = state.held.iter().filter_map(Weak::upgrade).collect();
        let mut bytes = newest.bytes + held.iter().map(|shared| shared.bytes).sum::<usize>();
        for shared in held.drain(..) {
            if bytes <= self.bytes_max {
                break;
            }
            bytes -= shared.bytes;
            shared.revoke();
            state.held.pop_front();
            self.counters.revoked.fetch_add(1, Ordering::Relaxed);
        }
        state.held.push_back(Arc::downgrade(newest));
    }
}

/// A session with the texts of its open items, cut to what a frame takes.
fn entry(log: &Log, interests: &Interests, mut snapshot: SessionSnapshot) -> SnapshotEntry {
    fit(&mut snapshot);
    let texts = match interests.detail(&snapshot.session.routing()) {
        Some(Detail::Content | Detail::Live) => {
            let open = snapshot.items.iter().filter_map(opened);
            // The lock is given back between two items: their texts are large.
            fitting(open.flat_map(|opened| log.deltas().texts_so_far(&opened)))
        }
        Some(Detail::Summary) | None => Vec::new(),
    };
    SnapshotEntry { snapshot, texts }
}

/// The item that this event starts. The store may know of a later start than is announced here; that one's text is not here yet.
fn opened(event: &Event) -> Option<Opened> {
    let started = event.item_step == Some(ItemStep::Started);
    let item = event.item.filter(|_| started)?;
    Some(Opened {
        session: event.in_session()?.routing.session.clone(),
        item,
        started: event.offset,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
