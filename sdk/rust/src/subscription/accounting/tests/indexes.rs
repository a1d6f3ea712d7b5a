//! Sessions that come whole have one index after the other.

use super::*;
use crate::subscription::interest::{self, Detailed as _};

/// A stream of these interests that began at offset 0.
fn open(interests: &[v1::Interest]) -> Accounting {
    let mut accounting = Accounting::default();
    accounting.accept(&mut subscribed(Answer::Started, 0)).unwrap();
    accounting.hold(interests);
    accounting
}

/// Each event at its own offset, in one batch from where the stream is.
fn batch(accounting: &Accounting, sessions: &[(&str, u64)]) -> Frame {
    let from = accounting.place().unwrap();
    let all = (from..).zip(sessions);
    let all = all.map(|(offset, (session_id, index))| event(offset, session_id, *index));
    events(from, from + sessions.len() as u64, all.collect())
}

fn take(accounting: &mut Accounting, sessions: &[(&str, u64)]) -> Result<Vec<(String, u64)>, Violation> {
    let mut frame = batch(accounting, sessions);
    accounting.accept(&mut frame)?;
    let Frame::Events(batch) = frame else {
        panic!("another frame");
    };
    let given = batch.events.into_iter().map(|event| (event.session_id, event.index));
    Ok(given.collect())
}

fn skipped(session_id: &str, index: u64, next: u64) -> Violation {
    let session_id = session_id.to_owned();
    Violation::Skipped {
        session_id,
        index,
        next,
    }
}

/// A snapshot of one session that came in mid-stream.
fn enters(accounting: &mut Accounting, reason: SnapshotReason, session_id: &str, event_count: u64) {
    let offset = accounting.place().unwrap() + 5;
    let mut begin = begin(reason, offset);
    if let Frame::SnapshotBegin(begin) = &mut begin
        && reason == SnapshotReason::SessionEntered
    {
        begin.session_ids = vec![session_id.to_owned()];
    }
    for mut frame in [
        begin,
        page(session_id, event_count),
        Frame::SnapshotEnd(v1::SnapshotEnd::default()),
    ] {
        accounting.accept(&mut frame).unwrap();
    }
}

#[test]
fn a_hole_and_a_repeat_within_a_session_are_found() {
    let mut accounting = open(&[interest::all()]);
    // Where a session is when the stream comes to it, nobody knows.
    take(&mut accounting, &[("a", 7), ("b", 0), ("a", 8)]).unwrap();
    assert_eq!(take(&mut accounting, &[("b", 1), ("a", 10)]), Err(skipped("a", 10, 9)));
    assert_eq!(take(&mut accounting, &[("b", 1), ("b", 1)]), Err(skipped("b", 1, 2)));
    assert_eq!(
        take(&mut accounting, &[("b", 0)]),
        Err(skipped("b", 0, 1)),
        "a violation changed nothing"
    );
    take(&mut accounting, &[("b", 1), ("a", 9), ("", 0), ("", 0)]).unwrap();
}

#[test]
fn a_redial_that_is_resumed_goes_on_within_each_session() {
    for interests in [[interest::all()], [interest::session("a")], [interest::project("/p")]] {
        let mut accounting = open(&interests);
        take(&mut accounting, &[("a", 0)]).unwrap();
        accounting.redialled();
        accounting.accept(&mut subscribed(Answer::Resumed, 1)).unwrap();
        accounting.hold(&interests);
        assert_eq!(take(&mut accounting, &[("a", 2), ("a", 3)]), Err(skipped("a", 2, 1)));
    }
    let mut accounting = open(&[interest::all()]);
    take(&mut accounting, &[("a", 0)]).unwrap();
    assert_eq!(take(&mut accounting, &[("a", 2)]), Err(skipped("a", 2, 1)));
    accounting.redialled();
    accounting.accept(&mut subscribed(Answer::Reset, 1)).unwrap();
    take(&mut accounting, &[("a", 2)]).unwrap();
}

#[test]
fn what_comes_filtered_has_holes() {
    let filtered = v1::Interest {
        families: vec![v1::EventFamily::Turn.into()],
        ..interest::session("s")
    };
    for interests in [
        vec![interest::all().summary()],
        vec![filtered],
        vec![interest::all().summary(), interest::session("other")],
        vec![interest::all().summary(), interest::project("/p")],
    ] {
        let mut accounting = open(&interests);
        take(&mut accounting, &[("s", 0), ("s", 5)]).unwrap();
    }
    let mut accounting = open(&[interest::all().summary(), interest::session("s").live()]);
    assert_eq!(take(&mut accounting, &[("s", 0), ("s", 5)]), Err(skipped("s", 5, 1)));
}

#[test]
fn a_session_goes_on_where_its_snapshot_ends() {
    for reason in [SnapshotReason::InterestAdded, SnapshotReason::SessionEntered] {
        let mut accounting = open(&[interest::session("s"), interest::session("late")]);
        take(&mut accounting, &[("s", 0)]).unwrap();
        enters(&mut accounting, reason, "late", 3);
        let given = take(&mut accounting, &[("late", 1), ("s", 1), ("late", 2), ("late", 3)]).unwrap();
        assert_eq!(given, [("s".to_owned(), 1), ("late".to_owned(), 3)]);
        assert_eq!(take(&mut accounting, &[("late", 5)]), Err(skipped("late", 5, 4)));
    }
    // A start's and a reset's too.
    let mut accounting = open(&[interest::all()]);
    accounting.accept(&mut begin(SnapshotReason::Reset, 40)).unwrap();
    accounting.accept(&mut page("s", 3)).unwrap();
    assert_eq!(take(&mut accounting, &[("s", 4)]), Err(skipped("s", 4, 3)));
    take(&mut accounting, &[("s", 3)]).unwrap();
}

#[test]
fn what_a_snapshot_had_is_dropped_over_a_redial_too() {
    let mut accounting = open(&[interest::tree("s")]);
    enters(&mut accounting, SnapshotReason::SessionEntered, "late", 3);
    accounting.redialled();
    accounting.accept(&mut subscribed(Answer::Resumed, 0)).unwrap();
    assert_eq!(take(&mut accounting, &[("late", 2)]).unwrap(), []);
    assert_eq!(take(&mut accounting, &[("late", 3)]).unwrap(), [("late".to_owned(), 3)]);
}

#[test]
fn a_gap_that_names_a_session_moves_it_and_one_that_names_none_moves_all() {
    let mut accounting = open(&[interest::all()]);
    take(&mut accounting, &[("a", 0), ("b", 0)]).unwrap();
    let gap = |sessions: Vec<v1::SessionGap>, from| {
        Frame::Gap(v1::Gap {
            from,
            until: from + 1,
            sessions,
            ..v1::Gap::default()
        })
    };
    let named = v1::SessionGap {
        session_id: "a".to_owned(),
        from_index: 1,
        until_index: 6,
    };
    accounting.accept(&mut gap(vec![named], 2)).unwrap();
    assert_eq!(take(&mut accounting, &[("a", 7)]), Err(skipped("a", 7, 6)));
    assert_eq!(take(&mut accounting, &[("b", 2)]), Err(skipped("b", 2, 1)));
    take(&mut accounting, &[("a", 6), ("b", 1)]).unwrap();
    accounting.accept(&mut gap(Vec::new(), 5)).unwrap();
    take(&mut accounting, &[("a", 70), ("b", 80)]).unwrap();
}

#[test]
fn a_session_that_comes_back_brings_its_snapshot() {
    let back = |accounting: &mut Accounting| {
        take(accounting, &[("root", 0), ("child", 0)]).unwrap();
        // It was unlinked, went on for itself, and is linked again.
        take(accounting, &[("root", 1), ("child", 9)]).unwrap();
    };
    let mut accounting = open(&[interest::tree("root")]);
    back(&mut accounting);
    enters(&mut accounting, SnapshotReason::SessionEntered, "child", 12);
    assert_eq!(take(&mut accounting, &[("child", 11), ("child", 12)]).unwrap().len(), 1);

    let mut accounting = open(&[interest::tree("root")]);
    back(&mut accounting);
    let session_id = "child".to_owned();
    let unannounced = Err(Violation::Unannounced { session_id });
    assert_eq!(take(&mut accounting, &[("root", 2)]), unannounced);

    // In the middle of a batch it is a hole, and of the root always.
    let mut accounting = open(&[interest::tree("root")]);
    take(&mut accounting, &[("root", 0), ("child", 0)]).unwrap();
    assert_eq!(
        take(&mut accounting, &[("child", 9), ("root", 1)]),
        Err(skipped("child", 9, 1))
    );
    assert_eq!(take(&mut accounting, &[("root", 2)]), Err(skipped("root", 2, 1)));
}

#[test]
fn a_session_that_left_again_before_its_snapshot_is_checked_no_more() {
    let mut accounting = open(&[interest::project("/p")]);
    take(&mut accounting, &[("a", 0), ("b", 0)]).unwrap();
    let mut begin = begin(SnapshotReason::SessionEntered, 20);
    if let Frame::SnapshotBegin(begin) = &mut begin {
        begin.session_ids = vec!["a".to_owned()];
    }
    accounting.accept(&mut begin).unwrap();
    accounting
        .accept(&mut Frame::SnapshotEnd(v1::SnapshotEnd::default()))
        .unwrap();
    take(&mut accounting, &[("a", 5), ("b", 1)]).unwrap();
}

#[test]
fn other_interests_forget_only_what_was_not_held_all_the_time() {
    let board = |session_id| {
        [
            interest::all().summary(),
            interest::session(session_id),
            interest::session("s"),
        ]
    };
    let mut accounting = open(&board("a"));
    take(&mut accounting, &[("a", 0), ("s", 0)]).unwrap();
    accounting.hold(&board("b"));
    take(&mut accounting, &[("a", 5)]).unwrap();
    accounting.hold(&board("a"));
    take(&mut accounting, &[("a", 9)]).unwrap();
    assert_eq!(take(&mut accounting, &[("s", 2)]), Err(skipped("s", 2, 1)));
}

#[test]
fn an_event_that_cannot_be_read_is_no_hole() {
    let mut accounting = open(&[interest::all()]);
    take(&mut accounting, &[("a", 0), ("b", 0)]).unwrap();
    let mut frame = batch(&accounting, &[("a", 2), ("b", 1)]);
    if let Frame::Events(events) = &mut frame {
        events.undecodable.push(crate::subscription::UndecodableEvent {
            offset: None,
            session_id: Some("a".to_owned()),
            bytes: bytes::Bytes::new(),
        });
    }
    accounting.accept(&mut frame).unwrap();
    assert_eq!(take(&mut accounting, &[("b", 3)]), Err(skipped("b", 3, 2)));
    take(&mut accounting, &[("a", 7), ("b", 2)]).unwrap();
}

#[test]
fn however_many_sessions_come_the_memory_is_bounded() {
    let mut accounting = open(&[interest::all()]);
    for number in 0..30_000_u64 {
        take(&mut accounting, &[(&number.to_string(), 0)]).unwrap();
        assert!(accounting.indexes.held() <= 10_000);
    }
    // The newest are checked, and those that were forgotten are taken as they come.
    assert_eq!(take(&mut accounting, &[("29999", 2)]), Err(skipped("29999", 2, 1)));
    take(&mut accounting, &[("0", 2)]).unwrap();
}
