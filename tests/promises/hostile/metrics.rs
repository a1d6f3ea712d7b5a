//! The hub's own numbers: they move, and they are the ones that are documented.

use std::collections::BTreeSet;

use bellboard_proto::v1;
use bellboard_tests::events::{all, fragment, from_now, from_snapshot, from_start, on, resume};
use bellboard_tests::metrics::SHOWN;
use bellboard_tests::process::{DataDir, binary, root};
use bellboard_tests::within;
use tokio::process::Command;

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_there() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let there: BTreeSet<String> = hub.metrics().await.names().into_iter().collect();
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let documented = readme.lines().filter_map(|line| {
        let name = line.strip_prefix("| `bellboard_")?.split(['`', '{']).next()?;
        Some(format!("bellboard_{name}"))
    });
    assert_eq!(there, documented.collect::<BTreeSet<_>>());
    let labels = ["tenant", "session", "principal", "default"];
    let text = hub.metrics().await.text;
    assert!(
        labels.iter().all(|label| !text.contains(&format!("{label}=\""))),
        "{text}"
    );
}

#[tokio::test]
async fn the_numbers_move() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let client = hub.client();
    let wanted = || vec![all(v1::Detail::Content)];
    let before = hub.metrics().await;
    assert_eq!(
        (
            before.get("deliveries_total"),
            before.get("streams_open{kind=\"subscription\"}")
        ),
        (0.0, 0.0)
    );

    let mut live = client.subscribe(from_now(wanted())).await;
    live.subscribed().await;
    client.append(vec![on("s").says("once").dedupe("k")]).await;
    let again = client.try_append(vec![on("s").says("once").dedupe("k")]).await.unwrap();
    assert!(matches!(
        again[0].outcome,
        Some(v1::append_result::Outcome::Duplicate(_))
    ));
    live.events(2).await;
    let token = live.token.clone();
    client.subscribe(resume(&token, wanted())).await.subscribed().await;
    client
        .subscribe(resume(&token, vec![all(v1::Detail::Live)]))
        .await
        .subscribed()
        .await;
    let mut snapshot = client.subscribe(from_snapshot(wanted())).await;
    snapshot.caught_up().await;
    let unknown = v1::PublishBatch {
        entries: vec![v1::PublishEntry {
            entry: Some(v1::publish_entry::Entry::Delta(fragment("s", "no such item", 0, "x"))),
        }],
    };
    let frames = vec![
        v1::PublishEventsRequest {
            frame: Some(v1::publish_events_request::Frame::Open(v1::PublishOpen::default())),
        },
        v1::PublishEventsRequest {
            frame: Some(v1::publish_events_request::Frame::Batch(unknown)),
        },
    ];
    let _ = crate::limits::publish(&mut client.clone(), frames).await;

    let now = hub
        .metrics_until("the streams that ended to be counted as ended", |metrics| {
            metrics.get("streams_open{kind=\"subscription\"}") == 2.0
        })
        .await;
    for (name, value) in [
        ("appends_total{outcome=\"stored\"}", 1.0),
        ("appends_total{outcome=\"duplicate\"}", 1.0),
        ("events_stored_total", 2.0),
        ("commit_events_count", 1.0),
        ("commit_events_sum", 2.0),
        ("commit_seconds_count", 1.0),
        ("answers_total{answer=\"started\"}", 2.0),
        ("answers_total{answer=\"resumed\"}", 1.0),
        ("answers_total{answer=\"reset\"}", 1.0),
        ("resets_total{reason=\"interests_changed\"}", 1.0),
        ("resets_total{reason=\"too_far_behind\"}", 0.0),
        ("deliveries_total", 2.0),
        ("snapshots_asked_total", 2.0),
        ("quota_refusals_total{quota=\"calls\"}", 0.0),
        ("connections_refused_total", 0.0),
        ("streams_stalled{kind=\"subscription\"}", 0.0),
    ] {
        assert_eq!(now.get(name), value, "{name} in:\n{}", now.text);
    }
    for name in [
        "window_bytes",
        "wakeups_total",
        "slots_visited_total",
        "event_bytes_stored_total",
        "connections_open",
    ] {
        assert!(now.get(name) >= 1.0, "{name} in:\n{}", now.text);
    }
    assert!(now.get("commit_seconds_bucket{le=\"+Inf\"}") >= now.get("commit_seconds_bucket{le=\"0.001\"}"));

    // What is no longer in memory is read from the store.
    hub.kill().await;
    let hub = data.start_with(&SHOWN).await;
    let mut all_again = hub.client().subscribe(from_start(wanted())).await;
    all_again.caught_up().await;
    let now = hub.metrics().await;
    assert!(now.get("store_reads_total") >= 1.0 && now.get("store_read_seconds_count") >= 1.0);
}

#[tokio::test]
async fn metrics_are_for_this_machine_unless_told_otherwise() {
    let data = DataDir::new();
    let mut open = Command::new(binary());
    open.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-address",
        "0.0.0.0:0",
        "--data-dir",
    ]);
    let output = within("the hub to refuse", open.arg(data.path()).output())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("--metrics-anywhere"),
        "{said}"
    );

    let hub = data.start_with(&SHOWN).await;
    let url = hub.metrics_url.clone().unwrap();
    let asked = |url: &str, host: &str| reqwest::Client::new().get(url).header("host", host).send();
    let status = async |url: &str, host: &str| within("an answer", asked(url, host)).await.unwrap().status().as_u16();
    assert_eq!(status(&url, "localhost").await, 200);
    assert_eq!(status(&url, "evil.example").await, 403, "a web page may not read them");
    assert_eq!(status(&url.replace("/metrics", "/"), "localhost").await, 404);
    let posted = reqwest::Client::new().post(&url).send();
    assert_eq!(within("an answer", posted).await.unwrap().status().as_u16(), 405);
}
