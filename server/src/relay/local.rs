//! One node: nobody else appends, so there is no doorbell. What remains is the comparison.
//!
//! A commit whose outcome the database did not tell may have happened after all. Its events are in the log, but nobody announced them;
//! the next look does.

use std::sync::Arc;

use bellboard_core::hub::Hub;
use bellboard_core::limits;
use tracing::debug;

/// Compares the tails of all followed logs with the store, and the streams of clients with those of other nodes, every
/// [`limits::COMPARE_INTERVAL`], until the hub stops.
pub async fn run(hub: Arc<Hub>) {
    loop {
        hub.clock().sleep(limits::COMPARE_INTERVAL).await;
        if let Err(error) = hub.compare_clients().await {
            debug!(%error, "clients cannot be compared now");
        }
        for log in hub.followed() {
            if hub.appender().compare(log).await.is_err() {
                debug!("the hub stops; tails are compared no more");
                return;
            }
        }
    }
}
