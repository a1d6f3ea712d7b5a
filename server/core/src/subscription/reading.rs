//! What is read, and how it becomes a frame.
//!
//! Believe this: whatever a frame leaves out (for want of room, because its raw records are large, because sessions enter) is read
//! again later, and nothing between two frames is left unread.

use std::sync::Arc;

use super::{Error, Subscription, complete};
use crate::appender::counters::microseconds;
use crate::event::{Family, Raw};
use crate::limits;
use crate::log::Log;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::store::{self, Page, Read};
use crate::subscription::entering;
use crate::subscription::frame::Frame;
use crate::subscription::giving::{Giving, Of};
use crate::window::batch::{Batch, Wish};

impl Subscription {
    pub(super) async fn read_window(&mut self, from: Offset, until: Offset) -> Result<Option<(Frame, Kind)>, Error> {
        let wish = Wish {
            interests: &self.request.interests,
            // Where nothing is given, resume tokens are of what is read.
            interests_hash: self.interests_hash,
            from,
            until,
            bytes_max: self.request.frame_bytes,
        };
        let found = self.around.log.window().share(wish);
        // Gone since we looked: the next view says so.
        let Some((batch, visited)) = found else { return Ok(None) };
        Log::count(&self.around.log.counters().slots_visited, visited);
        if batch.events.is_empty() {
            self.handoff.has_read(batch.until, batch.link);
            return Ok(None);
        }
        self.deliver(batch).await
    }

    pub(super) async fn read_store(&mut self, from: Offset, until: Offset) -> Result<Option<(Frame, Kind)>, Error> {
        let log = &self.around.log;
        Log::count(&log.counters().store_reads, 1);
        let read = Read {
            log: log.row(),
            interests: &self.request.interests,
            from,
            until,
            events_max: limits::FRAME_EVENTS_MAX,
            bytes_max: self.request.frame_bytes,
            scan_max: limits::SCAN_EVENTS_MAX,
        };
        let begin = self.around.clock.elapsed();
        let read = log.store().read(read).await;
        let took = self.around.clock.elapsed().saturating_sub(begin);
        log.counters().read_microseconds.add(microseconds(took));
        match read {
            Ok(Page { events, until, link }) => self.deliver(Arc::new(Batch::new(events, until, link))).await,
            // Gone since we looked: the next view says so.
            Err(store::Error::Trimmed(oldest)) => {
                log.trimmed(oldest);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The frame of what was read, or of less of it where sessions enter, or where a frame does not take the raw records beside it; none
    /// where it begins with what is too old to be given out, and where all of it was in a snapshot.
    async fn deliver(&mut self, batch: Arc<Batch>) -> Result<Option<(Frame, Kind)>, Error> {
        let log = &self.around.log;
        let now = self.around.clock.now();
        if let Some(old) = batch.events.first().filter(|event| log.is_too_old(event, now)) {
            log.look_behind(old.offset.next(), now).await?;
            return Ok(None);
        }
        let (mut batch, sifted) = entering::sift(batch, &self.request.interests, &self.held);
        let (until, mut raws) = (batch.until, Vec::new());
        if self.request.include_raw {
            match with_raws(log, &batch, self.request.frame_bytes).await {
                Ok(with_raws) => (batch, raws) = with_raws,
                Err(store::Error::Trimmed(oldest)) => {
                    log.trimmed(oldest);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.handoff.has_read(batch.until, batch.link);
        self.held.pass(batch.until);
        match sifted {
            entering::Read::Plain => {}
            entering::Read::TextsLost => self.handoff.lose_texts(),
            // With less of it the event was not reached.
            entering::Read::Entered(entry) if batch.until == until => {
                self.giving = Some(Box::new(Giving::due(Of::Entered(entry))));
            }
            entering::Read::Entered(_) => {}
        }
        if batch.events.is_empty() && self.giving.is_none() {
            return Ok(None);
        }
        Log::count(&log.counters().deliveries, batch.events.len());
        if self.request.stop_when_closed && batch.events.iter().any(|event| event.family == Family::Session) {
            self.check_closed = true;
        }
        let frame = self.events(batch, raws);
        Ok(Some((frame, self.kind())))
    }

    /// A frame that accounts for what was passed, though there is nothing in it.
    pub(super) fn account(&mut self) -> (Frame, Kind) {
        let (next, link) = self.handoff.place();
        let nothing = Arc::new(Batch::new(Vec::new(), next, link));
        complete(self.events(nothing, Vec::new()))
    }

    fn events(&mut self, batch: Arc<Batch>, raws: Vec<(Offset, Raw)>) -> Frame {
        let (from, until) = self.handoff.tell();
        Frame::Events {
            from,
            until,
            batch,
            raws,
        }
    }
}

/// As much of a batch as a frame takes with the raw records beside it, and those.
async fn with_raws(
    log: &Log,
    batch: &Batch,
    bytes_max: usize,
) -> Result<(Arc<Batch>, Vec<(Offset, Raw)>), store::Error> {
    let mut events = batch.events.clone();
    let raws = store::raws_beside(log.store(), log.row(), &mut events, bytes_max).await?;
    let (until, link) = match events.last().filter(|_| events.len() < batch.events.len()) {
        Some(last) => (last.offset.next(), last.link),
        None => (batch.until, batch.link),
    };
    Ok((Arc::new(Batch::new(events, until, link)), raws))
}
