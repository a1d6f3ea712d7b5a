//! How a stream ends politely.
//!
//! Believe this: COMPLETE is said only when the store says that every session is closed and the subscriber was told so. Every other
//! end leaves a resume token that goes on.

use std::time::Duration;

use super::{Error, Request, Subscription};
use crate::interest::{Interest, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::session::{Lifecycle, Session};
use crate::store::SnapshotLimits;
use crate::subscription::closings::Closings;
use crate::subscription::control::Selectors;
use crate::subscription::frame::{ClosingReason, Frame};
use crate::subscription::jittered_down;
use crate::subscription::standing::Standing;

impl Subscription {
    /// The last frame, if somebody outside wants the stream to end. Never the first one: how the start was answered comes before it.
    pub(super) fn closing(&self) -> Option<(Frame, Kind)> {
        if matches!(self.ready.front(), Some((Frame::Subscribed { .. }, _))) {
            return None;
        }
        // The credential first: what it may no longer see is not even said goodbye to as if it could come back.
        let credential = match *self.around.credential.borrow() {
            Standing::Ended(reason) => Some((reason, None)),
            Standing::Good | Standing::Expiring(_) => None,
        };
        let replaced = self.replaced.then_some((ClosingReason::Replaced, None));
        // Then its successor: a node that goes away would ask a stream back that has no place any more.
        let (reason, retry_after) = credential
            .or(replaced)
            .or_else(|| *self.around.draining.borrow())
            .or_else(|| self.too_old())?;
        Some((Frame::Closing { reason, retry_after }, self.kind()))
    }

    fn too_old(&self) -> Option<(ClosingReason, Option<Duration>)> {
        let end = self.ends_at?;
        (end <= self.around.clock.elapsed()).then_some((ClosingReason::MaxAge, None))
    }

    /// The warning that the credential is about to expire, once for each time at which it does. Never the first frame.
    pub(super) fn expiring(&mut self) -> Option<(Frame, Kind)> {
        let Standing::Expiring(time) = *self.around.credential.borrow() else {
            return None;
        };
        if self.warned == Some(time) || matches!(self.ready.front(), Some((Frame::Subscribed { .. }, _))) {
            return None;
        }
        self.warned = Some(time);
        Some((Frame::CredentialExpiring(time), self.kind()))
    }

    /// What the resume token of a frame is good for that comes between others: a snapshot that is cut short was not given, however its
    /// place reads.
    pub(super) fn kind(&self) -> Kind {
        self.giving.as_ref().map_or(Kind::Complete, |giving| giving.of.kind())
    }

    /// Begins to watch for what ends the stream by itself.
    pub(super) fn watch_end(&mut self) {
        let Request {
            interests,
            stop_when_closed,
            max_age,
            ..
        } = &self.request;
        if *stop_when_closed {
            self.closings = Closings::watch(&self.around.log, interests).map(Box::new);
            self.around.registered.mailbox().allow(Selectors::Sessions);
        }
        self.ends_at = max_age.map(|age| self.around.clock.elapsed().saturating_add(jittered_down(age)));
    }

    /// Whether all sessions of the interests are closed, and their closing was told.
    pub(super) async fn all_closed(&self) -> Result<bool, Error> {
        let log = &self.around.log;
        let limits = SnapshotLimits {
            items: 0,
            scan: 0,
            bytes: 0,
            row_bytes: limits::SNAPSHOT_ROW_BYTES_MAX,
            sessions: limits::SNAPSHOT_SESSIONS_MAX,
            oldest: Offset::ZERO,
        };
        let now = log
            .store()
            .snapshot(log.row().key, (&self.request.interests).into(), limits)
            .await?;
        let (next, _) = self.handoff.place();
        let ended = |session: &Session| session.lifecycle == Lifecycle::Closed && session.last_offset < next;
        // A session that is wanted by name and not there yet is still to come.
        let is_there = |interest: &Interest| match &interest.selector {
            Selector::Session(id) | Selector::Subtree(id) => now.sessions.iter().any(|entry| entry.session.id == *id),
            Selector::All | Selector::Project(_) | Selector::Vendor(_) => !now.sessions.is_empty(),
        };
        Ok(!now.truncated
            && self.request.interests.iter().all(is_there)
            && now.sessions.iter().all(|entry| ended(&entry.session)))
    }
}
