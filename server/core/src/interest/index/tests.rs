use super::*;
use crate::event::{Event, Kind};
use crate::interest::Interest;
use crate::testing::{
    ASK, MESSAGE, OPENED, TOOL, event, interests, link_before, moved_to, of_tenant, only, routing, session,
};

fn index(tail: u64) -> InterestIndex {
    InterestIndex::new(Offset(tail), link_before(Offset(tail)))
}

fn due(event: &Event) -> Due<'_> {
    Due {
        of: &event.of,
        family: event.family,
        offset: event.offset,
    }
}

/// Publishes events as one batch.
fn publish(index: &mut InterestIndex, events: &[Event]) {
    let tail = events.last().unwrap().offset.next();
    index.publish(events.iter().map(due), tail, link_before(tail));
}

fn batch<const N: usize>(first: u64, events: [(&str, Kind); N]) -> Vec<Event> {
    (first..)
        .zip(events)
        .map(|(offset, (id, kind))| event(offset, &routing(id), kind))
        .collect()
}

#[test]
fn a_seat_counts_all_before_its_entry_as_due() {
    let mut index = index(7);
    let (_, seat) = index.enter(&interests([(only("a"), Detail::Content)]));
    let reach = index.reach(&seat);
    assert_eq!((reach.tail, reach.link), (Offset(7), link_before(Offset(7))));
    assert_eq!((reach.due, reach.delta_due), (Offset(7), 0));
}

#[test]
fn whoever_receives_is_stamped_behind_its_newest_event_and_woken_once_a_batch() {
    let mut index = index(0);
    let (_, a) = index.enter(&interests([(only("a"), Detail::Content)]));
    let (_, both) = index.enter(&interests([(only("a"), Detail::Content), (only("b"), Detail::Summary)]));
    let (_, none) = index.enter(&interests([(only("c"), Detail::Live)]));
    publish(
        &mut index,
        &batch(0, [("a", MESSAGE), ("a", TOOL), ("b", ASK), ("b", MESSAGE)]),
    );
    let dues = [&a, &both, &none].map(|seat| index.reach(seat).due.0);
    assert_eq!(dues, [2, 3, 0], "one past the newest wanted event");
    assert_eq!([&a, &both, &none].map(|seat| seat.wakes()), [1, 1, 0]);
    assert_eq!(index.reach(&none).tail, Offset(4), "the tail is everybody's");
}

#[test]
fn every_selector_finds_its_events_and_no_others() {
    let id = |text| session(text);
    let child = Arc::new(Routing {
        ancestors: [id("mid"), id("root")].into(),
        ..(*routing("child")).clone()
    });
    for (selector, wakes) in [
        (Selector::All, 1),
        (Selector::Project("/p".into()), 1),
        (Selector::Project("/q".into()), 0),
        (Selector::Vendor("v".into()), 1),
        (Selector::Vendor("w".into()), 0),
        (Selector::Session(id("child")), 1),
        (Selector::Session(id("root")), 0),
        (Selector::Subtree(id("child")), 1),
        (Selector::Subtree(id("mid")), 1),
        (Selector::Subtree(id("root")), 1),
        (Selector::Subtree(id("leaf")), 0),
    ] {
        let mut index = index(0);
        let (_, seat) = index.enter(&interests([(selector.clone(), Detail::Live)]));
        publish(&mut index, &[event(0, &child, MESSAGE)]);
        assert_eq!(seat.wakes(), wakes, "{selector:?}, by an event");
        index.publish_delta(&child, Family::Message, 1);
        assert_eq!(seat.wakes(), 2 * wakes, "{selector:?}, by a delta");
    }
}

#[test]
fn who_is_found_by_several_interests_is_woken_once() {
    let mut index = index(0);
    let (_, seat) = index.enter(&interests([
        (Selector::All, Detail::Live),
        (only("a"), Detail::Live),
        (Selector::Project("/p".into()), Detail::Content),
    ]));
    publish(&mut index, &batch(0, [("a", MESSAGE), ("a", MESSAGE)]));
    assert_eq!(seat.wakes(), 1);
    index.publish_delta(&routing("a"), Family::Message, 1);
    assert_eq!(seat.wakes(), 2);
}

#[test]
fn families_and_detail_decide_who_is_woken() {
    let mut index = index(0);
    let mut tools = Interest::new(Selector::All, Detail::Live);
    tools.families = Families::NONE.with(Family::Tool);
    let (_, tools) = index.enter(&Interests::new(vec![tools]).unwrap());
    let (_, summary) = index.enter(&interests([(Selector::All, Detail::Summary)]));
    let (_, content) = index.enter(&interests([(Selector::All, Detail::Content)]));
    let seats = [tools, summary, content];
    publish(&mut index, &batch(0, [("a", MESSAGE)]));
    assert_eq!(seats.each_ref().map(|seat| seat.wakes()), [0, 0, 1]);
    publish(&mut index, &batch(1, [("a", TOOL)]));
    assert_eq!(seats.each_ref().map(|seat| seat.wakes()), [1, 0, 2]);
    publish(&mut index, &batch(2, [("a", ASK)]));
    assert_eq!(seats.each_ref().map(|seat| seat.wakes()), [1, 1, 3]);
    index.publish_delta(&routing("a"), Family::Message, 1);
    index.publish_delta(&routing("a"), Family::Tool, 2);
    assert_eq!(
        seats.each_ref().map(|seat| seat.wakes()),
        [2, 1, 3],
        "deltas are for LIVE only"
    );
    assert_eq!(seats.each_ref().map(|seat| index.reach(seat).delta_due), [2, 0, 0]);
}

#[test]
fn events_that_nobody_saw_are_due_to_everybody() {
    let mut index = index(3);
    let (_, seat) = index.enter(&interests([(only("a"), Detail::Summary)]));
    index.publish_unseen(Offset(9), link_before(Offset(9)));
    assert_eq!(index.reach(&seat).due, Offset(9));
    assert_eq!(index.tail(), (Offset(9), link_before(Offset(9))));
    assert_eq!(seat.wakes(), 1);
}

#[test]
fn who_left_is_not_woken_and_leaves_nothing_behind() {
    let mut index = index(0);
    let wanted = interests([
        (Selector::All, Detail::Live),
        (Selector::Project("/p".into()), Detail::Live),
        (Selector::Vendor("v".into()), Detail::Live),
        (only("a"), Detail::Live),
        (Selector::Subtree(session("a")), Detail::Live),
    ]);
    let (first, gone) = index.enter(&wanted);
    let (second, stays) = index.enter(&wanted);
    assert_eq!(index.len(), 2);
    index.leave(first, &wanted);
    publish(&mut index, &batch(0, [("a", MESSAGE)]));
    assert_eq!((gone.wakes(), stays.wakes()), (0, 1));
    index.leave(second, &wanted);
    let lists = index.projects.len() + index.vendors.len() + index.sessions.len() + index.subtrees.len();
    assert!(
        index.is_empty() && index.all.is_empty() && lists == 0,
        "nothing is kept for them"
    );
}

#[test]
fn an_events_cost_is_its_receivers_not_the_connected() {
    let mut index = index(0);
    let seats: Vec<_> = (0..1000)
        .map(|nth| index.enter(&interests([(only(&format!("s{nth}")), Detail::Content)])).1)
        .collect();
    publish(&mut index, &batch(0, [("s7", MESSAGE)]));
    publish(
        &mut index,
        &batch(1, [("s7", MESSAGE), ("s8", MESSAGE), ("nobody", MESSAGE)]),
    );
    let wakes: u64 = seats.iter().map(|seat| seat.wakes()).sum();
    assert_eq!((wakes, seats[7].wakes(), seats[8].wakes()), (3, 2, 1));
}

#[tokio::test]
async fn a_wake_up_that_nobody_waited_for_is_kept_and_several_are_one() {
    use futures_util::FutureExt as _;
    let seat = Seat::default();
    assert!(seat.woken().now_or_never().is_none());
    seat.wake();
    seat.wake();
    assert!(seat.woken().now_or_never().is_some());
    assert!(seat.woken().now_or_never().is_none());
}

#[test]
#[should_panic(expected = "tail moved backwards")]
fn a_tail_that_moves_backwards_is_a_broken_promise_and_is_noticed() {
    index(5).publish([], Offset(4), link_before(Offset(4)));
}

#[test]
fn a_move_wakes_those_it_leaves_and_those_it_comes_to_whatever_families_they_want() {
    let mut index = index(0);
    let project = |name: &str, families: Families| {
        let interest = Interest {
            families,
            ..Interest::new(Selector::Project(name.into()), Detail::Content)
        };
        Interests::new(vec![interest]).unwrap()
    };
    let tools = Families::NONE.with(Family::Tool);
    let all_tools = Interest {
        families: tools,
        ..Interest::new(Selector::All, Detail::Content)
    };
    let wanted = [
        (project("/p", Families::ALL), 1),
        (project("/q", tools), 1),
        (project("/elsewhere", Families::ALL), 0),
        (interests([(Selector::Subtree(session("above")), Detail::Summary)]), 1),
        (interests([(only("a"), Detail::Content)]), 1),
        // Nothing enters what holds all, nor leaves it.
        (Interests::new(vec![all_tools]).unwrap(), 0),
        (project("/q", Families::NONE), 0),
    ];
    let seats: Vec<_> = wanted.iter().map(|(wanted, _)| index.enter(wanted).1).collect();
    let mut moved = event(0, &routing("a"), OPENED);
    let to = Arc::new(Routing {
        project: "/q".into(),
        ancestors: [session("above")].into(),
        ..Routing::clone(&routing("a"))
    });
    moved_to(&mut moved, Some(to), routing("a"));
    publish(&mut index, std::slice::from_ref(&moved));
    for ((wanted, woken), seat) in wanted.iter().zip(seats) {
        assert_eq!(seat.wakes(), *woken, "{wanted:?}");
        assert_eq!(
            wanted.want_event(&moved),
            *woken > 0,
            "woken is who wants it: {wanted:?}"
        );
    }
}

#[test]
fn what_is_of_no_session_wakes_those_who_look_at_one_of_its_sessions_and_nobody_else() {
    let mut index = index(0);
    let project = |project: &str| Selector::Project(project.into());
    let mut messages = Interest::new(only("a"), Detail::Content);
    messages.families = Families::NONE.with(Family::Message);
    let wanted = [
        (interests([(Selector::All, Detail::Content)]), 1),
        (interests([(Selector::All, Detail::Summary)]), 0),
        (interests([(only("a"), Detail::Content)]), 1),
        (interests([(only("a"), Detail::Content), (only("b"), Detail::Live)]), 1),
        (
            interests([(only("b"), Detail::Content), (only("c"), Detail::Content)]),
            1,
        ),
        (interests([(only("c"), Detail::Content)]), 0),
        (interests([(Selector::Subtree(session("a")), Detail::Content)]), 1),
        (interests([(project("/p"), Detail::Content)]), 1),
        (interests([(project("/q"), Detail::Content)]), 0),
        (interests([(Selector::Vendor("v".into()), Detail::Live)]), 1),
        (Interests::from(messages), 0),
    ];
    let seats: Vec<_> = wanted.iter().map(|(wanted, _)| index.enter(wanted)).collect();
    let told = of_tenant(0, &["a", "b"]);
    publish(&mut index, std::slice::from_ref(&told));
    for ((wanted, woken), (_, seat)) in wanted.iter().zip(&seats) {
        assert_eq!(seat.wakes(), *woken, "{wanted:?}");
        assert_eq!(
            wanted.want_event(&told),
            *woken > 0,
            "woken is who wants it: {wanted:?}"
        );
    }
    for ((wanted, _), (id, _)) in wanted.iter().zip(&seats) {
        index.leave(*id, wanted);
    }
    assert!(index.audiences.is_empty(), "nothing stays of who left");
}
