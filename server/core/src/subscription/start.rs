//! How a start is answered.
//!
//! Believe this: a resume token is either continued exactly, or it is said why not. The order of the questions is the order in which
//! an answer stops making sense: another log, an unfinished snapshot, other interests, a place that is not there, a place with another
//! past, a place behind which something is no longer there, a place too far away.

use crate::link::Link;
use crate::offset::{Epoch, Offset};
use crate::resume_token::{Kind, Place};
use crate::subscription::frame::ResetReason;

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where this resume token says.
    Resume(String),
    /// At the tail.
    Now,
    /// At the oldest event that is kept.
    Oldest,
    /// So many wanted events before the tail, at most [`crate::limits::FROM_LAST_MAX`].
    Last(u32),
    /// With a snapshot, then from its offset.
    Snapshot,
}

/// What to do when history is missing, or too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Start from a snapshot.
    #[default]
    Snapshot,
    /// Go on with what is kept, all of it.
    Continue,
    /// Refuse.
    Fail,
}

/// The log, as far as a resume token is weighed against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its identity.
    pub epoch: Epoch,
    /// First unwritten offset.
    pub tail: Offset,
    /// The hash of the interests that are asked for now.
    pub interests: u64,
    /// The hash of them without what was added and not given yet; none where nothing is named as such.
    pub before: Option<u64>,
}

/// What the numbers alone say about a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighed {
    /// It cannot be continued.
    Reset(ResetReason),
    /// It can, if the link before it is this one.
    IfLinked(Link),
    /// It can, if the link before it is this one; and what was added since is to be given.
    AddedIfLinked(Link),
}

/// Weighs a place against the log.
#[must_use]
pub fn weigh(place: &Place, present: &Present) -> Weighed {
    let reset = if place.epoch != present.epoch {
        ResetReason::EpochChanged
    } else if place.kind == Kind::SnapshotPending {
        ResetReason::SnapshotIncomplete
    } else if place.interests != present.interests && present.before != Some(place.interests) {
        ResetReason::InterestsChanged
    } else if place.next > present.tail {
        ResetReason::ResumeTokenAhead
    } else if place.interests == present.interests {
        return Weighed::IfLinked(place.link);
    } else {
        return Weighed::AddedIfLinked(place.link);
    };
    Weighed::Reset(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_in_the_order() {
        let present = Present {
            epoch: Epoch(1),
            tail: Offset(10),
            interests: 3,
            before: None,
        };
        let good = Place {
            epoch: Epoch(1),
            next: Offset(7),
            link: Link(9),
            interests: 3,
            kind: Kind::Complete,
        };
        let cases = [
            (good, None),
            (
                Place {
                    next: Offset(10),
                    ..good
                },
                None,
            ),
            (
                Place {
                    next: Offset(11),
                    ..good
                },
                Some(ResetReason::ResumeTokenAhead),
            ),
            (
                Place {
                    interests: 4,
                    next: Offset(11),
                    ..good
                },
                Some(ResetReason::InterestsChanged),
            ),
            (
                Place {
                    kind: Kind::SnapshotPending,
                    interests: 4,
                    ..good
                },
                Some(ResetReason::SnapshotIncomplete),
            ),
            (
                Place {
                    epoch: Epoch(2),
                    kind: Kind::SnapshotPending,
                    ..good
                },
                Some(ResetReason::EpochChanged),
            ),
        ];
        for (place, reset) in cases {
            let expected = reset.map_or(Weighed::IfLinked(place.link), Weighed::Reset);
            assert_eq!(weigh(&place, &present), expected, "{place:?}");
        }
    }

    #[test]
    fn a_token_of_the_interests_before_an_addition_goes_on_where_the_addition_is_named() {
        let present = Present {
            epoch: Epoch(1),
            tail: Offset(10),
            interests: 3,
            before: Some(2),
        };
        let of = |interests, next| Place {
            epoch: Epoch(1),
            next: Offset(next),
            link: Link(9),
            interests,
            kind: Kind::Complete,
        };
        let cases = [
            (of(2, 7), Weighed::AddedIfLinked(Link(9))),
            (of(3, 7), Weighed::IfLinked(Link(9))),
            (of(1, 7), Weighed::Reset(ResetReason::InterestsChanged)),
            (of(2, 11), Weighed::Reset(ResetReason::ResumeTokenAhead)),
        ];
        for (place, weighed) in cases {
            assert_eq!(weigh(&place, &present), weighed, "{place:?}");
        }
    }
}
