//! Frames as a right hub would send them. A frame's resume token is the name that the script gives it.

use std::time::Duration;

use bellboard_proto::google::rpc;
use bellboard_sdk::v1::subscribe_response::Frame;
use bellboard_sdk::v1::{
    Answer, CaughtUp, Closing, ClosingReason, ErrorReason, Event, EventsFrame, Heartbeat, Session, SessionSnapshot,
    SnapshotBegin, SnapshotEnd, SnapshotPage, SnapshotReason, StreamLimits, SubscribeResponse, Subscribed,
    SubscriptionUpdated,
};
use prost::Message as _;
use tonic::{Code, Status};

/// How every stream of the script is named in calls.
pub(crate) const STREAM: &str = "stream-1";

pub(crate) fn frame(resume_token: &str, frame: Frame) -> SubscribeResponse {
    SubscribeResponse {
        resume_token: resume_token.to_owned(),
        frame: Some(frame),
    }
}

pub(crate) fn subscribed(resume_token: &str, answer: Answer, from: u64) -> SubscribeResponse {
    beating(resume_token, answer, from, Duration::from_secs(15))
}

/// Subscribed, with a heartbeat as often as that.
pub(crate) fn beating(resume_token: &str, answer: Answer, from: u64, interval: Duration) -> SubscribeResponse {
    let limits = StreamLimits {
        heartbeat_interval: Some(interval.try_into().unwrap()),
        ..StreamLimits::default()
    };
    frame(
        resume_token,
        Frame::Subscribed(Subscribed {
            answer: answer.into(),
            from,
            limits: Some(limits),
            subscription_id: STREAM.to_owned(),
            ..Subscribed::default()
        }),
    )
}

pub(crate) fn event(offset: u64) -> Event {
    Event {
        event_id: format!("e-{offset}"),
        offset,
        index: offset,
        session_id: "s".to_owned(),
        ..Event::default()
    }
}

/// A batch in which every offset has an event.
pub(crate) fn events(resume_token: &str, from: u64, until: u64) -> SubscribeResponse {
    frame(
        resume_token,
        Frame::Events(EventsFrame {
            from,
            until,
            events: (from..until).map(event).collect(),
            raws: Vec::new(),
        }),
    )
}

pub(crate) fn heartbeat(resume_token: &str, from: u64, until: u64) -> SubscribeResponse {
    frame(
        resume_token,
        Frame::Heartbeat(Heartbeat {
            from,
            until,
            tail: until,
        }),
    )
}

pub(crate) fn caught_up(resume_token: &str, tail: u64) -> SubscribeResponse {
    frame(resume_token, Frame::CaughtUp(CaughtUp { tail }))
}

pub(crate) fn closing(resume_token: &str, reason: ClosingReason, retry_after: Option<Duration>) -> SubscribeResponse {
    let retry_after = retry_after.map(|after| after.try_into().unwrap());
    frame(
        resume_token,
        Frame::Closing(Closing {
            reason: reason.into(),
            retry_after,
        }),
    )
}

/// A snapshot without sessions, as of this offset.
pub(crate) fn snapshot(reason: SnapshotReason, offset: u64) -> [SubscribeResponse; 3] {
    let begin = SnapshotBegin {
        reason: reason.into(),
        offset,
        ..SnapshotBegin::default()
    };
    let end = SnapshotEnd {
        offset,
        ..SnapshotEnd::default()
    };
    [
        frame("pending-1", Frame::SnapshotBegin(begin)),
        frame("pending-2", Frame::SnapshotPage(SnapshotPage::default())),
        frame("snapshot", Frame::SnapshotEnd(end)),
    ]
}

pub(crate) fn updated(resume_token: &str, revision: u64) -> SubscribeResponse {
    frame(
        resume_token,
        Frame::SubscriptionUpdated(SubscriptionUpdated {
            revision,
            snapshot_follows: true,
        }),
    )
}

/// A snapshot of one session that came in mid-stream. Resume tokens in it are named `within`, that of its end `end`.
pub(crate) fn enters(
    reason: SnapshotReason,
    offset: u64,
    (session_id, event_count): (&str, u64),
    (within, end): (&str, &str),
) -> [SubscribeResponse; 3] {
    let [mut begin, mut page, mut last] = snapshot(reason, offset);
    if let Some(Frame::SnapshotBegin(begin)) = &mut begin.frame
        && reason == SnapshotReason::SessionEntered
    {
        begin.session_ids = vec![session_id.to_owned()];
    }
    if let Some(Frame::SnapshotPage(page)) = &mut page.frame {
        page.sessions = vec![SessionSnapshot {
            session: Some(Session {
                session_id: session_id.to_owned(),
                event_count,
                ..Session::default()
            }),
            ..SessionSnapshot::default()
        }];
    }
    within.clone_into(&mut begin.resume_token);
    within.clone_into(&mut page.resume_token);
    end.clone_into(&mut last.resume_token);
    [begin, page, last]
}

/// An error as the hub makes them, with its advice how long to wait.
pub(crate) fn advice(code: Code, reason: ErrorReason, wait: Duration) -> Status {
    let info = rpc::RetryInfo {
        retry_delay: Some(wait.try_into().unwrap()),
    };
    let info = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    refusal_with(code, reason, vec![info])
}

/// An error as the hub makes them.
pub(crate) fn refusal(code: Code, reason: ErrorReason) -> Status {
    refusal_with(code, reason, Vec::new())
}

fn refusal_with(code: Code, reason: ErrorReason, more: Vec<prost_types::Any>) -> Status {
    let info = rpc::ErrorInfo {
        reason: bellboard_proto::reason_name(reason).to_owned(),
        domain: bellboard_proto::ERROR_DOMAIN.to_owned(),
        ..rpc::ErrorInfo::default()
    };
    let info = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    let whole = rpc::Status {
        code: code.into(),
        message: "refused".to_owned(),
        details: std::iter::once(info).chain(more).collect(),
    };
    Status::with_details(code, "refused", whole.encode_to_vec().into())
}
