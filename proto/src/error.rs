//! How error reasons are written in `google.rpc.ErrorInfo`.
//!
//! The one thing to believe: `reason` is the enum value's name without its prefix, and `domain` is [`ERROR_DOMAIN`].

use crate::v1::ErrorReason;

/// The `domain` of every `ErrorInfo` that the hub makes. Another domain means that something between answered.
pub const ERROR_DOMAIN: &str = "bellboard.dev";

/// What all value names of `ErrorReason` begin with, and `ErrorInfo.reason` does not.
const PREFIX: &str = "ERROR_REASON_";

/// The reason as `ErrorInfo.reason` has it, for instance `SESSION_OWNED`.
#[must_use]
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The reason that `ErrorInfo.reason` names; `None` for one that this build does not know, which a caller treats by its
/// gRPC code.
#[must_use]
pub fn reason_from_name(name: &str) -> Option<ErrorReason> {
    ErrorReason::from_str_name(&format!("{PREFIX}{name}"))
}
