use std::cell::Cell;
use std::convert::Infallible;

use super::*;
use crate::event::Kind;
use crate::interest::{Detail, Selector};
use crate::offset::Epoch;
use crate::testing::{ASK, MESSAGE, event, interests, link_before, only, routing};
use crate::window::{Budget, Window};

const PLENTY: usize = 1 << 30;

fn window(budget: &Arc<Budget>, start: u64, kinds: impl IntoIterator<Item = Kind>) -> Window {
    let mut window = Window::new(Offset(start), link_before(Offset(start)), budget.clone());
    push(&mut window, kinds);
    window
}

fn push(window: &mut Window, kinds: impl IntoIterator<Item = Kind>) {
    for kind in kinds {
        let offset = window.end();
        window.push(event(offset.0, &routing("a"), kind));
    }
}

fn everything() -> Interests {
    interests([(Selector::All, Detail::Content)])
}

/// Reads `[from, until)`, and checks that it is what a read of one's own gives.
fn share(window: &mut Window, interests: &Interests, from: u64, until: u64) -> (Arc<Batch>, usize) {
    share_within(window, interests, from, until, PLENTY)
}

fn share_within(
    window: &mut Window,
    interests: &Interests,
    from: u64,
    until: u64,
    bytes_max: usize,
) -> (Arc<Batch>, usize) {
    let wish = Wish {
        interests,
        interests_hash: interests.hash(),
        from: Offset(from),
        until: Offset(until),
        bytes_max,
    };
    let (batch, visited) = window.share(wish).unwrap();
    let own = window.read(interests, Offset(from), batch.until, bytes_max).unwrap();
    let offsets = |events: &[Event]| events.iter().map(|event| event.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&batch.events), offsets(&own.events));
    assert_eq!((batch.until, batch.link), (own.until, own.link));
    (batch, visited)
}

#[test]
fn readers_of_the_same_share_one_batch_and_the_second_visits_nothing() {
    let mut window = window(&Budget::new(PLENTY), 3, [MESSAGE; 5]);
    let (first, visited) = share(&mut window, &everything(), 4, 8);
    assert_eq!((first.events.len(), visited), (4, 4));
    let (second, visited) = share(&mut window, &everything(), 4, 8);
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(visited, 0);
}

#[test]
fn whoever_asks_for_something_else_is_given_something_else() {
    let mut window = window(&Budget::new(PLENTY), 0, [MESSAGE, ASK, MESSAGE, ASK]);
    let asks = interests([(Selector::All, Detail::Summary)]);
    // The hash of others is 64 bits of a SHA-256: taken for equal, it must still not be believed.
    let (all, _) = share(&mut window, &everything(), 0, 4);
    let forged = Wish {
        interests: &asks,
        interests_hash: everything().hash(),
        from: Offset(0),
        until: Offset(4),
        bytes_max: PLENTY,
    };
    assert_eq!(window.share(forged).unwrap().0.events.len(), 2);
    for (wanted, from, until, bytes_max) in [
        (&asks, 0, 4, PLENTY),
        (&everything(), 1, 4, PLENTY),
        (&everything(), 0, 3, PLENTY),
        (&everything(), 0, 4, 1),
    ] {
        let (other, visited) = share_within(&mut window, wanted, from, until, bytes_max);
        assert!(!Arc::ptr_eq(&all, &other) && visited > 0, "{from} {until} {bytes_max}");
    }
}

#[test]
fn a_log_that_has_grown_gives_more_unless_the_frame_was_full() {
    let mut window = window(&Budget::new(PLENTY), 0, [MESSAGE; 4]);
    let bytes = window.read(&everything(), Offset(0), Offset(1), PLENTY).unwrap().events[0]
        .bytes
        .len();
    let (short, _) = share(&mut window, &everything(), 0, 4);
    let (full, _) = share_within(&mut window, &everything(), 0, 4, 2 * bytes);
    assert_eq!(full.until, Offset(2));
    push(&mut window, [MESSAGE]);
    assert!(!Arc::ptr_eq(&short, &share(&mut window, &everything(), 0, 5).0));
    assert!(Arc::ptr_eq(
        &full,
        &share_within(&mut window, &everything(), 0, 5, 2 * bytes).0
    ));
}

#[test]
fn readers_from_different_places_meet() {
    let frame = limits::FRAME_EVENTS_MAX as u64;
    let mut window = window(
        &Budget::new(PLENTY),
        0,
        std::iter::repeat_n(MESSAGE, 3 * limits::FRAME_EVENTS_MAX),
    );
    let (one, _) = share(&mut window, &everything(), 7, 3 * frame);
    let (other, _) = share(&mut window, &everything(), 300, 3 * frame);
    assert_eq!((one.until, other.until), (Offset(frame), Offset(frame)));
    let (one, _) = share(&mut window, &everything(), frame, 3 * frame);
    let (other, _) = share(&mut window, &everything(), frame, 3 * frame);
    assert_eq!(one.until, Offset(2 * frame));
    assert!(Arc::ptr_eq(&one, &other));
    // Who wants little of it looks as far as he may, in one go.
    let asks = interests([(Selector::All, Detail::Summary)]);
    let (few, visited) = share(&mut window, &asks, 7, 3 * frame);
    assert_eq!((few.until.0, visited as u64), (3 * frame, 3 * frame - 7));
}

#[test]
fn what_is_kept_is_bounded_counts_for_the_window_and_goes_before_any_event() {
    let budget = Budget::new(PLENTY);
    let mut window = window(&budget, 0, [MESSAGE; 100]);
    let events = budget.used_bytes();
    for from in 0..100 {
        share(&mut window, &everything(), from, 100);
    }
    assert_eq!(window.batches.kept.len(), limits::BATCHES_MAX);
    assert!(window.batches.bytes <= limits::BATCHES_BYTES_MAX);
    assert_eq!(budget.used_bytes(), events + window.batches.bytes);
    let mut large = filled(&budget, 64);
    for from in 0..64 {
        share(&mut large, &everything(), from, 64);
    }
    assert!(large.batches.bytes <= limits::BATCHES_BYTES_MAX && large.batches.kept.len() < limits::BATCHES_MAX);
    drop((window, large));
    assert_eq!(budget.used_bytes(), 0);
}

/// A window with events of 128 KiB each.
fn filled(budget: &Arc<Budget>, events: u64) -> Window {
    let mut window = Window::new(Offset(0), link_before(Offset(0)), budget.clone());
    for offset in 0..events {
        let mut large = event(offset, &routing("a"), MESSAGE);
        large.bytes = vec![0; 128 * 1024].into();
        window.push(large);
    }
    window
}

#[test]
fn batches_never_cost_an_event_its_place() {
    let measured = Budget::new(PLENTY);
    let full = window(&measured, 10, [MESSAGE; 10]);
    let budget = Budget::new(measured.used_bytes());
    drop(full);
    let mut window = window(&budget, 10, [MESSAGE; 10]);
    for from in 10..20 {
        share(&mut window, &everything(), from, 20);
    }
    assert_eq!(window.batches.kept.len(), 0, "there is no room for any");
    assert_eq!(window.start(), Offset(10));
    push(&mut window, [MESSAGE]);
    assert_eq!(window.start(), Offset(11));
    assert!(budget.used_bytes() <= measured.limit_bytes);
}

#[test]
fn what_was_trimmed_or_restarted_is_in_no_batch_any_more() {
    let mut window = window(&Budget::new(PLENTY), 0, [MESSAGE; 4]);
    share(&mut window, &everything(), 0, 4);
    window.trim(Offset(0));
    assert_eq!(window.batches.kept.len(), 1, "nothing was trimmed");
    window.trim(Offset(1));
    assert_eq!(window.batches.kept.len(), 0);
    share(&mut window, &everything(), 1, 4);
    window.restart(Offset(9), link_before(Offset(9)));
    assert_eq!(window.batches.kept.len(), 0);
}

#[test]
fn a_reader_of_one_session_keeps_nothing() {
    let mut window = window(&Budget::new(PLENTY), 0, [MESSAGE; 4]);
    let one = interests([(only("a"), Detail::Content)]);
    let (first, _) = share(&mut window, &one, 0, 4);
    let (second, visited) = share(&mut window, &one, 0, 4);
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!((visited, window.batches.kept.len()), (4, 0));
}

#[test]
fn a_message_is_made_once_for_all_who_have_the_same_beside_it() {
    let batch = Batch::new(Vec::new(), Offset(5), Link(5));
    let made = Made {
        from: Offset(3),
        place: Place {
            epoch: Epoch(1),
            next: Offset(5),
            link: Link(5),
            interests: 7,
            kind: crate::resume_token::Kind::Complete,
        },
        key: KeyId(1),
    };
    let count = Cell::new(0u8);
    let message = |made| {
        let make = || {
            count.set(count.get() + 1);
            Ok::<_, Infallible>(Bytes::from(vec![count.get()]))
        };
        batch.message(made, make).unwrap()[0]
    };
    assert_eq!([message(made), message(made)], [1, 1]);
    let rotated = Made { key: KeyId(2), ..made };
    let further_back = Made {
        from: Offset(2),
        ..made
    };
    let pending = Made {
        place: Place {
            kind: crate::resume_token::Kind::SnapshotPending,
            ..made.place
        },
        ..made
    };
    assert_eq!([rotated, further_back, pending].map(message), [2, 3, 4]);
    assert_eq!(message(made), 1);
}
