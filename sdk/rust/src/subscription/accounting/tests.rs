use super::*;

fn subscribed(answer: Answer, from: u64) -> Frame {
    Frame::Subscribed(v1::Subscribed {
        answer: answer.into(),
        from,
        ..v1::Subscribed::default()
    })
}

fn event(offset: u64, session: &str, index: u64) -> v1::Event {
    v1::Event {
        offset,
        session_id: session.to_owned(),
        index,
        ..v1::Event::default()
    }
}

fn events(from: u64, until: u64, events: Vec<v1::Event>) -> Frame {
    Frame::Events(Events {
        from,
        until,
        events,
        ..Events::default()
    })
}

fn heartbeat(from: u64, until: u64) -> Frame {
    Frame::Heartbeat(v1::Heartbeat {
        from,
        until,
        tail: until,
    })
}

fn begin(reason: SnapshotReason, offset: u64) -> Frame {
    Frame::SnapshotBegin(v1::SnapshotBegin {
        reason: reason.into(),
        offset,
        ..v1::SnapshotBegin::default()
    })
}

fn page(session_id: &str, event_count: u64) -> Frame {
    let session = v1::Session {
        session_id: session_id.to_owned(),
        event_count,
        ..v1::Session::default()
    };
    Frame::SnapshotPage(v1::SnapshotPage {
        sessions: vec![v1::SessionSnapshot {
            session: Some(session),
            ..v1::SessionSnapshot::default()
        }],
        ..v1::SnapshotPage::default()
    })
}

/// Feeds the frames; all but the last must be right.
fn check(frames: Vec<Frame>) -> Result<Frame, Violation> {
    let mut accounting = Accounting::default();
    let mut frames = frames.into_iter().peekable();
    while let Some(mut frame) = frames.next() {
        let accepted = accounting.accept(&mut frame);
        if frames.peek().is_none() {
            return accepted.map(|()| frame);
        }
        accepted.unwrap();
    }
    panic!("no frames");
}

#[test]
fn batches_gaps_and_heartbeats_go_on_where_the_last_one_ended() {
    let gap = Frame::Gap(v1::Gap {
        from: 7,
        until: 9,
        ..v1::Gap::default()
    });
    let frames = vec![
        subscribed(Answer::Started, 5),
        events(5, 7, vec![event(6, "s", 0)]),
        gap,
        heartbeat(9, 9),
        heartbeat(9, 12),
        events(12, 13, vec![event(12, "s", 1)]),
    ];
    check(frames).unwrap();
}

#[test]
fn a_hole_and_a_repeat_are_found() {
    let start = || subscribed(Answer::Started, 5);
    assert_eq!(
        check(vec![start(), events(6, 7, vec![])]),
        Err(Violation::Torn { from: 6, place: 5 })
    );
    let twice = vec![start(), events(5, 7, vec![]), events(5, 7, vec![])];
    assert_eq!(check(twice), Err(Violation::Torn { from: 5, place: 7 }));
    assert_eq!(
        check(vec![start(), heartbeat(6, 6)]),
        Err(Violation::Torn { from: 6, place: 5 })
    );
    assert_eq!(
        check(vec![start(), heartbeat(5, 4)]),
        Err(Violation::Backwards { from: 5, until: 4 })
    );
}

#[test]
fn an_event_stands_in_its_batch_and_in_order() {
    let start = || subscribed(Answer::Started, 0);
    for offsets in [vec![2], vec![1, 0], vec![1, 1]] {
        let batch = offsets.iter().map(|offset| event(*offset, "s", *offset)).collect();
        let violation = check(vec![start(), events(0, 2, batch)]).unwrap_err();
        assert!(matches!(violation, Violation::Misplaced { .. }), "{offsets:?}");
    }
}

#[test]
fn the_first_frame_is_subscribed_and_only_the_first() {
    assert_eq!(check(vec![heartbeat(0, 0)]), Err(Violation::NotSubscribed));
    let twice = vec![subscribed(Answer::Started, 0), subscribed(Answer::Started, 0)];
    assert_eq!(check(twice), Err(Violation::SubscribedAgain));
}

#[test]
fn a_resumed_stream_may_skip_what_is_not_ours_and_never_repeats() {
    let mut accounting = Accounting::default();
    accounting.accept(&mut subscribed(Answer::Started, 0)).unwrap();
    accounting.accept(&mut events(0, 10, vec![])).unwrap();
    accounting.redialled();
    assert_eq!(accounting.accept(&mut heartbeat(10, 10)), Err(Violation::NotSubscribed));
    let before = accounting.accept(&mut subscribed(Answer::Resumed, 9));
    assert_eq!(before, Err(Violation::ResumedBefore { from: 9, place: 10 }));
    accounting.accept(&mut subscribed(Answer::Resumed, 12)).unwrap();
    assert_eq!(accounting.place(), Some(12));
}

#[test]
fn a_reset_moves_the_place_wherever_its_snapshot_is() {
    let frames = vec![
        subscribed(Answer::Started, 50),
        events(50, 60, vec![]),
        begin(SnapshotReason::Reset, 20),
        page("s", 3),
        Frame::SnapshotEnd(v1::SnapshotEnd::default()),
        events(20, 21, vec![event(20, "s", 0)]),
    ];
    let Ok(Frame::Events(batch)) = check(frames) else {
        panic!("not accepted");
    };
    assert_eq!(batch.events.len(), 1, "a reset's snapshot suppresses nothing");
}

#[test]
fn a_session_that_enters_leaves_the_place_and_its_earlier_events_are_dropped() {
    let mut accounting = Accounting::default();
    let mut accept = |mut frame: Frame| {
        accounting.accept(&mut frame).unwrap();
        frame
    };
    accept(subscribed(Answer::Started, 5));
    accept(begin(SnapshotReason::SessionEntered, 9));
    accept(page("late", 3));
    accept(Frame::SnapshotEnd(v1::SnapshotEnd::default()));
    let batch = vec![event(5, "late", 2), event(6, "other", 0), event(7, "late", 3)];
    let Frame::Events(batch) = accept(events(5, 8, batch)) else {
        panic!("another frame");
    };
    let offsets: Vec<u64> = batch.events.iter().map(|event| event.offset).collect();
    assert_eq!(offsets, [6, 7]);
    // Past the snapshot's offset there is nothing left to drop, and nothing is remembered.
    accept(heartbeat(8, 9));
    assert!(accounting.indexes.is_free());
}

#[test]
fn a_violation_changes_nothing() {
    let mut accounting = Accounting::default();
    accounting.accept(&mut subscribed(Answer::Started, 5)).unwrap();
    accounting.accept(&mut events(6, 9, vec![])).unwrap_err();
    assert_eq!(accounting.place(), Some(5));
}

mod indexes;
