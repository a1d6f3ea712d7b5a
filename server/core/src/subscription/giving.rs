//! A snapshot on its way to one subscriber.
//!
//! Believe this: the subscriber holds a number of a page, never pages. When the pages were taken back meanwhile, it begins again with a
//! newer snapshot; its resume tokens say until the end of one that none was given.

use std::sync::Arc;

use super::{Error, Subscription, complete};
use crate::resume_token::Kind;
use crate::subscription::frame::{Frame, ResetReason};
use crate::subscription::snapshots::{Shared, Turn};

/// How far a snapshot was given.
#[derive(Debug)]
pub(super) struct Giving {
    snapshot: Arc<Shared>,
    next: usize,
}

impl Giving {
    pub(super) const fn new(snapshot: Arc<Shared>) -> Giving {
        Giving { snapshot, next: 0 }
    }
}

impl Subscription {
    pub(super) async fn shared_snapshot(&self) -> Result<Arc<Shared>, Error> {
        let Subscription { around, request, .. } = self;
        let shared = around
            .snapshots
            .get(&around.log, &request.interests, request.frame_bytes);
        Ok(shared.await?)
    }

    /// Lets a snapshot follow what is ready.
    pub(super) fn give(&mut self, giving: Giving, reason: Option<ResetReason>) {
        let begin = Frame::SnapshotBegin {
            reason,
            offset: giving.snapshot.offset,
        };
        self.ready.push_back((begin, Kind::SnapshotPending));
        self.giving = Some(giving);
    }

    /// The next frame of the snapshot that is under way; none when it begins anew.
    pub(super) async fn next_page(&mut self) -> Result<Option<(Frame, Kind)>, Error> {
        let Some(Giving { snapshot, next }) = &mut self.giving else {
            return Ok(None);
        };
        match snapshot.page(*next) {
            Turn::Page(page) => {
                *next += 1;
                Ok(Some((Frame::SnapshotPage(page), Kind::SnapshotPending)))
            }
            Turn::End => {
                let end = Frame::SnapshotEnd {
                    offset: snapshot.offset,
                    sessions: snapshot.sessions,
                    truncated: snapshot.truncated,
                };
                self.giving = None;
                Ok(Some(complete(end)))
            }
            Turn::Revoked => {
                let newer = self.shared_snapshot().await?;
                self.place(newer.offset, newer.link, self.request.live());
                self.give(Giving::new(newer), Some(ResetReason::SnapshotIncomplete));
                Ok(None)
            }
        }
    }
}
