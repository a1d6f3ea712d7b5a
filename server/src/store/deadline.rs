//! How long a database behind a network may say nothing.
//!
//! Believe this: a cable that is pulled tells nobody. The server's own bounds (see `open::postgres`) end what the server does; these end the
//! wait for a server that is not heard any more, and leave its connection to the pool, which finds out.

use std::sync::Arc;
use std::time::Duration;

use bellboard_core::store::around::{Around, Call, Step, Surrounded};
use bellboard_core::store::{Error, Store};
use tokio::time::timeout;

use super::open::Database;
use super::sql::Sql;

/// How long a read may take. More than the server gives a statement: where it can be heard, its own error says more.
const READ_TIMEOUT: Duration = Duration::from_secs(25);

/// How long one step of a transaction may take, that waits for a connection or for a log which another node has locked included. All of a
/// node's appends wait for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(12);

/// The store as a hub uses it. A file is not behind a network: a disk that is slow is waited for.
#[must_use]
pub fn bounded(store: Arc<Sql>, database: &Database) -> Arc<dyn Store> {
    if database.is_shared() {
        Arc::new(Surrounded::new(store, Arc::new(Deadline)))
    } else {
        store
    }
}

/// Bounds every call of a store.
#[derive(Debug)]
struct Deadline;

impl Around for Deadline {
    async fn before(&self, _: Call<'_>) -> Result<(), Error> {
        Ok(())
    }

    async fn during<T: Send>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let most = match step {
            Step::Read => READ_TIMEOUT,
            Step::Write | Step::Take | Step::Commit => WRITE_TIMEOUT,
        };
        within(most, step, work).await
    }
}

/// A read, as long as it may take.
pub(super) async fn reading<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    within(READ_TIMEOUT, Step::Read, work).await
}

async fn within<T>(most: Duration, step: Step, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(most, work).await.unwrap_or_else(|_| {
        Err(match step {
            Step::Read | Step::Write | Step::Take => Error::Unavailable("it does not answer".into()),
            Step::Commit => Error::CommitUnknown,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_not_answered_ends_and_only_a_commit_may_have_happened() {
        for step in [Step::Read, Step::Write, Step::Take] {
            let silent: Result<(), Error> = within(Duration::ZERO, step, pending()).await;
            assert!(matches!(silent, Err(Error::Unavailable(_))), "{step:?}");
        }
        let commit: Result<(), Error> = within(Duration::ZERO, Step::Commit, pending()).await;
        assert_eq!(commit, Err(Error::CommitUnknown));
        assert_eq!(within(Duration::ZERO, Step::Commit, ready(Ok(7))).await, Ok(7));
    }
}
