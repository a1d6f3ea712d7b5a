//! An HTTP/2 connection and gRPC calls on it, by hand.
//!
//! Believe this: nothing is done here that a client need not do. What arrives is given back to the flow control as it is taken, so a
//! reader that stops reading stops its server.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::{Error, Result, io};
use crate::load::messages::Messages;

/// What one stream may have on its way to us: enough that the window is never what a measurement waits for.
const WIDE: u32 = 1024 * 1024;
/// The same for a connection.
const WIDE_CONNECTION: u32 = 16 * 1024 * 1024;
/// What a peer that knows nothing better has: HTTP/2's own default.
const USUAL: u32 = 65_535;

/// Where a server is, and with which key.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The `authorization` header.
    pub(crate) authorization: String,
}

/// How much a client lets its server send before it has taken anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Windows {
    /// As much as it can use.
    Wide,
    /// What HTTP/2 says by default.
    Usual,
}

/// One connection. Dropped, it is cut.
#[derive(Debug)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    target: Target,
    /// Drives the socket.
    _driver: JoinSet<()>,
}

/// A call's way out.
#[derive(Debug)]
pub(crate) struct Outgoing(SendStream<Bytes>);

impl Outgoing {
    /// Sends one message.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.0.send_data(framed(message), false)?)
    }

    /// Says that nothing follows.
    pub(crate) fn finish(&mut self) -> Result<()> {
        Ok(self.0.send_data(Bytes::new(), true)?)
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(target: &Target, windows: Windows) -> Result<Connection> {
        let socket = TcpStream::connect(target.address).await.map_err(io("connect"))?;
        socket.set_nodelay(true).map_err(io("set TCP_NODELAY"))?;
        let (stream, connection) = match windows {
            Windows::Wide => (WIDE, WIDE_CONNECTION),
            Windows::Usual => (USUAL, USUAL),
        };
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(stream)
            .initial_connection_window_size(connection);
        let (send, connection) = builder.handshake(socket).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks a connection is told by its streams.
            let _ = connection.await;
        });
        Ok(Connection {
            send,
            target: target.clone(),
            _driver: driver,
        })
    }

    /// Begins a call with its first message.
    pub(crate) async fn call(&self, path: &str, first: &[u8]) -> Result<(Outgoing, Answer)> {
        let request = Request::post(format!("http://{}{path}", self.target.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", &self.target.authorization)
            .body(())
            .map_err(|error| Error::Server(error.to_string()))?;
        let mut send = self.send.clone().ready().await?;
        let (response, stream) = send.send_request(request, false)?;
        let mut outgoing = Outgoing(stream);
        outgoing.send(first)?;
        Ok((outgoing, Answer(response)))
    }

    /// A call with one message each way.
    pub(crate) async fn unary(&self, path: &str, request: &[u8]) -> Result<Bytes> {
        let (mut outgoing, answer) = self.call(path, request).await?;
        outgoing.finish()?;
        let mut messages = answer.messages().await?;
        messages
            .next()
            .await?
            .ok_or_else(|| Error::Server(format!("{path} ended without an answer")))
    }
}

/// A call's answer, before its headers came.
#[derive(Debug)]
pub(crate) struct Answer(ResponseFuture);

impl Answer {
    /// Waits for the headers.
    pub(crate) async fn messages(self) -> Result<Messages> {
        let response = self.0.await?;
        if response.status() != StatusCode::OK {
            return Err(Error::Server(format!("HTTP status {}", response.status())));
        }
        refused(response.headers())?;
        Ok(Messages::new(response.into_body()))
    }
}

/// An error where headers or trailers say that a call failed.
pub(crate) fn refused(headers: &HeaderMap) -> Result<()> {
    match headers.get("grpc-status") {
        Some(status) if status != "0" => {
            let message = headers.get("grpc-message").map(|text| format!("{text:?}"));
            Err(Error::Server(format!(
                "gRPC status {status:?}: {}",
                message.unwrap_or_default()
            )))
        }
        _ => Ok(()),
    }
}

/// Reads the trailers of a call whose messages have ended.
pub(crate) async fn trailers(body: &mut RecvStream) -> Result<()> {
    body.trailers().await?.as_ref().map_or(Ok(()), refused)
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}
