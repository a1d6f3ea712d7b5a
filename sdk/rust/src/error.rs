//! What can go wrong, told apart by what the caller can do about it.
//!
//! The one thing to believe: the variant alone says what to do next. What the hub said in detail is in the [`Failure`]
//! beside it, for people and for programs that know one reason in particular.

mod failure;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bellboard_proto::v1::ErrorReason;

pub use failure::{Failure, FieldProblem};

/// The SDK's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something failed, by what the caller can do. Its text never holds its source's text; cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hub did nothing and may do it later: send the same again, after [`Error::retry_delay`] when there is one.
    #[error("{0}")]
    Retryable(Box<Failure>),
    /// No answer came, or none that says whether it was done. Send the same again **with the same ids or seqs**: what was
    /// done is answered as duplicate.
    #[error("{0}")]
    OutcomeUnknown(Box<Failure>),
    /// The request is wrong and stays wrong: change what [`Failure::fields`] names.
    #[error("{0}")]
    InvalidRequest(Box<Failure>),
    /// The resume token leads nowhere any more: subscribe with a snapshot as the start.
    #[error("{0}")]
    StartFromSnapshot(Box<Failure>),
    /// What the caller knew is out of date: read or renew what the text names, then send a changed request.
    #[error("{0}")]
    Refresh(Box<Failure>),
    /// Another writer holds the session, the one that [`Error::owner`] names: wait until its lease has ended, or open a writer
    /// with `take_over`.
    #[error("{0}")]
    SessionOwned(Box<Failure>),
    /// Another incarnation of this writer was opened: this one is over. Opening the writer again would throw the other one
    /// out.
    #[error("{0}")]
    Fenced(Box<Failure>),
    /// A later stream with the same `client_id`, or of the same writer, took this one's place: this one is over. Dialling
    /// again would throw the other one out.
    #[error("replaced by a later stream of the same client or writer")]
    Replaced,
    /// The key is missing, unknown, revoked or expired: give another one.
    #[error("{0}")]
    Credential(Box<Failure>),
    /// The key is known and does not allow this: have it granted.
    #[error("{0}")]
    Permission(Box<Failure>),
    /// What the request names does not exist, or not any more.
    #[error("{0}")]
    Gone(Box<Failure>),
    /// It exists already, or was decided already, with other content.
    #[error("{0}")]
    Conflict(Box<Failure>),
    /// A lasting limit or a missing capability: neither waiting nor another request helps.
    #[error("{0}")]
    Refused(Box<Failure>),
    /// The hub cannot do this yet.
    #[error("{0}")]
    Unimplemented(Box<Failure>),
    /// The hub broke a promise, again and again. Nothing of what was delivered before is in doubt.
    #[error("the hub broke a promise: {0}; report it")]
    BrokenPromise(String),
    /// An option is not usable.
    #[error("option {option}: {problem}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong with it and what to write instead.
        problem: String,
    },
    /// The writer's spool is full; wait, or use `append`, which waits.
    #[error("the spool is full; wait until the hub has acknowledged more")]
    SpoolFull,
    /// The writer's spool on disk failed. What is in it stays there.
    #[error("the spool {path} cannot be used: {problem}")]
    Spool {
        /// Where it lies.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// What the system said. `None` when the system is not at fault.
        source: Option<Arc<io::Error>>,
    },
    /// The resume token store failed. The stream itself goes on.
    #[error("the resume token store failed")]
    ResumeTokenStore(#[source] Arc<io::Error>),
    /// A file of the hub cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// The writer was closed or dropped before this was acknowledged. On disk it is kept for the next opening.
    #[error("the writer was closed before the hub acknowledged this")]
    Closed,
}

impl Error {
    /// Whether the same request, sent again later with the same ids, may succeed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::Retryable(_) | Error::OutcomeUnknown(_) | Error::SessionOwned(_) | Error::SpoolFull
        )
    }

    /// Whether it is certain that the hub stored and changed nothing.
    #[must_use]
    pub const fn has_no_side_effects(&self) -> bool {
        !matches!(self, Error::OutcomeUnknown(_) | Error::Closed)
    }

    /// How long the hub says that waiting helps. `None` when it did not say.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.failure().and_then(|failure| failure.retry_delay)
    }

    /// The hub's reason. `None` when the hub did not make this error, or when its reason is newer than this build.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        self.failure().and_then(|failure| failure.reason)
    }

    /// The writer that holds the session, for [`Error::SessionOwned`].
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        let failure = self.failure()?;
        failure.metadata.get("owner_writer_id").map(String::as_str)
    }

    /// What the hub said. `None` when the error was made here.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Error::Retryable(failure)
            | Error::OutcomeUnknown(failure)
            | Error::InvalidRequest(failure)
            | Error::StartFromSnapshot(failure)
            | Error::Refresh(failure)
            | Error::SessionOwned(failure)
            | Error::Fenced(failure)
            | Error::Credential(failure)
            | Error::Permission(failure)
            | Error::Gone(failure)
            | Error::Conflict(failure)
            | Error::Refused(failure)
            | Error::Unimplemented(failure) => Some(failure),
            Error::Replaced
            | Error::BrokenPromise(_)
            | Error::Option { .. }
            | Error::SpoolFull
            | Error::Spool { .. }
            | Error::ResumeTokenStore(_)
            | Error::File { .. }
            | Error::Closed => None,
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Error {
        Failure::read(&status).classify(&status)
    }
}

#[cfg(test)]
mod tests;
