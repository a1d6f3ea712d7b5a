//! Why a run failed.
//!
//! Believe this: a run that was not complete has no number. Whatever is missing, doubled or out of order ends the sample with an error.

use std::io;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The system would not.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A connection or a stream broke.
    #[error("a stream broke")]
    Stream(#[from] h2::Error),
    /// The bare baseline's database failed.
    #[error("the bare database failed")]
    Database(#[from] sea_orm::sqlx::Error),
    /// A server did not start, or did not do what its side of the comparison needs.
    #[error("{0}")]
    Server(String),
    /// A peer sent what cannot be read.
    #[error("a message cannot be read: {0}")]
    Unreadable(String),
    /// Not everything arrived exactly once and in order: the number would be void.
    #[error("void: {0}")]
    Void(String),
    /// A result cannot be written or read as JSON.
    #[error("a result is no JSON")]
    Json(#[from] serde_json::Error),
}

/// What may fail.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Names what was tried when the system would not.
pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, source }
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Error::Unreadable(error.to_string())
    }
}

/// An error with everything behind it.
pub(crate) fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
