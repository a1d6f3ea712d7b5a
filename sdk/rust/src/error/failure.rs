//! A gRPC status, read whole: code, the hub's reason, fields, and how long waiting helps.
//!
//! The one thing to believe: the hub's reason decides what an error is. The code decides only where there is no reason: for a
//! later hub's new one, and for what something between here and the hub answered.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bellboard_proto::google::rpc;
use bellboard_proto::v1::ErrorReason;
use prost::Message as _;
use tonic::Code;

use super::Error;

/// What the hub, or something before it, said about a failed call.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The gRPC code.
    pub code: Code,
    /// The hub's reason. `None` for a reason newer than this build and for an answer that is not the hub's.
    pub reason: Option<ErrorReason>,
    /// The hub's words.
    pub message: String,
    /// The variables of the message, by name.
    pub metadata: HashMap<String, String>,
    /// The fields at fault. Empty when none is.
    pub fields: Vec<FieldProblem>,
    /// How long waiting helps. `None` when not told.
    pub retry_delay: Option<Duration>,
}

/// What is wrong with a field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's path, for instance `interests[0].detail`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if self.message.is_empty() {
            self.code.description()
        } else {
            &self.message
        };
        match self.reason {
            Some(reason) => write!(f, "{message} ({})", bellboard_proto::reason_name(reason)),
            None => f.write_str(message),
        }
    }
}

impl Failure {
    /// Made here, in the hub's words for it.
    pub(crate) fn local(code: Code, reason: Option<ErrorReason>, message: impl Into<String>) -> Box<Failure> {
        Box::new(Failure {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            fields: Vec::new(),
            retry_delay: None,
        })
    }

    pub(crate) fn read(status: &tonic::Status) -> Box<Failure> {
        let mut failure = Failure::local(status.code(), None, status.message());
        // Details that cannot be read are the same as none: the code still says enough.
        let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
        for detail in details {
            failure.read_detail(&detail);
        }
        failure
    }

    fn read_detail(&mut self, detail: &prost_types::Any) {
        let bytes = detail.value.as_slice();
        match detail.type_url.rsplit('/').next() {
            Some("google.rpc.ErrorInfo") => {
                if let Ok(info) = rpc::ErrorInfo::decode(bytes)
                    && info.domain == bellboard_proto::ERROR_DOMAIN
                {
                    self.reason = bellboard_proto::reason_from_name(&info.reason);
                    self.metadata = info.metadata.into_iter().collect();
                }
            }
            Some("google.rpc.BadRequest") => {
                if let Ok(bad) = rpc::BadRequest::decode(bytes) {
                    self.fields = bad
                        .field_violations
                        .into_iter()
                        .map(|violation| FieldProblem {
                            field: violation.field,
                            description: violation.description,
                        })
                        .collect();
                }
            }
            Some("google.rpc.RetryInfo") => {
                if let Ok(info) = rpc::RetryInfo::decode(bytes) {
                    // A negative delay is nonsense and taken as none.
                    self.retry_delay = info.retry_delay.and_then(|delay| Duration::try_from(delay).ok());
                }
            }
            // Details of other kinds are allowed and say nothing that changes what to do.
            Some(_) | None => {}
        }
    }

    pub(crate) fn classify(self: Box<Failure>, status: &tonic::Status) -> Error {
        match self.reason {
            Some(reason) => self.by_reason(reason),
            None if never_left(status) => Error::Retryable(self),
            None => self.by_code(),
        }
    }

    /// The table of the contract: what each reason asks for.
    pub(crate) fn by_reason(self: Box<Failure>, reason: ErrorReason) -> Error {
        use ErrorReason as Reason;
        match reason {
            Reason::InvalidField
            | Reason::PageTokenInvalid
            | Reason::PayloadUnknown
            | Reason::PayloadMissing
            | Reason::PayloadReserved
            | Reason::EventTooLarge
            | Reason::RequestTooLarge
            | Reason::FrameUnexpected => Error::InvalidRequest(self),
            Reason::ResumeTokenInvalid | Reason::TooFarBehind | Reason::HistoryGone => Error::StartFromSnapshot(self),
            Reason::SeqGap
            | Reason::WriterUnknown
            | Reason::SessionStateConflict
            | Reason::CommandStateConflict
            | Reason::Busy
            | Reason::OwnerLost
            | Reason::StaleAttentionItem => Error::Refresh(self),
            Reason::Fenced => Error::Fenced(self),
            Reason::SessionOwned => Error::SessionOwned(self),
            Reason::StorageFull
            | Reason::Overloaded
            | Reason::Draining
            | Reason::QueueFull
            | Reason::ConnectorUnavailable => Error::Retryable(self),
            Reason::StorageUnavailable | Reason::Internal => Error::OutcomeUnknown(self),
            Reason::CredentialMissing | Reason::CredentialInvalid | Reason::CredentialExpired => {
                Error::Credential(self)
            }
            Reason::ScopeMissing | Reason::HostRefused | Reason::OriginRefused => Error::Permission(self),
            Reason::SessionNotFound
            | Reason::SessionDeleted
            | Reason::SubscriptionNotFound
            | Reason::SubscriptionElsewhere
            | Reason::AskNotFound
            | Reason::CommandNotFound
            | Reason::AttentionItemNotFound => Error::Gone(self),
            Reason::SessionAlreadyExists
            | Reason::EventIdConflict
            | Reason::StaleAsk
            | Reason::CommandIdConflict
            | Reason::RequestIdConflict => Error::Conflict(self),
            Reason::CapabilityMissing | Reason::QuotaExceeded => Error::Refused(self),
            Reason::Unimplemented => Error::Unimplemented(self),
            Reason::Unspecified => self.by_code(),
        }
    }

    /// `UNKNOWN` and the like are what a connection that broke looks like: whether the hub did it is not known.
    fn by_code(self: Box<Failure>) -> Error {
        match self.code {
            Code::ResourceExhausted => Error::Retryable(self),
            Code::Ok
            | Code::Unknown
            | Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::DataLoss => Error::OutcomeUnknown(self),
            Code::InvalidArgument | Code::OutOfRange => Error::InvalidRequest(self),
            Code::FailedPrecondition => Error::Refresh(self),
            Code::NotFound => Error::Gone(self),
            Code::AlreadyExists => Error::Conflict(self),
            Code::PermissionDenied => Error::Permission(self),
            Code::Unauthenticated => Error::Credential(self),
            Code::Unimplemented => Error::Unimplemented(self),
        }
    }
}

/// Whether no connection was made, so that the request cannot have arrived.
fn never_left(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
