//! The commands, as a person or a script runs them: the real program, its output, its exit code.

mod tail;
mod publish;
mod manners;

use std::process::{Output, Stdio};

use bellboard_proto::v1::{self, event::Payload};
use bellboard_tests::events::{by_id, on};
use bellboard_tests::process::{DataDir, binary};
use bellboard_tests::within;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// The program as somebody on the hub's machine runs it, who typed no address and no key.
fn bellboard(data: &DataDir, typed: &str) -> Command {
    let mut command = Command::new(binary());
    command
        .args(typed.split_whitespace())
        .env("BELLBOARD_DATA_DIR", data.path());
    for variable in [
        "BELLBOARD_URL",
        "BELLBOARD_KEY",
        "BELLBOARD_CONFIG",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(variable);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end, with this on its standard input.
async fn run(mut command: Command, input: &str) -> Output {
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feed = async move {
        // A command that ends before it has read everything is looked at by its exit code.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let (_, output) = within("the command to end", async {
        tokio::join!(feed, child.wait_with_output())
    })
    .await;
    output.unwrap()
}

/// What it printed, where it ended well.
async fn printed(data: &DataDir, typed: &str, input: &str) -> String {
    let output = run(bellboard(data, typed), input).await;
    assert!(
        output.status.success(),
        "{typed}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Its exit code and what it said on standard error.
async fn code(command: Command, input: &str) -> (i32, String) {
    let output = run(command, input).await;
    (
        output.status.code().expect("no signal ended it"),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn jsons(lines: &str) -> Vec<Value> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A message with an id of its own.
fn says(session: &str, id: &str, text: &str) -> String {
    let content = json!([{ "text": { "text": text } }]);
    let event = json!({ "eventId": id, "itemId": id, "messageCompleted": { "role": "MESSAGE_ROLE_AGENT", "content": content } });
    format!("{}\n", json!({ "session": { "sessionId": session }, "event": event }))
}

fn many(range: std::ops::Range<u32>) -> String {
    range
        .map(|number| says("s", &format!("e-{number}"), "word ".repeat(20).trim()))
        .collect()
}

/// The events of a stream that was printed as JSON.
fn events(frames: &str) -> Vec<Value> {
    let frames = jsons(frames);
    let events = frames.iter().filter_map(|frame| frame["events"]["events"].as_array());
    events.flatten().cloned().collect()
}

/// The ids of the events that a test has published; the hub writes some of its own.
fn ids(events: &[Value]) -> Vec<&str> {
    let ids = events.iter().map(|event| event["eventId"].as_str().unwrap());
    ids.filter(|id| id.starts_with("e-")).collect()
}

/// Opens the session that most tests speak in, so that the log holds what they say from here on.
async fn open_session(data: &DataDir) {
    printed(
        data,
        "publish",
        r#"{"session":{"sessionId":"s"},"event":{"sessionOpened":{}}}"#,
    )
    .await;
}

const ALL_NOW: &str = "tail --json --from-start --exit-when-caught-up";

/// Sends a signal and waits for the end.
async fn signalled(child: &mut Child, signal: &str) -> Option<i32> {
    let id = child.id().unwrap().to_string();
    let sent = Command::new("kill")
        .args([format!("-{signal}").as_str(), &id])
        .status()
        .await
        .unwrap();
    assert!(sent.success());
    within("the command to end after a signal", child.wait())
        .await
        .unwrap()
        .code()
}

#[tokio::test]
async fn what_is_published_is_tailed_listed_and_kept() {
    let data = DataDir::new();
    let _hub = data.start().await;
    let opened = r#"{"session":{"key":{"vendor":"opencode","project":"/p","nativeId":"n"}},"event":{"sessionOpened":{"facts":{"title":"Fix it"}}}}"#;
    let input = format!("{opened}\n\n{}{}", says("s", "e-1", "one"), says("s", "e-2", "two"));
    assert_eq!(printed(&data, "publish", &input).await, "3 stored\n");

    let tailed = events(&printed(&data, ALL_NOW, "").await);
    let kept = jsons(&printed(&data, "history --json", "").await);
    assert_eq!(tailed, kept, "a stream and the history are of one mind");
    let offsets: Vec<_> = kept
        .iter()
        .map(|event| event["offset"].as_str().unwrap_or("0"))
        .collect();
    let expected: Vec<_> = (0..kept.len()).map(|offset| offset.to_string()).collect();
    assert_eq!(offsets, expected, "64-bit numbers are strings");
    assert_eq!(ids(&kept), ["e-1", "e-2"]);
    let back = jsons(&printed(&data, "history --json --reverse --limit 2", "").await);
    assert_eq!(ids(&back), ["e-2", "e-1"]);
    assert_eq!(
        ids(&jsons(&printed(&data, "history s --family message --json", "").await)),
        ["e-1", "e-2"]
    );

    let table = printed(&data, "sessions", "").await;
    assert!(
        table.starts_with("SESSION") && table.contains("Fix it") && table.contains("/p"),
        "{table}"
    );
    assert_eq!(
        jsons(&printed(&data, "sessions --json --vendor opencode", "").await).len(),
        1
    );
    assert_eq!(jsons(&printed(&data, "sessions --json --limit 1", "").await).len(), 1);
    assert_eq!(printed(&data, "sessions --json --vendor nobody", "").await, "");
}
