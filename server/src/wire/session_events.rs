//! `SessionEventsService`: sessions and their events in, history out.

use std::pin::Pin;
use std::sync::Arc;

use bellboard_core::access::Scope;
use bellboard_core::appender::{self, Append, Claim, Outcome, Wish};
use bellboard_core::event::SessionRef;
use bellboard_core::log::Log;
use bellboard_core::offset::Time;
use bellboard_proto::hub::v1::{self as hub, session_events_service_server::SessionEventsService};
use bellboard_proto::v1;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::wire::session::{parse_ref, row};
use crate::wire::status::{appended, rejected, unbuilt};
use crate::wire::{State, list_events, list_sessions, publish, results, sessions, writers};

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

    fn now(&self) -> Time {
        self.state.hub.clock().now()
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
        let queued = self.state.hub.appender().append(log, claim, appends).await;
        let pending = queued.map_err(|error| appended(&error))?;
        pending
            .await
            .unwrap_or(Err(appender::Error::Stopped))
            .map_err(|error| appended(&error))
    }
}

#[async_trait]
impl SessionEventsService for Service {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Result<Response<v1::CreateSessionResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let append = sessions::creation(request.into_inner(), self.now())?;
        let outcome = self.write(allowed.log.clone(), append).await?;
        let (id, created) = sessions::created(outcome)?;
        let session = sessions::find(&allowed.log, &SessionRef::Id(id)).await?;
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
        let session = sessions::find(&allowed.log, &name).await?;
        let mut session = row(&session);
        if let Some(owner) = &mut session.owner {
            owner.lease_expire_time = writers::lease_expires(&allowed.log, self.state.hub.clock(), &owner.writer_id);
        }
        Ok(Response::new(v1::GetSessionResponse { session: Some(session) }))
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
        let update = sessions::Update::parse(request.into_inner())?;
        let name = update.session.clone();
        // An append would open it.
        sessions::find(&allowed.log, &name).await?;
        let append = update.append(self.now())?;
        if let Outcome::Rejected(rejection) = self.write(allowed.log.clone(), append).await? {
            return Err(rejected(rejection));
        }
        let session = sessions::find(&allowed.log, &name).await?;
        Ok(Response::new(v1::UpdateSessionResponse {
            session: Some(row(&session)),
        }))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        self.state.authorize(&request, Scope::Publish).await?;
        Err(unbuilt("CloseSession"))
    }

    async fn archive_session(
        &self,
        request: Request<v1::ArchiveSessionRequest>,
    ) -> Result<Response<v1::ArchiveSessionResponse>, Status> {
        self.state.authorize(&request, Scope::Publish).await?;
        Err(unbuilt("ArchiveSession"))
    }

    async fn delete_session(
        &self,
        request: Request<v1::DeleteSessionRequest>,
    ) -> Result<Response<v1::DeleteSessionResponse>, Status> {
        self.state.authorize(&request, Scope::Admin).await?;
        Err(unbuilt("DeleteSession"))
    }

    async fn fork_session(
        &self,
        request: Request<v1::ForkSessionRequest>,
    ) -> Result<Response<v1::ForkSessionResponse>, Status> {
        self.state.authorize(&request, Scope::Publish).await?;
        Err(unbuilt("ForkSession"))
    }

    async fn append_events(
        &self,
        request: Request<hub::AppendEventsRequest>,
    ) -> Result<Response<v1::AppendEventsResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let results::Batch { claim, appends } = results::Batch::parse(request.into_inner(), self.now())?;
        let names = results::names(&appends);
        let outcomes = self.append(allowed.log, claim, appends).await?;
        Ok(Response::new(v1::AppendEventsResponse {
            results: results::results(names, outcomes).collect(),
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
        self.state.hub.look(&allowed.log).await;
        let list = list_events::List::parse(request.into_inner(), &allowed.log)?;
        let keyring = self.state.hub.keyring();
        let now = self.state.hub.clock().now();
        Ok(Response::new(list.page(&allowed.log, &keyring, now).await?))
    }

    async fn open_writer(
        &self,
        request: Request<v1::OpenWriterRequest>,
    ) -> Result<Response<v1::OpenWriterResponse>, Status> {
        let allowed = self.state.authorize(&request, Scope::Publish).await?;
        let v1::OpenWriterRequest {
            writer_id,
            sessions,
            take_over,
            acknowledged_seq,
        } = request.into_inner();
        let writer = writers::parse_id("writer_id", &writer_id)?;
        let wish = Wish {
            acknowledged: acknowledged_seq,
            ..writers::parse_wish(&sessions, take_over)?
        };
        let (log, appender) = (allowed.log, self.state.hub.appender());
        let grant = appender.open_writer(log.clone(), writer.clone(), wish).await;
        let grant = grant.map_err(|error| appended(&error))?;
        log.publishing().fenced(&writer, grant.fence);
        Ok(Response::new(writers::opened(&grant)))
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
            take_over,
        } = request.into_inner();
        let claim = writers::named_claim("writer_id", &writer_id, fence)?;
        let wish = writers::parse_wish(&sessions, take_over)?;
        let appender = self.state.hub.appender();
        let grant = appender.renew_writer(allowed.log, claim, wish).await;
        let grant = grant.map_err(|error| appended(&error))?;
        Ok(Response::new(writers::renewed(&grant)))
    }
}
