//! A subscription's frames as the contract has them.
//!
//! Believe this: events, deltas and pages of snapshots go through as the bytes they were stored or shared as; only the frame around
//! them is made here.

use std::time::Duration;

use bellboard_core::event::Raw;
use bellboard_core::id::SessionId;
use bellboard_core::limits;
use bellboard_core::offset::Offset;
use bellboard_core::store::Missing;
use bellboard_core::subscription::frame::{
    Answer, ClosingReason, Frame, GapReason, ResetReason, SnapshotEntry, SnapshotReason, Then,
};
use bellboard_core::window::deltas::{Channel, ItemText};
use bellboard_proto::hub::v1::{self as hub, subscribe_response::Frame as Sent};
use bellboard_proto::v1::{self, item_text::State};

use crate::wire::encode::timestamp;
use crate::wire::list_events::items_below;
use crate::wire::session::row;

/// What a frame needs to know of its stream.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub subscription_id: String,
    /// What it is held to.
    pub limits: v1::StreamLimits,
    /// The tail when it was last looked.
    pub tail: Offset,
}

impl Stream {
    /// One frame.
    pub fn frame(&self, frame: Frame) -> Sent {
        match frame {
            Frame::Subscribed {
                answer,
                epoch,
                from,
                oldest,
                tail,
            } => {
                let (answer, reason) = answered(answer);
                Sent::Subscribed(v1::Subscribed {
                    answer: answer.into(),
                    reason: reason.into(),
                    from: from.0,
                    oldest: oldest.0,
                    tail: tail.0,
                    epoch: epoch.to_string(),
                    subscription_id: self.subscription_id.clone(),
                    limits: Some(self.limits),
                })
            }
            Frame::SnapshotBegin {
                reason,
                offset,
                sessions,
            } => Sent::SnapshotBegin(snapshot_begin(reason, offset, &sessions)),
            Frame::SnapshotPage(page) => Sent::SnapshotPage(page),
            Frame::SnapshotEnd {
                offset,
                sessions,
                truncated,
            } => Sent::SnapshotEnd(v1::SnapshotEnd {
                offset: offset.0,
                session_count: sessions,
                truncated,
            }),
            Frame::Events {
                from,
                until,
                batch,
                raws,
            } => Sent::Events(hub::EventsFrame {
                from: from.0,
                until: until.0,
                events: batch.events.iter().map(|event| event.bytes.clone()).collect(),
                raws: raws.into_iter().map(event_raw).collect(),
            }),
            Frame::Updated { revision, then } => Sent::SubscriptionUpdated(v1::SubscriptionUpdated {
                revision,
                snapshot_follows: then == Then::Snapshot,
            }),
            Frame::Deltas(deltas) => Sent::Deltas(hub::DeltasFrame { deltas }),
            Frame::ItemText(text) => Sent::ItemText(item_text(text)),
            Frame::CaughtUp(tail) => Sent::CaughtUp(v1::CaughtUp { tail: tail.0 }),
            Frame::FellBehind(by) => Sent::FellBehind(v1::FellBehind { by }),
            Frame::Gap {
                from,
                until,
                sessions,
                reason,
            } => Sent::Gap(v1::Gap {
                from: from.0,
                until: until.0,
                without_session: sessions.contains(&Missing::Tenant),
                sessions: sessions.into_iter().filter_map(missing).collect(),
                reason: match reason {
                    GapReason::Trimmed => v1::GapReason::Trimmed.into(),
                },
            }),
            Frame::Heartbeat { from, until } => {
                let tail = self.tail.max(until).0;
                Sent::Heartbeat(v1::Heartbeat {
                    from: from.0,
                    until: until.0,
                    tail,
                })
            }
            Frame::CredentialExpiring(time) => Sent::CredentialExpiring(v1::CredentialExpiring {
                expire_time: Some(timestamp(time)),
            }),
            Frame::Closing { reason, retry_after } => Sent::Closing(closing(reason, retry_after)),
        }
    }
}

fn missing(missing: Missing) -> Option<v1::SessionGap> {
    match missing {
        Missing::Session { session, from, until } => Some(v1::SessionGap {
            session_id: session.to_string(),
            from_index: from.0,
            until_index: until.0,
        }),
        Missing::Tenant => None,
    }
}

/// The polite end of a stream. When to come back is spread from stream to stream, so that not all do so at once.
#[must_use]
pub fn closing(reason: ClosingReason, retry_after: Option<Duration>) -> v1::Closing {
    let reason = match reason {
        ClosingReason::Draining => v1::ClosingReason::Draining,
        ClosingReason::Replaced => v1::ClosingReason::Replaced,
        ClosingReason::CredentialExpired => v1::ClosingReason::CredentialExpired,
        ClosingReason::PermissionRevoked => v1::ClosingReason::PermissionRevoked,
        ClosingReason::MaxAge => v1::ClosingReason::MaxAge,
        ClosingReason::Complete => v1::ClosingReason::Complete,
    };
    let retry_after = retry_after.and_then(|longest| prost_types::Duration::try_from(spread(longest)).ok());
    v1::Closing {
        reason: reason.into(),
        retry_after,
    }
}

/// A random time of at most `longest`.
fn spread(longest: Duration) -> Duration {
    // Without randomness from the machine all come back late, which is only a matter of comfort.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let more = longest.saturating_sub(limits::DRAIN_RETRY_MIN);
    longest.min(limits::DRAIN_RETRY_MIN) + more.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// A raw record beside an event.
#[must_use]
pub fn event_raw((offset, raw): (Offset, Raw)) -> v1::EventRaw {
    let raw = v1::RawContent {
        media_type: raw.media_type.to_string(),
        content: raw.content,
    };
    v1::EventRaw {
        offset: offset.0,
        raw: Some(raw),
    }
}

const fn answered(answer: Answer) -> (v1::Answer, v1::ResetReason) {
    match answer {
        Answer::Started => (v1::Answer::Started, v1::ResetReason::Unspecified),
        Answer::Resumed => (v1::Answer::Resumed, v1::ResetReason::Unspecified),
        Answer::Reset(reason) => (v1::Answer::Reset, reset(reason)),
    }
}

const fn reset(reason: ResetReason) -> v1::ResetReason {
    match reason {
        ResetReason::EpochChanged => v1::ResetReason::EpochChanged,
        ResetReason::HistoryChanged => v1::ResetReason::HistoryChanged,
        ResetReason::ResumeTokenAhead => v1::ResetReason::ResumeTokenAhead,
        ResetReason::ResumeTokenTooOld => v1::ResetReason::ResumeTokenTooOld,
        ResetReason::TooFarBehind => v1::ResetReason::TooFarBehind,
        ResetReason::InterestsChanged => v1::ResetReason::InterestsChanged,
        ResetReason::SnapshotIncomplete => v1::ResetReason::SnapshotIncomplete,
    }
}

fn snapshot_begin(reason: SnapshotReason, offset: Offset, sessions: &[SessionId]) -> v1::SnapshotBegin {
    let (reason, reset_reason) = match reason {
        SnapshotReason::Start => (v1::SnapshotReason::Start, None),
        SnapshotReason::Reset(reason) => (v1::SnapshotReason::Reset, Some(reset(reason))),
        SnapshotReason::Entered => (v1::SnapshotReason::SessionEntered, None),
        SnapshotReason::Added => (v1::SnapshotReason::InterestAdded, None),
    };
    v1::SnapshotBegin {
        reason: reason.into(),
        offset: offset.0,
        reset_reason: reset_reason.unwrap_or_default().into(),
        session_ids: sessions.iter().map(ToString::to_string).collect(),
    }
}

/// A page of a snapshot as of this offset.
#[must_use]
pub fn snapshot_page(entries: Vec<SnapshotEntry>, offset: Offset) -> hub::SnapshotPage {
    hub::SnapshotPage {
        sessions: entries
            .into_iter()
            .map(|entry| session_snapshot(entry, offset))
            .collect(),
        attention_items: Vec::new(),
    }
}

fn session_snapshot(entry: SnapshotEntry, tail: Offset) -> hub::SessionSnapshot {
    let SnapshotEntry { snapshot, texts } = entry;
    let items_page_token = snapshot
        .more_below
        .map(|below| items_below(&snapshot.session.id, below, tail));
    hub::SessionSnapshot {
        session: Some(row(&snapshot.session)),
        items: snapshot.items.into_iter().map(|event| event.bytes).collect(),
        item_texts: texts.into_iter().map(item_text).collect(),
        items_page_token: items_page_token.unwrap_or_default(),
        asks: Vec::new(),
        queue: Vec::new(),
        plans: Vec::new(),
        workspace: None,
    }
}

fn item_text(text: ItemText) -> v1::ItemText {
    let ItemText {
        session,
        item_id,
        channel,
        text,
    } = text;
    let sent_channel = match channel {
        Channel::Message => v1::DeltaChannel::MessageText,
        Channel::Reasoning => v1::DeltaChannel::ReasoningText,
        Channel::ToolInput => v1::DeltaChannel::ToolInput,
        Channel::ToolOutput => v1::DeltaChannel::ToolOutput,
    };
    let at = text.as_ref().map_or(0, |text| text.len() as u64);
    // Fragments of text are strings, so what they add up to is one too; the door has seen to it.
    let utf8 = |text: bytes::Bytes| String::from_utf8_lossy(&text).into_owned();
    let state = match (text, channel) {
        (None, _) => State::Unavailable(v1::ItemTextUnavailable {}),
        (Some(text), Channel::Message) => State::MessageText(utf8(text)),
        (Some(text), Channel::Reasoning) => State::ReasoningText(utf8(text)),
        (Some(text), Channel::ToolInput) => State::ToolInput(text),
        (Some(text), Channel::ToolOutput) => State::ToolOutput(text),
    };
    v1::ItemText {
        session_id: session.to_string(),
        item_id: item_id.to_string(),
        channel: sent_channel.into(),
        at,
        state: Some(state),
    }
}
