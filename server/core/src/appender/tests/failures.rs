//! Nothing is answered that is not known, and nobody pays for a neighbour.

use std::time::Duration;

use super::nodes::seen;
use crate::appender::{Append, Error, Outcome, Refusal, Wish};
use crate::event::{DedupeKey, Draft, SessionRef};
use crate::interest::Detail;
use crate::offset::{Index, Offset};
use crate::store::{self, Stored};
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, next, offsets, request, seq, stored, until_caught_up};
use crate::testing::{draft, interests, only, session, within, writer};

fn poisoned(id: &str) -> Draft {
    Draft {
        body: "poison".into(),
        ..draft(id)
    }
}

async fn poisoning() -> Rig {
    let rig = Rig::new().await;
    *rig.watch.poison.lock().unwrap() = Some(b"poison");
    rig
}

fn is_internal(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(rejection) if rejection.refusal == Refusal::Internal)
}

#[tokio::test]
async fn a_commit_that_failed_is_not_announced_and_leaves_nothing() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let before = (rig.log.tail(), rig.log.window().end());
    for (fault, answer) in [
        (store::Error::Full, Error::Full),
        (store::Error::Unavailable("gone".into()), Error::Unavailable),
        (store::Error::CommitUnknown, Error::Unavailable),
    ] {
        rig.memory.fail_commit_before(fault);
        assert_eq!(rig.append(None, vec![append(draft("a"))]).await, Err(answer));
        assert_eq!((rig.log.tail(), rig.log.window().end()), before);
        assert_eq!(rig.row().await.tail, before.1);
    }
    let [place] = rig.store([draft("a")]).await;
    assert_eq!(
        (place.offset, place.index),
        (Offset(2), Some(Index(2))),
        "and the next one succeeds in its place"
    );
}

#[tokio::test]
async fn a_failed_opening_gives_no_fence_and_the_next_one_does() {
    let rig = Rig::new().await;
    rig.memory.fail_commit_before(store::Error::Full);
    let opening = rig.appender.open_writer(rig.log.clone(), writer("w"), Wish::default());
    assert_eq!(within(opening).await, Err(Error::Full));
    assert_eq!(rig.row().await.fence, 0);
    assert_eq!(rig.open("w").await.fence, 1);
}

#[tokio::test]
async fn one_bad_append_never_fails_its_neighbours() {
    let rig = poisoning().await;
    let claim = rig.open("w").await;
    let other = rig.queue(None, vec![append(draft("b"))]).await;
    let batch = vec![seq(1, draft("a")), seq(2, poisoned("a")), seq(3, draft("a"))];
    let outcomes = rig.append(Some(&claim), batch).await.unwrap();
    assert!(within(other).await.unwrap().is_ok());
    assert!(is_internal(&outcomes[1]), "{outcomes:?}");
    assert_eq!(
        (stored(&outcomes[0]).index, stored(&outcomes[2]).index),
        (Some(Index(1)), Some(Index(2)))
    );
    let again = rig
        .append(Some(&claim), vec![seq(2, poisoned("a")), seq(4, draft("a"))])
        .await
        .unwrap();
    assert!(
        matches!(again[0], Outcome::Duplicate { stored: None, .. }),
        "it was answered: {again:?}"
    );
    stored(&again[1]);
}

#[tokio::test]
async fn a_bad_append_alone_is_rejected_and_what_follows_it_is_not() {
    let rig = poisoning().await;
    let claim = rig.open("w").await;
    let outcomes = rig.append(Some(&claim), vec![seq(1, poisoned("a"))]).await.unwrap();
    assert!(is_internal(&outcomes[0]), "{outcomes:?}");
    let outcomes = rig.append(Some(&claim), vec![seq(2, draft("a"))]).await.unwrap();
    assert_eq!(stored(&outcomes[0]).offset, Offset(1));
    assert_eq!(rig.row().await.tail, Offset(2), "nothing of the bad one stayed");
}

#[tokio::test]
async fn an_unknown_commit_that_happened_is_answered_and_announced_once() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let wanted = interests([(only("a"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut subscription).await;
    rig.memory.fail_commit_after();
    let outcomes = rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap();
    assert_eq!(stored(&outcomes[0]).offset, Offset(1));
    assert_eq!(rig.log.tail().0, Offset(2));
    assert_eq!(offsets([&next(&mut subscription).await]), [0, 1]);
    let outcomes = rig
        .append(Some(&claim), vec![seq(1, draft("a")), seq(2, draft("a"))])
        .await
        .unwrap();
    assert!(matches!(outcomes[0], Outcome::Duplicate { stored: Some(_), .. }));
    assert_eq!(stored(&outcomes[1]).offset, Offset(2));
}

#[tokio::test]
async fn an_unknown_commit_that_did_not_happen_is_not_answered_as_stored() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    rig.memory.fail_commit_before(store::Error::CommitUnknown);
    let answer = rig.append(Some(&claim), vec![seq(1, draft("a"))]).await;
    assert_eq!(answer, Err(Error::Unavailable));
    assert_eq!(rig.log.tail().0, Offset(0), "nor announced");
    let outcomes = rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap();
    assert_eq!(stored(&outcomes[0]).offset, Offset(1), "sent again, it is stored");
}

/// What the door refused: it consumes its seq and stores nothing.
pub(super) fn rejected(seq: u64) -> Append {
    Append {
        draft: Err(crate::appender::Rejection {
            refusal: Refusal::TooLarge,
            message: String::new(),
            field: String::new(),
            metadata: Vec::new(),
        }),
        ..self::seq(seq, draft("a"))
    }
}

#[tokio::test]
async fn an_unknown_commit_of_seqs_alone_is_looked_after_by_seq() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    rig.memory.fail_commit_before(store::Error::CommitUnknown);
    assert_eq!(
        rig.append(Some(&claim), vec![rejected(1)]).await,
        Err(Error::Unavailable)
    );
    let gap = rig.append(Some(&claim), vec![seq(2, draft("a"))]).await.unwrap();
    assert!(matches!(&gap[0], Outcome::Rejected(rejection) if rejection.refusal == Refusal::SeqGap));
    rig.memory.fail_commit_after();
    let outcomes = rig.append(Some(&claim), vec![rejected(1)]).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Rejected(_)));
    stored(&rig.append(Some(&claim), vec![seq(2, draft("a"))]).await.unwrap()[0]);
}

#[tokio::test]
async fn an_unknown_opening_that_did_not_happen_grants_nothing() {
    let rig = Rig::new().await;
    rig.memory.fail_commit_before(store::Error::CommitUnknown);
    let opening = || {
        let (log, wish) = (rig.log.clone(), Wish::default());
        rig.appender.open_writer(log, writer("w"), wish)
    };
    assert_eq!(within(opening()).await, Err(Error::Unavailable));
    assert_eq!(rig.row().await.fence, 0);
    // One that did is not granted either: another node may have given the same fence to somebody else.
    rig.memory.fail_commit_after();
    assert_eq!(within(opening()).await, Err(Error::Unavailable));
    assert_eq!(rig.row().await.fence, 1);
    assert_eq!(rig.open("w").await.fence, 2);
    // Proved by an event of the same commit, it is.
    rig.memory.fail_commit_after();
    let wish = Wish {
        sessions: vec![SessionRef::Id(session("a"))],
        ..Wish::default()
    };
    let opening = rig.appender.open_writer(rig.log.clone(), writer("v"), wish);
    assert_eq!(within(opening).await.unwrap().fence, 3);
}

/// Moves the clock on until the answer is there.
pub(super) async fn patiently<T>(rig: &Rig, answer: impl Future<Output = T>) -> T {
    let mut answer = Box::pin(answer);
    within(async {
        loop {
            if let std::task::Poll::Ready(answer) = futures_util::poll!(&mut answer) {
                return answer;
            }
            tokio::task::yield_now().await;
            rig.clock.advance(Duration::from_millis(50));
        }
    })
    .await
}

#[tokio::test]
async fn an_unknown_commit_is_looked_after_again_while_the_log_cannot_be_read() {
    let rig = Rig::new().await;
    rig.memory.fail_commit_after();
    rig.watch.go_blind_after_commit(7);
    let pending = rig.queue(None, vec![append(draft("a"))]).await;
    let outcomes = patiently(&rig, pending).await.unwrap().unwrap();
    assert_eq!((stored(&outcomes[0]).offset, rig.log.tail().0), (Offset(1), Offset(2)));
}

#[tokio::test]
async fn what_nobody_knows_is_told_to_nobody_and_caught_up_with_later() {
    let rig = Rig::new().await;
    let key = Some(DedupeKey::of_key("k"));
    let keyed = || {
        append(Draft {
            dedupe: key,
            ..draft("a")
        })
    };
    let wanted = interests([(only("a"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut subscription).await;
    rig.memory.fail_commit_after();
    rig.watch.go_blind_after_commit(8);
    let pending = rig.queue(None, vec![keyed()]).await;
    assert_eq!(patiently(&rig, pending).await.unwrap(), Err(Error::Unavailable));
    assert_eq!((rig.log.tail().0, rig.row().await.tail), (Offset(0), Offset(2)));
    // The next commit takes the log's row, sees that it did happen, and announces that before anything of its own.
    let outcomes = rig.append(None, vec![keyed(), append(draft("a"))]).await.unwrap();
    let duplicate = Outcome::Duplicate {
        session: Some(session("a")),
        stored: Some(Stored {
            offset: Offset(1),
            index: Some(Index(1)),
        }),
    };
    assert_eq!((&outcomes[0], stored(&outcomes[1]).offset), (&duplicate, Offset(2)));
    assert_eq!(seen(&mut subscription, 3).await, [0, 1, 2]);
}

#[tokio::test]
async fn what_nobody_knew_is_announced_by_the_next_comparison_without_another_append() {
    let rig = Rig::new().await;
    let wanted = interests([(only("a"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut subscription).await;
    rig.memory.fail_commit_after();
    rig.watch.go_blind_after_commit(8);
    let pending = rig.queue(None, vec![append(draft("a"))]).await;
    assert_eq!(patiently(&rig, pending).await.unwrap(), Err(Error::Unavailable));
    rig.appender.compare(rig.log.clone()).await.unwrap();
    assert_eq!(seen(&mut subscription, 2).await, [0, 1]);
}

#[tokio::test]
async fn nothing_is_appended_to_a_log_that_got_another_epoch_under_the_hub() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let before = rig.row().await;
    let renewed = crate::hub::renew_epochs(&*rig.memory).await.unwrap();
    assert_ne!(renewed[0].epoch, before.epoch);
    assert!(renewed[0].fence > before.fence + u64::from(u32::MAX));
    assert_eq!(
        rig.append(None, vec![append(draft("a"))]).await,
        Err(Error::Unavailable)
    );
    assert_eq!(rig.row().await.tail, before.tail);
}
