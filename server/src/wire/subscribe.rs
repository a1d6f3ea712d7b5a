//! `SubscribeService`: the one long stream out.

use std::sync::Arc;
use std::time::Duration;

use bellboard_core::access::Scope;
use bellboard_core::hub::Caller;
use bellboard_core::id::{ClientId, SessionId};
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_core::offset::Offset;
use bellboard_core::subscription::control::Control;
use bellboard_core::subscription::frame::{Frame, Sent};
use bellboard_core::subscription::start::{OnGap, Start};
use bellboard_core::subscription::updating::Update;
use bellboard_core::subscription::{Request as Wanted, Subscription};
use bellboard_core::window::batch::Made;
use bellboard_proto::hub::v1::{self as hub, subscribe_service_server::SubscribeService};
use bellboard_proto::v1::{self, subscribe_request::Start as SentStart};
use bytes::Bytes;
use futures_util::stream;
use tonic::{Request, Response, Status, async_trait};

use crate::wire::encode::timestamp;
use crate::wire::fault::Fault;
use crate::wire::messages::{self, Nothing};
use crate::wire::status::{after_closing, subscribed, unheard, unsaid};
use crate::wire::{Authorized, State, frame, interest};

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
}

#[async_trait]
impl SubscribeService for Service {
    /// The messages themselves go by another way, see [`messages`].
    type SubscribeStream = Nothing<hub::SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let allowed = self.state.authorize(&request, Scope::Read).await?;
        let request = request.into_inner();
        let client = client(&request.client_id)?;
        let wanted = parse(request, &self.state)?;
        let limits = limits_of(&wanted, &self.state);
        let Authorized { credential, log } = allowed;
        let caller = Caller {
            principal: credential.principal.id.clone(),
            client,
            credential: credential.standing.clone(),
        };
        let subscription = self.state.hub.subscribe(log.clone(), caller, wanted).await;
        let subscription = subscription.map_err(|error| subscribed(&error))?;
        let stream = frame::Stream {
            subscription_id: subscription.id().to_string(),
            limits,
            tail: Offset::ZERO,
        };
        let open = Box::new(Open {
            state: self.state.clone(),
            log,
            subscription,
            stream,
            then: None,
        });
        let frames = stream::unfold(Some(open), |open| async { Open::next(open?).await });
        Ok(messages::handed(Box::pin(frames)))
    }

    async fn update_subscription(
        &self,
        request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        let Authorized { credential, log } = self.state.authorize(&request, Scope::Read).await?;
        let v1::UpdateSubscriptionRequest {
            subscription_id,
            revision,
            interests,
        } = request.into_inner();
        if revision == 0 {
            let problem = "is not set; give 1 to the first change, and more to each that follows";
            return Err(Fault::new("revision", problem).into());
        }
        let interests = interest::parse(&interests)?;
        let principal = &credential.principal.id;
        let found = self
            .state
            .hub
            .registry()
            .find(&log.row().tenant, principal, &subscription_id);
        let mailbox = found.map_err(|error| unsaid(&error))?;
        let taken = mailbox.update(Update { revision, interests });
        let revision = taken.map_err(|error| Fault::new("interests", error.to_string()))?;
        Ok(Response::new(v1::UpdateSubscriptionResponse { revision }))
    }

    async fn refresh_credential(
        &self,
        request: Request<v1::RefreshCredentialRequest>,
    ) -> Result<Response<v1::RefreshCredentialResponse>, Status> {
        let Authorized { credential, log } = self.state.authorize(&request, Scope::Read).await?;
        let id = request.into_inner().subscription_id;
        let principal = &credential.principal.id;
        let found = self.state.hub.registry().find(&log.row().tenant, principal, &id);
        let mailbox = found.map_err(|error| unsaid(&error))?;
        let control = Control::Credential(credential.standing.clone());
        mailbox.post(control).map_err(|error| unheard(&error))?;
        let expire_time = credential.expire_time.map(timestamp);
        Ok(Response::new(v1::RefreshCredentialResponse { expire_time }))
    }
}

/// An open stream. Dropped when its client goes away, which gives its seat back.
struct Open {
    state: Arc<State>,
    log: Arc<Log>,
    subscription: Subscription,
    stream: frame::Stream,
    /// The status that ends the stream after its last frame.
    then: Option<Status>,
}

/// One item of a stream, and the stream as it goes on.
type Step = Option<(Result<Bytes, Status>, Option<Box<Open>>)>;

impl Open {
    /// Boxed, because each step moves it.
    async fn next(mut self: Box<Self>) -> Step {
        if let Some(status) = self.then.take() {
            return Some((Err(status), None));
        }
        let sent = match self.subscription.next().await? {
            Ok(sent) => sent,
            Err(error) => return Some((Err(subscribed(&error)), None)),
        };
        if let Frame::Closing { reason, .. } = &sent.frame {
            self.then = after_closing(*reason);
        }
        (self.stream.tail, _) = self.log.tail();
        let message = self.message(sent);
        Some((message, Some(self)))
    }

    /// Equal streams at one place are given one and the same message of events.
    fn message(&self, Sent { frame, place }: Sent) -> Result<Bytes, Status> {
        let keyring = self.state.hub.keyring();
        let make = |frame| {
            messages::framed(&hub::SubscribeResponse {
                resume_token: keyring.mint(&self.log.row().tenant, &place),
                frame: Some(self.stream.frame(frame)),
            })
        };
        if let Frame::Events { from, batch, raws, .. } = &frame
            && raws.is_empty()
        {
            let made = Made {
                from: *from,
                place,
                key: keyring.minting(),
            };
            let batch = batch.clone();
            return batch.message(made, || make(frame));
        }
        make(frame)
    }
}

fn client(id: &str) -> Result<Option<ClientId>, Fault> {
    if id.is_empty() {
        return Ok(None);
    }
    let id = ClientId::parse(id).map_err(|error| Fault::id("client_id", &error))?;
    Ok(Some(id))
}

fn parse(request: v1::SubscribeRequest, state: &State) -> Result<Wanted, Fault> {
    let v1::SubscribeRequest {
        start,
        interests,
        unsynced_session_ids,
        on_gap,
        include_raw,
        stop_when_closed,
        linger,
        client_id: _,
        heartbeat_interval,
        max_frame_bytes,
    } = request;
    let interests = interest::parse(&interests)?;
    if stop_when_closed && !interests.select_sessions() {
        return Err(Fault::new(
            "stop_when_closed",
            "needs interests that select sessions; leave it out for all, project and vendor",
        ));
    }
    let heartbeat = duration("heartbeat_interval", heartbeat_interval)?.unwrap_or(state.heartbeat);
    Ok(Wanted {
        start: parse_start(start)?,
        interests,
        unsynced: unsynced(&unsynced_session_ids)?,
        on_gap: match v1::OnGap::try_from(on_gap) {
            Ok(v1::OnGap::Unspecified | v1::OnGap::Snapshot) => OnGap::Snapshot,
            Ok(v1::OnGap::Continue) => OnGap::Continue,
            Ok(v1::OnGap::Fail) => OnGap::Fail,
            Err(_) => {
                return Err(Fault::new(
                    "on_gap",
                    "is of no known value; give SNAPSHOT, CONTINUE or FAIL",
                ));
            }
        },
        include_raw,
        stop_when_closed,
        linger: duration("linger", linger)?.unwrap_or_default().min(limits::LINGER_MAX),
        heartbeat: heartbeat.clamp(limits::HEARTBEAT_MIN, limits::HEARTBEAT_MAX),
        frame_bytes: match usize::try_from(max_frame_bytes) {
            Ok(0) | Err(_) => limits::FRAME_BYTES_MAX,
            Ok(bytes) => bytes.clamp(limits::FRAME_BYTES_ASKED_MIN, limits::FRAME_BYTES_ASKED_MAX),
        },
        replay_events: if state.replay_events == 0 {
            u64::MAX - 1
        } else {
            state.replay_events
        },
        max_age: state.max_stream_age,
    })
}

fn unsynced(ids: &[String]) -> Result<Vec<SessionId>, Fault> {
    const FIELD: &str = "unsynced_session_ids";
    if ids.len() > limits::INTERESTS_MAX {
        return Err(Fault::entries(FIELD, ids.len(), 0, limits::INTERESTS_MAX));
    }
    let parse = |id: &String| SessionId::parse(id).map_err(|error| Fault::id(FIELD, &error));
    ids.iter().map(parse).collect()
}

fn parse_start(start: Option<SentStart>) -> Result<Start, Fault> {
    Ok(match start {
        None | Some(SentStart::FromNow(_)) => Start::Now,
        Some(SentStart::ResumeToken(token)) => Start::Resume(token),
        Some(SentStart::FromStart(_)) => Start::Oldest,
        Some(SentStart::Snapshot(_)) => Start::Snapshot,
        Some(SentStart::FromLast(v1::FromLast { count })) if (1..=limits::FROM_LAST_MAX).contains(&count) => {
            Start::Last(count)
        }
        Some(SentStart::FromLast(_)) => {
            let problem = format!("is out of range; give 1 to {}", limits::FROM_LAST_MAX);
            return Err(Fault::new("from_last.count", problem).with("limit", limits::FROM_LAST_MAX));
        }
    })
}

fn duration(field: &str, duration: Option<prost_types::Duration>) -> Result<Option<Duration>, Fault> {
    let negative = |_| Fault::new(field, "is negative or out of range; give a positive duration");
    duration
        .map(|duration| Duration::try_from(duration).map_err(negative))
        .transpose()
}

fn limits_of(wanted: &Wanted, state: &State) -> v1::StreamLimits {
    v1::StreamLimits {
        heartbeat_interval: prost_types::Duration::try_from(wanted.heartbeat).ok(),
        max_frame_bytes: u32::try_from(wanted.frame_bytes).unwrap_or(u32::MAX),
        replay_limit: state.replay_events,
        linger: prost_types::Duration::try_from(wanted.linger).ok(),
    }
}
