//! What a read of fragments looks at.

use super::*;

#[test]
fn of_a_thousand_readers_of_one_session_each_only_receivers_visit_a_fragment() {
    let mut window = DeltaWindow::default();
    let names: Vec<String> = (0..1000).map(|nth| format!("s{nth}")).collect();
    for (offset, name) in (0..).zip(&names) {
        window.observe(&started(offset, name, "m"));
    }
    // Every seventh session speaks, twice; two readers look at the one in the middle.
    let speaks = |nth: usize| nth.is_multiple_of(7);
    for (nth, name) in names.iter().enumerate().filter(|(nth, _)| speaks(*nth)) {
        window.push(&delta(name, "m", 0, "he"), Offset(1000)).unwrap();
        window.push(&delta(name, "m", 2, "llo"), Offset(1000)).unwrap();
        assert_eq!(window.end() % 2, 0, "session {nth}");
    }
    let mut visited = 0;
    for (nth, name) in names.iter().enumerate() {
        let found = window
            .read(&interests([(only(name), Detail::Live)]), 0, Offset(1000))
            .unwrap();
        let receives = if speaks(nth) { 2 } else { 0 };
        assert_eq!((found.messages.len(), found.visited), (receives, receives), "{name}");
        assert_eq!(found.until, window.end(), "and passes all the others");
        visited += found.visited;
    }
    assert_eq!(
        visited as u64,
        window.end(),
        "each fragment once, for each has one receiver"
    );
    let all = window.read(&live(), 0, Offset(1000)).unwrap();
    assert_eq!(all.visited as u64, window.end(), "who wants all looks at all");
}

#[test]
fn by_session_and_by_number_a_read_finds_the_same() {
    let mut window = DeltaWindow::default();
    let sessions = ["a", "b", "c"];
    for (offset, id) in (0..).zip(sessions) {
        window.observe(&started(offset, id, "m"));
    }
    for nth in 0..60u64 {
        let id = sessions[(nth * nth % 7 % 3) as usize];
        let at = window.texts_of(&session(id), ItemKey::of("m"));
        let at = at.first().map_or(0, |text| text.text.as_ref().unwrap().len());
        window
            .push(&delta(id, "m", at as u64, "."), Offset(3 + nth / 10))
            .unwrap();
    }
    let narrow = interests([(only("a"), Detail::Live), (only("c"), Detail::Live)]);
    // The same wish, with a selector beside it that selects nothing but forbids reading by session.
    let nobody = Selector::Vendor("nobody".into());
    let wide = interests([
        (only("a"), Detail::Live),
        (only("c"), Detail::Live),
        (nobody, Detail::Live),
    ]);
    for from in [0, 1, 17, 59, 60] {
        for next in 3..10 {
            let one = window.read(&narrow, from, Offset(next)).unwrap();
            let other = window.read(&wide, from, Offset(next)).unwrap();
            assert_eq!((messages(&one), one.until), (messages(&other), other.until));
            assert_eq!(one.visited, one.messages.len());
        }
    }
}

#[test]
fn one_read_looks_at_so_many_fragments_and_the_next_one_goes_on() {
    let mut window = open();
    window.observe(&started(1, "b", "n"));
    let most = limits::SCAN_EVENTS_MAX as u64;
    for at in 0..most + 10 {
        window.push(&delta("b", "n", at, "."), Offset(2)).unwrap();
    }
    window.push(&delta("a", "m", 0, "mine"), Offset(2)).unwrap();
    let nothing_of_b = interests([(Selector::Vendor("x".into()), Detail::Live), (only("a"), Detail::Live)]);
    let found = window.read(&nothing_of_b, 0, Offset(2)).unwrap();
    assert_eq!(
        (found.messages.len(), found.visited as u64, found.until),
        (0, most, most)
    );
    let found = window.read(&nothing_of_b, most, Offset(2)).unwrap();
    assert_eq!((messages(&found), found.until), (vec!["m@0:mine"], most + 11));
    let mut tools = crate::interest::Interest::new(only("b"), Detail::Live);
    tools.families = crate::event::Families::NONE.with(Family::Tool);
    let tools = Interests::new(vec![tools]).unwrap();
    let found = window.read(&tools, 0, Offset(2)).unwrap();
    assert_eq!((found.visited as u64, found.until), (most, most), "by session too");
}

#[test]
fn what_was_let_go_is_gone_from_the_postings_too() {
    let mut window = open();
    window.observe(&started(1, "b", "n"));
    window.push(&delta("b", "n", 0, "x"), Offset(2)).unwrap();
    let big = |at| Delta {
        message: Bytes::from(vec![b'x'; limits::DELTA_WINDOW_BYTES_MAX / 2 + 1]),
        ..delta("a", "m", at, ".")
    };
    (0..3).for_each(|at| drop(window.push(&big(at), Offset(2)).unwrap()));
    assert_eq!(window.postings.len(), 1, "a session without a fragment costs nothing");
    assert_eq!(window.postings[&session("a")], [3]);
}
