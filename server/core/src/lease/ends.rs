//! The end of leases: looks at them often, and lets go of what their writers held.
//!
//! Believe this: it only asks. Whether a lease has ended is decided in the transaction that lets the sessions go, by the writer's row as it
//! is then, so that a node that heard nothing never takes from a writer that another node hears.

use std::sync::Arc;

use tracing::{debug, info};

use crate::appender::{self, Appender};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::lease::Ended;
use crate::limits;
use crate::log::Log;
use crate::subscription::registry::Nodes;

/// Looks at the leases of all opened logs every [`limits::LEASE_TICK`], until the hub stops.
pub async fn run(hub: Arc<Hub>) {
    loop {
        hub.clock().sleep(limits::LEASE_TICK).await;
        for log in hub.opened() {
            match look(&log, hub.appender(), hub.clock(), hub.nodes()).await {
                Ok(ended) => {
                    for Ended { writer, sessions } in &ended {
                        info!(%writer, sessions = sessions.len(), "a writer's lease ended without a word");
                    }
                }
                Err(error) => debug!(%error, "leases cannot be looked at now"),
            }
        }
    }
}

/// One look at one log's leases. Gives those that have ended, whose writers hold nothing any more.
///
/// # Errors
/// When the store cannot be used, or the hub stops: the next look does it.
pub async fn look(
    log: &Arc<Log>,
    appender: &Appender,
    clock: &dyn Clock,
    nodes: Nodes,
) -> Result<Vec<Ended>, appender::Error> {
    let (store, key) = (log.store(), log.row().key);
    if nodes == Nodes::Several {
        let silent = log.leases().silent_rows(clock.elapsed());
        if !silent.is_empty() {
            store.beat(key, &silent).await?;
            log.leases().beaten(&silent, clock.elapsed());
        }
    }
    // Alone, this process hears of every later one itself.
    if nodes == Nodes::Several || !log.leases().is_loaded() {
        let holders = store.holders(key).await?;
        let now = clock.elapsed();
        let mut leases = log.leases();
        for sign in holders {
            log.publishing().fenced(&sign.writer, sign.fence);
            leases.observe(sign, now);
        }
        leases.loaded();
    }
    let due = log.leases().ended(clock.elapsed(), nodes);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let ended = appender.end_leases(log.clone(), due).await?;
    // Where there were more than are let go at once, their writers have another turn at the next look.
    if ended.iter().map(|ended| ended.sessions.len()).sum::<usize>() < limits::WRITER_SESSIONS_MAX {
        let mut leases = log.leases();
        ended.iter().for_each(|ended| leases.forget(&ended.writer));
    }
    // Who held nothing is nobody's loss.
    Ok(ended.into_iter().filter(|ended| !ended.sessions.is_empty()).collect())
}
