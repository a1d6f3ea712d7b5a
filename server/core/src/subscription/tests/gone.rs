//! Streams whose place lies before what is kept: announced to whom it concerns, and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Family;
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::offset::{Index, Offset};
use crate::resume_token::{Kind, Place};
use crate::retention::Retention;
use crate::store::{Missing, Store as _};
use crate::subscription::frame::{Answer, Frame, GapReason, ResetReason, Sent, SnapshotReason};
use crate::subscription::start::{OnGap, Start};
use crate::subscription::{Error, Request};
use crate::testing::rig::{Rig, next, offsets, request, until_caught_up};
use crate::testing::telling::Telling;
use crate::testing::{ASK, draft, draft_of, interests, only, session, tenant};

const HOUR: Duration = Duration::from_secs(3600);

fn hour() -> Retention {
    Retention {
        age: Some(HOUR),
        bytes: None,
    }
}

fn of(id: &str) -> Interests {
    interests([(only(id), Detail::Content)])
}

/// An old half, then a young one: `quiet` is opened at 0 and says 1; `busy` is opened at 2 and says 3 to 5. An hour later `busy` says 6
/// and 7, `quiet` 8.
async fn halves() -> (Rig, Arc<Telling>) {
    let (rig, telling) = Rig::keeping(hour()).await;
    rig.store([draft("quiet")]).await;
    rig.store([draft("busy"), draft("busy"), draft("busy")]).await;
    rig.clock.advance(HOUR);
    rig.store([draft("busy"), draft("busy"), draft("quiet")]).await;
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.log.tail().0, Offset(9));
    (rig, telling)
}

/// What a frame would have named before this offset, while it was there.
async fn place(rig: &Rig, interests: &Interests, next: u64) -> Place {
    let row = rig.row().await;
    Place {
        epoch: row.epoch,
        next: Offset(next),
        link: rig.memory.link_before(&row, Offset(next)).await.unwrap(),
        interests: interests.hash(),
        kind: Kind::Complete,
    }
}

async fn resume(rig: &Rig, interests: &Interests, next: u64, on_gap: OnGap) -> Result<Vec<Sent>, Error> {
    let place = place(rig, interests, next).await;
    let mut subscription = rig.try_subscribe(asked(rig, interests, &place, on_gap)).await?;
    Ok(until_caught_up(&mut subscription).await)
}

fn asked(rig: &Rig, interests: &Interests, place: &Place, on_gap: OnGap) -> Request {
    let start = Start::Resume(rig.keyring.mint(&tenant("t"), place));
    Request {
        on_gap,
        ..request(start, interests)
    }
}

fn answer(sent: &Sent) -> (Answer, u64, u64) {
    let Frame::Subscribed {
        answer, from, oldest, ..
    } = sent.frame
    else {
        panic!("the first frame is {:?}", sent.frame)
    };
    (answer, from.0, oldest.0)
}

fn gaps(frames: &[Sent]) -> Vec<(u64, u64, Vec<Missing>)> {
    let mut gaps = Vec::new();
    for sent in frames {
        if let Frame::Gap {
            from,
            until,
            sessions,
            reason,
        } = &sent.frame
        {
            assert_eq!(*reason, GapReason::Trimmed);
            gaps.push((from.0, until.0, sessions.clone()));
        }
    }
    gaps
}

fn missing(id: &str, from: u64, until: u64) -> Missing {
    Missing::Session {
        session: session(id),
        from: Index(from),
        until: Index(until),
    }
}

/// Trims, or does not: what is too old is gone in either case.
async fn both(check: impl AsyncFn(&Rig, bool)) {
    let (rig, _) = halves().await;
    check(&rig, false).await;
    assert_eq!(rig.trim().await, Offset(6));
    check(&rig, true).await;
}

#[tokio::test]
async fn p_5_p_6_what_is_too_old_is_answered_as_was_asked_trimmed_or_not() {
    both(async |rig, trimmed| {
        let busy = of("busy");
        let frames = resume(rig, &busy, 4, OnGap::Snapshot).await.unwrap();
        let reset = Answer::Reset(ResetReason::ResumeTokenTooOld);
        assert_eq!(answer(&frames[0]), (reset, 9, 6));
        assert_eq!(offsets(&frames), [0; 0], "no partial replay");
        let gone = Error::HistoryGone {
            from: Offset(4),
            oldest: Offset(6),
        };
        assert_eq!(resume(rig, &busy, 4, OnGap::Fail).await.unwrap_err(), gone);
        let frames = resume(rig, &busy, 4, OnGap::Continue).await.unwrap();
        assert_eq!(answer(&frames[0]), (Answer::Resumed, 4, 6));
        // Of a session whose events before that place are trimmed too it is not known how many there were.
        let first = if trimmed { 0 } else { 2 };
        assert_eq!(gaps(&frames), [(4, 6, vec![missing("busy", first, 4)])]);
        assert_eq!(offsets(&frames), [6, 7]);
        for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
            let frames = resume(rig, &busy, 6, on_gap).await.unwrap();
            assert_eq!(answer(&frames[0]), (Answer::Resumed, 6, 6), "the oldest that is kept");
            assert_eq!((gaps(&frames), offsets(&frames)), (vec![], vec![6, 7]));
        }
    })
    .await;
}

#[tokio::test]
async fn a_quiet_session_is_never_reported_trimmed_because_a_busy_one_was() {
    both(async |rig, _| {
        for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
            let frames = resume(rig, &of("quiet"), 2, on_gap).await.unwrap();
            assert_eq!(answer(&frames[0]), (Answer::Resumed, 2, 6), "{on_gap:?}");
            assert_eq!((gaps(&frames), offsets(&frames)), (vec![], vec![8]));
        }
        let both = interests([(only("quiet"), Detail::Content), (only("busy"), Detail::Content)]);
        let frames = resume(rig, &both, 2, OnGap::Snapshot).await.unwrap();
        assert_eq!(answer(&frames[0]).0, Answer::Reset(ResetReason::ResumeTokenTooOld));
    })
    .await;
}

#[tokio::test]
async fn families_that_nobody_asked_for_are_missed_by_nobody() {
    let (rig, _) = Rig::keeping(hour()).await;
    rig.store([draft("a"), draft_of(crate::event::SessionRef::Id(session("a")), ASK)])
        .await;
    rig.store([draft("a"), draft("a")]).await;
    rig.clock.advance(HOUR + HOUR);
    assert_eq!(rig.trim().await, Offset(5));
    let board = interests([(Selector::All, Detail::Summary)]);
    let frames = resume(&rig, &board, 3, OnGap::Fail).await.unwrap();
    assert_eq!(answer(&frames[0]), (Answer::Resumed, 3, 5));
    assert!(resume(&rig, &board, 2, OnGap::Fail).await.is_err(), "the ask is missed");
    let asks = Interests::from(Interest {
        families: [Family::Session].into_iter().collect(),
        ..Interest::new(Selector::All, Detail::Summary)
    });
    assert_eq!(
        answer(&resume(&rig, &asks, 2, OnGap::Fail).await.unwrap()[0]).0,
        Answer::Resumed
    );
}

#[tokio::test]
async fn p_7_where_nothing_is_kept_an_old_place_is_too_old_and_the_tail_is_not() {
    let (rig, _) = Rig::keeping(hour()).await;
    rig.store([draft("a")]).await;
    rig.clock.advance(HOUR + HOUR);
    for trimmed in [false, true] {
        if trimmed {
            assert_eq!(rig.trim().await, Offset(2));
        }
        let frames = resume(&rig, &of("a"), 1, OnGap::Snapshot).await.unwrap();
        let reset = Answer::Reset(ResetReason::ResumeTokenTooOld);
        assert_eq!(answer(&frames[0]), (reset, 2, 2));
        let frames = resume(&rig, &of("a"), 2, OnGap::Snapshot).await.unwrap();
        assert_eq!(answer(&frames[0]), (Answer::Resumed, 2, 2));
        let mut all = rig.subscribe(request(Start::Oldest, &of("a"))).await;
        let frames = until_caught_up(&mut all).await;
        assert_eq!(
            (answer(&frames[0]), offsets(&frames)),
            ((Answer::Started, 2, 2), vec![])
        );
    }
    rig.store([draft("a")]).await;
    let frames = resume(&rig, &of("a"), 2, OnGap::Snapshot).await.unwrap();
    assert_eq!(offsets(&frames), [2], "the log goes on where it was");
}

#[tokio::test]
async fn another_past_is_told_by_links_that_outlive_their_events() {
    let (rig, _) = halves().await;
    assert_eq!(rig.trim().await, Offset(6));
    let quiet = of("quiet");
    let good = place(&rig, &quiet, 2).await;
    let other = Place {
        link: crate::link::Link(good.link.0 ^ 1),
        ..good
    };
    for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
        let mut subscription = rig.subscribe(asked(&rig, &quiet, &other, on_gap)).await;
        let first = next(&mut subscription).await;
        assert_eq!(answer(&first).0, Answer::Reset(ResetReason::HistoryChanged));
    }
}

#[tokio::test]
async fn starts_without_a_token_begin_with_the_oldest_that_is_kept() {
    both(async |rig, _| {
        let all = interests([(Selector::All, Detail::Content)]);
        for start in [Start::Oldest, Start::Last(100)] {
            let mut subscription = rig.subscribe(request(start, &all)).await;
            let frames = until_caught_up(&mut subscription).await;
            assert_eq!(answer(&frames[0]), (Answer::Started, 6, 6));
            assert_eq!((gaps(&frames), offsets(&frames)), (vec![], vec![6, 7, 8]));
        }
    })
    .await;
}

/// A stream that has been given the first event of `busy`, and what it says once retention has passed it.
async fn passed(on_gap: OnGap) -> Vec<Result<Sent, Error>> {
    let (rig, telling) = Rig::keeping(hour()).await;
    rig.store([draft("busy"), draft("busy")]).await;
    rig.store_many(1000, "busy").await;
    // Without a window every read goes to the store.
    let far = rig.again(&telling, 0).await;
    let all = Request {
        on_gap,
        frame_bytes: 1,
        ..request(Start::Oldest, &of("busy"))
    };
    let mut subscription = far.subscribe(all).await;
    assert_eq!(answer(&next(&mut subscription).await), (Answer::Started, 0, 0));
    assert_eq!(offsets([&next(&mut subscription).await]), [0]);
    rig.clock.advance(HOUR + HOUR);
    rig.store([draft("busy")]).await;
    // Another process trims, so that this one finds out by itself.
    assert_eq!(rig.trim().await, Offset(1003));
    let mut frames = Vec::new();
    while let Some(frame) = crate::testing::within(subscription.next()).await {
        let last = match &frame {
            Ok(sent) => matches!(sent.frame, Frame::CaughtUp(_)),
            Err(_) => true,
        };
        frames.push(frame);
        if last {
            break;
        }
    }
    frames
}

#[tokio::test]
async fn a_stream_that_retention_passes_is_told_as_it_asked() {
    let frames: Vec<Sent> = passed(OnGap::Continue).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(gaps(&frames), [(1, 1003, vec![missing("busy", 0, 1003)])]);
    let frames: Vec<Sent> = passed(OnGap::Snapshot).await.into_iter().map(Result::unwrap).collect();
    let Frame::SnapshotBegin { reason, offset, .. } = frames[0].frame else {
        panic!("{:?}", frames[0].frame)
    };
    assert_eq!(
        (reason, offset),
        (SnapshotReason::Reset(ResetReason::ResumeTokenTooOld), Offset(1004))
    );
    assert!(
        frames
            .iter()
            .any(|sent| matches!(sent.frame, Frame::SnapshotEnd { .. }))
    );
    assert_eq!((gaps(&frames), offsets(&frames)), (vec![], vec![]));
    let failed = passed(OnGap::Fail).await.pop().unwrap().unwrap_err();
    let gone = Error::HistoryGone {
        from: Offset(1),
        oldest: Offset(1003),
    };
    assert_eq!(failed, gone);
}

#[tokio::test]
async fn a_stream_that_was_given_nothing_yet_is_told_that_the_beginning_moved() {
    let (rig, _) = halves().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &of("busy"))).await;
    rig.clock.advance(HOUR);
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(answer(&frames[0]), (Answer::Started, 6, 6));
    assert_eq!(gaps(&frames), [(6, 9, vec![missing("busy", 4, 6)])]);
}

#[tokio::test]
async fn a_clock_that_went_back_gives_out_again_what_is_not_trimmed() {
    let (rig, _) = halves().await;
    let from_start = async || {
        let all = interests([(Selector::All, Detail::Content)]);
        let mut subscription = rig.subscribe(request(Start::Oldest, &all)).await;
        offsets(&until_caught_up(&mut subscription).await)
    };
    assert_eq!(from_start().await, [6, 7, 8]);
    rig.clock.jump(-2_000_000);
    assert_eq!(from_start().await, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    rig.clock.jump(2_000_000);
    assert_eq!(rig.trim().await, Offset(6));
    rig.clock.jump(-2_000_000);
    assert_eq!(from_start().await, [6, 7, 8], "what is trimmed stays so");
}
