//! Where a stream stands before what is kept: retention passed it, while it was away or while it was slow.
//!
//! Believe this: what is gone is announced only to those who wanted some of it. Everybody else goes on behind it, because nothing that
//! they would have been sent is missing; that other sessions were busy is nothing to them.

use super::{Error, Subscription, complete};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::store;
use crate::subscription::frame::{Frame, GapReason, ResetReason};
use crate::subscription::giving::Of;
use crate::subscription::start::{OnGap, Start};

impl Subscription {
    /// Where reading may begin for a stream that is to go on at `next`.
    pub(super) async fn first_kept(&self, next: Offset) -> Result<Offset, Error> {
        let log = &self.around.log;
        let now = self.around.clock.now();
        if next >= log.oldest() && log.is_young(next, now) {
            return Ok(next);
        }
        Ok(log.look_at_age(now).await?.max(next))
    }

    /// Whether anything wanted lies in `[from, until)`, which is not given out any more.
    pub(super) async fn lacks(&self, from: Offset, until: Offset) -> Result<bool, Error> {
        let log = &self.around.log;
        let missing = log.store().missing(log.row(), &self.request.interests, from, until, 1);
        Ok(!missing.await?.is_empty())
    }

    /// Goes on at `until`, before which nothing is given out any more. Gives the frame that announces it, where there is one.
    pub(super) async fn pass_gone(&mut self, until: Offset) -> Result<Option<(Frame, Kind)>, Error> {
        let link = match self.link_before(until).await {
            Ok(link) => link,
            // Trimmed further meanwhile: the next view says so.
            Err(Error::Store(store::Error::Trimmed(oldest))) => {
                self.around.log.trimmed(oldest);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (from, _) = self.handoff.place();
        let log = &self.around.log;
        let most = limits::GAP_SESSIONS_MAX;
        let missing = log
            .store()
            .missing(log.row(), &self.request.interests, from, until, most + 1);
        let sessions = missing.await?;
        if sessions.is_empty() {
            self.handoff.has_read(until, link);
            return Ok(None);
        }
        match self.request.on_gap {
            OnGap::Fail if self.was_given_something() => Err(Error::HistoryGone { from, oldest: until }),
            OnGap::Snapshot if self.was_given_something() => {
                let snapshot = self.everything().await?;
                self.give(snapshot, Of::Everything(Some(ResetReason::ResumeTokenTooOld)));
                Ok(None)
            }
            OnGap::Continue | OnGap::Snapshot | OnGap::Fail => {
                self.handoff.has_lost(until, link);
                let (from, until) = self.handoff.tell();
                let gap = Frame::Gap {
                    from,
                    until,
                    // A part of them would pass for all of them.
                    sessions: if sessions.len() > most { Vec::new() } else { sessions },
                    reason: GapReason::Trimmed,
                };
                Ok(Some(complete(gap)))
            }
        }
    }

    /// Whether there is a place to lose. A stream that began at the oldest event and was given nothing yet asked for whatever there is;
    /// where that begins has moved since, and it is told so.
    fn was_given_something(&self) -> bool {
        let (told, _) = self.handoff.told();
        !matches!(self.request.start, Start::Oldest | Start::Last(_)) || told > self.began
    }
}
