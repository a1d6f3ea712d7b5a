//! The answer of a stream that hands out whole messages.
//!
//! Believe this: every item is a gRPC message with its head before it, as it goes over the wire, and is perhaps shared with equal
//! streams. tonic reads the request, answers what is refused and writes the head of the answer; then [`taken`] puts the messages in the place of
//! tonic's own body, whose encoder keeps 8 KiB for every stream and copies every message into it. How the call ended stands in the
//! trailers, as gRPC has it; grpc-web gets the same body and does with it what it does with any other.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use hyper::body::Frame;
use prost::Message;
use tonic::body::Body;
use tonic::{Response, Status};

/// Messages, each with its head, until the status that ends the call.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// What tonic is told to encode: nothing.
pub type Nothing<T> = stream::Empty<Result<T, Status>>;

/// One byte that says "not compressed", and the length in four.
const HEAD_BYTES: usize = 5;

/// A message with its head.
///
/// # Errors
/// When it is longer than a head can say.
pub fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let told = u32::try_from(length).map_err(|_| Status::internal("a message is longer than gRPC can send"))?;
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(told);
    // A `BytesMut` grows: there is always room.
    let _ = message.encode(&mut bytes);
    Ok(bytes.freeze())
}

/// Messages on their way past tonic. What travels beside an answer must be `Clone`: the first who takes them has them.
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Messages>>>);

/// The answer of a method whose messages these are. Only behind [`taken`] is it more than an empty one.
#[must_use]
pub fn handed<T>(messages: Messages) -> Response<Nothing<T>> {
    let mut answer = Response::new(stream::empty());
    answer
        .extensions_mut()
        .insert(Handed(Arc::new(Mutex::new(Some(messages)))));
    answer
}

/// Puts messages that a method handed over in the place of the body that tonic made.
pub fn taken(mut answer: http::Response<Body>) -> http::Response<Body> {
    let Some(Handed(handed)) = answer.extensions_mut().remove::<Handed>() else {
        return answer;
    };
    let messages = handed.lock().unwrap_or_else(PoisonError::into_inner).take();
    answer.map(|_| Body::new(Whole { messages }))
}

/// The body.
struct Whole {
    /// None once the call has ended.
    messages: Option<Messages>,
}

impl hyper::body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    /// Asked for the next message only when HTTP/2 has room for it: that is all the back-pressure there is, and all there need be.
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let status = match ready!(messages.as_mut().poll_next(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        // What the stream held is let go now, not when the peer has read the trailers.
        self.messages = None;
        let mut trailers = HeaderMap::new();
        let written = status.add_header(&mut trailers);
        Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.messages.is_none()
    }
}

#[cfg(test)]
mod tests {
    use bellboard_proto::v1;
    use http_body_util::BodyExt as _;
    use tonic::Code;

    use super::*;

    fn body(items: Vec<Result<Bytes, Status>>) -> Body {
        let answer = handed::<()>(Box::pin(stream::iter(items)));
        let (_, _, extensions) = answer.into_parts();
        let mut answer = http::Response::new(Body::empty());
        *answer.extensions_mut() = extensions;
        taken(answer).into_body()
    }

    async fn next(body: &mut Body) -> Option<Frame<Bytes>> {
        Some(body.frame().await?.unwrap())
    }

    #[tokio::test]
    async fn messages_go_out_as_they_are_and_the_status_comes_last() {
        let message = framed(&v1::CaughtUp { tail: 300 }).unwrap();
        assert_eq!(&message[..], [0, 0, 0, 0, 3, 8, 0xac, 2]);
        let mut good = body(vec![Ok(message.clone()), Ok(message.clone())]);
        for _ in 0..2 {
            let sent = next(&mut good).await.unwrap().into_data().unwrap();
            assert_eq!(sent.as_ptr(), message.as_ptr(), "nothing is copied");
        }
        let trailers = next(&mut good).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        assert!(next(&mut good).await.is_none(), "nothing follows trailers");
    }

    #[tokio::test]
    async fn a_status_is_told_whole_and_nothing_follows_it() {
        let failed = Status::with_details(Code::Unavailable, "come back: später", Bytes::from_static(b"why"));
        let mut bad = body(vec![Err(failed), Ok(Bytes::from_static(b"never sent"))]);
        let trailers = next(&mut bad).await.unwrap().into_trailers().unwrap();
        let told = Status::from_header_map(&trailers).unwrap();
        assert_eq!(
            (told.code(), told.message(), told.details()),
            (Code::Unavailable, "come back: später", &b"why"[..])
        );
        assert!(next(&mut bad).await.is_none());
        assert!(hyper::body::Body::is_end_stream(&bad));
    }

    #[tokio::test]
    async fn what_a_stream_holds_is_let_go_with_its_status_and_when_it_is_given_up() {
        let held = Arc::new(());
        let holding = |end: Option<Status>| {
            let held = held.clone();
            let items = stream::iter(end.map(Err)).chain(stream::pending()).map(move |item| {
                let _ = &held;
                item
            });
            let answer = handed::<()>(Box::pin(items));
            let mut sent = http::Response::new(Body::empty());
            *sent.extensions_mut() = answer.into_parts().2;
            taken(sent).into_body()
        };
        use futures_util::StreamExt as _;
        let mut ended = holding(Some(Status::aborted("")));
        assert_eq!(Arc::strong_count(&held), 2);
        assert!(next(&mut ended).await.unwrap().is_trailers());
        assert_eq!(Arc::strong_count(&held), 1, "although the body is still there");
        drop(holding(None));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn other_answers_are_left_alone() {
        let refused = taken(Status::not_found("no").into_http());
        assert_eq!(refused.headers().get("grpc-status").unwrap(), "5");
        assert!(hyper::body::Body::is_end_stream(refused.body()));
    }
}
