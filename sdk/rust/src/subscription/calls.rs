//! The calls beside an open stream: for other interests, and for another key.
//!
//! The one thing to believe: one at a time, over the stream's own connection, so that they reach the node that has the stream; and both
//! may be repeated. A call that cannot reach the stream is not the end of anything: a dial does the same.

use std::time::Duration;

use bellboard_proto::v1::subscribe_service_client::SubscribeServiceClient;
use bellboard_proto::v1::{ErrorReason, RefreshCredentialRequest, UpdateSubscriptionRequest};
use futures_util::future::BoxFuture;

use super::dial::ended;
use super::revisions::Revision;
use crate::client::Transport;
use crate::error::{Error, Result};
use crate::retry::{RetryPolicy, retrying};

/// A hub that forwards a call to another node of its own gives that 2 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Interests,
    /// Which key in a row it is.
    Key(u64),
}

/// The call under way beside one stream. Dropping it gives the call up.
#[derive(Default)]
pub(super) struct Calls {
    under_way: Option<(Purpose, BoxFuture<'static, Result<()>>)>,
}

impl Calls {
    pub(super) const fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Calls for these interests.
    pub(super) fn update(&mut self, stream: Stream, revision: Revision) {
        let request = UpdateSubscriptionRequest {
            subscription_id: stream.subscription_id,
            revision: revision.number,
            interests: revision.interests,
        };
        let client = SubscribeServiceClient::new(stream.transport);
        let call = async move {
            let call = || async { answered(client.clone().update_subscription(request.clone())).await };
            retrying(&stream.retry, call).await
        };
        self.under_way = Some((Purpose::Interests, Box::pin(call)));
    }

    /// Calls with the newest key, so that the stream lives as long as that.
    pub(super) fn refresh(&mut self, stream: Stream, key: u64) {
        let request = RefreshCredentialRequest {
            subscription_id: stream.subscription_id,
        };
        let client = SubscribeServiceClient::new(stream.transport);
        let call = async move {
            let call = || async { answered(client.clone().refresh_credential(request.clone())).await };
            retrying(&stream.retry, call).await
        };
        self.under_way = Some((Purpose::Key(key), Box::pin(call)));
    }

    /// Waits for the call under way, without end when there is none. Cancel safe.
    pub(super) async fn done(&mut self) -> (Purpose, Result<()>) {
        let Some((purpose, call)) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let done = (*purpose, call.await);
        self.under_way = None;
        done
    }
}

/// The stream that a call is about.
pub(super) struct Stream {
    pub(super) subscription_id: String,
    pub(super) transport: Transport,
    pub(super) retry: RetryPolicy,
}

/// Whether a call did not come to the stream, so that only a dial can do what it was to do.
pub(super) fn is_out_of_reach(error: &Error) -> bool {
    let reason = error.reason();
    error.is_retryable()
        || reason == Some(ErrorReason::SubscriptionNotFound)
        || reason == Some(ErrorReason::SubscriptionElsewhere)
}

async fn answered<T>(call: impl Future<Output = std::result::Result<T, tonic::Status>>) -> Result<()> {
    match tokio::time::timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => answer.map(drop).map_err(Error::from),
        Err(_) => Err(ended("the hub did not answer a call")),
    }
}
