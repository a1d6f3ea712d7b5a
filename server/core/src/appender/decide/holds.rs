//! Who may do what with a session: claims, releases, and what an append must show.
//!
//! Believe this: holds change here and nowhere else, and only by rows that were read under the log's lock. A writer's fence is checked
//! before, once for its whole call; what is checked here is the session's.

use std::collections::HashSet;

use super::Decision;
use crate::appender::{Append, Claim, Claimed, Condition, Refusal, Rejection, Wish};
use crate::event::SessionRef;
use crate::hold::{Admission, Barred, Take};
use crate::id::{SessionId, WriterId};
use crate::lease::Ended;
use crate::session::Session;
use crate::store::WriterRow;

/// Why a writer holds a session no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// It named what it holds, and left this one out.
    LeftOut,
    /// Its lease ended without a word.
    LeaseEnded,
}

impl Decision<'_> {
    /// Claims what a writer names, and lets go of what it holds beside that.
    pub(in crate::appender) fn claim_all(&mut self, claim: &Claim, wish: &Wish) -> Vec<Claimed> {
        let claimed = wish.sessions.iter().map(|name| {
            let session = self.open_session(name);
            let barred = self.claim(session.clone(), claim, wish.take).err();
            Claimed {
                session: session.id,
                barred,
            }
        });
        let claimed: Vec<Claimed> = claimed.collect();
        let named: HashSet<&SessionId> = claimed.iter().map(|claimed| &claimed.session).collect();
        for session in self.held_by(&claim.writer) {
            if !named.contains(&session.id) {
                self.release(session, Release::LeftOut);
            }
        }
        claimed
    }

    fn claim(&mut self, mut session: Session, claim: &Claim, take: Take) -> Result<(), Barred> {
        let admission = session.hold.claim(claim, take, |id| self.living.contains(id))?;
        if admission == Admission::Claims {
            self.hold(&mut session, claim);
            self.changed.insert_session(session);
        }
        Ok(())
    }

    /// Lets go of all that a writer holds, if its lease has ended.
    pub(in crate::appender) fn end_lease(&mut self, writer: &WriterId) -> Option<Ended> {
        if self.living.contains(writer) {
            return None;
        }
        self.lease_ended(writer);
        let held = self.held_by(writer);
        let sessions = held.iter().map(|session| session.id.clone()).collect();
        for session in held {
            self.release(session, Release::LeaseEnded);
        }
        Some(Ended {
            writer: writer.clone(),
            sessions,
        })
    }

    /// A writer holds a session no longer, and nobody does. What its run was doing is not known any more: the fold of a session's state
    /// takes that from here, `why` included.
    fn release(&mut self, mut session: Session, why: Release) {
        tracing::debug!(session = %session.id, ?why, "nobody holds a session any more");
        session.hold.release();
        self.audiences.clear();
        self.changed.insert_session(session);
    }

    /// The writer holds it from now on, if it does not yet. The caller puts the session's row in.
    pub(super) fn hold(&mut self, session: &mut Session, claim: &Claim) {
        if session.hold.is_of(&claim.writer) && session.hold.fence == claim.fence {
            return;
        }
        session.hold.take(claim);
        self.audiences.clear();
        self.living.insert(claim.writer.clone());
    }

    /// Lets an append in, and lets its writer have the session if nobody does.
    ///
    /// # Errors
    /// When another writer holds it.
    pub(super) fn enter(
        &mut self,
        session: &mut Session,
        claim: Option<&Claim>,
        condition: Condition,
    ) -> Result<(), Rejection> {
        let lives = |id: &WriterId| self.living.contains(id);
        match claim {
            Some(claim) => match session.hold.admit(claim, lives) {
                Ok(Admission::Holds) => Ok(()),
                Ok(Admission::Claims) => {
                    self.hold(session, claim);
                    self.changed.insert_session(session.clone());
                    Ok(())
                }
                Err(barred) => Err(rejection(&session.id, &barred)),
            },
            None => match session.hold.keeper(lives) {
                Some(owner) if condition == Condition::Always => {
                    Err(rejection(&session.id, &Barred::Owned(owner.clone())))
                }
                Some(_) | None => Ok(()),
            },
        }
    }

    /// An append that comes again shows that its writer still is at its session: it has it, if nobody else does.
    pub(super) fn stay(&mut self, claim: Option<&Claim>, session: Option<&SessionId>) {
        let session = session.and_then(|id| self.session(&SessionRef::Id(id.clone())));
        if let (Some(claim), Some(session)) = (claim, session.cloned()) {
            // Who is kept out is told so by what it sends next.
            let _ = self.claim(session, claim, Take::Free);
        }
    }

    /// Why an append does not even count: its session was held under a newer fence since.
    pub(super) fn fenced(&self, claim: &Claim, append: &Append) -> Option<Rejection> {
        let session = self.session(append.draft.as_ref().ok()?.session.as_ref()?)?;
        match session.hold.admit(claim, |id| self.living.contains(id)) {
            Err(barred @ Barred::Fenced(_)) => Some(rejection(&session.id, &barred)),
            Ok(_) | Err(Barred::Owned(_)) => None,
        }
    }

    /// All sessions that a writer holds: they were asked for.
    fn held_by(&self, writer: &WriterId) -> Vec<Session> {
        let untouched = |row: &&Session| !self.changed.sessions.contains_key(&row.id);
        let base = self.base.sessions.values().filter(untouched);
        let rows = self.changed.sessions.values().chain(base);
        rows.filter(|row| row.hold.is_of(writer)).cloned().collect()
    }

    /// A writer's row, as it is after this decision.
    pub(in crate::appender) fn row(&self, claim: &Claim) -> Option<WriterRow> {
        self.writer(&claim.writer).cloned()
    }

    /// The writers that hold sessions because of this decision, or whose connectors came, as they are after it.
    pub(in crate::appender) fn holders(&self) -> Vec<WriterRow> {
        let taken = self.changed.sessions.values().filter(|row| {
            let before = self.base.sessions.get(&row.id);
            before.is_none_or(|before| before.hold != row.hold)
        });
        let came = self.changed.writers.values().filter(|row| {
            let before = self.base.writers.get(&row.id);
            row.presence.online && before.is_none_or(|before| !before.presence.online)
        });
        let owners = taken.filter_map(|row| row.hold.owner.as_ref());
        let owners: HashSet<&WriterId> = owners.chain(came.map(|row| &row.id)).collect();
        owners
            .into_iter()
            .filter_map(|owner| self.writer(owner).cloned())
            .collect()
    }
}

fn rejection(session: &SessionId, barred: &Barred) -> Rejection {
    let session_id = ("session_id", session.to_string());
    let (refusal, message, metadata) = match barred {
        Barred::Owned(owner) => (
            Refusal::SessionOwned,
            format!(
                "session {session} is held by writer {owner}; wait until its lease ends, or open a writer with take_over"
            ),
            vec![session_id, ("owner_writer_id", owner.to_string())],
        ),
        Barred::Fenced(fence) => (
            Refusal::Fenced,
            format!("session {session} was held under the newer fence {fence} since; call OpenWriter again"),
            vec![session_id, ("current_fence", fence.to_string())],
        ),
    };
    Rejection {
        refusal,
        message,
        field: "session".to_owned(),
        metadata,
    }
}
