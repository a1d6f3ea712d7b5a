//! A request's body, as it arrives.
//!
//! Believe this: a request must be there within [`limits::REQUEST_ARRIVAL_MAX`], and its bytes count for its principal, so that slow or many
//! half-sent requests hold neither memory nor calls for ever. A writer's stream lasts as long as it likes; of its messages each counts
//! until it is whole, and from then on it is bounded as what the hub has taken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bellboard_core::clock::Sleep;
use bellboard_core::limits;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use super::calls::Call;
use super::method::Kind;
use super::partial::Partial;
use crate::wire::status;

/// The body.
pub(super) struct Arriving {
    inner: Incoming,
    call: Arc<Call>,
    /// When it must be whole. None until it is waited for: most requests are there at once.
    late: Option<Sleep>,
    /// What has come of a writer's next message. None where all is one request.
    partial: Option<Partial>,
}

impl Arriving {
    pub(super) fn new(inner: Incoming, call: Arc<Call>) -> Arriving {
        let partial = (call.kind() == Kind::Publisher).then(Partial::default);
        let late = None;
        Arriving {
            inner,
            call,
            late,
            partial,
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            if this.partial.is_none() {
                let clock = this.call.clock();
                let late = this
                    .late
                    .get_or_insert_with(|| clock.sleep(limits::REQUEST_ARRIVAL_MAX));
                ready!(late.as_mut().poll(context));
                return Poll::Ready(Some(Err(status::too_slow(limits::REQUEST_ARRIVAL_MAX))));
            }
            return Poll::Pending;
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| Status::from_error(Box::new(error)))?;
        if let Some(data) = frame.data_ref() {
            match &mut this.partial {
                Some(partial) => this.call.holds(partial.after(data))?,
                None => this.call.arrived(data.len())?,
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
