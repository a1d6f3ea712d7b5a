//! What is too old, at whatever hour it is asked for.

use super::*;
use bellboard_core::limits;
use bellboard_proto::v1::{
    self, AppendEventsRequest, Event, EventAppend, FromStart, OnGap, SessionRef, event::Payload, session_ref::Ref,
    subscribe_response::Frame,
};

const HOUR: Duration = Duration::from_secs(3600);

fn wanted() -> Vec<Interest> {
    vec![Interest {
        selector: Some(Selector::All(AllSelector {})),
        detail: v1::Detail::Content.into(),
        ..Interest::default()
    }]
}

/// One thing said in a session.
async fn say(house: &House, session: &str) {
    let said = v1::MessageCompleted::default();
    let event = Event {
        item_id: "m".into(),
        payload: Some(Payload::MessageCompleted(said)),
        ..Event::default()
    };
    let append = EventAppend {
        session: Some(SessionRef {
            r#ref: Some(Ref::SessionId(session.into())),
        }),
        event: Some(event),
        ..EventAppend::default()
    };
    let request = AppendEventsRequest {
        appends: vec![append],
        ..AppendEventsRequest::default()
    };
    let mut client = SessionEventsServiceClient::new(house.channel().await);
    let answer = client.append_events(with(&house.running.local_key, request));
    soon(answer).await.unwrap();
}

/// The frames of a stream up to `caught_up`, and its last resume token.
async fn frames(house: &House, start: subscribe_request::Start, on_gap: OnGap) -> (Vec<Frame>, String) {
    let request = SubscribeRequest {
        start: Some(start),
        interests: wanted(),
        on_gap: on_gap.into(),
        ..SubscribeRequest::default()
    };
    let mut client = SubscribeServiceClient::new(house.channel().await);
    let stream = client.subscribe(with(&house.running.local_key, request));
    let mut stream = soon(stream).await.unwrap().into_inner();
    let (mut frames, mut token) = (Vec::new(), String::new());
    while let Some(response) = soon(stream.message()).await.unwrap() {
        token = response.resume_token;
        let frame = response.frame.unwrap();
        let last = matches!(frame, Frame::CaughtUp(_));
        frames.push(frame);
        if last {
            break;
        }
    }
    (frames, token)
}

fn offsets(frames: &[Frame]) -> Vec<u64> {
    let mut offsets = Vec::new();
    for frame in frames {
        if let Frame::Events(batch) = frame {
            offsets.extend(batch.events.iter().map(|event| event.offset));
        }
    }
    offsets
}

fn subscribed(frames: &[Frame]) -> (v1::Answer, v1::ResetReason, u64) {
    let Some(Frame::Subscribed(first)) = frames.first() else {
        panic!("the first frame is {:?}", frames.first())
    };
    (first.answer(), first.reason(), first.oldest)
}

async fn oldest(house: &House) -> u64 {
    let tenant = TenantId::parse("default").unwrap();
    house.running.hub().store().open_log(&tenant).await.unwrap().oldest.0
}

/// All answers that a log of which nothing is young may give, and those that it may not.
async fn assert_all_gone(house: &House, old: &str) {
    let resume = || subscribe_request::Start::ResumeToken(old.to_owned());
    let (reset, _) = frames(house, resume(), OnGap::Snapshot).await;
    let too_old = v1::ResetReason::ResumeTokenTooOld;
    assert_eq!(subscribed(&reset), (v1::Answer::Reset, too_old, 4));
    assert_eq!(offsets(&reset), [0; 0], "expired records are never replayed");
    assert!(reset.iter().any(|frame| matches!(frame, Frame::SnapshotEnd(_))));
    let page = reset.iter().find_map(|frame| {
        let Frame::SnapshotPage(page) = frame else {
            return None;
        };
        Some(page)
    });
    for session in &page.unwrap().sessions {
        assert_eq!((session.items.len(), session.items_page_token.as_str()), (0, ""));
    }
    let (gap, _) = frames(house, resume(), OnGap::Continue).await;
    assert_eq!(subscribed(&gap).0, v1::Answer::Resumed);
    let Frame::Gap(told) = &gap[1] else {
        panic!("no gap but {:?}", gap[1])
    };
    assert_eq!((told.from, told.until, told.sessions.len()), (2, 4, 1));
    assert_eq!(offsets(&gap), [0; 0]);
    let (all, _) = frames(house, subscribe_request::Start::FromStart(FromStart {}), OnGap::Fail).await;
    assert_eq!((subscribed(&all).2, offsets(&all).len()), (4, 0));
    let mut client = SessionEventsServiceClient::new(house.channel().await);
    let list = client.list_events(with(&house.running.local_key, v1::ListEventsRequest::default()));
    let page = soon(list).await.unwrap().into_inner();
    assert_eq!(
        (page.events.len(), page.oldest, page.next_page_token.as_str()),
        (0, 4, "")
    );
}

#[tokio::test]
async fn p_5_p_6_what_expires_in_a_quiet_period_is_gone_before_and_after_it_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        retention: Retention {
            age: Some(HOUR),
            bytes: None,
        },
        ..settings(&dir)
    };
    let house = house_with(settings, dir).await;
    say(&house, "a").await;
    let (before, old) = frames(&house, subscribe_request::Start::FromStart(FromStart {}), OnGap::Fail).await;
    assert_eq!(offsets(&before), [0, 1]);
    say(&house, "b").await;
    // The wall clock alone: whoever waits for a time to pass goes on waiting, the sweep too.
    house.clock.jump(i64::try_from((HOUR * 2).as_micros()).unwrap());
    assert_all_gone(&house, &old).await;
    assert_eq!(oldest(&house).await, 0, "nobody has trimmed it");
    // A clock that leapt is believed after a while only.
    let trimmed = async {
        while oldest(&house).await < 4 {
            tokio::task::yield_now().await;
        }
    };
    let begin = house.clock.elapsed();
    soon(while_time_passes(&house.clock, limits::SWEEP_INTERVAL, trimmed)).await;
    assert!(house.clock.elapsed() - begin >= limits::LEAP_GRACE);
    assert_all_gone(&house, &old).await;
    say(&house, "a").await;
    let (after, _) = frames(&house, subscribe_request::Start::FromStart(FromStart {}), OnGap::Fail).await;
    assert_eq!(offsets(&after), [4], "the log goes on");
    house.running.shutdown().await;
}
