//! The only room that knows whether there are other nodes.
//!
//! Believe this: a relay never carries the truth, it only says that there is news. What it loses costs time, never an event, because
//! every node compares its tails with the store by itself.

pub mod local;
pub mod polling;

use std::sync::Arc;

use bellboard_core::hub::Hub;
use bellboard_core::subscription::registry::Nodes;

/// Learns what this process did not do itself, until the hub stops.
pub async fn run(hub: Arc<Hub>) {
    match hub.nodes() {
        Nodes::One => local::run(hub).await,
        Nodes::Several => polling::run(hub).await,
    }
}
