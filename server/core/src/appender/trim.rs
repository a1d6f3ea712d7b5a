//! One piece of a trim: what the committer does when retention asks.
//!
//! Believe this: a piece is one transaction of its own, under the log's lock like any append. Killed at any moment it has happened as a
//! whole or not at all. What of a commit's outcome is unknown needs no finding out: the next piece begins where the log's row says.

use crate::appender::committer::Committer;
use crate::appender::{Error, Trimmed};
use crate::limits;
use crate::log::Log;
use crate::offset::LogKey;
use crate::retention::{Oldest, Retention};
use crate::session::Session;
use crate::store::{self, Transaction, Trim};

impl Committer {
    /// Trims what retention does not keep among the oldest events of a log.
    pub(super) async fn trim(&mut self, log: &Log, retention: &Retention) -> Result<Trimmed, Error> {
        match self.trim_piece(log, retention).await {
            Ok(trimmed) => Ok(trimmed),
            Err(error) => {
                if error == store::Error::CommitUnknown {
                    self.compare(log).await;
                }
                Err(error.into())
            }
        }
    }

    async fn trim_piece(&mut self, log: &Log, retention: &Retention) -> Result<Trimmed, store::Error> {
        let key = log.row().key;
        let mut transaction = self.store.begin().await?;
        let row = transaction.lock(key).await?;
        self.fill(log, &row).await;
        let now = self.clock.now();
        let done = |row: &store::LogRow, more| Trimmed {
            oldest: row.oldest,
            more,
        };
        if !retention.is_due(&row, now) {
            return Ok(done(&row, false));
        }
        let (events_max, bytes_max) = (limits::TRIM_EVENTS_MAX, limits::TRIM_BYTES_MAX);
        let events = transaction.events(&row, row.oldest, events_max, bytes_max).await?;
        let mut oldest = Oldest::new(events, &*self.encode);
        let next = oldest.cut(retention, &row, now);
        if oldest.is_empty() && next.is_none_or(|next| next == row.oldest_recorded) {
            return Ok(done(&row, false));
        }
        let bases = bases(&mut *transaction, key, &oldest).await?;
        let trim: Trim = oldest.trim(row.clone(), bases, next);
        let after = trim.log.clone();
        transaction.trim(trim, limits::TRIMMED_LINKS_MAX).await?;
        transaction.commit().await?;
        // What was folded of this log stays true: a trim changes nothing that an append decides by.
        log.trimmed(after.oldest);
        Ok(done(&after, after.oldest > row.oldest && retention.is_due(&after, now)))
    }
}

/// The bases of all sessions that a piece folds: its own, their new parents, and what lies below those that it moves.
async fn bases(transaction: &mut dyn Transaction, log: LogKey, oldest: &Oldest) -> Result<Vec<Session>, store::Error> {
    let mut numbers = oldest.sessions();
    let parents = transaction.sessions(log, &oldest.parents()).await?;
    numbers.extend(parents.into_iter().map(|parent| parent.number));
    let mut bases = transaction.bases(log, &numbers).await?;
    let moving = oldest.moving();
    if !moving.is_empty() {
        let below = transaction
            .bases_below(log, &moving, limits::RELINKED_SESSIONS_MAX)
            .await?;
        bases.extend(below);
    }
    Ok(bases)
}
