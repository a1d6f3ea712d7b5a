//! A subscription outlives whatever happens to its connections.

use std::time::Duration;

use bellboard_sdk::interest::{self, Detailed as _};
use bellboard_sdk::v1::subscribe_request::Start as Asked;
use bellboard_sdk::v1::subscribe_response::Frame as Wire;
use bellboard_sdk::v1::{
    Answer, ClosingReason, Delta, DeltaChannel, DeltasFrame, ErrorReason, EventsFrame, ItemText, SnapshotReason,
    SubscribeResponse, delta, item_text,
};
use bellboard_sdk::{Error, Frame, ItemTexts, OnUndecodable, RetryPolicy, Start, SubscribeOptions, Subscription};
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use crate::frames::{beating, caught_up, closing, event, events, frame, heartbeat, refusal, snapshot, subscribed};
use crate::hub::{Hub, Stream, TOO_LONG};

/// A heartbeat of a script about silence.
const BEAT: Duration = Duration::from_millis(40);

pub(crate) fn options() -> SubscribeOptions {
    SubscribeOptions::to([interest::all()]).starting(Start::Oldest)
}

pub(crate) async fn next(frames: &mut Subscription) -> Option<Result<Frame, Error>> {
    tokio::time::timeout(TOO_LONG, frames.next())
        .await
        .expect("a frame in time")
}

pub(crate) async fn frame_of(frames: &mut Subscription) -> Frame {
    next(frames).await.expect("not the end").expect("a frame")
}

pub(crate) async fn error_of(frames: &mut Subscription) -> Error {
    next(frames).await.expect("not the end").expect_err("an error")
}

/// The offsets of the next frame, which must be a batch.
pub(crate) async fn offsets(frames: &mut Subscription) -> Vec<u64> {
    let frame = frame_of(frames).await;
    let Frame::Events(batch) = frame else {
        panic!("not a batch: {frame:?}");
    };
    batch.events.iter().map(|event| event.offset).collect()
}

/// Lets the subscription dial, and opens the stream with this first frame, which the application takes.
pub(crate) async fn dial(hub: &mut Hub, frames: &mut Subscription, first: SubscribeResponse) -> Stream {
    let open = async {
        let stream = hub.subscribe().await.open();
        stream.send(first).await;
        stream
    };
    let (stream, first) = tokio::join!(open, frame_of(frames));
    assert!(matches!(first, Frame::Subscribed(_)), "{first:?}");
    stream
}

pub(crate) fn asked_token(stream: &Stream) -> &str {
    match &stream.request.start {
        Some(Asked::ResumeToken(resume_token)) => resume_token,
        other => panic!("not from a resume token: {other:?}"),
    }
}

#[tokio::test]
async fn a_cut_before_the_first_frame_starts_where_it_was_to_start() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let script = async {
        hub.subscribe().await.refuse(Status::unavailable("not yet"));
        hub.subscribe().await.refuse(Status::unknown("network error"));
        let silent = hub.subscribe().await.open();
        assert!(matches!(silent.request.start, Some(Asked::FromStart(_))));
        drop(silent);
        let stream = hub.subscribe().await.open();
        assert!(matches!(stream.request.start, Some(Asked::FromStart(_))));
        stream.send(subscribed("a", Answer::Started, 0)).await;
        stream.send(events("b", 0, 2)).await;
        stream
    };
    let (_stream, first) = tokio::join!(script, frame_of(&mut frames));
    assert!(matches!(first, Frame::Subscribed(_)));
    assert_eq!(offsets(&mut frames).await, [0, 1]);
}

#[tokio::test]
async fn k_19_p_13_a_cut_in_mid_stream_goes_on_right_after_without_a_snapshot() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 2)).await;
    assert_eq!(offsets(&mut frames).await, [0, 1]);
    assert_eq!(frames.resume_token().as_deref(), Some("b"));
    stream.fail(Status::unknown("transport error")).await;

    // Three more were stored meanwhile.
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 2)).await;
    assert_eq!(asked_token(&stream), "b");
    stream.send(events("c", 2, 5)).await;
    assert_eq!(offsets(&mut frames).await, [2, 3, 4]);
}

#[tokio::test]
async fn p_25_events_wait_for_an_application_that_is_not_ready_for_them() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    for offset in 0..20 {
        stream.send(events("b", offset, offset + 1)).await;
    }
    // It makes its own store first, and takes them after.
    for offset in 0..20 {
        assert_eq!(offsets(&mut frames).await, [offset]);
    }
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_handed_out_once() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 2)).await;
    stream.send(events("b", 0, 2)).await;
    assert_eq!(offsets(&mut frames).await, [0, 1]);
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 2)).await;
    assert_eq!(
        asked_token(&stream),
        "b",
        "dialled anew from the last frame that was right"
    );
    stream.send(events("c", 2, 3)).await;
    assert_eq!(offsets(&mut frames).await, [2]);
}

#[tokio::test]
async fn p_37_a_hole_that_stays_is_told_after_three_dials() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    for (resume_token, answer) in [("a", Answer::Started), ("a", Answer::Resumed), ("a", Answer::Resumed)] {
        let stream = dial(&mut hub, &mut frames, subscribed(resume_token, answer, 0)).await;
        // It claims to have read offsets that were never accounted for.
        stream.send(heartbeat("b", 3, 4)).await;
    }
    let error = error_of(&mut frames).await;
    assert!(matches!(error, Error::BrokenPromise(_)), "{error}");
    assert_eq!(frames.resume_token().as_deref(), Some("a"), "the place did not move");
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn frames_of_a_later_hub_are_kept_and_their_resume_tokens_count() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    // Field 1 is the resume token, field 40 is of a later hub.
    stream.send_bytes(b"\x0a\x01b\xc2\x02\x04news".to_vec()).await;
    let unknown = frame_of(&mut frames).await;
    assert!(
        matches!(&unknown, Frame::Unknown(frame) if frame.field_number == 40),
        "{unknown:?}"
    );
    stream.send(events("c", 0, 1)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
}

#[tokio::test]
async fn k_23_three_missed_heartbeats_lead_to_a_new_connection() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let first = beating("a", Answer::Started, 0, BEAT);
    let silent = dial(&mut hub, &mut frames, first).await;
    // It stays open and says nothing.
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "a");
    silent.cancelled().await;
}

#[tokio::test]
async fn a_redial_on_request_goes_on_from_the_last_frame() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let _stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    frames.control().redial();
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "a");
}

#[tokio::test]
async fn an_invalid_resume_token_is_told_once_and_leads_to_a_snapshot() {
    let mut hub = Hub::start().await;
    let start = Start::ResumeToken("stale".to_owned());
    let mut frames = hub.client().subscribe(options().starting(start));
    let script = async {
        let refused = hub.subscribe().await;
        assert!(matches!(&refused.request.start, Some(Asked::ResumeToken(token)) if token == "stale"));
        refused.refuse(refusal(Code::InvalidArgument, ErrorReason::ResumeTokenInvalid));
    };
    let ((), error) = tokio::join!(script, error_of(&mut frames));
    assert!(matches!(error, Error::StartFromSnapshot(_)), "{error}");

    let stream = dial(&mut hub, &mut frames, subscribed("pending-0", Answer::Started, 7)).await;
    assert!(matches!(stream.request.start, Some(Asked::Snapshot(_))));
    for frame in snapshot(SnapshotReason::Start, 7) {
        stream.send(frame).await;
    }
    stream.send(events("b", 7, 8)).await;
    for _ in 0..3 {
        frame_of(&mut frames).await;
    }
    assert_eq!(offsets(&mut frames).await, [7]);
}

#[tokio::test]
async fn a_reset_and_its_snapshot_are_frames() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(events("b", 0, 9)).await;
    assert_eq!(offsets(&mut frames).await.len(), 9);
    drop(stream);
    // The log was restored from an older backup.
    let stream = dial(&mut hub, &mut frames, subscribed("pending-0", Answer::Reset, 4)).await;
    for frame in snapshot(SnapshotReason::Reset, 4) {
        stream.send(frame).await;
    }
    stream.send(events("c", 4, 6)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::SnapshotBegin(_)));
    assert!(matches!(frame_of(&mut frames).await, Frame::SnapshotPage(_)));
    assert!(matches!(frame_of(&mut frames).await, Frame::SnapshotEnd(_)));
    assert_eq!(offsets(&mut frames).await, [4, 5]);
}

#[tokio::test]
async fn a_draining_hub_is_left_and_dialled_again() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    let soon = Some(Duration::from_millis(30));
    stream.send(closing("b", ClosingReason::Draining, soon)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 0)).await;
    assert_eq!(asked_token(&stream), "b", "the closing's own resume token");
}

#[tokio::test]
async fn only_complete_means_that_there_is_no_more() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(closing("b", ClosingReason::Complete, None)).await;
    assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
    assert!(next(&mut frames).await.is_none());
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn ends_that_somebody_must_act_upon_are_errors() {
    type IsRight = fn(&Error) -> bool;
    let cases: [(ClosingReason, IsRight); 2] = [
        (ClosingReason::Replaced, |error| matches!(error, Error::Replaced)),
        (ClosingReason::PermissionRevoked, |error| {
            matches!(error, Error::Permission(_))
        }),
    ];
    for (reason, is_right) in cases {
        let mut hub = Hub::start().await;
        let mut frames = hub.client().subscribe(options());
        let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
        stream.send(closing("b", reason, None)).await;
        assert!(matches!(frame_of(&mut frames).await, Frame::Closing(_)));
        let error = error_of(&mut frames).await;
        assert!(is_right(&error), "{reason:?}: {error}");
        assert!(next(&mut frames).await.is_none());
    }
}

#[tokio::test]
async fn a_refusal_that_waiting_does_not_mend_ends_the_stream() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let script = async {
        let refused = hub.subscribe().await;
        refused.refuse(refusal(Code::PermissionDenied, ErrorReason::ScopeMissing));
    };
    let ((), error) = tokio::join!(script, error_of(&mut frames));
    assert!(matches!(error, Error::Permission(_)), "{error}");
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn who_asks_for_few_retries_is_told_after_them() {
    let mut hub = Hub::start().await;
    let options = SubscribeOptions {
        retry: RetryPolicy {
            retries: Some(1),
            ..RetryPolicy::call()
        },
        ..options()
    };
    let mut frames = hub.client().subscribe(options);
    let script = async {
        hub.subscribe().await.refuse(Status::unavailable("away"));
        hub.subscribe().await.refuse(Status::unavailable("still away"));
    };
    let ((), error) = tokio::join!(script, error_of(&mut frames));
    assert!(error.to_string().contains("still away"), "{error}");
    assert!(next(&mut frames).await.is_none());
}

#[tokio::test]
async fn dropping_the_subscription_cancels_it_at_the_hub() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    drop(frames);
    tokio::time::timeout(TOO_LONG, stream.cancelled()).await.unwrap();
}

/// A batch of two events, of which the second cannot be read.
fn half_broken(resume_token: &str, from: u64) -> Vec<u8> {
    // No UTF-8 in its id.
    let broken = [0x0a, 0x01, 0xff];
    let mut batch = EventsFrame {
        from,
        until: from + 2,
        events: vec![event(from)],
        raws: Vec::new(),
    }
    .encode_to_vec();
    batch.extend([&[0x1a, 3], broken.as_slice()].concat());
    let mut frame = SubscribeResponse {
        resume_token: resume_token.to_owned(),
        frame: None,
    }
    .encode_to_vec();
    frame.extend([0xa2, 0x01, u8::try_from(batch.len()).unwrap()]);
    frame.extend(batch);
    frame
}

#[tokio::test]
async fn p_33_an_event_that_cannot_be_read_is_passed_and_a_snapshot_follows() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send_bytes(half_broken("b", 0)).await;
    let Frame::Events(batch) = frame_of(&mut frames).await else {
        panic!("not a batch");
    };
    assert_eq!((batch.events.len(), batch.undecodable.len()), (1, 1));
    assert_eq!(frames.resume_token().as_deref(), Some("b"), "the place moved past it");

    let stream = dial(&mut hub, &mut frames, subscribed("pending-0", Answer::Started, 2)).await;
    assert!(matches!(stream.request.start, Some(Asked::Snapshot(_))));
    for frame in snapshot(SnapshotReason::Start, 2) {
        stream.send(frame).await;
        frame_of(&mut frames).await;
    }
    // The next one costs no second snapshot: no endless reconnect.
    stream.send_bytes(half_broken("c", 2)).await;
    stream.send(events("d", 4, 5)).await;
    assert_eq!(offsets(&mut frames).await, [2]);
    assert_eq!(offsets(&mut frames).await, [4]);
}

#[tokio::test]
async fn p_33_who_only_passes_events_along_goes_on() {
    let mut hub = Hub::start().await;
    let options = SubscribeOptions {
        on_undecodable: OnUndecodable::Continue,
        ..options()
    };
    let mut frames = hub.client().subscribe(options);
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send_bytes(half_broken("b", 0)).await;
    stream.send(events("c", 2, 3)).await;
    assert_eq!(offsets(&mut frames).await, [0]);
    assert_eq!(offsets(&mut frames).await, [2]);
}

#[tokio::test]
async fn k_24_a_later_event_of_the_same_item_is_handed_out() {
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 5)).await;
    for (resume_token, from, until, offset) in [("b", 5, 6, 5), ("c", 6, 10, 9)] {
        let mut update = event(offset);
        // Between the two lie events of other sessions only.
        update.index = from;
        update.item_id = "part-x".to_owned();
        let batch = EventsFrame {
            from,
            until,
            events: vec![update],
            raws: Vec::new(),
        };
        stream.send(frame(resume_token, Wire::Events(batch))).await;
        assert_eq!(offsets(&mut frames).await, [offset]);
    }
}

#[tokio::test]
async fn p_20_a_text_that_was_cut_in_the_middle_is_whole_again() {
    let delta = |at: u64, text: &str| Delta {
        session_id: "s".to_owned(),
        item_id: "m".to_owned(),
        at,
        fragment: Some(delta::Fragment::MessageText(text.to_owned())),
        ..Delta::default()
    };
    let deltas = |resume_token, delta| frame(resume_token, Wire::Deltas(DeltasFrame { deltas: vec![delta] }));
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(SubscribeOptions::to([interest::all().live()]));
    let mut texts = ItemTexts::new();

    let stream = dial(&mut hub, &mut frames, subscribed("a", Answer::Started, 0)).await;
    stream.send(deltas("b", delta(0, "hel"))).await;
    texts.apply(&frame_of(&mut frames).await);
    drop(stream);
    // "lo wor" went by while nobody listened.
    let stream = dial(&mut hub, &mut frames, subscribed("b", Answer::Resumed, 0)).await;
    let so_far = ItemText {
        session_id: "s".to_owned(),
        item_id: "m".to_owned(),
        channel: DeltaChannel::MessageText.into(),
        at: 9,
        state: Some(item_text::State::MessageText("hello wor".to_owned())),
    };
    stream.send(caught_up("c", 0)).await;
    stream.send(frame("d", Wire::ItemText(so_far))).await;
    stream.send(deltas("e", delta(9, "ld"))).await;
    for _ in 0..3 {
        texts.apply(&frame_of(&mut frames).await);
    }
    let text = texts.text("s", "m", DeltaChannel::MessageText).unwrap();
    assert_eq!(text, b"hello world");
}

#[tokio::test]
async fn k_15_an_application_that_does_not_take_frames_holds_the_hub_back() {
    const FRAMES: u64 = 10_000;
    // A frame has 4 KiB, and HTTP/2 lets 1 MiB of them through; the hub itself holds one or two.
    const AHEAD_MAX: u64 = 300;
    let mut hub = Hub::start().await;
    let mut frames = hub.client().subscribe(options());
    let open = async {
        let stream = hub.subscribe().await.open_up_to(1);
        stream.send(subscribed("a", Answer::Started, 0)).await;
        stream
    };
    let (stream, _) = tokio::join!(open, frame_of(&mut frames));
    let sent = std::sync::atomic::AtomicU64::new(0);
    let flood = async {
        for offset in 0..FRAMES {
            let mut update = event(offset);
            update.turn_id = "x".repeat(4 * 1024);
            let batch = EventsFrame {
                from: offset,
                until: offset + 1,
                events: vec![update],
                raws: Vec::new(),
            };
            stream.send(frame("b", Wire::Events(batch))).await;
            sent.store(offset, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let take = async {
        for taken in 0..FRAMES {
            assert_eq!(offsets(&mut frames).await, [taken]);
            let ahead = sent.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(taken);
            assert!(ahead <= AHEAD_MAX, "{ahead} frames ahead");
            // Slower than the hub: everyone else has a turn first.
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(flood, take);
}
