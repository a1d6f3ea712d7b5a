//! Clients that are not ours: what a newcomer has at hand.

use std::path::Path;
use std::process::Output;

use bellboard_tests::process::{DataDir, Process, root};
use bellboard_tests::tools::tool;
use bellboard_tests::within;
use tokio::process::Command;

const APPEND: &str = r#"{"appends":[{"session":{"sessionId":"demo"},"event":{"messageCompleted":{"role":"MESSAGE_ROLE_AGENT","content":[{"text":{"text":"hello"}}]}}}]}"#;
const LIST: &str = r#"{"interests":[{"all":{}}]}"#;

async fn output(mut command: Command) -> Output {
    within("the client's output", command.output())
        .await
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn grpcurl_lists_and_calls_by_reflection() {
    let Some(grpcurl) = tool("grpcurl") else { return };
    let data = DataDir::new();
    let hub = data.start().await;
    let address = hub.url.trim_start_matches("http://").to_owned();
    let call = |args: &[&str]| {
        let mut command = Command::new(&grpcurl);
        command
            .args(["-plaintext", "-H", &format!("authorization: Bearer {}", hub.key())])
            .args(args);
        command
    };
    let services = said(&output(call(&[&address, "list"])).await);
    for service in [
        "SessionEventsService",
        "SubscribeService",
        "AttentionService",
        "CommandService",
    ] {
        assert!(services.contains(&format!("bellboard.v1.{service}")), "{services}");
    }
    assert!(services.contains("grpc.health.v1.Health"), "{services}");
    let stored = said(
        &output(call(&[
            "-d",
            APPEND,
            &address,
            "bellboard.v1.SessionEventsService/AppendEvents",
        ]))
        .await,
    );
    assert!(stored.contains("\"stored\""), "{stored}");
    let subscribe = r#"{"fromStart":{},"interests":[{"all":{}}],"stopWhenClosed":false}"#;
    let mut follow = call(&[
        "-max-time",
        "3",
        "-d",
        subscribe,
        &address,
        "bellboard.v1.SubscribeService/Subscribe",
    ]);
    follow.kill_on_drop(true);
    let frames = said(&output(follow).await);
    assert!(
        frames.contains("ANSWER_STARTED") && frames.contains("\"hello\"") && frames.contains("caughtUp"),
        "{frames}"
    );
    let refused = said(
        &output(call(&[
            "-d",
            r#"{"pageSize":-1}"#,
            &address,
            "bellboard.v1.SessionEventsService/ListEvents",
        ]))
        .await,
    );
    assert!(
        refused.contains("INVALID_FIELD") && refused.contains("page_size"),
        "details are readable by reflection: {refused}"
    );
}

#[tokio::test]
async fn buf_curl_calls_over_grpc_and_grpc_web() {
    let Some(buf) = tool("buf") else { return };
    let data = DataDir::new();
    let hub = data.start().await;
    for protocol in ["grpc", "grpcweb"] {
        let call = |method: &str, body: &str, hub: &Process| {
            let mut command = Command::new(&buf);
            command.args([
                "curl",
                "--protocol",
                protocol,
                "--http2-prior-knowledge",
                "--timeout",
                "20s",
            ]);
            command.args(["-H", &format!("authorization: Bearer {}", hub.key()), "-d", body]);
            command.arg(format!("{}/bellboard.v1.{method}", hub.url));
            command
        };
        let stored = said(&output(call("SessionEventsService/AppendEvents", APPEND, &hub)).await);
        assert!(stored.contains("stored"), "{protocol}: {stored}");
        let listed = said(&output(call("SessionEventsService/ListEvents", LIST, &hub)).await);
        assert!(listed.contains("hello"), "{protocol}: {listed}");
        let refused = output(call("SessionEventsService/GetSession", "{}", &hub)).await;
        assert!(
            !refused.status.success() && said(&refused).contains("google.rpc.ErrorInfo"),
            "{protocol}: {}",
            said(&refused)
        );
    }
    let mut list = Command::new(&buf);
    list.args([
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "--list-services",
        &hub.url,
    ]);
    let services = said(&output(list).await);
    assert!(services.contains("bellboard.v1.SubscribeService"), "{services}");
}

#[tokio::test]
async fn a_python_client_subscribes_is_cut_and_resumes() {
    let Some(python) = tool("bellboard-python") else { return };
    let script = root().join("tests/clients/python/resume_test.py");
    assert!(Path::new(&script).exists());
    let mut run = Command::new(python);
    run.arg(&script)
        .env("BELLBOARD_BIN", bellboard_tests::process::binary())
        .current_dir(root());
    let ran = tokio::time::timeout(std::time::Duration::from_secs(120), run.output())
        .await
        .expect("the Python client to end");
    let ran = ran.expect("python runs");
    assert!(ran.status.success(), "{}", said(&ran));
}
