//! What follows a frame that was handed out.
//!
//! The one thing to believe: only COMPLETE means that there is no more. Where somebody must act, the stream ends with an error that says
//! so; everything else means: dial again, with the resume token.

use std::time::Duration;

use bellboard_proto::v1::{Closing, ClosingReason};
use tonic::Code;

use crate::error::{Error, Failure};

/// What the frame or error that was handed out last leads to.
pub(super) enum After {
    GoOn,
    /// Dial again, after at least so long.
    Redial {
        advised: Option<Duration>,
        connection: Leave,
    },
    /// Dial again and ask for a snapshot.
    FromSnapshot,
    Fail(Error),
    End,
}

/// What a redial leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// The stream alone.
    Stream,
    /// The connection too: it is dead, or leads to a node that asks to be left.
    Connection,
}

pub(super) fn after_closing(closing: &Closing) -> After {
    let redial = |connection| After::Redial {
        advised: closing.retry_after.and_then(|told| Duration::try_from(told).ok()),
        connection,
    };
    match closing.reason() {
        ClosingReason::Complete => After::End,
        // Dialling again would throw the other one out.
        ClosingReason::Replaced => After::Fail(Error::Replaced),
        ClosingReason::PermissionRevoked => After::Fail(Error::Permission(Failure::local(
            Code::PermissionDenied,
            None,
            "the key's permission was revoked while the stream was open",
        ))),
        ClosingReason::Draining | ClosingReason::MaxAge => redial(Leave::Connection),
        // A newer key is tried; without one the hub refuses the dial, and that ends the stream.
        ClosingReason::CredentialExpired => redial(Leave::Stream),
        // A later hub's reason is like any.
        ClosingReason::Unspecified => redial(Leave::Stream),
    }
}
