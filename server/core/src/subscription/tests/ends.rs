//! How a stream ends, and what its last resume token is good for.

use std::time::Duration;

use crate::event::{Draft, SessionStep};
use crate::interest::{Detail, Interests, Selector};
use crate::limits;
use crate::offset::{Offset, Time};
use crate::resume_token::Kind;
use crate::subscription::Request;
use crate::subscription::frame::{Answer, ClosingReason, Frame, Sent};
use crate::subscription::standing::Standing;
use crate::subscription::start::Start;
use crate::testing::rig::{HEARTBEAT, Rig, assert_silent, next, offsets, request, until_caught_up};
use crate::testing::{OPENED, draft, interests, only, session};

fn content() -> Interests {
    interests([(only("a"), Detail::Content)])
}

fn closed(id: &str) -> Draft {
    Draft {
        kind: OPENED,
        family: OPENED.family().unwrap(),
        session_step: SessionStep::Closed,
        ..draft(id)
    }
}

fn reason(sent: &Sent) -> (ClosingReason, Option<Duration>) {
    let Frame::Closing { reason, retry_after } = sent.frame else {
        panic!("the end was to come, not {sent:?}")
    };
    (reason, retry_after)
}

#[tokio::test]
async fn draining_ends_politely_and_the_token_stays_good() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    rig.store([draft("a"), draft("b")]).await;
    let wait = Some(Duration::from_millis(700));
    rig.draining.send_replace(Some((ClosingReason::Draining, wait)));
    let last = next(&mut subscription).await;
    assert_eq!(reason(&last), (ClosingReason::Draining, wait));
    assert!(subscription.next().await.is_none(), "it is the last one");
    rig.draining.send_replace(None);
    let mut again = rig
        .subscribe(request(Start::Resume(rig.token(&last)), &content()))
        .await;
    let frames = until_caught_up(&mut again).await;
    assert!(matches!(
        frames[0].frame,
        Frame::Subscribed {
            answer: Answer::Resumed,
            ..
        }
    ));
    assert_eq!(offsets(&frames), [0, 1], "what was not sent comes now");
}

#[tokio::test]
async fn a_parked_stream_learns_of_its_end_at_once() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    until_caught_up(&mut subscription).await;
    let mut next = Box::pin(subscription.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    rig.credential
        .send_replace(Standing::Ended(ClosingReason::PermissionRevoked));
    let last = crate::testing::within(next).await.unwrap().unwrap();
    assert_eq!(reason(&last), (ClosingReason::PermissionRevoked, None));
}

#[tokio::test]
async fn the_end_of_the_credential_comes_before_the_end_of_the_node_and_before_any_event() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    rig.draining.send_replace(Some((ClosingReason::Draining, None)));
    rig.credential
        .send_replace(Standing::Ended(ClosingReason::CredentialExpired));
    assert!(
        matches!(next(&mut subscription).await.frame, Frame::Subscribed { .. }),
        "always the first"
    );
    let last = next(&mut subscription).await;
    assert_eq!(
        (reason(&last).0, last.place.next),
        (ClosingReason::CredentialExpired, Offset(0))
    );
}

#[tokio::test]
async fn stop_when_closed_ends_once_all_sessions_are_closed_and_told() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let mut asked = request(
        Start::Oldest,
        &interests([(only("a"), Detail::Content), (only("b"), Detail::Content)]),
    );
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    rig.store([closed("a")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [4]);
    assert_silent(&mut subscription).await;
    rig.store([draft("b"), closed("b")]).await;
    assert_eq!(
        offsets([&next(&mut subscription).await]),
        [5, 6],
        "all of it is told first"
    );
    assert_eq!(reason(&next(&mut subscription).await), (ClosingReason::Complete, None));
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn stop_when_closed_ends_at_once_where_all_is_closed_and_never_where_nothing_is_known() {
    let rig = Rig::new().await;
    rig.store([draft("a"), closed("a")]).await;
    let mut asked = request(Start::Oldest, &content());
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked).await;
    let frames = until_caught_up(&mut subscription).await;
    assert_eq!(offsets(&frames), [0, 1, 2]);
    assert_eq!(reason(&next(&mut subscription).await).0, ClosingReason::Complete);
    let mut asked = request(Start::Oldest, &interests([(only("nobody"), Detail::Content)]));
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn stop_when_closed_waits_for_a_session_that_is_not_there_yet() {
    let rig = Rig::new().await;
    rig.store([draft("a"), closed("a")]).await;
    for wanted in [only("late"), Selector::Subtree(session("late"))] {
        let mut asked = request(
            Start::Oldest,
            &interests([(only("a"), Detail::Content), (wanted, Detail::Content)]),
        );
        asked.stop_when_closed = true;
        let mut subscription = rig.subscribe(asked).await;
        let frames = until_caught_up(&mut subscription).await;
        assert_eq!(offsets(&frames), [0, 1, 2]);
        assert_silent(&mut subscription).await;
        rig.clock.advance(HEARTBEAT * 2);
        let sent = next(&mut subscription).await;
        assert!(
            matches!(sent.frame, Frame::Heartbeat { .. }),
            "nor does time end it: {sent:?}"
        );
    }
    let mut asked = request(
        Start::Now,
        &interests([(only("a"), Detail::Content), (only("late"), Detail::Content)]),
    );
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked).await;
    until_caught_up(&mut subscription).await;
    rig.store([draft("late")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [3, 4]);
    assert_silent(&mut subscription).await;
    rig.store([closed("late")]).await;
    assert_eq!(offsets([&next(&mut subscription).await]), [5]);
    assert_eq!(reason(&next(&mut subscription).await).0, ClosingReason::Complete);
}

#[tokio::test]
async fn stop_when_closed_ends_at_once_whatever_families_are_wanted() {
    let rig = Rig::new().await;
    rig.store([draft("a"), draft("b")]).await;
    let only_tools = |id| crate::interest::Interest {
        families: crate::event::Families::NONE.with(crate::event::Family::Tool),
        ..crate::interest::Interest::new(only(id), Detail::Content)
    };
    let tools = Interests::new(vec![only_tools("a"), only_tools("b")]).unwrap();
    let mut asked = request(Start::Oldest, &tools);
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked.clone()).await;
    until_caught_up(&mut subscription).await;
    rig.store([closed("a")]).await;
    assert_silent(&mut subscription).await;
    rig.store([draft("b"), closed("b")]).await;
    let last = next(&mut subscription).await;
    // The closings are of a family that was not asked for: no frame has accounted for their offsets.
    assert_eq!((reason(&last).0, last.place.next), (ClosingReason::Complete, Offset(4)));
    drop(subscription);
    assert_eq!(rig.log.subscribers(), 0, "nothing is kept of it");
    asked.stop_when_closed = false;
    let mut other = rig.subscribe(asked).await;
    until_caught_up(&mut other).await;
    assert_silent(&mut other).await;
}

#[tokio::test]
async fn the_expiry_of_the_credential_is_announced_once_and_anew_when_it_moves() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    // So near already when the stream opens.
    rig.credential.send_replace(Standing::Expiring(Time(9)));
    let mut subscription = rig.subscribe(request(Start::Snapshot, &content())).await;
    assert!(matches!(next(&mut subscription).await.frame, Frame::Subscribed { .. }));
    let warning = next(&mut subscription).await;
    assert!(
        matches!(warning.frame, Frame::CredentialExpiring(Time(9))),
        "{warning:?}"
    );
    assert_eq!(
        warning.place.kind,
        Kind::SnapshotPending,
        "the snapshot is still to come"
    );
    let frames = until_caught_up(&mut subscription).await;
    assert!(
        frames
            .iter()
            .all(|sent| !matches!(sent.frame, Frame::CredentialExpiring(_)))
    );
    rig.credential.send_replace(Standing::Good);
    assert_silent(&mut subscription).await;
    rig.credential.send_replace(Standing::Expiring(Time(10)));
    let warning = next(&mut subscription).await;
    assert!(
        matches!(warning.frame, Frame::CredentialExpiring(Time(10))),
        "{warning:?}"
    );
    assert_eq!(warning.place.kind, Kind::Complete);
    assert_silent(&mut subscription).await;
}

#[tokio::test]
async fn a_stream_ends_at_its_age_or_a_little_before_and_its_token_goes_on() {
    let rig = Rig::new().await;
    let age = HEARTBEAT * 100;
    let asked = Request {
        max_age: Some(age),
        ..request(Start::Oldest, &content())
    };
    let mut subscription = rig.subscribe(asked.clone()).await;
    until_caught_up(&mut subscription).await;
    let early = age.mul_f64(1.0 - limits::MAX_AGE_JITTER) - Duration::from_secs(1);
    assert_silent(&mut subscription).await;
    rig.clock.advance(early);
    let sent = next(&mut subscription).await;
    assert!(matches!(sent.frame, Frame::Heartbeat { .. }), "{sent:?}");
    assert_silent(&mut subscription).await;
    rig.store([draft("a")]).await;
    // However far the next heartbeat is, it is asked at its age.
    rig.clock.advance(age - early);
    let last = next(&mut subscription).await;
    assert_eq!(reason(&last), (ClosingReason::MaxAge, None));
    assert!(subscription.next().await.is_none());
    let resumed = Request {
        start: Start::Resume(rig.token(&last)),
        ..asked
    };
    let mut again = rig.subscribe(resumed).await;
    assert_eq!(
        offsets(&until_caught_up(&mut again).await),
        [0, 1],
        "exactly where it was"
    );
}
