//! A snapshot cut to what frames take.
//!
//! Believe this: no page is larger than a frame, except one that holds a single session; and a single session is cut so far that it
//! fits a message all the same.

use crate::limits;
use crate::store::SessionSnapshot;
use crate::subscription::frame::SnapshotEntry;
use crate::window::deltas::ItemText;

/// Keeps the newest items that fit one frame, at least one; the others are read by `ListEvents`.
pub(super) fn fit(snapshot: &mut SessionSnapshot) {
    let mut bytes = 0;
    let kept = snapshot
        .items
        .iter()
        .rev()
        .take_while(|event| {
            bytes += event.bytes.len();
            bytes <= limits::SNAPSHOT_SESSION_BYTES_MAX || bytes == event.bytes.len()
        })
        .count();
    let left_out = snapshot.items.len() - kept;
    if left_out > 0 {
        snapshot.items.drain(..left_out);
        snapshot.more_below = snapshot.items.first().map(|event| event.offset);
    }
}

/// Texts of one session, as many as fit a frame beside its items; the others are unavailable here.
pub(super) fn fitting(texts: impl Iterator<Item = ItemText>) -> Vec<ItemText> {
    let mut bytes = 0;
    let fit = |mut text: ItemText| {
        bytes += text.text.as_ref().map_or(0, bytes::Bytes::len);
        text.text = text.text.filter(|_| bytes <= limits::SNAPSHOT_SESSION_BYTES_MAX);
        text
    };
    texts.map(fit).collect()
}

/// Sessions in pages that are not too large for a frame, at least one session each.
pub(super) fn pages(
    entries: impl Iterator<Item = SnapshotEntry>,
    bytes_max: usize,
) -> impl Iterator<Item = Vec<SnapshotEntry>> {
    let mut entries = entries.peekable();
    std::iter::from_fn(move || {
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = entries.next_if(|entry| {
            bytes += cost(entry);
            page.is_empty() || (bytes <= bytes_max && page.len() < limits::SNAPSHOT_PAGE_SESSIONS_MAX)
        }) {
            page.push(entry);
        }
        (!page.is_empty()).then_some(page)
    })
}

fn cost(entry: &SnapshotEntry) -> usize {
    // A row is mostly what was told of the session (a list of models may be long); 512 bytes is what the rest of it has.
    let facts = &entry.snapshot.session.facts.other;
    let facts: usize = facts.iter().map(|(_, value)| value.len()).sum();
    let items: usize = entry.snapshot.items.iter().map(|event| event.bytes.len()).sum();
    let texts: usize = entry
        .texts
        .iter()
        .filter_map(|text| text.text.as_ref())
        .map(bytes::Bytes::len)
        .sum();
    512 + facts + items + texts
}
