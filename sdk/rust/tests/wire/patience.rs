//! When to dial again, and when not yet.

use std::time::Duration;

use bellboard_sdk::v1::{Answer, ClosingReason, ErrorReason};
use bellboard_sdk::{Frame, SubscribeOptions};
use tonic::Code;

use crate::frames::{advice, closing, subscribed};
use crate::hub::Hub;
use crate::subscription::{asked_token, dial, frame_of, next, options};

/// Longer than the first back-offs are.
const ADVISED: Duration = Duration::from_millis(300);

/// Nothing is dialled for as long as the hub said, or nearly.
async fn is_patient(hub: &mut Hub) {
    let early = tokio::time::timeout(ADVISED * 2 / 3, hub.subscribe()).await;
    assert!(early.is_err(), "dialled before the time");
}

#[tokio::test]
async fn m_19_the_hubs_advice_is_kept_whatever_the_application_asks_for() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(closing("b", ClosingReason::Draining, Some(ADVISED))).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
    let control = frames.control();
    let script = async {
        // The application has taken the closing, so the advice is known; a dial that is under way may be ended by this.
        control.redial();
        is_patient(&mut hub).await;
        let busy = advice(Code::ResourceExhausted, ErrorReason::Overloaded, ADVISED);
        hub.subscribe().await.refuse(busy);
        is_patient(&mut hub).await;
        let stream = hub.subscribe().await.open();
        stream.send(subscribed("b", Answer::Resumed, 0)).await;
        stream
    };
    let (stream, frame) = tokio::join!(script, frame_of(&mut frames));
    assert!(matches!(frame, Frame::Subscribed(_)));
    assert_eq!(asked_token(&stream), "b");
}

#[tokio::test]
async fn m_19_however_often_it_dials_a_subscription_has_one_stream() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let mut open = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    for _ in 0..20 {
        for _ in 0..3 {
            frames.control().redial();
        }
        let next = dial(&mut hub, &mut frames, subscribed("a", Answer::Resumed, 0)).await;
        open.cancelled().await;
        open = next;
    }
    assert!(!hub.is_called(), "asking often is asking once");
}

#[tokio::test]
async fn k_23_a_dial_that_hangs_is_given_up_when_the_application_is_online_again() {
    let mut hub = Hub::start().await;
    // The longest heartbeat: the SDK's own patience would be minutes.
    let options = SubscribeOptions {
        heartbeat_interval: Some(Duration::from_secs(60)),
        ..options()
    };
    let mut frames = hub.client().subscribe(options);
    let control = frames.control();
    let script = async {
        // It came, and its answer never will.
        let hanging = hub.subscribe().await;
        control.redial();
        let stream = hub.subscribe().await.open();
        stream.send(subscribed("a", Answer::Started, 0)).await;
        (hanging, stream)
    };
    let (_streams, frame) = tokio::join!(script, frame_of(&mut frames));
    assert!(matches!(frame, Frame::Subscribed(_)));
}

#[tokio::test]
async fn k_23_a_long_back_off_ends_when_the_application_is_online_again() {
    let mut hub = Hub::start().await;
    let mut options = options();
    options.retry.first_ceiling = Duration::from_secs(24 * 3600);
    options.retry.largest_ceiling = options.retry.first_ceiling;
    let mut frames = hub.client().subscribe(options);
    let refuse = async { hub.subscribe().await.refuse(tonic::Status::unavailable("offline")) };
    tokio::select! {
        () = refuse => {}
        frame = next(&mut frames) => panic!("{frame:?} came from nowhere"),
    }
    frames.control().redial();
    dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
}

#[tokio::test]
async fn a_hub_that_asks_to_be_left_is_dialled_over_another_connection() {
    for reason in [ClosingReason::Draining, ClosingReason::MaxAge] {
        let mut hub = Hub::start().await;
        let mut frames = hub.client().subscribe(options());
        let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
        stream.send(closing("b", reason, None)).await;
        assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
        let again = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 0)).await;
        assert_eq!(asked_token(&again), "b");
        assert_ne!(stream.peer, again.peer, "{reason:?}");
    }
}
