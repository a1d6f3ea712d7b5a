//! Who must be woken for an event, and how far the log reaches: one lock for both.
//!
//! Believe this: *stamped first, published second, both under one lock*. A seat that is taken sees either a tail without the
//! batch, and is stamped by it, or a tail with it, and reads it. There is no third order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::audience::{Audience, AudienceKey};
use crate::event::{Families, Family, InSession, Of, Routing};
use crate::id::SessionId;
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::link::Link;
use crate::offset::Offset;

/// A subscriber's place in the index.
pub type SeatId = u64;

/// What a subscriber and the appender share.
#[derive(Debug, Default)]
pub struct Seat {
    /// One past the newest event that this subscriber will receive. Written under the index's lock only.
    due: AtomicU64,
    /// One past the newest delta that this subscriber may receive. Written under the index's lock only.
    delta_due: AtomicU64,
    /// Holds one permit, so that a wake-up between a look and a wait is not lost.
    wake: Notify,
    /// How often it was woken: what the cost rule is asserted by.
    wakes: AtomicU64,
}

impl Seat {
    /// Waits for the next wake-up. Cancel safe: a wake-up that nobody waited for is kept.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Wakes the subscriber for a reason that lies outside the log.
    pub fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }
}

/// How far a log reaches, and what that means for one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// First unwritten offset.
    pub tail: Offset,
    /// The link before the tail.
    pub link: Link,
    /// One past the newest event that the subscriber will receive, as far as is known.
    pub due: Offset,
    /// One past the newest delta that the subscriber may receive.
    pub delta_due: u64,
}

/// An event as far as the index looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// What it is of.
    pub of: &'a Of,
    /// Its family.
    pub family: Family,
    /// Its place.
    pub offset: Offset,
}

/// One list entry: who, and which families wake it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seat: SeatId,
    events: Families,
    deltas: Families,
}

/// All subscribers of one log, by what they look at.
#[derive(Debug)]
pub struct InterestIndex {
    tail: Offset,
    link: Link,
    seats: HashMap<SeatId, Arc<Seat>>,
    next_seat: SeatId,
    /// How often seats were woken, those included that are no more.
    wakes: u64,
    all: Vec<Entry>,
    projects: HashMap<String, Vec<Entry>>,
    vendors: HashMap<String, Vec<Entry>>,
    sessions: HashMap<SessionId, Vec<Entry>>,
    subtrees: HashMap<SessionId, Vec<Entry>>,
    /// Who wants events without a session, by what an audience has of their selectors. The same as in the lists above: an event finds
    /// its receivers by its own keys, however many subscribe.
    audiences: HashMap<AudienceKey, Vec<Entry>>,
    /// Seats that stand ahead of the tail, and where. Empty but for the moment between a commit and its announcement.
    ahead: Vec<(SeatId, Offset)>,
    /// Reused between batches; empty outside of a method.
    woken: Vec<SeatId>,
}

impl InterestIndex {
    /// An index without subscribers over a log that reaches `tail`.
    #[must_use]
    pub fn new(tail: Offset, link: Link) -> InterestIndex {
        InterestIndex {
            tail,
            link,
            seats: HashMap::new(),
            next_seat: 0,
            wakes: 0,
            all: Vec::new(),
            projects: HashMap::new(),
            vendors: HashMap::new(),
            sessions: HashMap::new(),
            subtrees: HashMap::new(),
            audiences: HashMap::new(),
            ahead: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// How far the log reaches.
    #[must_use]
    pub const fn tail(&self) -> (Offset, Link) {
        (self.tail, self.link)
    }

    /// How often subscribers were woken.
    #[must_use]
    pub const fn wakes(&self) -> u64 {
        self.wakes
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether nobody subscribes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Takes a seat. All that lies before the current tail counts as due: it was published before this seat could be stamped.
    pub fn enter(&mut self, interests: &Interests) -> (SeatId, Arc<Seat>) {
        let id = self.next_seat;
        self.next_seat += 1;
        let seat = Arc::new(Seat::default());
        seat.due.store(self.tail.0, Ordering::Relaxed);
        self.seats.insert(id, seat.clone());
        self.list(id, interests);
        (id, seat)
    }

    /// Gives a seat to other interests. All that lies before the current tail counts as due once more: with the old ones it was not
    /// stamped for what the new ones want.
    pub fn change(&mut self, seat: SeatId, old: &Interests, new: &Interests) {
        self.unlist(seat, old);
        if let Some(held) = self.seats.get(&seat) {
            held.due.store(self.tail.0, Ordering::Relaxed);
            self.list(seat, new);
        }
    }

    /// Gives a seat back.
    pub fn leave(&mut self, seat: SeatId, interests: &Interests) {
        self.seats.remove(&seat);
        self.ahead.retain(|(id, _)| *id != seat);
        self.unlist(seat, interests);
    }

    fn list(&mut self, seat: SeatId, interests: &Interests) {
        for interest in interests {
            let deltas = if interest.detail == Detail::Live {
                interest.families
            } else {
                Families::NONE
            };
            let entry = Entry {
                seat,
                events: interest.wanted(),
                deltas,
            };
            if let Some(key) = of_tenant(interest) {
                self.audiences.entry(key).or_default().push(entry);
            }
            match &interest.selector {
                Selector::All => self.all.push(entry),
                Selector::Project(project) => self.projects.entry(project.clone()).or_default().push(entry),
                Selector::Vendor(vendor) => self.vendors.entry(vendor.clone()).or_default().push(entry),
                Selector::Session(session) => self.sessions.entry(session.clone()).or_default().push(entry),
                Selector::Subtree(session) => self.subtrees.entry(session.clone()).or_default().push(entry),
            }
        }
    }

    /// Lists that become empty go away.
    fn unlist(&mut self, seat: SeatId, interests: &Interests) {
        for interest in interests {
            if let Some(key) = of_tenant(interest) {
                forget(&mut self.audiences, &key, seat);
            }
            match &interest.selector {
                Selector::All => self.all.retain(|entry| entry.seat != seat),
                Selector::Project(project) => forget(&mut self.projects, project, seat),
                Selector::Vendor(vendor) => forget(&mut self.vendors, vendor, seat),
                Selector::Session(session) => forget(&mut self.sessions, session, seat),
                Selector::Subtree(session) => forget(&mut self.subtrees, session, seat),
            }
        }
    }

    /// Wakes a seat once the tail has come to `place`, whoever receives what lies before it. For a subscriber that begins where the
    /// store already is: it knows events that the open items do not know of yet.
    pub fn await_tail(&mut self, seat: SeatId, place: Offset) {
        if place > self.tail {
            self.ahead.push((seat, place));
        }
    }

    /// What one subscriber must know before its next step, read at one instant.
    #[must_use]
    pub fn reach(&self, seat: &Seat) -> Reach {
        Reach {
            tail: self.tail,
            link: self.link,
            due: Offset(seat.due.load(Ordering::Relaxed)),
            delta_due: seat.delta_due.load(Ordering::Relaxed),
        }
    }

    /// Stamps who receives these events, moves the tail, and wakes each of them once.
    ///
    /// # Panics
    /// When the tail would move backwards: a broken promise of the store.
    pub fn publish<'a>(&mut self, events: impl IntoIterator<Item = Due<'a>>, tail: Offset, link: Link) {
        assert!(tail >= self.tail, "tail moved backwards: {} after {}", tail, self.tail);
        let mut woken = std::mem::take(&mut self.woken);
        for event in events {
            let due = event.offset.next().0;
            self.receivers(&event, |id, seat| {
                if seat.due.swap(due, Ordering::Relaxed) < due {
                    woken.push(id);
                }
            });
        }
        self.tail = tail;
        self.link = link;
        woken.extend(
            self.ahead
                .extract_if(.., |(_, place)| *place <= tail)
                .map(|(seat, _)| seat),
        );
        self.wake_once(woken);
    }

    /// Moves the tail past events that this process did not see, which may be anybody's.
    pub fn publish_unseen(&mut self, tail: Offset, link: Link) {
        self.ahead.retain(|(_, place)| *place > tail);
        for seat in self.seats.values() {
            seat.due.store(tail.0, Ordering::Relaxed);
            seat.wake();
        }
        self.tail = tail;
        self.link = link;
        self.wakes += self.seats.len() as u64;
    }

    /// Stamps and wakes who may receive a delta of this family.
    pub fn publish_delta(&mut self, routing: &Routing, family: Family, due: u64) {
        let mut woken = std::mem::take(&mut self.woken);
        let entries = self.lists(routing).flatten();
        self.each(entries.filter(|entry| entry.deltas.contain(family)), |id, seat| {
            if seat.delta_due.swap(due, Ordering::Relaxed) < due {
                woken.push(id);
            }
        });
        self.wake_once(woken);
    }

    fn wake_once(&mut self, mut woken: Vec<SeatId>) {
        woken.sort_unstable();
        woken.dedup();
        for id in woken.drain(..) {
            if let Some(seat) = self.seats.get(&id) {
                self.wakes += 1;
                seat.wake();
            }
        }
        self.woken = woken;
    }

    /// Who receives an event: what [`Interests::want_event`] says of each.
    fn receivers(&self, event: &Due<'_>, mut each: impl FnMut(SeatId, &Seat)) {
        let wanted = |entry: &&Entry| entry.events.contain(event.family);
        let InSession {
            routing, moved_from, ..
        } = match event.of {
            Of::Session(of) => of,
            Of::Tenant(audience) => {
                return self.each(self.audience(audience).flatten().filter(wanted), &mut each);
            }
        };
        self.each(self.lists(routing).flatten().filter(wanted), &mut each);
        let Some(before) = moved_from else { return };
        self.each(self.lists(before).flatten().filter(wanted), &mut each);
        // Lists are told apart by where they lie: what is on one side only was entered or left.
        let either = [(before, routing), (routing, before)];
        for (here, there) in either {
            let crossed = |list: &&Vec<Entry>| !self.lists(there).any(|other| std::ptr::eq(*list, other));
            let entries = self.lists(here).filter(crossed).flatten();
            self.each(entries.filter(|entry| !entry.events.is_empty()), &mut each);
        }
    }

    fn each<'a>(&self, entries: impl Iterator<Item = &'a Entry>, mut each: impl FnMut(SeatId, &Seat)) {
        for entry in entries {
            if let Some(seat) = self.seats.get(&entry.seat) {
                each(entry.seat, seat);
            }
        }
    }

    /// The lists of those who look at one of the sessions of an audience.
    fn audience<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = &'a Vec<Entry>> {
        let named = audience.keys().iter().filter_map(|key| self.audiences.get(key));
        std::iter::once(&self.all).chain(named)
    }

    /// The lists of those who look at a session that stands there.
    fn lists<'a>(&'a self, routing: &'a Routing) -> impl Iterator<Item = &'a Vec<Entry>> {
        let lists = [
            Some(&self.all),
            self.projects.get(&*routing.project),
            self.vendors.get(&*routing.vendor),
            self.sessions.get(&routing.session),
            self.subtrees.get(&routing.session),
        ];
        let above = routing.ancestors.iter().map(|ancestor| self.subtrees.get(ancestor));
        lists.into_iter().chain(above).flatten()
    }
}

/// What an audience has of an interest; none where the interest wants no event without a session, or all of them.
fn of_tenant(interest: &Interest) -> Option<AudienceKey> {
    let wanted = interest.wanted().contain(Family::Connector);
    AudienceKey::of(&interest.selector).filter(|_| wanted)
}

fn forget<K: Hash + Eq>(lists: &mut HashMap<K, Vec<Entry>>, key: &K, seat: SeatId) {
    if let Some(list) = lists.get_mut(key) {
        list.retain(|entry| entry.seat != seat);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
