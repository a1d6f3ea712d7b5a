//! The layer that counts every call for its principal, between the door and the methods.
//!
//! Believe this: nothing passes that is not counted, and what is counted is given back by the call's own [`Call`], never by a method.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::debug;

use super::calls::Call;
use super::method::Kind;
use super::quotas::{Owner, Quotas};
use crate::auth::Credential;
use crate::wire::status;

/// The layer.
#[derive(Clone, Debug)]
pub(super) struct Admission(pub(super) Arc<Quotas>);

impl<S> Layer<S> for Admission {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        let quotas = self.0.clone();
        Admitted { inner, quotas }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub(super) struct Admitted<S> {
    inner: S,
    quotas: Arc<Quotas>,
}

impl<S> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(call) = request.extensions().get::<Arc<Call>>().cloned() else {
            return Either::Left(ready(Ok(status::uncounted().into_http())));
        };
        let credential = request.extensions().get::<Arc<Credential>>();
        let owner = credential.map_or_else(
            || Owner::Stranger(call.peer()),
            |credential| Owner::from(&credential.principal),
        );
        match self.quotas.admit(owner, Kind::of(request.uri().path())) {
            Ok(held) => call.hold(held),
            Err(reached) => {
                debug!(path = request.uri().path(), ?reached, "a call was refused");
                return Either::Left(ready(Ok(tonic::Status::from(reached).into_http())));
            }
        }
        Either::Right(self.inner.call(request))
    }
}
