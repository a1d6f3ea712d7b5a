//! How a stream begins: which place a request names, and what is sent before anything is read from there.
//!
//! Believe this: when this is done, the handoff stands at the place where the stream goes on, and the frames that come before are
//! ready.

use super::{Error, Request, Subscription};
use crate::handoff::{Handoff, Live};
use crate::interest::Interests;
use crate::link::Link;
use crate::offset::Offset;
use crate::resume_token::{self, Kind};
use crate::store::{self, LogRow};
use crate::subscription::frame::{Answer, Frame, ResetReason};
use crate::subscription::giving::{Giving, Of};
use crate::subscription::start::{OnGap, Present, Start, Weighed, weigh};

/// How a stream begins.
#[derive(Debug)]
pub(super) enum Begin {
    /// There.
    There(Answer, Offset, Link),
    /// There, and then what more is wanted than by the interests before.
    Added(Interests, Offset, Link),
    /// Where a snapshot says.
    Snapshot(Answer),
}

impl Subscription {
    /// How the start is answered, and where the stream begins.
    pub(super) async fn begin(&self) -> Result<Begin, Error> {
        let log = &self.around.log;
        let (tail, link) = log.tail();
        let row = log.row();
        let from = match &self.request.start {
            Start::Resume(token) => return self.resume(token).await,
            Start::Snapshot => return Ok(Begin::Snapshot(Answer::Started)),
            Start::Now => return Ok(Begin::There(Answer::Started, tail, link)),
            Start::Oldest => log.look_at_age(self.around.clock.now()).await?,
            Start::Last(0) => return Ok(Begin::There(Answer::Started, tail, link)),
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
        Ok(Begin::There(Answer::Started, from, self.link_before(from).await?))
    }

    async fn resume(&self, token: &str) -> Result<Begin, Error> {
        let log = &self.around.log;
        let reset = |reason| Ok(Begin::Snapshot(Answer::Reset(reason)));
        let place = match self.around.keyring.parse(&log.row().tenant, token) {
            Ok(place) => place,
            Err(resume_token::Error::Invalid) => return Err(Error::ResumeTokenInvalid),
            Err(resume_token::Error::TooOld) => return reset(ResetReason::ResumeTokenTooOld),
        };
        let before = self.before_the_unsynced();
        let present = self.present(place.next, before.as_ref()).await?;
        let (link, added) = match weigh(&place, &present) {
            Weighed::IfLinked(link) => (link, None),
            Weighed::AddedIfLinked(link) => (link, before),
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
        Ok(match added {
            Some(before) => Begin::Added(before, place.next, link),
            None => Begin::There(Answer::Resumed, place.next, link),
        })
    }

    /// The interests as they were before what was added and not given to its end; none where nothing is named as such, or nothing is left.
    fn before_the_unsynced(&self) -> Option<Interests> {
        let Request {
            interests, unsynced, ..
        } = &self.request;
        (!unsynced.is_empty()).then(|| interests.without(unsynced)).flatten()
    }

    /// The log as it is now. What is announced may lag what is stored by a moment, and a snapshot's resume token may be that new.
    async fn present(&self, next: Offset, before: Option<&Interests>) -> Result<Present, Error> {
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
            before: before.map(Interests::hash),
        })
    }

    fn history_gone(&self, from: Offset, oldest: Offset) -> Result<Begin, Error> {
        match self.request.on_gap {
            OnGap::Snapshot | OnGap::Continue => Ok(Begin::Snapshot(Answer::Reset(ResetReason::ResumeTokenTooOld))),
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

    /// Goes there, and makes the first frames ready.
    pub(super) async fn start(&mut self, begin: Begin) -> Result<(), Error> {
        match begin {
            Begin::There(answer, from, link) => {
                self.place(from, link, self.request.live());
                self.answer(answer, from, Kind::Complete);
            }
            Begin::Added(before, from, link) => {
                self.place(from, link, self.request.live());
                self.interests_hash = before.hash();
                self.answer(Answer::Resumed, from, Kind::Complete);
                self.giving = Some(Box::new(Giving::due(Of::Added(before))));
            }
            Begin::Snapshot(answer) => {
                let snapshot = self.everything().await?;
                let reason = match answer {
                    Answer::Reset(reason) => Some(reason),
                    Answer::Started | Answer::Resumed => None,
                };
                self.answer(answer, snapshot.offset, Kind::SnapshotPending);
                self.give(snapshot, Of::Everything(reason));
            }
        }
        Ok(())
    }

    /// The first frame of a stream that begins at `from`.
    fn answer(&mut self, answer: Answer, from: Offset, kind: Kind) {
        let log = &self.around.log;
        let (tail, _) = log.tail();
        let subscribed = Frame::Subscribed {
            answer,
            epoch: log.row().epoch,
            from,
            oldest: log.oldest(),
            tail: tail.max(from),
        };
        self.ready.push_back((subscribed, kind));
    }

    pub(super) fn place(&mut self, from: Offset, link: Link, live: Live) {
        self.handoff = Handoff::new(from, link, live);
        if live == Live::Wanted {
            self.around.log.await_tail(self.seat_id, from);
        }
    }
}
