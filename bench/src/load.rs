//! The clients of a measurement: as little of a client as can be, so that what is measured is the server.
//!
//! Believe this: every server is met by the same clients over the same wire, the baseline included.

pub(crate) mod connection;
pub(crate) mod messages;
pub(crate) mod frame;
pub(crate) mod subscribers;
pub(crate) mod writers;
