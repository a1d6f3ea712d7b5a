mod connections;
mod corked;
mod messages;
mod leases;
mod retention;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bellboard_core::access::{Principal, Scope, Scopes};
use bellboard_core::clock::Manual;
use bellboard_core::id::{PrincipalId, TenantId};
use bellboard_core::offset::Time;
use bellboard_proto::v1::interest::Selector;
use bellboard_proto::v1::session_events_service_client::SessionEventsServiceClient;
use bellboard_proto::v1::subscribe_service_client::SubscribeServiceClient;
use bellboard_proto::v1::{
    AllSelector, ClosingReason, FromNow, Interest, ListSessionsRequest, SubscribeRequest, SubscribeResponse,
};
use bellboard_proto::v1::{subscribe_request, subscribe_response};
use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

use super::settings::TlsFiles;
use super::*;
use crate::auth::{rules, stored};
use crate::tasks::How;

/// A server in a folder of its own, and the clock it lives by.
struct House {
    dir: TempDir,
    clock: Arc<Manual>,
    running: Running,
}

fn settings(dir: &TempDir) -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Settings::new(dir.path().join("data"))
    }
}

async fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    house_with(settings(&dir), dir).await
}

async fn house_with(settings: Settings, dir: TempDir) -> House {
    let clock = Manual::starting_at(Time(1_800_000_000_000_000));
    let running = start(settings, clock.clone()).await.unwrap();
    House { dir, clock, running }
}

impl House {
    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.running.url.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn subscribe(&self, key: &str) -> Streaming<SubscribeResponse> {
        let request = SubscribeRequest {
            start: Some(subscribe_request::Start::FromNow(FromNow {})),
            interests: vec![Interest {
                selector: Some(Selector::All(AllSelector {})),
                ..Interest::default()
            }],
            ..SubscribeRequest::default()
        };
        let mut client = SubscribeServiceClient::new(self.channel().await);
        client.subscribe(with(key, request)).await.unwrap().into_inner()
    }
}

fn with<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

/// The reason of the closing frame, behind which comes no other.
async fn closing(mut stream: Streaming<SubscribeResponse>) -> ClosingReason {
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(subscribe_response::Frame::Closing(closing)) = response.frame {
            let more = stream.message().await;
            assert!(!matches!(more, Ok(Some(_))), "closing is the last frame");
            return closing.reason();
        }
    }
    panic!("the stream ended without a closing frame");
}

/// So that a broken promise fails a test instead of holding it up. It is no measure of anything.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it should not take a minute")
}

/// Moves the clock, and lets everybody else go on, until this is done.
async fn while_time_passes<T>(clock: &Manual, step: Duration, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = futures_util::poll!(&mut future) {
            return done;
        }
        clock.advance(step);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let house = house().await;
    let data_dir = house.running.data_dir.clone();
    let again = Settings {
        data_dir,
        ..settings(&house.dir)
    };
    let error = start(again.clone(), house.clock.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Lock(lock::Error::Held { .. })), "{error}");
    assert!(error.to_string().contains(&house.running.url), "{error}");
    house.running.shutdown().await;
    start(again, house.clock).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let house = house().await;
    let dir = tempfile::tempdir().unwrap();
    let listen = house.running.local_addr;
    let settings = Settings {
        listen,
        ..settings(&dir)
    };
    let error = start(settings, house.clock).await.unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    assert!(matches!(error, Error::Listen { .. }));
}

#[tokio::test]
async fn health_and_reflection_need_no_key_and_everything_else_does() {
    let house = house().await;
    let channel = house.channel().await;
    for service in ["", "bellboard.v1.SessionEventsService", "bellboard.v1.SubscribeService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let response = HealthClient::new(channel.clone()).check(request).await.unwrap();
        assert_eq!(response.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }

    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else {
        panic!("{answer:?}");
    };
    let listed: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    for service in [
        "bellboard.v1.SessionEventsService",
        "bellboard.v1.CommandService",
        "grpc.health.v1.Health",
    ] {
        assert!(listed.iter().any(|name| name == service), "{service} is in {listed:?}");
    }

    let list = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut reflection = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let answers = reflection.server_reflection_info(tokio_stream::iter([list])).await;
    assert!(answers.unwrap().into_inner().message().await.unwrap().is_some());

    let mut sessions = SessionEventsServiceClient::new(channel);
    let refused = sessions
        .list_sessions(ListSessionsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let key = &house.running.local_key;
    sessions
        .list_sessions(with(key, ListSessionsRequest::default()))
        .await
        .unwrap();
}

#[tokio::test]
async fn shutdown_is_told_to_everybody_and_nobody_has_to_wait_for_the_deadline() {
    let house = house().await;
    let key = house.running.local_key.clone();
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(house.channel().await)
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        health.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let stream = house.subscribe(&key).await;
    let local_addr = house.running.local_addr;

    let shutdown = house.running.shutdown();
    let ((), reason) = soon(futures_util::future::join(shutdown, closing(stream))).await;
    assert_eq!(reason, ClosingReason::Draining);
    assert_eq!(
        health.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert!(health.message().await.unwrap().is_none());
    assert!(TcpStream::connect(local_addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_at_the_deadline_and_not_before() {
    let house = house().await;
    let mut reflection = ServerReflectionClient::new(house.channel().await);
    let endless = tokio_stream::pending::<ServerReflectionRequest>();
    let mut stuck = reflection.server_reflection_info(endless).await.unwrap().into_inner();

    let mut shutdown = pin!(house.running.shutdown());
    for _ in 0..100 {
        assert!((&mut shutdown).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(stuck.message().now_or_never().is_none(), "it is still open");
    soon(while_time_passes(
        &house.clock,
        settings::DRAIN_DEADLINE_DEFAULT,
        shutdown,
    ))
    .await;
    assert!(stuck.message().await.is_err(), "it was cut");
}

#[tokio::test]
async fn a_revoked_key_ends_a_running_stream_within_a_second() {
    let house = house().await;
    let api_keys = house.running.store.api_keys();
    let principal = Principal {
        tenant: TenantId::parse("default").unwrap(),
        id: PrincipalId::parse("ada").unwrap(),
        scopes: Scopes::from_iter([Scope::Read]),
    };
    let wish = stored::Wish {
        principal,
        label: String::new(),
        expire_time: None,
    };
    let now = house.clock.now();
    let key = stored::create(&api_keys, wish, now).await.unwrap();
    let stream = house.subscribe(&key.text).await;
    let start = house.clock.elapsed();
    assert!(api_keys.revoke(&key.id, now).await.unwrap());
    house.clock.advance(Duration::from_millis(999));
    assert_eq!(soon(closing(stream)).await, ClosingReason::PermissionRevoked);
    assert!(house.clock.elapsed() - start < Duration::from_secs(1));
    house.running.shutdown().await;
}

#[tokio::test]
async fn a_task_that_ends_by_itself_is_told() {
    let mut house = house().await;
    house.running.background.spawn("hasty", async { panic!("on purpose") });
    let ended = house.running.wait().await;
    assert_eq!((ended.name, ended.how), ("hasty", How::Panicked));
}

#[test]
fn elsewhere_than_on_loopback_it_takes_a_key_and_something_that_keeps_it_secret() {
    let tls = TlsFiles {
        certificate: "/c".into(),
        key: "/k".into(),
    };
    for (listen, others, tls, proxy, may) in [
        ("127.0.0.1:1", false, None, Proxy::None, true),
        ("127.8.8.8:1", false, None, Proxy::None, true),
        ("[::1]:1", false, None, Proxy::None, true),
        ("0.0.0.0:1", false, Some(&tls), Proxy::InFront, false),
        ("0.0.0.0:1", true, None, Proxy::None, false),
        ("0.0.0.0:1", true, Some(&tls), Proxy::None, true),
        ("0.0.0.0:1", true, None, Proxy::InFront, true),
        ("[::]:1", true, None, Proxy::None, false),
        ("192.168.0.5:1", true, None, Proxy::None, false),
        ("192.168.0.5:1", true, None, Proxy::InFront, true),
    ] {
        let settings = Settings {
            listen: listen.parse().unwrap(),
            tls: tls.cloned(),
            proxy,
            ..Settings::new("/x".into())
        };
        assert_eq!(
            may_listen(&settings, others).is_ok(),
            may,
            "{settings:?}, others: {others}"
        );
    }
}

#[tokio::test]
async fn a_server_that_may_not_listen_there_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..settings(&dir)
    };
    let error = start(settings, Manual::starting_at(Time(0))).await.unwrap_err();
    assert!(error.to_string().contains("bellboard key create"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_where_certificate_and_key_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = TlsFiles {
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::write(&tls.certificate, own.cert.pem()).unwrap();
    std::fs::write(&tls.key, own.signing_key.serialize_pem()).unwrap();
    let settings = Settings {
        tls: Some(tls),
        ..settings(&dir)
    };
    let house = house_with(settings.clone(), dir).await;
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(own.cert.pem()));
    let url = format!("https://localhost:{}", house.running.local_addr.port());
    assert!(house.running.url.starts_with("https://127.0.0.1:"));
    let endpoint = Endpoint::from_shared(url)
        .unwrap()
        .tls_config(config.domain_name("localhost"))
        .unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    health.check(HealthCheckRequest::default()).await.unwrap();
    drop(health);
    house.running.shutdown().await;

    std::fs::write(&settings.tls.as_ref().unwrap().key, "no key").unwrap();
    let error = start(settings, house.clock).await.unwrap_err();
    assert!(error.to_string().contains("key.pem"), "{error}");
}

/// What comes back to these bytes, on a connection of their own.
async fn raw(house: &House, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(house.running.local_addr).await.unwrap();
    let request = format!("{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test]
async fn a_browser_is_answered_and_a_page_of_another_site_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        allowed_origins: vec![rules::Origin::parse("https://board.example.com").unwrap()],
        ..settings(&dir)
    };
    let house = house_with(settings, dir).await;
    let own = &house.running.url;
    let post =
        "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1";
    let empty = [0; 5];
    let page = |origin: &str| format!("{post}\r\nHost: localhost\r\nOrigin: {origin}");

    let answer = raw(&house, &page(own), &empty).await;
    assert!(
        answer.starts_with("http/1.1 200") && answer.contains("grpc-status:0"),
        "{answer}"
    );
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");

    let answer = raw(&house, &page("https://board.example.com"), &empty).await;
    assert!(answer.contains("grpc-status:0"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://board.example.com"),
        "{answer}"
    );
    assert!(
        answer.contains("access-control-expose-headers: grpc-status,grpc-message,grpc-status-details-bin"),
        "{answer}"
    );

    let answer = raw(&house, &page("https://evil.com"), &empty).await;
    assert!(
        answer.contains("grpc-status: 7") && answer.contains("grpc-status-details-bin"),
        "{answer}"
    );
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");

    let answer = raw(&house, &format!("{post}\r\nHost: evil.com"), &empty).await;
    assert!(answer.contains("grpc-status: 7"), "{answer}");

    let preflight = "OPTIONS /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization,content-type,x-grpc-web";
    let answer = raw(
        &house,
        &format!("{preflight}\r\nOrigin: https://board.example.com"),
        &[],
    )
    .await;
    assert!(
        answer.contains("access-control-allow-origin: https://board.example.com"),
        "{answer}"
    );
    assert!(
        answer.contains("authorization") && answer.contains("access-control-allow-methods: post"),
        "{answer}"
    );
    let answer = raw(&house, &format!("{preflight}\r\nOrigin: https://evil.com"), &[]).await;
    assert!(!answer.contains("access-control-allow-origin"), "{answer}");
}
