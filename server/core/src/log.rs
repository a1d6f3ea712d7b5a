//! One tenant's log as this process holds it: its identity, the newest of it in memory, and who listens.
//!
//! Believe this: what is announced here is already durable. *Readable first, announced second*: the window, then the open items,
//! then the tail.

mod age;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::appender::counters::STORE_MICROSECONDS;
use crate::event::{Encode, Event};
use crate::handoff::View;
use crate::interest::Interests;
use crate::interest::index::{Due, InterestIndex, Seat, SeatId};
use crate::lease::Leases;
use crate::link::Link;
use crate::meter::{Histogram, Tally};
use crate::offset::Offset;
use crate::publishing::Publishing;
use crate::retention::Retention;
use crate::store::{LogRow, Store};
use crate::subscription::frame::{Answer, ClosingReason};
use crate::window::deltas::{Delta, DeltaWindow, Dropped};
use crate::window::{Budget, Window};

/// How much work the log did for its subscribers.
#[derive(Debug)]
pub struct Counters {
    /// Slots of the window that reads looked at.
    pub slots_visited: AtomicU64,
    /// Reads that went to the store.
    pub store_reads: AtomicU64,
    /// Events handed to subscribers.
    pub deliveries: AtomicU64,
    /// Microseconds that each read of the store took.
    pub read_microseconds: Histogram,
    /// How the starts of streams were answered.
    pub answers: Tally<Answer>,
    /// How streams ended politely.
    pub closings: Tally<ClosingReason>,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            slots_visited: AtomicU64::new(0),
            store_reads: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            read_microseconds: Histogram::new(STORE_MICROSECONDS),
            answers: Tally::default(),
            closings: Tally::default(),
        }
    }
}

/// A tenant's log. Held by the hub for the life of the process and by each of its subscriptions.
#[derive(Debug)]
pub struct Log {
    row: LogRow,
    store: Arc<dyn Store>,
    /// Tells when an event was stored.
    encode: Arc<dyn Encode>,
    retention: Retention,
    kept: age::Kept,
    /// Each lock is held for the length of one method, never over an await. Order where several are taken: window, deltas, index.
    window: Arc<Mutex<Window>>,
    budget: Arc<Budget>,
    deltas: Mutex<DeltaWindow>,
    index: Mutex<InterestIndex>,
    /// Its writers' leases. Taken while none of the others is held.
    leases: Mutex<Leases>,
    publishing: Arc<Publishing>,
    counters: Counters,
}

impl Log {
    /// The log of this row, with an empty window at its tail. What `retention` calls too old it does not give out.
    #[must_use]
    pub fn new(
        row: LogRow,
        store: Arc<dyn Store>,
        encode: Arc<dyn Encode>,
        budget: Arc<Budget>,
        retention: Retention,
    ) -> Log {
        Log {
            window: budget.window(row.tail, row.link),
            budget,
            deltas: Mutex::default(),
            leases: Mutex::default(),
            publishing: Arc::default(),
            index: Mutex::new(InterestIndex::new(row.tail, row.link)),
            counters: Counters::default(),
            kept: age::Kept::from(row.oldest),
            row,
            store,
            encode,
            retention,
        }
    }

    /// Its identity: number, tenant, epoch and link key. All else is as it was when the log was opened; see [`Log::tail`] and
    /// [`Log::oldest`].
    #[must_use]
    pub const fn row(&self) -> &LogRow {
        &self.row
    }

    /// Where it lasts.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Work done for subscribers.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// First offset that was not announced yet, and the link before it.
    #[must_use]
    pub fn tail(&self) -> (Offset, Link) {
        lock(&self.index).tail()
    }

    /// How many subscribe.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        lock(&self.index).len()
    }

    /// How often subscribers were woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        lock(&self.index).wakes()
    }

    /// How many fragments went no further.
    #[must_use]
    pub fn dropped_deltas(&self) -> u64 {
        lock(&self.deltas).dropped()
    }

    /// Announces events that were committed: first readable, then counted, then told.
    pub fn announce(&self, events: &[Event], tail: Offset, link: Link) {
        self.publish(events, tail, link, |deltas| {
            events.iter().for_each(|event| deltas.observe(event));
        });
    }

    /// Announces events that another node stored, all that lie between what is announced and `tail`. The texts of items that they start are
    /// at that node; `name` tells an event's item id.
    pub(crate) fn announce_others(
        &self,
        events: &[Event],
        name: impl Fn(&Event) -> Arc<str>,
        tail: Offset,
        link: Link,
    ) {
        self.publish(events, tail, link, |deltas| deltas.recover(events, name));
    }

    fn publish(&self, events: &[Event], tail: Offset, link: Link, observe: impl FnOnce(&mut DeltaWindow)) {
        {
            let mut window = lock(&self.window);
            events.iter().for_each(|event| window.push(event.clone()));
        }
        self.budget.relieve();
        observe(&mut lock(&self.deltas));
        let due = events.iter().map(|event| Due {
            of: &event.of,
            family: event.family,
            offset: event.offset,
        });
        lock(&self.index).publish(due, tail, link);
    }

    /// Announces a tail that was reached without this process: by another one, or by a commit whose outcome nobody told. What lies
    /// before it is in the store only, and counts as due to everybody.
    pub fn catch_up(&self, tail: Offset, link: Link) {
        if self.tail().0 >= tail {
            return;
        }
        lock(&self.window).restart(tail, link);
        lock(&self.deltas).restart();
        lock(&self.index).publish_unseen(tail, link);
    }

    /// Takes notice that everything before `oldest` was trimmed, by this process or another.
    pub fn trimmed(&self, oldest: Offset) {
        if self.kept.trimmed(oldest) {
            lock(&self.window).trim(oldest);
        }
    }

    /// Its writers' leases. To be held for one look or one change, never over an await.
    pub fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open streams of its writers.
    #[must_use]
    pub const fn publishing(&self) -> &Arc<Publishing> {
        &self.publishing
    }

    /// Takes a fragment and wakes who may receive it.
    ///
    /// # Errors
    /// Why it goes no further; nobody needs to do anything about it.
    pub fn push_delta(&self, delta: &Delta) -> Result<(), Dropped> {
        let (tail, _) = self.tail();
        let pushed = lock(&self.deltas).push(delta, tail)?;
        for (routing, family) in &pushed.wake {
            lock(&self.index).publish_delta(routing, *family, pushed.due);
        }
        Ok(())
    }

    /// Takes notice of the newest events, in offset order, before anybody subscribes: see [`DeltaWindow::recover`].
    pub(crate) fn recover(&self, events: &[Event], name: impl Fn(&Event) -> Arc<str>) {
        lock(&self.deltas).recover(events, name);
    }

    /// The newest events.
    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// The fragments and open items.
    pub(crate) fn deltas(&self) -> MutexGuard<'_, DeltaWindow> {
        lock(&self.deltas)
    }

    /// What a subscriber in this seat can see now.
    pub(crate) fn view(&self, seat: &Seat) -> View {
        let reach = lock(&self.index).reach(seat);
        // Looked at after the tail: a window that moved on meanwhile only sends the reader to the store.
        View {
            reach,
            oldest: self.oldest(),
            window_start: lock(&self.window).start(),
        }
    }

    pub(crate) fn enter(&self, interests: &Interests) -> (SeatId, Arc<Seat>) {
        lock(&self.index).enter(interests)
    }

    /// Wakes a seat once `place` was announced, if it was not yet.
    pub(crate) fn await_tail(&self, seat: SeatId, place: Offset) {
        lock(&self.index).await_tail(seat, place);
    }

    /// Gives a seat to other interests, between two tails.
    pub(crate) fn change_seat(&self, seat: SeatId, old: &Interests, new: &Interests) {
        lock(&self.index).change(seat, old, new);
    }

    pub(crate) fn leave(&self, seat: SeatId, interests: &Interests) {
        lock(&self.index).leave(seat, interests);
    }

    pub(crate) fn count(counter: &AtomicU64, by: usize) {
        counter.fetch_add(by as u64, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Between two locks is where the order of things matters: the handoff's model test lets all others run here.
    #[cfg(test)]
    crate::testing::point();
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
