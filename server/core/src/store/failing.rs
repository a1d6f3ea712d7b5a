//! Failures wherever a test says so, around a store.
//!
//! Believe this: nothing fails unless [`Points`] say that it fails.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::store::around::{Around, Call, Step};
use crate::store::{Changes, Error};

/// Where a call is. What fails at a point has not happened, but at [`Point::Committed`] and [`Point::Taken`], where it has.
#[derive(Clone, Copy, Debug)]
pub enum Point<'a> {
    /// Before a log is opened, or its row compared.
    Open,
    /// Before a transaction begins.
    Begin,
    /// Before it takes a log's row.
    Lock,
    /// Before it reads what a batch names.
    Load,
    /// Before it writes these.
    Write(&'a Changes),
    /// Before it takes events away.
    Trim,
    /// Before it is committed: everything of it is written.
    Commit,
    /// After it was committed, before anybody is told.
    Committed,
    /// Before a read outside of transactions.
    Read,
    /// Before a snapshot.
    Snapshot,
    /// Before numbers of clients are taken.
    Take,
    /// After they were, before they are told.
    Taken,
    /// Before the beats of writers are counted on.
    Beat,
}

/// What happens where. Shared by a store and all of its transactions.
#[async_trait]
pub trait Points: Debug + Send + Sync + 'static {
    /// Called at every point. Nothing goes on before it returns.
    ///
    /// # Errors
    /// What the caller of the store is told.
    async fn at(&self, point: Point<'_>) -> Result<(), Error>;
}

impl<P: Points> Around for P {
    async fn before(&self, call: Call<'_>) -> Result<(), Error> {
        let point = match call {
            Call::Open => Point::Open,
            Call::Begin => Point::Begin,
            Call::Lock => Point::Lock,
            Call::Load => Point::Load,
            Call::Write(changes) => Point::Write(changes),
            Call::Trim => Point::Trim,
            Call::Commit => Point::Commit,
            Call::Read => Point::Read,
            Call::Snapshot => Point::Snapshot,
            Call::Take => Point::Take,
            Call::Beat => Point::Beat,
        };
        self.at(point).await
    }

    async fn during<T: Send>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let done = work.await?;
        match step {
            Step::Read | Step::Write => {}
            Step::Commit => self.at(Point::Committed).await?,
            Step::Take => self.at(Point::Taken).await?,
        }
        Ok(done)
    }
}
