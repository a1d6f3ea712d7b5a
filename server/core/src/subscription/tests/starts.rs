//! Every way to begin, and what is accounted for from there.

use crate::event::{Draft, Raw};
use crate::interest::{Detail, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::subscription::frame::{Answer, Frame, Sent};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, assert_silent, next, offsets, request, until_caught_up};
use crate::testing::{ASK, draft, interests, only};

/// Checks that accounting frames follow one another from `from` on, and that every resume token covers what was sent.
fn assert_announced(frames: &[Sent], from: u64) -> Offset {
    let mut at = Offset(from);
    for sent in frames {
        if let Frame::Events { from, until, batch, .. } = &sent.frame {
            assert_eq!(*from, at, "a batch begins where the last one ended");
            assert!(batch.events.iter().all(|event| (*from..*until).contains(&event.offset)));
            at = *until;
        }
        assert!(sent.place.next >= at);
        assert_eq!(sent.place.kind, Kind::Complete);
    }
    at
}

fn subscribed(sent: &Sent) -> (Answer, u64, u64) {
    let Frame::Subscribed { answer, from, tail, .. } = sent.frame else {
        panic!("the first frame is always subscribed: {sent:?}")
    };
    (answer, from.0, tail.0)
}

/// Events of `a` at 1, 2, 4 and 5, of `b` at 3 (opened), and none else.
async fn two_sessions() -> Rig {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("a")]).await;
    rig.store([draft("b"), draft("a")]).await;
    rig
}

#[tokio::test]
async fn p_1_from_now_there_is_one_subscribed_frame_and_then_only_what_comes() {
    let rig = two_sessions().await;
    let mut subscription = rig
        .subscribe(request(Start::Now, &interests([(only("a"), Detail::Content)])))
        .await;
    assert_eq!(subscribed(&next(&mut subscription).await), (Answer::Started, 6, 6));
    assert!(matches!(
        next(&mut subscription).await.frame,
        Frame::CaughtUp(Offset(6))
    ));
    assert_silent(&mut subscription).await;
    rig.store([draft("a")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [6]);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn from_the_oldest_all_that_is_wanted_is_replayed_then_live() {
    let rig = two_sessions().await;
    let mut subscription = rig
        .subscribe(request(Start::Oldest, &interests([(only("a"), Detail::Content)])))
        .await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(subscribed(&frames[0]), (Answer::Started, 0, 6));
    assert_eq!(
        (offsets(&frames), assert_announced(&frames, 0)),
        (vec![0, 1, 2, 5], Offset(6))
    );
    rig.store([draft("b")]).await;
    rig.store([draft("a")]).await;
    let live = [next(&mut subscription).await];
    assert_eq!((offsets(&live), assert_announced(&live, 6)), (vec![7], Offset(8)));
}

#[tokio::test]
async fn from_the_last_n_wanted_events_are_counted_not_offsets() {
    let rig = two_sessions().await;
    for (last, from, expected) in [
        (0, 6, vec![]),
        (1, 5, vec![5]),
        (2, 2, vec![2, 5]),
        (99, 0, vec![0, 1, 2, 5]),
    ] {
        let wanted = interests([(only("a"), Detail::Content)]);
        let mut subscription = rig.subscribe(request(Start::Last(last), &wanted)).await;
        let frames = until_caught_up(&mut subscription).await;
        assert_eq!(subscribed(&frames[0]), (Answer::Started, from, 6), "last {last}");
        assert_eq!(offsets(&frames), expected, "last {last}");
    }
}

#[tokio::test]
async fn on_an_empty_log_the_first_frame_is_subscribed_too() {
    let rig = Rig::new().await;
    let wanted = interests([(Selector::All, Detail::Live)]);
    for start in [Start::Now, Start::Oldest, Start::Last(5), Start::Snapshot] {
        let mut subscription = rig.subscribe(request(start, &wanted)).await;
        assert_eq!(subscribed(&next(&mut subscription).await), (Answer::Started, 0, 0));
        let frames = until_caught_up(&mut subscription).await;
        assert!(offsets(&frames).is_empty());
    }
}

#[tokio::test]
async fn several_interests_give_an_event_once() {
    let rig = two_sessions().await;
    let board = interests([(Selector::All, Detail::Summary), (only("a"), Detail::Live)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &board)).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(
        (offsets(&frames), assert_announced(&frames, 0)),
        (vec![0, 1, 2, 3, 5], Offset(6))
    );
}

#[tokio::test]
async fn history_older_than_the_window_comes_from_the_store_without_a_seam() {
    let slot = 300;
    let rig = Rig::with_window(10 * slot).await;
    for _ in 0..100 {
        rig.store([draft("a")]).await;
    }
    assert!(rig.log.window().start() > Offset(50), "most is gone from memory");
    for selector in [only("a"), Selector::All] {
        let mut asked = request(Start::Oldest, &interests([(selector, Detail::Content)]));
        asked.frame_bytes = 10 * 52;
        let mut subscription = rig.subscribe(asked).await;
        let frames = until_caught_up(&mut subscription).await;
        assert_eq!(
            (offsets(&frames), assert_announced(&frames, 0)),
            ((0..101).collect(), Offset(101))
        );
        assert!(frames.len() > 10, "in frames of the size that was asked for");
    }
}

#[tokio::test]
async fn a_selective_read_of_a_long_history_makes_progress_that_can_be_kept() {
    let rig = Rig::with_window(1).await;
    let rows = limits::SCAN_EVENTS_MAX as u64 + 500;
    for _ in 0..rows / 500 + 1 {
        rig.store_many(500, "a").await;
    }
    let ask = Draft {
        kind: ASK,
        family: ASK.family().unwrap(),
        ..draft("a")
    };
    let [asked] = rig.store([ask]).await;
    let wanted = interests([(Selector::All, Detail::Summary)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(offsets(&frames), [0, asked.offset.0]);
    assert!(
        frames
            .iter()
            .filter(|sent| matches!(sent.frame, Frame::Events { .. }))
            .count()
            > 1
    );
    assert_announced(&frames, 0);
}

#[tokio::test]
async fn raw_records_come_to_those_who_ask() {
    let rig = Rig::new().await;
    let raw = Raw {
        media_type: "application/json".into(),
        content: "{}".into(),
    };
    rig.store([
        draft("a"),
        Draft {
            raw: Some(raw.clone()),
            ..draft("a")
        },
    ])
    .await;
    let wanted = interests([(only("a"), Detail::Content)]);
    for include_raw in [false, true] {
        let mut asked = request(Start::Oldest, &wanted);
        asked.include_raw = include_raw;
        let mut subscription = rig.subscribe(asked).await;
        next(&mut subscription).await;
        let Frame::Events { raws, .. } = next(&mut subscription).await.frame else {
            panic!("events come next")
        };
        let expected = if include_raw {
            vec![(Offset(2), raw.clone())]
        } else {
            Vec::new()
        };
        assert_eq!(raws, expected);
    }
}

#[tokio::test]
async fn whatever_a_stream_could_not_begin_it_leaves_no_seat_behind() {
    let rig = two_sessions().await;
    let wanted = interests([(only("a"), Detail::Content)]);
    assert!(
        rig.try_subscribe(request(Start::Resume("x".into()), &wanted))
            .await
            .is_err()
    );
    assert_eq!(rig.log.subscribers(), 0);
    let subscription = rig.subscribe(request(Start::Now, &wanted)).await;
    assert_eq!(rig.log.subscribers(), 1);
    drop(subscription);
    assert_eq!(rig.log.subscribers(), 0);
}
