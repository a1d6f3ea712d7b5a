//! Everybody comes back at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bellboard_proto::v1::{self, subscribe_response::Frame};
use bellboard_sdk::interest;
use bellboard_sdk::{Options, Start, SubscribeOptions};
use bellboard_tests::events::{all, from_now, text};
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::DataDir;
use bellboard_tests::proxy::Proxy;
use bellboard_tests::raw::{Messages, Raw, SUBSCRIBE};
use bellboard_tests::within;
use futures_util::StreamExt as _;

fn open(count: usize) -> impl Fn(&Metrics) -> bool {
    move |metrics| metrics.get("streams_open{kind=\"subscription\"}") == count as f64
}

#[tokio::test]
async fn m_19_a_client_that_comes_back_again_and_again_has_one_stream() {
    const TIMES: usize = 200;
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let client = hub.client();
    let request = || v1::SubscribeRequest {
        client_id: "tab".into(),
        ..from_now(vec![all(v1::Detail::Content)])
    };
    // Nobody reads the old ones, so nobody sees that they were told to go, and their connections live.
    let mut raw = Raw::connect(&hub, 1 << 20).await;
    let mut left = Vec::new();
    for _ in 0..TIMES {
        left.push(raw.stream(SUBSCRIBE, &request()).await);
    }
    let mut newest = client.subscribe(request()).await;
    newest.caught_up().await;
    let one = hub.metrics_until("all but the newest to be ended", open(1)).await;
    assert_eq!(one.get("closings_total{reason=\"replaced\"}"), TIMES as f64);
    client.say("s", "to one").await;
    assert_eq!(newest.events(2).await.len(), 2);
    let told = hub.metrics().await;
    assert_eq!(
        told.get("deliveries_total") - one.get("deliveries_total"),
        2.0,
        "and to it alone"
    );
    // Those that were left behind say so, once somebody reads them.
    for answer in left {
        let mut stream = Messages::new(answer);
        let mut last = None;
        while let Some(response) = stream.next::<v1::SubscribeResponse>().await.expect("a good end") {
            last = response.frame;
        }
        let Some(Frame::Closing(closing)) = last else {
            panic!("{last:?}")
        };
        assert_eq!(closing.reason(), v1::ClosingReason::Replaced);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m_19_a_storm_of_reconnects_ends_with_one_stream_each_and_nothing_lost() {
    const CLIENTS: usize = 30;
    let data = DataDir::new();
    let hub = data.start_with(&[&SHOWN[..], &["--keepalive=1s"]].concat()).await;
    let proxy = Proxy::before(&hub.url).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let options = SubscribeOptions {
            client_id: format!("app-{number}"),
            ..SubscribeOptions::to([interest::all()]).starting(Start::Oldest)
        };
        let client = bellboard_sdk::Client::connect(Options::at(&proxy.url).with_key(hub.key())).unwrap();
        let mut stream = client.subscribe(options);
        clients.push(tokio::spawn(async move {
            let mut heard = BTreeMap::new();
            while heard.values().all(|words| words != "end") {
                let frame = within("a frame", stream.next())
                    .await
                    .expect("it goes on")
                    .expect("a frame");
                if let bellboard_sdk::Frame::Events(batch) = frame {
                    for event in &batch.events {
                        let again = heard.insert(event.offset, text(event));
                        assert!(again.is_none(), "{} came twice", event.offset);
                    }
                }
            }
            (heard, stream)
        }));
    }
    let writer = hub.client();
    for round in 0..4 {
        hub.metrics_until("all of them to be there", |metrics| {
            metrics.get("streams_open{kind=\"subscription\"}") >= CLIENTS as f64
        })
        .await;
        writer.say("s", &round.to_string()).await;
        proxy.cut();
        writer.say("s", &format!("{round}, meanwhile")).await;
        proxy.mend();
    }
    writer.say("s", "end").await;
    let mut streams = Vec::new();
    for client in clients {
        let (heard, stream) = client.await.unwrap();
        assert_eq!(heard.len(), 10, "{heard:?}");
        streams.push(stream);
    }
    let metrics = hub.metrics_until("one stream each", open(CLIENTS)).await;
    // Four times cut: whoever came back was answered, and did not come back more often than it was cut and refused.
    let answered = metrics.get("answers_total{answer=\"resumed\"}") + metrics.get("answers_total{answer=\"started\"}");
    assert!(answered <= (CLIENTS * 6) as f64, "{answered} streams were opened");
    drop(streams);
}

#[tokio::test]
async fn m_19_who_is_told_when_to_come_back_does_not_come_before() {
    let data = DataDir::new();
    let hub = data
        .start_with(&[&SHOWN[..], &["--subscriptions-per-principal=1"]].concat())
        .await;
    let mut holds = hub.client().subscribe(from_now(vec![all(v1::Detail::Content)])).await;
    holds.caught_up().await;
    let refusals = |metrics: &Metrics| metrics.get("quota_refusals_total{quota=\"subscriptions\"}");
    let client = bellboard_sdk::Client::connect(Options::at(&hub.url).with_key(hub.key())).unwrap();
    let mut waits = client.subscribe(SubscribeOptions::to([interest::all()]).starting(Start::Oldest));
    let first = tokio::spawn(async move {
        let frame = within("a stream", waits.next()).await;
        (frame.is_some_and(|frame| frame.is_ok()), waits)
    });
    hub.metrics_until("a refusal", |metrics| refusals(metrics) >= 1.0).await;
    let begin = Instant::now();
    hub.metrics_until("it to come back", |metrics| refusals(metrics) >= 3.0)
        .await;
    // A second is the advice; the first of these two may have been under way.
    assert!(
        begin.elapsed() >= Duration::from_millis(1500),
        "it came back after {:?}",
        begin.elapsed()
    );
    drop(holds);
    assert!(first.await.unwrap().0, "and it has its stream once there is room");
}
