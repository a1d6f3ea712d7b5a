//! Raw tonic: the same calls and the same messages, with nothing behind them.
//!
//! Believe this: what a writer sends is numbered and handed to every subscriber by a `tokio::sync::broadcast`, and that is all. Nothing is
//! kept, checked or made durable; a subscriber that is too slow is cut off.

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bellboard_proto::v1::{
    self, publish_events_request::Frame as Written, publish_events_response::Frame as Answer, subscribe_request::Start,
    subscribe_response::Frame as Sent,
};
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::baseline::shape::{Shape, Shaped};
use crate::error::{Error, Result, io};
use crate::load::writers::event;
use crate::print;

/// Most messages that lie between the writer and the slowest subscriber.
const BROADCAST_MAX: usize = 8192;

/// What is asked of the raw server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// When a message becomes bytes.
    #[arg(long, value_enum)]
    encode: Encode,
    /// Events that it holds in memory from its start, for subscribers that begin before the tail.
    #[arg(long, default_value_t = 0)]
    preload: u64,
    /// Events that it makes itself as fast as the slowest subscriber takes them, once there are as many subscribers as `--subscribers`.
    #[arg(long, default_value_t = 0)]
    produce: u64,
    /// See `--produce`.
    #[arg(long, default_value_t = 0)]
    subscribers: usize,
}

/// When a message becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encode {
    /// For every subscriber.
    Each,
    /// Once.
    Once,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> Result<()> {
    match args.encode {
        Encode::Each => serve::<Arc<v1::SubscribeResponse>>(args).await,
        Encode::Once => serve::<Bytes>(args).await,
    }
}

async fn serve<S: Shape>(args: Args) -> Result<()> {
    let board = Arc::new(Board::<S>::new(args.preload));
    let incoming = TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let incoming = incoming.map_err(io("listen"))?.with_nodelay(Some(true));
    let address = incoming.local_addr().map_err(io("tell where it listens"))?;
    print(format_args!("http://{address}"))?;
    let producer = produce(board.clone(), args.produce, args.subscribers);
    let server = Server::builder()
        .add_service(Subscribe(board.clone()))
        .add_service(SessionEvents(board))
        .serve_with_incoming(incoming);
    tokio::select! {
        served = server => served.map_err(|error| Error::Server(error.to_string())),
        () = producer => Ok(()),
    }
}

/// Sends as fast as the slowest subscriber takes; never returns.
async fn produce<S: Shape>(board: Arc<Board<S>>, events: u64, subscribers: usize) {
    while board.sender.receiver_count() < subscribers || events == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let made = event(0).event.unwrap_or_default();
    for _ in 0..events {
        while board.sender.len() >= BROADCAST_MAX / 2 {
            tokio::task::yield_now().await;
        }
        board.publish(made.clone(), "bench-0");
    }
    std::future::pending().await
}

/// Where writers and subscribers meet.
struct Board<S> {
    sender: broadcast::Sender<S>,
    /// The next offset. Held while a message is sent, so that offsets leave in order; never over an await.
    tail: Mutex<u64>,
    kept: Arc<[S]>,
}

impl<S: Shape> Board<S> {
    fn new(preload: u64) -> Board<S> {
        let made = event(0).event.unwrap_or_default();
        let kept: Vec<S> = (0..preload)
            .map(|offset| S::of(frame(made.clone(), "bench-0", offset)))
            .collect();
        Board {
            sender: broadcast::Sender::new(BROADCAST_MAX),
            tail: Mutex::new(preload),
            kept: kept.into(),
        }
    }

    fn publish(&self, event: v1::Event, session: &str) -> u64 {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = *tail;
        *tail += 1;
        // Nobody may listen; then nobody is told.
        let _ = self.sender.send(S::of(frame(event, session, offset)));
        offset
    }

    fn subscribe(&self, start: Option<Start>) -> impl Stream<Item = Result<S, Status>> + Send + 'static {
        let (news, tail) = {
            let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            (self.sender.subscribe(), *tail)
        };
        let from = match start {
            Some(Start::FromStart(_)) => 0,
            Some(Start::ResumeToken(token)) => token.parse().unwrap_or(tail),
            _ => tail,
        };
        let first = S::of(v1::SubscribeResponse {
            resume_token: resume_token(from),
            frame: Some(Sent::Subscribed(v1::Subscribed {
                answer: v1::Answer::Started.into(),
                from,
                tail,
                ..v1::Subscribed::default()
            })),
        });
        let kept = self.kept.clone();
        let mut at = usize::try_from(from).unwrap_or(usize::MAX);
        let kept = stream::iter(std::iter::from_fn(move || {
            at += 1;
            kept.get(at - 1).cloned().map(Ok)
        }));
        let news = BroadcastStream::new(news).map(|news| news.map_err(|_| Status::data_loss("too slow")));
        stream::iter([Ok(first)]).chain(kept).chain(news)
    }
}

/// An event with everything that the hub puts beside what its writer sent: as many bytes.
pub(crate) fn placed(event: v1::Event, session: &str, offset: u64) -> v1::Event {
    v1::Event {
        event_id: format!("00000000-0000-0000-0000-{offset:012}"),
        offset,
        index: offset,
        link: offset | 1 << 63,
        session_id: session.to_owned(),
        root_session_id: session.to_owned(),
        life: 1,
        recorded_time: event.occurred_time,
        attribution: Some(v1::Attribution {
            writer_id: session.to_owned(),
            ..v1::Attribution::default()
        }),
        ..event
    }
}

/// The message in which an event travels.
fn frame(event: v1::Event, session: &str, offset: u64) -> v1::SubscribeResponse {
    let frame = v1::EventsFrame {
        from: offset,
        until: offset + 1,
        events: vec![placed(event, session, offset)],
        raws: Vec::new(),
    };
    v1::SubscribeResponse {
        resume_token: resume_token(offset + 1),
        frame: Some(Sent::Events(frame)),
    }
}

/// As long as the hub's.
fn resume_token(next: u64) -> String {
    format!("{next:080}")
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Called<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Served = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// `SubscribeService`, as far as it goes here.
struct Subscribe<S>(Arc<Board<S>>);

/// `SessionEventsService`, as far as it goes here.
struct SessionEvents<S>(Arc<Board<S>>);

impl<S> Clone for Subscribe<S> {
    fn clone(&self) -> Self {
        Subscribe(self.0.clone())
    }
}

impl<S> Clone for SessionEvents<S> {
    fn clone(&self) -> Self {
        SessionEvents(self.0.clone())
    }
}

impl<S> NamedService for Subscribe<S> {
    const NAME: &'static str = "bellboard.v1.SubscribeService";
}

impl<S> NamedService for SessionEvents<S> {
    const NAME: &'static str = "bellboard.v1.SessionEventsService";
}

impl<S: Shape> Service<http::Request<Body>> for Subscribe<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Served {
        let method = self.clone();
        let mut grpc = Grpc::new(Shaped::<S, v1::SubscribeRequest>::default());
        Box::pin(async move { Ok(grpc.server_streaming(method, request).await) })
    }
}

impl<S: Shape> ServerStreamingService<v1::SubscribeRequest> for Subscribe<S> {
    type Response = S;
    type ResponseStream = Answers<S>;
    type Future = Called<Self::ResponseStream>;

    fn call(&mut self, request: Request<v1::SubscribeRequest>) -> Self::Future {
        let events: Answers<S> = Box::pin(self.0.subscribe(request.into_inner().start));
        Box::pin(std::future::ready(Ok(Response::new(events))))
    }
}

impl<S: Shape> Service<http::Request<Body>> for SessionEvents<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Served;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Served {
        let method = self.clone();
        let opens = request.uri().path().ends_with("/OpenWriter");
        Box::pin(async move {
            Ok(if opens {
                Grpc::new(ProstCodec::default()).unary(method, request).await
            } else {
                Grpc::new(ProstCodec::default()).streaming(method, request).await
            })
        })
    }
}

impl<S: Shape> UnaryService<v1::OpenWriterRequest> for SessionEvents<S> {
    type Response = v1::OpenWriterResponse;
    type Future = Called<Self::Response>;

    fn call(&mut self, _: Request<v1::OpenWriterRequest>) -> Self::Future {
        let opened = v1::OpenWriterResponse {
            fence: 1,
            ..v1::OpenWriterResponse::default()
        };
        Box::pin(std::future::ready(Ok(Response::new(opened))))
    }
}

impl<S: Shape> StreamingService<v1::PublishEventsRequest> for SessionEvents<S> {
    type Response = v1::PublishEventsResponse;
    type ResponseStream = Answers<Self::Response>;
    type Future = Called<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<v1::PublishEventsRequest>>) -> Self::Future {
        let board = self.0.clone();
        let answers = request.into_inner().map(move |request| {
            let frame = request?.frame.map(|frame| board.take(frame));
            Ok(v1::PublishEventsResponse { frame })
        });
        let answers: Answers<_> = Box::pin(answers);
        Box::pin(std::future::ready(Ok(Response::new(answers))))
    }
}

impl<S: Shape> Board<S> {
    fn take(&self, frame: Written) -> Answer {
        let entries = match frame {
            Written::Open(v1::PublishOpen { writer_id, fence }) => {
                return Answer::Opened(v1::PublishOpened {
                    writer_id,
                    fence,
                    ..v1::PublishOpened::default()
                });
            }
            Written::Keepalive(_) => return Answer::Heartbeat(v1::PublishHeartbeat {}),
            Written::Batch(batch) => batch.entries,
        };
        let results = entries.into_iter().filter_map(|entry| match entry.entry? {
            v1::publish_entry::Entry::Append(append) => Some(self.append(append)),
            v1::publish_entry::Entry::Delta(_) => None,
        });
        Answer::Acknowledged(v1::PublishAcknowledged {
            results: results.collect(),
        })
    }

    fn append(&self, append: v1::EventAppend) -> v1::AppendResult {
        let session_id = match append.session.and_then(|session| session.r#ref) {
            Some(v1::session_ref::Ref::SessionId(id)) => id,
            Some(v1::session_ref::Ref::Key(_)) | None => String::new(),
        };
        let offset = self.publish(append.event.unwrap_or_default(), &session_id);
        let stored = v1::EventStored { offset, index: offset };
        v1::AppendResult {
            seq: append.seq,
            event_id: format!("00000000-0000-0000-0000-{offset:012}"),
            session_id,
            outcome: Some(v1::append_result::Outcome::Stored(stored)),
        }
    }
}
