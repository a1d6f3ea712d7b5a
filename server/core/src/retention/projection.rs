//! Sessions, folded again out of stored events.
//!
//! Believe this: it is the same fold that stored them ([`Session::meet`], [`Session::apply`] and [`Session::follow`]), fed with what
//! stored bytes say instead of a draft. A row that the appender wrote and the row that comes out of here differ only where one of them
//! is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::event::{SessionStep, Told, ToldOf};
use crate::id::SessionId;
use crate::offset::{SessionNumber, Spot, Time};
use crate::session::{Session, SessionFacts, Stood};
use crate::store::StoredEvent;

/// Sessions as they are at some offset.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    sessions: BTreeMap<SessionNumber, Session>,
    ids: HashMap<SessionId, SessionNumber>,
    /// Those that were folded.
    changed: BTreeSet<SessionNumber>,
    /// Where those stood that were moved, in the order in which they were.
    stood: Vec<Stood>,
}

impl Projection {
    /// What bases say.
    #[must_use]
    pub fn over(bases: Vec<Session>) -> Projection {
        let mut projection = Projection::default();
        bases.into_iter().for_each(|base| projection.insert(base));
        projection
    }

    fn insert(&mut self, session: Session) {
        self.ids.insert(session.id.clone(), session.number);
        self.sessions.insert(session.number, session);
    }

    /// One more event. What it says is none where its bytes cannot be read: then it counts, and changes nothing more. One of the tenant as a
    /// whole changes no session.
    pub fn fold(&mut self, event: &StoredEvent, told: Option<&Told>) {
        let told = told.and_then(|told| Some((told.recorded, told.session.as_ref()?)));
        let Some(mut session) = self.of(event, told) else {
            return;
        };
        self.changed.insert(session.number);
        let stood = match told {
            None => {
                let unchanged = session.updated;
                session.apply(&SessionStep::None, None, event.offset, unchanged)
            }
            Some((recorded, told)) => {
                let step = session.meet(Some(told.life), told.opens.as_ref(), &told.session_step);
                let lineage = self.lineage(told);
                session.apply(&step, lineage, event.offset, recorded)
            }
        };
        let moved = stood.map(|stood| {
            self.stood.push(stood);
            session.routing()
        });
        self.insert(session);
        if let Some(parent) = moved {
            let below = self.sessions.values_mut();
            let below = below.filter(|row| row.ancestors.contains(&parent.session));
            for row in below {
                if let Some(stood) = row.follow(&parent, event.offset) {
                    self.stood.push(stood);
                    self.changed.insert(row.number);
                }
            }
        }
    }

    /// The event's session, begun if this is its first one; none where nobody can say which it is.
    fn of(&self, event: &StoredEvent, told: Option<(Time, &ToldOf)>) -> Option<Session> {
        let number = event.spot?.session;
        if let Some(session) = self.sessions.get(&number) {
            return Some(session.clone());
        }
        let (recorded, ToldOf { session: id, opens, .. }) = told?;
        let (id, key) = (id.clone(), opens.clone());
        Some(Session::new(number, id, key, event.offset, recorded))
    }

    /// The parent that an event names for its session, and what lies above it.
    fn lineage(&self, told: &ToldOf) -> Option<Box<[SessionId]>> {
        let parent = told.new_parent()?;
        let above = self.ids.get(parent).and_then(|number| self.sessions.get(number));
        let above = above.map_or(&[][..], |session| &session.ancestors);
        Some(std::iter::once(parent).chain(above).cloned().collect())
    }

    /// The event that was folded last is trimmed.
    pub(super) fn take(&mut self, event: &StoredEvent) {
        let Some(Spot { session, index }) = event.spot else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.trimmed.take(index, event.kind.family(), event.offset);
        }
    }

    /// Those that were folded.
    pub(super) fn into_changed(mut self) -> Vec<Session> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|number| self.sessions.remove(&number))
            .collect()
    }

    /// All of them in the order of their numbers, and where those stood that were moved.
    #[must_use]
    pub fn finish(self) -> (Vec<Session>, Vec<Stood>) {
        (self.sessions.into_values().collect(), self.stood)
    }
}

impl ToldOf {
    /// The parent that the event's session gets by it.
    #[must_use]
    pub fn new_parent(&self) -> Option<&SessionId> {
        let (SessionStep::Opened(facts) | SessionStep::Changed(facts)) = &self.session_step else {
            return None;
        };
        let SessionFacts { parent: Some(_), .. } = **facts else {
            return None;
        };
        // The fact may name it by a key; the envelope names it by its id.
        self.parent.as_ref()
    }
}
