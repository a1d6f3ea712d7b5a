//! How a stream learns that a session was closed, whatever families it wants.
//!
//! Believe this: it is a seat beside the stream's own, woken by what happens to the sessions themselves. It moves no place and delivers
//! nothing; it only says when to look.

use std::sync::Arc;

use crate::event::{Families, Family};
use crate::interest::index::{Seat, SeatId};
use crate::interest::{Detail, Interest, Interests};
use crate::log::Log;

/// A second seat, given back on drop.
#[derive(Debug)]
pub(super) struct Closings {
    log: Arc<Log>,
    interests: Interests,
    seat_id: SeatId,
    seat: Arc<Seat>,
}

impl Closings {
    /// For a stream of these interests; none where it is given those events anyway.
    pub(super) fn watch(log: &Arc<Log>, interests: &Interests) -> Option<Closings> {
        if interests
            .iter()
            .all(|interest| interest.wanted().contain(Family::Session))
        {
            return None;
        }
        let sessions = interests.iter().map(|interest| Interest {
            families: Families::NONE.with(Family::Session),
            ..Interest::new(interest.selector.clone(), Detail::Summary)
        });
        // As many as before, which were good: it is never an error.
        let interests = Interests::new(sessions.collect()).ok()?;
        let (seat_id, seat) = log.enter(&interests);
        Some(Closings {
            log: log.clone(),
            interests,
            seat_id,
            seat,
        })
    }

    /// Waits until something happened to one of the sessions. Cancel safe.
    pub(super) async fn woken(&self) {
        self.seat.woken().await;
    }
}

impl Drop for Closings {
    fn drop(&mut self) {
        self.log.leave(self.seat_id, &self.interests);
    }
}

/// Waits for news of the sessions; for ever where nobody asked for them.
pub(super) async fn woken(closings: Option<&Closings>) {
    match closings {
        Some(closings) => closings.woken().await,
        None => std::future::pending().await,
    }
}
