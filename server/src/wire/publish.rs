//! `PublishEvents`: a writer's stream.
//!
//! Believe this: nothing is spawned and nothing is queued here but the answers that are awaited, and those are bounded: at the bound the
//! hub stops reading, and the writer waits. Results leave in the order in which events came.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bellboard_core::appender::{self, Append, Claim, DeltaDraft, Outcome, Pending};
use bellboard_core::clock::{Clock, Sleep};
use bellboard_core::limits;
use bellboard_core::publishing::{Outrun, Place};
use bellboard_core::subscription::Closing;
use bellboard_core::subscription::frame::ClosingReason;
use bellboard_core::subscription::standing::{Credential, Standing};
use bellboard_proto::hub::v1::{self as hub, publish_entry::Entry, publish_events_request::Frame};
use bellboard_proto::v1::{self, publish_events_response::Frame as Answer};
use futures_util::{FutureExt, Stream, stream};
use tokio::sync::oneshot::error::TryRecvError;
use tonic::{Code, Status, Streaming};

use crate::wire::fault::Fault;
use crate::wire::frame::closing;
use crate::wire::results::{Name, names, results};
use crate::wire::status::{after_closing, appended, status, unread};
use crate::wire::writers::{lease, named_claim};
use crate::wire::{Authorized, State, draft};

/// A writer's stream.
pub(super) struct Publish {
    state: Arc<State>,
    allowed: Authorized,
    inbound: Streaming<hub::PublishEventsRequest>,
    claim: Option<Claim>,
    /// Its place among the streams of its log's writers, once it is open.
    place: Option<Place>,
    awaited: VecDeque<Awaited>,
    unacknowledged: (usize, usize),
    heartbeat: Option<Sleep>,
    draining: Closing,
    credential: Credential,
    phase: Phase,
    /// The status that comes after the last frame.
    then: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    /// The client has sent all; what is awaited is still answered.
    HalfClosed,
    Ended,
}

/// Appends that were queued and not yet answered.
struct Awaited {
    pending: Pending<Vec<Outcome>>,
    names: Vec<Name>,
    bytes: usize,
}

/// What happened next on the stream.
enum Happened {
    Frame(Result<Option<hub::PublishEventsRequest>, Status>),
    Answered(Result<Vec<Outcome>, appender::Error>),
    Quiet,
    Ending,
    Outrun(Outrun),
}

impl Publish {
    pub(super) fn new(
        state: Arc<State>,
        allowed: Authorized,
        inbound: Streaming<hub::PublishEventsRequest>,
    ) -> Publish {
        let draining = state.hub.draining();
        let credential = allowed.credential.standing.clone();
        Publish {
            state,
            allowed,
            inbound,
            claim: None,
            place: None,
            awaited: VecDeque::new(),
            unacknowledged: (0, 0),
            heartbeat: None,
            draining,
            credential,
            phase: Phase::Opening,
            then: None,
        }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Result<v1::PublishEventsResponse, Status>> + Send {
        stream::unfold(self, |mut publish| async {
            let answer = publish.next().await?;
            if answer.is_err() {
                publish.phase = Phase::Ended;
            }
            let answer = answer.map(|frame| v1::PublishEventsResponse { frame: Some(frame) });
            Some((answer, publish))
        })
    }

    async fn next(&mut self) -> Option<Result<Answer, Status>> {
        loop {
            match self.phase {
                Phase::Opening => return self.opening().await,
                Phase::HalfClosed if self.awaited.is_empty() => return None,
                Phase::Ended => return self.then.take().map(Err),
                Phase::Open | Phase::HalfClosed => {}
            }
            match self.happened().await {
                Happened::Answered(Ok(outcomes)) => return Some(Ok(self.acknowledge(outcomes))),
                Happened::Answered(Err(error)) => return Some(Err(appended(&error))),
                Happened::Frame(Ok(Some(frame))) => {
                    if let Err(status) = self.take(frame).await {
                        return Some(Err(status));
                    }
                }
                Happened::Frame(Ok(None)) => self.phase = Phase::HalfClosed,
                // Too long or unreadable; otherwise the client went away: what was queued is stored all the same, and it will ask for
                // its last seq.
                Happened::Frame(Err(error)) => return unread(&error).map(Err),
                Happened::Quiet => return Some(Ok(Answer::Heartbeat(v1::PublishHeartbeat {}))),
                Happened::Ending => {
                    self.phase = Phase::Ended;
                    return self.ending();
                }
                Happened::Outrun(why) => {
                    self.phase = Phase::Ended;
                    return Some(self.outrun(why));
                }
            }
        }
    }

    /// Waits for whatever comes first. Cancel safe: nothing is taken out of anything before it is returned.
    async fn happened(&mut self) -> Happened {
        let room = matches!(self.phase, Phase::Opening | Phase::Open)
            && self.unacknowledged.0 < limits::UNACKNOWLEDGED_EVENTS_MAX
            && self.unacknowledged.1 < limits::UNACKNOWLEDGED_BYTES_MAX;
        let clock: &dyn Clock = self.state.hub.clock();
        let heartbeat = self.heartbeat.get_or_insert_with(|| clock.sleep(self.state.heartbeat));
        let (awaited, place) = (&mut self.awaited, &mut self.place);
        let outrun = async {
            match place {
                Some(place) => place.outrun().await,
                None => std::future::pending().await,
            }
        };
        let answered = poll_fn(|context| match awaited.front_mut() {
            Some(front) => front.pending.poll_unpin(context),
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            answer = answered => Happened::Answered(answer.unwrap_or(Err(appender::Error::Stopped))),
            () = revoked(&mut self.credential) => Happened::Ending,
            () = ended(&mut self.draining) => Happened::Ending,
            why = outrun => Happened::Outrun(why),
            frame = self.inbound.message(), if room => Happened::Frame(frame),
            () = heartbeat => {
                self.heartbeat = None;
                Happened::Quiet
            }
        }
    }

    /// The first frame must open the stream, and come in the time between two heartbeats.
    async fn opening(&mut self) -> Option<Result<Answer, Status>> {
        let first = match self.happened().await {
            Happened::Frame(Ok(first)) => first.and_then(|request| request.frame),
            Happened::Frame(Err(error)) => return unread(&error).map(Err),
            Happened::Ending => {
                self.phase = Phase::Ended;
                return self.ending();
            }
            Happened::Quiet | Happened::Answered(_) | Happened::Outrun(_) => None,
        };
        self.phase = Phase::Open;
        Some(match first {
            Some(Frame::Open(open)) => self.open(open).await,
            Some(Frame::Batch(_) | Frame::Keepalive(_)) | None => Err(unexpected(
                "the first frame does not open the stream, or none came; send `open` first",
            )),
        })
    }

    async fn open(&mut self, open: v1::PublishOpen) -> Result<Answer, Status> {
        let v1::PublishOpen { writer_id, fence } = open;
        let claim = named_claim("open.writer_id", &writer_id, fence)?;
        let log = self.allowed.log.clone();
        let appender = self.state.hub.appender();
        let grant = appender.check_writer(log.clone(), claim.clone()).await;
        let grant = grant.map_err(|error| appended(&error))?;
        self.place = Some(log.publishing().enter(&claim));
        self.claim = Some(claim);
        Ok(Answer::Opened(v1::PublishOpened {
            writer_id,
            fence,
            last_seq: grant.last_seq,
            lease_duration: lease(),
            max_unacknowledged_events: u32::try_from(limits::UNACKNOWLEDGED_EVENTS_MAX).unwrap_or(u32::MAX),
            max_unacknowledged_bytes: limits::UNACKNOWLEDGED_BYTES_MAX as u64,
        }))
    }

    async fn take(&mut self, request: hub::PublishEventsRequest) -> Result<(), Status> {
        if let Some(Claim { writer, fence }) = &self.claim {
            let now = self.state.hub.clock().elapsed();
            self.allowed.log.leases().hear(writer, *fence, now);
        }
        let batch = match request.frame {
            Some(Frame::Batch(batch)) => batch,
            Some(Frame::Keepalive(_)) => return Ok(()),
            Some(Frame::Open(_)) => return Err(unexpected("the stream is open; send `open` only once")),
            None => {
                return Err(unexpected(
                    "the frame is of no kind that this hub knows; send `batch` or `keepalive`",
                ));
            }
        };
        if batch.entries.len() > limits::APPEND_EVENTS_MAX {
            return Err(Fault::entries("batch.entries", batch.entries.len(), 0, limits::APPEND_EVENTS_MAX).into());
        }
        // Runs of events and runs of deltas are queued in the order in which they came.
        let (mut appends, mut deltas) = (Appends::default(), Vec::new());
        let now = self.state.hub.clock().now();
        for entry in batch.entries {
            match entry.entry {
                Some(Entry::Append(append)) => {
                    self.pass_on(&mut deltas).await?;
                    appends.bytes += append.event.len() + append.raw.as_ref().map_or(0, |raw| raw.content.len());
                    let writer = self.claim.as_ref().map(|claim| &claim.writer);
                    appends.drafts.push(draft::append(&append, writer, now));
                }
                Some(Entry::Delta(delta)) => {
                    self.append(&mut appends).await?;
                    deltas.extend(draft::delta(&delta));
                }
                None => {
                    return Err(unexpected(
                        "an entry is of no kind that this hub knows; send `append` or `delta`",
                    ));
                }
            }
        }
        self.append(&mut appends).await?;
        self.pass_on(&mut deltas).await
    }

    async fn append(&mut self, appends: &mut Appends) -> Result<(), Status> {
        let Appends { drafts, bytes } = std::mem::take(appends);
        if drafts.is_empty() {
            return Ok(());
        }
        let names = names(&drafts);
        let log = self.allowed.log.clone();
        let pending = self.state.hub.appender().append(log, self.claim.clone(), drafts).await;
        let pending = pending.map_err(|error| appended(&error))?;
        self.unacknowledged.0 += names.len();
        self.unacknowledged.1 += bytes;
        self.awaited.push_back(Awaited { pending, names, bytes });
        Ok(())
    }

    async fn pass_on(&mut self, deltas: &mut Vec<DeltaDraft>) -> Result<(), Status> {
        if deltas.is_empty() {
            return Ok(());
        }
        let passed =
            self.state
                .hub
                .appender()
                .deltas(self.allowed.log.clone(), self.claim.clone(), std::mem::take(deltas));
        passed.await.map_err(|error| appended(&error))
    }

    /// The results of the oldest appends, and of those after them that are ready too.
    fn acknowledge(&mut self, outcomes: Vec<Outcome>) -> Answer {
        let mut acknowledged = Vec::new();
        let mut ready = Some(outcomes);
        while let Some(outcomes) = ready.take() {
            let Some(front) = self.awaited.pop_front() else { break };
            self.unacknowledged.0 -= front.names.len();
            self.unacknowledged.1 -= front.bytes;
            acknowledged.extend(results(front.names, outcomes));
            // An error of the next one is left in place: it ends the stream on the next turn.
            ready = match self.awaited.front_mut().map(|front| front.pending.try_recv()) {
                Some(Ok(Ok(outcomes))) => Some(outcomes),
                Some(Ok(Err(error))) => {
                    self.fail_next(error);
                    None
                }
                // Nobody will answer any more, and a receiver that said so must not be asked again.
                Some(Err(TryRecvError::Closed)) => {
                    self.fail_next(appender::Error::Stopped);
                    None
                }
                Some(Err(TryRecvError::Empty)) | None => None,
            };
        }
        Answer::Acknowledged(v1::PublishAcknowledged { results: acknowledged })
    }

    /// Puts an error that was taken out of its channel back at the front.
    fn fail_next(&mut self, error: appender::Error) {
        if let Some(front) = self.awaited.front_mut() {
            let (reply, pending) = tokio::sync::oneshot::channel();
            // The receiver is right here.
            let _ = reply.send(Err(error));
            front.pending = pending;
        }
    }

    /// The stream is not its writer's any more.
    fn outrun(&self, why: Outrun) -> Result<Answer, Status> {
        match why {
            Outrun::Replaced => Ok(Answer::Closing(closing(ClosingReason::Replaced, None))),
            Outrun::Fenced(current) => Err(appended(&appender::Error::Fenced {
                given: self.claim.as_ref().map_or(0, |claim| claim.fence),
                current,
            })),
        }
    }

    /// The last frame; the status that follows it is kept.
    fn ending(&mut self) -> Option<Result<Answer, Status>> {
        let credential = match *self.credential.borrow() {
            Standing::Ended(reason) => Some((reason, None)),
            Standing::Good | Standing::Expiring(_) => None,
        };
        let (reason, retry_after) = credential
            .or_else(|| *self.draining.borrow())
            .unwrap_or((ClosingReason::Draining, None));
        self.then = after_closing(reason);
        Some(Ok(Answer::Closing(closing(reason, retry_after))))
    }
}

/// Appends of one run.
#[derive(Default)]
struct Appends {
    drafts: Vec<Append>,
    bytes: usize,
}

/// Waits until the credential ends; for ever when nobody can say so any more.
async fn revoked(credential: &mut Credential) {
    let ended = |standing: &Standing| matches!(standing, Standing::Ended(_));
    if credential.wait_for(ended).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until a channel says that the stream must end; for ever when nobody can say so any more.
async fn ended(channel: &mut Closing) {
    if channel.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn unexpected(message: &str) -> Status {
    status(Code::InvalidArgument, v1::ErrorReason::FrameUnexpected, message, &[])
}
