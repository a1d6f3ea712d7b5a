//! What went wrong between a command and its hub.
//!
//! Believe this: every text says what, then what to do; what the hub or the system said stands behind it.

use std::io;
use std::path::PathBuf;

use bellboard_sdk as sdk;

use crate::cli::Exit;

/// What went wrong between a command and its hub.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is known to come in with.
    #[error(
        "there is no key at hand; start the hub with `bellboard serve`, or name a key with --key-file or BELLBOARD_KEY"
    )]
    NoKey(#[source] Box<sdk::Error>),
    /// The hub is not this machine's, and there is no key for it.
    #[error("{url} is not this machine, and its key is not known; name one with --key-file or BELLBOARD_KEY")]
    NoKeyElsewhere {
        /// The hub.
        url: String,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key's file is empty.
    #[error("{path} holds no key; name another file", path = .0.display())]
    EmptyKeyFile(PathBuf),
    /// An address, a key or an option that cannot be used.
    #[error(transparent)]
    Option(Box<sdk::Error>),
    /// No hub answers.
    #[error("no hub answers at {url}; start one with `bellboard serve`, or name another with {flag}")]
    Unreachable {
        /// Where.
        url: String,
        /// The flag that names it.
        flag: &'static str,
        /// What the connection said.
        source: Box<sdk::Error>,
    },
    /// The key is no good.
    #[error("the hub at {url} does not know the key; name another with --key-file or BELLBOARD_KEY")]
    Credential {
        /// The hub.
        url: String,
        /// What it said.
        source: Box<sdk::Error>,
    },
    /// The key does not allow it.
    #[error("the key does not allow this; make one that does with `bellboard key create`")]
    Permission(#[source] Box<sdk::Error>),
    /// What was named is not there.
    #[error("the hub has no such thing; look at `bellboard sessions --all`")]
    Gone(#[source] Box<sdk::Error>),
    /// The request is wrong.
    #[error("the hub does not take this; change what it names")]
    Request(#[source] Box<sdk::Error>),
    /// The resume token leads nowhere.
    #[error("the stream cannot go on from there; delete the resume file, or start with --snapshot")]
    Place(#[source] Box<sdk::Error>),
    /// Everything else.
    #[error("the hub at {url} did not do it")]
    Failed {
        /// The hub.
        url: String,
        /// Why.
        source: Box<sdk::Error>,
    },
    /// Something on this machine failed: the spool or the resume file.
    #[error(transparent)]
    Local(Box<sdk::Error>),
}

impl Error {
    /// What an error of the SDK means for who typed a command, about a hub that a flag names.
    pub(super) fn of(error: sdk::Error, url: &str, flag: &'static str) -> Error {
        let url = url.to_owned();
        let answered = error.reason().is_some();
        let source = Box::new(error);
        match &*source {
            sdk::Error::Retryable(_) | sdk::Error::OutcomeUnknown(_) if !answered => {
                Error::Unreachable { url, flag, source }
            }
            sdk::Error::Credential(_) => Error::Credential { url, source },
            sdk::Error::Permission(_) => Error::Permission(source),
            sdk::Error::Gone(_) => Error::Gone(source),
            sdk::Error::InvalidRequest(_) => Error::Request(source),
            sdk::Error::StartFromSnapshot(_) => Error::Place(source),
            sdk::Error::Option { .. } => Error::Option(source),
            sdk::Error::Spool { .. } | sdk::Error::ResumeTokenStore(_) | sdk::Error::File { .. } => {
                Error::Local(source)
            }
            sdk::Error::Retryable(_)
            | sdk::Error::OutcomeUnknown(_)
            | sdk::Error::Refresh(_)
            | sdk::Error::SessionOwned(_)
            | sdk::Error::Fenced(_)
            | sdk::Error::Replaced
            | sdk::Error::Conflict(_)
            | sdk::Error::Refused(_)
            | sdk::Error::Unimplemented(_)
            | sdk::Error::BrokenPromise(_)
            | sdk::Error::SpoolFull
            | sdk::Error::Closed
            | _ => Error::Failed { url, source },
        }
    }

    pub(in crate::cli) const fn exit(&self) -> Exit {
        match self {
            Error::Option(_) | Error::Request(_) | Error::EmptyKeyFile(_) | Error::File { .. } => Exit::Usage,
            Error::Unreachable { .. } => Exit::Unreachable,
            Error::NoKey(_) | Error::NoKeyElsewhere { .. } | Error::Credential { .. } | Error::Permission(_) => {
                Exit::Refused
            }
            Error::Gone(_) => Exit::NotFound,
            Error::Place(_) | Error::Failed { .. } | Error::Local(_) => Exit::Failed,
        }
    }
}
