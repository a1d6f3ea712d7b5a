//! `SessionEventsService`: sessions and their events in, history out.

use std::pin::Pin;
use std::sync::Arc;

use bellboard_core::access::Scope;
use bellboard_core::appender::{self, Append, Claim, Condition, Grant, Outcome};
use bellboard_core::event::{Draft, SessionRef};
use bellboard_core::id::{EventId, SessionId, WriterId};
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_core::session::Session;
use bellboard_proto::hub::v1::{self as hub, session_events_service_server::SessionEventsService};
use bellboard_proto::v1::{self, event::Payload};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use crate::wire::session::{Fault, Mask, parse_facts, parse_id, parse_key, parse_ref, row};
use crate::wire::status::{self, appended, stored, unbuilt};
use crate::wire::{State, draft, list_events, list_sessions, no_session, publish};

/// Most sessions that a writer may name at once, as the contract says.
const WRITER_SESSIONS_MAX: usize = 10_000;

/// The service.
#[derive(Debug)]
pub struct Service {
    state: Arc<State>,
}

impl Service {
    /// Over the hub.
    #[must_use]
    pub const fn new(state: Arc<State>) -> Service {
        Service { state }
    }

    /// Appends one event of the hub's own making.
    async fn write(&self, log: Arc<Log>, append: Append) -> Result<Outcome, Status> {
        let outcomes = self.append(log, None, vec![append]).await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| appended(&appender::Error::Unavailable))
    }

    async fn append(&self, log: Arc<Log>, claim: Option<Claim>, appends: Vec<Append>) -> Result<Vec<Outcome>, Status> {
        let pending = self
            .state
            .hub
            .appender()
            .append(log, claim, appends)
            .await
            .map_err(|error| appended(&error))?;
        pending
            .await
            .unwrap_or(Err(appender::Error::Stopped))
            .map_err(|error| appended(&error))
    }

    async fn session(&self, log: &Log, name: &SessionRef) -> Result<Session, Status> {
        let found = match name {
            SessionRef::Id(id) => log.store().session(log.row().key, id).await,
            SessionRef::Key(key) => log.store().session_by_key(log.row().key, key).await,
        };
        let id = match name {
            SessionRef::Id(id) => Some(id),
            SessionRef::Key(_) => None,
        };
        found.map_err(|error| stored(&error))?.ok_or_else(|| no_session(id))
    }
}

#[async_trait]
impl SessionEventsService for Service {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let append = creation(request.into_inner(), &self.state)?;
        let outcome = self.write(allowed.log.clone(), append).await?;
        let (id, created) = match outcome {
            Outcome::Stored { session, .. } => (session, true),
            Outcome::Unchanged { session } => (session, false),
            Outcome::Duplicate { session, .. } => (session.ok_or_else(|| no_session(None))?, false),
            Outcome::Rejected(rejection) => return Err(rejected(&rejection)),
        };
        let session = self.session(&allowed.log, &SessionRef::Id(id)).await?;
        Ok(Response::new(v1::CreateSessionResponse {
            session: Some(row(&session)),
            created,
        }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Read).await?;
        let name = parse_ref("session", request.into_inner().session.as_ref())?;
        let session = self.session(&allowed.log, &name).await?;
        Ok(Response::new(v1::GetSessionResponse {
            session: Some(row(&session)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Read).await?;
        let list = list_sessions::List::parse(request.into_inner())?;
        Ok(Response::new(list.page(&allowed.log).await?))
    }

    async fn update_session(
        &self,
        request: Request<v1::UpdateSessionRequest>,
    ) -> Result<Response<v1::UpdateSessionResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let v1::UpdateSessionRequest { session, update_mask } = request.into_inner();
        let session = session.ok_or_else(|| Fault::new("session", "is missing; give session_id and facts"))?;
        let id = parse_id("session.session_id", &session.session_id)?;
        let mask = Mask::parse("update_mask", "facts.", update_mask.as_ref())?;
        let facts = session.facts.unwrap_or_default();
        parse_facts("session.facts", &facts, &mask)?;
        let name = SessionRef::Id(id);
        self.session(&allowed.log, &name).await?;
        let append = update(name.clone(), facts, &mask, &self.state)?;
        if let Outcome::Rejected(rejection) = self.write(allowed.log.clone(), append).await? {
            return Err(rejected(&rejection));
        }
        let session = self.session(&allowed.log, &name).await?;
        Ok(Response::new(v1::UpdateSessionResponse {
            session: Some(row(&session)),
        }))
    }

    async fn close_session(
        &self,
        _: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        Err(unbuilt("CloseSession"))
    }

    async fn archive_session(
        &self,
        _: Request<v1::ArchiveSessionRequest>,
    ) -> Result<Response<v1::ArchiveSessionResponse>, Status> {
        Err(unbuilt("ArchiveSession"))
    }

    async fn delete_session(
        &self,
        _: Request<v1::DeleteSessionRequest>,
    ) -> Result<Response<v1::DeleteSessionResponse>, Status> {
        Err(unbuilt("DeleteSession"))
    }

    async fn fork_session(
        &self,
        _: Request<v1::ForkSessionRequest>,
    ) -> Result<Response<v1::ForkSessionResponse>, Status> {
        Err(unbuilt("ForkSession"))
    }

    async fn append_events(
        &self,
        request: Request<hub::AppendEventsRequest>,
    ) -> Result<Response<v1::AppendEventsResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let hub::AppendEventsRequest {
            writer_id,
            fence,
            appends,
        } = request.into_inner();
        if appends.is_empty() || appends.len() > limits::APPEND_EVENTS_MAX {
            let problem = format!("has {} entries; give 1 to {}", appends.len(), limits::APPEND_EVENTS_MAX);
            return Err(Fault::new("appends", problem).into());
        }
        let claim = claim(&writer_id, fence)?;
        let writer = claim.as_ref().map(|claim| &claim.writer);
        let now = self.state.hub.clock().now();
        let drafts: Vec<Append> = appends
            .iter()
            .map(|append| draft::append(append, writer, now))
            .collect();
        let seqs: Vec<u64> = drafts.iter().map(|draft| draft.seq).collect();
        let ids: Vec<String> = drafts.iter().map(event_id).collect();
        let outcomes = self.append(allowed.log, claim, drafts).await?;
        let results = seqs
            .into_iter()
            .zip(ids)
            .zip(outcomes)
            .map(|((seq, id), outcome)| result(seq, id, outcome));
        Ok(Response::new(v1::AppendEventsResponse {
            results: results.collect(),
        }))
    }

    type PublishEventsStream = Pin<Box<dyn Stream<Item = Result<v1::PublishEventsResponse, Status>> + Send>>;

    async fn publish_events(
        &self,
        request: Request<Streaming<hub::PublishEventsRequest>>,
    ) -> Result<Response<Self::PublishEventsStream>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let stream = publish::Publish::new(self.state.clone(), allowed, request.into_inner());
        Ok(Response::new(Box::pin(stream.into_stream())))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<hub::ListEventsResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Read).await?;
        let list = list_events::List::parse(request.into_inner(), &allowed.log)?;
        let keyring = self.state.hub.keyring();
        Ok(Response::new(list.page(&allowed.log, &keyring).await?))
    }

    async fn open_writer(
        &self,
        request: Request<v1::OpenWriterRequest>,
    ) -> Result<Response<v1::OpenWriterResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let v1::OpenWriterRequest {
            writer_id,
            sessions,
            take_over: _,
        } = request.into_inner();
        let writer = WriterId::parse(&writer_id).map_err(|error| status::bad_id("writer_id", &error))?;
        let sessions = writer_sessions(&sessions)?;
        let grant = self
            .state
            .hub
            .appender()
            .open_writer(allowed.log, writer, sessions)
            .await;
        let Grant {
            fence,
            last_seq,
            sessions,
        } = grant.map_err(|error| appended(&error))?;
        let results = sessions.iter().map(held).collect();
        Ok(Response::new(v1::OpenWriterResponse {
            fence,
            last_seq,
            lease_duration: lease(),
            results,
        }))
    }

    async fn renew_writer(
        &self,
        request: Request<v1::RenewWriterRequest>,
    ) -> Result<Response<v1::RenewWriterResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let v1::RenewWriterRequest {
            writer_id,
            fence,
            sessions,
            take_over: _,
        } = request.into_inner();
        let claim = claim(&writer_id, fence)?.ok_or_else(|| Fault::new("writer_id", "is empty; name the writer"))?;
        let sessions = writer_sessions(&sessions)?;
        let grant = self
            .state
            .hub
            .appender()
            .renew_writer(allowed.log, claim, sessions)
            .await;
        let Grant {
            fence: _,
            last_seq,
            sessions,
        } = grant.map_err(|error| appended(&error))?;
        let results = sessions.iter().map(held).collect();
        Ok(Response::new(v1::RenewWriterResponse {
            last_seq,
            lease_duration: lease(),
            results,
        }))
    }
}

/// How long a lease lives, as the contract has it.
#[must_use]
pub fn lease() -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(limits::LEASE_DURATION).ok()
}

/// Reads who appends; none without a writer.
///
/// # Errors
/// When the writer's id is none, or a fence is given without a writer.
pub fn claim(writer_id: &str, fence: u64) -> Result<Option<Claim>, Status> {
    match (writer_id, fence) {
        ("", 0) => Ok(None),
        ("", _) => Err(Fault::new("fence", "is set without a writer_id; leave it 0, or name the writer").into()),
        (id, fence) => {
            let writer = WriterId::parse(id).map_err(|error| status::bad_id("writer_id", &error))?;
            Ok(Some(Claim { writer, fence }))
        }
    }
}

/// The id that an append goes by, before it is known what becomes of it.
#[must_use]
pub fn event_id(append: &Append) -> String {
    append
        .draft
        .as_ref()
        .map(|draft| draft.event_id.to_string())
        .unwrap_or_default()
}

/// What became of an append, as the contract has it.
#[must_use]
pub fn result(seq: u64, event_id: String, outcome: Outcome) -> v1::AppendResult {
    use v1::append_result::Outcome as Sent;
    let (event_id, session_id, outcome) = match outcome {
        Outcome::Stored {
            event_id,
            session,
            stored,
        } => {
            let stored = v1::EventStored {
                offset: stored.offset.0,
                index: stored.index.0,
            };
            (event_id.to_string(), session.to_string(), Sent::Stored(stored))
        }
        Outcome::Duplicate { session, stored } => {
            let offset = stored.map(|stored| stored.offset.0);
            let index = stored.map(|stored| stored.index.0);
            let session = session.map(|session| session.to_string()).unwrap_or_default();
            (event_id, session, Sent::Duplicate(v1::EventDuplicate { offset, index }))
        }
        Outcome::Unchanged { session } => (
            event_id,
            session.to_string(),
            Sent::Duplicate(v1::EventDuplicate {
                offset: None,
                index: None,
            }),
        ),
        Outcome::Rejected(rejection) => {
            let reason = status::refused(rejection.refusal).into();
            let rejected = v1::EventRejected {
                reason,
                message: rejection.message,
                field: rejection.field,
            };
            (event_id, String::new(), Sent::Rejected(rejected))
        }
    };
    v1::AppendResult {
        seq,
        event_id,
        session_id,
        outcome: Some(outcome),
    }
}

fn rejected(rejection: &appender::Rejection) -> Status {
    let reason = status::refused(rejection.refusal);
    match rejection.refusal {
        appender::Refusal::SessionConflict => status::status(Code::AlreadyExists, reason, &rejection.message, &[]),
        appender::Refusal::Internal => status::status(Code::Internal, reason, &rejection.message, &[]),
        appender::Refusal::InvalidField
        | appender::Refusal::PayloadUnknown
        | appender::Refusal::PayloadMissing
        | appender::Refusal::PayloadReserved
        | appender::Refusal::TooLarge
        | appender::Refusal::SeqGap => {
            let problem = rejection
                .message
                .strip_prefix(&rejection.field)
                .unwrap_or(&rejection.message);
            status::invalid(&rejection.field, problem.trim_start())
        }
    }
}

fn held(session: &SessionId) -> v1::WriterSessionResult {
    v1::WriterSessionResult {
        session_id: session.to_string(),
        status: v1::WriterSessionStatus::Held.into(),
        owner_writer_id: String::new(),
        reason: v1::ErrorReason::Unspecified.into(),
    }
}

fn writer_sessions(sessions: &[v1::WriterSession]) -> Result<Vec<SessionRef>, Status> {
    if sessions.len() > WRITER_SESSIONS_MAX {
        let problem = format!("has {} entries; give at most {WRITER_SESSIONS_MAX}", sessions.len());
        return Err(Fault::new("sessions", problem).into());
    }
    let parsed = sessions
        .iter()
        .enumerate()
        .map(|(at, each)| parse_ref(&format!("sessions[{at}].session"), each.session.as_ref()));
    Ok(parsed.collect::<Result<_, _>>()?)
}

/// The append that opens the session of a CreateSession.
fn creation(request: v1::CreateSessionRequest, state: &State) -> Result<Append, Fault> {
    let v1::CreateSessionRequest {
        session_id,
        key,
        parent_session,
        facts,
        config,
        capabilities,
    } = request;
    let parsed = key.as_ref().map(|key| parse_key("key", key)).transpose()?;
    let session = match (session_id.as_str(), &parsed) {
        ("", None) => {
            return Err(Fault::new(
                "session_id",
                "is empty and there is no key; give one of the two",
            ));
        }
        ("", Some(key)) => SessionRef::Key(key.clone()),
        (id, _) => SessionRef::Id(parse_id("session_id", id)?),
    };
    // Checked here so that the field is named as in this request, not as in the event.
    parse_facts("facts", &facts.clone().unwrap_or_default(), &Mask::Populated)?;
    if parent_session.is_some() {
        parse_ref("parent_session", parent_session.as_ref())?;
    }
    let payload = v1::SessionOpened {
        key,
        facts,
        config,
        capabilities,
        origin: v1::SessionOrigin::Hub.into(),
        forked_from_session_id: String::new(),
        parent_session,
    };
    own(
        session,
        parsed,
        Condition::OpensSession,
        Payload::SessionOpened(payload),
        state,
    )
}

/// The append that changes the facts of a session.
fn update(session: SessionRef, facts: v1::SessionFacts, mask: &Mask, state: &State) -> Result<Append, Fault> {
    let paths = match mask {
        Mask::Populated => Vec::new(),
        Mask::All => vec!["*".to_owned()],
        Mask::Named(names) => names.clone(),
    };
    let update_mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
    let payload = v1::SessionUpdated {
        facts: Some(facts),
        update_mask,
        parent_session: None,
    };
    own(
        session,
        None,
        Condition::ChangesFacts,
        Payload::SessionUpdated(payload),
        state,
    )
}

fn own(
    session: SessionRef,
    opens: Option<bellboard_core::session::SessionKey>,
    condition: Condition,
    payload: Payload,
    state: &State,
) -> Result<Append, Fault> {
    let draft::Written {
        kind,
        family,
        body,
        session_step,
    } = draft::written(payload, state.hub.clock().now())?;
    let draft = Draft {
        session,
        opens,
        event_id: EventId::random(),
        dedupe: None,
        kind,
        family,
        life: None,
        item: None,
        item_step: None,
        session_step,
        body,
        raw: None,
    };
    Ok(Append {
        seq: 0,
        condition,
        draft: Ok(Box::new(draft)),
    })
}
