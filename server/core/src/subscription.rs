//! One open stream: obeys the handoff and turns what it reads into frames.
//!
//! Believe this: a subscription holds a place, a seat and a few numbers. It has no queue but the first frames, the number of the next page
//! of a snapshot that others share, and the names of the items whose texts it is about to send, so a slow reader costs nobody anything.

mod begin;
pub mod clients;
mod closings;
pub mod control;
mod end;
pub(crate) mod entering;
mod fragments;
pub mod frame;
mod giving;
mod gone;
mod pages;
mod reading;
pub mod registry;
pub mod snapshots;
pub mod standing;
pub mod start;
pub mod updating;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Sleep};
use crate::handoff::{Handoff, Live, Source, Step};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::interest::index::{Seat, SeatId};
use crate::limits;
use crate::log::Log;
use crate::offset::{Offset, Time};
use crate::resume_token::{Keyring, Kind, Place};
use crate::store;
use crate::window::deltas::Opened;
use clients::Claim;
use closings::Closings;
use control::Control;
use entering::Held;
use frame::{ClosingReason, Frame, Sent};
use giving::Giving;
use registry::{Registered, SubscriptionId};
use snapshots::Snapshots;
use standing::Credential;
use start::{OnGap, Start};
use updating::Update;

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to begin.
    pub start: Start,
    /// What is wanted.
    pub interests: Interests,
    /// Sessions that were added to it, of which the stream that is resumed had not given the snapshot to its end.
    pub unsynced: Vec<SessionId>,
    /// What to do when history is missing, or too much.
    pub on_gap: OnGap,
    /// Whether raw records are wanted too.
    pub include_raw: bool,
    /// Whether to end once all sessions of the interests are closed and told.
    pub stop_when_closed: bool,
    /// How long to gather events after a wake-up.
    pub linger: Duration,
    /// Time between two heartbeats, before jitter.
    pub heartbeat: Duration,
    /// Bytes after which a frame is full.
    pub frame_bytes: usize,
    /// Most events that a resume replays.
    pub replay_events: u64,
    /// Age at which the stream is asked to come back, before jitter; none for never.
    pub max_age: Option<Duration>,
}

impl Request {
    /// Whether fragments are wanted.
    fn live(&self) -> Live {
        if self.interests.live() {
            Live::Wanted
        } else {
            Live::Unwanted
        }
    }
}

/// Why there is no stream, or why it broke off. The resume token of the last frame stays good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The resume token is malformed, was changed, or belongs to another tenant.
    #[error("resume token is not valid here; start from a snapshot")]
    ResumeTokenInvalid,
    /// History is missing, and `on_gap` is FAIL.
    #[error("events from {from} on are no longer kept; the oldest is {oldest}; start from a snapshot")]
    HistoryGone {
        /// What was asked for.
        from: Offset,
        /// What there is.
        oldest: Offset,
    },
    /// Too much history, and `on_gap` is FAIL.
    #[error("more than {0} events lie behind; start from a snapshot, or set on_gap to CONTINUE to replay them all")]
    TooFarBehind(u64),
    /// The store cannot be read now.
    #[error("the log cannot be read now; try again")]
    Store(#[from] store::Error),
}

/// What may end all streams of a node from outside.
pub type Closing = watch::Receiver<Option<(ClosingReason, Option<Duration>)>>;

/// What a subscription is given by the hub.
#[derive(Debug)]
pub struct Surroundings {
    /// The log.
    pub log: Arc<Log>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The snapshots that all streams of the process share.
    pub snapshots: Arc<Snapshots>,
    /// The resume token keys as they are now.
    pub keyring: Arc<Keyring>,
    /// The end of the node.
    pub draining: Closing,
    /// How its credential stands.
    pub credential: Credential,
    /// The stream's name, and what is said to it from outside.
    pub registered: Registered,
}

/// One open stream.
pub struct Subscription {
    around: Surroundings,
    request: Request,
    /// What resume tokens are of: the interests, or those before them until what was added is given.
    interests_hash: u64,
    seat_id: SeatId,
    /// Shared with the index, which stamps it; given back on drop.
    seat: Arc<Seat>,
    handoff: Handoff,
    /// Where it began.
    began: Offset,
    /// Frames that are decided but not sent: the answer, a snapshot's begin, texts.
    ready: VecDeque<(Frame, Kind)>,
    /// The snapshot that is under way, which comes after what is ready.
    giving: Option<Box<Giving>>,
    /// Snapshots of sessions that were given, until the place has come past them.
    held: Held,
    /// The newest change of interests, until it takes effect.
    update: Option<Box<Update>>,
    /// Items whose texts are to be sent before anything else is read: at most [`limits::ITEMS_IN_FLIGHT_MAX`] of them.
    texts_due: VecDeque<Opened>,
    heartbeat: Option<Sleep>,
    /// Whether the next frame where there is nothing to read is a heartbeat.
    heartbeat_due: bool,
    /// Whether the sessions may have closed since it was looked.
    check_closed: bool,
    /// Wakes it when sessions are closed that it would not hear of.
    closings: Option<Box<Closings>>,
    /// When it is old enough to end, by the clock's elapsed time.
    ends_at: Option<Duration>,
    /// The expiry that it was warned of.
    warned: Option<Time>,
    /// Its place among the streams of its client, where it has one.
    claim: Option<Box<Claim>>,
    /// Whether a later stream of the same client took its place.
    replaced: bool,
    ended: bool,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("handoff", &self.handoff)
            .finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.around.log.leave(self.seat_id, &self.request.interests);
    }
}

impl Subscription {
    /// Takes a seat and decides where to begin. The first frames are ready when this returns.
    ///
    /// # Errors
    /// When the start is refused or the store cannot be read.
    pub async fn open(around: Surroundings, request: Request) -> Result<Subscription, Error> {
        let (seat_id, seat) = around.log.enter(&request.interests);
        let live = request.live();
        let interests_hash = request.interests.hash();
        let (tail, link) = around.log.tail();
        // From here on the seat is given back when this is dropped, also on an early return.
        let mut subscription = Subscription {
            around,
            interests_hash,
            seat_id,
            seat,
            handoff: Handoff::new(tail, link, live),
            began: tail,
            ready: VecDeque::new(),
            giving: None,
            held: Held::default(),
            update: None,
            texts_due: VecDeque::new(),
            heartbeat: None,
            heartbeat_due: false,
            check_closed: request.stop_when_closed,
            closings: None,
            ends_at: None,
            warned: None,
            claim: None,
            replaced: false,
            ended: false,
            request,
        };
        subscription.watch_end();
        let begin = subscription.begin().await?;
        subscription.start(begin).await?;
        (subscription.began, _) = subscription.handoff.place();
        Ok(subscription)
    }

    /// The next frame; none after the last one. Not cancel safe: drop the subscription instead of retrying.
    ///
    /// # Errors
    /// When the store cannot be read. Nothing comes after an error.
    pub async fn next(&mut self) -> Option<Result<Sent, Error>> {
        if self.ended {
            return None;
        }
        match self.advance().await {
            Ok(frame) => {
                self.ended = matches!(frame.0, Frame::Closing { .. });
                Some(Ok(self.sent(frame)))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> SubscriptionId {
        self.around.registered.id()
    }

    /// Holds its place among the streams of its client until it is dropped.
    pub(crate) fn hold(&mut self, claim: Claim) {
        self.claim = Some(Box::new(claim));
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.seat.wakes()
    }

    async fn advance(&mut self) -> Result<(Frame, Kind), Error> {
        loop {
            self.listen();
            if let Some(closing) = self.closing() {
                return Ok(closing);
            }
            if let Some(warning) = self.expiring() {
                return Ok(warning);
            }
            if let Some(frame) = self.ready.pop_front() {
                return Ok(frame);
            }
            if self.giving.is_some() {
                if let Some(frame) = Box::pin(self.next_page()).await? {
                    return Ok(frame);
                }
                continue;
            }
            if let Some(frame) = self.update() {
                return Ok(frame);
            }
            if self.copy_next_texts() {
                continue;
            }
            match self.handoff.step(self.around.log.view(&self.seat)) {
                Step::Read {
                    source: Source::Window,
                    from,
                    until,
                } => {
                    if let Some(frame) = self.read_window(from, until).await? {
                        return Ok(frame);
                    }
                }
                Step::Read {
                    source: Source::Store,
                    from,
                    until,
                } => {
                    if let Some(frame) = Box::pin(self.read_store(from, until)).await? {
                        return Ok(frame);
                    }
                }
                Step::Gone(until) => {
                    if let Some(frame) = Box::pin(self.pass_gone(until)).await? {
                        return Ok(frame);
                    }
                }
                Step::CaughtUp(tail) => {
                    self.check_closed = self.request.stop_when_closed;
                    self.held.pass(tail);
                    if self.handoff.untold() {
                        let frame = self.account();
                        self.ready.push_back(frame);
                    }
                    self.ready.push_back(complete(Frame::CaughtUp(tail)));
                }
                Step::FellBehind(by) => return Ok(complete(Frame::FellBehind(by))),
                Step::SyncTexts => self.sync_texts(),
                Step::ReadDeltas(number) => {
                    if let Some(frame) = self.read_deltas(number) {
                        return Ok(complete(frame));
                    }
                }
                Step::Wait => {
                    if let Some(frame) = self.wait().await? {
                        return Ok(complete(frame));
                    }
                }
            }
        }
    }

    /// Obeys what was said from outside since it was last looked.
    fn listen(&mut self) {
        while let Some(control) = self.around.registered.mailbox().take() {
            match control {
                Control::Replaced => self.replaced = true,
                Control::Credential(credential) => self.around.credential = credential,
                Control::Interests(update) => self.update = Some(Box::new(update)),
            }
        }
    }

    fn sent(&self, (frame, kind): (Frame, Kind)) -> Sent {
        let counters = self.around.log.counters();
        if let Frame::Subscribed { answer, .. } = &frame {
            counters.answers.add(*answer);
        } else if let Frame::Closing { reason, .. } = &frame {
            counters.closings.add(*reason);
        }
        let (next, link) = self.handoff.told();
        let place = Place {
            epoch: self.around.log.row().epoch,
            next,
            link,
            interests: self.interests_hash,
            kind,
        };
        Sent { frame, place }
    }

    /// The frame that is due where there is nothing to read: the end, or a heartbeat. Parks until woken where none is.
    async fn wait(&mut self) -> Result<Option<Frame>, Error> {
        if std::mem::take(&mut self.check_closed) && Box::pin(self.all_closed()).await? {
            return Ok(Some(Frame::Closing {
                reason: ClosingReason::Complete,
                retry_after: None,
            }));
        }
        if std::mem::take(&mut self.heartbeat_due) {
            let (from, until) = self.handoff.tell();
            return Ok(Some(Frame::Heartbeat { from, until }));
        }
        let clock = &self.around.clock;
        let interval = self.request.heartbeat;
        let ends_at = self.ends_at;
        let heartbeat = self.heartbeat.get_or_insert_with(|| {
            let left = ends_at.map(|end| end.saturating_sub(clock.elapsed()));
            clock.sleep(jittered(interval).min(left.unwrap_or(Duration::MAX)))
        });
        tokio::select! {
            biased;
            () = self.around.registered.mailbox().rung() => {}
            () = changed(&mut self.around.credential) => {}
            () = changed(&mut self.around.draining) => {}
            () = self.seat.woken() => {
                if !self.request.linger.is_zero() {
                    self.around.clock.sleep(self.request.linger).await;
                }
            }
            () = closings::woken(self.closings.as_deref()) => self.check_closed = true,
            () = heartbeat => {
                // It is sent once everything is read that came until then, so that it names a tail it covers.
                self.heartbeat = None;
                self.heartbeat_due = true;
                self.check_closed = self.request.stop_when_closed;
            }
        }
        Ok(None)
    }
}

const fn complete(frame: Frame) -> (Frame, Kind) {
    (frame, Kind::Complete)
}

/// Waits for news on a channel; for ever when nobody can send any more.
async fn changed<T>(channel: &mut watch::Receiver<T>) {
    if channel.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// An interval made up to [`limits::HEARTBEAT_JITTER`] shorter or longer.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 + (random() * 2.0 - 1.0) * limits::HEARTBEAT_JITTER)
}

/// An age made up to [`limits::MAX_AGE_JITTER`] shorter.
fn jittered_down(age: Duration) -> Duration {
    age.mul_f64(1.0 - random() * limits::MAX_AGE_JITTER)
}

/// Of 0 to 1. Without randomness from the machine all do the same at once, which is only a matter of comfort.
fn random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
