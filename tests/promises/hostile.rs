//! Bad input gets a clear answer, and costs nobody else anything.

mod quotas;
mod metrics;
mod bystanders;
mod stalled;
mod vanished;
mod writers;
mod resets;
mod floods;
mod storm;

use bellboard_proto::v1::{self, ErrorReason, subscribe_request::Start};
use bellboard_tests::events::{all, from, from_now, on, session};
use bellboard_tests::process::{DataDir, binary};
use tokio::process::Command;

use crate::reset::reason;

#[tokio::test]
async fn every_bad_field_of_a_subscription_is_named() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    let nothing = v1::Interest::default();
    let family = v1::Interest {
        families: vec![99],
        ..all(v1::Detail::Content)
    };
    let detail = v1::Interest {
        detail: 99,
        ..all(v1::Detail::Content)
    };
    let last = |count| from(Start::FromLast(v1::FromLast { count }), vec![all(v1::Detail::Content)]);
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let cases = [
        (from_now(vec![]), "interests "),
        (from_now(vec![nothing]), "interests[0].selector "),
        (
            from_now(vec![all(v1::Detail::Content), session("not an id", v1::Detail::Live)]),
            "interests[1].session.session_id ",
        ),
        (from_now(vec![family]), "interests[0].families "),
        (from_now(vec![detail]), "interests[0].detail "),
        (from_now(vec![all(v1::Detail::Content); 65]), "interests "),
        (last(0), "from_last.count "),
        (last(10_001), "from_last.count "),
        (
            v1::SubscribeRequest {
                on_gap: 99,
                ..from_now(vec![all(v1::Detail::Content)])
            },
            "on_gap ",
        ),
        (
            v1::SubscribeRequest {
                linger: Some(negative),
                ..from_now(vec![all(v1::Detail::Content)])
            },
            "linger ",
        ),
    ];
    for (request, named) in cases {
        let refused = client.try_subscribe(request).await.expect_err(named);
        assert_eq!(reason(&refused), ErrorReason::InvalidField);
        assert!(
            refused.message().starts_with(named),
            "{:?} does not begin with {named:?}",
            refused.message()
        );
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut client = hub.client();
    let refused = client
        .events
        .delete_session(v1::DeleteSessionRequest::default())
        .await
        .expect_err("not built");
    assert_eq!(
        (refused.code(), reason(&refused)),
        (tonic::Code::Unimplemented, ErrorReason::Unimplemented)
    );
}

#[tokio::test]
async fn a_second_hub_on_the_same_folder_is_refused_and_keys_can_still_be_made() {
    let data = DataDir::new();
    let hub = data.start().await;
    let mut second = Command::new(binary());
    second
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path());
    let output = bellboard_tests::within("the second hub to give up", second.output())
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&data.path().display().to_string()),
        "it names the folder: {said}"
    );
    bellboard_tests::process::cli(&data, &["key", "create", "--principal", "p"]).await;
    hub.client().say("s", "the first one goes on").await;
}

#[tokio::test]
async fn a_wrong_setting_is_refused_with_what_to_write() {
    let data = DataDir::new();
    std::fs::write(data.path().join("bellboard.toml"), "listne = \"127.0.0.1:1\"\n").unwrap();
    let mut hub = Command::new(binary());
    hub.args(["serve", "--data-dir"]).arg(data.path());
    let output = bellboard_tests::within("the hub to give up", hub.output())
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("listne") && said.contains("listen"), "{said}");
    std::fs::remove_file(data.path().join("bellboard.toml")).unwrap();

    let mut open = Command::new(binary());
    open.args(["serve", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(data.path());
    let output = bellboard_tests::within("the hub to refuse", open.output())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("key create"), "{said}");
}

#[tokio::test]
async fn a_slow_reader_costs_the_others_nothing() {
    let data = DataDir::new();
    let hub = data.start_with(&["--window-bytes", "1MiB"]).await;
    let client = hub.client();
    let wanted = vec![all(v1::Detail::Content)];
    let mut stalled = Vec::new();
    for _ in 0..20 {
        // Its own connection, and nobody reads.
        stalled.push(hub.client().subscribe(from_now(wanted.clone())).await);
    }
    let mut healthy = client.subscribe(from_now(wanted)).await;
    healthy.subscribed().await;
    for batch in 0..40 {
        client
            .append(
                (0..50)
                    .map(|number| on("s").completes(&format!("{batch}.{number}"), &"x".repeat(2000)))
                    .collect(),
            )
            .await;
    }
    assert_eq!(healthy.events(2001).await.len(), 2001);
    for mut stream in stalled {
        assert_eq!(
            stream.events(2001).await.len(),
            2001,
            "and who was slow still gets everything"
        );
    }
}
