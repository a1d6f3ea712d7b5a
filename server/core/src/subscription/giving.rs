//! A snapshot on its way to one subscriber.
//!
//! Believe this: the subscriber holds a number of a page, never pages. When the pages were taken back meanwhile, it begins again with a
//! newer snapshot; its resume tokens say until the end of one that it was not given.

use std::sync::Arc;

use super::{Error, Subscription, complete};
use crate::handoff::Live;
use crate::interest::Interests;
use crate::resume_token::Kind;
use crate::subscription::entering::Entry;
use crate::subscription::frame::{Frame, ResetReason, SnapshotReason};
use crate::subscription::snapshots::{Scope, Shared, Turn};

/// Of what a snapshot is given.
#[derive(Debug)]
pub(super) enum Of {
    /// Of everything: the stream goes on from it. With why, where nobody asked for it.
    Everything(Option<ResetReason>),
    /// Of the sessions that entered there.
    Entered(Entry),
    /// Of that of which more is wanted than by these interests. Until its end resume tokens are of them.
    Added(Interests),
}

impl Of {
    /// What a resume token is good for that is given before the end.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Of::Everything(_) | Of::Entered(_) => Kind::SnapshotPending,
            Of::Added(_) => Kind::Complete,
        }
    }

    const fn reason(&self) -> SnapshotReason {
        match self {
            Of::Everything(None) => SnapshotReason::Start,
            Of::Everything(Some(reason)) => SnapshotReason::Reset(*reason),
            Of::Entered(_) => SnapshotReason::Entered,
            Of::Added(_) => SnapshotReason::Added,
        }
    }

    /// The same once more, because what was given of it was taken back.
    fn anew(self) -> Of {
        match self {
            Of::Everything(_) => Of::Everything(Some(ResetReason::SnapshotIncomplete)),
            Of::Entered(_) | Of::Added(_) => self,
        }
    }
}

/// How far a snapshot was given.
#[derive(Debug)]
pub(super) struct Giving {
    pub(super) of: Of,
    /// The snapshot and the number of its next page; none while it is not begun.
    begun: Option<(Arc<Shared>, usize)>,
}

impl Giving {
    /// One that comes next.
    pub(super) const fn due(of: Of) -> Giving {
        Giving { of, begun: None }
    }
}

impl Subscription {
    /// Everything that the interests see, as of now.
    pub(super) async fn everything(&self) -> Result<Arc<Shared>, Error> {
        let Subscription { around, request, .. } = self;
        let (tail, _) = around.log.tail();
        let shared = around
            .snapshots
            .get(&around.log, &request.interests, request.frame_bytes, Scope::All, tail);
        Ok(shared.await?)
    }

    /// The snapshot that is due, as new as the stream needs it.
    async fn snapshot_of(&self, of: &Of) -> Result<Arc<Shared>, Error> {
        let Subscription { around, request, .. } = self;
        // Not older than what was given before: what that left out is in this one.
        let least = self.handoff.ahead();
        let scope = match of {
            Of::Everything(_) => return self.everything().await,
            Of::Entered(entry) => Scope::Entered(entry.clone()),
            Of::Added(others) => Scope::Beyond(others.clone()),
        };
        let shared = around
            .snapshots
            .get(&around.log, &request.interests, request.frame_bytes, scope, least);
        Ok(shared.await?)
    }

    /// Lets a snapshot follow what is ready.
    pub(super) fn give(&mut self, snapshot: Arc<Shared>, of: Of) {
        let offset = snapshot.offset;
        match of {
            Of::Everything(_) => self.place(offset, snapshot.link, self.request.live()),
            Of::Entered(_) | Of::Added(_) => {
                self.handoff.has_snapshot(offset);
                self.held.hold(snapshot.clone());
                if let Of::Added(before) = &of {
                    self.held.hold_before(before.clone(), offset);
                }
                if self.request.live() == Live::Wanted {
                    self.around.log.await_tail(self.seat_id, offset);
                }
            }
        }
        let begin = Frame::SnapshotBegin {
            reason: of.reason(),
            offset,
            sessions: snapshot.entered.clone(),
        };
        self.ready.push_back((begin, of.kind()));
        self.giving = Some(Box::new(Giving {
            of,
            begun: Some((snapshot, 0)),
        }));
    }

    /// The next frame of the snapshot that is under way; none when it begins, be it anew.
    pub(super) async fn next_page(&mut self) -> Result<Option<(Frame, Kind)>, Error> {
        let Some(giving) = self.giving.take() else {
            return Ok(None);
        };
        let Giving { of, begun } = *giving;
        let Some((snapshot, number)) = begun else {
            self.give(self.snapshot_of(&of).await?, of);
            return Ok(None);
        };
        match snapshot.page(number) {
            Turn::Page(page) => {
                let kind = of.kind();
                let begun = Some((snapshot, number + 1));
                self.giving = Some(Box::new(Giving { of, begun }));
                Ok(Some((Frame::SnapshotPage(page), kind)))
            }
            Turn::End => {
                self.interests_hash = self.request.interests.hash();
                Ok(Some(complete(Frame::SnapshotEnd {
                    offset: snapshot.offset,
                    sessions: snapshot.sessions,
                    truncated: snapshot.truncated,
                })))
            }
            Turn::Revoked => {
                let of = of.anew();
                self.give(self.snapshot_of(&of).await?, of);
                Ok(None)
            }
        }
    }
}
