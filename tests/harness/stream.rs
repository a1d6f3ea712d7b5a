//! A stream that checks what it takes: the first frame, the accounting, the growth of offsets, a resume token on every frame.

use bellboard_proto::v1::{self, subscribe_response::Frame};
use tonic::{Status, Streaming};

use crate::within;

/// Whether a snapshot is of some sessions only, and leaves the stream's place.
#[must_use]
pub fn of_sessions(begin: &v1::SnapshotBegin) -> bool {
    use v1::SnapshotReason::{InterestAdded, SessionEntered};
    matches!(begin.reason(), SessionEntered | InterestAdded)
}

/// An open stream.
#[derive(Debug)]
pub struct Frames {
    stream: Streaming<v1::SubscribeResponse>,
    /// The offset where the next batch must begin; none before the first frame.
    next: Option<u64>,
    /// The resume token of the newest frame.
    pub token: String,
}

impl Frames {
    pub(crate) const fn new(stream: Streaming<v1::SubscribeResponse>) -> Frames {
        Frames {
            stream,
            next: None,
            token: String::new(),
        }
    }

    /// The next frame.
    ///
    /// # Panics
    /// When none comes, when the stream ends, or when the frame breaks a promise.
    pub async fn next(&mut self) -> Frame {
        match self.try_next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the stream ended where a frame was expected"),
            Err(status) => panic!("the stream broke off where a frame was expected: {status}"),
        }
    }

    /// The next frame, the end, or the error that ended the stream.
    pub async fn try_next(&mut self) -> Result<Option<Frame>, Status> {
        let Some(response) = within("a frame", self.stream.message()).await? else {
            return Ok(None);
        };
        assert!(
            !response.resume_token.is_empty() && response.resume_token.len() <= 128,
            "every frame has a resume token"
        );
        self.token = response.resume_token;
        let frame = response.frame.expect("a frame of a known kind");
        self.account(&frame);
        Ok(Some(frame))
    }

    /// Takes frames until this one, which `found` picks.
    pub async fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Frame) -> Option<T>) -> T {
        loop {
            let frame = self
                .try_next()
                .await
                .unwrap_or_else(|status| panic!("the stream broke off before {what}: {status}"));
            let frame = frame.unwrap_or_else(|| panic!("the stream ended before {what}"));
            if let Some(found) = found(&frame) {
                return found;
            }
        }
    }

    /// The first frame.
    pub async fn subscribed(&mut self) -> v1::Subscribed {
        match self.next().await {
            Frame::Subscribed(subscribed) => subscribed,
            other => panic!("the first frame is not `subscribed` but {other:?}"),
        }
    }

    /// Takes frames until the stream has caught up. Returns the events on the way.
    pub async fn caught_up(&mut self) -> Vec<v1::Event> {
        let mut events = Vec::new();
        self.until("caught_up", |frame| {
            if let Frame::Events(batch) = frame {
                events.extend(batch.events.iter().cloned());
            }
            matches!(frame, Frame::CaughtUp(_)).then_some(())
        })
        .await;
        events
    }

    /// Takes frames until so many events have come.
    pub async fn events(&mut self, count: usize) -> Vec<v1::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let Frame::Events(batch) = self.next().await {
                events.extend(batch.events);
            }
        }
        events
    }

    fn account(&mut self, frame: &Frame) {
        let covered = match frame {
            Frame::Subscribed(subscribed) => {
                assert!(self.next.is_none(), "`subscribed` came twice");
                self.next = Some(subscribed.from);
                return;
            }
            Frame::SnapshotBegin(begin) => {
                assert!(
                    Some(begin.offset) >= self.next,
                    "a snapshot is older than the stream's place"
                );
                if !of_sessions(begin) {
                    self.next = Some(begin.offset);
                }
                return;
            }
            Frame::Events(batch) => {
                let mut at = batch.from;
                for event in &batch.events {
                    assert!(
                        (at..batch.until).contains(&event.offset),
                        "{} is not in [{at}, {})",
                        event.offset,
                        batch.until
                    );
                    at = event.offset + 1;
                }
                (batch.from, batch.until)
            }
            Frame::Gap(gap) => (gap.from, gap.until),
            Frame::Heartbeat(heartbeat) => (heartbeat.from, heartbeat.until),
            _ => {
                assert!(self.next.is_some(), "the first frame is not `subscribed` but {frame:?}");
                return;
            }
        };
        assert_eq!(
            self.next,
            Some(covered.0),
            "a frame does not begin where the last one ended: {frame:?}"
        );
        assert!(covered.1 >= covered.0, "a frame ends before it begins: {frame:?}");
        self.next = Some(covered.1);
    }
}
