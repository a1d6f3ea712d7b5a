//! Other interests on the same stream.

use std::time::Duration;

use bellboard_sdk::interest::{self, Detailed as _};
use bellboard_sdk::v1::subscribe_request::Start as Asked;
use bellboard_sdk::v1::{Answer, ErrorReason, Interest, SnapshotReason, UpdateSubscriptionRequest};
use bellboard_sdk::{Error, Frame, SubscribeOptions, Subscription};
use futures_util::{FutureExt as _, StreamExt as _};
use tonic::{Code, Status};

use crate::frames::{STREAM, advice, caught_up, enters, events, refusal, snapshot, subscribed, updated};
use crate::hub::{Hub, Stream};
use crate::subscription::{asked_token, dial, error_of, frame_of, next, offsets};

/// A board, and these sessions on the screen.
fn board(session_ids: &[&str]) -> Vec<Interest> {
    let screen = session_ids
        .iter()
        .map(|session_id| interest::session(*session_id).live());
    std::iter::once(interest::all().summary()).chain(screen).collect()
}

async fn open(hub: &mut Hub, interests: Vec<Interest>) -> (Subscription, Stream) {
    let mut frames = hub.client().subscribe(SubscribeOptions::to(interests));
    let stream = dial(hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    (frames, stream)
}

/// Lets the subscription call, while the application waits for its next frame.
async fn called(hub: &mut Hub, frames: &mut Subscription, answer: Result<(), Status>) -> UpdateSubscriptionRequest {
    tokio::select! {
        request = hub.update(answer) => request,
        frame = next(frames) => panic!("{frame:?} came before the call"),
    }
}

async fn revision(frames: &mut Subscription) -> u64 {
    let frame = frame_of(frames).await;
    let Frame::SubscriptionUpdated(updated) = frame else {
        panic!("not in force: {frame:?}");
    };
    updated.revision
}

/// Sends the snapshot of an addition, and has the application take it.
async fn add(stream: &Stream, frames: &mut Subscription, session_id: &str, end: &str) {
    for frame in enters(SnapshotReason::InterestAdded, 0, (session_id, 0), ("old", end)) {
        stream.send(frame).await;
        frame_of(frames).await;
    }
}

/// Nothing is called for, however long one waits; the stream itself has the last word.
async fn is_quiet(hub: &mut Hub, frames: &mut Subscription, stream: &Stream) {
    stream.send(caught_up("old", 0)).await;
    assert!(matches!(frame_of(frames).await, Frame::CaughtUp(_)));
    assert!(frames.next().now_or_never().is_none());
    assert!(!hub.is_called());
}

#[tokio::test]
async fn a_change_is_in_force_where_the_stream_says_so() {
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&["a"])).await;
    let change = frames.update(board(&["b"]));
    let request = called(&mut hub, &mut frames, Ok(())).await;
    assert_eq!((request.subscription_id.as_str(), request.revision), (STREAM, change));
    assert_eq!(request.interests, board(&["b"]));
    stream.send(events("old", 0, 1)).await;
    stream.send(updated("old", change)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
    assert_eq!(revision(&mut frames).await, change);
    add(&stream, &mut frames, "b", "new").await;
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("new", Answer::Resumed, 1)).await;
    assert_eq!(stream.request.interests, board(&["b"]));
    assert!(stream.request.unsynced_session_ids.is_empty());
}

#[tokio::test]
async fn the_newest_of_several_changes_wins() {
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&[])).await;
    let first = frames.update(board(&["a"]));
    called(&mut hub, &mut frames, Ok(())).await;
    let control = frames.control();
    let changes: Vec<u64> = ["b", "c", "d"].iter().map(|id| control.update(board(&[id]))).collect();
    assert!(changes.is_sorted() && changes[0] > first);
    stream.send(updated("old", first)).await;
    assert_eq!(revision(&mut frames).await, first);
    add(&stream, &mut frames, "a", "new").await;
    let request = called(&mut hub, &mut frames, Ok(())).await;
    assert_eq!((request.revision, request.interests), (changes[2], board(&["d"])));
}

#[tokio::test]
async fn a_change_while_dialling_is_what_is_dialled() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(SubscribeOptions::to(board(&[])));
    frames.update(board(&["a"]));
    let change = frames.update(board(&["b"]));
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    assert_eq!(stream.request.interests, board(&["b"]));
    assert_eq!(revision(&mut frames).await, change);
    is_quiet(&mut hub, &mut frames, &stream).await;
}

#[tokio::test]
async fn a_cut_after_the_call_asks_for_what_was_added() {
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&["a"])).await;
    let change = frames.update(board(&["a", "c", "b"]));
    called(&mut hub, &mut frames, Ok(())).await;
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("old-1", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "a");
    assert_eq!(stream.request.interests, board(&["a", "c", "b"]));
    assert_eq!(stream.request.unsynced_session_ids, ["b", "c"]);
    assert_eq!(revision(&mut frames).await, change, "in force by the dial");
    // Cut again, within the snapshot.
    let [begin, ..] = enters(SnapshotReason::InterestAdded, 0, ("b", 0), ("old-2", "new"));
    stream.send(begin).await;
    frame_of(&mut frames).await;
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("old-3", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "old-2");
    assert_eq!(stream.request.unsynced_session_ids, ["b", "c"]);
    add(&stream, &mut frames, "b", "new").await;
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("new", Answer::Resumed, 0)).await;
    assert!(stream.request.unsynced_session_ids.is_empty());
    assert_eq!(stream.request.interests, board(&["a", "c", "b"]));
}

#[tokio::test]
async fn a_cut_of_another_change_goes_on_with_the_old_interests_and_calls_again() {
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&["a"])).await;
    let change = frames.update(board(&["b"]));
    called(&mut hub, &mut frames, Ok(())).await;
    stream.send(updated("old", change)).await;
    assert_eq!(revision(&mut frames).await, change);
    drop(stream);
    let stream = dial(&mut hub, &mut frames, subscribed("old", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "old");
    assert_eq!(stream.request.interests, board(&["a"]));
    assert_eq!(revision(&mut frames).await, 0, "the cut undid it");
    let request = called(&mut hub, &mut frames, Ok(())).await;
    assert_eq!((request.revision, request.interests), (change, board(&["b"])));
    stream.send(updated("old", change)).await;
    assert_eq!(revision(&mut frames).await, change);
}

#[tokio::test]
async fn a_stream_that_calls_do_not_reach_is_dialled_with_the_change() {
    for reason in [ErrorReason::SubscriptionElsewhere, ErrorReason::SubscriptionNotFound] {
        let mut hub = Hub::start().await;
        let (mut frames, old) = open(&mut hub, board(&["a"])).await;
        let change = frames.update(board(&["b"]));
        called(&mut hub, &mut frames, Err(refusal(Code::NotFound, reason))).await;
        let stream = dial(&mut hub, &mut frames, subscribed("pending", Answer::Reset, 0)).await;
        old.cancelled().await;
        assert!(matches!(stream.request.start, Some(Asked::ResumeToken(_))));
        assert_eq!(stream.request.interests, board(&["b"]), "one reset, no circle");
        assert_eq!(revision(&mut frames).await, change);
        for frame in snapshot(SnapshotReason::Reset, 0) {
            stream.send(frame).await;
            frame_of(&mut frames).await;
        }
        is_quiet(&mut hub, &mut frames, &stream).await;
    }
}

#[tokio::test]
async fn interests_that_the_hub_refuses_are_told_and_the_stream_goes_on() {
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&["a"])).await;
    frames.update([]);
    let invalid = || refusal(Code::InvalidArgument, ErrorReason::InvalidField);
    let ((), error) = tokio::join!(async { drop(hub.update(Err(invalid())).await) }, error_of(&mut frames));
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    is_quiet(&mut hub, &mut frames, &stream).await;

    // By a dial too.
    let control = frames.control();
    drop(stream);
    let refuse = async {
        let away = hub.subscribe().await;
        control.update(board(&["a", "no id at all"]));
        away.refuse(Status::unavailable("away"));
        let dialled = hub.subscribe().await;
        assert_eq!(dialled.request.unsynced_session_ids, ["no id at all"]);
        dialled.refuse(invalid());
    };
    let ((), error) = tokio::join!(refuse, error_of(&mut frames));
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Resumed, 0)).await;
    assert_eq!(stream.request.interests, board(&["a"]));
    // The next one is taken.
    let change = frames.update(board(&["b"]));
    assert_eq!(called(&mut hub, &mut frames, Ok(())).await.revision, change);
}

#[tokio::test]
async fn a_call_that_the_hub_has_no_time_for_is_repeated_as_it_advised_on_the_same_stream() {
    const ADVISED: Duration = Duration::from_millis(300);
    let mut hub = Hub::start().await;
    let (mut frames, stream) = open(&mut hub, board(&[])).await;
    let change = frames.update(board(&["a"]));
    let busy = advice(Code::ResourceExhausted, ErrorReason::Overloaded, ADVISED);
    called(&mut hub, &mut frames, Err(busy)).await;
    let early = tokio::time::timeout(ADVISED * 2 / 3, called(&mut hub, &mut frames, Ok(()))).await;
    assert!(early.is_err(), "called before the time");
    assert_eq!(called(&mut hub, &mut frames, Ok(())).await.revision, change);
    stream.send(updated("old", change)).await;
    assert_eq!(revision(&mut frames).await, change);
}
