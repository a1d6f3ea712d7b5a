//! One connection's stream: asking for it, reading from it, and calling beside it.
//!
//! The one thing to believe: a resume token goes before the start that the application asked for, always.

use std::time::Duration;

use bellboard_proto::v1;
use bellboard_proto::v1::SubscribeRequest;
use bellboard_proto::v1::subscribe_request::Start as WireStart;
use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::watch;
use tonic::{Code, Status, Streaming};

use super::calls::{self, Calls, Purpose};
use super::revisions::{Asked, Revision, Revisions};
use super::watchdog::{Moment, Verdict, Watchdog};
use super::wire::FrameCodec;
use super::{Start, SubscribeOptions};
use crate::client::{Client, Connection, KeyChanges, MESSAGE_BYTES_MAX};
use crate::error::{Error, Failure, Result};

const SUBSCRIBE: &str = "/bellboard.v1.SubscribeService/Subscribe";

/// The contract's silence between two frames, when the application asks for none.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);

/// What to dial.
pub(super) struct Dial<'a> {
    pub(super) options: &'a SubscribeOptions,
    pub(super) resume_token: Option<&'a str>,
    pub(super) start: &'a Start,
    pub(super) asked: Asked,
}

/// One connection's stream. Dropping it ends it, and the call beside it.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    pub(super) watchdog: Watchdog,
    /// Names the stream in calls. Empty before `subscribed`.
    pub(super) subscription_id: String,
    /// Which key in a row the stream lives by.
    pub(super) key: u64,
    frames: Streaming<Bytes>,
    calls: Calls,
}

/// What came of listening to a stream.
pub(super) enum Heard {
    Frame(Bytes),
    /// The call beside it was answered, or cannot be.
    Called(Purpose, Result<()>),
    /// The connection ended.
    Ended(Error),
    /// The connection is to be given up, without a word from it.
    Dead(&'static str),
}

/// What a listener hears besides the stream.
pub(super) struct Outside<'a> {
    pub(super) client: &'a Client,
    pub(super) redial: &'a mut watch::Receiver<()>,
    pub(super) wanted: &'a mut watch::Receiver<Revision>,
    pub(super) keys: &'a mut KeyChanges,
    pub(super) revisions: &'a mut Revisions,
}

/// Asks the hub for a stream, and waits for its answer no longer than for three heartbeats.
pub(super) async fn dial(client: &Client, connection: Connection, key: u64, dial: Dial<'_>) -> Result<Dialled> {
    let interval = heartbeat(dial.options);
    let mut watchdog = Watchdog::new(interval, Moment::now());
    let mut grpc = tonic::client::Grpc::new(connection.transport.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = tonic::Request::new(request(dial));
    let call = async {
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        grpc.server_streaming(request, PathAndQuery::from_static(SUBSCRIBE), FrameCodec)
            .await
    };
    let Ok(answer) = tokio::time::timeout(watchdog.patience(), call).await else {
        client.give_up(&connection);
        return Err(ended("the hub did not answer"));
    };
    let frames = answer?.into_inner();
    watchdog.heard(Moment::now());
    Ok(Dialled {
        connection,
        watchdog,
        subscription_id: String::new(),
        key,
        frames,
        calls: Calls::default(),
    })
}

/// How long a stream is silent at most, before the hub has said so itself.
pub(super) fn heartbeat(options: &SubscribeOptions) -> Duration {
    options.heartbeat_interval.unwrap_or(HEARTBEAT_DEFAULT)
}

impl Dialled {
    /// Waits for a frame, and meanwhile looks at the clock and does what the application asks for. Cancel safe.
    pub(super) async fn listen(&mut self, mut outside: Outside<'_>) -> Heard {
        loop {
            self.call(&mut outside);
            tokio::select! {
                message = self.frames.message() => {
                    return match message {
                        Ok(Some(bytes)) => {
                            self.watchdog.heard(Moment::now());
                            Heard::Frame(bytes)
                        }
                        Ok(None) => Heard::Ended(ended("the stream ended without a closing")),
                        Err(status) => Heard::Ended(status.into()),
                    };
                }
                (purpose, outcome) = self.calls.done() => return Heard::Called(purpose, outcome),
                () = tokio::time::sleep(self.watchdog.next_look()) => match self.watchdog.look(Moment::now()) {
                    Verdict::Alive => {}
                    Verdict::Silent => return Heard::Dead("no heartbeat came"),
                    Verdict::Woke => return Heard::Dead("the machine slept"),
                },
                _ = outside.redial.changed() => return Heard::Dead("the application asked"),
                // What they mean is looked at when the loop goes round.
                _ = outside.wanted.changed() => {}
                () = outside.keys.changed() => {}
            }
        }
    }

    /// Makes the next call beside the stream, if there is one to make. A key goes first: the other call may need it.
    fn call(&mut self, outside: &mut Outside<'_>) {
        outside.revisions.want(&outside.wanted.borrow_and_update());
        if self.subscription_id.is_empty() || !self.calls.is_idle() {
            return;
        }
        let stream = calls::Stream {
            subscription_id: self.subscription_id.clone(),
            transport: self.connection.transport.clone(),
            retry: outside.client.retry().clone(),
        };
        let newest = outside.keys.number();
        if newest != self.key {
            self.calls.refresh(stream, newest);
        } else if let Some(revision) = outside.revisions.to_call() {
            outside.revisions.called(revision.clone());
            self.calls.update(stream, revision);
        }
    }
}

/// A stream that ended, or never began, without the hub's saying why.
pub(super) fn ended(how: &'static str) -> Error {
    Error::OutcomeUnknown(Failure::local(Code::Unavailable, None, how))
}

fn request(dial: Dial<'_>) -> SubscribeRequest {
    let Dial {
        options,
        resume_token,
        start,
        asked,
    } = dial;
    let Asked {
        interests,
        unsynced_session_ids,
    } = asked;
    let start = match (resume_token, start) {
        (Some(resume_token), _) => WireStart::ResumeToken(resume_token.to_owned()),
        (None, Start::ResumeToken(resume_token)) => WireStart::ResumeToken(resume_token.clone()),
        (None, Start::Now) => WireStart::FromNow(v1::FromNow {}),
        (None, Start::Oldest) => WireStart::FromStart(v1::FromStart {}),
        (None, Start::Last(count)) => WireStart::FromLast(v1::FromLast { count: *count }),
        (None, Start::Snapshot) => WireStart::Snapshot(v1::FromSnapshot {}),
    };
    SubscribeRequest {
        start: Some(start),
        interests,
        unsynced_session_ids,
        on_gap: options.on_gap.into(),
        include_raw: options.include_raw,
        stop_when_closed: options.stop_when_closed,
        linger: options.linger.and_then(on_the_wire),
        client_id: options.client_id.clone(),
        heartbeat_interval: options.heartbeat_interval.and_then(on_the_wire),
        max_frame_bytes: options.max_frame_bytes,
    }
}

fn on_the_wire(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}
