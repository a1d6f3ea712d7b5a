//! One file per part of what the appender promises.

mod failures;
mod idempotence;
mod order;
mod sessions;
