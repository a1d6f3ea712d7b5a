//! What became of a commit whose outcome the store did not tell.
//!
//! Believe this: it goes by what no other node's commit can hide or imitate. Where there is no such thing, nobody knows, and nothing is
//! answered but that: whoever sends the same again is told the truth by its ids.

use std::collections::HashMap;

use crate::id::{SessionId, WriterId};
use crate::link::Link;
use crate::session::Session;
use crate::store::{LogRow, WriterRow};

/// What a commit would have left of one log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace<'a> {
    /// The log's row before it.
    pub(super) before: &'a LogRow,
    /// The log's row after it.
    pub(super) after: &'a LogRow,
    /// The writers' rows that it wrote.
    pub(super) writers: &'a HashMap<WriterId, WriterRow>,
    /// The sessions' rows that it touched.
    pub(super) sessions: &'a HashMap<SessionId, Session>,
}

/// What lies there now, read under the log's lock: the commit is over.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The log's row.
    pub(super) row: LogRow,
    /// The link before the tail that the commit would have reached; none when the log does not reach so far. Where it had events.
    pub(super) link: Option<Link>,
    /// The rows of the writers that it wrote. Where it had no events.
    pub(super) writers: Vec<WriterRow>,
    /// The rows of the sessions that it touched. Where it had no events.
    pub(super) sessions: Vec<Session>,
}

impl Found {
    /// This row, and nothing else yet.
    pub(super) const fn of(row: LogRow) -> Found {
        Found {
            row,
            link: None,
            writers: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

/// What can be said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable.
    Happened,
    /// It left nothing and never will.
    DidNot,
    /// What lies there may be its own or another's.
    Unknown,
}

impl Trace<'_> {
    /// Whether it stored events: their links are its signature, whatever was appended behind them.
    pub(super) fn has_events(&self) -> bool {
        self.after.tail > self.before.tail
    }

    /// Whether it wrote nothing at all: what moves no tail moves the fence.
    pub(super) const fn is_idle(&self) -> bool {
        self.after.tail.0 == self.before.tail.0 && self.after.fence == self.before.fence
    }

    /// What became of it.
    pub(super) fn verdict(&self, found: &Found) -> Verdict {
        if self.is_idle() {
            return Verdict::Happened;
        }
        if found.row.epoch != self.after.epoch {
            return Verdict::Unknown;
        }
        if self.has_events() {
            return if found.link == Some(self.after.link) {
                Verdict::Happened
            } else {
                Verdict::DidNot
            };
        }
        // Without events it moved the fence on, which only grows.
        if found.row.fence < self.after.fence {
            return Verdict::DidNot;
        }
        match (self.of_writers(&found.writers), self.of_holds(found)) {
            (Verdict::DidNot, _) | (_, Verdict::DidNot) => Verdict::DidNot,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            (Verdict::Happened, Verdict::Happened) => Verdict::Happened,
        }
    }

    /// Whether sessions are held as it left them. A hold names its fence, so the same one means the same thing.
    fn of_holds(&self, found: &Found) -> Verdict {
        let is_held = |ours: &Session| {
            let row = found.sessions.iter().find(|row| row.id == ours.id);
            row.is_some_and(|row| row.hold == ours.hold)
        };
        if self.sessions.values().all(is_held) {
            Verdict::Happened
        } else if found.row.fence == self.after.fence {
            // The number is another commit's.
            Verdict::DidNot
        } else {
            Verdict::Unknown
        }
    }

    /// Whether the writers are as it left them, or further.
    fn of_writers(&self, found: &[WriterRow]) -> Verdict {
        let mut verdict = Verdict::Happened;
        for ours in self.writers.values() {
            let Some(row) = found.iter().find(|row| row.id == ours.id) else {
                return Verdict::DidNot;
            };
            if (row.fence, row.last_seq) < (ours.fence, ours.last_seq) {
                return Verdict::DidNot;
            }
            // Another node may have given the fence to somebody else, and two would hold it. And whoever holds a newer one may have
            // consumed the same seqs.
            if ours.fence > self.before.fence || row.fence > ours.fence {
                verdict = Verdict::Unknown;
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::{Epoch, Offset};
    use crate::store::memory::Memory;
    use crate::store::suite::PlainEncode;
    use crate::store::{Presence, Store as _};
    use crate::testing::{tenant, writer};

    fn row(fence: u64, last_seq: u64) -> WriterRow {
        WriterRow {
            id: writer("w"),
            fence,
            last_seq,
            presence: Presence::default(),
        }
    }

    /// The log before, with five events and four fences given out.
    async fn before() -> LogRow {
        let memory = Memory::new(std::sync::Arc::new(PlainEncode));
        LogRow {
            tail: Offset(5),
            link: Link(50),
            fence: 4,
            ..memory.open_log(&tenant("t")).await.unwrap()
        }
    }

    fn moved(row: &LogRow, tail: u64, link: u64, fence: u64) -> LogRow {
        LogRow {
            tail: Offset(tail),
            link: Link(link),
            fence,
            ..row.clone()
        }
    }

    #[tokio::test]
    async fn events_are_known_by_their_links_whatever_came_behind_them() {
        let before = before().await;
        let after = moved(&before, 7, 70, 4);
        // What it did to writers went with its events.
        let writers = [(writer("w"), row(3, 2))].into();
        let trace = Trace {
            before: &before,
            after: &after,
            writers: &writers,
            sessions: &HashMap::new(),
        };
        for (tail, link, verdict) in [
            (7, Some(70), Verdict::Happened),
            (9, Some(70), Verdict::Happened),
            (7, Some(71), Verdict::DidNot),
            (9, Some(71), Verdict::DidNot),
            (6, None, Verdict::DidNot),
            (5, None, Verdict::DidNot),
        ] {
            let found = Found {
                link: link.map(Link),
                ..Found::of(moved(&before, tail, 99, 8))
            };
            assert_eq!(trace.verdict(&found), verdict, "tail {tail}, link {link:?}");
        }
        let mut restored = Found {
            link: Some(after.link),
            ..Found::of(after.clone())
        };
        restored.row.epoch = Epoch(before.epoch.0 ^ 1);
        assert_eq!(trace.verdict(&restored), Verdict::Unknown);
    }

    #[tokio::test]
    async fn seqs_without_events_are_known_by_their_writer_and_fences_by_nothing() {
        let before = before().await;
        let after = moved(&before, 5, 50, 5);
        let check = |wrote: WriterRow, tail: u64, fence: u64, there: Option<WriterRow>, verdict: Verdict| {
            let writers = [(writer("w"), wrote)].into();
            let trace = Trace {
                before: &before,
                after: &after,
                writers: &writers,
                sessions: &HashMap::new(),
            };
            let found = Found {
                writers: there.clone().into_iter().collect(),
                ..Found::of(moved(&before, tail, 99, fence))
            };
            assert_eq!(trace.verdict(&found), verdict, "{writers:?} fence {fence} {there:?}");
        };
        let consumed = || row(3, 2);
        check(consumed(), 5, 5, Some(row(3, 2)), Verdict::Happened);
        check(consumed(), 8, 9, Some(row(3, 2)), Verdict::Happened);
        check(consumed(), 5, 4, Some(row(3, 1)), Verdict::DidNot);
        // Another node moved the fence on for somebody else.
        check(consumed(), 8, 9, Some(row(3, 1)), Verdict::DidNot);
        check(consumed(), 8, 9, None, Verdict::DidNot);
        // Opened anew, its new holder may have consumed the same seq.
        check(consumed(), 8, 9, Some(row(6, 2)), Verdict::Unknown);
        let opened = || row(5, 2);
        check(opened(), 5, 4, Some(row(3, 2)), Verdict::DidNot);
        check(opened(), 5, 5, Some(row(5, 2)), Verdict::Unknown);
        check(opened(), 8, 9, Some(row(7, 4)), Verdict::Unknown);
        check(opened(), 5, 5, Some(row(3, 2)), Verdict::DidNot);
        check(opened(), 5, 5, None, Verdict::DidNot);
    }
}
