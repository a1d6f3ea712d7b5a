//! Level with the log: fragments, slow readers, heartbeats.

use std::time::Duration;

use crate::event::ItemStep;
use crate::interest::{Detail, Interests, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::subscription::Subscription;
use crate::subscription::frame::{Frame, Sent};
use crate::subscription::start::Start;
use crate::testing::rig::{HEARTBEAT, Rig, assert_silent, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only, within};

fn live() -> Interests {
    interests([(only("a"), Detail::Live)])
}

async fn caught_up(rig: &Rig, interests: &Interests) -> Subscription {
    let mut subscription = rig.subscribe(request(Start::Now, interests)).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    subscription
}

fn deltas(sent: &Sent) -> Vec<&[u8]> {
    let Frame::Deltas(messages) = &sent.frame else {
        panic!("deltas were to come, not {sent:?}")
    };
    messages.iter().map(|message| &message[..]).collect()
}

fn text(sent: &Sent) -> &[u8] {
    let Frame::ItemText(text) = &sent.frame else {
        panic!("a text was to come, not {sent:?}")
    };
    text.text.as_ref().unwrap()
}

#[tokio::test]
async fn fragments_come_behind_the_start_of_their_item_and_never_behind_its_end() {
    let rig = Rig::new().await;
    let mut subscription = caught_up(&rig, &live()).await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    rig.delta("a", "m", 0, "he").await;
    assert_eq!(offsets([&next(&mut subscription).await]), [0, 1]);
    assert_eq!(deltas(&next(&mut subscription).await), [b"a\nm@0:he"]);
    rig.delta("a", "m", 2, "llo").await;
    rig.store([item_draft("a", "m", ItemStep::Completed)]).await;
    rig.delta("a", "m", 5, "!").await;
    assert_eq!(offsets([&next(&mut subscription).await]), [2]);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn p_20_whoever_joins_in_mid_sentence_gets_the_text_so_far_first() {
    let rig = Rig::new().await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    rig.delta("a", "m", 0, "half a sen").await;
    let mut subscription = rig.subscribe(request(Start::Now, &live())).await;
    until_caught_up(&mut subscription).await;
    assert_eq!(text(&next(&mut subscription).await), b"half a sen");
    rig.delta("a", "m", 10, "tence").await;
    assert_eq!(deltas(&next(&mut subscription).await), [b"a\nm@10:tence"]);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn texts_are_copied_one_item_at_a_time_as_they_are_then() {
    let rig = Rig::new().await;
    let items = ["m0", "m1", "m2", "m3"];
    rig.store(items.map(|item| item_draft("a", item, ItemStep::Started)))
        .await;
    for item in items {
        rig.delta("a", item, 0, "half").await;
    }
    let mut subscription = rig.subscribe(request(Start::Now, &live())).await;
    until_caught_up(&mut subscription).await;
    assert_eq!(text(&next(&mut subscription).await), b"half");
    assert_eq!((subscription.ready.len(), subscription.texts_due.len()), (0, 3));
    // Meanwhile the one that it has and the next one grow, the one after that ends, and the last one begins again.
    rig.delta("a", "m0", 4, "+").await;
    rig.delta("a", "m1", 4, "+").await;
    rig.store([
        item_draft("a", "m2", ItemStep::Completed),
        item_draft("a", "m3", ItemStep::Started),
    ])
    .await;
    rig.delta("a", "m3", 0, "new").await;
    assert_eq!(text(&next(&mut subscription).await), b"half+", "as it is now");
    assert_eq!(offsets([&next(&mut subscription).await]), [5, 6], "and no more texts");
    assert_eq!(subscription.texts_due.capacity(), 0, "a parked stream is small");
    let sent = next(&mut subscription).await;
    assert_eq!(
        deltas(&sent),
        [b"a\nm0@4:+".as_slice(), b"a\nm1@4:+", b"a\nm3@0:new"],
        "the second is in its text already, so its `at` tells the client to pass over it"
    );
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn whoever_does_not_ask_for_live_gets_no_fragments_and_is_not_woken_by_them() {
    let rig = Rig::new().await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    let mut content = caught_up(&rig, &interests([(only("a"), Detail::Content)])).await;
    let mut other = caught_up(&rig, &interests([(only("b"), Detail::Live)])).await;
    rig.delta("a", "m", 0, "he").await;
    assert_eq!((content.wakes(), other.wakes()), (0, 0));
    assert_silent(&mut content).await;
    assert_silent(&mut other).await;
}

#[tokio::test]
async fn fragments_that_went_by_are_replaced_by_the_text() {
    let rig = Rig::new().await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    let mut subscription = caught_up(&rig, &live()).await;
    let mut at = 0;
    for piece in [
        "x".repeat(200_000),
        "y".repeat(limits::DELTA_WINDOW_BYTES_MAX),
        "z".into(),
    ] {
        let mut delta = crate::testing::rig::delta("a", "m", at, "");
        delta.body = piece.clone().into();
        delta.text = piece[..piece.len().min(10)].to_owned().into();
        at += delta.text.len() as u64;
        rig.appender.deltas(rig.log.clone(), None, vec![delta]).await.unwrap();
        rig.settle().await;
    }
    assert_eq!(text(&next(&mut subscription).await), b"xxxxxxxxxxyyyyyyyyyyz");
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn a_slow_reader_is_told_and_loses_nothing() {
    let rig = Rig::with_window(20 * 300).await;
    rig.store([item_draft("a", "m", ItemStep::Started)]).await;
    rig.delta("a", "m", 0, "text").await;
    let mut subscription = rig.subscribe(request(Start::Now, &live())).await;
    until_caught_up(&mut subscription).await;
    assert_eq!(text(&next(&mut subscription).await), b"text");
    for _ in 0..100 {
        rig.store([draft("a")]).await;
    }
    let behind = next(&mut subscription).await;
    assert!(matches!(behind.frame, Frame::FellBehind(100)), "{behind:?}");
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(offsets(&frames), (2..102).collect::<Vec<_>>());
    assert_eq!(
        text(&next(&mut subscription).await),
        b"text",
        "and its texts are brought into step again"
    );
    rig.store([draft("a")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [102]);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn k_15_ten_thousand_updates_behind_a_slow_reader_cost_a_bounded_memory() {
    let rig = Rig::with_window(64 * 1024).await;
    let mut subscription = caught_up(&rig, &interests([(Selector::All, Detail::Live)])).await;
    for _ in 0..20 {
        rig.store_many(500, "a").await;
        assert!(subscription.ready.is_empty(), "nothing is queued for it");
        let window = rig.log.window();
        assert!(
            window.start().distance(window.end()) * 160 <= 64 * 1024,
            "nor kept for it"
        );
    }
    let mut seen = Vec::new();
    loop {
        let sent = next(&mut subscription).await;
        seen.extend(offsets([&sent]));
        if matches!(sent.frame, Frame::CaughtUp(_)) {
            break;
        }
    }
    assert_eq!(seen, (0..10_001).collect::<Vec<_>>(), "and the last state is right");
}

#[tokio::test]
async fn p_37_a_heartbeat_comes_in_time_and_covers_only_what_was_read() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Now, &live())).await;
    until_caught_up(&mut subscription).await;
    let mut next = Box::pin(subscription.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    rig.store([draft("b")]).await;
    rig.clock
        .advance(HEARTBEAT.mul_f64(1.0 - limits::HEARTBEAT_JITTER - 0.01));
    assert!(futures_util::poll!(&mut next).is_pending());
    rig.clock
        .advance(HEARTBEAT.mul_f64(2.0 * limits::HEARTBEAT_JITTER + 0.02));
    let sent = within(next).await.unwrap().unwrap();
    let Frame::Heartbeat { from, until } = sent.frame else {
        panic!("a heartbeat, not {sent:?}")
    };
    assert_eq!(
        (from, until),
        (Offset(0), Offset(2)),
        "up to the tail, though nobody woke it"
    );
    assert_eq!(
        (sent.place.next, sent.place.link),
        rig.log.tail(),
        "and so does its token"
    );
    assert_eq!(subscription.wakes(), 0);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn p_37_what_came_before_a_heartbeat_is_sent_before_it() {
    let rig = Rig::new().await;
    let mut subscription = caught_up(&rig, &live()).await;
    rig.store([draft("a")]).await;
    rig.clock.advance(HEARTBEAT * 2);
    let mut at = Offset(0);
    let mut events = Vec::new();
    loop {
        let sent = next(&mut subscription).await;
        let (Frame::Events { from, until, .. } | Frame::Heartbeat { from, until }) = sent.frame else {
            panic!("events and a heartbeat, not {sent:?}")
        };
        assert_eq!(from, at, "each begins where the last one ended");
        at = until;
        events.extend(offsets([&sent]));
        assert_eq!(
            (sent.place.next, events.len() as u64),
            (at, at.0),
            "a token covers only what was sent"
        );
        rig.clock.advance(HEARTBEAT * 2);
        if matches!(sent.frame, Frame::Heartbeat { .. }) {
            break;
        }
    }
    assert_eq!(events, [0, 1]);
}

#[tokio::test]
async fn whoever_asks_to_linger_gets_what_comes_meanwhile_in_one_frame() {
    let rig = Rig::new().await;
    let mut asked = request(Start::Now, &live());
    asked.linger = Duration::from_millis(100);
    let mut subscription = rig.subscribe(asked).await;
    until_caught_up(&mut subscription).await;
    let mut next = Box::pin(subscription.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    for _ in 0..3 {
        rig.store([draft("a")]).await;
        assert!(futures_util::poll!(&mut next).is_pending());
    }
    rig.clock.advance(Duration::from_millis(100));
    let sent = within(next).await.unwrap().unwrap();
    assert_eq!(offsets([&sent]), [0, 1, 2, 3]);
}
