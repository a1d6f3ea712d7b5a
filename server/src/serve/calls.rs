//! The calls of one connection: how they begin, and how they end.
//!
//! Believe this: a call is over when its answer was given whole, or when it is dropped, and [`Ticket`] notices either and gives back what
//! the call held. Giving calls up is a client's right; who only opens calls to give them up (HTTP/2's "rapid reset") makes the hub
//! work for nothing, and is cut.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
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

use super::arriving::Arriving;
use super::connections::Serve;
use super::method::Kind;
use super::open::Open;
use super::peers::Peer;
use super::quotas::{Held, Reached};

/// One connection, as its calls know it. Held by the connection's task and by each of its calls.
#[derive(Debug)]
pub(super) struct Connection {
    peer: Peer,
    clock: Arc<dyn Clock>,
    /// The open streams of all connections.
    open: Arc<Open>,
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
    pub(super) fn new(address: IpAddr, clock: Arc<dyn Clock>, open: Arc<Open>) -> Arc<Connection> {
        Arc::new(Connection {
            peer: Peer::of(address),
            clock,
            open,
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

/// One call. Held by its request, its answer and, while it is a stream, weakly by [`Open`].
#[derive(Debug)]
pub(super) struct Call {
    connection: Arc<Connection>,
    kind: Kind,
    /// Its part of a principal's quotas, once it was counted. Held for one look.
    held: Mutex<Option<Held>>,
    /// Milliseconds of the clock, plus one, since when the peer has not asked for more; 0 while it waits for the hub.
    untaken_since: AtomicU64,
}

impl Call {
    /// Who calls.
    pub(super) fn peer(&self) -> Peer {
        self.connection.peer
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.connection.clock
    }

    /// It was counted.
    pub(super) fn hold(&self, held: Held) {
        self.locked(|slot| *slot = Some(held));
    }

    /// More bytes of the request have arrived.
    pub(super) fn arrived(&self, bytes: usize) -> Result<(), Reached> {
        self.locked(|slot| slot.as_mut().map_or(Ok(()), |held| held.take(bytes)))
    }

    /// So many bytes of the request have arrived and are not taken yet.
    pub(super) fn holds(&self, bytes: usize) -> Result<(), Reached> {
        self.locked(|slot| slot.as_mut().map_or(Ok(()), |held| held.hold(bytes)))
    }

    /// For how long the peer has taken nothing of what it was given.
    pub(super) fn untaken_for(&self) -> Duration {
        match self.untaken_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.now().saturating_sub(since)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.connection.clock.elapsed().as_millis()).map_or(u64::MAX, |now| now.saturating_add(1))
    }

    fn locked<T>(&self, body: impl FnOnce(&mut Option<Held>) -> T) -> T {
        body(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A call from its head to its end.
#[derive(Debug)]
struct Ticket {
    call: Arc<Call>,
    answered: bool,
}

impl Ticket {
    fn new(connection: Arc<Connection>, kind: Kind) -> Ticket {
        let call = Arc::new(Call {
            connection,
            kind,
            held: Mutex::default(),
            untaken_since: AtomicU64::new(0),
        });
        call.connection.open.begin(&call);
        Ticket { call, answered: false }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Here and not with the last handle: a method may keep its request longer than its answer.
        drop(self.call.locked(Option::take));
        self.call.connection.open.end(&self.call);
        if !self.answered {
            self.call.connection.given_up();
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
        let ticket = Ticket::new(self.connection.clone(), Kind::of(request.uri().path()));
        let call = ticket.call.clone();
        let mut request = request.map(|body| Body::new(Arriving::new(body, call.clone())));
        request.extensions_mut().insert(call);
        let answer = self.inner.call(request);
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

    /// hyper asks for more only when the peer has room for it.
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let call = &self.ticket.call;
        call.untaken_since.store(0, Ordering::Relaxed);
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        self.ticket.answered |= match &frame {
            Some(Ok(frame)) => frame.is_trailers(),
            Some(Err(_)) | None => true,
        };
        let call = &self.ticket.call;
        call.untaken_since.store(call.now(), Ordering::Relaxed);
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
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn calls_may_be_given_up_but_not_without_end() {
        let clock = Manual::starting_at(Time(0));
        let connection = Connection::new([127, 0, 0, 1].into(), clock.clone(), Arc::default());
        let give_up = |count: u32| {
            for _ in 0..count {
                drop(Ticket::new(connection.clone(), Kind::Call));
            }
        };
        give_up(limits::ABANDONED_CALLS_BURST);
        assert!(connection.abused().now_or_never().is_none(), "that many may be");
        clock.advance(Duration::from_secs(1));
        give_up(limits::ABANDONED_CALLS_PER_SECOND);
        assert!(connection.abused().now_or_never().is_none(), "so many were forgotten");
        give_up(1);
        assert!(connection.abused().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_peer_that_asks_for_no_more_is_known() {
        let clock = Manual::starting_at(Time(0));
        let open = Arc::<Open>::default();
        let connection = Connection::new([127, 0, 0, 1].into(), clock.clone(), open.clone());
        let ticket = Ticket::new(connection, Kind::Subscription);
        let frames = ["a", "b"].map(|text| Ok::<_, Status>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let frames = futures_util::stream::iter(frames).chain(futures_util::stream::pending());
        let mut answer = Answer {
            inner: Body::new(http_body_util::StreamBody::new(frames)),
            ticket,
        };
        let stalled = || open.count(Kind::Subscription).stalled;
        let mut next = async || {
            let frame = std::future::poll_fn(|context| Pin::new(&mut answer).poll_frame(context)).await;
            frame.unwrap().unwrap()
        };
        next().await;
        clock.advance(limits::STALLED_AFTER);
        assert_eq!(stalled(), 1);
        next().await;
        assert_eq!(stalled(), 0, "it took what it was given");
        assert!(next().now_or_never().is_none());
        clock.advance(limits::STALLED_AFTER * 2);
        assert_eq!(stalled(), 0, "who waits for the hub has not stalled");
    }
}
