//! The domain of Bellboard, without a wire, a database or a clock of its own.
//!
//! Read it in this order: places and names first, then the log's way in ([`appender`]), then its way out ([`window`], [`handoff`],
//! [`subscription`]).

pub mod offset;
pub mod id;
pub mod limits;
pub mod clock;
pub mod meter;
pub mod access;
pub mod client;
pub mod link;
pub mod resume_token;
pub mod audience;
pub mod event;
pub mod hold;
pub mod session;
pub mod interest;
pub mod store;
pub mod verify;
pub mod retention;
pub mod rebuild;
pub mod lease;
pub mod publishing;
pub mod appender;
pub mod log;
pub mod window;
pub mod handoff;
pub mod subscription;
pub mod hub;

#[cfg(test)]
mod testing;
