//! Who stands above whom: parents that are named in any order, at any depth.
//!
//! Believe this: a row lists all its ancestors, so a session that gets a parent changes every row below it. Whatever the order of
//! arrival, the rows end up the same.

use super::Decision;
use crate::appender::{Refusal, Rejection};
use crate::event::{Draft, Routing, SessionRef, SessionStep};
use crate::id::SessionId;
use crate::limits;
use crate::offset::Offset;
use crate::session::{Session, SessionKey, Stood};

impl Decision<'_> {
    /// The new parent and its ancestors, where the draft names one. The parent is opened if it is new.
    pub(super) fn lineage(
        &mut self,
        draft: &Draft,
        own: Option<&SessionId>,
    ) -> Result<Option<Box<[SessionId]>>, Rejection> {
        let (SessionStep::Opened(facts) | SessionStep::Changed(facts)) = &draft.session_step else {
            return Ok(None);
        };
        let Some(parent) = &facts.parent else { return Ok(None) };
        // Before anything is opened: a refused event leaves nothing behind.
        if self.is_own(parent, draft, own) {
            let message = "parent_session is the session itself or lies below it; name another parent".to_owned();
            return Err(Rejection {
                refusal: Refusal::InvalidField,
                message,
                field: "parent_session".to_owned(),
                metadata: Vec::new(),
            });
        }
        let above = self.session(parent).map_or(0, |parent| parent.ancestors.len()) + 1;
        let depth = above + own.map_or(0, |own| self.depth_below(own));
        if depth > limits::SESSION_DEPTH_MAX {
            let most = limits::SESSION_DEPTH_MAX;
            return Err(Rejection {
                refusal: Refusal::InvalidField,
                message: format!(
                    "this parent makes a tree of {depth} levels; name one higher up, at most {most} are kept"
                ),
                field: "parent_session".to_owned(),
                metadata: vec![("depth", depth.to_string()), ("depth_max", most.to_string())],
            });
        }
        let parent = self.open_session(parent);
        Ok(Some(std::iter::once(parent.id).chain(parent.ancestors).collect()))
    }

    /// How many levels lie below a session.
    fn depth_below(&self, own: &SessionId) -> usize {
        let rows = self.changed.sessions.values().chain(self.base.sessions.values());
        let depths = rows.filter_map(|row| row.ancestors.iter().position(|id| id == own));
        depths.map(|depth| depth + 1).max().unwrap_or(0)
    }

    /// Whether a parent is the draft's session itself, under any of its names, or lies below it.
    fn is_own(&self, parent: &SessionRef, draft: &Draft, own: Option<&SessionId>) -> bool {
        let opens = |key: &SessionKey| draft.opens.as_ref() == Some(key);
        let same_name = Some(parent) == draft.session.as_ref() || matches!(parent, SessionRef::Key(key) if opens(key));
        let below = |own: &SessionId| {
            self.session(parent)
                .is_some_and(|parent| parent.id == *own || parent.ancestors.contains(own))
        };
        same_name || own.is_some_and(below)
    }

    /// Lets all that lies below a session follow it to where the event at `offset` moved it: children may come before their parent
    /// knows its own.
    pub(super) fn relink(&mut self, parent: &Routing, offset: Offset) {
        let untouched = |row: &&Session| !self.changed.sessions.contains_key(&row.id);
        let rows = self
            .changed
            .sessions
            .values()
            .chain(self.base.sessions.values().filter(untouched));
        let follow = |row: &Session| {
            let mut row = row.clone();
            let stood = row.follow(parent, offset)?;
            Some((row, stood))
        };
        let below = rows.filter(|row| row.ancestors.contains(&parent.session));
        let moved: Vec<(Session, Stood)> = below.filter_map(follow).collect();
        for (row, stood) in moved {
            self.changes.stood.push(stood);
            self.changed.insert_session(row);
        }
    }
}
