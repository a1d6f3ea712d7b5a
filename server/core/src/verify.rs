//! Looks whether a log is whole: every link computed anew from the stored bytes, and everything that hangs on its events.
//!
//! Believe this: it goes by what lies in the store and by nothing else, reads in pages, and needs nobody to stand still. What was
//! appended while it looked is looked at, too; what was trimmed meanwhile is no hole.
//!
//! Found is what was changed, lost or added behind the hub's back: event bytes, links, offsets, indices, the rows of logs and sessions,
//! and raw records without an event. The bytes of a raw record are in no link, so a change of them is not found.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::SessionId;
use crate::limits;
use crate::link::{Digest, Link};
use crate::offset::{Index, LogKey, Offset, SessionNumber, Spot};
use crate::store::{Error, LogRow};

/// An event as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its place in the log.
    pub offset: Offset,
    /// Its place in a session; none where it is of the tenant as a whole.
    pub spot: Option<Spot>,
    /// The chain after it.
    pub link: Link,
    /// Whether it says that a raw record lies beside it.
    pub has_raw: bool,
    /// The stored bytes.
    pub stored: Bytes,
}

/// Events as they lie in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptEvents {
    /// In offset order.
    pub events: Vec<KeptEvent>,
    /// Where raw records lie: up to the last of the events, and to the end of the log when there are none.
    pub raws: Vec<Offset>,
}

/// What a session's row says of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// The store's number of it.
    pub number: SessionNumber,
    /// Its id.
    pub id: SessionId,
    /// The index of its next event.
    pub next_index: Index,
    /// Its newest event.
    pub last_offset: Offset,
}

/// What a store shows of itself to whoever checks it.
#[async_trait]
pub trait Evidence: Send + Sync {
    /// All logs as they are now, in the order of their numbers.
    async fn logs(&self) -> Result<Vec<LogRow>, Error>;

    /// The first events at or behind an offset, at most `most`, whatever the log's row says.
    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error>;

    /// The first sessions of a log behind this one, in the order of their numbers, at most `most`.
    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error>;
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Events of `[from, until)` are not there.
    Hole {
        /// The first that is missing.
        from: Offset,
        /// The first that is there again.
        until: Offset,
    },
    /// An event's link does not follow from the link before it and its bytes: one of the three was changed.
    Link {
        /// The event.
        offset: Offset,
        /// What follows.
        expected: Link,
        /// What is stored.
        found: Link,
    },
    /// An event is not the next one of its session.
    Index {
        /// The event.
        offset: Offset,
        /// The next index.
        expected: Index,
        /// What is stored.
        found: Index,
    },
    /// An event's session has no row.
    NoSession {
        /// The newest event of it.
        offset: Offset,
    },
    /// A session's row names another newest event than there is.
    Session {
        /// The session.
        id: SessionId,
        /// Index and offset of its newest event; none when it has no event.
        expected: Option<(Index, Offset)>,
        /// What its row says.
        found: (Index, Offset),
    },
    /// An event says that a raw record lies beside it, and there is none.
    RawMissing {
        /// The event.
        offset: Offset,
    },
    /// A raw record lies where no event says so.
    RawStray {
        /// Where it lies.
        offset: Offset,
    },
    /// The log's row has another link than its newest event.
    Tail {
        /// The newest event's.
        expected: Link,
        /// The row's.
        found: Link,
    },
    /// An event lies behind the log's tail.
    Beyond {
        /// The event.
        offset: Offset,
    },
}

/// What became of one log.
#[derive(Clone, Debug)]
pub struct Report {
    /// The log as it was when the last of it was looked at.
    pub log: LogRow,
    /// Events that were looked at.
    pub events: u64,
    /// Sessions that were looked at.
    pub sessions: u64,
    /// What is wrong, in the order in which it was found; the first [`limits::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How much is wrong altogether.
    pub found: u64,
}

/// The newest event of a session so far.
#[derive(Clone, Copy, Debug)]
struct Newest {
    index: Index,
    offset: Offset,
    has_row: bool,
}

/// A walk along one log.
#[derive(Debug)]
struct Walk {
    report: Report,
    /// Where it is, and the link before it; none behind a hole.
    next: Offset,
    link: Option<Link>,
    /// One entry for each session of the log: it grows as far as the log's own count of sessions.
    newest: HashMap<SessionNumber, Newest>,
    /// Sessions that went on while their rows were read, by what their rows said; settled by the events that come after.
    moving: HashMap<SessionNumber, KeptSession>,
}

/// Looks at one log. `progress` is told how many events were looked at, after each page.
///
/// # Errors
/// When the store cannot be read, or has rows that this program does not understand.
pub async fn verify(
    store: &dyn Evidence,
    log: LogRow,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Report, Error> {
    let mut walk = Walk::new(log);
    let first_tail = walk.report.log.tail;
    walk.events(store, first_tail, progress).await?;
    // From here on the rows are read before the tail up to which events are: every event that a row can name is then met.
    walk.sessions(store).await?;
    let log = present(store, &walk.report.log).await?;
    let tail = log.tail;
    walk.report.log = log;
    walk.events(store, tail, progress).await?;
    walk.end(store).await?;
    Ok(walk.report)
}

async fn present(store: &dyn Evidence, log: &LogRow) -> Result<LogRow, Error> {
    let mut logs = store.logs().await?.into_iter();
    let found = logs.find(|present| present.key == log.key);
    found.ok_or_else(|| Error::Corrupt("a log is gone that was there a moment ago".into()))
}

impl Walk {
    fn new(log: LogRow) -> Walk {
        Walk {
            next: log.oldest,
            link: Some(log.base),
            report: Report {
                log,
                events: 0,
                sessions: 0,
                findings: Vec::new(),
                found: 0,
            },
            newest: HashMap::new(),
            moving: HashMap::new(),
        }
    }

    fn find(&mut self, finding: Finding) {
        self.report.found += 1;
        if self.report.findings.len() < limits::FINDINGS_MAX {
            self.report.findings.push(finding);
        }
    }

    /// Goes on to a tail.
    async fn events(
        &mut self,
        store: &dyn Evidence,
        tail: Offset,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let key = self.report.log.key;
        while self.next < tail {
            let page = store
                .kept_events(key, self.next, limits::VERIFY_PAGE_EVENTS_MAX)
                .await?;
            let first = page.events.first().map_or(tail, |event| event.offset.min(tail));
            if first > self.next && self.trimmed(store).await? {
                continue;
            }
            if first < tail {
                self.page(&page, tail);
            } else {
                self.hole(tail);
            }
            progress(self.report.events);
        }
        Ok(())
    }

    /// Goes on where the log begins now, if what would have come next was trimmed under us.
    async fn trimmed(&mut self, store: &dyn Evidence) -> Result<bool, Error> {
        let log = present(store, &self.report.log).await?;
        let trimmed = log.oldest > self.next;
        if trimmed {
            (self.next, self.link) = (log.oldest, Some(log.base));
            self.report.log = log;
            // What was trimmed were somebody's events in between.
            self.newest.clear();
        }
        Ok(trimmed)
    }

    /// Takes the events before a tail, and what lies beside them.
    fn page(&mut self, page: &KeptEvents, tail: Offset) {
        let mut raws = page.raws.iter().copied().peekable();
        for event in page.events.iter().take_while(|event| event.offset < tail) {
            while let Some(stray) = raws.next_if(|raw| *raw < event.offset) {
                self.find(Finding::RawStray { offset: stray });
            }
            let beside = raws.next_if_eq(&event.offset).is_some();
            let offset = event.offset;
            match (event.has_raw, beside) {
                (true, false) => self.find(Finding::RawMissing { offset }),
                (false, true) => self.find(Finding::RawStray { offset }),
                (true, true) | (false, false) => {}
            }
            self.event(event);
        }
    }

    fn hole(&mut self, until: Offset) {
        self.find(Finding::Hole { from: self.next, until });
        (self.next, self.link) = (until, None);
    }

    fn event(&mut self, event: &KeptEvent) {
        let offset = event.offset;
        if offset > self.next {
            self.hole(offset);
        }
        if let Some(before) = self.link {
            let expected = self.report.log.link_key.next(before, &Digest::of(&event.stored));
            if expected != event.link {
                let found = event.link;
                self.find(Finding::Link {
                    offset,
                    expected,
                    found,
                });
            }
        }
        // The stored link, so that one changed byte is one finding and not all that follow it.
        (self.next, self.link) = (offset.next(), Some(event.link));
        self.report.events += 1;
        // One of the tenant as a whole counts in the chain and in no session.
        let Some(spot) = event.spot else { return };
        self.index(offset, spot);
        if let Some(row) = self.moving.get(&spot.session)
            && row.last_offset == offset
        {
            let expected = (Index(spot.index.0 + 1), offset);
            let found = (row.next_index, row.last_offset);
            let row = self.moving.remove(&spot.session);
            if let Some(row) = row.filter(|_| expected != found) {
                let expected = Some(expected);
                self.find(Finding::Session {
                    id: row.id,
                    expected,
                    found,
                });
            }
        }
    }

    fn index(&mut self, offset: Offset, Spot { session, index }: Spot) {
        let newest = Newest {
            index,
            offset,
            has_row: false,
        };
        let expected = match self.newest.get_mut(&session) {
            Some(before) => {
                let expected = Index(before.index.0 + 1);
                *before = Newest {
                    has_row: before.has_row,
                    ..newest
                };
                expected
            }
            None => {
                self.newest.insert(session, newest);
                // Of a log that was trimmed nobody knows with which event of it a session begins.
                if self.report.log.oldest > Offset::ZERO {
                    index
                } else {
                    Index(0)
                }
            }
        };
        if expected != index {
            self.find(Finding::Index {
                offset,
                expected,
                found: index,
            });
        }
    }

    /// Compares all sessions' rows with what was met of their events.
    async fn sessions(&mut self, store: &dyn Evidence) -> Result<(), Error> {
        let (key, walked) = (self.report.log.key, self.next);
        let mut after = None;
        loop {
            let rows = store
                .kept_sessions(key, after, limits::VERIFY_PAGE_SESSIONS_MAX)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.number);
            self.report.sessions += rows.len() as u64;
            for row in rows {
                self.session(row, walked);
            }
        }
        let mut ownerless: Vec<Offset> = Vec::new();
        ownerless.extend(
            self.newest
                .values()
                .filter(|newest| !newest.has_row)
                .map(|newest| newest.offset),
        );
        ownerless.sort_unstable();
        for offset in ownerless {
            self.find(Finding::NoSession { offset });
        }
        Ok(())
    }

    fn session(&mut self, row: KeptSession, walked: Offset) {
        let newest = self.newest.get_mut(&row.number).map(|newest| {
            newest.has_row = true;
            (Index(newest.index.0 + 1), newest.offset)
        });
        if row.last_offset >= walked {
            self.moving.insert(row.number, row);
            return;
        }
        let found = (row.next_index, row.last_offset);
        // All events of a session that is quiet may have been trimmed.
        let trimmed = newest.is_none() && row.last_offset < self.report.log.oldest;
        if newest != Some(found) && !trimmed {
            self.find(Finding::Session {
                id: row.id,
                expected: newest,
                found,
            });
        }
    }

    /// Settles what only the end can.
    async fn end(&mut self, store: &dyn Evidence) -> Result<(), Error> {
        let rows: Vec<KeptSession> = self.moving.drain().map(|(_, row)| row).collect();
        for row in rows {
            let newest = self.newest.get(&row.number);
            let expected = newest.map(|newest| (Index(newest.index.0 + 1), newest.offset));
            let found = (row.next_index, row.last_offset);
            self.find(Finding::Session {
                id: row.id,
                expected,
                found,
            });
        }
        let found = self.report.log.link;
        if let Some(expected) = self.link.filter(|link| *link != found) {
            self.find(Finding::Tail { expected, found });
        }
        // Read before the row, which then tells what of it was appended in the meantime.
        let key = self.report.log.key;
        let behind = store
            .kept_events(key, self.next, limits::VERIFY_PAGE_EVENTS_MAX)
            .await?;
        let tail = present(store, &self.report.log).await?.tail;
        for event in behind.events.iter().filter(|event| event.offset >= tail) {
            self.find(Finding::Beyond { offset: event.offset });
        }
        for offset in behind.raws.into_iter().filter(|offset| *offset >= tail) {
            self.find(Finding::RawStray { offset });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
