//! How the hub's answers become gRPC statuses: the one place.
//!
//! Believe this: every error status carries exactly one `ErrorInfo` whose reason is a value of the contract's enum; whatever varies
//! in the text is also in its metadata; `BadRequest` names a field at fault, `RetryInfo` says when waiting helps.

use std::time::Duration;

use bellboard_core::access::Denied;
use bellboard_core::appender::{self, Refusal, Rejection};
use bellboard_core::event::SessionRef;
use bellboard_core::subscription::frame::ClosingReason;
use bellboard_core::subscription::{control, registry};
use bellboard_core::{limits, store, subscription};
use bellboard_proto::google::rpc::{
    BadRequest, ErrorInfo, RetryInfo, Status as RpcStatus, bad_request::FieldViolation,
};
use bellboard_proto::v1::ErrorReason;
use bellboard_proto::{ERROR_DOMAIN, reason_name};
use prost::{Message, Name};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::wire::fault::Fault;

/// Largest request message, in bytes: gRPC's own default, which every client can send.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a caller is told to wait before it tries a store that was full or away again.
const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// A status with its reason.
#[must_use]
pub fn status(code: Code, reason: ErrorReason, message: impl Into<String>, metadata: &[(&str, String)]) -> Status {
    Answer::new(code, reason, message, metadata).into()
}

/// INVALID_ARGUMENT for one field.
#[must_use]
pub fn invalid(fault: Fault) -> Status {
    let Fault {
        field,
        problem,
        mut metadata,
    } = fault;
    metadata.push(("field", field.clone()));
    let message = format!("{field} {problem}");
    let mut answer = Answer::new(Code::InvalidArgument, ErrorReason::InvalidField, message, &metadata);
    answer.field = Some((field, problem));
    answer.into()
}

/// NOT_FOUND for a session of this name.
#[must_use]
pub fn no_session(name: &SessionRef) -> Status {
    let (message, metadata) = match name {
        SessionRef::Id(id) => (
            format!(
                "session {:?} does not exist; list the sessions there are with ListSessions",
                id.as_str()
            ),
            vec![("session_id", id.to_string())],
        ),
        SessionRef::Key(_) => (
            "no session has this key; list the sessions there are with ListSessions".to_owned(),
            Vec::new(),
        ),
    };
    status(Code::NotFound, ErrorReason::SessionNotFound, message, &metadata)
}

/// A rejected append as the answer to a whole call, where the call is that append.
#[must_use]
pub fn rejected(rejection: Rejection) -> Status {
    let code = match rejection.refusal {
        Refusal::SessionConflict => Code::AlreadyExists,
        Refusal::SessionOwned | Refusal::Fenced => Code::FailedPrecondition,
        Refusal::Internal => Code::Internal,
        Refusal::InvalidField
        | Refusal::PayloadUnknown
        | Refusal::PayloadMissing
        | Refusal::PayloadReserved
        | Refusal::TooLarge
        | Refusal::SeqGap => return invalid(rejection.into()),
    };
    let reason = refused(rejection.refusal);
    let mut metadata = rejection.metadata;
    if !rejection.field.is_empty() {
        metadata.push(("field", rejection.field));
    }
    status(code, reason, rejection.message, &metadata)
}

/// UNIMPLEMENTED, for what this version of the hub does not do yet.
#[must_use]
pub fn unbuilt(what: &str) -> Status {
    let message = format!(
        "{what} is not built yet; this hub is version {}",
        env!("CARGO_PKG_VERSION")
    );
    status(
        Code::Unimplemented,
        ErrorReason::Unimplemented,
        message,
        &[
            ("what", what.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ],
    )
}

/// The reason for what tonic answers by itself: a request that it does not take, or cannot read. None where it is not that. What was
/// refused with a reason while it arrived keeps that.
#[must_use]
pub fn unread(answer: &Status) -> Option<Status> {
    if !answer.details().is_empty() {
        return Some(answer.clone());
    }
    if answer.code() == Code::OutOfRange {
        let message = format!("the request is longer than {REQUEST_BYTES_MAX} bytes; split it");
        let metadata = [("limit_bytes", REQUEST_BYTES_MAX.to_string())];
        let reason = ErrorReason::RequestTooLarge;
        return Some(status(Code::ResourceExhausted, reason, message, &metadata));
    }
    if answer.code() == Code::Internal {
        let cause = answer.message();
        let fault = Fault::new("request", format!("cannot be read: {cause}")).with("cause", cause);
        return Some(invalid(fault));
    }
    (answer.code() == Code::Unimplemented).then(|| unbuilt("this method"))
}

/// Puts its reason into an answer that tonic gave by itself.
pub fn explained(answer: http::Response<Body>) -> http::Response<Body> {
    if answer.headers().contains_key(Status::GRPC_STATUS_DETAILS) {
        return answer;
    }
    let reason = Status::from_header_map(answer.headers()).and_then(|status| unread(&status));
    reason.map_or(answer, Status::into_http)
}

/// PERMISSION_DENIED for a scope that the credential lacks.
#[must_use]
pub fn denied(denied: Denied) -> Status {
    let metadata = [("scope", denied.0.name().to_owned())];
    status(
        Code::PermissionDenied,
        ErrorReason::ScopeMissing,
        denied.to_string(),
        &metadata,
    )
}

/// What a store's failure means to a caller.
#[must_use]
pub fn stored(error: &store::Error) -> Status {
    let (code, reason) = match error {
        store::Error::Trimmed(oldest) => return history_gone(error.to_string(), &[("oldest", oldest.to_string())]),
        store::Error::Full => (Code::ResourceExhausted, ErrorReason::StorageFull),
        store::Error::Constraint(_) | store::Error::Corrupt(_) => (Code::Internal, ErrorReason::Internal),
        store::Error::CommitUnknown | store::Error::Unavailable(_) => {
            (Code::Unavailable, ErrorReason::StorageUnavailable)
        }
    };
    // What the database said is for the log, not for the caller.
    tracing::error!(%error, "the store failed");
    let message = match error {
        store::Error::Full => "the disk is full; try again when there is room",
        store::Error::Constraint(_) | store::Error::Corrupt(_) => "the hub cannot read its own log; report it",
        store::Error::CommitUnknown | store::Error::Unavailable(_) | store::Error::Trimmed(_) => {
            "the log is not available now; try again"
        }
    };
    Answer::new(code, reason, message, &[]).retry(STORAGE_RETRY).into()
}

/// OUT_OF_RANGE for what is no longer kept.
#[must_use]
pub fn history_gone(message: impl Into<String>, metadata: &[(&str, String)]) -> Status {
    status(Code::OutOfRange, ErrorReason::HistoryGone, message, metadata)
}

/// What an append's failure as a whole means to a caller.
#[must_use]
pub fn appended(error: &appender::Error) -> Status {
    let (code, reason, metadata) = match error {
        appender::Error::WriterUnknown => (Code::FailedPrecondition, ErrorReason::WriterUnknown, Vec::new()),
        appender::Error::Fenced { given, current } => (
            Code::FailedPrecondition,
            ErrorReason::Fenced,
            vec![("fence", given.to_string()), ("current_fence", current.to_string())],
        ),
        appender::Error::Full => (Code::ResourceExhausted, ErrorReason::StorageFull, Vec::new()),
        appender::Error::Unavailable => (Code::Unavailable, ErrorReason::StorageUnavailable, Vec::new()),
        appender::Error::Stopped => (Code::Unavailable, ErrorReason::Draining, Vec::new()),
    };
    let answer = Answer::new(code, reason, error.to_string(), &metadata);
    let waiting_helps = matches!(code, Code::Unavailable | Code::ResourceExhausted);
    if waiting_helps {
        answer.retry(STORAGE_RETRY).into()
    } else {
        answer.into()
    }
}

/// Why there is no stream, or why it broke off.
#[must_use]
pub fn subscribed(error: &subscription::Error) -> Status {
    match error {
        subscription::Error::ResumeTokenInvalid => status(
            Code::InvalidArgument,
            ErrorReason::ResumeTokenInvalid,
            error.to_string(),
            &[],
        ),
        subscription::Error::HistoryGone { from, oldest } => {
            let metadata = [("from", from.to_string()), ("oldest", oldest.to_string())];
            history_gone(error.to_string(), &metadata)
        }
        subscription::Error::TooFarBehind(limit) => {
            let metadata = [("replay_limit", limit.to_string())];
            status(
                Code::OutOfRange,
                ErrorReason::TooFarBehind,
                error.to_string(),
                &metadata,
            )
        }
        subscription::Error::Store(error) => stored(error),
    }
}

/// The status after a stream's last frame: an ended right is an error, everything else ends well.
#[must_use]
pub fn after_closing(reason: ClosingReason) -> Option<Status> {
    match reason {
        ClosingReason::Draining | ClosingReason::Replaced | ClosingReason::MaxAge | ClosingReason::Complete => None,
        ClosingReason::PermissionRevoked => {
            let message = "the key of this stream was revoked; use another key";
            Some(status(
                Code::PermissionDenied,
                ErrorReason::CredentialInvalid,
                message,
                &[],
            ))
        }
        ClosingReason::CredentialExpired => {
            let message = "the key of this stream has expired; use another key";
            Some(status(
                Code::Unauthenticated,
                ErrorReason::CredentialExpired,
                message,
                &[],
            ))
        }
    }
}

/// Why nothing was said to an open stream.
#[must_use]
pub fn unsaid(error: &registry::Error) -> Status {
    let (code, reason) = match error {
        registry::Error::NotFound => (Code::NotFound, ErrorReason::SubscriptionNotFound),
        registry::Error::Elsewhere => (Code::Unavailable, ErrorReason::SubscriptionElsewhere),
    };
    // The name is not told back: what is somebody else's is answered byte for byte like what is not there.
    status(code, reason, error.to_string(), &[])
}

/// How long a caller is told to wait before it asks for more than its quota again.
const QUOTA_RETRY: Duration = Duration::from_secs(1);

/// RESOURCE_EXHAUSTED: the caller has as much open as it may have.
#[must_use]
pub fn quota_reached(quota: &'static str, limit: usize) -> Status {
    let message =
        format!("the quota {quota} of {limit} is used up; end some of what is open, or wait until some has ended");
    let metadata = [("quota", quota.to_owned()), ("limit", limit.to_string())];
    let answer = Answer::new(Code::ResourceExhausted, ErrorReason::Overloaded, message, &metadata);
    answer.retry(QUOTA_RETRY).into()
}

/// RESOURCE_EXHAUSTED: a request did not arrive in time.
#[must_use]
pub fn too_slow(limit: Duration) -> Status {
    let limit = format!("{}s", limit.as_secs());
    let message = format!("the quota request_time of {limit} is used up; send the whole request sooner");
    let metadata = [("quota", "request_time".to_owned()), ("limit", limit)];
    let answer = Answer::new(Code::ResourceExhausted, ErrorReason::Overloaded, message, &metadata);
    answer.retry(QUOTA_RETRY).into()
}

/// INTERNAL: a request came in by a way on which nobody counts.
#[must_use]
pub fn uncounted() -> Status {
    let message = "the hub did not count this call; it is a defect, please report it";
    status(Code::Internal, ErrorReason::Internal, message, &[])
}

/// A stream has not heard yet what was said to it before.
#[must_use]
pub fn unheard(full: &control::Full) -> Status {
    let metadata = [("limit", limits::CONTROLS_MAX.to_string())];
    Answer::new(
        Code::ResourceExhausted,
        ErrorReason::Overloaded,
        full.to_string(),
        &metadata,
    )
    .retry(STORAGE_RETRY)
    .into()
}

/// The contract's reason for a rejected append.
#[must_use]
pub const fn refused(refusal: Refusal) -> ErrorReason {
    match refusal {
        Refusal::InvalidField => ErrorReason::InvalidField,
        Refusal::PayloadUnknown => ErrorReason::PayloadUnknown,
        Refusal::PayloadMissing => ErrorReason::PayloadMissing,
        Refusal::PayloadReserved => ErrorReason::PayloadReserved,
        Refusal::TooLarge => ErrorReason::EventTooLarge,
        Refusal::SeqGap => ErrorReason::SeqGap,
        Refusal::SessionConflict => ErrorReason::SessionAlreadyExists,
        Refusal::SessionOwned => ErrorReason::SessionOwned,
        Refusal::Fenced => ErrorReason::Fenced,
        Refusal::Internal => ErrorReason::Internal,
    }
}

/// A status on its way.
struct Answer {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: Vec<(String, String)>,
    field: Option<(String, String)>,
    retry: Option<Duration>,
}

impl Answer {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>, metadata: &[(&str, String)]) -> Answer {
        let metadata = metadata
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        Answer {
            code,
            reason,
            message: message.into(),
            metadata,
            field: None,
            retry: None,
        }
    }

    const fn retry(mut self, after: Duration) -> Answer {
        self.retry = Some(after);
        self
    }
}

impl From<Answer> for Status {
    fn from(answer: Answer) -> Status {
        let Answer {
            code,
            reason,
            message,
            metadata,
            field,
            retry,
        } = answer;
        let info = ErrorInfo {
            reason: reason_name(reason).to_owned(),
            domain: ERROR_DOMAIN.to_owned(),
            metadata: metadata.into_iter().collect(),
        };
        let mut details = vec![any(&info)];
        if let Some((field, description)) = field {
            let violation = FieldViolation {
                field,
                description,
                ..FieldViolation::default()
            };
            details.push(any(&BadRequest {
                field_violations: vec![violation],
            }));
        }
        if let Some(after) = retry {
            let retry_delay = prost_types::Duration::try_from(after).ok();
            details.push(any(&RetryInfo { retry_delay }));
        }
        let rpc = RpcStatus {
            code: code as i32,
            message: message.clone(),
            details,
        };
        Status::with_details(code, message, rpc.encode_to_vec().into())
    }
}

fn any<M: Message + Name>(message: &M) -> prost_types::Any {
    prost_types::Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_one_reason_and_names_its_field() {
        let status = invalid(Fault::new("page_size", "is negative; give 0 to 1000").with("limit", 1000));
        assert_eq!(status.message(), "page_size is negative; give 0 to 1000");
        let rpc = RpcStatus::decode(status.details()).unwrap();
        assert_eq!(rpc.code, Code::InvalidArgument as i32);
        let infos: Vec<_> = rpc
            .details
            .iter()
            .filter(|any| any.type_url == ErrorInfo::type_url())
            .collect();
        assert_eq!(infos.len(), 1);
        let info = ErrorInfo::decode(infos[0].value.as_slice()).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_FIELD", "bellboard.dev")
        );
        assert_eq!(
            (&info.metadata["field"][..], &info.metadata["limit"][..]),
            ("page_size", "1000")
        );
        assert!(rpc.details.iter().any(|any| any.type_url == BadRequest::type_url()));
    }

    #[test]
    fn waiting_is_advised_where_it_helps() {
        let status = stored(&store::Error::Full);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let rpc = RpcStatus::decode(status.details()).unwrap();
        assert!(rpc.details.iter().any(|any| any.type_url == RetryInfo::type_url()));
    }

    #[test]
    fn what_tonic_answers_by_itself_gets_a_reason_and_nothing_else_is_touched() {
        let reason = |status: Status| {
            let answer = explained(status.into_http());
            let status = Status::from_header_map(answer.headers()).unwrap();
            let rpc = RpcStatus::decode(status.details()).unwrap();
            let info = rpc.details.iter().find(|any| any.type_url == ErrorInfo::type_url());
            let reason = info.map(|any| ErrorInfo::decode(any.value.as_slice()).unwrap().reason);
            (status.code(), reason.unwrap_or_default())
        };
        let answer = |code, reason: &str| (code, reason.to_owned());
        assert_eq!(
            reason(Status::out_of_range("decoded message length too large")),
            answer(Code::ResourceExhausted, "REQUEST_TOO_LARGE")
        );
        assert_eq!(
            reason(Status::internal("invalid wire type")),
            answer(Code::InvalidArgument, "INVALID_FIELD")
        );
        assert_eq!(
            reason(Status::unimplemented("")),
            answer(Code::Unimplemented, "UNIMPLEMENTED")
        );
        assert_eq!(
            reason(stored(&store::Error::Corrupt("x".into()))),
            answer(Code::Internal, "INTERNAL")
        );
        assert_eq!(reason(Status::not_found("a service")), answer(Code::NotFound, ""));
    }
}
