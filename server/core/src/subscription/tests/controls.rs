//! What is said to an open stream from outside is heard before anything else.

use tokio::sync::watch;

use crate::interest::{Detail, Interests};
use crate::subscription::control::Control;
use crate::subscription::frame::{ClosingReason, Frame, Sent};
use crate::subscription::standing::Standing;
use crate::subscription::start::Start;
use crate::testing::rig::{Rig, assert_silent, next, offsets, request, until_caught_up};
use crate::testing::{draft, interests, only, within};

fn content() -> Interests {
    interests([(only("a"), Detail::Content)])
}

fn reason(sent: &Sent) -> ClosingReason {
    let Frame::Closing { reason, .. } = sent.frame else {
        panic!("the end was to come, not {sent:?}")
    };
    reason
}

#[tokio::test]
async fn a_replaced_stream_says_so_and_delivers_nothing_more() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    until_caught_up(&mut subscription).await;
    let mailbox = subscription.around.registered.mailbox().clone();
    rig.store([draft("a")]).await;
    mailbox.post(Control::Replaced).unwrap();
    let last = next(&mut subscription).await;
    assert_eq!(reason(&last), ClosingReason::Replaced);
    assert!(subscription.next().await.is_none());
    let mut later = rig
        .subscribe(request(Start::Resume(rig.token(&last)), &content()))
        .await;
    assert_eq!(offsets(&until_caught_up(&mut later).await), [0, 1], "its token goes on");
}

#[tokio::test]
async fn a_parked_stream_hears_at_once() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    until_caught_up(&mut subscription).await;
    let mailbox = subscription.around.registered.mailbox().clone();
    let mut next = Box::pin(subscription.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    mailbox.post(Control::Replaced).unwrap();
    assert_eq!(reason(&within(next).await.unwrap().unwrap()), ClosingReason::Replaced);
}

#[tokio::test]
async fn a_stream_that_was_moved_to_another_credential_ends_with_that_one() {
    let rig = Rig::new().await;
    let mut subscription = rig.subscribe(request(Start::Oldest, &content())).await;
    until_caught_up(&mut subscription).await;
    let (newer, credential) = watch::channel(Standing::Good);
    let mailbox = subscription.around.registered.mailbox().clone();
    mailbox.post(Control::Credential(credential)).unwrap();
    // Also where both were said before the stream looked.
    rig.credential
        .send_replace(Standing::Ended(ClosingReason::CredentialExpired));
    assert_silent(&mut subscription).await;
    newer.send_replace(Standing::Ended(ClosingReason::PermissionRevoked));
    assert_eq!(reason(&next(&mut subscription).await), ClosingReason::PermissionRevoked);
}
