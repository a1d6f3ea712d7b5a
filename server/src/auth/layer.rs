//! The door: the tower layer in front of all methods.
//!
//! Believe this: the order is Host, Origin, key. It stands inside the grpc-web layer, so what it answers is a gRPC status without a
//! body, which that layer turns into what a browser understands.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bellboard_core::offset::Time;
use bellboard_proto::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Request, Response, header};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::debug;

use super::keys::{self, Keys};
use super::rules::{self, Rules};
use super::{Credential, local};
use crate::wire::status::status;

/// Methods that need no key anywhere: a load balancer has none.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Methods that need no key on loopback: they tell what stands in the public contract.
const REFLECTION: &str = "/grpc.reflection.";

/// Makes the layer. To be put around all services of a listener, inside grpc-web and CORS.
#[must_use]
pub const fn layer(keys: Arc<Keys>, rules: Arc<Rules>) -> Door {
    Door { keys, rules }
}

/// The layer.
#[derive(Clone, Debug)]
pub struct Door {
    keys: Arc<Keys>,
    rules: Arc<Rules>,
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            door: self.clone(),
        }
    }
}

/// A service behind the door.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    door: Door,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone takes the place of the one that is ready, as tower asks.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let door = self.door.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match door.admit(&parts).await {
                Ok(Some(credential)) => {
                    parts.extensions.insert(credential);
                }
                Ok(None) => {}
                Err(status) => {
                    let path = parts.uri.path();
                    debug!(path, reason = status.message(), "a request was refused");
                    return Ok(status.into_http());
                }
            }
            inner.call(Request::from_parts(parts, body)).await
        })
    }
}

impl Door {
    /// Whether a request may come in, and as whom.
    async fn admit(&self, request: &Parts) -> Result<Option<Arc<Credential>>, Status> {
        self.rules
            .check(&request.uri, &request.headers)
            .map_err(|refusal| ruled_out(&refusal))?;
        let path = request.uri.path();
        if path.starts_with(HEALTH) || (self.rules.loopback() && path.starts_with(REFLECTION)) {
            return Ok(None);
        }
        let key = bearer(&request.headers)?;
        let found = self.keys.find(key).await;
        found.map(Some).map_err(|refusal| match refusal {
            keys::Refusal::Invalid => invalid(),
            keys::Refusal::Expired(time) => expired(time),
        })
    }
}

/// The key of `authorization: Bearer KEY`.
fn bearer(headers: &HeaderMap) -> Result<&str, Status> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(missing());
    };
    if values.next().is_some() {
        return Err(invalid());
    }
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(key.trim())
    } else {
        Err(invalid())
    }
}

fn missing() -> Status {
    let file = local::FILE_NAME;
    let message = format!(
        "the call carries no key; send the metadata \"authorization: Bearer KEY\", for instance with the text of {file} in the hub's data folder"
    );
    status(
        Code::Unauthenticated,
        ErrorReason::CredentialMissing,
        message,
        &[("file", file.to_owned())],
    )
}

fn invalid() -> Status {
    let message = "the key is not valid here; look at `bellboard key list`, or make one with `bellboard key create`";
    status(Code::Unauthenticated, ErrorReason::CredentialInvalid, message, &[])
}

fn expired(time: Time) -> Status {
    let time = jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| String::new(), |time| time.to_string());
    let message = format!("the key expired at {time}; make another with `bellboard key create`");
    status(
        Code::Unauthenticated,
        ErrorReason::CredentialExpired,
        message,
        &[("expire_time", time)],
    )
}

/// Most characters of a refused Host or Origin that are told back: the longest host name, and a scheme and a port around it.
const TOLD_CHARS_MAX: usize = 280;

fn ruled_out(refusal: &rules::Refusal) -> Status {
    let shorten = |text: &str| text.chars().take(TOLD_CHARS_MAX).collect::<String>();
    let refusal = match refusal {
        rules::Refusal::Host(host) => rules::Refusal::Host(shorten(host)),
        rules::Refusal::Origin(origin) => rules::Refusal::Origin(shorten(origin)),
    };
    let (reason, name, value, message) = match &refusal {
        rules::Refusal::Host(host) if host.is_empty() => {
            let message = "the request names no host; send :authority or Host".to_owned();
            (ErrorReason::HostRefused, "host", host, message)
        }
        rules::Refusal::Host(host) => {
            let message = format!(
                "the host \"{host}\" is neither loopback nor configured; start the hub with --allow-host {host}"
            );
            (ErrorReason::HostRefused, "host", host, message)
        }
        rules::Refusal::Origin(origin) => {
            let message =
                format!("the origin \"{origin}\" is not the board's own; start the hub with --allow-origin {origin}");
            (ErrorReason::OriginRefused, "origin", origin, message)
        }
    };
    status(Code::PermissionDenied, reason, message, &[(name, value.clone())])
}

#[cfg(test)]
mod tests;
