//! Every bound is told by name, with what was given and what may be.

use std::collections::HashMap;
use std::task::{Context, Poll};

use bellboard_proto::google::rpc::{self, ErrorInfo};
use bellboard_proto::v1::session_events_service_client::SessionEventsServiceClient;
use bellboard_proto::v1::{
    self, ErrorReason, publish_events_request::Frame as Sent, publish_events_response::Frame as Answer,
    subscribe_response::Frame,
};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_start, on, session};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::within;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// The one ErrorInfo of a status: its reason and its metadata.
fn info(status: &Status) -> (ErrorReason, HashMap<String, String>) {
    let reason = crate::reset::reason(status);
    let details = details(status);
    let info = details
        .iter()
        .find(|any| any.type_url.ends_with("google.rpc.ErrorInfo"));
    let info = ErrorInfo::decode(info.expect("an ErrorInfo").value.as_slice()).expect("an ErrorInfo");
    (reason, info.metadata)
}

/// All details of a status.
pub(crate) fn details(status: &Status) -> Vec<prost_types::Any> {
    rpc::Status::decode(status.details()).expect("details").details
}

/// Expects a status with this reason, and these in its metadata, each of which is also in its words.
pub(crate) fn expect(status: &Status, code: Code, reason: ErrorReason, metadata: &[(&str, &str)]) {
    let (said, told) = info(status);
    assert_eq!((status.code(), said), (code, reason), "{}", status.message());
    let expected: HashMap<_, _> = metadata
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(told, expected, "{}", status.message());
    for value in told.values() {
        assert!(
            status.message().contains(value),
            "{value} is not in {:?}",
            status.message()
        );
    }
}

fn expect_field(status: &Status, metadata: &[(&str, &str)]) {
    expect(status, Code::InvalidArgument, ErrorReason::InvalidField, metadata);
}

pub(crate) async fn create(
    client: &mut Client,
    request: v1::CreateSessionRequest,
) -> Result<v1::CreateSessionResponse, Status> {
    let answer = within("the answer to CreateSession", client.events.create_session(request)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn raws_that_are_larger_than_a_frame_arrive_whole_by_subscribe_and_by_list_events() {
    const EVENTS: u64 = 24;
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let content = |number: u64| vec![u8::try_from(number).unwrap_or_default(); 200 * 1024];
    for number in 1..=EVENTS {
        // Each one alone: a request of all of them would be larger than a request may be.
        let append = on("s").says(&number.to_string()).raw(&content(number));
        client.append(vec![append]).await;
    }
    let whole: Vec<_> = (1..=EVENTS).map(|number| (number, content(number))).collect();

    let request = v1::SubscribeRequest {
        include_raw: true,
        ..from_start(vec![all(v1::Detail::Content)])
    };
    let mut stream = client.subscribe(request).await;
    let mut streamed = Vec::new();
    stream
        .until("caught_up", |frame| {
            if let Frame::Events(batch) = frame {
                streamed.extend(raws(&batch.raws));
            }
            matches!(frame, Frame::CaughtUp(_)).then_some(())
        })
        .await;
    assert!(streamed == whole, "raws are missing, or not as they were sent");

    for order in [v1::EventOrder::Ascending, v1::EventOrder::Descending] {
        let (mut listed, pages) = list_raws(&client, order).await;
        if order == v1::EventOrder::Descending {
            listed.reverse();
        }
        assert!(
            listed == whole,
            "raws are missing in {order:?} order, or not as they were sent"
        );
        assert!(pages > 1, "they were to be larger than a page");
    }
}

fn raws(raws: &[v1::EventRaw]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    raws.iter()
        .map(|raw| (raw.offset, raw.raw.clone().expect("content").content.to_vec()))
}

/// All raw records page by page, and the number of pages.
async fn list_raws(client: &Client, order: v1::EventOrder) -> (Vec<(u64, Vec<u8>)>, usize) {
    let mut request = v1::ListEventsRequest {
        interests: vec![session("s", v1::Detail::Content)],
        order: order.into(),
        page_size: 1000,
        include_raw: true,
        ..v1::ListEventsRequest::default()
    };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let mut events = client.events.clone();
        let page = within("a page", events.list_events(request.clone()))
            .await
            .expect("a page");
        let page = page.into_inner();
        let mut of_page: Vec<_> = raws(&page.raws).collect();
        of_page.sort_by_key(|(offset, _)| *offset);
        if order == v1::EventOrder::Descending {
            of_page.reverse();
        }
        listed.extend(of_page);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (listed, pages);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_with_the_limit() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let limit = (4 * 1024 * 1024).to_string();
    let huge = || on("s").raw(&vec![0; 5 * 1024 * 1024]);
    let refused = client
        .try_append(vec![huge()])
        .await
        .expect_err("a call that is too large");
    let told = [("limit_bytes", limit.as_str())];
    expect(&refused, Code::ResourceExhausted, ErrorReason::RequestTooLarge, &told);

    let fence = open_writer(&mut client).await;
    let frames = vec![
        sent(Sent::Open(v1::PublishOpen {
            writer_id: "w".into(),
            fence,
        })),
        batch(vec![huge().seq(1)]),
    ];
    let refused = publish(&mut client, frames)
        .await
        .expect_err("a frame that is too large");
    expect(&refused, Code::ResourceExhausted, ErrorReason::RequestTooLarge, &told);
}

#[tokio::test]
async fn more_appends_than_may_be_are_refused_by_name() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let appends = |count: u64| (1..=count).map(|seq| on("s").says("x").seq(seq)).collect::<Vec<_>>();
    let refused = client.try_append(appends(1001)).await.expect_err("one too many");
    expect_field(&refused, &[("field", "appends"), ("count", "1001"), ("limit", "1000")]);
    let refused = client.try_append(Vec::new()).await.expect_err("none at all");
    expect_field(&refused, &[("field", "appends"), ("count", "0"), ("limit", "1000")]);

    let fence = open_writer(&mut client).await;
    let open = || {
        sent(Sent::Open(v1::PublishOpen {
            writer_id: "w".into(),
            fence,
        }))
    };
    let frames = vec![open(), batch(appends(1001))];
    let refused = publish(&mut client, frames).await.expect_err("one too many");
    expect_field(
        &refused,
        &[("field", "batch.entries"), ("count", "1001"), ("limit", "1000")],
    );
    assert_eq!(
        publish(&mut client, vec![open(), batch(appends(1000))])
            .await
            .expect("as many as may be"),
        1000
    );
}

async fn open_writer(client: &mut Client) -> u64 {
    let open = v1::OpenWriterRequest {
        writer_id: "w".into(),
        ..v1::OpenWriterRequest::default()
    };
    let opened = within("the answer to OpenWriter", client.events.open_writer(open)).await;
    opened.expect("the writer opens").into_inner().fence
}

fn sent(frame: Sent) -> v1::PublishEventsRequest {
    v1::PublishEventsRequest { frame: Some(frame) }
}

pub(crate) fn batch(appends: Vec<bellboard_tests::events::Append>) -> v1::PublishEventsRequest {
    let entry = |append: bellboard_tests::events::Append| v1::PublishEntry {
        entry: Some(v1::publish_entry::Entry::Append(append.0)),
    };
    let entries = appends.into_iter().map(entry).collect();
    sent(Sent::Batch(v1::PublishBatch { entries }))
}

/// Sends frames on a writer's stream. The number of results, or what ended it.
pub(crate) async fn publish(client: &mut Client, frames: Vec<v1::PublishEventsRequest>) -> Result<usize, Status> {
    let stream = client.events.publish_events(tokio_stream::iter(frames));
    let mut answers = within("the answer to PublishEvents", stream).await?.into_inner();
    let mut results = 0;
    while let Some(answer) = within("an answer of PublishEvents", answers.message()).await? {
        if let Some(Answer::Acknowledged(acknowledged)) = answer.frame {
            results += acknowledged.results.len();
        }
    }
    Ok(results)
}

#[tokio::test]
async fn a_session_says_which_part_of_it_is_too_large() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let config = |bytes: usize| v1::SessionConfig {
        model: "m".repeat(bytes),
        ..v1::SessionConfig::default()
    };
    let creation = |session_id: &str, config| v1::CreateSessionRequest {
        session_id: session_id.into(),
        config: Some(config),
        ..v1::CreateSessionRequest::default()
    };
    let refused = create(&mut client, creation("s", config(64 * 1024)))
        .await
        .expect_err("too large");
    expect_field(&refused, &[("field", "config"), ("bytes", "65540"), ("limit", "61440")]);
    assert!(refused.message().contains("available_models"), "{refused}");
    let kept = create(&mut client, creation("s", config(60_000)))
        .await
        .expect("large enough");
    assert_eq!(kept.session.and_then(|session| session.config), Some(config(60_000)));

    let changed = v1::SessionConfigChanged {
        config: Some(config(64 * 1024)),
        ..v1::SessionConfigChanged::default()
    };
    let append = on("s").with(v1::event::Payload::SessionConfigChanged(changed));
    let results = client.try_append(vec![append]).await.expect("an answer");
    let Some(v1::append_result::Outcome::Rejected(rejected)) = &results[0].outcome else {
        panic!("{results:?}")
    };
    assert_eq!(
        (rejected.reason(), rejected.field.as_str()),
        (ErrorReason::InvalidField, "event.session_config_changed.config")
    );

    let refused = create(&mut client, creation(&"i".repeat(129), config(1)))
        .await
        .expect_err("too long");
    expect_field(&refused, &[("field", "session_id"), ("bytes", "129"), ("limit", "128")]);
    let facts = v1::SessionFacts {
        cwd: "c".repeat(4097),
        ..v1::SessionFacts::default()
    };
    let long = v1::CreateSessionRequest {
        facts: Some(facts),
        ..creation("t", config(1))
    };
    let refused = create(&mut client, long).await.expect_err("too long");
    expect_field(
        &refused,
        &[("field", "facts.cwd"), ("bytes", "4097"), ("limit", "4096")],
    );
}

#[tokio::test]
async fn a_conflict_of_names_says_which_session_has_the_name() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let creation = |session_id: &str, native_id: &str| v1::CreateSessionRequest {
        session_id: session_id.into(),
        key: Some(v1::SessionKey {
            vendor: "v".into(),
            native_id: native_id.into(),
            ..v1::SessionKey::default()
        }),
        ..v1::CreateSessionRequest::default()
    };
    create(&mut client, creation("first", "n"))
        .await
        .expect("a new session");
    for (other, native_id) in [("second", "n"), ("first", "m")] {
        let refused = create(&mut client, creation(other, native_id)).await.expect_err(other);
        let (reason, told) = info(&refused);
        assert_eq!(
            (refused.code(), reason),
            (Code::AlreadyExists, ErrorReason::SessionAlreadyExists)
        );
        assert_eq!(
            (told["session_id"].as_str(), told["field"].as_str()),
            ("first", "session"),
            "{}",
            refused.message()
        );
        assert!(refused.message().contains("first"), "{}", refused.message());
    }
    let update = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: "first".into(),
            ..v1::Session::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["state.chip".into()],
        }),
    };
    let refused = client.events.update_session(update).await.expect_err("no fact");
    expect_field(&refused, &[("field", "update_mask"), ("path", "state.chip")]);
}

#[tokio::test]
async fn a_method_or_service_that_is_unknown_has_a_reason_too() {
    let data = DataDir::new();
    let hub = data.start().await;
    for path in [
        "/bellboard.v1.SessionEventsService/NoSuchMethod",
        "/bellboard.v1.NoSuchService/NoSuchMethod",
    ] {
        let refused = call_unknown(&hub, path).await;
        let (reason, told) = info(&refused);
        assert_eq!(
            (refused.code(), reason),
            (Code::Unimplemented, ErrorReason::Unimplemented),
            "{path}"
        );
        for value in told.values() {
            assert!(
                refused.message().contains(value),
                "{value} is not in {:?}",
                refused.message()
            );
        }
    }
}

/// A connection whose calls all go to one path, whatever method a client calls.
#[derive(Clone)]
struct Elsewhere(Channel, &'static str);

impl tonic::codegen::Service<http::Request<Body>> for Elsewhere {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as tonic::codegen::Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        tonic::codegen::Service::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        *request.uri_mut() = http::Uri::from_static(self.1);
        tonic::codegen::Service::call(&mut self.0, request)
    }
}

async fn call_unknown(hub: &Process, path: &'static str) -> Status {
    let channel = Endpoint::from_shared(hub.url.clone())
        .expect("the hub's address")
        .connect_lazy();
    let mut request = Request::new(v1::GetSessionRequest::default());
    let key = format!("Bearer {}", hub.key()).parse().expect("the key is plain text");
    request.metadata_mut().insert("authorization", key);
    let mut client = SessionEventsServiceClient::new(Elsewhere(channel, path));
    let call = client.get_session(request);
    within("the answer", call).await.expect_err("nobody has this method")
}
