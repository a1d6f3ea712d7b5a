mod cost;

use super::*;
use crate::event::{Event, ItemStep};
use crate::interest::{Detail, Selector};
use crate::testing::{MESSAGE, event, interests, item_event, moved_to, only, routing, session};

impl DeltaWindow {
    /// The texts so far of whatever is open under this name.
    pub(crate) fn texts_of(&self, session: &SessionId, item: ItemKey) -> Vec<ItemText> {
        let open = self.items.get(session, item);
        open.into_iter().flat_map(items::OpenItem::so_far).collect()
    }
}

/// A fragment of a message; it is sent as `item@at:text`.
fn delta(id: &str, item: &str, at: u64, text: &str) -> Delta {
    Delta {
        session: session(id),
        item: ItemKey::of(item),
        item_id: item.into(),
        channel: Channel::Message,
        at,
        text: Bytes::copy_from_slice(text.as_bytes()),
        message: Bytes::from(format!("{item}@{at}:{text}")),
    }
}

fn started(offset: u64, id: &str, item: &str) -> Event {
    item_event(offset, &routing(id), item, ItemStep::Started)
}

fn completed(offset: u64, id: &str, item: &str) -> Event {
    item_event(offset, &routing(id), item, ItemStep::Completed)
}

fn live() -> Interests {
    interests([(Selector::All, Detail::Live)])
}

fn messages(found: &FoundDeltas) -> Vec<&str> {
    found
        .messages
        .iter()
        .map(|message| std::str::from_utf8(message).unwrap())
        .collect()
}

fn text_of(window: &DeltaWindow, id: &str, item: &str) -> Option<Bytes> {
    let [text] = window.texts_of(&session(id), ItemKey::of(item)).try_into().unwrap();
    let ItemText { text, .. } = text;
    text
}

/// A window in which item `m` of session `a` was started at offset 0.
fn open() -> DeltaWindow {
    let mut window = DeltaWindow::default();
    window.observe(&started(0, "a", "m"));
    window
}

/// Item `m` of session `a`, as it was started there.
fn m() -> Opened {
    Opened {
        session: session("a"),
        item: ItemKey::of("m"),
        started: Offset(0),
    }
}

#[test]
fn fragments_come_in_order_to_who_wants_them() {
    let mut window = open();
    window.observe(&started(1, "b", "n"));
    for (number, delta) in [
        delta("a", "m", 0, "he"),
        delta("b", "n", 0, "x"),
        delta("a", "m", 2, "llo"),
    ]
    .iter()
    .enumerate()
    {
        let pushed = window.push(delta, Offset(2)).unwrap();
        let woken: Vec<_> = pushed.wake.iter().map(|(routing, _)| &routing.session).collect();
        assert_eq!((pushed.due, woken), (number as u64 + 1, vec![&delta.session]));
    }
    let all = window.read(&live(), 0, Offset(2)).unwrap();
    assert_eq!((messages(&all), all.until), (vec!["m@0:he", "n@0:x", "m@2:llo"], 3));
    let mine = window
        .read(&interests([(only("a"), Detail::Live)]), 1, Offset(2))
        .unwrap();
    assert_eq!((messages(&mine), mine.until), (vec!["m@2:llo"], 3));
    let content = window
        .read(&interests([(only("a"), Detail::Content)]), 0, Offset(2))
        .unwrap();
    assert_eq!(
        (content.messages.len(), content.until),
        (0, 3),
        "deltas are for LIVE only"
    );
}

#[test]
fn what_cannot_be_placed_is_dropped_and_counted() {
    let mut window = open();
    assert_eq!(
        window.push(&delta("a", "x", 0, "?"), Offset(1)).unwrap_err(),
        Dropped::NotOpen
    );
    assert_eq!(
        window.push(&delta("b", "m", 0, "?"), Offset(1)).unwrap_err(),
        Dropped::NotOpen
    );
    assert_eq!(
        window.push(&delta("a", "m", 1, "?"), Offset(1)).unwrap_err(),
        Dropped::Misplaced
    );
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    assert_eq!(
        window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap_err(),
        Dropped::Repeated
    );
    assert_eq!(
        window.push(&delta("a", "m", 1, "e"), Offset(1)).unwrap_err(),
        Dropped::Repeated
    );
    assert_eq!(
        window.push(&delta("a", "m", 3, "?"), Offset(1)).unwrap_err(),
        Dropped::Misplaced
    );
    window.observe(&completed(1, "a", "m"));
    assert_eq!(
        window.push(&delta("a", "m", 2, "llo"), Offset(2)).unwrap_err(),
        Dropped::NotOpen
    );
    assert_eq!((window.end(), window.dropped(), window.text_bytes()), (1, 7, 0));
}

#[test]
fn texts_of_one_item_do_not_mix() {
    let mut window = open();
    let output = Delta {
        channel: Channel::ToolOutput,
        ..delta("a", "m", 0, "out")
    };
    window.push(&delta("a", "m", 0, "in"), Offset(1)).unwrap();
    window.push(&output, Offset(1)).unwrap();
    window.push(&delta("a", "m", 2, "side"), Offset(1)).unwrap();
    let texts = window.texts_of(&session("a"), ItemKey::of("m"));
    let texts: Vec<_> = texts
        .into_iter()
        .map(|text| (text.channel, text.text.unwrap()))
        .collect();
    assert_eq!(
        texts,
        [(Channel::Message, "inside".into()), (Channel::ToolOutput, "out".into())]
    );
}

#[test]
fn a_fragment_waits_for_the_events_that_came_before_it() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    window.push(&delta("a", "m", 2, "llo"), Offset(4)).unwrap();
    let found = window.read(&live(), 0, Offset(3)).unwrap();
    assert_eq!((messages(&found), found.until), (vec!["m@0:he"], 1));
    let found = window.read(&live(), 1, Offset(4)).unwrap();
    assert_eq!((messages(&found), found.until), (vec!["m@2:llo"], 2));
    assert!(
        window.opened(&live(), Offset(3)).is_none(),
        "nor are texts given too early"
    );
}

#[test]
fn nothing_comes_of_an_item_after_its_end() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    window.observe(&completed(1, "a", "m"));
    let found = window.read(&live(), 0, Offset(2)).unwrap();
    assert_eq!((messages(&found).len(), found.until), (0, 1));
    let (opened, number) = window.opened(&live(), Offset(2)).unwrap();
    assert_eq!((opened.len(), number), (0, 1));
    assert!(window.texts_of(&session("a"), ItemKey::of("m")).is_empty());
}

#[test]
fn an_item_that_begins_again_begins_with_nothing() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "old"), Offset(1)).unwrap();
    window.observe(&started(1, "a", "m"));
    assert_eq!(window.text_bytes(), 0);
    let found = window.read(&live(), 0, Offset(2)).unwrap();
    assert!(found.messages.is_empty(), "the old text's fragments belong to nothing");
    window.push(&delta("a", "m", 0, "new"), Offset(2)).unwrap();
    assert_eq!(text_of(&window, "a", "m"), Some("new".into()));
}

#[test]
fn who_joins_gets_the_texts_so_far_of_what_it_wants_and_knows() {
    let mut window = open();
    window.observe(&started(1, "b", "n"));
    window.observe(&started(2, "a", "late"));
    window.push(&delta("a", "m", 0, "half"), Offset(2)).unwrap();
    window.push(&delta("b", "n", 0, "not mine"), Offset(2)).unwrap();
    let wanted = interests([(only("a"), Detail::Live)]);
    let (opened, number) = window.opened(&wanted, Offset(2)).unwrap();
    assert_eq!(number, 2, "it goes on behind what the texts hold");
    assert_eq!(opened, [m()]);
    let [text] = window.texts_so_far(&m()).try_into().unwrap();
    assert_eq!((&*text.item_id, text.text), ("m", Some("half".into())));
    let content = interests([(only("a"), Detail::Content)]);
    assert!(window.opened(&content, Offset(9)).unwrap().0.is_empty());
}

#[test]
fn open_items_come_in_the_order_of_their_starts_and_only_those_with_a_text() {
    let mut window = DeltaWindow::default();
    let names = ["d", "a", "c", "b", "silent"];
    for (offset, item) in (0..).zip(names) {
        window.observe(&started(offset, "a", item));
    }
    for item in ["a", "b", "c", "d"] {
        window.push(&delta("a", item, 0, item), Offset(5)).unwrap();
    }
    let (opened, number) = window.opened(&live(), Offset(5)).unwrap();
    let places: Vec<_> = opened.iter().map(|opened| opened.started.0).collect();
    assert_eq!((places, number), (vec![0, 1, 2, 3], 4));
}

#[test]
fn a_text_that_is_copied_later_holds_what_came_meanwhile_and_is_none_of_another_life() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    let (opened, number) = window.opened(&live(), Offset(1)).unwrap();
    window.push(&delta("a", "m", 2, "llo"), Offset(1)).unwrap();
    let text = window.texts_so_far(&opened[0]).remove(0).text;
    assert_eq!(text, Some("hello".into()));
    let found = window.read(&live(), number, Offset(1)).unwrap();
    assert_eq!(messages(&found), ["m@2:llo"], "which its reader has, and passes over");
    window.observe(&completed(1, "a", "m"));
    assert!(window.texts_so_far(&opened[0]).is_empty(), "it was completed meanwhile");
    window.observe(&started(2, "a", "m"));
    window.push(&delta("a", "m", 0, "new"), Offset(3)).unwrap();
    assert!(window.texts_so_far(&opened[0]).is_empty(), "this is not the one it was");
}

#[test]
fn who_is_too_late_for_a_fragment_is_told_so() {
    let mut window = open();
    let big = |at| Delta {
        message: Bytes::from(vec![b'x'; limits::DELTA_WINDOW_BYTES_MAX / 2 + 1]),
        ..delta("a", "m", at, ".")
    };
    (0..3).for_each(|at| drop(window.push(&big(at), Offset(1)).unwrap()));
    assert!(window.read(&live(), 0, Offset(1)).is_none());
    assert!(window.read(&live(), 1, Offset(1)).is_none());
    assert_eq!(window.read(&live(), 2, Offset(1)).unwrap().messages.len(), 1);
    assert_eq!(window.read(&live(), 3, Offset(1)).unwrap().until, 3);
    assert_eq!(
        text_of(&window, "a", "m"),
        Some("...".into()),
        "the text is whole all the same"
    );
}

#[test]
fn a_frame_of_fragments_is_bounded_and_the_next_one_goes_on() {
    let mut window = open();
    let size = limits::FRAME_BYTES_MAX / 2 + 1;
    for at in 0..3 {
        let big = Delta {
            message: Bytes::from(vec![b'x'; size]),
            ..delta("a", "m", at, ".")
        };
        window.push(&big, Offset(1)).unwrap();
    }
    for from in 0..3 {
        let found = window.read(&live(), from, Offset(1)).unwrap();
        assert_eq!((found.messages.len(), found.until), (1, from + 1));
    }
}

#[test]
fn a_text_that_is_too_long_is_said_to_be_missing_and_never_given_in_part() {
    let mut window = open();
    let long = "x".repeat(limits::ITEM_TEXT_BYTES_MAX);
    window.push(&delta("a", "m", 0, &long), Offset(1)).unwrap();
    let end = long.len() as u64;
    let lost = window.push(&delta("a", "m", end, "y"), Offset(1)).unwrap();
    assert!(lost.due > 1, "whoever has read all is woken");
    assert!(
        window.read(&live(), 1, Offset(1)).is_none(),
        "and finds that the texts must be given anew"
    );
    assert_eq!(
        window.push(&delta("a", "m", end, "y"), Offset(1)).unwrap_err(),
        Dropped::TooLong
    );
    assert_eq!((text_of(&window, "a", "m"), window.text_bytes()), (None, 0));
    window.observe(&completed(1, "a", "m"));
    assert_eq!(window.text_bytes(), 0);
}

#[test]
fn all_texts_together_are_bounded_and_the_oldest_give_way() {
    let mut window = DeltaWindow::default();
    let long = "x".repeat(limits::ITEM_TEXT_BYTES_MAX);
    let items = limits::ITEM_TEXTS_BYTES_MAX / long.len() + 1;
    for nth in 0..items {
        let item = format!("i{nth}");
        window.observe(&started(nth as u64, "a", &item));
        window
            .push(&delta("a", &item, 0, &long), Offset(nth as u64 + 1))
            .unwrap();
    }
    assert!(window.text_bytes() <= limits::ITEM_TEXTS_BYTES_MAX);
    assert_eq!(text_of(&window, "a", "i0"), None);
    assert!((1..items).all(|nth| text_of(&window, "a", &format!("i{nth}")).is_some()));
}

#[test]
fn whose_text_gives_way_to_others_is_told() {
    let mut window = DeltaWindow::default();
    let long = "x".repeat(limits::ITEM_TEXT_BYTES_MAX);
    window.observe(&started(0, "old", "i"));
    window.push(&delta("old", "i", 0, &long), Offset(1)).unwrap();
    let mut woken = Vec::new();
    for nth in 1..=limits::ITEM_TEXTS_BYTES_MAX / long.len() {
        let item = format!("i{nth}");
        window.observe(&started(nth as u64, "a", &item));
        let pushed = window
            .push(&delta("a", &item, 0, &long), Offset(nth as u64 + 1))
            .unwrap();
        woken.extend(pushed.wake.into_iter().map(|(routing, _)| routing.session.clone()));
    }
    assert!(
        woken.contains(&session("old")),
        "a reader of the old one would wait for its text in silence"
    );
}

#[test]
fn an_item_that_was_open_before_this_process_has_lost_its_text_and_says_so() {
    let mut window = DeltaWindow::default();
    let past = [started(0, "a", "done"), completed(1, "a", "done"), started(2, "a", "m")];
    window.recover(&past, |_| "m".into());
    let (opened, _) = window.opened(&live(), Offset(3)).unwrap();
    assert_eq!(opened.len(), 1, "what was completed is not open");
    assert_eq!(text_of(&window, "a", "m"), None);
    assert_eq!(
        window.push(&delta("a", "m", 4, "o"), Offset(3)).unwrap_err(),
        Dropped::TooLong
    );
}

#[test]
fn items_in_flight_are_bounded_and_the_oldest_are_forgotten() {
    let mut window = DeltaWindow::default();
    let most = limits::ITEMS_IN_FLIGHT_MAX as u64;
    for nth in 0..most * 3 {
        window.observe(&started(nth, "a", &format!("i{nth}")));
        if nth % 2 == 0 {
            window.observe(&completed(nth, "a", &format!("i{nth}")));
        }
    }
    assert_eq!(window.items.items.len() as u64, most);
    assert!(window.items.opened.len() as u64 <= 2 * most);
    assert_eq!(
        window.push(&delta("a", "i1", 0, "x"), Offset(most * 3)).unwrap_err(),
        Dropped::NotOpen
    );
    let newest = format!("i{}", most * 3 - 1);
    assert!(window.push(&delta("a", &newest, 0, "x"), Offset(most * 3)).is_ok());
}

#[test]
fn events_that_went_by_unseen_end_every_text() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    window.restart();
    assert!(
        window.read(&live(), 0, Offset(5)).is_none(),
        "what it had is no longer to be continued"
    );
    assert_eq!((window.end(), window.text_bytes()), (1, 0));
    assert_eq!(
        window.push(&delta("a", "m", 2, "llo"), Offset(5)).unwrap_err(),
        Dropped::NotOpen
    );
    let (opened, number) = window.opened(&live(), Offset(5)).unwrap();
    assert_eq!((opened.len(), number), (0, 1));
    assert!(window.postings.is_empty());
}

#[test]
fn fragments_whose_tails_came_in_disorder_wait_for_the_later_one() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(4)).unwrap();
    window.push(&delta("a", "m", 2, "llo"), Offset(3)).unwrap();
    assert!(window.read(&live(), 0, Offset(3)).unwrap().messages.is_empty());
    assert_eq!(window.read(&live(), 0, Offset(4)).unwrap().messages.len(), 2);
}

#[test]
fn an_event_without_an_item_changes_nothing() {
    let mut window = open();
    window.push(&delta("a", "m", 0, "he"), Offset(1)).unwrap();
    window.observe(&event(1, &routing("a"), MESSAGE));
    assert_eq!(text_of(&window, "a", "m"), Some("he".into()));
}

#[test]
fn an_item_goes_where_its_session_goes() {
    let at = |project: &str, above: &[&str]| {
        std::sync::Arc::new(Routing {
            project: project.into(),
            ancestors: above.iter().map(|id| session(id)).collect(),
            ..Routing::clone(&routing("a"))
        })
    };
    let mut window = DeltaWindow::default();
    window.observe(&item_event(0, &at("/p", &["mid"]), "m", ItemStep::Started));
    let mut moved = event(1, &routing("mid"), MESSAGE);
    let to = std::sync::Arc::new(Routing {
        ancestors: [session("root")].into(),
        ..Routing::clone(&routing("mid"))
    });
    moved_to(&mut moved, Some(to), routing("mid"));
    window.observe(&moved);
    let mut own = event(2, &at("/q", &["mid", "root"]), MESSAGE);
    moved_to(&mut own, None, at("/p", &["mid", "root"]));
    window.observe(&own);
    window.push(&delta("a", "m", 0, "there"), Offset(3)).unwrap();
    let read = |selector| {
        let wanted = interests([(selector, Detail::Live)]);
        messages(&window.read(&wanted, 0, Offset(3)).unwrap()).len()
    };
    assert_eq!(read(Selector::Project("/p".into())), 0);
    assert_eq!(read(Selector::Project("/q".into())), 1);
    assert_eq!(read(Selector::Subtree(session("root"))), 1, "what lies below follows");
}
