//! What the promises are tested with: a real hub on port 0, in this process or in one of its own, and clients that check every
//! frame they take.
//!
//! Believe this: every wait has an end. What does not come within [`PATIENCE`] fails the test with a sentence that says what was
//! waited for; nothing here sleeps to let something happen.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, owns its process, and looks for one kind among many"
)]

pub mod process;
pub mod client;
pub mod database;
pub mod postgres;
pub mod landed;
pub mod events;
pub mod stream;
pub mod replica;
pub mod proxy;
pub mod raw;
pub mod bare;
pub mod contract;
pub mod metrics;
pub mod opencode;
pub mod tools;

use std::time::Duration;

/// How long anything may take. Far more than it needs: a busy machine must not fail a right hub.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `what`, and fails the test when it does not come.
///
/// # Panics
/// After [`PATIENCE`].
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for: {what}"),
    }
}
