//! One node: nobody else appends, so there is no doorbell. What remains is the comparison.
//!
//! A commit whose outcome the database did not tell may have happened after all. Its events are in the log, but nobody announced them;
//! the next look does.

use std::sync::Arc;

use bellboard_core::hub::Hub;
use bellboard_core::limits;
use tracing::debug;

/// Compares the tails of all followed logs with the store every [`limits::COMPARE_INTERVAL`].
pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        hub.clock().sleep(limits::COMPARE_INTERVAL).await;
        for log in hub.followed() {
            if hub.appender().compare(log).await.is_err() {
                debug!("the hub stops; tails are compared no more");
                return;
            }
        }
    }
}
