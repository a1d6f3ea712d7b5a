//! A client of HTTP/2 itself, which does what no library of gRPC would: it stops reading, gives up, lies about lengths.
//!
//! Believe this: a [`Raw`] reads its socket and answers pings all the time, whether or not anybody takes what came, until it is frozen:
//! then it does nothing at all, and stays connected.

use bytes::{Buf, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Version};
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::process::Process;
use crate::within;

/// The path of Subscribe.
pub const SUBSCRIBE: &str = "/bellboard.v1.SubscribeService/Subscribe";
/// The path of PublishEvents.
pub const PUBLISH: &str = "/bellboard.v1.SessionEventsService/PublishEvents";
/// The path of AppendEvents.
pub const APPEND: &str = "/bellboard.v1.SessionEventsService/AppendEvents";

/// A connection.
#[derive(Debug)]
pub struct Raw {
    authority: String,
    key: String,
    send: SendRequest<Bytes>,
    frozen: watch::Sender<bool>,
    driver: JoinHandle<()>,
}

/// A call that is open.
#[derive(Debug)]
pub struct Opened {
    /// To send more.
    pub send: SendStream<Bytes>,
    /// The answer, if it comes.
    pub answer: ResponseFuture,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Raw {
    /// Connects with the windows that HTTP/2 begins with: 64 KiB for each stream, and for all of them together what is given.
    pub async fn connect(hub: &Process, connection_window: u32) -> Raw {
        let authority = hub.url.trim_start_matches("http://").to_owned();
        let socket = TcpStream::connect(&authority).await.expect("the hub's port");
        let mut builder = Builder::new();
        builder
            .initial_connection_window_size(connection_window)
            .max_concurrent_reset_streams(0);
        let (send, connection) = within("the handshake", builder.handshake(socket))
            .await
            .expect("a handshake");
        let (frozen, mut freeze) = watch::channel(false);
        let driver = tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let told = async { freeze.wait_for(|frozen| *frozen).await.is_ok() };
            let is_frozen = tokio::select! {
                _ = connection.as_mut() => false,
                is_frozen = told => is_frozen,
            };
            if is_frozen {
                std::future::pending::<()>().await;
            }
        });
        Raw {
            authority,
            key: hub.key(),
            send,
            frozen,
            driver,
        }
    }

    /// The same connection with another key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Raw {
        key.clone_into(&mut self.key);
        self
    }

    /// Does nothing from now on.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Whether the connection is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// Waits until the hub has ended the connection.
    pub async fn over(&mut self) {
        let _ = within("the connection to be ended", &mut self.driver).await;
    }

    /// The head of a call of this method.
    #[must_use]
    pub fn head(&self, path: &str) -> Request<()> {
        let uri = format!("http://{}{path}", self.authority);
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(uri);
        let request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let request = request.header("authorization", format!("Bearer {}", self.key));
        request.body(()).expect("a request")
    }

    /// Opens a call, with nothing sent of it but its head.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn begin(&mut self, head: Request<()>) -> Result<Opened, h2::Error> {
        let mut ready = within("room for a call", self.send.clone().ready()).await?;
        let (answer, send) = ready.send_request(head, false)?;
        Ok(Opened { send, answer })
    }

    /// Opens a call and sends the whole of its request.
    ///
    /// # Panics
    /// When the connection is over.
    pub async fn call(&mut self, path: &str, request: &impl Message) -> Opened {
        let head = self.head(path);
        let mut opened = self.begin(head).await.expect("the connection lives");
        opened.send.send_data(framed(request), true).expect("the call is open");
        opened
    }

    /// Opens a stream, and waits until it is answered. Nothing of the answer is read.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn stream(&mut self, path: &str, request: &impl Message) -> RecvStream {
        let opened = self.call(path, request).await;
        let answer = within("the answer", opened.answer).await.expect("an answer");
        assert!(
            answer.headers().get("grpc-status").is_none_or(|status| status == "0"),
            "the stream is refused: {:?}",
            answer.headers()
        );
        answer.into_body()
    }
}

impl Raw {
    /// Makes a call, and waits for the first message of its answer, or for the status where there is none.
    ///
    /// # Errors
    /// The status.
    ///
    /// # Panics
    /// When the connection is over.
    pub async fn ask(&mut self, path: &str, request: &[u8]) -> Result<Bytes, Status> {
        let head = self.head(path);
        let mut opened = self.begin(head).await.expect("the connection lives");
        opened
            .send
            .send_data(framed_bytes(request), true)
            .expect("the call is open");
        opened.first_message().await
    }
}

impl Opened {
    /// Waits for the first message of the answer, or for the status where there is none.
    ///
    /// # Errors
    /// The status; also where the call was reset.
    pub async fn first_message(self) -> Result<Bytes, Status> {
        let answer = within("the answer", self.answer).await;
        let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        match Status::from_header_map(answer.headers()) {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ => match Messages::new(answer.into_body()).next_bytes().await {
                Ok(message) => Ok(message.unwrap_or_default()),
                Err(status) => Err(status),
            },
        }
    }
}

/// What comes on a stream, message by message. What is not asked for is not taken: the peer sees its window close.
#[derive(Debug)]
pub struct Messages {
    stream: RecvStream,
    come: BytesMut,
}

impl Messages {
    /// Of an answer's body.
    #[must_use]
    pub fn new(stream: RecvStream) -> Messages {
        let come = BytesMut::new();
        Messages { stream, come }
    }

    /// The next message; none after the last one, where the call ended well.
    ///
    /// # Errors
    /// The status that ended the call.
    ///
    /// # Panics
    /// When it is no message of this kind.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let bytes = self.next_bytes().await?;
        Ok(bytes.map(|bytes| M::decode(bytes).expect("a message of this kind")))
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.whole() {
                return Ok(Some(message));
            }
            match within("more of the answer", self.stream.data()).await {
                Some(Ok(data)) => {
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.come.extend_from_slice(&data);
                }
                Some(Err(error)) => return Err(Status::unavailable(error.to_string())),
                None => return self.ended().await.map(|()| None),
            }
        }
    }

    fn whole(&mut self) -> Option<Bytes> {
        let length = self.come.get(1..5)?;
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if self.come.len() < 5 + length {
            return None;
        }
        self.come.advance(5);
        Some(self.come.split_to(length).freeze())
    }

    async fn ended(&mut self) -> Result<(), Status> {
        let trailers = within("the trailers", self.stream.trailers()).await;
        let trailers = trailers.map_err(|error| Status::unavailable(error.to_string()))?;
        let none = HeaderMap::new();
        match Status::from_header_map(trailers.as_ref().unwrap_or(&none)) {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ => Ok(()),
        }
    }
}

/// A message as gRPC sends it.
#[must_use]
pub fn framed(message: &impl Message) -> Bytes {
    framed_bytes(&message.encode_to_vec())
}

fn framed_bytes(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a length");
    [&[0][..], &length.to_be_bytes(), message].concat().into()
}
