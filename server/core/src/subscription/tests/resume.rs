//! What a resume token is answered: STREAM section 3, row by row.

use std::sync::Arc;

use crate::interest::{Detail, Interests};
use crate::link::Link;
use crate::offset::{Epoch, Offset, Time};
use crate::resume_token::{KeyId, Keyring, Kind, Place, ResumeKey};
use crate::subscription::Error;
use crate::subscription::frame::{Answer, Frame, ResetReason, Sent, SnapshotReason};
use crate::subscription::start::{OnGap, Start};
use crate::testing::rig::{Rig, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only, tenant};

fn wanted() -> Interests {
    interests([(only("a"), Detail::Content)])
}

/// A log of 14 events: 0, 1, 3, 5, ... of `a` and the rest of `b`, and a stream over it that was told everything up to each place.
async fn fourteen() -> (Rig, Vec<Sent>) {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted())).await;
    let mut frames = until_caught_up(&mut subscription).await;
    rig.store([draft("a"), draft("b")]).await;
    frames.push(next(&mut subscription).await);
    for _ in 0..5 {
        rig.store([draft("a"), draft("b")]).await;
        frames.push(next(&mut subscription).await);
    }
    assert_eq!(rig.log.tail().0, Offset(14));
    (rig, frames)
}

/// The place before this offset, as a frame would have named it.
async fn place(rig: &Rig, next: u64) -> Place {
    let row = rig.row().await;
    Place {
        epoch: row.epoch,
        next: Offset(next),
        link: crate::store::Store::link_before(&*rig.memory, &row, Offset(next))
            .await
            .unwrap(),
        interests: wanted().hash(),
        kind: Kind::Complete,
    }
}

async fn resume(rig: &Rig, place: &Place, on_gap: OnGap) -> Result<Vec<Sent>, Error> {
    let mut asked = request(Start::Resume(rig.keyring.mint(&tenant("t"), place)), &wanted());
    asked.on_gap = on_gap;
    asked.replay_events = 3;
    let mut subscription = rig.try_subscribe(asked).await?;
    Ok(until_caught_up(&mut subscription).await)
}

fn answer(frames: &[Sent]) -> (Answer, u64) {
    let Frame::Subscribed { answer, from, .. } = frames[0].frame else {
        panic!("the first frame is always subscribed: {:?}", frames[0])
    };
    (answer, from.0)
}

fn has_snapshot(frames: &[Sent]) -> bool {
    frames
        .iter()
        .any(|sent| matches!(sent.frame, Frame::SnapshotEnd { .. }))
}

/// It was reset for this reason: a snapshot that says so, nothing of history, then the tail.
fn assert_reset(frames: &[Sent], reason: ResetReason) {
    assert_eq!(answer(frames), (Answer::Reset(reason), 14));
    let begins = |sent: &Sent| matches!(sent.frame, Frame::SnapshotBegin { reason: SnapshotReason::Reset(told), offset: Offset(14), .. } if told == reason);
    assert!(begins(&frames[1]), "{:?}", frames[1]);
    assert!(has_snapshot(frames) && offsets(frames).is_empty());
}

#[tokio::test]
async fn p_2_p_13_a_valid_token_continues_exactly_there_without_a_snapshot() {
    let (rig, _) = fourteen().await;
    let frames = resume(&rig, &place(&rig, 11).await, OnGap::Snapshot).await.unwrap();
    assert_eq!((answer(&frames), offsets(&frames)), ((Answer::Resumed, 11), vec![12]));
    assert!(!has_snapshot(&frames));
}

#[tokio::test]
async fn p_3_a_token_of_the_tail_is_caught_up_at_once() {
    let (rig, _) = fourteen().await;
    let frames = resume(&rig, &place(&rig, 14).await, OnGap::Snapshot).await.unwrap();
    assert_eq!((answer(&frames), frames.len()), ((Answer::Resumed, 14), 2));
}

#[tokio::test]
async fn the_token_of_every_frame_continues_behind_that_frame() {
    let (rig, frames) = fourteen().await;
    let all = offsets(&frames);
    for (at, sent) in frames.iter().enumerate() {
        let had = offsets(&frames[..=at]);
        let after = resume(&rig, &sent.place, OnGap::Continue).await.unwrap();
        assert_eq!(answer(&after).0, Answer::Resumed);
        assert_eq!([had, offsets(&after)].concat(), all, "after frame {at}");
    }
}

#[tokio::test]
async fn p_9_p_10_m_21_what_cannot_be_continued_says_why() {
    let (rig, _) = fourteen().await;
    let good = place(&rig, 12).await;
    let cases = [
        (
            Place {
                epoch: Epoch(good.epoch.0 ^ 1),
                ..good
            },
            ResetReason::EpochChanged,
        ),
        (
            Place {
                link: Link(good.link.0 ^ 1),
                ..good
            },
            ResetReason::HistoryChanged,
        ),
        (
            Place {
                link: Link(good.link.0 ^ 1),
                next: Offset(14),
                ..good
            },
            ResetReason::HistoryChanged,
        ),
        (
            Place {
                next: Offset(15),
                ..good
            },
            ResetReason::ResumeTokenAhead,
        ),
        (
            Place {
                next: Offset(u64::MAX),
                ..good
            },
            ResetReason::ResumeTokenAhead,
        ),
        (
            Place {
                interests: good.interests ^ 1,
                ..good
            },
            ResetReason::InterestsChanged,
        ),
        (
            Place {
                kind: Kind::SnapshotPending,
                ..good
            },
            ResetReason::SnapshotIncomplete,
        ),
    ];
    for (place, reason) in cases {
        for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
            let frames = resume(&rig, &place, on_gap).await.unwrap();
            assert_reset(&frames, reason);
        }
    }
}

#[tokio::test]
async fn more_events_behind_than_a_replay_holds_are_answered_as_was_asked() {
    let (rig, _) = fourteen().await;
    let (near, far) = (place(&rig, 8).await, place(&rig, 6).await);
    for on_gap in [OnGap::Snapshot, OnGap::Continue, OnGap::Fail] {
        let frames = resume(&rig, &near, on_gap).await.unwrap();
        assert_eq!(
            (answer(&frames).0, offsets(&frames)),
            (Answer::Resumed, vec![8, 10, 12]),
            "just as many"
        );
    }
    assert_reset(
        &resume(&rig, &far, OnGap::Snapshot).await.unwrap(),
        ResetReason::TooFarBehind,
    );
    assert_eq!(
        resume(&rig, &far, OnGap::Fail).await.unwrap_err(),
        Error::TooFarBehind(3)
    );
    let frames = resume(&rig, &far, OnGap::Continue).await.unwrap();
    assert_eq!(
        (answer(&frames), offsets(&frames)),
        ((Answer::Resumed, 6), vec![6, 8, 10, 12])
    );
}

#[tokio::test]
async fn a_token_of_a_key_that_was_removed_is_too_old() {
    let (mut rig, _) = fourteen().await;
    let good = place(&rig, 12).await;
    let token = rig.keyring.mint(&tenant("t"), &good);
    let key = |id: u16, secret| ResumeKey {
        id: KeyId(id),
        secret,
        mints_from: Time(0),
    };
    rig.keyring = Arc::new(Keyring::new(&[key(1, None), key(2, Some([8; 32]))], Time(0)).unwrap());
    let mut subscription = rig.subscribe(request(Start::Resume(token), &wanted())).await;
    assert_reset(
        &until_caught_up(&mut subscription).await,
        ResetReason::ResumeTokenTooOld,
    );
}

#[tokio::test]
async fn malformed_changed_and_foreign_tokens_have_one_answer() {
    let (rig, _) = fourteen().await;
    let good = place(&rig, 12).await;
    let foreign = rig.keyring.mint(&tenant("other"), &good);
    let mut edited = rig.keyring.mint(&tenant("t"), &good);
    edited.replace_range(30..31, if &edited[30..31] == "A" { "B" } else { "A" });
    for token in [String::new(), "x".into(), foreign, edited] {
        let error = rig
            .try_subscribe(request(Start::Resume(token), &wanted()))
            .await
            .unwrap_err();
        assert_eq!(error, Error::ResumeTokenInvalid);
    }
}

#[tokio::test]
async fn a_token_of_a_tail_that_is_stored_and_not_announced_yet_is_good() {
    let (rig, _) = fourteen().await;
    let other = Rig::beside(&rig).await;
    other.store([draft("a")]).await;
    let ahead = place(&rig, 15).await;
    let mut asked = request(Start::Resume(rig.keyring.mint(&tenant("t"), &ahead)), &wanted());
    asked.interests = wanted();
    let mut subscription = rig.subscribe(asked).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!((answer(&frames), offsets(&frames)), ((Answer::Resumed, 15), vec![]));
    rig.store([draft("a")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [15], "nothing comes twice");
}
