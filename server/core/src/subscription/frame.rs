//! What a subscriber is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::event::Raw;
use crate::id::SessionId;
use crate::offset::{Epoch, Offset, Time};
use crate::resume_token;
use crate::store::{Missing, SessionSnapshot};
use crate::window::batch::Batch;
use crate::window::deltas::ItemText;

/// How a start was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// As asked, without a resume token.
    Started,
    /// Continued exactly where the resume token says.
    Resumed,
    /// Not continued, for this reason; a snapshot follows.
    Reset(ResetReason),
}

/// Why a resume token cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetReason {
    /// The log was recreated or restored.
    EpochChanged,
    /// The log holds other events before that place.
    HistoryChanged,
    /// The log does not reach that place.
    ResumeTokenAhead,
    /// That place, or the key of the token, is no longer kept.
    ResumeTokenTooOld,
    /// More events lie behind than a resume replays.
    TooFarBehind,
    /// It was given to other interests.
    InterestsChanged,
    /// It was given in the middle of a snapshot.
    SnapshotIncomplete,
}

/// Why a snapshot comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotReason {
    /// It was asked for. The stream goes on from it.
    Start,
    /// The place was reset. The stream goes on from it.
    Reset(ResetReason),
    /// Sessions entered the interests at the event before it. The stream's place stays.
    Entered,
    /// More is wanted of sessions than before. The stream's place stays.
    Added,
}

/// What follows a change of interests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing: no events are wanted that were not wanted before.
    Nothing,
    /// A snapshot of what was added.
    Snapshot,
}

/// Why a stream ends politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClosingReason {
    /// This node stops; come back, to it or to another.
    Draining,
    /// A later stream of the same client took its place.
    Replaced,
    /// The credential expired.
    CredentialExpired,
    /// The credential was revoked.
    PermissionRevoked,
    /// The stream is as old as one may be: come back, perhaps to another node.
    MaxAge,
    /// All sessions of a `stop_when_closed` stream are closed and delivered. The only end that means "there is no more".
    Complete,
}

/// Why events will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// They are no longer kept.
    Trimmed,
}

/// One session of a snapshot page.
#[derive(Clone, Debug)]
pub struct SnapshotEntry {
    /// Its row and items.
    pub snapshot: SessionSnapshot,
    /// The texts so far of its open items.
    pub texts: Vec<ItemText>,
}

/// One message of a stream.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Always the first.
    Subscribed {
        /// How the start was answered.
        answer: Answer,
        /// The identity of the log.
        epoch: Epoch,
        /// Where the stream begins.
        from: Offset,
        /// Smallest offset still kept.
        oldest: Offset,
        /// First unwritten offset.
        tail: Offset,
    },
    /// A snapshot begins; it holds everything before this offset. One that begins before the one before it ended replaces it.
    SnapshotBegin {
        /// Why.
        reason: SnapshotReason,
        /// The offset that it is as of.
        offset: Offset,
        /// The sessions that entered, as many as are named.
        sessions: Box<[SessionId]>,
    },
    /// Some of its sessions: a whole message, shared by all who are given the same snapshot.
    SnapshotPage(Bytes),
    /// It was whole.
    SnapshotEnd {
        /// The offset that it is as of.
        offset: Offset,
        /// How many sessions it held.
        sessions: u64,
        /// Whether there were more.
        truncated: bool,
    },
    /// All wanted events of `[from, until)`.
    Events {
        /// Where the frame before ended.
        from: Offset,
        /// Where the next one begins.
        until: Offset,
        /// The events, shared with other streams that were given the same.
        batch: Arc<Batch>,
        /// The raw records beside them, where asked for.
        raws: Vec<(Offset, Raw)>,
    },
    /// The interests are others from here on.
    Updated {
        /// The client's number of the change.
        revision: u64,
        /// What follows.
        then: Then,
    },
    /// Fragments, each a whole message.
    Deltas(Vec<Bytes>),
    /// The text so far of one open item.
    ItemText(ItemText),
    /// Everything before this offset was told.
    CaughtUp(Offset),
    /// The subscriber was too slow for the window, by so many events.
    FellBehind(u64),
    /// Wanted events of `[from, until)` that will not come.
    Gap {
        /// Where the frame before ended.
        from: Offset,
        /// Where the next one begins.
        until: Offset,
        /// The sessions that they are of; none where there are too many to name.
        sessions: Vec<Missing>,
        /// Why.
        reason: GapReason,
    },
    /// Nothing wanted lies before `until`.
    Heartbeat {
        /// Where the frame before ended.
        from: Offset,
        /// Where the next one begins.
        until: Offset,
    },
    /// The credential is good until this time, which is near.
    CredentialExpiring(Time),
    /// The last one.
    Closing {
        /// Why.
        reason: ClosingReason,
        /// When to come back at the latest, where waiting helps. The wire spreads it.
        retry_after: Option<Duration>,
    },
}

/// A frame with the place that its resume token names.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub frame: Frame,
    /// The place that covers it and all before it.
    pub place: resume_token::Place,
}
