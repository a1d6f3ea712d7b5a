//! What a writer holds: what it is told to the hub each time that it comes back.
//!
//! The one thing to believe: it is what the hub answered, not what was wished. What was refused is not named again by itself, so that a
//! connection that comes back never takes a session that another writer has by now.

use std::collections::VecDeque;

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::{AppendResult, WriterSession, WriterSessionResult, WriterSessionStatus};

use crate::session::session_id;

/// Most sessions that the hub is told. Beyond it the ones that were quiet for longest are let go.
const SESSIONS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Held {
    /// With their ids, the one that spoke last at the end.
    sessions: VecDeque<(String, WriterSession)>,
}

impl Held {
    /// These were named, and so they were answered: they are all that is held.
    pub(super) fn answered(&mut self, named: Vec<WriterSession>, results: &[WriterSessionResult]) {
        self.sessions.clear();
        for (session, result) in named.into_iter().zip(results) {
            match result.status() {
                WriterSessionStatus::Held => self.add(&result.session_id, session),
                // What a later hub says is not that it is held.
                WriterSessionStatus::OwnedElsewhere
                | WriterSessionStatus::Deleted
                | WriterSessionStatus::Refused
                | WriterSessionStatus::Unspecified => {}
            }
        }
    }

    /// An append claims its session.
    pub(super) fn acknowledged(&mut self, result: &AppendResult) {
        let claims = matches!(result.outcome, Some(Outcome::Stored(_) | Outcome::Duplicate(_)));
        // Mostly the one that spoke last speaks again.
        let newest = self.sessions.back().is_some_and(|(id, _)| *id == result.session_id);
        if claims && !newest && !result.session_id.is_empty() {
            let session = WriterSession {
                session: Some(session_id(result.session_id.clone())),
                ..WriterSession::default()
            };
            self.add(&result.session_id, session);
        }
    }

    fn add(&mut self, id: &str, session: WriterSession) {
        let known = self.sessions.iter().position(|(known, _)| known == id);
        let session = match known.and_then(|at| self.sessions.remove(at)) {
            Some((_, known)) if session.session == known.session => known,
            Some(_) | None => session,
        };
        self.sessions.push_back((id.to_owned(), session));
        if self.sessions.len() > SESSIONS_MAX {
            self.sessions.pop_front();
        }
    }

    /// All of them, as the hub is told.
    pub(super) fn list(&self) -> Vec<WriterSession> {
        self.sessions.iter().map(|(_, session)| session.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bellboard_proto::v1::{EventRejected, EventStored};

    use super::*;

    fn named(id: &str) -> WriterSession {
        WriterSession {
            session: Some(session_id(id)),
            run_active: true,
            ..WriterSession::default()
        }
    }

    fn result(id: &str, status: WriterSessionStatus) -> WriterSessionResult {
        WriterSessionResult {
            session_id: id.to_owned(),
            status: status.into(),
            ..WriterSessionResult::default()
        }
    }

    fn append(id: &str, outcome: Outcome) -> AppendResult {
        AppendResult {
            session_id: id.to_owned(),
            outcome: Some(outcome),
            ..AppendResult::default()
        }
    }

    fn ids(held: &Held) -> Vec<&str> {
        held.sessions.iter().map(|(id, _)| id.as_str()).collect()
    }

    #[test]
    fn what_the_hub_refused_is_not_named_again() {
        let mut held = Held::default();
        let results = [
            result("a", WriterSessionStatus::Held),
            result("b", WriterSessionStatus::OwnedElsewhere),
        ];
        held.answered(vec![named("a"), named("b")], &results);
        assert_eq!(held.list(), [named("a")]);
        held.answered(Vec::new(), &[]);
        assert!(held.is_empty());
    }

    #[test]
    fn what_was_appended_to_is_held_and_a_rejected_one_is_not() {
        let mut held = Held::default();
        held.answered(vec![named("a")], &[result("a", WriterSessionStatus::Held)]);
        let stored = || Outcome::Stored(EventStored::default());
        held.acknowledged(&append("b", stored()));
        held.acknowledged(&append("c", Outcome::Rejected(EventRejected::default())));
        held.acknowledged(&append("", stored()));
        assert_eq!(ids(&held), ["a", "b"]);
        held.acknowledged(&append("a", stored()));
        assert_eq!(ids(&held), ["b", "a"], "the one that spoke last is let go last");
        assert!(held.list()[1].run_active, "what was said of it stays");
        for number in 0..SESSIONS_MAX {
            held.acknowledged(&append(&format!("s{number}"), stored()));
        }
        assert_eq!((held.list().len(), ids(&held)[0]), (SESSIONS_MAX, "s0"));
    }
}
