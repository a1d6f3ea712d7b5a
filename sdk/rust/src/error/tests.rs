use std::time::Duration;

use bellboard_proto::google::rpc;
use prost::Message as _;
use tonic::{Code, Status};

use super::*;

fn any(type_name: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: message.encode_to_vec(),
    }
}

fn status(code: Code, reason: ErrorReason, more: Vec<prost_types::Any>) -> Status {
    let info = rpc::ErrorInfo {
        reason: bellboard_proto::reason_name(reason).to_owned(),
        domain: bellboard_proto::ERROR_DOMAIN.to_owned(),
        ..rpc::ErrorInfo::default()
    };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    details.extend(more);
    let whole = rpc::Status {
        code: code.into(),
        message: "it is so".to_owned(),
        details,
    };
    Status::with_details(code, "it is so", whole.encode_to_vec().into())
}

#[test]
fn fields_and_delays_are_read() {
    let bad = rpc::BadRequest {
        field_violations: vec![rpc::bad_request::FieldViolation {
            field: "interests[0]".to_owned(),
            description: "has no selector".to_owned(),
            ..rpc::bad_request::FieldViolation::default()
        }],
    };
    let error = Error::from(status(
        Code::InvalidArgument,
        ErrorReason::InvalidField,
        vec![any("google.rpc.BadRequest", &bad)],
    ));
    assert!(matches!(error, Error::InvalidRequest(_)));
    assert_eq!(error.failure().unwrap().fields[0].field, "interests[0]");
    assert_eq!(error.to_string(), "it is so (INVALID_FIELD)");

    let retry = rpc::RetryInfo {
        retry_delay: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
    };
    let error = Error::from(status(
        Code::ResourceExhausted,
        ErrorReason::Overloaded,
        vec![any("google.rpc.RetryInfo", &retry)],
    ));
    assert!(error.is_retryable() && error.has_no_side_effects());
    assert_eq!(error.retry_delay(), Some(Duration::from_secs(2)));
}

#[test]
fn an_outcome_that_is_not_known_is_told_as_such() {
    for status in [
        Status::unknown("transport error"),
        Status::unavailable("connection reset"),
        status(Code::Unavailable, ErrorReason::StorageUnavailable, Vec::new()),
    ] {
        let error = Error::from(status);
        assert!(error.is_retryable() && !error.has_no_side_effects(), "{error}");
    }
}

#[test]
fn the_hubs_reason_goes_before_the_code() {
    let error = Error::from(status(
        Code::InvalidArgument,
        ErrorReason::ResumeTokenInvalid,
        Vec::new(),
    ));
    assert!(matches!(error, Error::StartFromSnapshot(_)));
    assert!(!error.is_retryable());
}

#[test]
fn every_reason_is_retried_as_the_contract_says() {
    use ErrorReason as Reason;
    let with_back_off = [
        Reason::SessionOwned,
        Reason::StorageFull,
        Reason::StorageUnavailable,
        Reason::Overloaded,
        Reason::Draining,
        Reason::QueueFull,
        Reason::ConnectorUnavailable,
        Reason::Internal,
    ];
    for number in 1..=48 {
        let reason = Reason::try_from(number).unwrap();
        let error = Failure::local(Code::FailedPrecondition, Some(reason), "").by_reason(reason);
        assert_eq!(error.is_retryable(), with_back_off.contains(&reason), "{reason:?}");
    }
}

#[test]
fn somebody_elses_error_info_is_not_the_hubs() {
    let info = rpc::ErrorInfo {
        reason: "SESSION_NOT_FOUND".to_owned(),
        domain: "proxy.example".to_owned(),
        ..rpc::ErrorInfo::default()
    };
    let whole = rpc::Status {
        details: vec![any("google.rpc.ErrorInfo", &info)],
        ..rpc::Status::default()
    };
    let status = Status::with_details(Code::PermissionDenied, "no", whole.encode_to_vec().into());
    let error = Error::from(status);
    assert_eq!(error.reason(), None);
    assert!(matches!(error, Error::Permission(_)));
}
