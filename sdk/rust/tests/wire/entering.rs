//! Sessions that enter while the stream runs.

use bellboard_sdk::v1::subscribe_response::Frame as Wire;
use bellboard_sdk::v1::{Answer, Event, EventsFrame, SnapshotReason, SubscribeResponse};
use bellboard_sdk::{Error, Frame, SubscribeOptions, Subscription, interest};

use crate::frames::{enters, event, frame, heartbeat, snapshot, subscribed};
use crate::hub::Hub;
use crate::subscription::{asked_token, dial, error_of, frame_of, offsets};

/// The root and what is below it.
fn tree() -> SubscribeOptions {
    SubscribeOptions::to([interest::tree("s")])
}

fn of(session_id: &str, offset: u64, index: u64) -> Event {
    Event {
        session_id: session_id.to_owned(),
        index,
        ..event(offset)
    }
}

fn batch(resume_token: &str, from: u64, until: u64, events: Vec<Event>) -> SubscribeResponse {
    let raws = Vec::new();
    let batch = EventsFrame {
        from,
        until,
        events,
        raws,
    };
    frame(resume_token, Wire::Events(batch))
}

async fn take_snapshot(frames: &mut Subscription) {
    assert!(matches!(frame_of(frames).await, Frame::SnapshotBegin(_)));
    assert!(matches!(frame_of(frames).await, Frame::SnapshotPage(_)));
    assert!(matches!(frame_of(frames).await, Frame::SnapshotEnd(_)));
}

#[tokio::test]
async fn a_session_that_enters_leaves_the_place_and_what_its_snapshot_had_is_not_repeated() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(tree());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 10)).await;
    // It is linked at 12, and the snapshot is as of 20.
    stream.send(batch("pending", 10, 13, vec![of("late", 12, 4)])).await;
    for frame in enters(SnapshotReason::SessionEntered, 20, ("late", 7), ("pending", "b")) {
        stream.send(frame).await;
    }
    let between = vec![of("late", 13, 5), of("s", 14, 0), of("late", 15, 6), of("late", 16, 7)];
    stream.send(batch("c", 13, 17, between)).await;
    assert_eq!(offsets(&mut frames).await, [12]);
    take_snapshot(&mut frames).await;
    assert_eq!(offsets(&mut frames).await, [14, 16]);

    // A cut does not bring back what was dropped.
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("c", Answer::Resumed, 17)).await;
    assert_eq!(asked_token(&stream), "c");
    stream.send(batch("d", 17, 18, vec![of("late", 17, 6)])).await;
    stream.send(heartbeat("e", 18, 20)).await;
    stream.send(batch("f", 20, 21, vec![of("late", 20, 8)])).await;
    assert!(offsets(&mut frames).await.is_empty());
    assert!(matches!(frame_of(&mut frames).await, Frame::Heartbeat(_)));
    assert_eq!(offsets(&mut frames).await, [20]);
}

#[tokio::test]
async fn a_cut_while_a_session_enters_comes_back_with_its_pending_resume_token() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(tree());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(batch("pending-0", 0, 1, vec![of("late", 0, 4)])).await;
    let [begin, page, _] = enters(SnapshotReason::SessionEntered, 5, ("late", 7), ("pending-1", "b"));
    stream.send(begin).await;
    stream.send(page).await;
    for _ in 0..3 {
        frame_of(&mut frames).await;
    }
    assert_eq!(frames.resume_token().as_deref(), Some("pending-1"));
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("pending-2", Answer::Reset, 3)).await;
    assert_eq!(asked_token(&stream), "pending-1", "the hub knows what became of it");
    for frame in snapshot(SnapshotReason::Reset, 3) {
        stream.send(frame).await;
    }
    take_snapshot(&mut frames).await;
    // The reset forgot what the half snapshot had.
    stream.send(batch("c", 3, 4, vec![of("late", 3, 5)])).await;
    assert_eq!(offsets(&mut frames).await, [3]);
}

#[tokio::test]
async fn a_hole_within_a_session_is_never_handed_out() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(SubscribeOptions::to([interest::session("s")]));
    for (answer, from) in [(Answer::Started, 0), (Answer::Resumed, 1), (Answer::Resumed, 1)] {
        let stream = dial(&mut hub, &mut frames, subscribed("a", answer, from)).await;
        if answer == Answer::Started {
            stream.send(batch("b", 0, 1, vec![of("s", 0, 3)])).await;
            assert_eq!(offsets(&mut frames).await, [0]);
        }
        // Index 4 lies at no offset: the batch joins the one before, and the session does not.
        stream.send(batch("c", 1, 4, vec![of("s", 3, 5)])).await;
    }
    let error = error_of(&mut frames).await;
    assert!(matches!(&error, Error::BrokenPromise(_)), "{error}");
    assert!(error.to_string().contains("index 5 where 4 was next"), "{error}");
    assert_eq!(frames.resume_token().as_deref(), Some("a"));
}
