//! The calls of one connection: how they end, and when there is no sense in taking more.
//!
//! Believe this: a call is over when its answer was given whole, or when it is dropped, and [`Ticket`] notices either. Giving calls up is a
//! client's right; who only opens calls to give them up (HTTP/2's "rapid reset") makes the hub work for nothing, and is cut.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bellboard_core::clock::Clock;
use bellboard_core::limits;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::connections::Serve;

/// One connection, as its calls know it. Held by the connection's task and by each of its calls.
#[derive(Debug)]
pub(super) struct Connection {
    clock: Arc<dyn Clock>,
    /// Held for one sum, never over an await.
    abandoned: Mutex<Abandoned>,
    cut: Notify,
}

/// A bucket that leaks: calls that were given up and not forgotten yet.
#[derive(Debug, Default)]
struct Abandoned {
    count: f64,
    at: Duration,
}

impl Connection {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Connection> {
        Arc::new(Connection {
            clock,
            abandoned: Mutex::default(),
            cut: Notify::new(),
        })
    }

    /// Waits until so many calls were given up that the connection is better cut. Cancel safe.
    pub(super) async fn abused(&self) {
        self.cut.notified().await;
    }

    fn given_up(&self) {
        let now = self.clock.elapsed();
        let mut abandoned = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_sub(abandoned.at).as_secs_f64();
        let forgotten = since * f64::from(limits::ABANDONED_CALLS_PER_SECOND);
        abandoned.count = (abandoned.count - forgotten).max(0.0) + 1.0;
        abandoned.at = now;
        if abandoned.count > f64::from(limits::ABANDONED_CALLS_BURST) {
            // Kept until the connection's task looks.
            self.cut.notify_one();
        }
    }
}

/// One call, from its head to its end.
#[derive(Debug)]
struct Ticket {
    connection: Arc<Connection>,
    answered: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.given_up();
        }
    }
}

/// The services, as one connection calls them.
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    inner: S,
    connection: Arc<Connection>,
}

impl<S> Calls<S> {
    pub(super) const fn new(inner: S, connection: Arc<Connection>) -> Calls<S> {
        Calls { inner, connection }
    }
}

impl<S: Serve> Service<Request<Incoming>> for Calls<S> {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Answer>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let ticket = Ticket {
            connection: self.connection.clone(),
            answered: false,
        };
        let answer = self.inner.call(request.map(Body::new));
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|inner| Answer { inner, ticket }))
        })
    }
}

/// What goes back to the peer.
#[derive(Debug)]
pub(super) struct Answer {
    inner: Body,
    ticket: Ticket,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        self.ticket.answered |= match &frame {
            Some(Ok(frame)) => frame.is_trailers(),
            Some(Err(_)) | None => true,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // An answer without a body is never asked for one.
        self.ticket.answered |= self.inner.is_end_stream();
    }
}

#[cfg(test)]
mod tests {
    use bellboard_core::clock::Manual;
    use bellboard_core::offset::Time;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn calls_may_be_given_up_but_not_without_end() {
        let clock = Manual::starting_at(Time(0));
        let connection = Connection::new(clock.clone());
        let give_up = |count: u32| (0..count).for_each(|_| connection.given_up());
        give_up(limits::ABANDONED_CALLS_BURST);
        assert!(connection.abused().now_or_never().is_none(), "that many may be");
        clock.advance(Duration::from_secs(1));
        give_up(limits::ABANDONED_CALLS_PER_SECOND);
        assert!(connection.abused().now_or_never().is_none(), "so many were forgotten");
        give_up(1);
        assert!(connection.abused().now_or_never().is_some());
    }
}
