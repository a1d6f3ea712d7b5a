//! What other nodes stored, announced here.
//!
//! Believe this: it is read once for the whole node, and comes into the window like our own: its receivers are woken, and nobody else. Only
//! where it is more than a window should take at once, nobody listens, or it cannot be read, the log is caught up with unseen, and each
//! subscriber reads what is its own.

use crate::appender::committer::Committer;
use crate::event::Event;
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::limits;
use crate::log::Log;
use crate::store::{LogRow, Read};

impl Committer {
    /// Announces everything before a row's tail, where that was not done: it was stored without our knowledge.
    pub(super) async fn fill(&self, log: &Log, row: &LogRow) {
        if log.tail().0 < row.tail {
            match self.unseen(log, row).await {
                Some(events) => {
                    let name = |event: &Event| self.encode.item_id(&event.bytes);
                    log.announce_others(&events, name, row.tail, row.link);
                }
                None => log.catch_up(row.tail, row.link),
            }
        }
        log.trimmed(row.oldest);
    }

    /// All events between what is announced and a row's tail.
    async fn unseen(&self, log: &Log, row: &LogRow) -> Option<Vec<Event>> {
        let (from, until) = (log.tail().0, row.tail);
        if log.subscribers() == 0 || from < row.oldest || from.distance(until) > limits::FILL_EVENTS_MAX as u64 {
            return None;
        }
        let read = Read {
            log: row,
            interests: &Interests::from(Interest::new(Selector::All, Detail::Content)),
            from,
            until,
            events_max: limits::FILL_EVENTS_MAX,
            bytes_max: limits::FILL_BYTES_MAX,
            scan_max: limits::FILL_EVENTS_MAX,
        };
        let page = self.store.read(read).await.ok()?;
        (page.until == until && page.events.len() as u64 == from.distance(until)).then_some(page.events)
    }
}
