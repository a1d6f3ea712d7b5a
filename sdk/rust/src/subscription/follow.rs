//! Dials, reads, checks, and dials again.
//!
//! The one thing to believe: a frame is handed out only if it goes on from the one before, and a redial always asks for what
//! follows the last frame handed out. Nothing is read ahead, so there is nothing to lose between.

use std::sync::Arc;
use std::time::Duration;

use bellboard_proto::v1::{ErrorReason, SnapshotReason, Subscribed, SubscriptionUpdated};
use bytes::Bytes;
use tokio::sync::watch;

use super::accounting::{Accounting, Violation};
use super::calls::{Purpose, is_out_of_reach};
use super::control::Shared;
use super::dial::{self, Dial, Dialled, Heard, Outside, ended};
use super::ends::{After, Leave, after_closing};
use super::frame::{Frame, Received};
use super::revisions::{Asked, Refusal, Revision, Revisions};
use super::watchdog::{self, Moment, Verdict};
use super::{OnUndecodable, Start, SubscribeOptions};
use crate::client::{Client, KeyChanges};
use crate::error::{Error, Result};
use crate::retry::Backoff;

/// How often the same promise may be broken at the same place before the application is told. Less might be a proxy's doing.
const VIOLATIONS_MAX: u32 = 3;

/// How long after a snapshot for something that could not be read no other one is fetched: a hub whose every event is broken
/// costs a snapshot a minute, not a loop.
const RECONCILE_PAUSE: Duration = Duration::from_secs(60);

/// The reading half of a subscription.
pub(super) struct Follower {
    client: Client,
    options: SubscribeOptions,
    // The other holders are the subscription and its controls.
    shared: Arc<Shared>,
    /// Rung when the application asks to dial again.
    redial: watch::Receiver<()>,
    /// The newest interests that the application asked for.
    wanted: watch::Receiver<Revision>,
    keys: KeyChanges,
    loaded: bool,
    /// What to ask for while there is no resume token.
    start: Start,
    /// Of the last frame handed out.
    resume_token: Option<String>,
    dialled: Option<Dialled>,
    accounting: Accounting,
    revisions: Revisions,
    /// Why the snapshot under way came. `None`: there is none.
    snapshot: Option<SnapshotReason>,
    /// To be handed out before anything else is read: what a dial brought into force.
    news: Option<SubscriptionUpdated>,
    backoff: Backoff,
    after: After,
    /// Broken promises in a row, and the place where.
    violations: (u32, Option<u64>),
    last_reconcile: Option<Moment>,
}

impl Follower {
    pub(super) fn new(client: Client, mut options: SubscribeOptions, shared: Arc<Shared>) -> Follower {
        let backoff = Backoff::new(options.retry.clone());
        let mut start = options.start.clone();
        let mut resume_token = None;
        if let Start::ResumeToken(given) = &mut start {
            resume_token = Some(std::mem::take(given));
            // What a resume token that leads nowhere leads to.
            start = Start::Snapshot;
        }
        Follower {
            redial: shared.redial.subscribe(),
            wanted: shared.wanted.subscribe(),
            keys: client.key_changes(),
            revisions: Revisions::new(std::mem::take(&mut options.interests)),
            client,
            options,
            shared,
            loaded: false,
            start,
            resume_token,
            dialled: None,
            accounting: Accounting::default(),
            snapshot: None,
            news: None,
            backoff,
            after: After::GoOn,
            violations: (0, None),
            last_reconcile: None,
        }
    }

    /// The next thing to hand out. Being asked means that the application has taken the last one. Not cancel
    /// safe: the subscription keeps the call until it is done, and drops it only with itself.
    pub(super) async fn next(&mut self) -> Option<Result<Frame>> {
        if let Err(error) = self.take_up().await {
            return Some(Err(error));
        }
        match std::mem::replace(&mut self.after, After::GoOn) {
            After::GoOn => self.look_after_absence(),
            After::End => {
                self.after = After::End;
                return None;
            }
            After::Fail(error) => return Some(Err(self.end(error))),
            After::FromSnapshot => self.restart_from_snapshot(),
            After::Redial { advised, connection } => {
                self.leave(connection);
                if let Err(error) = self.pause(advised, || ended("the hub closed the stream")).await {
                    return Some(Err(error));
                }
            }
        }
        if let Some(news) = self.news.take() {
            return Some(Ok(Frame::SubscriptionUpdated(news)));
        }
        loop {
            match self.step().await {
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Saves the place that the application has come to; before the first frame, loads it.
    async fn take_up(&mut self) -> Result<()> {
        if self.loaded {
            return match self.after {
                After::End | After::Fail(_) => self.shared.place.acknowledge().await,
                After::GoOn | After::Redial { .. } | After::FromSnapshot => {
                    self.shared.place.taken(Moment::now()).await
                }
            };
        }
        match self.shared.place.load().await {
            Ok(loaded) => {
                self.loaded = true;
                self.resume_token = loaded.or_else(|| self.resume_token.take());
                Ok(())
            }
            Err(error) => {
                // Starting without it would be starting somewhere else.
                self.loaded = true;
                Err(self.end(error))
            }
        }
    }

    fn look_after_absence(&mut self) {
        if let Some(dialled) = &mut self.dialled
            && dialled.watchdog.resume(Moment::now()) == Verdict::Woke
        {
            self.leave(Leave::Connection);
        }
    }

    /// Dials or reads once. `None`: go on.
    async fn step(&mut self) -> Result<Option<Frame>> {
        let Some(dialled) = &mut self.dialled else {
            return self.dial().await.map(|()| None);
        };
        let outside = Outside {
            client: &self.client,
            redial: &mut self.redial,
            wanted: &mut self.wanted,
            keys: &mut self.keys,
            revisions: &mut self.revisions,
        };
        match dialled.listen(outside).await {
            Heard::Frame(bytes) => self.check(&bytes).await,
            Heard::Called(purpose, outcome) => self.called(purpose, outcome).await.map(|()| None),
            Heard::Ended(error) => {
                self.dialled = None;
                self.failed(error).await.map(|()| None)
            }
            Heard::Dead(why) => {
                tracing::debug!(why, "dialling again");
                self.leave(Leave::Connection);
                Ok(None)
            }
        }
    }

    /// Dials once, unless the application or a sleep of the machine makes the attempt worthless.
    async fn dial(&mut self) -> Result<()> {
        self.revisions.want(&self.wanted.borrow_and_update());
        // Who asked before this dial is answered by it.
        self.redial.mark_unchanged();
        let asked = self.ask();
        let connection = self.client.connection();
        let dial = Dial {
            options: &self.options,
            resume_token: self.resume_token.as_deref(),
            start: &self.start,
            asked,
        };
        let dialled = tokio::select! {
            dialled = dial::dial(&self.client, connection.clone(), self.keys.number(), dial) => dialled,
            _ = self.redial.changed() => {
                self.client.give_up(&connection);
                return Ok(());
            }
            () = watchdog::woke(dial::heartbeat(&self.options)) => {
                self.client.give_up(&connection);
                return Ok(());
            }
        };
        match dialled {
            Ok(dialled) => {
                self.dialled = Some(dialled);
                self.accounting.redialled();
                self.snapshot = None;
                Ok(())
            }
            // What only the change is to blame for ends the change and not the stream.
            Err(error @ Error::InvalidRequest(_)) if self.revisions.refused(Refusal::Wrong) => Err(error),
            Err(error) => self.failed(error).await,
        }
    }

    fn ask(&mut self) -> Asked {
        if self.resume_token.is_some() {
            self.revisions.dial()
        } else {
            self.revisions.dial_anew()
        }
    }

    /// Takes the answer to a call beside the stream. `Err` is told, and the stream goes on.
    async fn called(&mut self, purpose: Purpose, outcome: Result<()>) -> Result<()> {
        let out_of_reach = outcome.as_ref().err().is_some_and(is_out_of_reach);
        let redial = match (purpose, &outcome) {
            (Purpose::Interests, Ok(())) => false,
            (Purpose::Interests, Err(_)) if out_of_reach => self.revisions.refused(Refusal::OutOfReach),
            // When it is in force already, the answer to a repeated call says nothing.
            (Purpose::Interests, Err(_)) if !self.revisions.refused(Refusal::Wrong) => return Ok(()),
            (Purpose::Key(_), Err(_)) if out_of_reach => true,
            (Purpose::Interests | Purpose::Key(_), _) => false,
        };
        if let (Purpose::Key(number), Some(dialled)) = (purpose, &mut self.dialled) {
            dialled.key = number;
        }
        match outcome {
            Err(error) if redial => {
                tracing::debug!(%error, "a call did not reach the stream; dialling again");
                self.dialled = None;
                let advised = error.retry_delay();
                self.pause(advised, || error).await
            }
            Err(error) if !out_of_reach => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Checks a frame and hands it out, or dials again from the last one that was right.
    async fn check(&mut self, bytes: &Bytes) -> Result<Option<Frame>> {
        let checked = Received::read(bytes)
            .ok_or(Violation::Garbled)
            .and_then(|mut received| {
                self.accounting.accept(&mut received.frame)?;
                Ok(received)
            });
        match checked {
            Ok(received) => Ok(Some(self.hand_out(received))),
            Err(violation) => {
                tracing::warn!(%violation, "the hub broke a promise; dialling again");
                self.dialled = None;
                let place = self.accounting.place();
                let (count, before) = self.violations;
                self.violations = (if before == place { count + 1 } else { 1 }, place);
                if self.violations.0 >= VIOLATIONS_MAX {
                    return Err(self.end(Error::BrokenPromise(violation.to_string())));
                }
                let told = violation.to_string();
                self.pause(None, || Error::BrokenPromise(told)).await.map(|()| None)
            }
        }
    }

    fn hand_out(&mut self, received: Received) -> Frame {
        let Received { resume_token, frame } = received;
        if !resume_token.is_empty() {
            self.shared.place.hand_out(&resume_token);
            self.resume_token = Some(resume_token);
        }
        if !matches!(frame, Frame::Subscribed(_)) {
            // Only `subscribed` and nothing after it is how a hub that fails at once looks.
            self.backoff.reset();
        }
        if frame.lacks_something() {
            self.reconcile(Moment::now());
        }
        self.note(&frame);
        frame
    }

    /// Notes what a frame changes in what comes behind it.
    fn note(&mut self, frame: &Frame) {
        if let Frame::Subscribed(subscribed) = frame {
            self.hold_to(subscribed);
            self.news = self.revisions.subscribed(subscribed.answer());
            self.accounting.hold(self.revisions.in_force());
        } else if let Frame::SubscriptionUpdated(updated) = frame {
            self.revisions.updated(updated);
            self.accounting.hold(self.revisions.in_force());
        } else if let Frame::SnapshotBegin(begin) = frame {
            self.snapshot = Some(begin.reason());
            self.revisions.snapshot_begins(begin.reason());
        } else if matches!(frame, Frame::SnapshotEnd(_)) {
            if let Some(reason) = self.snapshot.take() {
                self.revisions.snapshot_ends(reason);
            }
        } else if matches!(frame, Frame::CaughtUp(_)) && self.snapshot.is_none() {
            self.revisions.caught_up();
        } else if let Frame::Closing(closing) = frame {
            self.after = after_closing(closing);
        }
    }

    fn hold_to(&mut self, subscribed: &Subscribed) {
        let Some(dialled) = &mut self.dialled else {
            return;
        };
        dialled.subscription_id.clone_from(&subscribed.subscription_id);
        let told = subscribed.limits.as_ref().and_then(|limits| limits.heartbeat_interval);
        if let Some(interval) = told.and_then(|told| Duration::try_from(told).ok()) {
            dialled.watchdog.set_interval(interval);
        }
    }

    fn reconcile(&mut self, now: Moment) {
        let recently = self
            .last_reconcile
            .is_some_and(|last| now.machine.saturating_duration_since(last.machine) < RECONCILE_PAUSE);
        if self.options.on_undecodable == OnUndecodable::Snapshot && self.snapshot.is_none() && !recently {
            self.last_reconcile = Some(now);
            self.after = After::FromSnapshot;
        }
    }

    /// Decides about a connection that failed. `Ok`: dial again.
    async fn failed(&mut self, error: Error) -> Result<()> {
        if error.is_retryable() {
            let at_least = error.retry_delay();
            return self.pause(at_least, || error).await;
        }
        if error.reason() == Some(ErrorReason::ResumeTokenInvalid) && self.resume_token.is_some() {
            // Told once, and the next dial does not have it any more: neither a loop nor a dead end.
            self.restart_from_snapshot();
            return Err(error);
        }
        Err(self.end(error))
    }

    /// Waits before the next dial: as long as the hub said, whatever happens, and then as back-off says, unless the application or a
    /// sleep of the machine ends that. `Err`: it failed too often.
    async fn pause(&mut self, advised: Option<Duration>, last: impl FnOnce() -> Error) -> Result<()> {
        let Some(delay) = self.backoff.next_delay(advised) else {
            return Err(self.end(last()));
        };
        tracing::debug!(
            delay_ms = delay.as_millis(),
            failures = self.backoff.failures(),
            "dialling again"
        );
        let advised = advised.unwrap_or_default();
        crate::retry::wait(advised).await;
        tokio::select! {
            () = crate::retry::wait(delay.saturating_sub(advised)) => {}
            _ = self.redial.changed() => {}
            () = watchdog::woke(dial::heartbeat(&self.options)) => {}
        }
        Ok(())
    }

    fn leave(&mut self, leave: Leave) {
        match (self.dialled.take(), leave) {
            (Some(dialled), Leave::Connection) => self.client.give_up(&dialled.connection),
            (Some(_), Leave::Stream) | (None, _) => {}
        }
    }

    fn restart_from_snapshot(&mut self) {
        self.dialled = None;
        self.resume_token = None;
        self.start = Start::Snapshot;
    }

    fn end(&mut self, error: Error) -> Error {
        self.dialled = None;
        self.after = After::End;
        error
    }
}
