//! Promises on snapshots.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, session_id};
use super::logs::assert_same_log;
use super::wishes::{ASK, MESSAGE, SESSION, TOOL, all_kinds_of_interests, content, family_tree};
use crate::event::{Families, Family, ItemKey, ItemStep, Kind};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::offset::Offset;
use crate::session::Lifecycle;
use crate::store::{EventRow, SessionSnapshot, Snapshot, SnapshotLimits};

use ItemStep::{Completed, Started};

/// Limits that stop nothing here.
pub(super) const WIDE: SnapshotLimits = SnapshotLimits {
    sessions: 1_000,
    items: 1_000,
    scan: 100_000,
    bytes: 1 << 30,
    row_bytes: 1 << 30,
    oldest: Offset::ZERO,
};

fn item<'a>(chain: &'a mut Chain, session: &str, kind: Kind, item: &str, step: Option<ItemStep>) -> &'a mut EventRow {
    let event = chain.event(session, kind);
    event.item = Some(ItemKey::of(item));
    event.item_step = step;
    event
}

async fn take(chain: &Chain, interests: &Interests, limits: SnapshotLimits) -> Snapshot {
    let snapshot = chain
        .store
        .snapshot(chain.log.key, interests.into(), limits)
        .await
        .unwrap();
    assert_same_log(&snapshot.log, &chain.log);
    for of in &snapshot.sessions {
        assert_eq!(of.session, chain.sessions[&of.session.id]);
    }
    snapshot
}

/// Fails unless the session's items are those at `offsets`, and the older ones lie below `more_below`.
fn assert_items(chain: &Chain, of: &SessionSnapshot, offsets: &[u64], more_below: Option<u64>) {
    let rows: Vec<_> = offsets.iter().map(|offset| &chain.history[*offset as usize]).collect();
    chain.assert_events(&of.items, &rows, &format!("items of {}", of.session.id));
    assert_eq!(of.more_below, more_below.map(Offset), "more of {}", of.session.id);
}

pub async fn an_empty_log_has_an_empty_snapshot(subject: Subject) {
    let chain = Chain::on(&subject.store, "t").await;
    let snapshot = take(&chain, &content(Selector::All), WIDE).await;
    assert!(snapshot.sessions.is_empty() && !snapshot.truncated);
}

pub async fn a_snapshot_holds_what_the_interests_see(subject: Subject) {
    let mut chain = family_tree(&subject.store).await;
    chain.session("root").lifecycle = Lifecycle::Closed;
    chain.session("mid").archived = true;
    chain.commit().await;
    for (what, interests) in all_kinds_of_interests() {
        let snapshot = take(&chain, &interests, WIDE).await;
        let mut expected: Vec<_> = chain
            .sessions
            .values()
            .filter(|session| interests.detail(&session.routing()).is_some())
            .collect();
        expected.sort_by_key(|session| std::cmp::Reverse(session.last_offset));
        let expected: Vec<_> = expected.into_iter().map(|session| &session.id).collect();
        let found: Vec<_> = snapshot.sessions.iter().map(|of| &of.session.id).collect();
        assert_eq!(found, expected, "{what}");
        assert!(!snapshot.truncated, "{what}");
    }
}

pub async fn a_snapshot_holds_the_most_recent_sessions_and_says_if_there_are_more(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for id in ["a", "b", "c", "d", "b"] {
        chain.event(id, SESSION);
    }
    chain.commit().await;
    for (sessions, expected, truncated) in [
        (1, &["b"][..], true),
        (3, &["b", "d", "c"], true),
        (4, &["b", "d", "c", "a"], false),
        (5, &["b", "d", "c", "a"], false),
    ] {
        let limits = SnapshotLimits { sessions, ..WIDE };
        let snapshot = take(&chain, &content(Selector::All), limits).await;
        let found: Vec<_> = snapshot.sessions.iter().map(|of| of.session.id.as_str()).collect();
        assert_eq!(found, expected);
        assert_eq!(snapshot.truncated, truncated, "at most {sessions}");
    }
}

pub async fn rows_of_a_snapshot_are_bounded_in_bytes(subject: Subject) {
    // More than a store reads at once.
    const SESSIONS: usize = 600;
    let mut chain = Chain::on(&subject.store, "t").await;
    for nth in 0..SESSIONS {
        let id = format!("session-{nth}");
        chain.session(&id).facts.other = vec![("config".into(), "x".repeat(4_000).into())];
        chain.event(&id, SESSION);
    }
    chain.commit().await;
    let row = chain.session("session-0").bytes();
    for (row_bytes, sessions) in [
        (0, 1),
        (2 * row - 1, 1),
        (2 * row, 2),
        (300 * row, 300),
        (SESSIONS * row, SESSIONS),
    ] {
        let limits = SnapshotLimits { row_bytes, ..WIDE };
        let snapshot = take(&chain, &content(Selector::All), limits).await;
        let newest = (0..SESSIONS).rev().map(|nth| session_id(&format!("session-{nth}")));
        let found = snapshot.sessions.iter().map(|of| of.session.id.clone());
        assert!(
            found.eq(newest.take(sessions)),
            "the newest {sessions} in {row_bytes} bytes"
        );
        assert_eq!(snapshot.truncated, sessions < SESSIONS, "{row_bytes} bytes");
    }
}

/// Session `a`, offsets 0 to 10, with an event of `b` between.
async fn items_of_a(subject: &Subject) -> Chain {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.event("a", SESSION); // 0: no item
    item(&mut chain, "a", MESSAGE, "done", Some(Started)); // 1: completed by 3
    item(&mut chain, "a", TOOL, "open", Some(Started)); // 2: open
    item(&mut chain, "a", MESSAGE, "done", Some(Completed)); // 3
    item(&mut chain, "b", MESSAGE, "done", Some(Completed)); // 4: another session's item of the same name
    item(&mut chain, "a", TOOL, "open", None); // 5: neither begins nor ends it
    item(&mut chain, "a", TOOL, "twice", Some(Completed)); // 6: replaced by 8
    item(&mut chain, "a", MESSAGE, "anew", Some(Completed)); // 7: begun again by 10
    item(&mut chain, "a", TOOL, "twice", Some(Completed)); // 8
    item(&mut chain, "a", ASK, "question", Some(Started)); // 9: open
    item(&mut chain, "a", MESSAGE, "anew", Some(Started)); // 10: open again
    chain.commit().await;
    chain
}

fn of<'a>(snapshot: &'a Snapshot, id: &str) -> &'a SessionSnapshot {
    let mut sessions = snapshot.sessions.iter();
    sessions.find(|of| of.session.id == session_id(id)).unwrap()
}

pub async fn an_item_is_there_once_at_its_newest(subject: Subject) {
    let chain = items_of_a(&subject).await;
    for detail in [Detail::Content, Detail::Live] {
        let interests = Interests::new(vec![Interest::new(Selector::All, detail)]).unwrap();
        let snapshot = take(&chain, &interests, WIDE).await;
        assert_items(&chain, of(&snapshot, "a"), &[2, 3, 8, 9, 10], None);
        assert_items(&chain, of(&snapshot, "b"), &[4], None);
    }
}

pub async fn at_summary_there_are_no_items(subject: Subject) {
    let chain = items_of_a(&subject).await;
    let interests = Interests::new(vec![
        Interest::new(Selector::All, Detail::Summary),
        Interest::new(Selector::Session(session_id("b")), Detail::Content),
    ])
    .unwrap();
    let snapshot = take(&chain, &interests, WIDE).await;
    assert_items(&chain, of(&snapshot, "a"), &[], None);
    assert_items(&chain, of(&snapshot, "b"), &[4], None);
}

pub async fn only_wanted_families_are_items(subject: Subject) {
    let chain = items_of_a(&subject).await;
    let mut tools = Interest::new(Selector::All, Detail::Content);
    tools.families = Families::NONE.with(Family::Tool);
    let snapshot = take(&chain, &Interests::new(vec![tools.clone()]).unwrap(), WIDE).await;
    assert_items(&chain, of(&snapshot, "a"), &[2, 8], None);
    assert_items(&chain, of(&snapshot, "b"), &[], None);
    let mut asks = Interest::new(Selector::All, Detail::Summary);
    asks.families = Families::NONE.with(Family::Ask);
    let snapshot = take(&chain, &Interests::new(vec![tools, asks]).unwrap(), WIDE).await;
    assert_items(&chain, of(&snapshot, "a"), &[2, 8, 9], None);
}

pub async fn the_newest_items_come_and_the_rest_lies_below(subject: Subject) {
    let chain = items_of_a(&subject).await;
    let interests = content(Selector::Session(session_id("a")));
    for (items, offsets, more_below) in [
        (1, &[10][..], Some(10)),
        (2, &[9, 10], Some(9)),
        (3, &[8, 9, 10], Some(8)),
        (4, &[3, 8, 9, 10], Some(3)),
        (5, &[2, 3, 8, 9, 10], Some(2)),
        (6, &[2, 3, 8, 9, 10], None),
    ] {
        let limits = SnapshotLimits { items, ..WIDE };
        let snapshot = take(&chain, &interests, limits).await;
        assert_items(&chain, of(&snapshot, "a"), offsets, more_below);
    }
    let mut chain = chain;
    item(&mut chain, "c", MESSAGE, "first and only", Some(Completed));
    chain.commit().await;
    let snapshot = take(&chain, &content(Selector::All), SnapshotLimits { items: 1, ..WIDE }).await;
    assert_items(&chain, of(&snapshot, "c"), &[11], None);
}

pub async fn a_walk_for_items_ends_where_it_must(subject: Subject) {
    let chain = items_of_a(&subject).await;
    let interests = content(Selector::Session(session_id("a")));
    // Session a has ten events; offset 4 is not among them and costs nothing.
    for (scan, offsets, more_below) in [
        (1, &[10][..], Some(10)),
        (3, &[8, 9, 10], Some(8)),
        (5, &[8, 9, 10], Some(6)),
        (6, &[8, 9, 10], Some(5)),
        (7, &[3, 8, 9, 10], Some(3)),
        (9, &[2, 3, 8, 9, 10], Some(1)),
        (10, &[2, 3, 8, 9, 10], None),
        (11, &[2, 3, 8, 9, 10], None),
    ] {
        let limits = SnapshotLimits { scan, ..WIDE };
        let snapshot = take(&chain, &interests, limits).await;
        assert_items(&chain, of(&snapshot, "a"), offsets, more_below);
    }
}

pub async fn bytes_are_shared_by_all_sessions_of_a_snapshot(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for (session, items, length) in [("last", 1, 100), ("middle", 3, 1_000), ("first", 2, 1_000)] {
        for nth in 0..items {
            let event = chain.event_of(session, MESSAGE, &vec![b'x'; length]);
            event.item = Some(ItemKey(nth));
            event.item_step = Some(Completed);
        }
    }
    chain.commit().await;
    // Offsets 0 | 1 2 3 | 4 5, taken from the end, each a little more than 1,000 bytes, the first 100: what follows one that did not
    // fit does not come, even if it is small enough.
    for (bytes, first, middle, last) in [
        (500, (&[][..], Some(6)), (&[][..], Some(4)), (&[][..], Some(1))),
        (1_500, (&[5], Some(5)), (&[], Some(4)), (&[], Some(1))),
        (2_500, (&[4, 5], None), (&[], Some(4)), (&[], Some(1))),
        (3_500, (&[4, 5], None), (&[3], Some(3)), (&[], Some(1))),
        (5_150, (&[4, 5], None), (&[1, 2, 3], None), (&[], Some(1))),
        (5_500, (&[4, 5], None), (&[1, 2, 3], None), (&[0], None)),
    ] {
        let snapshot = take(&chain, &content(Selector::All), SnapshotLimits { bytes, ..WIDE }).await;
        assert_eq!(snapshot.sessions.len(), 3, "sessions come whatever their items cost");
        for (id, (offsets, more_below)) in [("first", first), ("middle", middle), ("last", last)] {
            assert_items(&chain, of(&snapshot, id), offsets, more_below);
        }
    }
}
