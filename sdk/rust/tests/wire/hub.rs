//! The scripted hub: it hands each call to the test and answers what the test says.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bellboard_sdk::v1::{
    GetSessionRequest, OpenWriterRequest, OpenWriterResponse, PublishEventsRequest, PublishEventsResponse,
    RefreshCredentialRequest, RenewWriterRequest, RenewWriterResponse, SubscribeRequest, SubscribeResponse,
    UpdateSubscriptionRequest, UpdateSubscriptionResponse, WriterSessionResult, WriterSessionStatus,
    publish_events_request, publish_events_response,
};
use bellboard_sdk::{Client, Options};
use bytes::Bytes;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};

use crate::codec::Script;

/// Calls that wait for the test, and frames that wait for the client: more than any script has, but for the one that floods.
const CALLS_MAX: usize = 64;

/// Far longer than any script takes; only a test that would hang reaches it.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(20);

/// What comes within the time of any script.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TOO_LONG, what).await.expect("it happens in time")
}

type Down = mpsc::Sender<Result<Bytes, Status>>;
type DownStream = ReceiverStream<Result<Bytes, Status>>;

/// A running hub. Dropping it cuts all connections.
pub(crate) struct Hub {
    address: String,
    subscribes: mpsc::Receiver<Dial<SubscribeRequest>>,
    publishes: mpsc::Receiver<Dial<Streaming<PublishEventsRequest>>>,
    unary: mpsc::Receiver<Unary>,
    _server: JoinSet<()>,
}

/// A call that is answered once.
pub(crate) enum Unary {
    OpenWriter(OpenWriterRequest, oneshot::Sender<Result<Bytes, Status>>),
    RenewWriter(RenewWriterRequest, oneshot::Sender<Result<Bytes, Status>>),
    GetSession(Option<String>, oneshot::Sender<Result<Bytes, Status>>),
    UpdateSubscription(UpdateSubscriptionRequest, oneshot::Sender<Result<Bytes, Status>>),
    /// With the key that it carried.
    RefreshCredential(
        Option<String>,
        RefreshCredentialRequest,
        oneshot::Sender<Result<Bytes, Status>>,
    ),
}

/// A call that opens a stream, not answered yet.
pub(crate) struct Dial<R> {
    pub(crate) request: R,
    peer: Option<SocketAddr>,
    answer: oneshot::Sender<Result<DownStream, Status>>,
}

impl<R> Dial<R> {
    /// Opens the stream, with room for so many frames that the client has not taken.
    fn open_with(self, frames_max: usize) -> (R, Down) {
        let (down, frames) = mpsc::channel(frames_max);
        let _ = self.answer.send(Ok(ReceiverStream::new(frames)));
        (self.request, down)
    }

    /// Refuses it.
    pub(crate) fn refuse(self, status: Status) {
        let _ = self.answer.send(Err(status));
    }
}

/// An open subscription, seen from the hub.
pub(crate) struct Stream {
    pub(crate) request: SubscribeRequest,
    /// Which connection it came over.
    pub(crate) peer: Option<SocketAddr>,
    down: Down,
}

impl Stream {
    pub(crate) async fn send(&self, frame: SubscribeResponse) {
        self.send_bytes(frame.encode_to_vec()).await;
    }

    pub(crate) async fn send_bytes(&self, frame: Vec<u8>) {
        // A client that is gone is what some scripts are about.
        let _ = self.down.send(Ok(frame.into())).await;
    }

    pub(crate) async fn fail(self, status: Status) {
        let _ = self.down.send(Err(status)).await;
    }

    /// Waits until the client has cancelled it.
    pub(crate) async fn cancelled(&self) {
        self.down.closed().await;
    }
}

impl Dial<SubscribeRequest> {
    pub(crate) fn open(self) -> Stream {
        self.open_up_to(CALLS_MAX)
    }

    pub(crate) fn open_up_to(self, frames_max: usize) -> Stream {
        let peer = self.peer;
        let (request, down) = self.open_with(frames_max);
        Stream { request, peer, down }
    }
}

/// A writer's stream, seen from the hub.
pub(crate) struct Publication {
    up: Streaming<PublishEventsRequest>,
    down: Down,
}

impl Publication {
    pub(crate) async fn send(&self, frame: publish_events_response::Frame) {
        let frame = PublishEventsResponse { frame: Some(frame) };
        let _ = self.down.send(Ok(frame.encode_to_vec().into())).await;
    }

    pub(crate) async fn fail(self, status: Status) {
        let _ = self.down.send(Err(status)).await;
    }

    /// The client's next frame; `None` after its half-close.
    pub(crate) async fn next(&mut self) -> Option<publish_events_request::Frame> {
        self.up.message().await.ok().flatten()?.frame
    }
}

impl Dial<Streaming<PublishEventsRequest>> {
    pub(crate) fn open(self) -> Publication {
        let (up, down) = self.open_with(CALLS_MAX);
        Publication { up, down }
    }
}

impl Hub {
    pub(crate) async fn start() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (subscribe, subscribes) = mpsc::channel(CALLS_MAX);
        let (publish, publishes) = mpsc::channel(CALLS_MAX);
        let (call, unary) = mpsc::channel(CALLS_MAX);
        let serve = tonic::transport::Server::builder()
            .add_service(SubscribeService {
                subscribe,
                call: call.clone(),
            })
            .add_service(SessionEventsService { publish, call })
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut server = JoinSet::new();
        server.spawn(async move {
            serve.await.unwrap();
        });
        Hub {
            address,
            subscribes,
            publishes,
            unary,
            _server: server,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(Options::at(&self.address).with_key("bb_test")).unwrap()
    }

    /// The next Subscribe.
    pub(crate) async fn subscribe(&mut self) -> Dial<SubscribeRequest> {
        in_time(self.subscribes.recv()).await.unwrap()
    }

    /// The next PublishEvents.
    pub(crate) async fn publish(&mut self) -> Dial<Streaming<PublishEventsRequest>> {
        in_time(self.publishes.recv()).await.unwrap()
    }

    pub(crate) async fn unary(&mut self) -> Unary {
        in_time(self.unary.recv()).await.unwrap()
    }

    /// Answers the next UpdateSubscription, and gives what it asked.
    pub(crate) async fn update(&mut self, answer: Result<(), Status>) -> UpdateSubscriptionRequest {
        let Unary::UpdateSubscription(request, call) = self.unary().await else {
            panic!("another call");
        };
        let response = UpdateSubscriptionResponse {
            revision: request.revision,
        };
        let _ = call.send(answer.map(|()| response.encode_to_vec().into()));
        request
    }

    /// Answers the next RefreshCredential, and gives the key that it carried and the stream.
    pub(crate) async fn refresh(&mut self, answer: Result<(), Status>) -> (Option<String>, String) {
        let Unary::RefreshCredential(key, request, call) = self.unary().await else {
            panic!("another call");
        };
        let _ = call.send(answer.map(|()| Bytes::new()));
        (key, request.subscription_id)
    }

    /// Whether there is a call that no script has taken.
    pub(crate) fn is_called(&mut self) -> bool {
        !self.subscribes.is_empty() || !self.unary.is_empty()
    }

    /// Answers the next OpenWriter, and gives what it asked.
    pub(crate) async fn open_writer(&mut self, fence: u64, last_seq: u64) -> OpenWriterRequest {
        let Unary::OpenWriter(request, answer) = self.unary().await else {
            panic!("another call");
        };
        let response = OpenWriterResponse {
            fence,
            last_seq,
            ..OpenWriterResponse::default()
        };
        let _ = answer.send(Ok(response.encode_to_vec().into()));
        request
    }
}

impl Hub {
    /// Answers the next RenewWriter, each session it names so, and gives what it asked.
    pub(crate) async fn renew_writer(&mut self, statuses: &[WriterSessionStatus]) -> RenewWriterRequest {
        let Unary::RenewWriter(request, answer) = self.unary().await else {
            panic!("another call");
        };
        let result = |status: &WriterSessionStatus| WriterSessionResult {
            status: (*status).into(),
            ..WriterSessionResult::default()
        };
        let response = RenewWriterResponse {
            results: statuses.iter().map(result).collect(),
            ..RenewWriterResponse::default()
        };
        let _ = answer.send(Ok(response.encode_to_vec().into()));
        request
    }
}

#[derive(Clone)]
struct SubscribeService {
    subscribe: mpsc::Sender<Dial<SubscribeRequest>>,
    call: mpsc::Sender<Unary>,
}

#[derive(Clone)]
struct SessionEventsService {
    publish: mpsc::Sender<Dial<Streaming<PublishEventsRequest>>>,
    call: mpsc::Sender<Unary>,
}

impl NamedService for SubscribeService {
    const NAME: &'static str = "bellboard.v1.SubscribeService";
}

impl NamedService for SessionEventsService {
    const NAME: &'static str = "bellboard.v1.SessionEventsService";
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Served = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// Hands a streaming call to the test and waits for its word.
fn hand_over<R: Send + 'static>(calls: mpsc::Sender<Dial<R>>, request: Request<R>) -> Answer<DownStream> {
    Box::pin(async move {
        let (answer, answered) = oneshot::channel();
        let peer = request.remote_addr();
        let request = request.into_inner();
        let dial = Dial { request, peer, answer };
        let _ = calls.send(dial).await;
        let gone = || Status::unavailable("the script is over");
        answered.await.map_err(|_| gone())?.map(Response::new)
    })
}

impl ServerStreamingService<SubscribeRequest> for SubscribeService {
    type Response = Bytes;
    type ResponseStream = DownStream;
    type Future = Answer<DownStream>;

    fn call(&mut self, request: Request<SubscribeRequest>) -> Answer<DownStream> {
        hand_over(self.subscribe.clone(), request)
    }
}

impl StreamingService<PublishEventsRequest> for SessionEventsService {
    type Response = Bytes;
    type ResponseStream = DownStream;
    type Future = Answer<DownStream>;

    fn call(&mut self, request: Request<Streaming<PublishEventsRequest>>) -> Answer<DownStream> {
        hand_over(self.publish.clone(), request)
    }
}

fn answered(
    calls: mpsc::Sender<Unary>,
    call: Unary,
    answer: oneshot::Receiver<Result<Bytes, Status>>,
) -> Answer<Bytes> {
    Box::pin(async move {
        let _ = calls.send(call).await;
        let gone = || Status::unavailable("the script is over");
        answer.await.map_err(|_| gone())?.map(Response::new)
    })
}

impl UnaryService<OpenWriterRequest> for SessionEventsService {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<OpenWriterRequest>) -> Answer<Bytes> {
        let (answer, receiver) = oneshot::channel();
        let call = Unary::OpenWriter(request.into_inner(), answer);
        answered(self.call.clone(), call, receiver)
    }
}

impl UnaryService<RenewWriterRequest> for SessionEventsService {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<RenewWriterRequest>) -> Answer<Bytes> {
        let (answer, receiver) = oneshot::channel();
        let call = Unary::RenewWriter(request.into_inner(), answer);
        answered(self.call.clone(), call, receiver)
    }
}

impl UnaryService<GetSessionRequest> for SessionEventsService {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<GetSessionRequest>) -> Answer<Bytes> {
        let (answer, receiver) = oneshot::channel();
        let call = Unary::GetSession(key(&request), answer);
        answered(self.call.clone(), call, receiver)
    }
}

impl UnaryService<UpdateSubscriptionRequest> for SubscribeService {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<UpdateSubscriptionRequest>) -> Answer<Bytes> {
        let (answer, receiver) = oneshot::channel();
        let call = Unary::UpdateSubscription(request.into_inner(), answer);
        answered(self.call.clone(), call, receiver)
    }
}

impl UnaryService<RefreshCredentialRequest> for SubscribeService {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<RefreshCredentialRequest>) -> Answer<Bytes> {
        let (answer, receiver) = oneshot::channel();
        let call = Unary::RefreshCredential(key(&request), request.into_inner(), answer);
        answered(self.call.clone(), call, receiver)
    }
}

/// The key that a call carries.
fn key<R>(request: &Request<R>) -> Option<String> {
    let key = request.metadata().get("authorization");
    key.map(|key| key.to_str().unwrap().to_owned())
}

macro_rules! serve {
    ($service:ty, |$this:ident, $request:ident| $serve:expr) => {
        impl tower::Service<http::Request<Body>> for $service {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Served;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, $request: http::Request<Body>) -> Served {
                let $this = self.clone();
                Box::pin(async move { Ok($serve) })
            }
        }
    };
}

serve!(SubscribeService, |this, request| {
    match request.uri().path().rsplit('/').next() {
        Some("Subscribe") => {
            Grpc::new(Script::<SubscribeRequest>::default())
                .server_streaming(this, request)
                .await
        }
        Some("UpdateSubscription") => {
            Grpc::new(Script::<UpdateSubscriptionRequest>::default())
                .unary(this, request)
                .await
        }
        Some("RefreshCredential") => {
            Grpc::new(Script::<RefreshCredentialRequest>::default())
                .unary(this, request)
                .await
        }
        other => Status::unimplemented(format!("{other:?} is in no script")).into_http(),
    }
});

serve!(SessionEventsService, |this, request| {
    match request.uri().path().rsplit('/').next() {
        Some("PublishEvents") => {
            Grpc::new(Script::<PublishEventsRequest>::default())
                .streaming(this, request)
                .await
        }
        Some("OpenWriter") => {
            Grpc::new(Script::<OpenWriterRequest>::default())
                .unary(this, request)
                .await
        }
        Some("RenewWriter") => {
            Grpc::new(Script::<RenewWriterRequest>::default())
                .unary(this, request)
                .await
        }
        Some("GetSession") => {
            Grpc::new(Script::<GetSessionRequest>::default())
                .unary(this, request)
                .await
        }
        other => Status::unimplemented(format!("{other:?} is in no script")).into_http(),
    }
});
