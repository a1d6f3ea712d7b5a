//! The database is gone for a while.

use bellboard_proto::google::rpc;
use bellboard_proto::v1;
use bellboard_tests::events::{from_start, on};
use bellboard_tests::process::{DataDir, Process};
use bellboard_tests::proxy::Proxy;
use bellboard_tests::within;
use prost::Message as _;
use tonic::{Code, Status};

use super::everything;

/// A hub that reaches its database through a network of its own.
struct Outage {
    _data: [DataDir; 2],
    network: Proxy,
    hub: Process,
}

async fn outage() -> Option<Outage> {
    let data = DataDir::on_postgres()?;
    let network = Proxy::before(&data.database_address()).await;
    let through = data.through(network.url.trim_start_matches("http://"));
    let hub = through.start().await;
    Some(Outage {
        _data: [data, through],
        network,
        hub,
    })
}

fn assert_says_when_to_return(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(crate::reset::reason(status), v1::ErrorReason::StorageUnavailable);
    let details = rpc::Status::decode(status.details()).expect("details").details;
    let retry = details
        .iter()
        .find(|any| any.type_url.ends_with("google.rpc.RetryInfo"));
    assert!(retry.is_some(), "it says when to come back: {details:?}");
}

#[tokio::test]
async fn while_the_database_is_gone_appends_are_told_so_and_streams_go_on() {
    let Some(Outage { network, hub, _data }) = outage().await else {
        return;
    };
    let client = hub.client();
    client.say("s", "before").await;
    let mut request = from_start(everything());
    request.heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let mut stream = client.subscribe(request.clone()).await;
    assert_eq!(stream.caught_up().await.len(), 2);

    network.cut();
    let refused = client.try_append(vec![on("s").says("meanwhile").dedupe("m")]).await;
    assert_says_when_to_return(&refused.expect_err("there is no database"));
    stream
        .until("a heartbeat without a database", |frame| {
            matches!(frame, v1::subscribe_response::Frame::Heartbeat(_)).then_some(())
        })
        .await;
    // What is in memory is told to newcomers too.
    let mut second = client.subscribe(request).await;
    assert_eq!(second.caught_up().await.len(), 2);

    network.mend();
    within("the hub to find its database again", async {
        let again = || client.try_append(vec![on("s").says("meanwhile").dedupe("m")]);
        while let Err(status) = again().await {
            assert_says_when_to_return(&status);
            tokio::task::yield_now().await;
        }
    })
    .await;
    for stream in [&mut stream, &mut second] {
        assert_eq!(
            stream.events(1).await[0].offset,
            2,
            "stored once, and told to streams that were open all the time"
        );
    }
}

#[tokio::test]
async fn a_network_that_says_nothing_is_not_waited_for_for_ever() {
    let Some(Outage { network, hub, _data }) = outage().await else {
        return;
    };
    let client = hub.client();
    client.say("s", "before").await;
    network.die();
    let refused = client.try_append(vec![on("s").says("meanwhile").dedupe("m")]).await;
    assert_says_when_to_return(&refused.expect_err("nobody answers"));
    network.mend();
    within("the hub to dial its database anew", async {
        while client
            .try_append(vec![on("s").says("meanwhile").dedupe("m")])
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let told: Vec<String> = client
        .history(everything())
        .await
        .iter()
        .map(bellboard_tests::events::text)
        .collect();
    assert_eq!(told, ["", "before", "meanwhile"]);
}
