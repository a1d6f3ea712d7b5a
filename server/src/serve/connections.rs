//! The listening socket and its connections.
//!
//! Believe this: every connection is a task of the one that accepts, so whoever drops [`accept`] has cut them all. hyper serves them,
//! not tonic's own server, because that one can neither end a connection nor bound what a stalled reader makes the hub hold.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bellboard_core::clock::Clock;
use bellboard_core::limits;
use bellboard_core::meter::Tally;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tower::Service;
use tracing::{debug, warn};

use super::calls::{Calls, Connection};
use super::cork::corked;
use super::open::Open;
use super::peers::Peers;
use super::socket::{Seen, Socket};
use super::timer::Timer;

/// How long not to accept when the system has no more sockets to give.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    pub(super) speech: Speech,
    /// Most connections at a time.
    pub(super) connections: usize,
    /// How many each address has.
    pub(super) peers: Arc<Peers>,
}

/// How connections are spoken with. Each has a copy.
#[derive(Clone)]
pub(super) struct Speech {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) clock: Arc<dyn Clock>,
    /// hyper's view of the clock.
    pub(super) timer: Timer,
    /// Time between two pings, and how long their answers may take.
    pub(super) keepalive: Duration,
    /// The open streams of all connections.
    pub(super) open: Arc<Open>,
    /// Why connections were cut.
    pub(super) cuts: Arc<Tally<Cut>>,
}

/// Why the hub ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// It did not agree on TLS, or not in time.
    Handshake,
    /// It said no first word.
    Silent,
    /// It takes nothing of what waits for it.
    Stuck,
    /// It only gives calls up.
    Abusive,
    /// It breaks HTTP, or does not answer pings.
    Broken,
}

impl Cut {
    /// All of them.
    pub(super) const ALL: [Cut; 5] = [Cut::Handshake, Cut::Silent, Cut::Stuck, Cut::Abusive, Cut::Broken];

    /// As logs and metrics name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Cut::Handshake => "handshake",
            Cut::Silent => "silent",
            Cut::Stuck => "stuck",
            Cut::Abusive => "abusive",
            Cut::Broken => "broken",
        }
    }
}

/// Accepts until `draining` turns true, then closes the socket, asks every peer to go away and returns when the last one is gone.
pub(super) async fn accept(listener: Listener, service: impl Serve, mut draining: watch::Receiver<bool>) {
    let Listener {
        socket,
        speech,
        connections,
        peers,
    } = listener;
    let permits = Arc::new(Semaphore::new(connections));
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
            Ok((stream, address)) => {
                let Some(place) = peers.enter(address.ip()) else {
                    debug!(%address, "an address has as many connections as it may have; its next one is closed");
                    continue;
                };
                let connection = connection(stream, address, speech.clone(), service.clone(), draining.clone());
                connections.spawn(async move {
                    connection.await;
                    drop((permit, place));
                });
            }
            Err(error) if is_the_peers(&error) => debug!(%error, "a peer went away before it was accepted"),
            Err(error) => {
                warn!(%error, "no connection can be accepted; trying again");
                speech.clock.sleep(ACCEPT_PAUSE).await;
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
    address: SocketAddr,
    speech: Speech,
    service: impl Serve,
    draining: watch::Receiver<bool>,
) {
    if let Err(error) = tune(&stream, speech.keepalive) {
        debug!(%error, "a connection keeps the system's settings");
    }
    match &speech.tls {
        None => speak(stream, address, &speech, service, draining).await,
        Some(tls) => match in_time(tls.accept(stream), speech.clock.sleep(limits::HANDSHAKE_MAX)).await {
            Ok(stream) => speak(stream, address, &speech, service, draining).await,
            Err(error) => {
                speech.cuts.add(Cut::Handshake);
                debug!(%error, %address, "a connection did not agree on TLS");
            }
        },
    }
}

/// What the system is to do by itself: send small frames at once (gathering them is the subscription's business), and notice a peer that
/// vanished also where HTTP/1.1, which has no pings, is spoken.
fn tune(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive).with_interval(keepalive))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(keepalive * 2))?;
    Ok(())
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>, late: impl Future<Output = ()>) -> io::Result<T> {
    tokio::select! {
        done = step => done,
        () = late => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn speak<IO>(
    stream: IO,
    address: SocketAddr,
    speech: &Speech,
    service: impl Serve,
    mut draining: watch::Receiver<bool>,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seen = Seen::new(speech.clock.clone());
    let itself = Connection::new(address.ip(), speech.clock.clone(), speech.open.clone());
    let (socket, turns) = corked(Socket::new(stream, seen.clone()));
    let service = TowerToHyperService::new(Calls::new(service, itself.clone()));
    let builder = builder(speech);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut unwell = pin!(unwell(&seen, &itself, speech));
    let mut going = false;
    loop {
        tokio::select! {
            ended = turns.take(connection.as_mut()) => {
                if let Err(error) = ended {
                    speech.cuts.add(Cut::Broken);
                    debug!(%error, %address, "a connection broke");
                }
                return;
            }
            () = turned(&mut draining), if !going => {
                connection.as_mut().graceful_shutdown();
                going = true;
            }
            why = unwell.as_mut() => {
                speech.cuts.add(why);
                debug!(%address, why = why.name(), "a connection is cut");
                return;
            }
        }
    }
}

/// How HTTP is spoken. Every number has its reason in [`limits`].
fn builder(speech: &Speech) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(speech.timer.clone())
        .header_read_timeout(limits::REQUEST_HEAD_MAX)
        .max_headers(limits::HEAD_LINES_MAX)
        .max_buf_size(limits::HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(speech.timer.clone())
        .keep_alive_interval(speech.keepalive)
        .keep_alive_timeout(speech.keepalive)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(limits::RESETS_BEFORE_ACCEPTED_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER_BYTES_MAX);
    builder
}

/// Waits until a connection must be cut, and says why: hyper itself waits for ever for a first word, and for a peer that takes nothing.
async fn unwell(seen: &Seen, itself: &Connection, speech: &Speech) -> Cut {
    let watched = async {
        speech.clock.sleep(limits::HANDSHAKE_MAX).await;
        if seen.bytes_read() < limits::FIRST_WORD_BYTES {
            return Cut::Silent;
        }
        while seen.stuck_for() < speech.keepalive * 2 {
            speech.clock.sleep(speech.keepalive).await;
        }
        Cut::Stuck
    };
    tokio::select! {
        why = watched => why,
        () = itself.abused() => Cut::Abusive,
    }
}
