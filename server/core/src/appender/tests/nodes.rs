//! Another process appends to the same log.

use super::failures::{patiently, rejected};
use crate::appender::{Claim, Error, Outcome, Wish};
use crate::event::{Draft, ItemKey, ItemStep};
use crate::interest::Detail;
use crate::log::Log;
use crate::offset::{Index, Offset};
use crate::store;
use crate::subscription::Subscription;
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, next, offsets, request, seq, stored, until_caught_up};
use crate::testing::{draft, interests, only, within, writer};

/// The offsets of the next events, so many or a few more.
pub(super) async fn seen(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(offsets([&next(subscription).await]));
    }
    seen
}

#[tokio::test]
async fn another_processes_events_are_caught_up_with_before_the_next_commit() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a")]).await;
    let wanted = interests([(only("a"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut subscription).await;
    other.store([draft("a")]).await;
    assert_eq!(rig.log.tail().0, Offset(2), "this process does not know yet");
    let [place] = rig.store([draft("a")]).await;
    assert_eq!(
        (place.offset, place.index),
        (Offset(3), Some(Index(3))),
        "its cached rows are not believed"
    );
    assert_eq!(seen(&mut subscription, 2).await, [2, 3]);
}

#[tokio::test]
async fn a_writer_that_another_process_opened_anew_is_fenced_here_too() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    let old = rig.open("w").await;
    rig.append(Some(&old), vec![seq(1, draft("a"))]).await.unwrap();
    let new = other.open("w").await;
    let fenced = Err(Error::Fenced {
        given: old.fence,
        current: new.fence,
    });
    assert_eq!(rig.append(Some(&old), vec![seq(2, draft("a"))]).await, fenced);
    assert!(rig.append(Some(&new), vec![seq(2, draft("a"))]).await.is_ok());
}

/// How a commit ends whose outcome is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Durable,
    Undone,
}

/// Two nodes. The next commit of the first is of unknown outcome, and before it can look the second one appends.
async fn hidden(
    rig: &Rig,
    other: &Rig,
    ends: Ends,
    claim: Option<&Claim>,
    appends: Vec<crate::appender::Append>,
) -> Result<Vec<Outcome>, Error> {
    match ends {
        Ends::Durable => rig.memory.fail_commit_after(),
        Ends::Undone => rig.memory.fail_commit_before(store::Error::CommitUnknown),
    }
    rig.watch.go_blind_after_commit(1);
    let commits = rig.commits();
    let pending = rig.queue(claim, appends).await;
    within(async {
        while rig.commits() == commits {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The clock stands still: the first node cannot look a second time before this is stored.
    other.store([draft("b")]).await;
    patiently(rig, pending).await.unwrap()
}

#[tokio::test]
async fn an_unknown_commit_is_known_by_its_events_behind_which_another_node_appended() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a"), draft("b")]).await;
    let wanted = interests([(only("a"), Detail::Content), (only("b"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut subscription).await;
    let outcomes = hidden(&rig, &other, Ends::Durable, None, vec![append(draft("a"))]).await;
    assert_eq!(stored(&outcomes.unwrap()[0]).offset, Offset(4));
    let [place] = rig.store([draft("a")]).await;
    assert_eq!((place.offset, place.index), (Offset(6), Some(Index(3))));
    assert_eq!(seen(&mut subscription, 3).await, [4, 5, 6], "each once, in one order");
}

#[tokio::test]
async fn an_unknown_commit_whose_place_another_node_took_is_not_answered_as_stored() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a"), draft("b")]).await;
    let claim = rig.open("w").await;
    let answer = hidden(&rig, &other, Ends::Undone, Some(&claim), vec![seq(1, draft("a"))]).await;
    assert_eq!(answer, Err(Error::Unavailable));
    let again = rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap();
    assert_eq!(stored(&again[0]).offset, Offset(5), "sent again, it is stored");
}

#[tokio::test]
async fn unknown_seqs_without_events_are_known_by_their_writer_whatever_another_node_appended() {
    for ends in [Ends::Durable, Ends::Undone] {
        let rig = Rig::new().await;
        let other = Rig::beside(&rig).await;
        let claim = rig.open("w").await;
        let answer = hidden(&rig, &other, ends, Some(&claim), vec![rejected(1)]).await;
        let next = rig
            .append(Some(&claim), vec![seq(1, draft("a")), seq(2, draft("a"))])
            .await;
        let next = next.unwrap();
        match ends {
            Ends::Durable => {
                assert!(matches!(answer.unwrap()[0], Outcome::Rejected(_)));
                assert!(matches!(next[0], Outcome::Duplicate { stored: None, .. }), "{next:?}");
            }
            Ends::Undone => {
                assert_eq!(answer, Err(Error::Unavailable));
                stored(&next[0]);
            }
        }
        stored(&next[1]);
    }
}

#[tokio::test]
async fn one_fence_is_never_given_to_two() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.memory.fail_commit_before(store::Error::CommitUnknown);
    rig.watch.go_blind_after_commit(1);
    let opening = rig.appender.open_writer(rig.log.clone(), writer("w"), Wish::default());
    let mut opening = Box::pin(opening);
    within(async {
        while rig.commits() == 0 {
            assert!(futures_util::poll!(&mut opening).is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(other.open("w").await.fence, 1);
    assert_eq!(patiently(&rig, opening).await, Err(Error::Unavailable));
}

#[tokio::test]
async fn kept_rows_are_not_believed_after_another_node_consumed_seqs_without_an_event() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    let claim = rig.open("w").await;
    stored(&rig.append(Some(&claim), vec![seq(1, draft("a"))]).await.unwrap()[0]);
    let refused = other.append(Some(&claim), vec![rejected(2)]).await.unwrap();
    assert!(matches!(refused[0], Outcome::Rejected(_)));
    let again = rig
        .append(Some(&claim), vec![seq(2, draft("a")), seq(3, draft("a"))])
        .await
        .unwrap();
    assert!(
        matches!(again[0], Outcome::Duplicate { stored: None, .. }),
        "it was refused: {again:?}"
    );
    assert_eq!(stored(&again[1]).offset, Offset(2));
}

fn reads(log: &Log) -> u64 {
    log.counters().store_reads.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn what_another_node_stored_is_read_once_for_all_who_listen_and_wakes_nobody_else() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a"), draft("b"), draft("c")]).await;
    let [a, b] = ["a", "b"].map(|id| interests([(only(id), Detail::Content)]));
    let mut listening = Vec::new();
    for _ in 0..3 {
        let mut subscription = rig.subscribe(request(Start::Now, &a)).await;
        until_caught_up(&mut subscription).await;
        listening.push(subscription);
    }
    let mut bystander = rig.subscribe(request(Start::Now, &b)).await;
    until_caught_up(&mut bystander).await;
    let (before, woken) = (reads(&rig.log), bystander.wakes());
    other.store([draft("a"), draft("a"), draft("c")]).await;
    within(rig.appender.look(rig.log.clone())).await.unwrap();
    assert_eq!(rig.log.tail().0, Offset(9));
    for subscription in &mut listening {
        assert_eq!(seen(subscription, 2).await, [6, 7]);
    }
    assert_eq!(reads(&rig.log), before, "nobody reads for itself");
    assert_eq!(bystander.wakes(), woken);
}

#[tokio::test]
async fn an_item_that_another_node_started_is_open_here_and_its_text_is_not_to_be_had() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a")]).await;
    let wanted = interests([(only("a"), Detail::Live)]);
    let mut listener = rig.subscribe(request(Start::Now, &wanted)).await;
    until_caught_up(&mut listener).await;
    let started = |step| Draft {
        item: Some(ItemKey::of("m")),
        item_step: Some(step),
        ..draft("a")
    };
    other.store([started(ItemStep::Started)]).await;
    within(rig.appender.look(rig.log.clone())).await.unwrap();
    let opened = |rig: &Rig| rig.log.deltas().opened(&wanted, Offset(9)).unwrap().0;
    let open = opened(&rig);
    assert_eq!(open.len(), 1);
    let texts = rig.log.deltas().texts_so_far(&open[0]);
    assert!(texts.iter().all(|text| text.text.is_none()), "{texts:?}");
    other.store([started(ItemStep::Completed)]).await;
    within(rig.appender.look(rig.log.clone())).await.unwrap();
    assert!(opened(&rig).is_empty());
}

#[tokio::test]
async fn more_than_is_read_at_once_is_caught_up_with_unseen() {
    let rig = Rig::new().await;
    let other = Rig::beside(&rig).await;
    rig.store([draft("a")]).await;
    let wanted = interests([(only("a"), Detail::Content)]);
    let mut subscription = rig.subscribe(request(Start::Now, &wanted)).await;
    until_caught_up(&mut subscription).await;
    other.store_many(crate::limits::FILL_EVENTS_MAX + 1, "a").await;
    within(rig.appender.look(rig.log.clone())).await.unwrap();
    assert_eq!(
        rig.log.window().start(),
        rig.log.tail().0,
        "the window does not take so much"
    );
    let found = offsets(&until_caught_up(&mut subscription).await);
    assert_eq!(found.len(), crate::limits::FILL_EVENTS_MAX + 1);
}
