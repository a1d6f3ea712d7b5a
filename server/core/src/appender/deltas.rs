//! Fragments: what the committer passes on without storing it.
//!
//! Believe this: a fragment must show what an event must, the writer's fence and the session's, by rows that are as true as those of an
//! append: cached ones only where they are true for the log as it is.

use tracing::debug;

use crate::appender::committer::{Committer, cached, same};
use crate::appender::decide::Rows;
use crate::appender::wanted::Wanted;
use crate::appender::{Claim, DeltaDraft};
use crate::log::Log;
use crate::session::Session;
use crate::store;
use crate::subscription::registry::Nodes;
use crate::window::deltas::Delta;

impl Committer {
    /// Reads the rows that fragments need anew, where another process may have changed them.
    pub(super) async fn look_for_deltas(&mut self, log: &Log, claim: Option<&Claim>, deltas: &[DeltaDraft]) {
        // Alone, this process made every change itself.
        if self.nodes == Nodes::One || !self.cache.contains_key(&log.row().key) {
            return;
        }
        if let Err(error) = self.reread(log, claim, deltas).await {
            debug!(%error, "rows cannot be read, so fragments go no further");
            self.cache.remove(&log.row().key);
        }
    }

    async fn reread(&mut self, log: &Log, claim: Option<&Claim>, deltas: &[DeltaDraft]) -> Result<(), store::Error> {
        let key = log.row().key;
        let row = self.store.open_log(&log.row().tenant).await?;
        if self.cache.get(&key).is_some_and(|cached| same(&cached.row, &row)) {
            return Ok(());
        }
        let mut wanted = Wanted::default();
        wanted.deltas(claim, deltas);
        let mut transaction = self.store.begin().await?;
        let row = transaction.lock(key).await?;
        let rows = &mut cached(&mut self.cache, &row).rows;
        wanted.load(&mut *transaction, key, rows).await
    }

    pub(super) fn pass_on(&self, log: &Log, claim: Option<&Claim>, deltas: Vec<DeltaDraft>) {
        let Some(cached) = self.cache.get(&log.row().key) else {
            debug!(
                count = deltas.len(),
                "deltas of sessions that this process has not seen yet"
            );
            return;
        };
        if let Some(claim) = claim
            && !is_newest(claim, &cached.rows)
        {
            debug!(writer = %claim.writer, fence = claim.fence, "deltas under a fence that is not the writer's");
            return;
        }
        for draft in deltas {
            let Some(session) = cached.rows.resolve(&draft.session) else {
                continue;
            };
            if !may_speak(session, claim) {
                debug!(session = %session.id, "a delta of a session that somebody else holds");
                continue;
            }
            let delta = Delta {
                session: session.id.clone(),
                item: draft.item,
                item_id: draft.item_id,
                channel: draft.channel,
                at: draft.at,
                text: draft.text,
                message: self.encode.delta(&session.id, &draft.body),
            };
            // Dropped deltas are counted where they are dropped; the completed item has the full value.
            let _ = log.push_delta(&delta);
        }
    }
}

fn is_newest(claim: &Claim, rows: &Rows) -> bool {
    rows.writers
        .get(&claim.writer)
        .is_some_and(|row| row.fence == claim.fence)
}

/// A fragment claims nothing, so it asks for no lease: whoever holds the session now keeps others out, also while nobody hears it.
fn may_speak(session: &Session, claim: Option<&Claim>) -> bool {
    match claim {
        Some(claim) => session.hold.admit(claim, |_| true).is_ok(),
        None => session.hold.owner.is_none(),
    }
}
