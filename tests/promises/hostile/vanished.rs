//! Peers that are gone without a word: half of a connection, which the other half must find out about.

use bellboard_proto::v1;
use bellboard_tests::client::Client;
use bellboard_tests::events::{all, from_now, on, resume};
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::{DataDir, key};
use bellboard_tests::proxy::Proxy;

use super::bystanders::Bystanders;
use crate::live::Publisher;

const MIB: usize = 1024 * 1024;
const STREAMS: usize = 50;

#[tokio::test]
async fn half_open_connections_are_found_out_and_hold_nothing_until_then() {
    let data = DataDir::new();
    let flags = [&SHOWN[..], &["--keepalive=1s", "--window-bytes", "1MiB"]].concat();
    let hub = data.start_with(&flags).await;
    let mut bystanders = Bystanders::of(&data, &hub, 4).await;
    let key = key(&data, &["--principal", "ada", "--scope", "read,publish"]).await;
    let proxy = Proxy::before(&hub.url).await;
    let wanted = || vec![all(v1::Detail::Content)];
    let mut vanishing = Vec::new();
    for _ in 0..STREAMS / 10 {
        let client = Client::new(&proxy.url, Some(&key));
        for _ in 0..10 {
            let mut stream = client.subscribe(from_now(wanted())).await;
            stream.caught_up().await;
            vanishing.push(stream);
        }
    }
    let mut writer = Publisher::open(&Client::new(&proxy.url, Some(&key)), "w").await;
    writer.append(on("s").says("before")).await;
    let open = |metrics: &Metrics| {
        let of = |kind: &str| metrics.get(&format!("streams_open{{kind=\"{kind}\"}}"));
        (of("subscription"), of("publisher"))
    };
    assert_eq!(open(&hub.metrics().await), ((STREAMS + 4) as f64, 1.0));
    for stream in &mut vanishing {
        stream.events(2).await;
    }
    let before = hub.resident_bytes();
    let cut = |metrics: &Metrics| {
        ["stuck", "broken"]
            .map(|why| metrics.get(&format!("connections_cut_total{{reason=\"{why}\"}}")))
            .iter()
            .sum::<f64>()
    };
    let cut_before = cut(&hub.metrics().await);
    proxy.silence();
    // They are given what they will never see, until they are found out.
    let said: Vec<_> = (0..40)
        .map(|number| on("t").completes(&format!("{number}"), &"x".repeat(50_000)))
        .collect();
    for append in said {
        hub.client().append(vec![append]).await;
    }
    let gone = |metrics: &Metrics| open(metrics) == (4.0, 0.0);
    let after = hub.metrics_until("those who vanished to be found out", gone).await;
    assert!(
        cut(&after) - cut_before >= (STREAMS / 10 + 1) as f64,
        "by the hub itself:\n{}",
        after.text
    );
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown < 48 * MIB, "the hub grew by {grown} bytes");
    bystanders.unharmed(&hub).await;

    // Who comes back by another way has lost nothing.
    let token = vanishing[0].token.clone();
    let back = Client::new(&hub.url, Some(&key));
    let mut again = back.subscribe(resume(&token, wanted())).await;
    assert_eq!(again.subscribed().await.answer(), v1::Answer::Resumed);
    let heard = again.caught_up().await;
    assert_eq!(heard.iter().filter(|event| event.session_id == "t").count(), 41);
}
