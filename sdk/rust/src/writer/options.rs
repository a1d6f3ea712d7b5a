//! How a writer is opened.
//!
//! The one thing to believe: every default is bounded, so that a writer without a thought costs at most 16 MiB.

use std::path::PathBuf;

use bellboard_proto::v1::WriterSession;

use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

/// How to open a writer.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The writer's own lasting id: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`. Always the same for the same spool.
    pub writer_id: String,
    /// All sessions that it holds: one that it held before and that is left out ends its run as unknown. Default: none.
    pub sessions: Vec<WriterSession>,
    /// Take sessions from another writer whose lease still lives. Default: no.
    pub take_over: bool,
    /// Where events wait for the hub. Default: in memory, 10,000 of them and 16 MiB.
    pub spool: Spool,
    /// How to dial again. Default [`RetryPolicy::stream`], which never gives up.
    pub retry: RetryPolicy,
}

impl WriterOptions {
    /// Finds what no hub would take.
    pub(super) fn check(&self) -> Result<()> {
        let (option, problem) = if self.writer_id.is_empty() {
            ("writer_id", "it is empty; give the writer a lasting id")
        } else if self.spool.events_max == 0 {
            ("spool.events_max", "it is 0; let at least one event wait")
        } else {
            return Ok(());
        };
        Err(Error::Option {
            option,
            problem: problem.to_owned(),
        })
    }

    /// A writer with this id, that holds no session yet.
    #[must_use]
    pub fn new(writer_id: impl Into<String>) -> WriterOptions {
        WriterOptions {
            writer_id: writer_id.into(),
            sessions: Vec::new(),
            take_over: false,
            spool: Spool::default(),
            retry: RetryPolicy::stream(),
        }
    }

    /// Holding these sessions.
    #[must_use]
    pub fn holding(mut self, sessions: impl IntoIterator<Item = WriterSession>) -> WriterOptions {
        self.sessions = sessions.into_iter().collect();
        self
    }

    /// With this spool.
    #[must_use]
    pub fn with_spool(mut self, spool: Spool) -> WriterOptions {
        self.spool = spool;
        self
    }
}

/// Where events wait until the hub has acknowledged them.
///
/// With a folder each event is also written to a file there before [`Writer::append`](crate::Writer::append) returns, so that it outlives the process
/// and is sent at the next opening. Appends are not flushed to the disk: a loss of power may take the newest, and a torn end is
/// cut off and told in [`Writer::recovered`](crate::Writer::recovered). The folder is locked; it takes up to `bytes_max` and two segments of 1 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// How many events may wait, above 0.
    pub events_max: usize,
    /// How many bytes they may have together. A single larger event is taken when nothing else waits.
    pub bytes_max: usize,
    /// The folder, of this writer alone. `None`: memory only.
    pub dir: Option<PathBuf>,
}

impl Default for Spool {
    fn default() -> Spool {
        Spool {
            events_max: 10_000,
            bytes_max: 16 * 1024 * 1024,
            dir: None,
        }
    }
}

impl Spool {
    /// On disk, in this folder.
    #[must_use]
    pub fn on_disk(dir: impl Into<PathBuf>) -> Spool {
        Spool {
            dir: Some(dir.into()),
            ..Spool::default()
        }
    }
}
