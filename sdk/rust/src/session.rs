//! Sessions and their stored events, by single calls.
//!
//! The one thing to believe: every method here may be repeated, and is: what fails in a way that may pass is tried again under
//! [`Options::retry`](crate::Options).

use std::collections::VecDeque;

use bellboard_proto::v1::append_result::Outcome;
use bellboard_proto::v1::{
    AppendEventsRequest, AppendEventsResponse, AppendResult, CreateSessionRequest, CreateSessionResponse,
    EventRejected, GetSessionRequest, ListEventsRequest, ListEventsResponse, ListSessionsRequest, ListSessionsResponse,
    Session, SessionRef, UpdateSessionRequest, session_ref,
};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use uuid::Uuid;

use crate::client::Client;
use crate::error::{Error, Failure, FieldProblem, Result};
use crate::retry::retrying;

/// Names a session by the hub's id.
#[must_use]
pub fn session_id(id: impl Into<String>) -> SessionRef {
    SessionRef {
        r#ref: Some(session_ref::Ref::SessionId(id.into())),
    }
}

/// Takes an append's result as a call's: a rejected one is the error that its reason stands for, and so is an outcome of a later
/// hub.
///
/// # Errors
/// As [`Error`] tells the reasons apart.
pub fn accepted(result: AppendResult) -> Result<AppendResult> {
    let rejected = match &result.outcome {
        Some(Outcome::Stored(_) | Outcome::Duplicate(_)) => return Ok(result),
        Some(Outcome::Rejected(rejected)) => rejected.clone(),
        None => EventRejected::default(),
    };
    let reason = rejected.reason();
    let mut failure = Failure::local(tonic::Code::FailedPrecondition, Some(reason), rejected.message);
    failure.metadata = rejected.metadata.into_iter().collect();
    if !rejected.field.is_empty() {
        failure.fields.push(FieldProblem {
            field: rejected.field,
            description: failure.message.clone(),
        });
    }
    Err(failure.by_reason(reason))
}

impl Client {
    /// Creates a session, or returns the one that has the same id or key. Without either it is given an id here, so that a
    /// repeated call finds what the first one created.
    ///
    /// # Errors
    /// [`Error::Conflict`] when id and key name different sessions, [`Error::InvalidRequest`], and those of every call.
    pub async fn create_session(&self, mut request: CreateSessionRequest) -> Result<CreateSessionResponse> {
        if request.session_id.is_empty() && request.key.is_none() {
            request.session_id = Uuid::now_v7().to_string();
        }
        retrying(self.retry(), || async {
            let answer = self.session_events().create_session(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await
    }

    /// Returns a session.
    ///
    /// # Errors
    /// [`Error::Gone`] when it does not exist or was deleted, and those of every call.
    pub async fn get_session(&self, session: SessionRef) -> Result<Session> {
        let request = GetSessionRequest { session: Some(session) };
        let answer = retrying(self.retry(), || async {
            let answer = self.session_events().get_session(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await?;
        answer.session.ok_or_else(nothing_in_it)
    }

    /// Lists a page of sessions.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], and those of every call.
    pub async fn list_sessions_page(&self, request: ListSessionsRequest) -> Result<ListSessionsResponse> {
        retrying(self.retry(), || async {
            let answer = self.session_events().list_sessions(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await
    }

    /// Lists sessions, page after page, as they are asked for. Ends after the first error.
    pub fn list_sessions(&self, request: ListSessionsRequest) -> BoxStream<'static, Result<Session>> {
        let listing = Listing {
            client: self.clone(),
            request: Some(request),
            ready: VecDeque::new(),
        };
        stream::try_unfold(listing, |mut listing| async move {
            loop {
                if let Some(session) = listing.ready.pop_front() {
                    return Ok(Some((session, listing)));
                }
                let Some(mut request) = listing.request.take() else {
                    return Ok(None);
                };
                let page = listing.client.list_sessions_page(request.clone()).await?;
                listing.ready = page.sessions.into();
                if !page.next_page_token.is_empty() {
                    request.page_token = page.next_page_token;
                    listing.request = Some(request);
                }
            }
        })
        .boxed()
    }

    /// Changes facts of a session.
    ///
    /// # Errors
    /// [`Error::Gone`], [`Error::InvalidRequest`], and those of every call.
    pub async fn update_session(&self, request: UpdateSessionRequest) -> Result<Session> {
        let answer = retrying(self.retry(), || async {
            let answer = self.session_events().update_session(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await?;
        answer.session.ok_or_else(nothing_in_it)
    }

    /// Lists a page of stored events.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], and those of every call.
    pub async fn list_events_page(&self, request: ListEventsRequest) -> Result<ListEventsResponse> {
        retrying(self.retry(), || async {
            let answer = self.session_events().list_events(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await
    }

    /// Lists stored events, a page at a time, as pages are asked for; each page's `resume_token` tells from where to
    /// [subscribe](Client::subscribe). Ends after the first error.
    pub fn list_events(&self, request: ListEventsRequest) -> BoxStream<'static, Result<ListEventsResponse>> {
        let start = (self.clone(), Some(request));
        stream::try_unfold(start, |(client, request)| async move {
            let Some(mut request) = request else {
                return Ok(None);
            };
            let page = client.list_events_page(request.clone()).await?;
            let next = (!page.next_page_token.is_empty()).then(|| {
                request.page_token.clone_from(&page.next_page_token);
                request
            });
            Ok(Some((page, (client, next))))
        })
        .boxed()
    }

    /// Appends events without a stream. An append without a writer that has neither `event_id` nor `dedupe_key` is given an id
    /// here, so that a repeated call stores it once. For more than a few events open a [`Writer`](crate::Writer).
    ///
    /// # Errors
    /// Those of the whole call; what became of each append is in the results.
    pub async fn append_events(&self, mut request: AppendEventsRequest) -> Result<AppendEventsResponse> {
        if request.writer_id.is_empty() {
            for append in &mut request.appends {
                if let Some(event) = &mut append.event
                    && event.event_id.is_empty()
                    && append.dedupe_key.is_empty()
                {
                    event.event_id = Uuid::now_v7().to_string();
                }
            }
        }
        retrying(self.retry(), || async {
            let answer = self.session_events().append_events(request.clone()).await?;
            Ok(answer.into_inner())
        })
        .await
    }
}

/// A listing under way.
struct Listing {
    client: Client,
    /// The next page's request. `None` after the last page.
    request: Option<ListSessionsRequest>,
    /// The rest of the newest page, at most 1,000.
    ready: VecDeque<Session>,
}

fn nothing_in_it() -> Error {
    Error::OutcomeUnknown(Failure::local(
        tonic::Code::Internal,
        None,
        "the hub's answer holds no session",
    ))
}
