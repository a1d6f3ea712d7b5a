//! An event costs work in proportion to those who receive it.

use std::sync::atomic::Ordering;

use crate::event::ItemStep;
use crate::interest::{Detail, Selector};
use crate::subscription::frame::Frame;
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, assert_silent, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only};

#[tokio::test]
async fn of_a_thousand_subscribers_of_one_session_each_only_receivers_are_woken() {
    let rig = Rig::new().await;
    let mut streams = Vec::new();
    for nth in 0..1000 {
        let wanted = interests([(only(&format!("s{nth}")), Detail::Live)]);
        let mut subscription = rig.subscribe(request(Start::Now, &wanted)).await;
        until_caught_up(&mut subscription).await;
        streams.push(subscription);
    }
    let mut board = rig
        .subscribe(request(Start::Now, &interests([(Selector::All, Detail::Content)])))
        .await;
    until_caught_up(&mut board).await;
    let counters = rig.log.counters();
    let count = || {
        (
            counters.slots_visited.load(Ordering::Relaxed),
            counters.deliveries.load(Ordering::Relaxed),
        )
    };
    for round in 0..3 {
        for nth in [3, 500, 999] {
            let before = count();
            rig.store([draft(&format!("s{nth}"))]).await;
            let events = if round == 0 { 2 } else { 1 };
            assert_eq!(offsets([&next(&mut streams[nth]).await]).len(), events);
            assert_eq!(offsets([&next(&mut board).await]).len(), events);
            let after = count();
            assert_eq!(
                (after.0 - before.0, after.1 - before.1),
                (2 * events as u64, 2 * events as u64)
            );
        }
    }
    let wakes: Vec<u64> = streams.iter().map(|stream| stream.wakes()).collect();
    assert_eq!(
        (wakes.iter().sum::<u64>(), wakes[3], wakes[500], wakes[999]),
        (9, 3, 3, 3)
    );
    assert_eq!(board.wakes(), 9, "wake-ups per event equal its receivers");
    assert_eq!(
        (counters.store_reads.load(Ordering::Relaxed), rig.memory.reads()),
        (0, 0),
        "none went to the store"
    );
}

#[tokio::test]
async fn of_a_thousand_live_subscribers_of_one_session_each_only_receivers_look_at_a_fragment() {
    let rig = Rig::new().await;
    let mut streams = Vec::new();
    for nth in 0..1000 {
        let id = format!("s{nth}");
        rig.store([item_draft(&id, "m", ItemStep::Started)]).await;
        let mut subscription = rig
            .subscribe(request(Start::Now, &interests([(only(&id), Detail::Live)])))
            .await;
        until_caught_up(&mut subscription).await;
        assert_silent(&mut subscription).await;
        streams.push(subscription);
    }
    let visited = || rig.log.counters().slots_visited.load(Ordering::Relaxed);
    let before = visited();
    for at in 0..3 {
        for nth in 0..100 {
            rig.delta(&format!("s{}", nth * 10), "m", at, ".").await;
        }
    }
    for (nth, stream) in streams.iter_mut().enumerate() {
        if nth % 10 == 0 {
            let Frame::Deltas(messages) = next(stream).await.frame else {
                panic!("fragments were to come")
            };
            assert_eq!(messages.len(), 3);
        }
        assert_silent(stream).await;
    }
    assert_eq!(visited() - before, 300, "each fragment has one receiver");
    let wakes: u64 = streams.iter().map(|stream| stream.wakes()).sum();
    assert_eq!(wakes, 300);
}

#[tokio::test]
async fn a_stream_to_which_nothing_is_due_passes_everything_without_a_look() {
    let rig = Rig::with_window(1).await;
    let mut subscription = rig
        .subscribe(request(Start::Now, &interests([(only("mine"), Detail::Live)])))
        .await;
    until_caught_up(&mut subscription).await;
    for _ in 0..5 {
        rig.store_many(100, "other").await;
    }
    assert_silent(&mut subscription).await;
    let [place] = rig.store([draft("mine")]).await;
    let sent = next(&mut subscription).await;
    assert_eq!(subscription.wakes(), 1);
    let told = (offsets([&sent]), rig.memory.reads());
    assert!(told.1 <= 1, "{told:?}, at {place:?}");
}

#[tokio::test]
async fn a_parked_stream_is_small() {
    // What a parked stream owns beside its seat: the struct itself. Its interests are as large as its client made them.
    assert!(
        size_of::<crate::subscription::Subscription>() <= 512,
        "{}",
        size_of::<crate::subscription::Subscription>()
    );
}
