//! One writer holds a session at a time, and who lost it is told.

use std::time::Duration;

use crate::appender::{Append, Claim, Claimed, Condition, Outcome, Refusal, Rejection, Wish};
use crate::clock::Clock as _;
use crate::event::{DedupeKey, Draft, ItemStep, SessionRef, SessionStep};
use crate::hold::{Barred, Hold, Take};
use crate::interest::Detail;
use crate::lease::Ended;
use crate::limits::{LEASE_BEAT, LEASE_DURATION, LEASE_TICK};
use crate::session::SessionFacts;
use crate::store::Store as _;
use crate::subscription::frame::Frame;
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, append, assert_silent, delta, item_draft, next, request, seq, stored, until_caught_up};
use crate::testing::{draft, interests, only, session, within, writer};

const SECOND: Duration = Duration::from_secs(1);

fn wish<const N: usize>(take: Take, sessions: [&str; N]) -> Wish {
    Wish {
        sessions: sessions.map(|id| SessionRef::Id(session(id))).into(),
        take,
        ..Wish::default()
    }
}

async fn open_with(rig: &Rig, id: &str, wish: Wish) -> (Claim, Vec<Claimed>) {
    let opening = rig.appender.open_writer(rig.log.clone(), writer(id), wish);
    let grant = within(opening).await.unwrap();
    let claim = Claim {
        writer: writer(id),
        fence: grant.fence,
    };
    (claim, grant.sessions)
}

async fn one(rig: &Rig, claim: Option<&Claim>, append: Append) -> Outcome {
    rig.append(claim, vec![append]).await.unwrap().remove(0)
}

fn rejection(outcome: &Outcome) -> &Rejection {
    let Outcome::Rejected(rejection) = outcome else {
        panic!("it was not rejected: {outcome:?}")
    };
    rejection
}

fn refusal(outcome: &Outcome) -> Refusal {
    rejection(outcome).refusal
}

async fn hold(rig: &Rig, id: &str) -> Hold {
    let found = rig.memory.session(rig.log.row().key, &session(id)).await.unwrap();
    found.unwrap().hold
}

fn held(claim: &Claim) -> Hold {
    Hold {
        owner: Some(claim.writer.clone()),
        fence: claim.fence,
    }
}

#[tokio::test]
async fn a_session_is_its_first_writers_while_the_lease_lives() {
    let rig = Rig::new().await;
    let (a, b) = (rig.open("a").await, rig.open("b").await);
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    assert_eq!(hold(&rig, "s").await, held(&a));
    let batch = vec![seq(1, draft("s")), seq(2, draft("other"))];
    let outcomes = rig.append(Some(&b), batch).await.unwrap();
    let rejected = rejection(&outcomes[0]);
    assert_eq!(rejected.refusal, Refusal::SessionOwned);
    let owner = ("owner_writer_id", "a".to_owned());
    assert!(rejected.metadata.contains(&owner), "{rejected:?}");
    stored(&outcomes[1]);
    assert_eq!(
        hold(&rig, "other").await,
        held(&b),
        "its seq was consumed, and the rest goes on"
    );
    let again = one(&rig, Some(&b), seq(1, draft("s"))).await;
    assert!(matches!(again, Outcome::Duplicate { stored: None, .. }), "{again:?}");
}

#[tokio::test]
async fn who_has_no_writer_is_kept_out_and_a_method_of_the_hubs_is_not() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    assert_eq!(
        refusal(&one(&rig, None, append(draft("s"))).await),
        Refusal::SessionOwned
    );
    let mut renamed = append(draft("s"));
    renamed.condition = Condition::ChangesFacts;
    if let Ok(draft) = &mut renamed.draft {
        draft.session_step = SessionStep::Changed(Box::new(SessionFacts {
            title: Some("by a person".into()),
            ..SessionFacts::default()
        }));
    }
    stored(&one(&rig, None, renamed).await);
    assert_eq!(hold(&rig, "s").await, held(&a), "it stays whose it was");
    rig.renew(&a, Wish::default()).await.unwrap();
    stored(&one(&rig, None, append(draft("s"))).await);
}

#[tokio::test]
async fn a_take_over_ends_the_earlier_hold_for_good() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    let (b, claimed) = open_with(&rig, "b", wish(Take::Free, ["s"])).await;
    assert_eq!(claimed[0].barred, Some(Barred::Owned(writer("a"))));
    assert_eq!(hold(&rig, "s").await, held(&a));
    let over = rig.renew(&b, wish(Take::Over, ["s"])).await.unwrap();
    assert_eq!(
        (over.sessions[0].barred.clone(), hold(&rig, "s").await),
        (None, held(&b))
    );
    assert_eq!(
        refusal(&one(&rig, Some(&a), seq(2, draft("s"))).await),
        Refusal::SessionOwned
    );
    // A writer that comes back never takes from another, whatever it says that it holds.
    let (a, claimed) = open_with(&rig, "a", wish(Take::Free, ["s"])).await;
    assert_eq!(claimed[0].barred, Some(Barred::Owned(writer("b"))));
    // Nor does one whose fence is older take over what is held under a newer one.
    let (newer, _) = open_with(&rig, "c", wish(Take::Over, ["s"])).await;
    let back = rig.renew(&a, wish(Take::Over, ["s"])).await.unwrap();
    assert_eq!(back.sessions[0].barred, Some(Barred::Fenced(newer.fence)));
    assert_eq!(hold(&rig, "s").await, held(&newer));
}

#[tokio::test]
async fn a_fence_outlives_the_hold_and_who_is_late_consumes_no_seq() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    let (b, _) = open_with(&rig, "b", wish(Take::Over, ["s"])).await;
    stored(&one(&rig, Some(&b), seq(1, draft("s"))).await);
    rig.renew(&b, Wish::default()).await.unwrap();
    assert_eq!(hold(&rig, "s").await.owner, None);
    let late = vec![seq(2, draft("s")), seq(3, draft("other"))];
    let outcomes = rig.append(Some(&a), late).await.unwrap();
    assert_eq!(
        (refusal(&outcomes[0]), refusal(&outcomes[1])),
        (Refusal::Fenced, Refusal::SeqGap)
    );
    stored(&one(&rig, Some(&a), seq(2, draft("other"))).await);
    let (a, _) = open_with(&rig, "a", wish(Take::Free, ["other"])).await;
    stored(&one(&rig, Some(&a), seq(3, draft("s"))).await);
    assert_eq!(hold(&rig, "s").await, held(&a), "who opens anew may have it");
}

#[tokio::test]
async fn what_a_writer_leaves_out_it_holds_no_longer() {
    let rig = Rig::new().await;
    let (a, claimed) = open_with(&rig, "a", wish(Take::Free, ["s", "t"])).await;
    assert!(claimed.iter().all(|claimed| claimed.barred.is_none()));
    let tail = rig.row().await.tail;
    rig.renew(&a, wish(Take::Free, ["t"])).await.unwrap();
    assert_eq!((hold(&rig, "s").await.owner, hold(&rig, "t").await), (None, held(&a)));
    let (newer, _) = open_with(&rig, "a", wish(Take::Free, ["s"])).await;
    assert_eq!(
        (hold(&rig, "s").await, hold(&rig, "t").await.owner),
        (held(&newer), None)
    );
    assert_eq!(rig.row().await.tail, tail, "no event tells of a hold");
    // A stream that opens says nothing of what is held.
    within(rig.appender.check_writer(rig.log.clone(), newer.clone()))
        .await
        .unwrap();
    assert_eq!(hold(&rig, "s").await, held(&newer));
}

#[tokio::test]
async fn an_append_that_comes_again_keeps_its_session() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    // Its acknowledgement was lost, so the writer does not know yet that it holds the session.
    rig.renew(&a, Wish::default()).await.unwrap();
    let again = one(&rig, Some(&a), seq(1, draft("s"))).await;
    assert!(matches!(again, Outcome::Duplicate { stored: Some(_), .. }), "{again:?}");
    assert_eq!(hold(&rig, "s").await, held(&a));
}

#[tokio::test]
async fn what_was_stored_before_is_answered_so_whoever_holds_the_session_now() {
    let rig = Rig::new().await;
    let swept = || Draft {
        dedupe: Some(DedupeKey::of_key("k")),
        ..draft("s")
    };
    let place = stored(&one(&rig, None, append(swept())).await);
    let a = rig.open("a").await;
    let again = one(&rig, Some(&a), seq(1, swept())).await;
    let duplicate = Outcome::Duplicate {
        session: Some(session("s")),
        stored: Some(place),
    };
    assert_eq!(
        (again, hold(&rig, "s").await),
        (duplicate.clone(), held(&a)),
        "and who sweeps it holds it"
    );
    assert_eq!(one(&rig, None, append(swept())).await, duplicate);
}

#[tokio::test]
async fn a_lease_ends_without_a_word_and_says_whose() {
    let rig = Rig::new().await;
    let (a, b) = (rig.open("a").await, rig.open("b").await);
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    assert_eq!(rig.pass(LEASE_DURATION - SECOND).await, []);
    assert_eq!(
        refusal(&one(&rig, Some(&b), seq(1, draft("s"))).await),
        Refusal::SessionOwned
    );
    rig.log.leases().hear(&a.writer, a.fence, rig.clock.elapsed());
    assert_eq!(rig.pass(LEASE_DURATION - SECOND).await, [], "any frame renews it");
    let ended = Ended {
        writer: writer("a"),
        sessions: vec![session("s")],
    };
    assert_eq!(rig.pass(LEASE_TICK).await, [ended]);
    assert_eq!(hold(&rig, "s").await.owner, None);
    assert_eq!(rig.pass(LEASE_DURATION).await, [], "it is told once");
    // It comes back before anybody else: it was only silent.
    stored(&one(&rig, Some(&a), seq(2, draft("s"))).await);
    assert_eq!(hold(&rig, "s").await, held(&a));
}

#[tokio::test]
async fn who_comes_between_the_end_of_a_lease_and_the_look_at_it_may_have_the_session() {
    let rig = Rig::new().await;
    let (a, b) = (rig.open("a").await, rig.open("b").await);
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    rig.pass(LEASE_DURATION - SECOND).await;
    rig.clock.advance(SECOND);
    stored(&one(&rig, Some(&b), seq(1, draft("s"))).await);
    assert_eq!(hold(&rig, "s").await, held(&b));
    assert_eq!(rig.pass(LEASE_TICK).await, [], "there is nothing left to let go");
}

#[tokio::test]
async fn a_machine_that_slept_gives_every_lease_a_whole_period() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    rig.look().await;
    rig.clock.advance(10 * LEASE_DURATION);
    assert_eq!(
        refusal(&one(&rig, None, append(draft("s"))).await),
        Refusal::SessionOwned
    );
    assert_eq!(rig.pass(LEASE_DURATION - SECOND).await, []);
    assert_eq!(rig.pass(LEASE_TICK).await.len(), 1);
}

#[tokio::test]
async fn a_restart_gives_every_lease_a_whole_period() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    let after = Rig::beside(&rig).await;
    assert_eq!(
        refusal(&one(&after, None, append(draft("s"))).await),
        Refusal::SessionOwned
    );
    assert_eq!(after.pass(LEASE_DURATION - SECOND).await, []);
    assert_eq!(after.pass(LEASE_BEAT + LEASE_TICK).await.len(), 1);
    stored(&one(&after, None, append(draft("s"))).await);
}

#[tokio::test]
async fn an_end_of_a_lease_whose_outcome_is_unknown_is_told_when_it_is_known() {
    let rig = Rig::new().await;
    let a = rig.open("a").await;
    stored(&one(&rig, Some(&a), seq(1, draft("s"))).await);
    rig.pass(LEASE_DURATION - SECOND).await;
    rig.memory.fail_commit_after();
    assert_eq!(rig.pass(LEASE_TICK).await.len(), 1, "it did happen");
    assert_eq!(hold(&rig, "s").await.owner, None);
}

#[tokio::test]
async fn a_node_never_believes_dead_whom_another_hears() {
    let here = Rig::new().await;
    let there = Rig::beside(&here).await;
    let far = Rig::beside(&here).await;
    let a = there.open("a").await;
    stored(&one(&there, Some(&a), seq(1, draft("s"))).await);
    for _ in 0..4 * LEASE_DURATION.as_secs() / LEASE_TICK.as_secs() {
        there.log.leases().hear(&a.writer, a.fence, there.clock.elapsed());
        for node in [&far, &there] {
            assert_eq!(node.pass(LEASE_TICK).await, []);
        }
        assert_eq!(
            refusal(&one(&far, None, append(draft("s"))).await),
            Refusal::SessionOwned
        );
    }
    // Its node dies: nobody counts its beats on.
    let ended = far.pass(LEASE_DURATION + LEASE_BEAT + 2 * LEASE_TICK).await;
    assert_eq!(ended.len(), 1);
    stored(&one(&far, None, append(draft("s"))).await);
}

#[tokio::test]
async fn what_a_node_keeps_of_holds_is_true_only_until_another_changes_them() {
    let there = Rig::new().await;
    let here = Rig::beside(&there).await;
    let a = here.open("a").await;
    stored(&one(&here, Some(&a), seq(1, draft("s"))).await);
    let b = there.open("b").await;
    // Neither an event nor a new fence tells of it.
    there.renew(&b, wish(Take::Over, ["s"])).await.unwrap();
    assert_eq!(
        refusal(&one(&here, Some(&a), seq(2, draft("s"))).await),
        Refusal::SessionOwned
    );
    there.renew(&b, Wish::default()).await.unwrap();
    assert_eq!(
        refusal(&one(&here, Some(&a), seq(3, draft("s"))).await),
        Refusal::Fenced
    );
    // A seq that was consumed elsewhere, without an event.
    let refused = one(&there, Some(&a), seq(3, draft("s"))).await;
    assert_eq!(refusal(&refused), Refusal::Fenced);
    stored(&one(&there, Some(&a), seq(3, draft("t"))).await);
    let (c, _) = open_with(&here, "c", wish(Take::Over, ["t"])).await;
    assert_eq!(
        refusal(&one(&there, Some(&a), seq(4, draft("t"))).await),
        Refusal::SessionOwned
    );
    let again = one(&here, Some(&a), seq(4, draft("t"))).await;
    assert!(matches!(again, Outcome::Duplicate { stored: None, .. }), "{again:?}");
    assert_eq!(hold(&here, "t").await, held(&c));
}

/// Fragments of the one message that two nodes speak of.
async fn speak(rig: &Rig, claim: &Claim, at: u64, text: &'static str) {
    let fragment = vec![delta("s", "m", at, text)];
    within(rig.appender.deltas(rig.log.clone(), Some(claim.clone()), fragment))
        .await
        .unwrap();
    rig.settle().await;
}

#[tokio::test]
async fn fragments_of_who_lost_its_session_go_no_further_at_any_node() {
    let there = Rig::new().await;
    let here = Rig::beside(&there).await;
    let a = here.open("a").await;
    let started = item_draft("s", "m", ItemStep::Started);
    stored(&one(&here, Some(&a), seq(1, started)).await);
    let wanted = interests([(only("s"), Detail::Live)]);
    let mut stream = here.subscribe(request(Start::Oldest, &wanted)).await;
    until_caught_up(&mut stream).await;
    speak(&here, &a, 0, "hers").await;
    while !matches!(next(&mut stream).await.frame, Frame::Deltas(_) | Frame::ItemText(_)) {}
    let b = there.open("b").await;
    there.renew(&b, wish(Take::Over, ["s"])).await.unwrap();
    speak(&here, &a, 4, "late").await;
    assert_silent(&mut stream).await;
    there.renew(&b, Wish::default()).await.unwrap();
    speak(&here, &a, 4, "later").await;
    assert_silent(&mut stream).await;
    let (a, _) = open_with(&here, "a", wish(Take::Free, ["s"])).await;
    speak(&here, &a, 4, "back").await;
    assert!(matches!(next(&mut stream).await.frame, Frame::Deltas(_)));
}
