//! The rows of sessions, folded anew out of the log and put right where they differ.
//!
//! Believe this: it goes by bases and events alone, folds them as a trim does ([`Projection`]), and replaces a row only where every event
//! of the log could be read and follows from the one before. A log that is damaged itself is told of and left: rows that were right must
//! not become worse.
//!
//! It reads in pages, each under the log's lock for a moment, and compares and writes under the last of them: what is appended or trimmed
//! meanwhile is in what it compares.

use std::collections::HashMap;

use crate::event::Encode;
use crate::id::SessionId;
use crate::limits;
use crate::link::{Digest, Link};
use crate::offset::{LogKey, Offset, SessionNumber};
use crate::retention::Projection;
use crate::session::Session;
use crate::store::{self, Changes, LogRow, Store, Transaction, Trim};

/// What to do about what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Say it.
    Look,
    /// Say it, and replace it.
    Replace,
}

/// How a session's row differs from what its events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing,
    /// No event and no base says that there is such a session. It stays.
    Stray,
    /// These of its fields are others.
    Fields(Vec<&'static str>),
}

/// What became of one log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log as it was then.
    pub log: LogRow,
    /// Events that were folded.
    pub events: u64,
    /// Sessions that they are of, those that are kept by their bases alone included.
    pub sessions: u64,
    /// What differs, the first [`limits::FINDINGS_MAX`].
    pub differences: Vec<(SessionId, Difference)>,
    /// How many rows differ.
    pub differ: u64,
    /// How many of them still do.
    pub left: u64,
}

/// Why rows cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The log itself is damaged there: bytes that cannot be read, or that the link does not follow from.
    #[error("the event at offset {0} is damaged, and nothing can be rebuilt of it")]
    Damaged(Offset),
}

/// Rebuilds the rows of one log. `progress` is told how many events were folded, after each page.
///
/// # Errors
/// See [`Error`]; then nothing was replaced.
pub async fn rebuild(
    store: &dyn Store,
    encode: &dyn Encode,
    log: LogKey,
    mode: Mode,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Report, Error> {
    let mut begun: Option<Fold> = None;
    loop {
        let mut transaction = store.begin().await?;
        let row = transaction.lock(log).await?;
        let mut fold = match begun.take() {
            Some(fold) if fold.oldest == row.oldest => fold,
            // What was trimmed meanwhile is in the bases now.
            Some(_) | None => Fold::over(&mut *transaction, &row).await?,
        };
        fold.page(&mut *transaction, encode, &row).await?;
        progress(fold.events);
        if fold.next < row.tail {
            begun = Some(fold);
            continue;
        }
        return settle(store, transaction, row, fold, mode).await;
    }
}

/// A log that is being folded.
#[derive(Debug)]
struct Fold {
    projection: Projection,
    /// Where the log began when it was begun.
    oldest: Offset,
    next: Offset,
    link: Link,
    events: u64,
}

impl Fold {
    async fn over(transaction: &mut dyn Transaction, row: &LogRow) -> Result<Fold, store::Error> {
        let numbers: Vec<_> = (0..row.sessions)
            .map(|number| SessionNumber::of(row.key, number))
            .collect();
        let mut bases = Vec::new();
        for some in numbers.chunks(limits::REBUILD_SESSIONS_AT_ONCE) {
            bases.extend(transaction.bases(row.key, some).await?);
        }
        Ok(Fold {
            projection: Projection::over(bases),
            oldest: row.oldest,
            next: row.oldest,
            link: row.base,
            events: 0,
        })
    }

    async fn page(
        &mut self,
        transaction: &mut dyn Transaction,
        encode: &dyn Encode,
        row: &LogRow,
    ) -> Result<(), Error> {
        if self.next >= row.tail {
            return Ok(());
        }
        let (events_max, bytes_max) = (limits::REBUILD_EVENTS_AT_ONCE, limits::REBUILD_BYTES_AT_ONCE);
        for event in transaction.events(row, self.next, events_max, bytes_max).await? {
            let follows = row.link_key.next(self.link, &Digest::of(&event.stored)) == event.link;
            let told = encode.told(&event.stored).filter(|_| follows);
            let told = told.ok_or(Error::Damaged(event.offset))?;
            self.projection.fold(&event, Some(&told));
            (self.next, self.link) = (event.offset.next(), event.link);
            self.events += 1;
        }
        Ok(())
    }
}

/// Compares all rows, and replaces what differs.
async fn settle(
    store: &dyn Store,
    mut transaction: Box<dyn Transaction>,
    row: LogRow,
    fold: Fold,
    mode: Mode,
) -> Result<Report, Error> {
    let events = fold.events;
    let (folded, _) = fold.projection.finish();
    let mut report = Report {
        events,
        sessions: folded.len() as u64,
        differences: Vec::new(),
        differ: 0,
        left: 0,
        log: row,
    };
    let strays = strays(store, report.log.key, &folded).await?;
    let opened = folded.last().map_or(0, |last| last.number.count() + 1);
    let wrong = differing(&mut *transaction, &mut report, folded).await?;
    let unmendable = strays.len() as u64;
    strays.into_iter().for_each(|id| report.find(id, Difference::Stray));
    report.left = match mode {
        Mode::Look => report.differ,
        Mode::Replace => unmendable,
    };
    let counted = report.log.sessions >= opened;
    if mode == Mode::Replace && !(wrong.is_empty() && counted) {
        replace(transaction, &report.log, opened, wrong).await?;
    }
    Ok(report)
}

impl Report {
    fn find(&mut self, id: SessionId, difference: Difference) {
        self.differ += 1;
        if self.differences.len() < limits::FINDINGS_MAX {
            self.differences.push((id, difference));
        }
    }
}

/// Those of the folded sessions whose rows are not so.
async fn differing(
    transaction: &mut dyn Transaction,
    report: &mut Report,
    folded: Vec<Session>,
) -> Result<Vec<Session>, store::Error> {
    let mut wrong = Vec::new();
    let mut folded = folded.into_iter().peekable();
    while folded.peek().is_some() {
        let some: Vec<Session> = folded.by_ref().take(limits::REBUILD_SESSIONS_AT_ONCE).collect();
        let ids: Vec<SessionId> = some.iter().map(|session| session.id.clone()).collect();
        let rows = transaction.sessions(report.log.key, &ids).await?;
        let rows: HashMap<&SessionId, &Session> = rows.iter().map(|row| (&row.id, row)).collect();
        for mut session in some {
            if let Some(row) = rows.get(&session.id) {
                // Who holds it is no event.
                session.hold.clone_from(&row.hold);
            }
            let difference = match rows.get(&session.id) {
                None => Difference::Missing,
                Some(row) if **row == session => continue,
                Some(row) => Difference::Fields(session.differs(row)),
            };
            report.find(session.id.clone(), difference);
            wrong.push(session);
        }
    }
    Ok(wrong)
}

/// Rows that no event is of. They are read beside the transaction, which holds the log's lock.
async fn strays(store: &dyn Store, log: LogKey, folded: &[Session]) -> Result<Vec<SessionId>, store::Error> {
    let (mut strays, mut after) = (Vec::new(), None);
    loop {
        let rows = store
            .kept_sessions(log, after, limits::VERIFY_PAGE_SESSIONS_MAX)
            .await?;
        let Some(last) = rows.last() else { return Ok(strays) };
        after = Some(last.number);
        let is_stray = |number: SessionNumber| folded.binary_search_by_key(&number, |session| session.number).is_err();
        strays.extend(rows.into_iter().filter(|row| is_stray(row.number)).map(|row| row.id));
    }
}

/// Writes rows, and what their bases say is trimmed of them.
async fn replace(
    mut transaction: Box<dyn Transaction>,
    row: &LogRow,
    opened: u32,
    wrong: Vec<Session>,
) -> Result<(), store::Error> {
    let log = LogRow {
        // Nodes that keep rows of it read them anew.
        fence: row.fence + 1,
        sessions: row.sessions.max(opened),
        ..row.clone()
    };
    let numbers: Vec<SessionNumber> = wrong.iter().map(|session| session.number).collect();
    let changes = Changes {
        sessions: wrong,
        ..Changes::default()
    };
    transaction.write(&log, changes).await?;
    let mut bases = Vec::new();
    for some in numbers.chunks(limits::REBUILD_SESSIONS_AT_ONCE) {
        bases.extend(transaction.bases(row.key, some).await?);
    }
    let trim = Trim {
        log,
        links: Vec::new(),
        bases,
    };
    transaction.trim(trim, limits::TRIMMED_LINKS_MAX).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests;
