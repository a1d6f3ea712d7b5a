//! What is known of each session's `index`: which event is next, and which a snapshot of the session already had.
//!
//! The one thing to believe: this holds numbers, not events, and only as many as it may. What is forgotten is checked no more; it is
//! never taken for a fault.

use std::collections::{HashMap, HashSet};

use bellboard_proto::v1;
use bellboard_proto::v1::Detail;
use bellboard_proto::v1::interest::Selector;

use super::Violation;
use crate::subscription::frame::{Events, UndecodableEvent};

/// Most sessions whose earlier events are to be dropped at one time: a snapshot of sessions that entered is smaller, and past
/// it an event comes that its session's snapshot had, which a fold by `index` ignores.
const FLOORS_MAX: usize = 10_000;

/// Most sessions of one generation, of which there are two: an application that follows more at a time has the most recently active
/// ones checked.
const GENERATION_MAX: usize = 5_000;

/// As many sessions as a `gap` names; one that names so many may have left some out.
const GAP_SESSIONS_MAX: usize = 1_000;

/// As many sessions as a snapshot of those that entered names; one that names so many may have left some out.
const ENTERED_SESSIONS_MAX: usize = 1_000;

/// The indexes of a stream's sessions.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    interests: Vec<v1::Interest>,
    /// What follows from the interests.
    whole: Whole,
    /// Per session that comes whole: the index of its next event.
    next: Recent,
    /// Per session that came with a snapshot in mid-stream: its first index that is not in the snapshot. Forgotten once the stream
    /// is past the snapshot's offset.
    floors: HashMap<String, Floor>,
    /// A session that came back at the last event: its snapshot comes before anything else does.
    owed: Option<String>,
}

/// Which sessions come with all of their events, so that their indexes have no hole: those held at CONTENT without a family filter.
#[derive(Debug, Default, PartialEq, Eq)]
enum Whole {
    /// All of them, always.
    All,
    /// All that come. Those of a project and those below another session may leave and come back, which leaves a hole: at the last
    /// event of a batch, with a snapshot right behind it. These here do not.
    WhileHere(HashSet<String>),
    /// These; of others nobody knows under which interest they come.
    Named(HashSet<String>),
    #[default]
    None,
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    index: u64,
    offset: u64,
}

/// What a snapshot's sessions are to the stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Snapshot {
    /// All of it: the stream goes on from the snapshot's offset.
    Whole,
    /// Sessions that entered, as of this offset; the stream goes on from where it is.
    Entered { offset: u64 },
}

impl Indexes {
    /// These interests are in force from here on.
    pub(super) fn hold(&mut self, interests: &[v1::Interest]) {
        if self.interests == interests {
            return;
        }
        self.interests = interests.to_vec();
        let before = std::mem::replace(&mut self.whole, Whole::of(interests));
        match &self.whole {
            Whole::All if before == Whole::All => {}
            Whole::Named(named) => self
                .next
                .retain(|session_id| named.contains(session_id) && before.has(session_id)),
            // What was not wanted meanwhile went on meanwhile.
            Whole::All | Whole::WhileHere(_) | Whole::None => self.next.clear(),
        }
    }

    /// The stream begins anew: nothing that came before counts.
    pub(super) fn clear(&mut self) {
        self.next.clear();
        self.floors.clear();
        self.owed = None;
    }

    /// Something came of which nobody knows whose it is.
    pub(super) fn forget_next(&mut self) {
        self.next.clear();
    }

    /// The stream is past all before this offset.
    pub(super) fn passed(&mut self, until: u64) {
        self.floors.retain(|_, floor| floor.offset > until);
    }

    /// A snapshot of sessions that entered begins. One of them that has left again is in no page of it.
    pub(super) fn enter(&mut self, begin: &v1::SnapshotBegin) {
        let has_all = begin.session_ids.len() < ENTERED_SESSIONS_MAX;
        if !has_all {
            self.next.clear();
        }
        for session_id in &begin.session_ids {
            self.next.forget(session_id);
        }
        self.owed.take_if(|owed| !has_all || begin.session_ids.contains(owed));
    }

    /// Takes a page of a snapshot.
    pub(super) fn take_page(&mut self, snapshot: Snapshot, page: &v1::SnapshotPage) {
        for session in page.sessions.iter().filter_map(|snapshot| snapshot.session.as_ref()) {
            self.take_session(snapshot, session);
        }
    }

    fn take_session(&mut self, snapshot: Snapshot, session: &v1::Session) {
        let v1::Session {
            session_id,
            event_count: index,
            ..
        } = session;
        if let Snapshot::Entered { offset } = snapshot {
            if self.floors.len() >= FLOORS_MAX && !self.floors.contains_key(session_id) {
                self.next.forget(session_id);
                return;
            }
            self.floors.insert(session_id.clone(), Floor { index: *index, offset });
        }
        if self.whole.has(session_id) {
            self.next.set(session_id, *index);
        }
    }

    /// Events that will not come: those sessions go on behind them.
    pub(super) fn take_gap(&mut self, gap: &v1::Gap) {
        if gap.sessions.is_empty() || gap.sessions.len() >= GAP_SESSIONS_MAX {
            self.next.clear();
            return;
        }
        for session in &gap.sessions {
            let known = self.next.get(&session.session_id);
            if self.whole.has(&session.session_id) {
                let next = session.until_index.max(known.unwrap_or(0));
                self.next.set(&session.session_id, next);
            }
        }
    }

    /// Whether a session that came back was followed by its snapshot.
    ///
    /// # Errors
    /// It was not.
    pub(super) fn check_owed(&self) -> Result<(), Violation> {
        match self.owed.clone() {
            Some(session_id) => Err(Violation::Unannounced { session_id }),
            None => Ok(()),
        }
    }

    /// Whether the events go on where their sessions are. Changes nothing.
    ///
    /// # Errors
    /// The first that does not.
    pub(super) fn check(&self, events: &Events) -> Result<(), Violation> {
        let mut passed: HashMap<&str, u64> = HashMap::new();
        let last = events.events.last().map(|event| event.offset);
        for event in events.events.iter().filter(|event| self.is_counted(event, events)) {
            let (session_id, index) = (event.session_id.as_str(), event.index);
            let next = passed.get(session_id).copied().or_else(|| self.next.get(session_id));
            let came_back = self.whole.may_leave(session_id) && Some(event.offset) == last;
            match next {
                Some(next) if index < next || (index > next && !came_back) => {
                    let session_id = session_id.to_owned();
                    return Err(Violation::Skipped {
                        session_id,
                        index,
                        next,
                    });
                }
                Some(_) | None => passed.insert(session_id, index + 1),
            };
        }
        Ok(())
    }

    /// Takes the events, and drops from them what their sessions' snapshots had.
    pub(super) fn take(&mut self, events: &mut Events) {
        self.drop_known(events);
        for event in &events.events {
            if !self.is_counted(event, events) {
                continue;
            }
            if self.next.get(&event.session_id).is_some_and(|next| event.index > next) {
                self.owed = Some(event.session_id.clone());
            }
            self.next.set(&event.session_id, event.index + 1);
        }
        for unread in &events.undecodable {
            match &unread.session_id {
                Some(session_id) => self.next.forget(session_id),
                None => self.next.clear(),
            }
        }
    }

    /// Events of the whole tenant have no session, and no index that means anything. Of a session with events that cannot be read
    /// nobody knows which is next.
    fn is_counted(&self, event: &v1::Event, batch: &Events) -> bool {
        let session_id = &event.session_id;
        let unread = |unread: &UndecodableEvent| unread.session_id.as_ref().is_none_or(|of| of == session_id);
        !session_id.is_empty()
            && self.whole.has(session_id)
            && !self.is_known(event)
            && !batch.undecodable.iter().any(unread)
    }

    fn is_known(&self, event: &v1::Event) -> bool {
        self.floors
            .get(&event.session_id)
            .is_some_and(|floor| event.index < floor.index)
    }

    fn drop_known(&self, events: &mut Events) {
        if self.floors.is_empty() {
            return;
        }
        let known = events.events.iter().filter(|event| self.is_known(event));
        let dropped: Vec<u64> = known.map(|event| event.offset).collect();
        events.events.retain(|event| !self.is_known(event));
        events.raws.retain(|raw| !dropped.contains(&raw.offset));
    }

    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.floors.is_empty()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.next.young.len() + self.next.old.len()
    }
}

impl Whole {
    fn of(interests: &[v1::Interest]) -> Whole {
        let is_whole = |interest: &v1::Interest| {
            let content = matches!(interest.detail(), Detail::Unspecified | Detail::Content | Detail::Live);
            content && interest.families.is_empty()
        };
        let mut named = HashSet::new();
        let mut all_are_named = true;
        for interest in interests.iter().filter(|interest| is_whole(interest)) {
            match &interest.selector {
                Some(Selector::All(_)) => return Whole::All,
                Some(Selector::Session(selector)) => {
                    named.insert(selector.session_id.clone());
                    all_are_named &= !selector.with_descendants;
                }
                // An event does not tell its vendor or project.
                Some(Selector::Vendor(_) | Selector::Project(_)) | None => all_are_named = false,
            }
        }
        if !all_are_named && interests.iter().all(is_whole) {
            Whole::WhileHere(named)
        } else if named.is_empty() {
            Whole::None
        } else {
            Whole::Named(named)
        }
    }

    fn has(&self, session_id: &str) -> bool {
        match self {
            Whole::All | Whole::WhileHere(_) => true,
            Whole::Named(named) => named.contains(session_id),
            Whole::None => false,
        }
    }

    fn may_leave(&self, session_id: &str) -> bool {
        match self {
            Whole::WhileHere(named) => !named.contains(session_id),
            Whole::All | Whole::Named(_) | Whole::None => false,
        }
    }
}

/// Numbers by session, of the most recently active ones: when the young generation is full the old one is forgotten.
#[derive(Debug, Default)]
struct Recent {
    young: HashMap<String, u64>,
    old: HashMap<String, u64>,
}

impl Recent {
    fn get(&self, session_id: &str) -> Option<u64> {
        let found = self.young.get(session_id).or_else(|| self.old.get(session_id));
        found.copied()
    }

    fn set(&mut self, session_id: &str, number: u64) {
        if let Some(held) = self.young.get_mut(session_id) {
            *held = number;
            return;
        }
        self.old.remove(session_id);
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(session_id.to_owned(), number);
    }

    fn forget(&mut self, session_id: &str) {
        self.young.remove(session_id);
        self.old.remove(session_id);
    }

    fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.young.retain(|session_id, _| stays(session_id));
        self.old.retain(|session_id, _| stays(session_id));
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
