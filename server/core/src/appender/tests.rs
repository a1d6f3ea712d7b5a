//! One file per part of what the appender promises.

mod boundaries;
mod failures;
mod idempotence;
mod nodes;
pub(crate) mod moves;
mod order;
mod ownership;
mod stale;
mod sessions;
mod tenant;
