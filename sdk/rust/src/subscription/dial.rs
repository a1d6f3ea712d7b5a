//! One connection's stream: asking for it, and what is asked.
//!
//! The one thing to believe: a resume token goes before the start that the application asked for, always.

use std::time::Duration;

use bellboard_proto::v1;
use bellboard_proto::v1::SubscribeRequest;
use bellboard_proto::v1::subscribe_request::Start as WireStart;
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::{Code, Status, Streaming};

use super::watchdog::{Moment, Watchdog};
use super::wire::FrameCodec;
use super::{Start, SubscribeOptions};
use crate::client::{Client, Connection, MESSAGE_BYTES_MAX};
use crate::error::{Error, Failure, Result};

const SUBSCRIBE: &str = "/bellboard.v1.SubscribeService/Subscribe";

/// The contract's silence between two frames, when the application asks for none.
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);

/// One connection's stream.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    pub(super) frames: Streaming<Bytes>,
    pub(super) watchdog: Watchdog,
}

/// Asks the hub for a stream, and waits for its answer no longer than for three heartbeats.
pub(super) async fn dial(
    client: &Client,
    options: &SubscribeOptions,
    resume_token: Option<&str>,
    start: &Start,
) -> Result<Dialled> {
    let connection = client.connection();
    let interval = options.heartbeat_interval.unwrap_or(HEARTBEAT_DEFAULT);
    let mut watchdog = Watchdog::new(interval, Moment::now());
    let mut grpc = tonic::client::Grpc::new(connection.transport.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = tonic::Request::new(request(options, resume_token, start));
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
        frames,
        watchdog,
    })
}

/// A stream that ended, or never began, without the hub's saying why.
pub(super) fn ended(how: &'static str) -> Error {
    Error::OutcomeUnknown(Failure::local(Code::Unavailable, None, how))
}

fn request(options: &SubscribeOptions, resume_token: Option<&str>, start: &Start) -> SubscribeRequest {
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
        interests: options.interests.clone(),
        unsynced_session_ids: Vec::new(),
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
