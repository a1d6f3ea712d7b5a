use std::sync::Arc;

use super::*;
use crate::event::{Families, Family, Kind};
use crate::interest::{Detail, Interest, Selector};
use crate::testing::{ASK, MESSAGE, OPENED, TOOL, event, interests, link_before, of_tenant, only, routing};

const PLENTY: usize = 1 << 30;

/// A window that begins at `start`, with one event of each (session, kind).
fn filled<'a>(start: u64, budget: &Arc<Budget>, events: impl IntoIterator<Item = (&'a str, Kind)>) -> Window {
    let mut window = Window::new(Offset(start), link_before(Offset(start)), budget.clone());
    for (offset, (session, kind)) in (start..).zip(events) {
        window.push(event(offset, &routing(session), kind));
    }
    window
}

fn offsets(found: &Found) -> Vec<u64> {
    found.events.iter().map(|event| event.offset.0).collect()
}

/// Reads everything of `[from, end)` page by page, and checks that the pages follow one another and tell the right links.
fn read_all(window: &Window, interests: &Interests, from: u64, bytes_max: usize) -> Vec<u64> {
    let mut next = Offset(from);
    let mut all = Vec::new();
    while next < window.end() {
        let found = window.read(interests, next, window.end(), bytes_max).unwrap();
        assert!(found.until > next, "a read gets further");
        assert_eq!(found.link, link_before(found.until), "the link before {}", found.until);
        let bytes: usize = found.events.iter().map(|event| event.bytes.len()).sum();
        assert!(bytes <= bytes_max || found.events.len() == 1, "{bytes} bytes");
        assert!(found.events.len() <= limits::FRAME_EVENTS_MAX);
        all.extend(offsets(&found));
        next = found.until;
    }
    all
}

#[test]
fn it_is_a_suffix_of_the_log_without_holes() {
    let mut window = filled(5, &Budget::new(PLENTY), [("a", MESSAGE), ("b", TOOL), ("a", ASK)]);
    assert_eq!((window.start(), window.end()), (Offset(5), Offset(8)));
    for offset in 5..=8 {
        assert_eq!(window.link_before(Offset(offset)), Some(link_before(Offset(offset))));
    }
    assert_eq!(window.link_before(Offset(4)), None);
    assert_eq!(window.link_before(Offset(9)), None);
    window.trim(Offset(7));
    assert_eq!((window.start(), window.end()), (Offset(7), Offset(8)));
    assert_eq!(window.link_before(Offset(7)), Some(link_before(Offset(7))));
    assert_eq!(window.link_before(Offset(6)), None);
    window.restart(Offset(20), link_before(Offset(20)));
    assert_eq!((window.start(), window.end()), (Offset(20), Offset(20)));
    assert_eq!(window.link_before(Offset(20)), Some(link_before(Offset(20))));
    window.push(event(20, &routing("a"), MESSAGE));
    assert_eq!(
        read_all(&window, &interests([(only("a"), Detail::Content)]), 20, PLENTY),
        [20]
    );
}

#[test]
#[should_panic(expected = "window is at 1, not at 2")]
fn a_hole_is_a_broken_promise_and_is_noticed() {
    let mut window = filled(0, &Budget::new(PLENTY), [("a", MESSAGE)]);
    window.push(event(2, &routing("a"), MESSAGE));
}

#[test]
fn a_read_before_the_window_is_sent_elsewhere() {
    let window = filled(5, &Budget::new(PLENTY), [("a", MESSAGE)]);
    for selector in [Selector::All, only("a")] {
        let wanted = interests([(selector, Detail::Content)]);
        assert!(window.read(&wanted, Offset(4), Offset(6), PLENTY).is_none());
        let at_tail = window.read(&wanted, Offset(6), Offset(6), PLENTY).unwrap();
        assert!(at_tail.events.is_empty());
        assert_eq!((at_tail.until, at_tail.link), (Offset(6), link_before(Offset(6))));
    }
}

#[test]
fn a_read_looks_no_further_than_it_is_told() {
    let window = filled(0, &Budget::new(PLENTY), [("a", MESSAGE); 5]);
    for selector in [Selector::All, only("a")] {
        let found = window
            .read(&interests([(selector, Detail::Content)]), Offset(1), Offset(3), PLENTY)
            .unwrap();
        assert_eq!(offsets(&found), [1, 2]);
        assert_eq!((found.until, found.link), (Offset(3), link_before(Offset(3))));
    }
}

#[test]
fn by_session_and_by_offset_a_read_finds_the_same() {
    let budget = Budget::new(PLENTY);
    let sessions = ["a", "b", "c", "a", "a", "c", "b"];
    let kinds = [MESSAGE, TOOL, ASK, OPENED, MESSAGE];
    let window = filled(3, &budget, (0..200).map(|nth| (sessions[nth % 7], kinds[nth * 3 % 5])));
    let mut asks_of_b = Interest::new(only("b"), Detail::Content);
    asks_of_b.families = Families::NONE.with(Family::Ask);
    let narrow = Interests::new(vec![Interest::new(only("a"), Detail::Summary), asks_of_b]).unwrap();
    // The same wish, with a selector beside it that selects nothing but forbids reading by session.
    let mut wide: Vec<_> = narrow.iter().cloned().collect();
    wide.push(Interest::new(Selector::Vendor("nobody".into()), Detail::Content));
    let wide = Interests::new(wide).unwrap();
    for (from, bytes_max) in [(3, PLENTY), (3, 1), (3, 11), (50, 20), (202, 1)] {
        let expected: Vec<_> = (from..203)
            .filter(|offset| {
                let nth = (*offset - 3) as usize;
                let family = kinds[nth * 3 % 5].family().unwrap();
                narrow.want(&routing(sessions[nth % 7]), family)
            })
            .collect();
        assert!(!expected.is_empty() || from > 50);
        assert_eq!(read_all(&window, &narrow, from, bytes_max), expected, "by session");
        assert_eq!(read_all(&window, &wide, from, bytes_max), expected, "by offset");
    }
}

#[test]
fn a_wanted_event_behind_very_many_unwanted_ones_of_its_session_is_found() {
    let most = limits::FRAME_EVENTS_MAX;
    let talk = std::iter::repeat_n(("a", MESSAGE), 2 * most + 7);
    let window = filled(0, &Budget::new(PLENTY), talk.chain([("a", ASK), ("b", MESSAGE)]));
    let summary = interests([(only("a"), Detail::Summary)]);
    assert_eq!(read_all(&window, &summary, 0, PLENTY), [2 * most as u64 + 7]);
}

#[test]
fn a_frame_is_full_at_its_bound_of_events_and_the_next_one_goes_on() {
    let most = limits::FRAME_EVENTS_MAX;
    let window = filled(0, &Budget::new(PLENTY), std::iter::repeat_n(("a", MESSAGE), most + 1));
    for selector in [Selector::All, only("a")] {
        let wanted = interests([(selector, Detail::Content)]);
        let found = window.read(&wanted, Offset(0), window.end(), PLENTY).unwrap();
        assert_eq!((found.events.len(), found.until), (most, Offset(most as u64)));
        assert_eq!(read_all(&window, &wanted, 0, PLENTY).len(), most + 1);
    }
}

#[test]
fn a_reader_of_one_session_visits_only_its_slots() {
    let events = (0..1000).map(|nth| (if nth % 100 == 0 { "mine" } else { "other" }, MESSAGE));
    let window = filled(0, &Budget::new(PLENTY), events);
    let found = window
        .read(
            &interests([(only("mine"), Detail::Content)]),
            Offset(0),
            window.end(),
            PLENTY,
        )
        .unwrap();
    assert_eq!((found.events.len(), found.visited), (10, 10));
}

#[test]
fn a_read_that_finds_nothing_stops_after_so_many_slots_and_says_exactly_where() {
    let most = limits::SCAN_EVENTS_MAX;
    let talk = std::iter::repeat_n(("a", MESSAGE), most + 5);
    let window = filled(3, &Budget::new(PLENTY), talk.chain([("a", ASK)]));
    let asks = interests([(Selector::All, Detail::Summary)]);
    let found = window.read(&asks, Offset(4), window.end(), PLENTY).unwrap();
    let stop = Offset(4 + most as u64);
    assert_eq!((found.events.len(), found.visited), (0, most));
    assert_eq!(
        (found.until, found.link),
        (stop, link_before(stop)),
        "nothing is passed unseen"
    );
    let found = window.read(&asks, found.until, window.end(), PLENTY).unwrap();
    assert_eq!(offsets(&found), [3 + most as u64 + 5]);
    assert_eq!((found.until, found.link), (window.end(), link_before(window.end())));
}

#[test]
fn what_was_trimmed_is_gone_from_the_postings_too() {
    let mut window = filled(
        0,
        &Budget::new(PLENTY),
        [("a", MESSAGE), ("b", MESSAGE), ("a", MESSAGE)],
    );
    window.trim(Offset(2));
    assert_eq!(window.postings.len(), 1, "a session without a slot costs nothing");
    assert_eq!(
        read_all(&window, &interests([(only("a"), Detail::Content)]), 2, PLENTY),
        [2]
    );
    window.trim(Offset(99));
    assert_eq!((window.start(), window.postings.len()), (Offset(3), 0));
}

#[test]
fn the_budget_bounds_the_bytes_and_the_newest_stay() {
    let slot = cost(&event(10, &routing("a"), MESSAGE));
    let budget = Budget::new(5 * slot);
    let window = filled(10, &budget, [("a", MESSAGE); 20]);
    assert_eq!((window.start(), window.end()), (Offset(25), Offset(30)));
    assert_eq!(budget.used_bytes(), 5 * slot);
    drop(window);
    assert_eq!(budget.used_bytes(), 0, "a window that goes gives its bytes back");
}

#[test]
fn a_busy_tenant_never_costs_a_quiet_one_its_window() {
    let slot = cost(&event(10, &routing("a"), MESSAGE));
    let budget = Budget::new(10 * slot);
    let quiet = filled(10, &budget, [("a", MESSAGE); 3]);
    let busy = filled(10, &budget, [("a", MESSAGE); 80]);
    assert_eq!(quiet.end().0 - quiet.start().0, 3, "all of the quiet one");
    assert_eq!(busy.end().0 - busy.start().0, 7, "the rest is the busy one's");
}

#[test]
fn who_came_first_gives_way_to_who_comes_later() {
    let slot = cost(&event(10, &routing("a"), MESSAGE));
    let budget = Budget::new(40 * slot);
    let windows = [(); 4].map(|()| {
        let window = budget.window(Offset(10), link_before(Offset(10)));
        for offset in 10..110 {
            window.lock().unwrap().push(event(offset, &routing("a"), MESSAGE));
            budget.relieve();
            assert!(budget.used_bytes() <= 40 * slot, "the bound holds at every moment");
        }
        window
    });
    for window in &windows {
        let window = window.lock().unwrap();
        let held = window.end().0 - window.start().0;
        assert!((9..=14).contains(&held), "{held} is no fair share");
    }
}

#[test]
fn an_event_larger_than_the_whole_budget_does_not_stay_and_breaks_nothing() {
    let mut window = filled(0, &Budget::new(10), [("a", MESSAGE)]);
    assert_eq!((window.start(), window.end()), (Offset(1), Offset(1)));
    window.push(event(1, &routing("a"), MESSAGE));
    assert_eq!(window.link_before(Offset(2)), Some(link_before(Offset(2))));
}

#[test]
fn what_has_no_session_is_found_by_session_and_by_offset_alike_and_is_trimmed_with_the_rest() {
    let mut window = Window::new(Offset(0), link_before(Offset(0)), Budget::new(PLENTY));
    let held: [&[&str]; 5] = [&["a"], &["b"], &[], &["a", "b"], &["c"]];
    for offset in 0..60_u64 {
        window.push(match offset % 3 {
            0 => of_tenant(offset, held[offset as usize / 3 % 5]),
            1 => event(offset, &routing("a"), MESSAGE),
            _ => event(offset, &routing("b"), MESSAGE),
        });
    }
    let narrow = interests([(only("a"), Detail::Content)]);
    let nobody = Selector::Vendor("nobody".into());
    let wide = interests([(only("a"), Detail::Content), (nobody, Detail::Content)]);
    let wanted = |offset: &u64| match offset % 3 {
        0 => [0, 3].contains(&(offset / 3 % 5)),
        rest => rest == 1,
    };
    let expected: Vec<u64> = (0..60).filter(wanted).collect();
    for bytes_max in [PLENTY, 1, 25] {
        assert_eq!(read_all(&window, &narrow, 0, bytes_max), expected, "by session");
        assert_eq!(read_all(&window, &wide, 0, bytes_max), expected, "by offset");
    }
    assert_eq!(
        read_all(&window, &interests([(only("a"), Detail::Summary)]), 0, PLENTY),
        [0; 0]
    );
    window.trim(Offset(31));
    let left: Vec<u64> = (31..60).filter(wanted).collect();
    assert_eq!(read_all(&window, &narrow, 31, PLENTY), left);
    assert_eq!(window.of_tenant.len(), 9);
    window.trim(Offset(60));
    assert!(window.of_tenant.is_empty() && window.bytes == 0);
}
