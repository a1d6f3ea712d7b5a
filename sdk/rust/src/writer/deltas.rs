//! Which deltas are worth keeping while they wait.
//!
//! The one thing to believe: a delta is never worth an event's place nor anybody's waiting. It is joined to its neighbour or
//! dropped; and one that follows a dropped one of its item is of use to nobody, so it is dropped too.

use std::collections::HashSet;

use bellboard_proto::v1::delta::Fragment;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{Delta, DeltaAppend, Event};
use prost::Message as _;

/// How many bytes of deltas may wait: about a minute of several agents' typing.
pub const DELTA_BYTES_MAX: usize = 1024 * 1024;

/// A joined delta does not grow beyond this, so that it stays a small part of a frame.
const JOINED_BYTES_MAX: usize = 32 * 1024;

/// What a waiting delta costs beside its text, so that many tiny ones are bounded too.
const OVERHEAD_BYTES: usize = 128;

/// How many items with dropped deltas are remembered. Past it useless deltas are sent, and the hub drops them.
const MUTED_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Deltas {
    bytes: usize,
    dropped: u64,
    /// Items of which a delta was dropped and whose completed event was not taken yet, by item id alone: two sessions with the
    /// same one cost a delta, never an event.
    muted: HashSet<String>,
}

impl Deltas {
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a delta: joins it to the last one that waits, gives it back with its size to be queued, or drops it.
    pub(super) fn take(
        &mut self,
        append: DeltaAppend,
        last: Option<(&mut DeltaAppend, &mut usize)>,
    ) -> Option<(DeltaAppend, usize)> {
        let item_id = append
            .delta
            .as_ref()
            .map(|delta| delta.item_id.as_str())
            .unwrap_or_default();
        if self.muted.contains(item_id) {
            self.dropped += 1;
            return None;
        }
        let text_bytes = append.delta.as_ref().map_or(0, fragment_len);
        if self.bytes + text_bytes <= DELTA_BYTES_MAX
            && let Some((last, last_bytes)) = last
            && join(last, &append)
        {
            *last_bytes += text_bytes;
            self.bytes += text_bytes;
            return None;
        }
        let bytes = append.encoded_len() + OVERHEAD_BYTES;
        if self.bytes + bytes > DELTA_BYTES_MAX {
            self.dropped += 1;
            if self.muted.len() < MUTED_MAX {
                self.muted.insert(item_id.to_owned());
            }
            return None;
        }
        self.bytes += bytes;
        Some((append, bytes))
    }

    pub(super) const fn sent(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// An event was taken: the completed event of an item ends its silence, whatever bears that id next.
    pub(super) fn event_taken(&mut self, event: &Event) {
        let completes = matches!(
            event.payload,
            Some(Payload::MessageCompleted(_) | Payload::ReasoningCompleted(_) | Payload::ToolCompleted(_))
        );
        if completes && !self.muted.is_empty() {
            self.muted.remove(&event.item_id);
        }
    }
}

/// Appends `next` to `last` if it continues the same channel of the same item.
fn join(last: &mut DeltaAppend, next: &DeltaAppend) -> bool {
    if last.session != next.session {
        return false;
    }
    let (Some(last), Some(next)) = (&mut last.delta, &next.delta) else {
        return false;
    };
    let joined = fragment_len(last) + fragment_len(next);
    let follows = last.at + fragment_len(last) as u64 == next.at;
    if last.item_id != next.item_id || !follows || joined > JOINED_BYTES_MAX {
        return false;
    }
    match (&mut last.fragment, &next.fragment) {
        (Some(Fragment::MessageText(last)), Some(Fragment::MessageText(next)))
        | (Some(Fragment::ReasoningText(last)), Some(Fragment::ReasoningText(next))) => last.push_str(next),
        (Some(Fragment::ToolInput(last)), Some(Fragment::ToolInput(next))) => {
            *last = [last.as_ref(), next.as_ref()].concat().into();
        }
        (Some(Fragment::ToolOutput(last)), Some(Fragment::ToolOutput(next))) if last.stream == next.stream => {
            last.content = [last.content.as_ref(), next.content.as_ref()].concat().into();
        }
        _ => return false,
    }
    true
}

fn fragment_len(delta: &Delta) -> usize {
    match &delta.fragment {
        Some(Fragment::MessageText(text) | Fragment::ReasoningText(text)) => text.len(),
        Some(Fragment::ToolInput(bytes)) => bytes.len(),
        Some(Fragment::ToolOutput(output)) => output.content.len(),
        None => 0,
    }
}
