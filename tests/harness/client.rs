//! A bare client: the generated code and a key, nothing clever.

use bellboard_proto::v1::session_events_service_client::SessionEventsServiceClient;
use bellboard_proto::v1::subscribe_service_client::SubscribeServiceClient;
use bellboard_proto::v1::{self, append_result::Outcome};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::events::{Append, on};
use crate::stream::Frames;
use crate::within;

/// Puts the key on every call.
#[derive(Clone, Debug)]
pub struct Key(Option<AsciiMetadataValue>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Key>;

/// A connection of its own to a hub.
#[derive(Clone, Debug)]
pub struct Client {
    /// Sessions and events.
    pub events: SessionEventsServiceClient<Service>,
    /// Streams.
    pub streams: SubscribeServiceClient<Service>,
}

impl Client {
    /// Connects when first used.
    #[must_use]
    pub fn new(url: &str, key: Option<&str>) -> Client {
        let channel = Endpoint::from_shared(url.to_owned())
            .expect("the hub's address")
            .connect_lazy();
        let key = Key(key.map(|key| format!("Bearer {key}").parse().expect("the key is plain text")));
        let service = InterceptedService::new(channel, key);
        Client {
            events: SessionEventsServiceClient::new(service.clone()).max_decoding_message_size(8 << 20),
            streams: SubscribeServiceClient::new(service).max_decoding_message_size(8 << 20),
        }
    }

    /// Appends without a writer; every one must be stored. Returns their offsets.
    pub async fn append(&self, appends: Vec<Append>) -> Vec<u64> {
        let results = self.try_append(appends).await.expect("the append is taken");
        results.into_iter().map(|result| stored(&result)).collect()
    }

    /// Appends one message to a session. Returns its offset.
    pub async fn say(&self, session: &str, text: &str) -> u64 {
        self.append(vec![on(session).says(text)]).await[0]
    }

    /// Appends without a writer.
    pub async fn try_append(&self, appends: Vec<Append>) -> Result<Vec<v1::AppendResult>, Status> {
        let appends = appends.into_iter().map(|append| append.0).collect();
        let request = v1::AppendEventsRequest {
            appends,
            ..v1::AppendEventsRequest::default()
        };
        let mut client = self.events.clone();
        let response = within("the answer to AppendEvents", client.append_events(request)).await?;
        Ok(response.into_inner().results)
    }

    /// Opens a stream, whose first frame is still to come.
    pub async fn subscribe(&self, request: v1::SubscribeRequest) -> Frames {
        self.try_subscribe(request).await.expect("the subscription is taken")
    }

    /// Opens a stream, or is refused.
    pub async fn try_subscribe(&self, request: v1::SubscribeRequest) -> Result<Frames, Status> {
        let mut client = self.streams.clone();
        let response = within("the answer to Subscribe", client.subscribe(request)).await?;
        Ok(Frames::new(response.into_inner()))
    }

    /// Asks for other interests of an open stream. Returns the newest revision.
    pub async fn update(&self, id: &str, revision: u64, interests: Vec<v1::Interest>) -> Result<u64, Status> {
        let request = v1::UpdateSubscriptionRequest {
            subscription_id: id.into(),
            revision,
            interests,
        };
        let mut client = self.streams.clone();
        let answer = client.update_subscription(request);
        let response = within("the answer to UpdateSubscription", answer).await?;
        Ok(response.into_inner().revision)
    }

    /// The whole history that interests match, oldest first, page by page.
    pub async fn history(&self, interests: Vec<v1::Interest>) -> Vec<v1::Event> {
        let mut client = self.events.clone();
        let mut request = v1::ListEventsRequest {
            interests,
            page_size: 1000,
            ..v1::ListEventsRequest::default()
        };
        let mut events = Vec::new();
        loop {
            let page = within("a page of ListEvents", client.list_events(request.clone()))
                .await
                .expect("a page")
                .into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// The offset of an append that must have been stored.
pub fn stored(result: &v1::AppendResult) -> u64 {
    match &result.outcome {
        Some(Outcome::Stored(stored)) => stored.offset,
        other => panic!("expected the append to be stored, it was answered {other:?}"),
    }
}
