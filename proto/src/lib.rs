//! The contract of Bellboard in Rust: messages, clients and server traits, generated from `bellboard/v1/*.proto` and
//! committed, so that a build needs neither protoc nor a network.
//!
//! The one thing to believe: there are two flavours of one wire. [`v1`] is typed, for everyone. [`hub`] is the hub's,
//! in which an event is the bytes in which it was stored, so that it is encoded once in its life.
//!
//! `cargo run -p bellboard-gen` rebuilds what is generated; `README.md` states the promises behind the messages.

mod error;
mod family;

pub use error::{ERROR_DOMAIN, reason_from_name, reason_name};
pub use family::family_of;

/// All messages, typed, and with the feature `client` (on by default) the clients of all services.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    rustdoc::all,
    clippy::all,
    reason = "generated; oneof enums and clients carry no comments of their own"
)]
pub mod v1 {
    include!("generated/bellboard.v1.rs");
}

/// The hub's view of the same wire.
pub mod hub {
    /// The messages that hold events, with events as their stored bytes, and with the feature `server` the traits of all
    /// services. Messages that hold none are those of [`crate::v1`].
    #[allow(
        missing_docs,
        missing_debug_implementations,
        unreachable_pub,
        rustdoc::all,
        clippy::all,
        reason = "generated; oneof enums and servers carry no comments of their own"
    )]
    pub mod v1 {
        include!("generated/hub/bellboard.v1.rs");
    }
}

/// Google's messages that errors travel in.
pub mod google {
    /// `google.rpc`: the status and its details (`ErrorInfo`, `BadRequest`, `RetryInfo` and others).
    #[allow(
        missing_docs,
        unreachable_pub,
        rustdoc::all,
        clippy::all,
        reason = "generated from Google's files"
    )]
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}

/// The encoded `FileDescriptorSet` of the contract, the error details and everything they import, without comments:
/// what gRPC reflection serves and protobuf-JSON is written with.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptor_set.bin");
