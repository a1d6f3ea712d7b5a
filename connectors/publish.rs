//! The sink that writes to a hub, by the SDK's writer.
//!
//! The one thing to believe: an event that was taken is spooled on disk and stored once. One that the hub rejects is logged
//! and left behind, for it would be rejected again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::{AppendResult, DeltaAppend, EventAppend, WriterSession};
use bellboard_sdk::{Client, Spool, Ticket, Writer, WriterOptions};
use futures_util::FutureExt as _;
use tracing::{info, warn};

use crate::out::{Sink, SinkError};

/// How long the last events may take to reach the hub at the end. What does not is sent at the next start.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most answers that are waited for to learn of rejections. The writer itself holds back before.
const TICKETS_MAX: usize = 20_000;

/// A hub that is written to.
#[derive(Debug)]
pub struct Hub {
    writer: Writer,
    /// In the order of the appends, which is that of the answers.
    tickets: VecDeque<Ticket>,
    rejected: u64,
}

impl Hub {
    /// Opens the writer with the sessions that it still holds, and waits for the hub as long as it is away. Those that another writer
    /// holds are its own.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub async fn open(
        client: &Client,
        writer_id: &str,
        spool: PathBuf,
        sessions: Vec<WriterSession>,
    ) -> Result<Hub, bellboard_sdk::Error> {
        let options = WriterOptions::new(writer_id)
            .holding(sessions)
            .with_spool(Spool::on_disk(spool));
        let writer = Writer::open(client, options).await?;
        info!(writer_id, "writing to the hub");
        Ok(Hub {
            writer,
            tickets: VecDeque::new(),
            rejected: 0,
        })
    }

    /// How many events the hub has rejected, as far as it has answered.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Sends what waits, and ends. What is not acknowledged within the time stays on disk.
    pub async fn close(mut self, timeout: Duration) {
        match tokio::time::timeout(timeout, self.writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the last events stay in the spool"),
            Err(_) => warn!("the hub is away; the last events stay in the spool"),
        }
        self.take_answers();
        if let Ok(Err(error)) = tokio::time::timeout(timeout, self.writer.close()).await {
            warn!(%error, "the writer did not end well");
        }
    }

    fn take_answers(&mut self) {
        while let Some(mut ticket) = self.tickets.pop_front() {
            match (&mut ticket).now_or_never() {
                Some(Ok(result)) => self.answered(&result),
                // The writer's own end is told by the next append.
                Some(Err(_)) => {}
                None => {
                    self.tickets.push_front(ticket);
                    return;
                }
            }
        }
    }

    fn answered(&mut self, result: &AppendResult) {
        let AppendResult { seq, outcome, .. } = result;
        match outcome {
            Some(Outcome::Stored(_) | Outcome::Duplicate(_)) => {}
            Some(Outcome::Rejected(rejected)) => {
                self.rejected += 1;
                warn!(seq, reason = ?rejected.reason(), field = rejected.field, message = rejected.message, "the hub rejected an event");
            }
            None => {
                self.rejected += 1;
                warn!(seq, "the hub answered an event in a way that is not known here");
            }
        }
    }
}

impl Sink for Hub {
    async fn append(&mut self, event: EventAppend) -> Result<(), SinkError> {
        let ticket = self
            .writer
            .append(event)
            .await
            .map_err(|error| SinkError::Closed(error.to_string()))?;
        self.take_answers();
        if self.tickets.len() >= TICKETS_MAX {
            self.tickets.pop_front();
        }
        self.tickets.push_back(ticket);
        Ok(())
    }

    fn delta(&mut self, delta: DeltaAppend) {
        self.writer.delta(delta);
    }
}
