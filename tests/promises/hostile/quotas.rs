//! One principal at its limit costs the others nothing, and gets back what it gives back.

use bellboard_proto::v1::{self, ErrorReason, publish_events_request::Frame as Sent};
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, on};
use bellboard_tests::process::{DataDir, Process, cli};
use bellboard_tests::proxy::Proxy;
use bellboard_tests::raw::{APPEND, Opened, Raw, SUBSCRIBE};
use bellboard_tests::stream::Frames;
use bellboard_tests::within;
use bytes::Bytes;
use futures_util::FutureExt as _;
use tonic::{Code, Status};

use crate::limits::expect;

fn wanted() -> v1::SubscribeRequest {
    from_now(vec![all(v1::Detail::Content)])
}

/// A client with a key of its own.
async fn other(data: &DataDir, hub: &Process, principal: &str) -> (Client, String) {
    let key = cli(
        data,
        &["key", "create", "--principal", principal, "--scope", "read,publish"],
    )
    .await;
    let key = key.trim().to_owned();
    (Client::new(&hub.url, Some(&key)), key)
}

fn expect_quota(refused: &Status, quota: &str, limit: &str) {
    expect(
        refused,
        Code::ResourceExhausted,
        ErrorReason::Overloaded,
        &[("quota", quota), ("limit", limit)],
    );
}

/// Subscribes as soon as there is room again.
async fn until_room(client: &Client) -> Frames {
    within("room for a subscription", async {
        loop {
            match client.try_subscribe(wanted()).await {
                Ok(stream) => return stream,
                Err(refused) => expect_quota(&refused, "subscriptions", "1"),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_principal_at_its_limit_costs_the_others_nothing() {
    let data = DataDir::new();
    let hub = data
        .start_with(&["--subscriptions-per-principal=2", "--publishers-per-principal=1"])
        .await;
    let client = hub.client();
    let (other, _) = other(&data, &hub, "ben").await;
    let mut held = vec![client.subscribe(wanted()).await, client.subscribe(wanted()).await];
    let refused = client.try_subscribe(wanted()).await.expect_err("one too many");
    expect_quota(&refused, "subscriptions", "2");
    let details = crate::limits::details(&refused);
    assert!(
        details.iter().any(|any| any.type_url.ends_with("google.rpc.RetryInfo")),
        "it says that waiting helps"
    );

    let mut stream = other.subscribe(wanted()).await;
    stream.subscribed().await;
    client.say("s", "its other calls go on").await;
    stream.events(1).await;
    for stream in &mut held {
        stream.subscribed().await;
        stream.events(1).await;
    }
}

#[tokio::test]
async fn every_end_of_a_stream_gives_its_place_back() {
    let data = DataDir::new();
    let hub = data
        .start_with(&["--subscriptions-per-principal=1", "--keepalive=1s"])
        .await;
    let client = hub.client();

    // Given up by the client.
    drop(client.subscribe(wanted()).await);
    // Its connection breaks.
    let proxy = Proxy::before(&hub.url).await;
    let key = hub.key();
    let through = Client::new(&proxy.url, Some(&key));
    let stream = until_room(&through).await;
    proxy.cut();
    let second = until_room(&client).await;
    drop(stream);
    drop(second);
    // Its peer vanishes without a word.
    proxy.mend();
    let through = Client::new(&proxy.url, Some(&key));
    let mut stream = until_room(&through).await;
    stream.subscribed().await;
    proxy.silence();
    let mut again = until_room(&client).await;
    again.subscribed().await;
    drop(again);
    // Its request is never finished, and its connection goes.
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    let head = raw.head(SUBSCRIBE);
    let half = raw.begin(head).await.expect("a call");
    drop((half, raw));
    drop(until_room(&client).await);
    // The start is refused.
    let bad = within("room for a bad call", async {
        loop {
            let bad = client.try_subscribe(v1::SubscribeRequest::default()).await;
            let refused = bad.expect_err("no interests");
            if refused.code() != Code::ResourceExhausted {
                return refused;
            }
        }
    });
    assert_eq!(bad.await.code(), Code::InvalidArgument);
    // The hub ends it: its sessions are closed.
    client.append(vec![on("s").closes()]).await;
    let ending = v1::SubscribeRequest {
        stop_when_closed: true,
        ..from_now(vec![bellboard_tests::events::session("s", v1::Detail::Content)])
    };
    let mut stream = within("room", async {
        loop {
            if let Ok(stream) = client.try_subscribe(ending.clone()).await {
                return stream;
            }
        }
    })
    .await;
    while stream.try_next().await.expect("a good end").is_some() {}
    until_room(&client).await;
}

#[tokio::test]
async fn a_revoked_key_gives_its_places_back() {
    let data = DataDir::new();
    let hub = data.start_with(&["--subscriptions-per-principal=1"]).await;
    let (first, _) = other(&data, &hub, "ada").await;
    let (second, _) = other(&data, &hub, "ada").await;
    let mut stream = first.subscribe(wanted()).await;
    stream.subscribed().await;
    let refused = second
        .try_subscribe(wanted())
        .await
        .expect_err("two keys are one principal");
    expect_quota(&refused, "subscriptions", "1");
    let list = cli(&data, &["key", "list"]).await;
    let id = list
        .lines()
        .find(|line| line.contains("ada"))
        .and_then(|line| line.split_whitespace().next())
        .expect("a key of ada's")
        .to_owned();
    cli(&data, &["key", "revoke", &id]).await;
    let other = if within("either key", first.clone().try_subscribe(wanted()))
        .await
        .is_err_and(|refused| refused.code() == Code::Unauthenticated)
    {
        second
    } else {
        first
    };
    drop(stream);
    until_room(&other).await;
}

#[tokio::test]
async fn writers_and_requests_are_bounded_too() {
    let data = DataDir::new();
    let hub = data
        .start_with(&["--publishers-per-principal=1", "--calls-per-principal=2"])
        .await;
    let mut client = hub.client();
    let open = v1::OpenWriterRequest {
        writer_id: "w".into(),
        ..v1::OpenWriterRequest::default()
    };
    let fence = client.events.open_writer(open).await.unwrap().into_inner().fence;
    let frames = || {
        let writer_id = "w".to_owned();
        let frame = Some(Sent::Open(v1::PublishOpen { writer_id, fence }));
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.try_send(v1::PublishEventsRequest { frame }).unwrap();
        (send, tokio_stream::wrappers::ReceiverStream::new(receive))
    };
    let (kept_open, first) = frames();
    let mut answers = client.events.publish_events(first).await.unwrap().into_inner();
    within("the opening", answers.message()).await.unwrap();
    let (_unused, second) = frames();
    let refused = client.events.publish_events(second).await.expect_err("one too many");
    expect_quota(&refused, "publishers", "1");
    drop(kept_open);
    assert!(within("the end", answers.message()).await.unwrap().is_none());

    // Two requests that never come whole. One that met ours on its way was refused in our stead, and is made again.
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    let mut held: Vec<Opened> = Vec::new();
    let refused = within("a refusal", async {
        loop {
            held.retain_mut(|call| (&mut call.answer).now_or_never().is_none());
            while held.len() < 2 {
                let head = raw.head(APPEND);
                let mut call = raw.begin(head).await.expect("a call");
                call.send
                    .send_data(Bytes::from_static(&[0, 0, 0]), false)
                    .expect("it is open");
                held.push(call);
            }
            if let Err(refused) = client.try_append(vec![on("s").says("x")]).await {
                return refused;
            }
        }
    });
    expect_quota(&refused.await, "calls", "2");
    drop(held);
    within("room for a call", async {
        while client.try_append(vec![on("s").says("x")]).await.is_err() {}
    })
    .await;
}
