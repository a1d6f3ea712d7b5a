//! The publishing half of a writer: dials, sends what waits, takes answers, and dials again.
//!
//! The one thing to believe: it decides nothing about events. What to send and what is answered is the queue's, so losing a
//! connection here loses a connection and nothing else.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bellboard_proto::v1::publish_events_request::Frame as Up;
use bellboard_proto::v1::publish_events_response::Frame as Down;
use bellboard_proto::v1::session_events_service_client::SessionEventsServiceClient;
use bellboard_proto::v1::{
    ClosingReason, ErrorReason, OpenWriterRequest, OpenWriterResponse, PublishEventsRequest, PublishEventsResponse,
    PublishKeepalive, PublishOpen, PublishOpened, RenewWriterRequest, RenewWriterResponse,
};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::queue::{Acknowledged, Resync, Window};
use super::shared::Shared;
use crate::client::{Client, Connection, MESSAGE_BYTES_MAX};
use crate::error::{Error, Failure, Result};
use crate::retry::{Backoff, RetryPolicy};
use crate::subscription::watchdog::{Moment, Verdict, Watchdog};

/// Frames made and not yet taken by HTTP/2. More would only be memory.
const FRAMES_AHEAD: usize = 2;

/// A lease when the hub does not tell how long it is.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

/// A sign of life and a look for one come so many times in a lease.
const SIGNS_PER_LEASE: u32 = 4;

/// What may be unacknowledged when the hub does not tell.
const WINDOW_DEFAULT: Window = Window {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
};

/// Opens a writer under a new fence.
pub(super) async fn open(client: &Client, request: OpenWriterRequest) -> Result<OpenWriterResponse> {
    Ok(client.session_events().open_writer(request).await?.into_inner())
}

/// Tells the hub what a writer holds.
pub(super) async fn renew(client: &Client, request: RenewWriterRequest) -> Result<RenewWriterResponse> {
    Ok(client.session_events().renew_writer(request).await?.into_inner())
}

/// One connection's stream.
struct Dialled {
    connection: Connection,
    up: mpsc::Sender<PublishEventsRequest>,
    down: Streaming<PublishEventsResponse>,
    window: Window,
    lease: Duration,
}

/// How a stream came to its end.
enum End {
    /// The writer is closed, and everything is acknowledged.
    Closed,
    /// The hub asked to come back, after this long.
    Closing(Option<Duration>),
}

/// The publishing task's state.
pub(super) struct Publisher {
    client: Client,
    writer_id: String,
    // The other holder is the writer.
    shared: Arc<Shared>,
    backoff: Backoff,
    /// How the next stream begins.
    next: Next,
}

/// What the hub is told before a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: it was told just now.
    Dial,
    /// What is held, under the fence that there is.
    Renew,
    /// The same under a new fence: the hub has forgotten the writer, or some of what it acknowledged, or its fence is too old for a session.
    Open,
}

impl Publisher {
    pub(super) fn new(client: Client, writer_id: String, shared: Arc<Shared>, retry: RetryPolicy) -> Publisher {
        Publisher {
            client,
            writer_id,
            shared,
            backoff: Backoff::new(retry),
            next: Next::Dial,
        }
    }

    /// Runs until the writer is closed or can do no more, and tells the writer which.
    pub(super) async fn run(mut self) {
        while !self.shared.is_done() {
            let (error, at_least) = match Box::pin(self.stream()).await {
                Ok(End::Closed) => return self.shared.end(Error::Closed),
                Ok(End::Closing(told)) => (away("the hub closed the stream"), told),
                Err(error) if self.is_final(&error) => return self.shared.end(error),
                Err(error) => {
                    let told = error.retry_delay();
                    (error, told)
                }
            };
            let Some(delay) = self.backoff.next_delay(at_least) else {
                return self.shared.end(error);
            };
            tracing::debug!(%error, delay_ms = delay.as_millis(), "publishing again");
            self.pause(delay).await;
        }
        self.shared.end(Error::Closed);
    }

    /// Waits before the next dial, unless the writer is closed meanwhile and owes nothing.
    async fn pause(&self, delay: Duration) {
        let closed = async {
            while !self.shared.is_done() {
                self.shared.work.notified().await;
            }
        };
        tokio::select! {
            () = crate::retry::wait(delay) => {}
            () = closed => {}
        }
    }

    /// Whether dialling again cannot help.
    fn is_final(&mut self, error: &Error) -> bool {
        match error.reason() {
            Some(ErrorReason::WriterUnknown) => {
                self.next = Next::Open;
                false
            }
            // The next stream begins with what the hub has.
            Some(ErrorReason::SeqGap) => false,
            _ => !error.is_retryable(),
        }
    }

    async fn stream(&mut self) -> Result<End> {
        self.come_back().await?;
        let dialled = self.dial().await?;
        let connection = dialled.connection.clone();
        let end = self.publish(dialled).await;
        if let Err(Error::OutcomeUnknown(failure)) = &end
            && failure.code == Code::DeadlineExceeded
        {
            // Given up by our own clock: the connection may be dead without knowing.
            self.client.give_up(&connection);
        }
        end
    }

    /// Tells the hub what is held, and never takes any of it from another writer: that is the application's to say, each time.
    async fn come_back(&mut self) -> Result<()> {
        match self.next {
            Next::Renew if !self.shared.holds_nothing() => {
                let _turn = self.shared.claiming.lock().await;
                let request = RenewWriterRequest {
                    writer_id: self.writer_id.clone(),
                    fence: self.shared.fence(),
                    sessions: self.shared.held(),
                    take_over: false,
                };
                let renewed = in_time(renew(&self.client, request.clone())).await?;
                self.shared.claimed(request.sessions, &renewed.results);
            }
            Next::Open => {
                let _turn = self.shared.claiming.lock().await;
                let request = OpenWriterRequest {
                    writer_id: self.writer_id.clone(),
                    sessions: self.shared.held(),
                    take_over: false,
                    acknowledged_seq: self.shared.acknowledged(),
                };
                let opened = in_time(open(&self.client, request.clone())).await?;
                self.shared.claimed(request.sessions, &opened.results);
                self.shared.set_fence(opened.fence);
                // From here on what was acknowledged is what the hub has: it is told once that there was more.
                self.resync(opened.last_seq)?;
            }
            Next::Renew | Next::Dial => {}
        }
        self.next = Next::Renew;
        Ok(())
    }

    async fn dial(&mut self) -> Result<Dialled> {
        self.shared.dialled();
        let connection = self.client.connection();
        let (up, frames) = mpsc::channel(FRAMES_AHEAD);
        let open = Up::Open(PublishOpen {
            writer_id: self.writer_id.clone(),
            fence: self.shared.fence(),
        });
        // The channel is new and holds two: there is room.
        let _ = up.try_send(PublishEventsRequest { frame: Some(open) });
        let mut client =
            SessionEventsServiceClient::new(connection.transport.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let call = async {
            let mut down = client.publish_events(ReceiverStream::new(frames)).await?.into_inner();
            let opened = opened(&mut down).await?;
            Ok::<_, Error>((down, opened))
        };
        let Ok(answer) = tokio::time::timeout(LEASE_DEFAULT, call).await else {
            self.client.give_up(&connection);
            return Err(away("the hub did not answer"));
        };
        let (down, opened) = answer?;
        if self.shared.is_ahead_of(opened.last_seq) {
            self.next = Next::Open;
            return Err(away("the hub has less than it acknowledged"));
        }
        self.resync(opened.last_seq)?;
        Ok(Dialled {
            connection,
            up,
            down,
            window: window(&opened),
            lease: lease(&opened),
        })
    }

    fn resync(&self, last_seq: u64) -> Result<()> {
        match self.shared.resync(last_seq)? {
            Resync::InStep | Resync::Renumbered => Ok(()),
            Resync::Overtaken => Err(fenced("the hub has events of this writer that it did not send")),
        }
    }

    async fn publish(&mut self, dialled: Dialled) -> Result<End> {
        let Dialled {
            up,
            mut down,
            window,
            lease,
            ..
        } = dialled;
        let mut signs = signs(lease);
        let mut watchdog = Watchdog::new(lease / SIGNS_PER_LEASE, Moment::now());
        let shared = Arc::clone(&self.shared);
        while !shared.is_done() {
            let has_batch = shared.has_batch(window);
            tokio::select! {
                message = down.message() => {
                    watchdog.heard(Moment::now());
                    let Some(frame) = message? else {
                        return Err(away("the hub ended the stream"));
                    };
                    if let Some(end) = self.take(frame)? {
                        return Ok(end);
                    }
                }
                permit = up.reserve(), if has_batch => {
                    let Ok(permit) = permit else {
                        // The sending half is gone; the receiving half says why.
                        return Err(last_word(&mut down).await);
                    };
                    if let Some(batch) = shared.next_batch(window) {
                        permit.send(PublishEventsRequest { frame: Some(Up::Batch(batch)) });
                    }
                }
                () = shared.work.notified(), if !has_batch => {}
                _ = signs.tick() => {
                    // When it is full, frames are on their way that are a sign of life themselves.
                    let _ = up.try_send(PublishEventsRequest { frame: Some(Up::Keepalive(PublishKeepalive {})) });
                }
                () = tokio::time::sleep(watchdog.next_look()) => look(&mut watchdog, &shared)?,
            }
        }
        drop(up);
        // Everything is acknowledged; whatever the hub still says changes nothing.
        let _ = tokio::time::timeout(watchdog.patience(), last_word(&mut down)).await;
        Ok(End::Closed)
    }

    fn take(&mut self, frame: PublishEventsResponse) -> Result<Option<End>> {
        match frame.frame {
            Some(Down::Acknowledged(acknowledged)) => match self.shared.acknowledge(acknowledged.results) {
                Acknowledged::Taken => self.backoff.reset(),
                Acknowledged::OutOfStep => return Err(away("the hub misses an event before the ones it was sent")),
                Acknowledged::Fenced => {
                    // The stream's own fence is good, so no later incarnation of this writer is there.
                    self.next = Next::Open;
                    return Err(away("a session was held under a newer fence since"));
                }
            },
            Some(Down::Closing(closing)) if closing.reason() == ClosingReason::Replaced => return Err(Error::Replaced),
            Some(Down::Closing(closing)) => {
                let told = closing.retry_after.and_then(|told| Duration::try_from(told).ok());
                return Ok(Some(End::Closing(told)));
            }
            // Signs of life, and what a later hub says.
            Some(Down::Opened(_) | Down::Heartbeat(_)) | None => {}
        }
        Ok(None)
    }
}

/// What the hub does not answer in the time of a lease it does not answer at all.
async fn in_time<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LEASE_DEFAULT, call)
        .await
        .unwrap_or_else(|_| Err(away("the hub did not answer")))
}

async fn opened(down: &mut Streaming<PublishEventsResponse>) -> Result<PublishOpened> {
    match down.message().await?.map(|frame| frame.frame) {
        Some(Some(Down::Opened(opened))) => Ok(opened),
        Some(_) => Err(away("the hub's first frame is not `opened`")),
        None => Err(away("the hub ended the stream before it opened")),
    }
}

/// Why the hub ended a stream that cannot be written to any more.
async fn last_word(down: &mut Streaming<PublishEventsResponse>) -> Error {
    loop {
        match down.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return away("the hub ended the stream"),
            Err(status) => return status.into(),
        }
    }
}

/// A hub that owes nothing may be silent.
fn look(watchdog: &mut Watchdog, shared: &Shared) -> Result<()> {
    if !shared.awaits_answers() {
        watchdog.forgive(Moment::now());
    }
    let how = match watchdog.look(Moment::now()) {
        Verdict::Alive => return Ok(()),
        Verdict::Silent => "the hub has not acknowledged anything for too long",
        Verdict::Woke => "the machine slept",
    };
    Err(Error::OutcomeUnknown(Failure::local(Code::DeadlineExceeded, None, how)))
}

fn signs(lease: Duration) -> Interval {
    let mut signs = tokio::time::interval((lease / SIGNS_PER_LEASE).max(Duration::from_millis(1)));
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is not due at once: the stream's opening is a sign itself.
    signs.reset();
    signs
}

fn lease(opened: &PublishOpened) -> Duration {
    opened
        .lease_duration
        .and_then(|lease| Duration::try_from(lease).ok())
        .filter(|lease| !lease.is_zero())
        .unwrap_or(LEASE_DEFAULT)
}

fn window(opened: &PublishOpened) -> Window {
    let told = Window {
        events: opened.max_unacknowledged_events as usize,
        bytes: usize::try_from(opened.max_unacknowledged_bytes).unwrap_or(usize::MAX),
    };
    Window {
        events: if told.events == 0 {
            WINDOW_DEFAULT.events
        } else {
            told.events
        },
        bytes: if told.bytes == 0 {
            WINDOW_DEFAULT.bytes
        } else {
            told.bytes
        },
    }
}

fn away(how: &'static str) -> Error {
    Error::OutcomeUnknown(Failure::local(Code::Unavailable, None, how))
}

fn fenced(how: impl Into<String>) -> Error {
    Error::Fenced(Failure::local(Code::FailedPrecondition, Some(ErrorReason::Fenced), how))
}
