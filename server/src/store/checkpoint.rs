//! Moves the write-ahead log into the database file, beside the commits.
//!
//! Believe this: a commit never moves pages. While commits go on, what lies in the log is copied without stopping them; only when the
//! file has grown large, or nothing has happened for a while, is it emptied, and that stops the writer for the little that was not
//! copied yet.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bellboard_core::store::Error;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument, debug, debug_span, warn};

use super::error;
use super::open::Synchronous;
use super::open::sqlite::{self, Role};

/// Between two looks at the log. At 20 MB/s of commits this much of it waits to be copied.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A log larger than this is emptied even while commits go on: under an unbroken stream of them it would never end otherwise.
const EMPTY_ABOVE_BYTES: u64 = 64 * 1024 * 1024;

/// After so many looks without a change the log is emptied, so that an idle hub leaves one small file.
const EMPTY_AFTER_LOOKS: u32 = 30;

/// How long emptying waits for a reader or the writer before it gives up until the next look. The writer waits as long in the worst case.
const BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// What is to be done about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Copy,
    CopyAndEmpty,
}

/// What was seen of the log's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Checkpoints {
    seen: Option<Look>,
    unchanged_looks: u32,
}

impl Checkpoints {
    fn step(&mut self, look: Look) -> Step {
        let changed = self.seen.replace(look) != Some(look);
        self.unchanged_looks = if changed { 0 } else { self.unchanged_looks + 1 };
        if look.bytes == 0 {
            Step::Nothing
        } else if look.bytes > EMPTY_ABOVE_BYTES || self.unchanged_looks == EMPTY_AFTER_LOOKS {
            Step::CopyAndEmpty
        } else if changed {
            Step::Copy
        } else {
            Step::Nothing
        }
    }
}

/// The task and its connection. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Checkpointer {
    connection: DatabaseConnection,
    task: AbortHandle,
    /// Ends the task when it is dropped.
    _owner: JoinSet<()>,
}

impl Checkpointer {
    /// Starts the task.
    pub(super) async fn start(path: &Path, synchronous: Synchronous) -> Result<Checkpointer, Error> {
        let connection = sqlite::connect(path, synchronous, Role::Checkpointer(BUSY_TIMEOUT)).await?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let mut owner = JoinSet::new();
        let task = owner.spawn(run(connection.clone(), PathBuf::from(log)).instrument(debug_span!("checkpoints")));
        Ok(Checkpointer {
            connection,
            task,
            _owner: owner,
        })
    }

    /// Ends the task, and its connection after the running statement.
    pub(super) async fn close(&self) -> Result<(), Error> {
        self.task.abort();
        self.connection.close_by_ref().await.map_err(error::of)
    }
}

async fn run(connection: DatabaseConnection, log: PathBuf) {
    let mut checkpoints = Checkpoints::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let look = match tokio::fs::metadata(&log).await {
            Ok(metadata) => Look {
                bytes: metadata.len(),
                modified: metadata.modified().ok(),
            },
            Err(error) => {
                debug!(%error, "no write-ahead log to look at");
                continue;
            }
        };
        let pragmas: &[&str] = match checkpoints.step(look) {
            Step::Nothing => &[],
            Step::Copy => &["PRAGMA wal_checkpoint(PASSIVE)"],
            Step::CopyAndEmpty => &["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"],
        };
        for pragma in pragmas {
            if let Err(failure) = connection.execute_unprepared(pragma).await {
                warn!(error = %error::of(failure), pragma, "checkpoint failed; trying again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        Look { bytes, modified: None }
    }

    #[test]
    fn a_changed_log_is_copied_once_and_an_idle_one_emptied_once() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.step(look(0)), Step::Nothing);
        assert_eq!(checkpoints.step(look(5)), Step::Copy);
        for _ in 1..EMPTY_AFTER_LOOKS {
            assert_eq!(checkpoints.step(look(5)), Step::Nothing);
        }
        assert_eq!(checkpoints.step(look(5)), Step::CopyAndEmpty);
        assert_eq!(checkpoints.step(look(5)), Step::Nothing);
    }

    #[test]
    fn a_large_log_is_emptied_while_commits_go_on() {
        let mut checkpoints = Checkpoints::default();
        for bytes in [EMPTY_ABOVE_BYTES + 1, EMPTY_ABOVE_BYTES + 2] {
            assert_eq!(checkpoints.step(look(bytes)), Step::CopyAndEmpty);
        }
    }
}
