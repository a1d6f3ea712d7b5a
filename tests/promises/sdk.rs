//! The Rust SDK against a real hub, over a network that fails.

mod keys;

use std::time::Duration;

use bellboard_proto::v1::{self, append_result::Outcome};
use bellboard_sdk::interest::{self, Detailed as _};
use bellboard_sdk::{
    Client, FileResumeTokenStore, Frame, MemoryResumeTokenStore, Options, Spool, Start, SubscribeOptions,
};
use bellboard_sdk::{Subscription, Writer, WriterOptions};
use bellboard_tests::events::{all, on, text};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::proxy::Proxy;
use bellboard_tests::within;
use futures_util::StreamExt;

fn connect(url: &str, hub: &Process) -> Client {
    Client::connect(Options::at(url).with_key(hub.key())).unwrap()
}

async fn next(stream: &mut Subscription) -> Frame {
    within("a frame of the SDK", stream.next())
        .await
        .expect("the stream goes on")
        .expect("a frame")
}

/// Takes frames until so many events have come.
async fn texts(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Frame::Events(batch) = next(stream).await {
            found.extend(batch.events.iter().map(text).filter(|text| !text.is_empty()));
        }
    }
    found
}

#[tokio::test]
async fn k_23_a_stream_that_is_dead_without_saying_so_is_dialled_anew_and_loses_nothing() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut proxy = Proxy::before(&hub.url).await;
    let options = SubscribeOptions {
        heartbeat_interval: Some(Duration::from_secs(1)),
        ..SubscribeOptions::to([interest::all()]).starting(Start::Oldest)
    };
    let mut stream = connect(&proxy.url, &hub).subscribe(options);
    hub.client().say("s", "before").await;
    assert_eq!(texts(&mut stream, 1).await, ["before"]);
    proxy.silence();
    hub.client().say("s", "meanwhile").await;
    let (found, ()) = tokio::join!(texts(&mut stream, 1), proxy.dialled(2));
    assert_eq!(found, ["meanwhile"], "three missed heartbeats are enough to know");
}

#[tokio::test]
async fn a_phone_that_wakes_dials_at_once() {
    let data = DataDir::new();
    let hub = data.start().await;
    let proxy = Proxy::before(&hub.url).await;
    // The longest heartbeat: without being told, the watchdog would need minutes.
    let options = SubscribeOptions {
        heartbeat_interval: Some(Duration::from_secs(60)),
        ..SubscribeOptions::to([interest::all()]).starting(Start::Oldest)
    };
    let mut stream = connect(&proxy.url, &hub).subscribe(options);
    hub.client().say("s", "before").await;
    assert_eq!(texts(&mut stream, 1).await, ["before"]);
    proxy.silence();
    hub.client().say("s", "asleep").await;
    stream.control().redial();
    assert_eq!(texts(&mut stream, 1).await, ["asleep"]);
}

#[tokio::test]
async fn a_reader_and_a_writer_live_through_cuts_and_restarts() {
    let data = DataDir::new();
    let hub = data.start().await;
    let proxy = Proxy::before(&hub.url).await;
    let client = connect(&proxy.url, &hub);
    let mut stream = client.subscribe(SubscribeOptions::to([interest::session("s").live()]).starting(Start::Oldest));
    let writer = Writer::open(&client, WriterOptions::new("w")).await.unwrap();
    let mut expected = Vec::new();
    let mut tickets = Vec::new();
    for round in 0..5 {
        for number in 0..20 {
            let said = format!("{round}.{number}");
            tickets.push(writer.append(on("s").says(&said).0).await.unwrap());
            expected.push(said);
        }
        proxy.cut();
        tickets.push(writer.append(on("s").says(&format!("{round}.cut")).0).await.unwrap());
        expected.push(format!("{round}.cut"));
        proxy.mend();
        assert_eq!(
            texts(&mut stream, 21).await,
            expected[round * 21..],
            "in order, each once"
        );
    }
    within("the writer to flush", writer.flush()).await.unwrap();
    for ticket in tickets {
        let outcome = within("a ticket", ticket).await.unwrap().outcome;
        assert!(
            matches!(outcome, Some(Outcome::Stored(_) | Outcome::Duplicate(_))),
            "{outcome:?}"
        );
    }
    writer.close().await.unwrap();
    assert_eq!(
        hub.client().history(vec![all(v1::Detail::Content)]).await.len(),
        1 + expected.len()
    );
}

#[tokio::test]
async fn a_writers_spool_on_disk_outlives_the_writer() {
    let data = DataDir::new();
    let hub = data.start().await;
    let proxy = Proxy::before(&hub.url).await;
    let spool = tempfile::tempdir().unwrap();
    let options = || WriterOptions::new("w").with_spool(Spool::on_disk(spool.path()));
    let writer = Writer::open(&connect(&proxy.url, &hub), options()).await.unwrap();
    let first = writer.append(on("s").says("first").0).await.unwrap();
    within("the first to be stored", first).await.unwrap();
    proxy.cut();
    for number in 0..50 {
        drop(
            writer
                .append(on("s").says(&format!("spooled {number}")).0)
                .await
                .unwrap(),
        );
    }
    drop(writer);
    proxy.mend();
    let writer = within(
        "the writer to open again",
        Writer::open(&connect(&proxy.url, &hub), options()),
    )
    .await
    .unwrap();
    within("the spool to be sent", writer.flush()).await.unwrap();
    writer.close().await.unwrap();
    let history = hub.client().history(vec![all(v1::Detail::Content)]).await;
    let said: Vec<_> = history.iter().map(text).filter(|text| !text.is_empty()).collect();
    let expected: Vec<_> = std::iter::once("first".to_owned())
        .chain((0..50).map(|n| format!("spooled {n}")))
        .collect();
    assert_eq!(said, expected);
}

#[tokio::test]
async fn p_34_the_place_moves_when_the_application_has_taken_the_frame() {
    let data = DataDir::new();
    let hub = data.start().await;
    hub.client().say("s", "one").await;
    let store = std::sync::Arc::new(MemoryResumeTokenStore::new());
    let options = SubscribeOptions {
        store: Some(store.clone()),
        ..SubscribeOptions::to([interest::session("s")]).starting(Start::Oldest)
    };
    let mut stream = connect(&hub.url, &hub).subscribe(options);
    assert!(matches!(next(&mut stream).await, Frame::Subscribed(_)));
    assert!(matches!(next(&mut stream).await, Frame::Events(_)));
    let before = store.resume_token();
    let handed_out = stream.resume_token();
    assert_ne!(
        before, handed_out,
        "the application has the frame, but has not said that it is done with it"
    );
    assert!(matches!(next(&mut stream).await, Frame::CaughtUp(_)));
    assert_eq!(store.resume_token(), handed_out);
}

#[tokio::test]
async fn p_35_a_bot_that_restarts_does_not_act_on_old_prompts_again() {
    let data = DataDir::new();
    let hub = data.start().await;
    let folder = tempfile::tempdir().unwrap();
    let bot = || {
        let options = SubscribeOptions::to([interest::all()]).starting(Start::Oldest);
        connect(&hub.url, &hub).subscribe(options.with_store(FileResumeTokenStore::new(folder.path().join("place"))))
    };
    hub.client().say("s", "do this").await;
    let mut first = bot();
    assert_eq!(texts(&mut first, 1).await, ["do this"]);
    first.acknowledge().await.unwrap();
    drop(first);
    hub.client().say("s", "do that").await;
    let mut second = bot();
    let Frame::Subscribed(subscribed) = next(&mut second).await else {
        panic!("no answer")
    };
    assert_eq!(subscribed.answer(), v1::Answer::Resumed);
    assert_eq!(texts(&mut second, 1).await, ["do that"]);
}

#[tokio::test]
async fn a_place_of_another_hub_is_told_once_and_then_a_snapshot_goes_on() {
    let (data, other) = (DataDir::new(), DataDir::new());
    let hub = data.start().await;
    let folder = tempfile::tempdir().unwrap();
    let store = || FileResumeTokenStore::new(folder.path().join("place"));
    hub.client().say("s", "here").await;
    let mut stream = connect(&hub.url, &hub).subscribe(
        SubscribeOptions::to([interest::all()])
            .starting(Start::Oldest)
            .with_store(store()),
    );
    texts(&mut stream, 1).await;
    stream.acknowledge().await.unwrap();
    drop(stream);
    let elsewhere = other.start().await;
    elsewhere.client().say("s", "elsewhere").await;
    let mut stream =
        connect(&elsewhere.url, &elsewhere).subscribe(SubscribeOptions::to([interest::all()]).with_store(store()));
    let told = within("an error", stream.next())
        .await
        .expect("the stream goes on")
        .expect_err("the place is of another hub");
    assert_eq!(told.reason(), Some(v1::ErrorReason::ResumeTokenInvalid));
    let page = loop {
        if let Frame::SnapshotPage(page) = next(&mut stream).await {
            break page;
        }
    };
    assert_eq!(page.sessions.len(), 1);
}

#[tokio::test]
async fn p_26_a_reset_that_comes_right_after_the_start_is_honoured_each_time() {
    let data = DataDir::new();
    let folder = tempfile::tempdir().unwrap();
    let mut hub = data.start().await;
    for life in 0..3 {
        let said = format!("in life {life}");
        hub.client().say("s", &said).await;
        let store = FileResumeTokenStore::new(folder.path().join("place"));
        let options = SubscribeOptions::to([interest::all()]).starting(Start::Oldest);
        let mut stream = connect(&hub.url, &hub).subscribe(options.with_store(store));
        let Frame::Subscribed(subscribed) = next(&mut stream).await else {
            panic!("no answer")
        };
        if life == 0 {
            assert_eq!(texts(&mut stream, 1).await, [said]);
        } else {
            let reset = (v1::Answer::Reset, v1::ResetReason::EpochChanged);
            assert_eq!((subscribed.answer(), subscribed.reason()), reset);
            let Frame::SnapshotBegin(begin) = next(&mut stream).await else {
                panic!("no snapshot")
            };
            assert_eq!(begin.reset_reason(), v1::ResetReason::EpochChanged);
            let Frame::SnapshotPage(page) = next(&mut stream).await else {
                panic!("no page")
            };
            assert_eq!(text(&page.sessions[0].items[0]), said, "the state of this life");
            assert!(matches!(next(&mut stream).await, Frame::SnapshotEnd(_)));
            hub.client().say("s", "and live").await;
            assert_eq!(texts(&mut stream, 1).await, ["and live"]);
        }
        stream.acknowledge().await.unwrap();
        drop(stream);
        hub.terminate().await;
        bellboard_tests::database::forget_logs(data.path()).await;
        hub = data.start().await;
    }
}
