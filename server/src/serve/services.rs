//! What stands behind the port: the contract's services, health and reflection, and the layers around them.
//!
//! Believe this: a request passes CORS, then grpc-web, then the door of [`crate::auth`], is counted for its principal, then reaches its method; an answer goes the same way
//! back, so a browser can read why it was refused.

use std::sync::Arc;

use bellboard_proto::hub::v1::{session_events_service_server, subscribe_service_server};
use http::{HeaderName, HeaderValue, Method, header};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_web::GrpcWebLayer;
use tower::Layer as _;
use tower::util::{MapResponseLayer, option_layer};
use tower_http::cors::CorsLayer;

use super::admission::Admission;
use super::connections::Serve;
use super::quotas::Quotas;
use crate::auth::rules::Origin;
use crate::auth::{self, Keys, Rules};
use crate::wire;

/// What health is told of: the hub as a whole, and the services that are built.
const HEALTHY: [&str; 3] = [
    "",
    session_events_service_server::SERVICE_NAME,
    subscribe_service_server::SERVICE_NAME,
];

/// What web pages of other origins may send.
const REQUEST_HEADERS: [&str; 5] = [
    "content-type",
    "authorization",
    "grpc-timeout",
    "x-grpc-web",
    "x-user-agent",
];

/// What they may read: how a call ended.
const RESPONSE_HEADERS: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// How long a browser may remember that it may: the most that Chromium takes.
const CORS_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(2 * 60 * 60);

/// Why there are no services.
#[derive(Debug, thiserror::Error)]
#[error("the contract's description cannot be served by reflection")]
pub struct Error(#[from] tonic_reflection::server::Error);

/// Puts everything together.
pub(super) fn assemble(
    state: Arc<wire::State>,
    health: HealthReporter,
    keys: Arc<Keys>,
    rules: Arc<Rules>,
    origins: &[Origin],
    quotas: Arc<Quotas>,
) -> Result<impl Serve, Error> {
    let health = tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(health));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(bellboard_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = wire::routes(state)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();
    let routes = MapResponseLayer::new(|answer| wire::messages::taken(wire::status::explained(answer))).layer(routes);
    let counted = Admission(quotas).layer(routes);
    let guarded = auth::layer(keys, rules).layer(counted);
    let on_the_web = GrpcWebLayer::new().layer(guarded);
    Ok(option_layer(cors(origins)).layer(on_the_web))
}

/// None where no other origin was configured: then browsers get no permission at all.
fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok());
    let origins: Vec<_> = origins.collect();
    if origins.is_empty() {
        return None;
    }
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(RESPONSE_HEADERS.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE)
        .vary([header::ORIGIN]);
    Some(cors)
}

/// Tells health that all is well.
pub(super) async fn well(health: &HealthReporter) {
    for service in HEALTHY {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
}

/// Tells health that the hub goes away, and ends those who watch it: their streams would hold the end up.
pub(super) async fn going(health: &mut HealthReporter) {
    for service in HEALTHY {
        health.set_service_status(service, ServingStatus::NotServing).await;
        health.clear_service_status(service).await;
    }
}
