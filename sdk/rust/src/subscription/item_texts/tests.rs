use bellboard_proto::v1::{DeltasFrame, ItemTextUnavailable, MessageCompleted};

use super::*;

const MESSAGE: DeltaChannel = DeltaChannel::MessageText;

fn delta(item: &str, at: u64, text: &str) -> Delta {
    Delta {
        session_id: "s".to_owned(),
        item_id: item.to_owned(),
        at,
        fragment: Some(Fragment::MessageText(text.to_owned())),
        ..Delta::default()
    }
}

fn item_text(item: &str, state: State) -> ItemText {
    ItemText {
        session_id: "s".to_owned(),
        item_id: item.to_owned(),
        channel: MESSAGE.into(),
        at: 0,
        state: Some(state),
    }
}

fn text(texts: &ItemTexts, item: &str) -> Option<String> {
    texts
        .text("s", item, MESSAGE)
        .map(|text| String::from_utf8(text.to_vec()).unwrap())
}

#[test]
fn a_delta_counts_only_where_the_text_ends() {
    let mut texts = ItemTexts::new();
    let deltas = ["Grü", "ße"];
    assert_eq!(texts.apply_delta(&delta("m", 0, deltas[0])), TextChange::Grew);
    assert_eq!(
        texts.apply_delta(&delta("m", 0, deltas[0])),
        TextChange::Dropped,
        "a repeat"
    );
    assert_eq!(
        texts.apply_delta(&delta("m", 9, "!")),
        TextChange::Dropped,
        "after a hole"
    );
    assert_eq!(
        texts.apply_delta(&delta("m", 4, deltas[1])),
        TextChange::Grew,
        "places count bytes"
    );
    assert_eq!(text(&texts, "m").as_deref(), Some("Grüße"));
}

#[test]
fn who_joins_in_mid_sentence_has_all_of_it() {
    let mut texts = ItemTexts::new();
    assert_eq!(texts.apply_delta(&delta("m", 6, "there")), TextChange::Dropped);
    let so_far = item_text("m", State::MessageText("hello ".to_owned()));
    assert_eq!(texts.apply_item_text(&so_far), TextChange::Replaced);
    assert_eq!(texts.apply_delta(&delta("m", 6, "there")), TextChange::Grew);
    assert_eq!(text(&texts, "m").as_deref(), Some("hello there"));
    let unavailable = item_text("m", State::Unavailable(ItemTextUnavailable {}));
    assert_eq!(texts.apply_item_text(&unavailable), TextChange::Forgotten);
    assert_eq!(text(&texts, "m"), None);
}

#[test]
fn the_completed_event_takes_the_texts_place() {
    let mut texts = ItemTexts::new();
    texts.apply(&Frame::Deltas(DeltasFrame {
        deltas: vec![delta("m", 0, "hel"), delta("n", 0, "other")],
    }));
    texts.apply_event(&Event {
        session_id: "s".to_owned(),
        item_id: "m".to_owned(),
        payload: Some(Payload::MessageCompleted(MessageCompleted::default())),
        ..Event::default()
    });
    assert_eq!(text(&texts, "m"), None);
    assert_eq!(text(&texts, "n").as_deref(), Some("other"));
}

#[test]
fn a_flood_of_items_and_an_endless_one_stay_bounded() {
    let mut texts = ItemTexts::new();
    for item in 0..TEXTS_MAX + 10 {
        texts.apply_delta(&delta(&item.to_string(), 0, "x"));
    }
    assert_eq!((texts.texts.len(), texts.order.len()), (TEXTS_MAX, TEXTS_MAX));
    assert_eq!(text(&texts, "9"), None, "the oldest are forgotten");

    let long = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(texts.apply_delta(&delta("long", 0, &long)), TextChange::Grew);
    assert_eq!(
        texts.apply_delta(&delta("long", TEXT_BYTES_MAX as u64, "x")),
        TextChange::Dropped
    );
}
