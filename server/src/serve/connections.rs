//! The listening socket and its connections.
//!
//! Believe this: every connection is a task of the one that accepts, so whoever drops [`accept`] has cut them all. hyper serves them,
//! not tonic's own server, because that one can neither end a connection nor bound what a stalled reader makes the hub hold.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bellboard_core::clock::Clock;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};
use tracing::{debug, warn};

/// Most connections at a time. Beyond it new ones wait in the system's queue; each costs some tens of KiB here.
const CONNECTIONS_MAX: usize = 10_000;

/// Most open calls of one connection: a proxy puts many subscribers on one.
const STREAMS_PER_CONNECTION_MAX: u32 = 4096;

/// Most bytes that wait to be sent on one stream, so that a reader that stalls costs this and no more.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Time between two pings of an HTTP/2 connection, and how long their answers may take. A peer that vanished is noticed within both.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long a new connection may take to say its first word, and to agree on TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long not to accept when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the hub's services are behind all layers.
pub(super) trait Serve:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Serve for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// A socket that listens, and how it speaks.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Accepts until `draining` turns true, then closes the socket, asks every peer to go away and returns when the last one is gone.
pub(super) async fn accept(listener: Listener, service: impl Serve, mut draining: watch::Receiver<bool>) {
    let Listener { socket, tls, clock } = listener;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            () = turned(&mut draining) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, tls.clone(), service.clone(), draining.clone(), clock.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a peer went away before it was accepted"),
            Err(error) => {
                warn!(%error, "no connection can be accepted; trying again");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Waits until the hub drains, or is gone. Cancel safe.
async fn turned(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

fn is_the_peers(error: &io::Error) -> bool {
    [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::Interrupted,
    ]
    .contains(&error.kind())
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: impl Serve,
    draining: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
) {
    // Frames are small and wanted now; gathering them is the subscription's business.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection could not be told not to wait");
    }
    let late = clock.sleep(HANDSHAKE_MAX);
    match tls {
        None => match in_time(stream.readable(), late).await {
            Ok(()) => speak(stream, service, draining).await,
            Err(error) => debug!(%error, "a connection said nothing"),
        },
        Some(tls) => match in_time(tls.accept(stream), late).await {
            Ok(stream) => speak(stream, service, draining).await,
            Err(error) => debug!(%error, "a connection did not agree on TLS"),
        },
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>, late: impl Future<Output = ()>) -> io::Result<T> {
    tokio::select! {
        done = step => done,
        () = late => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn speak<IO>(stream: IO, service: impl Serve, mut draining: watch::Receiver<bool>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    let service = service.map_request(|request: Request<Incoming>| request.map(Body::new));
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = turned(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}
