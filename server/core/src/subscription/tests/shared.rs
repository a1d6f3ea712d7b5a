//! A snapshot is read once for all who ask for the same, and held within a bound.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use crate::interest::{Detail, Interests, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::resume_token::Kind;
use crate::subscription::frame::{Frame, ResetReason, Sent, SnapshotReason};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, item_draft, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only, within};

fn all() -> Interests {
    interests([(Selector::All, Detail::Content)])
}

fn taken(rig: &Rig) -> u64 {
    rig.watch.snapshots.load(Ordering::Relaxed)
}

/// Where the snapshot stands that these frames give.
fn begun(frames: &[Sent]) -> Vec<Offset> {
    let offset = |sent: &Sent| {
        let Frame::SnapshotBegin { offset, .. } = sent.frame else {
            return None;
        };
        Some(offset)
    };
    frames.iter().filter_map(offset).collect()
}

#[tokio::test]
async fn five_thousand_resets_at_once_read_the_store_once() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let one = || rig.subscribe(request(Start::Snapshot, &all()));
    let mut streams = within(join_all((0..5_000).map(|_| one()))).await;
    for stream in &mut streams {
        assert_eq!(until_caught_up(stream).await.len(), 5);
    }
    assert_eq!(taken(&rig), 1);
    let other = request(Start::Snapshot, &interests([(only("a"), Detail::Content)]));
    until_caught_up(&mut rig.subscribe(other).await).await;
    assert_eq!(taken(&rig), 2, "others want something else");
}

#[tokio::test]
async fn who_asks_alone_is_given_all_that_was_stored_before() {
    let rig = Rig::new().await;
    for stored in 1..limits::SNAPSHOT_READS_MAX {
        rig.store([draft(&format!("s{stored}"))]).await;
        let mut stream = rig.subscribe(request(Start::Snapshot, &all())).await;
        let frames = until_caught_up(&mut stream).await;
        assert_eq!(
            (begun(&frames), offsets(&frames)),
            (vec![Offset(u64::from(stored) * 2)], vec![])
        );
    }
}

#[tokio::test]
async fn where_many_ask_while_the_log_grows_it_is_read_so_often_and_each_goes_on_from_its_own_offset() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    for asked in 0..20 {
        let mut stream = rig.subscribe(request(Start::Snapshot, &all())).await;
        let frames = until_caught_up(&mut stream).await;
        let [Offset(begun)] = begun(&frames)[..] else {
            panic!("one snapshot")
        };
        assert_eq!(offsets(&frames), (begun..asked + 2).collect::<Vec<_>>());
        rig.store([draft("a")]).await;
    }
    assert_eq!(taken(&rig), u64::from(limits::SNAPSHOT_READS_MAX));
    rig.clock.advance(limits::SNAPSHOT_SHARED_FOR);
    let frames = until_caught_up(&mut rig.subscribe(request(Start::Snapshot, &all())).await).await;
    assert_eq!((begun(&frames), offsets(&frames)), (vec![Offset(22)], vec![]));
}

#[tokio::test]
async fn what_nobody_reads_any_more_is_let_go_of() {
    let rig = Rig::new().await;
    rig.store([item_draft("a", "m", crate::event::ItemStep::Completed)])
        .await;
    let mut stream = rig.subscribe(request(Start::Snapshot, &all())).await;
    until_caught_up(&mut stream).await;
    assert!(rig.snapshots.held_bytes() > 0, "somebody may come");
    let mut sweep = Box::pin(rig.snapshots.clone().sweep());
    assert!(futures_util::poll!(&mut sweep).is_pending());
    rig.clock.advance(limits::SNAPSHOT_SHARED_FOR);
    assert!(futures_util::poll!(&mut sweep).is_pending());
    assert_eq!(rig.snapshots.held_bytes(), 0, "though the stream is still there");
}

#[tokio::test]
async fn who_waits_for_one_whose_reader_went_away_reads_it_himself() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let mut first = Box::pin(rig.subscribe(request(Start::Snapshot, &all())));
    let mut second = Box::pin(rig.subscribe(request(Start::Snapshot, &all())));
    // The first one is in the midst of it when it goes: a read of one page yields once.
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(until_caught_up(&mut within(second).await).await.len(), 5);
    assert_eq!(taken(&rig), 2);
}

#[tokio::test]
async fn a_stalled_readers_pages_are_taken_back_and_it_begins_again_with_what_is_newer() {
    let mut rig = Rig::new().await;
    rig.bound_snapshots(1);
    rig.store([draft("a"), draft("b")]).await;
    let mut asked = request(Start::Snapshot, &all());
    asked.frame_bytes = 1;
    let mut stalled = rig.subscribe(asked.clone()).await;
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(next(&mut stalled).await);
    }
    assert!(matches!(frames[2].frame, Frame::SnapshotPage(_)), "one of two");
    rig.store([draft("c")]).await;
    rig.clock
        .advance(limits::SNAPSHOT_SHARED_FOR + Duration::from_millis(1));
    let mut other = rig.subscribe(asked).await;
    let whole = until_caught_up(&mut other).await;
    let rest = until_caught_up(&mut stalled).await;
    assert_eq!(rig.snapshots.counters().revoked.load(Ordering::Relaxed), 1);
    let Frame::SnapshotBegin { reason, offset, .. } = rest[0].frame else {
        panic!("a new one begins, not {:?}", rest[0].frame)
    };
    assert_eq!(
        (reason, offset),
        (SnapshotReason::Reset(ResetReason::SnapshotIncomplete), Offset(6))
    );
    assert_eq!(rest.len(), whole.len() - 1, "all but `subscribed`");
    assert_eq!(taken(&rig), 2, "it shares the newer one");
    for sent in frames.iter().chain(&rest) {
        let given = matches!(sent.frame, Frame::SnapshotEnd { .. } | Frame::CaughtUp(_));
        assert_eq!(sent.place.kind == Kind::Complete, given, "{:?}", sent.frame);
    }
    rig.store([draft("a")]).await;
    assert_eq!(offsets([&next(&mut stalled).await]), [6]);
}

#[tokio::test]
async fn a_read_that_fails_is_told_to_all_who_waited_and_tried_again_by_who_asks_next() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    rig.watch.fail_snapshots(1);
    let ask = || rig.try_subscribe(request(Start::Snapshot, &all()));
    let tried = within(join_all([ask(), ask(), ask()])).await;
    assert!(tried.iter().all(Result::is_err), "{tried:?}");
    assert!(ask().await.is_ok());
}
