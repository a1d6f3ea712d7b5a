//! Steering a stream while it is being read.
//!
//! The one thing to believe: nothing here waits. What is asked for is left where the stream finds it, the newest only, and what came of it
//! is told by the stream itself, in its order.

use std::sync::Arc;

use bellboard_proto::v1::Interest;
use tokio::sync::watch;

use super::place::Place;
use super::revisions::Revision;

/// Shared by a subscription, its follower and its controls.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) place: Place,
    /// Rung by a control, heard by the follower; asking often before it is heard is asking once.
    pub(super) redial: watch::Sender<()>,
    /// The newest interests that the application asked for.
    pub(super) wanted: watch::Sender<Revision>,
}

impl Shared {
    pub(super) fn new(place: Place, interests: Vec<Interest>) -> Shared {
        Shared {
            place,
            redial: watch::Sender::new(()),
            wanted: watch::Sender::new(Revision { number: 0, interests }),
        }
    }
}

/// Steers a stream while it is being read, from any task. Cheap to clone. Does nothing after the stream's end.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) shared: Arc<Shared>,
}

impl Control {
    /// Replaces the interests: what [`Subscription::update`](crate::Subscription::update) does.
    pub fn update(&self, interests: impl IntoIterator<Item = Interest>) -> u64 {
        let mut number = 0;
        self.shared.wanted.send_modify(|wanted| {
            wanted.number += 1;
            wanted.interests = interests.into_iter().collect();
            number = wanted.number;
        });
        number
    }

    /// Dials again at once, over a new connection, right after the last frame: for applications that learn from their platform that they
    /// are awake, in front or online again. It cuts short any wait of the SDK's own, and no wait that the hub asked for.
    pub fn redial(&self) {
        self.shared.redial.send_replace(());
    }
}
