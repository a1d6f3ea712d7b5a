//! How a stream ends, and what its last resume token is good for.

use std::time::Duration;

use crate::event::{Draft, SessionStep};
use crate::interest::{Detail, Interests, Selector};
use crate::offset::Offset;
use crate::subscription::frame::{Answer, ClosingReason, Frame, Sent};
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
        .send_replace(Some((ClosingReason::PermissionRevoked, None)));
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
        .send_replace(Some((ClosingReason::CredentialExpired, None)));
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
async fn stop_when_closed_notices_at_the_latest_with_a_heartbeat() {
    let rig = Rig::new().await;
    rig.store([draft("a")]).await;
    let mut tools = crate::interest::Interest::new(Selector::All, Detail::Content);
    tools.families = crate::event::Families::NONE.with(crate::event::Family::Tool);
    let mut asked = request(Start::Oldest, &Interests::new(vec![tools]).unwrap());
    asked.stop_when_closed = true;
    let mut subscription = rig.subscribe(asked).await;
    until_caught_up(&mut subscription).await;
    assert_silent(&mut subscription).await;
    rig.store([closed("a")]).await;
    assert_silent(&mut subscription).await;
    rig.clock.advance(HEARTBEAT * 2);
    let mut last = next(&mut subscription).await;
    if matches!(last.frame, Frame::Heartbeat { .. }) {
        last = next(&mut subscription).await;
    }
    // The closing itself is of a family that was not asked for: no frame has accounted for its offset yet.
    assert_eq!((reason(&last).0, last.place.next), (ClosingReason::Complete, Offset(2)));
}
