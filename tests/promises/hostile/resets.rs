//! Calls that are opened only to be given up ("rapid reset"): whoever lives by it is cut, and nobody else notices.

use bellboard_proto::v1;
use bellboard_tests::events::{all, from_now};
use bellboard_tests::metrics::{Metrics, SHOWN};
use bellboard_tests::process::DataDir;

fn cut(metrics: &Metrics) -> f64 {
    let of = |why: &str| metrics.get(&format!("connections_cut_total{{reason=\"{why}\"}}"));
    of("abusive") + of("broken")
}

#[tokio::test]
async fn giving_a_call_up_now_and_then_is_everybodys_right() {
    let data = DataDir::new();
    let hub = data.start_with(&SHOWN).await;
    let client = hub.client();
    let mut stays = client.subscribe(from_now(vec![all(v1::Detail::Content)])).await;
    stays.caught_up().await;
    // A tab that is closed, a page that is left: a hundred of them, on the connection of one that stays.
    for _ in 0..100 {
        drop(client.subscribe(from_now(vec![all(v1::Detail::Content)])).await);
    }
    let alone = |metrics: &Metrics| metrics.get("streams_open{kind=\"subscription\"}") == 1.0;
    let metrics = hub.metrics_until("those to be gone", alone).await;
    assert_eq!(cut(&metrics), 0.0);
    client.say("s", "still there").await;
    assert_eq!(stays.events(2).await.len(), 2);
}
