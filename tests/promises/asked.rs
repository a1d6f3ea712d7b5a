//! What a subscriber asks of its stream: it is held to it, or told what it is held to instead.

use std::time::Duration;

use bellboard_proto::v1::{self, subscribe_response::Frame};
use bellboard_tests::events::{all, from_now, text};
use bellboard_tests::process::DataDir;

use crate::reset::reason;

fn wanted() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Content)]
}

#[expect(clippy::unnecessary_wraps, reason = "a field of a message")]
fn lasting(time: Duration) -> Option<prost_types::Duration> {
    Some(prost_types::Duration::try_from(time).expect("a duration"))
}

#[tokio::test]
async fn what_cannot_be_had_is_coerced_and_told() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let millis = Duration::from_millis;
    for (asked, told) in [
        (None, millis(15_000)),
        (Some(Duration::ZERO), millis(1_000)),
        (Some(millis(1)), millis(1_000)),
        (Some(millis(2_500)), millis(2_500)),
        (Some(millis(600_000)), millis(60_000)),
    ] {
        let request = v1::SubscribeRequest {
            heartbeat_interval: asked.and_then(lasting),
            ..from_now(wanted())
        };
        let limits = client.subscribe(request).await.subscribed().await.limits.unwrap();
        assert_eq!(limits.heartbeat_interval, lasting(told), "{asked:?}");
    }
    for (asked, told) in [
        (0, 256 * 1024),
        (1, 4 * 1024),
        (100_000, 100_000),
        (u32::MAX, 3 * 1024 * 1024),
    ] {
        let request = v1::SubscribeRequest {
            max_frame_bytes: asked,
            ..from_now(wanted())
        };
        let limits = client.subscribe(request).await.subscribed().await.limits.unwrap();
        assert_eq!(limits.max_frame_bytes, told, "{asked}");
    }
    for (asked, told) in [
        (None, Duration::ZERO),
        (Some(millis(5)), millis(5)),
        (Some(millis(60_000)), millis(1_000)),
    ] {
        let request = v1::SubscribeRequest {
            linger: asked.and_then(lasting),
            ..from_now(wanted())
        };
        let limits = client.subscribe(request).await.subscribed().await.limits.unwrap();
        assert_eq!(limits.linger, lasting(told), "{asked:?}");
    }
    for negative in [
        prost_types::Duration { seconds: -1, nanos: 0 },
        prost_types::Duration { seconds: 0, nanos: -1 },
    ] {
        for request in [
            v1::SubscribeRequest {
                heartbeat_interval: Some(negative),
                ..from_now(wanted())
            },
            v1::SubscribeRequest {
                linger: Some(negative),
                ..from_now(wanted())
            },
        ] {
            let refused = client.try_subscribe(request).await.expect_err("a negative time");
            assert_eq!(reason(&refused), v1::ErrorReason::InvalidField);
        }
    }
}

#[tokio::test]
async fn who_lingers_is_given_in_one_frame_what_others_are_given_at_once() {
    const EVENTS: usize = 30;
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let request = v1::SubscribeRequest {
        linger: lasting(Duration::from_secs(1)),
        ..from_now(wanted())
    };
    let mut lingers = client.subscribe(request).await;
    lingers.caught_up().await;
    let mut hurries = client.subscribe(from_now(wanted())).await;
    hurries.caught_up().await;
    client.say("s", "opens").await;
    for stream in [&mut lingers, &mut hurries] {
        stream.events(2).await;
    }
    let said: Vec<String> = (0..EVENTS).map(|number| number.to_string()).collect();
    let mut frames = [0, 0];
    for words in &said {
        client.say("s", words).await;
        // Given before the next one is said: nobody who asked for no linger waits for company.
        let mut heard = 0;
        while heard == 0 {
            if let Frame::Events(batch) = hurries.next().await {
                heard += batch.events.len();
                frames[0] += 1;
            }
        }
        assert_eq!(heard, 1);
    }
    let mut heard = Vec::new();
    while heard.len() < EVENTS {
        if let Frame::Events(batch) = lingers.next().await {
            heard.extend(batch.events.iter().map(text));
            frames[1] += 1;
        }
    }
    assert_eq!(heard, said, "nothing is lost by waiting");
    assert!(frames[1] * 3 <= frames[0], "it was to be gathered: {frames:?}");
}

#[tokio::test]
async fn the_heartbeat_asked_for_is_kept() {
    let data = DataDir::new();
    let hub = data.start().await;
    let request = v1::SubscribeRequest {
        heartbeat_interval: lasting(Duration::from_millis(1)),
        ..from_now(wanted())
    };
    let mut stream = hub.client().subscribe(request).await;
    stream.caught_up().await;
    let begin = std::time::Instant::now();
    for _ in 0..3 {
        let heartbeat = |frame: &Frame| matches!(frame, Frame::Heartbeat(_)).then_some(());
        stream.until("a heartbeat", heartbeat).await;
    }
    // Never sooner than the jitter allows: a client that asks for a thousand a second is not given them.
    assert!(begin.elapsed() >= Duration::from_millis(3 * 800));
}
