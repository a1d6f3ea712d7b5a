//! The domain of Bellboard, without a wire, a database or a clock of its own.
//!
//! Read it in this order: places and names first, then the log's way in ([`appender`]), then its way out ([`window`], [`handoff`],
//! [`subscription`]).

pub mod access;
pub mod clock;
pub mod event;
pub mod id;
pub mod interest;
pub mod limits;
pub mod link;
pub mod offset;
pub mod resume_token;
pub mod session;
pub mod store;
