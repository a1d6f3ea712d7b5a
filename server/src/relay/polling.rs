//! Several nodes, and no doorbell between them yet: each looks often.
//!
//! Believe this: it asks the database one question about all logs that are followed here, whatever their number, and has the committer
//! look only at those that went on. That the committer itself is about to announce what was found is no harm: its look finds nothing more.

use std::collections::HashMap;
use std::sync::Arc;

use bellboard_core::hub::Hub;
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_core::offset::LogKey;
use bellboard_core::store::{self, LogRow};
use tracing::{debug, info, warn};

/// Compares all followed logs and the streams of clients with those of other nodes, every [`limits::COMPARE_INTERVAL_SHARED`].
pub(super) async fn run(hub: Arc<Hub>) {
    let milliseconds = limits::COMPARE_INTERVAL_SHARED.as_millis();
    info!(
        milliseconds,
        "there is no doorbell between nodes yet; what others store is looked for"
    );
    let mut failing = false;
    loop {
        hub.clock().sleep(limits::COMPARE_INTERVAL_SHARED).await;
        let outcome = went_on(&hub).await;
        match &outcome {
            Ok(logs) => {
                for log in logs {
                    if hub.appender().compare(log.clone()).await.is_err() {
                        debug!("the hub stops; other nodes are looked after no more");
                        return;
                    }
                }
            }
            Err(error) if !failing => {
                warn!(%error, "other nodes cannot be looked after; what they store is not seen here")
            }
            Err(_) => {}
        }
        failing = outcome.is_err();
    }
}

/// Replaces streams that have a newer one elsewhere, and finds the followed logs that went on. One that is another log now says so to whoever appends or opens a stream.
async fn went_on(hub: &Hub) -> Result<Vec<Arc<Log>>, store::Error> {
    hub.compare_clients().await?;
    let mut followed = hub.followed();
    let keys: Vec<LogKey> = followed.iter().map(|log| log.row().key).collect();
    let rows = hub.store().log_rows(&keys).await?;
    let rows: HashMap<LogKey, LogRow> = rows.into_iter().map(|row| (row.key, row)).collect();
    followed.retain(|log| rows.get(&log.row().key).is_some_and(|row| differs(log, row)));
    Ok(followed)
}

fn differs(log: &Log, row: &LogRow) -> bool {
    row.epoch == log.row().epoch && (row.tail > log.tail().0 || row.oldest > log.oldest())
}
