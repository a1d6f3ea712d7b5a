//! Another key for streams that are open.

use bellboard_sdk::v1::subscribe_response::Frame as Wire;
use bellboard_sdk::v1::{Answer, ClosingReason, CredentialExpiring, ErrorReason};
use bellboard_sdk::{Client, Error, Frame, Subscription};
use tonic::{Code, Status};

use crate::frames::{STREAM, caught_up, closing, frame, refusal, subscribed};
use crate::hub::{Hub, Stream};
use crate::subscription::{asked_token, dial, error_of, frame_of, next, options};

/// A stream whose key is about to expire, and who is told so.
async fn expiring(hub: &mut Hub) -> (Client, Subscription, Stream) {
    let client = hub.client();
    let mut frames = client.subscribe(options());
    let stream = dial(hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    let soon = CredentialExpiring::default();
    stream.send(frame("b", Wire::CredentialExpiring(soon))).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::CredentialExpiring(_)));
    (client, frames, stream)
}

#[tokio::test]
async fn a_new_key_moves_the_stream_without_ending_it() {
    let mut hub = Hub::start().await;
    let (client, mut frames, stream) = expiring(&mut hub).await;
    client.use_key("bb_new").unwrap();
    let (key, subscription_id) = tokio::select! {
        refreshed = hub.refresh(Ok(())) => refreshed,
        frame = next(&mut frames) => panic!("{frame:?} came before the call"),
    };
    assert_eq!(key.as_deref(), Some("Bearer bb_new"));
    assert_eq!(subscription_id, STREAM);
    stream.send(caught_up("c", 0)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::CaughtUp(_)));
    stream.send(caught_up("d", 0)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::CaughtUp(_)));
    assert!(!hub.is_called(), "once is enough");
}

#[tokio::test]
async fn a_stream_that_the_new_key_does_not_reach_is_dialled_with_it() {
    let mut hub = Hub::start().await;
    let (client, mut frames, old) = expiring(&mut hub).await;
    client.use_key("bb_new").unwrap();
    let not_here = refusal(Code::NotFound, ErrorReason::SubscriptionElsewhere);
    tokio::select! {
        _ = hub.refresh(Err(not_here)) => {}
        frame = next(&mut frames) => panic!("{frame:?} came before the call"),
    }
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 0)).await;
    old.cancelled().await;
    assert_eq!(asked_token(&stream), "b");
    assert!(!hub.is_called());
}

#[tokio::test]
async fn a_new_key_that_is_refused_is_told_and_the_stream_goes_on_with_the_old_one() {
    let mut hub = Hub::start().await;
    let (client, mut frames, stream) = expiring(&mut hub).await;
    assert!(matches!(client.use_key("no\nkey"), Err(Error::Option { .. })));
    client.use_key("bb_wrong").unwrap();
    let invalid = refusal(Code::Unauthenticated, ErrorReason::CredentialInvalid);
    let refuse = async { drop(hub.refresh(Err(invalid)).await) };
    let ((), error) = tokio::join!(refuse, error_of(&mut frames));
    assert!(matches!(error, Error::Credential(_)), "{error}");
    stream.send(caught_up("c", 0)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::CaughtUp(_)));
    assert!(!hub.is_called());
}

#[tokio::test]
async fn an_expired_key_ends_the_stream_only_if_the_hub_has_no_other() {
    let mut hub = Hub::start().await;
    let (client, mut frames, stream) = expiring(&mut hub).await;
    stream.send(closing("c", ClosingReason::CredentialExpired, None)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
    // The new one comes at the last moment.
    client.use_key("bb_new").unwrap();
    let stream = dial(&mut hub, &mut frames, subscribed("c", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "c");
    assert!(!hub.is_called(), "the dial carried it");

    stream.send(closing("d", ClosingReason::CredentialExpired, None)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
    let refuse = async {
        let expired = refusal(Code::Unauthenticated, ErrorReason::CredentialExpired);
        hub.subscribe().await.refuse(expired);
    };
    let ((), error) = tokio::join!(refuse, error_of(&mut frames));
    assert!(matches!(error, Error::Credential(_)), "{error}");
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_not_open_yet_needs_no_call_for_a_new_key() {
    let mut hub = Hub::start().await;
    let client = hub.client();
    let mut frames = client.subscribe(options());
    let refuse = async {
        hub.subscribe().await.refuse(Status::unavailable("away"));
        client.use_key("bb_new").unwrap();
    };
    tokio::select! {
        () = refuse => {}
        frame = next(&mut frames) => panic!("{frame:?} came from nowhere"),
    }
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(caught_up("b", 0)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::CaughtUp(_)));
    assert!(!hub.is_called());
}
