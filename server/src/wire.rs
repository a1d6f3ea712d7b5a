//! The only room that knows tonic and prost.
//!
//! Believe this: one method is *parse, authorize, call core, answer*. Where a method does more, it is in the wrong room.

pub mod status;
pub mod encode;
pub mod fault;
pub mod session;
pub mod facts;
pub mod interest;
pub mod draft;
pub mod results;
pub mod writers;
pub mod sessions;
pub mod page_token;
pub mod frame;
pub mod messages;
pub mod session_events;
pub mod list_sessions;
pub mod list_events;
pub mod publish;
pub mod subscribe;
pub mod unbuilt;

use std::sync::Arc;
use std::time::Duration;

use bellboard_core::access::Scope;
use bellboard_core::hub::Hub;
use bellboard_core::log::Log;
use bellboard_proto::hub::v1::attention_service_server::AttentionServiceServer;
use bellboard_proto::hub::v1::command_service_server::CommandServiceServer;
use bellboard_proto::hub::v1::session_events_service_server::SessionEventsServiceServer;
use bellboard_proto::hub::v1::subscribe_service_server::SubscribeServiceServer;
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::auth::Credential;

/// What all services share.
#[derive(Debug)]
pub struct State {
    /// The logs.
    pub hub: Arc<Hub>,
    /// Most events that a resume replays; 0 for no limit.
    pub replay_events: u64,
    /// Time between two heartbeats where a client asks for none.
    pub heartbeat: Duration,
    /// Age at which a stream is asked to come back, before jitter; none for never.
    pub max_stream_age: Option<Duration>,
}

/// All services of the contract.
pub fn routes(state: Arc<State>) -> Routes {
    let session_events = session_events::Service::new(state.clone());
    let session_events =
        SessionEventsServiceServer::new(session_events).max_decoding_message_size(status::REQUEST_BYTES_MAX);
    Routes::new(session_events)
        .add_service(SubscribeServiceServer::new(subscribe::Service::new(state)))
        .add_service(AttentionServiceServer::new(unbuilt::Attention))
        .add_service(CommandServiceServer::new(unbuilt::Command))
}

/// A call whose credential has the scope that it needs.
struct Authorized {
    credential: Arc<Credential>,
    log: Arc<Log>,
}

impl State {
    /// Checks the scope, then opens the caller's log: permission before existence.
    async fn authorize<T>(&self, request: &Request<T>, scope: Scope) -> Result<Authorized, Status> {
        let credential = credential(request)?;
        credential.principal.may(scope).map_err(status::denied)?;
        let log = self
            .hub
            .log(&credential.principal.tenant)
            .await
            .map_err(|error| status::stored(&error))?;
        Ok(Authorized { credential, log })
    }
}

/// The credential that `auth` put beside the request.
fn credential<T>(request: &Request<T>) -> Result<Arc<Credential>, Status> {
    let credential = request.extensions().get::<Arc<Credential>>().cloned();
    credential.ok_or_else(|| {
        let message = "the call carries no key; send it as `authorization: Bearer KEY`";
        status::status(
            tonic::Code::Unauthenticated,
            bellboard_proto::v1::ErrorReason::CredentialMissing,
            message,
            &[],
        )
    })
}
