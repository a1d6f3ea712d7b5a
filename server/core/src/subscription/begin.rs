//! How a stream begins: which place a request names, and what is sent before anything is read from there.
//!
//! Believe this: when this is done, the handoff stands at the place where the stream goes on, and the frames that come before are
//! ready.

use super::{Error, Subscription, complete};
use crate::handoff::{Handoff, Live};
use crate::link::Link;
use crate::offset::Offset;
use crate::resume_token::{self, Kind};
use crate::store::{self, LogRow};
use crate::subscription::frame::{Answer, Frame, ResetReason};
use crate::subscription::giving::Giving;
use crate::subscription::start::{OnGap, Present, Start, Weighed, weigh};

impl Subscription {
    /// How the start is answered, and where the stream begins; nowhere when a snapshot says where.
    pub(super) async fn begin(&self) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        let log = &self.around.log;
        let (tail, link) = log.tail();
        let row = log.row();
        let from = match &self.request.start {
            Start::Resume(token) => return self.resume(token).await,
            Start::Snapshot => return Ok((Answer::Started, None)),
            Start::Now => return Ok((Answer::Started, Some((tail, link)))),
            Start::Oldest => log.look_at_age(self.around.clock.now()).await?,
            Start::Last(0) => return Ok((Answer::Started, Some((tail, link)))),
            Start::Last(count) => {
                let row = LogRow {
                    oldest: log.look_at_age(self.around.clock.now()).await?,
                    ..row.clone()
                };
                log.store()
                    .seek_back(&row, &self.request.interests, tail, *count)
                    .await?
            }
        };
        Ok((Answer::Started, Some((from, self.link_before(from).await?))))
    }

    async fn resume(&self, token: &str) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        let log = &self.around.log;
        let reset = |reason| Ok((Answer::Reset(reason), None));
        let place = match self.around.keyring.parse(&log.row().tenant, token) {
            Ok(place) => place,
            Err(resume_token::Error::Invalid) => return Err(Error::ResumeTokenInvalid),
            Err(resume_token::Error::TooOld) => return reset(ResetReason::ResumeTokenTooOld),
        };
        let present = self.present(place.next).await?;
        let link = match weigh(&place, &present) {
            Weighed::IfLinked(link) => link,
            Weighed::Reset(reason) => return reset(reason),
        };
        match self.link_before(place.next).await {
            Ok(known) if known == link => {}
            Ok(_) => return reset(ResetReason::HistoryChanged),
            // Nobody can tell any more whether it belongs to this log.
            Err(Error::Store(store::Error::Trimmed(oldest))) => return self.history_gone(place.next, oldest),
            Err(error) => return Err(error),
        }
        let from = self.first_kept(place.next).await?;
        if from > place.next && self.request.on_gap != OnGap::Continue && self.lacks(place.next, from).await? {
            return self.history_gone(place.next, from);
        }
        let most = self.request.replay_events;
        if from.distance(present.tail) > most && self.request.on_gap != OnGap::Continue {
            let count = log
                .store()
                .count(log.row(), &self.request.interests, from, present.tail, most + 1)
                .await?;
            if count > most {
                return match self.request.on_gap {
                    OnGap::Fail => Err(Error::TooFarBehind(most)),
                    OnGap::Snapshot | OnGap::Continue => reset(ResetReason::TooFarBehind),
                };
            }
        }
        Ok((Answer::Resumed, Some((place.next, link))))
    }

    /// The log as it is now. What is announced may lag what is stored by a moment, and a snapshot's resume token may be that new.
    async fn present(&self, next: Offset) -> Result<Present, Error> {
        let log = &self.around.log;
        let row = log.row();
        let (mut tail, _) = log.tail();
        if next > tail {
            let fresh = log.store().open_log(&row.tenant).await?;
            if fresh.epoch == row.epoch {
                tail = fresh.tail;
            }
        }
        Ok(Present {
            epoch: row.epoch,
            tail,
            interests: self.interests_hash,
        })
    }

    fn history_gone(&self, from: Offset, oldest: Offset) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        match self.request.on_gap {
            OnGap::Snapshot | OnGap::Continue => Ok((Answer::Reset(ResetReason::ResumeTokenTooOld), None)),
            OnGap::Fail => Err(Error::HistoryGone { from, oldest }),
        }
    }

    pub(super) async fn link_before(&self, offset: Offset) -> Result<Link, Error> {
        let log = &self.around.log;
        let in_window = log.window().link_before(offset);
        match in_window {
            Some(link) => Ok(link),
            None => Ok(log.store().link_before(log.row(), offset).await?),
        }
    }

    pub(super) async fn start(
        &mut self,
        answer: Answer,
        begin: Option<(Offset, Link)>,
        live: Live,
    ) -> Result<(), Error> {
        let subscribed = |from, tail, oldest| Frame::Subscribed {
            answer,
            epoch: self.around.log.row().epoch,
            from,
            oldest,
            tail,
        };
        let (tail, _) = self.around.log.tail();
        if let Some((from, link)) = begin {
            let first = subscribed(from, tail, self.around.log.oldest());
            self.place(from, link, live);
            self.ready.push_back(complete(first));
            return Ok(());
        }
        let snapshot = self.shared_snapshot().await?;
        let from = snapshot.offset;
        let first = subscribed(from, tail.max(from), self.around.log.oldest());
        self.place(from, snapshot.link, live);
        let reason = match answer {
            Answer::Reset(reason) => Some(reason),
            Answer::Started | Answer::Resumed => None,
        };
        self.ready.push_back((first, Kind::SnapshotPending));
        self.give(Giving::new(snapshot), reason);
        Ok(())
    }

    pub(super) fn place(&mut self, from: Offset, link: Link, live: Live) {
        self.handoff = Handoff::new(from, link, live);
        if live == Live::Wanted {
            self.around.log.await_tail(self.seat_id, from);
        }
    }
}
