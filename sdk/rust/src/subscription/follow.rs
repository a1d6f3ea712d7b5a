//! Dials, reads, checks, and dials again.
//!
//! The one thing to believe: a frame is handed out only if it goes on from the one before, and a redial always asks for what
//! follows the last frame handed out. Nothing is read ahead, so there is nothing to lose between.

use std::sync::Arc;
use std::time::Duration;

use bellboard_proto::v1;
use bellboard_proto::v1::{Closing, ClosingReason, ErrorReason};
use bytes::Bytes;
use tonic::Code;

use super::accounting::{Accounting, Violation};
use super::dial::{self, Dialled, ended};
use super::frame::{Frame, Received};
use super::place::Shared;
use super::watchdog::{Moment, Verdict};
use super::{OnUndecodable, Start, SubscribeOptions};
use crate::client::Client;
use crate::error::{Error, Failure, Result};
use crate::retry::Backoff;

/// How often the same promise may be broken at the same place before the application is told. Less might be a proxy's doing.
const VIOLATIONS_MAX: u32 = 3;

/// How long after a snapshot for something that could not be read no other one is fetched: a hub whose every event is broken
/// costs a snapshot a minute, not a loop.
const RECONCILE_PAUSE: Duration = Duration::from_secs(60);

/// What the frame or error that was handed out last leads to.
enum After {
    GoOn,
    /// Dial again, after this long or as back-off says.
    Redial(Option<Duration>),
    /// Dial again and ask for a snapshot.
    FromSnapshot,
    Fail(Error),
    End,
}

/// What reading came to.
enum Read {
    Frame(Bytes),
    /// The connection ended; it is gone.
    Ended(Error),
    /// The connection is given up, without a word from it. It is gone.
    GivenUp(&'static str),
}

/// The reading half of a subscription.
pub(super) struct Follower {
    client: Client,
    options: SubscribeOptions,
    // The other holders are the subscription and its redialers.
    shared: Arc<Shared>,
    loaded: bool,
    /// What to ask for while there is no resume token.
    start: Start,
    /// Of the last frame handed out.
    resume_token: Option<String>,
    dialled: Option<Dialled>,
    accounting: Accounting,
    in_snapshot: bool,
    backoff: Backoff,
    after: After,
    /// Broken promises in a row, and the place where.
    violations: (u32, Option<u64>),
    last_reconcile: Option<Moment>,
}

impl Follower {
    pub(super) fn new(client: Client, options: SubscribeOptions, shared: Arc<Shared>) -> Follower {
        let backoff = Backoff::new(options.retry.clone());
        let mut start = options.start.clone();
        let mut resume_token = None;
        if let Start::ResumeToken(given) = &mut start {
            resume_token = Some(std::mem::take(given));
            // What a resume token that leads nowhere leads to.
            start = Start::Snapshot;
        }
        Follower {
            client,
            options,
            shared,
            loaded: false,
            start,
            resume_token,
            dialled: None,
            accounting: Accounting::default(),
            in_snapshot: false,
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
            After::Redial(at_least) => {
                self.dialled = None;
                if let Err(error) = self.pause(at_least, || ended("the hub closed the stream")).await {
                    return Some(Err(error));
                }
            }
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
                After::End | After::Fail(_) => self.shared.acknowledge().await,
                After::GoOn | After::Redial(_) | After::FromSnapshot => self.shared.taken(Moment::now()).await,
            };
        }
        match self.shared.load().await {
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
            self.give_up();
        }
    }

    /// Dials or reads once. `None`: go on.
    async fn step(&mut self) -> Result<Option<Frame>> {
        if self.dialled.is_none() {
            match dial::dial(&self.client, &self.options, self.resume_token.as_deref(), &self.start).await {
                Ok(dialled) => {
                    self.dialled = Some(dialled);
                    self.accounting.redialled();
                    self.in_snapshot = false;
                }
                Err(error) => {
                    self.failed(error).await?;
                    return Ok(None);
                }
            }
        }
        match self.read().await {
            Read::Frame(bytes) => self.check(&bytes).await,
            Read::Ended(error) => self.failed(error).await.map(|()| None),
            Read::GivenUp(why) => {
                tracing::debug!(why, "dialling again");
                Ok(None)
            }
        }
    }

    /// Waits for a frame, and meanwhile looks at the clock.
    async fn read(&mut self) -> Read {
        let Some(dialled) = &mut self.dialled else {
            return Read::GivenUp("not dialled");
        };
        let why = loop {
            tokio::select! {
                message = dialled.frames.message() => {
                    let error = match message {
                        Ok(Some(bytes)) => {
                            dialled.watchdog.heard(Moment::now());
                            return Read::Frame(bytes);
                        }
                        Ok(None) => ended("the stream ended without a closing"),
                        Err(status) => status.into(),
                    };
                    self.dialled = None;
                    return Read::Ended(error);
                }
                () = tokio::time::sleep(dialled.watchdog.next_look()) => {
                    match dialled.watchdog.look(Moment::now()) {
                        Verdict::Alive => {}
                        Verdict::Silent => break "no heartbeat came",
                        Verdict::Woke => break "the machine slept",
                    }
                }
                () = self.shared.redial.notified() => break "the application asked",
            }
        };
        self.give_up();
        Read::GivenUp(why)
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
            self.shared.hand_out(&resume_token);
            self.resume_token = Some(resume_token);
        }
        if !matches!(frame, Frame::Subscribed(_)) {
            // Only `subscribed` and nothing after it is how a hub that fails at once looks.
            self.backoff.reset();
        }
        if frame.lacks_something() {
            self.reconcile(Moment::now());
        }
        if let Frame::Subscribed(subscribed) = &frame {
            self.hold_to(subscribed);
        } else if let Frame::Closing(closing) = &frame {
            self.after = after_closing(closing);
        } else if matches!(frame, Frame::SnapshotBegin(_)) {
            self.in_snapshot = true;
        } else if matches!(frame, Frame::SnapshotEnd(_)) {
            self.in_snapshot = false;
        }
        frame
    }

    fn hold_to(&mut self, subscribed: &v1::Subscribed) {
        let told = subscribed.limits.as_ref().and_then(|limits| limits.heartbeat_interval);
        if let Some(dialled) = &mut self.dialled
            && let Some(interval) = told.and_then(|told| Duration::try_from(told).ok())
        {
            dialled.watchdog.set_interval(interval);
        }
    }

    fn reconcile(&mut self, now: Moment) {
        let recently = self
            .last_reconcile
            .is_some_and(|last| now.machine.saturating_duration_since(last.machine) < RECONCILE_PAUSE);
        if self.options.on_undecodable == OnUndecodable::Snapshot && !self.in_snapshot && !recently {
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

    /// Waits before the next dial, unless the application asks to dial now. `Err`: it failed too often.
    async fn pause(&mut self, at_least: Option<Duration>, last: impl FnOnce() -> Error) -> Result<()> {
        let Some(delay) = self.backoff.next_delay(at_least) else {
            return Err(self.end(last()));
        };
        tracing::debug!(
            delay_ms = delay.as_millis(),
            failures = self.backoff.failures(),
            "dialling again"
        );
        tokio::select! {
            () = crate::retry::wait(delay) => {}
            () = self.shared.redial.notified() => {}
        }
        Ok(())
    }

    fn give_up(&mut self) {
        if let Some(dialled) = self.dialled.take() {
            self.client.give_up(&dialled.connection);
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

fn after_closing(closing: &Closing) -> After {
    match closing.reason() {
        ClosingReason::Complete => After::End,
        ClosingReason::Replaced => After::Fail(Error::Replaced),
        ClosingReason::CredentialExpired => After::Fail(Error::Credential(Failure::local(
            Code::Unauthenticated,
            Some(ErrorReason::CredentialExpired),
            "the key expired while the stream was open",
        ))),
        ClosingReason::PermissionRevoked => After::Fail(Error::Permission(Failure::local(
            Code::PermissionDenied,
            None,
            "the key's permission was revoked while the stream was open",
        ))),
        ClosingReason::Draining | ClosingReason::MaxAge | ClosingReason::Unspecified => {
            After::Redial(closing.retry_after.and_then(|told| Duration::try_from(told).ok()))
        }
    }
}
