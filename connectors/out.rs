//! What a connector's map gives out, and who takes it.
//!
//! The one thing to believe: events and deltas leave in one order. A delta means something only after the event that
//! started its item, so a sink keeps the order in which it was called.

use std::future::Future;

use bellboard_proto::v1::{DeltaAppend, EventAppend};

/// Something to publish.
#[derive(Debug, Clone, PartialEq)]
pub enum Out {
    /// A durable event, without `seq`: the writer counts.
    Event(Box<EventAppend>),
    /// A live fragment.
    Delta(Box<DeltaAppend>),
}

/// Takes what a connector has to say, in order.
pub trait Sink: Send {
    /// Takes an event. Waiting here is back-pressure: the tap reads nothing meanwhile.
    ///
    /// # Errors
    /// [`SinkError::Closed`] when no event will be taken any more; the connector ends with it.
    fn append(&mut self, event: EventAppend) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Takes a delta, or drops it when there is no room: deltas never wait and never hold an event back.
    fn delta(&mut self, delta: DeltaAppend);
}

/// Why a sink takes nothing any more.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The writer behind it ended, with its own words.
    #[error("the hub takes no more events ({0}); look at its log and start the connector again")]
    Closed(String),
}
