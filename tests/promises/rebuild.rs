//! Rows of sessions are what their events say, and are put right where somebody changed them.

use std::process::Stdio;

use bellboard_proto::v1;
use bellboard_tests::client::Client;
use bellboard_tests::database::{change, verify_links};
use bellboard_tests::events::{all, on, on_key, subtree};
use bellboard_tests::process::{DataDir, binary};
use bellboard_tests::within;
use serde_json::{Value, json};
use tokio::process::Command;

/// Runs the command. Its exit code, and what it told of the first log.
async fn rebuild(data: &DataDir, flags: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(binary());
    command
        .args(["rebuild", "--json", "--data-dir"])
        .arg(data.path())
        .args(flags)
        .stdin(Stdio::null());
    let output = within("the command to end", command.output()).await.unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let first = told.lines().next().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), first.unwrap_or_default())
}

/// Sessions that moved, closed, were archived and named their parents late.
async fn lives(client: &Client) {
    client
        .append(vec![
            on("child").opens_below("parent"),
            on("parent").opens("a parent that came late"),
            on("grandchild").says("an orphan so far"),
            on_key("acme", "/shop", "native").says("known by its key"),
            on("closed").says("the last word"),
            on("closed").closes(),
        ])
        .await;
    client.append(vec![on("grandchild").opens_below("child")]).await;
    client
        .append(vec![on("parent").opens("a new title"), on("child").says("on")])
        .await;
}

async fn sessions(client: &Client) -> Vec<v1::Session> {
    let request = v1::ListSessionsRequest {
        include_closed: true,
        include_archived: true,
        ..v1::ListSessionsRequest::default()
    };
    let mut events = client.events.clone();
    let list = within("the answer to ListSessions", events.list_sessions(request)).await;
    let mut sessions = list.unwrap().into_inner().sessions;
    sessions.sort_by(|a, b| a.session_id.cmp(&b.session_id));
    sessions
}

#[tokio::test]
async fn rows_that_were_changed_behind_the_hubs_back_are_found_and_put_right() {
    let data = DataDir::new();
    let hub = data.start_with(&["--retain-bytes", "1048576"]).await;
    lives(&hub.client()).await;
    // Enough that the first events are trimmed, and what they said lies in bases only.
    let long = "x".repeat(60_000);
    for number in 0..24 {
        hub.client()
            .append(vec![on("busy").completes(&format!("item-{number}"), &long)])
            .await;
    }
    let trimmed = async {
        while sessions(&hub.client())
            .await
            .iter()
            .all(|session| session.trimmed_until == 0)
        {
            tokio::task::yield_now().await;
        }
    };
    within("the first events to be trimmed", trimmed).await;
    lives(&hub.client()).await;
    let before = sessions(&hub.client()).await;
    hub.terminate().await;

    let (code, told) = rebuild(&data, &[]).await;
    assert_eq!((code, &told["differ"]), (Some(0), &json!(0)), "{told}");
    assert!(told["oldest"].as_u64().unwrap() > 0);
    assert_eq!(told["sessions"], json!(before.len()));

    change(
        data.path(),
        "UPDATE sessions SET title = 'never said', next_index = next_index + 7 WHERE id = 'parent'",
    )
    .await;
    change(
        data.path(),
        "UPDATE sessions SET ancestors = '[]' WHERE id = 'grandchild'",
    )
    .await;
    change(
        data.path(),
        "UPDATE sessions SET trimmed_index = 0, trimmed_families = '[]' WHERE id = 'closed'",
    )
    .await;
    change(
        data.path(),
        "UPDATE sessions SET closed = NULL, lifecycle = 1 WHERE id = 'closed'",
    )
    .await;
    let (code, told) = rebuild(&data, &["--dry-run"]).await;
    assert_eq!(
        (code, &told["differ"], &told["left"]),
        (Some(6), &json!(3), &json!(3)),
        "{told}"
    );
    let (code, told) = rebuild(&data, &[]).await;
    assert_eq!(
        (code, &told["differ"], &told["left"]),
        (Some(0), &json!(3), &json!(0)),
        "{told}"
    );
    let of_parent = json!({ "sessionId": "parent", "kind": "fields", "fields": ["facts", "next_index"] });
    assert!(told["differences"].as_array().unwrap().contains(&of_parent), "{told}");
    let (code, told) = rebuild(&data, &[]).await;
    assert_eq!((code, &told["differ"]), (Some(0), &json!(0)), "{told}");
    verify_links(data.path()).await;

    let hub = data.start().await;
    assert_eq!(sessions(&hub.client()).await, before);
    let below = subtree("parent", v1::Detail::Content);
    let told = hub.client().history(vec![below]).await;
    assert!(
        told.iter().any(|event| event.session_id == "grandchild"),
        "it stands below its parent again"
    );
}

#[tokio::test]
async fn a_log_with_a_damaged_event_is_left_as_it_is() {
    let data = DataDir::new();
    let hub = data.start().await;
    lives(&hub.client()).await;
    hub.terminate().await;
    change(
        data.path(),
        "UPDATE sessions SET title = 'never said' WHERE id = 'parent'",
    )
    .await;
    change(
        data.path(),
        "UPDATE events SET link = link + 1 WHERE place = (SELECT max(place) FROM events)",
    )
    .await;
    let (code, told) = rebuild(&data, &[]).await;
    assert_eq!(code, Some(6));
    assert!(told["damagedAt"].as_u64().unwrap() > 0, "{told}");
}

#[tokio::test]
async fn the_rows_of_a_folder_that_a_hub_runs_on_are_not_touched() {
    if bellboard_tests::postgres::is_sqlites_own("hubs that share a database may run meanwhile") {
        return;
    }
    let data = DataDir::new();
    let hub = data.start().await;
    hub.client().say("s", "hello").await;
    let (code, _) = rebuild(&data, &[]).await;
    assert_eq!(code, Some(3));
}

#[tokio::test]
async fn hubs_on_a_shared_database_go_on_with_the_rows_that_were_put_right() {
    let Some(data) = DataDir::on_postgres() else { return };
    let hub = data.start().await;
    let client = hub.client();
    client.append(vec![on("s").opens("right"), on("s").says("one")]).await;
    change(
        data.path(),
        "UPDATE sessions SET title = 'wrong', next_index = 9 WHERE id = 's'",
    )
    .await;
    let (code, told) = rebuild(&data, &[]).await;
    assert_eq!((code, &told["differ"]), (Some(0), &json!(1)), "{told}");
    client.say("s", "two").await;
    let told = client.history(vec![all(v1::Detail::Content)]).await;
    let indices: Vec<u64> = told.iter().map(|event| event.index).collect();
    assert_eq!(indices, [0, 1, 2]);
    let row = sessions(&client).await.remove(0);
    assert_eq!(row.facts.unwrap_or_default().title, "right");
}
