//! One step at a time: the table at the head of the handoff.

use crate::handoff::{Handoff, Live, Source, Step, View};
use crate::interest::index::Reach;
use crate::offset::Offset;
use crate::testing::link_before;

/// A view of a log that reaches `tail`, of which everything before `due` is due, with a window from `window_start` on.
fn view(window_start: u64, due: u64, tail: u64, delta_due: u64) -> View {
    View {
        reach: Reach {
            tail: Offset(tail),
            link: link_before(Offset(tail)),
            due: Offset(due),
            delta_due,
        },
        oldest: Offset::ZERO,
        window_start: Offset(window_start),
    }
}

fn at(next: u64, live: Live) -> Handoff {
    Handoff::new(Offset(next), link_before(Offset(next)), live)
}

/// One that has been told that it caught up at `next`.
fn level(next: u64, live: Live) -> Handoff {
    let mut handoff = at(next, live);
    assert_eq!(handoff.step(view(0, next, next, 0)), Step::CaughtUp(Offset(next)));
    handoff
}

const fn read(source: Source, from: u64, until: u64) -> Step {
    Step::Read {
        source,
        from: Offset(from),
        until: Offset(until),
    }
}

#[test]
fn history_is_read_where_it_lies() {
    assert_eq!(at(3, Live::Unwanted).step(view(3, 8, 8, 0)), read(Source::Window, 3, 8));
    assert_eq!(at(3, Live::Unwanted).step(view(4, 8, 8, 0)), read(Source::Store, 3, 8));
}

#[test]
fn what_is_no_longer_kept_is_not_read() {
    let kept_from = |oldest| View {
        oldest: Offset(oldest),
        ..view(0, 8, 8, 2)
    };
    let mut handoff = level(3, Live::Wanted);
    assert_eq!(handoff.step(kept_from(3)), read(Source::Window, 3, 8));
    assert_eq!(handoff.step(kept_from(5)), Step::Gone(Offset(5)));
    let mut unconcerned = handoff.clone();
    unconcerned.has_read(Offset(5), link_before(Offset(5)));
    assert_eq!(unconcerned.step(kept_from(5)), read(Source::Window, 5, 8));
    assert_eq!(
        handoff.clone().step(kept_from(9)),
        Step::Gone(Offset(8)),
        "what is not announced is not told"
    );
    // Where something was lost a text may have begun or ended.
    handoff.has_texts(2);
    handoff.has_lost(Offset(8), link_before(Offset(8)));
    assert_eq!(handoff.tell(), (Offset(3), Offset(8)));
    assert_eq!(handoff.step(kept_from(8)), Step::CaughtUp(Offset(8)));
    assert_eq!(handoff.step(kept_from(8)), Step::SyncTexts);
    let due = Reach {
        due: Offset(3),
        ..kept_from(5).reach
    };
    let nothing_due = View {
        reach: due,
        ..kept_from(5)
    };
    let mut handoff = level(3, Live::Unwanted);
    assert_eq!(
        handoff.step(nothing_due),
        Step::Wait,
        "nothing is missed by whom nothing was due"
    );
}

#[test]
fn what_holds_nothing_for_the_subscriber_is_skipped_with_the_tails_link() {
    let mut handoff = level(5, Live::Unwanted);
    assert_eq!(
        handoff.step(view(9, 5, 9, 0)),
        Step::Wait,
        "even where the window has moved on"
    );
    assert_eq!(handoff.place(), (Offset(9), link_before(Offset(9))));
    // A resume token names what frames have accounted for: whoever comes back before the next one is accounted to from there.
    assert_eq!(handoff.told(), (Offset(5), link_before(Offset(5))));
    assert!(handoff.untold());
    assert_eq!(handoff.tell(), (Offset(5), Offset(9)));
    assert_eq!(handoff.told(), (Offset(9), link_before(Offset(9))));
    assert!(!handoff.untold());
    assert_eq!(handoff.tell(), (Offset(9), Offset(9)));
}

#[test]
fn being_level_is_told_once_and_again_after_falling_behind() {
    let mut handoff = level(5, Live::Unwanted);
    assert_eq!(handoff.step(view(0, 5, 5, 0)), Step::Wait);
    assert_eq!(handoff.step(view(7, 9, 9, 0)), Step::FellBehind(4));
    assert_eq!(handoff.step(view(7, 9, 9, 0)), read(Source::Store, 5, 9));
    handoff.has_read(Offset(7), link_before(Offset(7)));
    assert_eq!(handoff.step(view(7, 9, 9, 0)), read(Source::Window, 7, 9));
    handoff.has_read(Offset(9), link_before(Offset(9)));
    assert_eq!(handoff.step(view(7, 9, 9, 0)), Step::CaughtUp(Offset(9)));
    assert_eq!(handoff.step(view(7, 9, 9, 0)), Step::Wait);
}

#[test]
fn live_is_read_from_the_window_without_a_word_about_it() {
    let mut handoff = level(5, Live::Unwanted);
    assert_eq!(handoff.step(view(0, 6, 6, 0)), read(Source::Window, 5, 6));
    handoff.has_read(Offset(6), link_before(Offset(6)));
    assert_eq!(handoff.step(view(0, 6, 6, 0)), Step::Wait);
}

#[test]
fn texts_come_before_fragments_and_events_before_both() {
    let mut handoff = level(5, Live::Wanted);
    assert_eq!(handoff.step(view(0, 6, 6, 4)), read(Source::Window, 5, 6));
    handoff.has_read(Offset(6), link_before(Offset(6)));
    assert_eq!(handoff.step(view(0, 6, 6, 4)), Step::SyncTexts);
    assert_eq!(handoff.step(view(0, 6, 6, 4)), Step::SyncTexts, "until they were given");
    handoff.has_texts(3);
    assert_eq!(handoff.step(view(0, 6, 6, 4)), Step::ReadDeltas(3));
    handoff.has_deltas(4);
    assert_eq!(handoff.step(view(0, 6, 6, 4)), Step::Wait);
}

#[test]
fn whoever_misses_fragments_or_falls_behind_gets_the_texts_again() {
    let mut handoff = level(5, Live::Wanted);
    handoff.has_texts(3);
    handoff.lose_texts();
    assert_eq!(handoff.step(view(0, 5, 5, 4)), Step::SyncTexts);
    handoff.has_texts(4);
    assert_eq!(handoff.step(view(9, 9, 9, 5)), Step::FellBehind(4));
    handoff.has_read(Offset(9), link_before(Offset(9)));
    assert_eq!(handoff.step(view(9, 9, 9, 5)), Step::CaughtUp(Offset(9)));
    assert_eq!(handoff.step(view(9, 9, 9, 5)), Step::SyncTexts);
}

#[test]
fn whoever_does_not_want_fragments_is_never_given_any() {
    let mut handoff = level(5, Live::Unwanted);
    handoff.lose_texts();
    assert_eq!(handoff.step(view(0, 5, 5, 4)), Step::Wait);
}

#[test]
fn a_place_that_is_not_announced_yet_waits_for_it() {
    let mut handoff = at(5, Live::Wanted);
    assert_eq!(handoff.step(view(0, 3, 3, 1)), Step::CaughtUp(Offset(5)));
    assert_eq!(handoff.step(view(0, 3, 3, 1)), Step::Wait);
    assert_eq!(
        handoff.place(),
        (Offset(5), link_before(Offset(5))),
        "nothing is read twice"
    );
    assert_eq!(handoff.step(view(0, 3, 5, 1)), Step::SyncTexts);
}

#[test]
#[should_panic(expected = "read went backwards")]
fn a_reader_that_goes_backwards_is_noticed() {
    at(5, Live::Unwanted).has_read(Offset(4), link_before(Offset(4)));
}

#[test]
#[should_panic(expected = "fragments went backwards")]
fn fragments_that_go_backwards_are_noticed() {
    let mut handoff = at(5, Live::Wanted);
    handoff.has_texts(3);
    handoff.has_deltas(2);
}
