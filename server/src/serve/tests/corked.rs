//! Many streams on one connection, whose frames leave together.

use bellboard_proto::v1::{
    self, AppendEventsRequest, Event, EventAppend, MessageStarted, SessionRef, event::Payload, session_ref::Ref,
};

use super::*;

/// How the connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
}

/// A hub, and one connection to it.
async fn connected(wire: Wire) -> (House, Channel) {
    let dir = tempfile::tempdir().unwrap();
    if wire == Wire::Plain {
        let house = house_with(settings(&dir), dir).await;
        let channel = house.channel().await;
        return (house, channel);
    }
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
    let house = house_with(settings, dir).await;
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(own.cert.pem()));
    let url = format!("https://localhost:{}", house.running.local_addr.port());
    let endpoint = Endpoint::from_shared(url).unwrap();
    let endpoint = endpoint.tls_config(config.domain_name("localhost")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    (house, channel)
}

async fn subscribe(channel: &Channel, key: &str) -> Streaming<SubscribeResponse> {
    let request = SubscribeRequest {
        start: Some(subscribe_request::Start::FromNow(FromNow {})),
        interests: vec![Interest {
            selector: Some(Selector::All(AllSelector {})),
            detail: v1::Detail::Content.into(),
            ..Interest::default()
        }],
        ..SubscribeRequest::default()
    };
    let mut client = SubscribeServiceClient::new(channel.clone());
    soon(client.subscribe(with(key, request))).await.unwrap().into_inner()
}

/// Appends one event whose item has this name: small ones are gathered, large ones pass by.
pub(super) async fn append(channel: &Channel, key: &str, item: &str) {
    let event = Event {
        item_id: item.to_owned(),
        payload: Some(Payload::MessageStarted(MessageStarted::default())),
        ..Event::default()
    };
    let append = EventAppend {
        session: Some(SessionRef {
            r#ref: Some(Ref::SessionId("corked".to_owned())),
        }),
        event: Some(event),
        ..EventAppend::default()
    };
    let request = AppendEventsRequest {
        appends: vec![append],
        ..AppendEventsRequest::default()
    };
    let mut client = SessionEventsServiceClient::new(channel.clone());
    soon(client.append_events(with(key, request))).await.unwrap();
}

/// The items of the next events, until this one.
async fn items_until(stream: &mut Streaming<SubscribeResponse>, last: &str) -> Vec<String> {
    let mut items = Vec::new();
    while items.last().is_none_or(|item| item != last) {
        let response = soon(stream.message()).await.unwrap().expect("the stream goes on");
        if let Some(subscribe_response::Frame::Events(events)) = response.frame {
            items.extend(events.events.into_iter().map(|event| event.item_id));
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

async fn check(wire: Wire) {
    let (house, channel) = connected(wire).await;
    let key = house.running.local_key.clone();
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(subscribe(&channel, &key).await);
    }
    for item in ["one", "two", "three"] {
        append(&channel, &key, item).await;
    }
    for stream in &mut streams {
        assert_eq!(items_until(stream, "three").await, ["one", "two", "three"], "{wire:?}");
    }
    // Half of them are given up: those that stay on the same connection lose nothing.
    streams.truncate(6);
    for item in ["four", "five"] {
        append(&channel, &key, item).await;
    }
    for stream in &mut streams {
        assert_eq!(items_until(stream, "five").await, ["four", "five"], "{wire:?}");
    }
    // A refusal is nothing but trailers, and comes while the others are silent.
    let refused = SubscribeServiceClient::new(channel.clone())
        .subscribe(with("wrong", SubscribeRequest::default()))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "{wire:?}");
    let ends = streams.into_iter().map(closing).collect::<tokio::task::JoinSet<_>>();
    soon(house.running.shutdown()).await;
    for reason in soon(ends.join_all()).await {
        assert_eq!(reason, ClosingReason::Draining, "{wire:?}");
    }
}

#[tokio::test]
async fn streams_of_one_connection_each_get_everything() {
    check(Wire::Plain).await;
}

#[tokio::test]
async fn streams_of_one_connection_each_get_everything_over_tls() {
    check(Wire::Tls).await;
}

#[tokio::test]
async fn a_peer_that_has_said_its_last_word_does_not_hold_the_end_up() {
    let house = house().await;
    let mut stream = TcpStream::connect(house.running.local_addr).await.unwrap();
    // HTTP/2's preface, SETTINGS and a PING that must be answered, and then nothing ever again.
    let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    words.extend(b"\0\0\x08\x06\0\0\0\0\0whatsay?");
    stream.write_all(&words).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.is_empty(), "what was written before the end has left");
    soon(house.running.shutdown()).await;
}
