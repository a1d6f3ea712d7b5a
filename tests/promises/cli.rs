//! The commands, as a person or a script runs them: the real program, its output, its exit code.

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

#[tokio::test]
async fn a_resume_file_goes_on_exactly_after_the_last_line() {
    let data = DataDir::new();
    let _hub = data.start().await;
    let place = data.path().join("place");
    let place = place.display();
    open_session(&data).await;
    assert_eq!(printed(&data, "publish", &many(0..1_100)).await, "1,100 stored\n");
    // More than a page, and not a number of whole pages.
    let listed = jsons(&printed(&data, &format!("history --json --limit 1050 --resume-file {place}"), "").await);
    assert_eq!((listed.len(), ids(&listed).last()), (1_050, Some(&"e-1048")));
    let tail = format!("tail --json --exit-when-caught-up --resume-file {place}");
    let rest = printed(&data, &tail, "").await;
    let expected: Vec<_> = (1_049..1_100).map(|number| format!("e-{number}")).collect();
    assert_eq!(ids(&events(&rest)), expected);
    assert_eq!(jsons(&rest)[0]["subscribed"]["answer"], "ANSWER_RESUMED");

    printed(&data, "publish", &many(1_100..1_103)).await;
    assert_eq!(
        ids(&events(&printed(&data, &tail, "").await)),
        ["e-1100", "e-1101", "e-1102"]
    );
    assert_eq!(events(&printed(&data, &tail, "").await), Vec::<Value>::new());
    // Backwards, it goes on after the log as it was when the listing began.
    printed(
        &data,
        &format!("history --json --reverse --limit 1 --resume-file {place}"),
        "",
    )
    .await;
    printed(&data, "publish", &many(1_103..1_104)).await;
    assert_eq!(ids(&events(&printed(&data, &tail, "").await)), ["e-1103"]);
}

#[tokio::test]
async fn a_tail_that_is_cut_anywhere_goes_on_without_a_gap() {
    let data = DataDir::new();
    let _hub = data.start().await;
    printed(&data, "publish", &many(0..50)).await;
    let typed = format!(
        "tail --json --from-start --resume-file {}",
        data.path().join("place").display()
    );
    let mut seen: Vec<u32> = Vec::new();
    let mut see = |lines: &str| {
        let events = events(lines);
        seen.extend(ids(&events).iter().map(|id| id[2..].parse::<u32>().unwrap()));
    };
    // `subscribed`, events, `caught_up`: it dies without a word after each of them.
    for round in 1..=6 {
        printed(&data, "publish", &many(50 * round..50 * (round + 1))).await;
        let mut child = bellboard(&data, &typed).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..1 + round % 3 {
            see(&within("a frame", lines.next_line()).await.unwrap().unwrap());
        }
        child.start_kill().unwrap();
        within("the killed tail to end", child.wait()).await.unwrap();
    }
    see(&printed(&data, &format!("{typed} --exit-when-caught-up"), "").await);
    // The frame that was printed and not yet saved when it died may come again; nothing is skipped.
    assert_eq!(seen.first(), Some(&0));
    assert_eq!(seen.last(), Some(&349));
    assert!(seen.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{seen:?}");
}

#[tokio::test]
async fn a_place_is_kept_only_of_what_the_output_took() {
    let data = DataDir::new();
    let _hub = data.start().await;
    printed(&data, "publish", &many(0..3)).await;
    let place = data.path().join("place");
    let typed = format!(
        "tail --json --from-start --exit-when-caught-up --resume-file {}",
        place.display()
    );
    let mut full = bellboard(&data, &typed);
    full.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let (status, said) = code(full, "").await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("cannot write to standard output"), "{said}");
    assert!(!place.exists(), "nothing was printed, so there is no place");
    assert_eq!(ids(&events(&printed(&data, &typed, "").await)), ["e-0", "e-1", "e-2"]);
}

#[tokio::test]
async fn on_a_terminal_text_grows_while_it_is_written() {
    let data = DataDir::new();
    let hub = data.start().await;
    open_session(&data).await;
    // A terminal of its own, which passes on what it shows.
    let mut command = Command::new("python3");
    command
        .args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"])
        .arg(binary());
    command
        .args(["tail", "--last", "0"])
        .env("BELLBOARD_DATA_DIR", data.path())
        .env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("python3, for a terminal");
    let mut shown = Shown {
        screen: child.stdout.take().unwrap(),
        bytes: Vec::new(),
    };
    shown.until("live from").await;

    let options = bellboard_sdk::Options::at(&hub.url).with_key(hub.key());
    let client = bellboard_sdk::Client::connect(options).unwrap();
    let writer = bellboard_sdk::Writer::open(&client, bellboard_sdk::WriterOptions::new("w"))
        .await
        .unwrap();
    let append = |line: &str| -> v1::EventAppend { on("s").with(payload(line)).item("m").0 };
    writer.append(append("started")).await.unwrap().await.unwrap();
    writer.delta(growing(0, "Hel"));
    shown.until("│ Hel").await;
    writer.delta(growing(3, "lo\u{1b}[2J"));
    shown.until("│ Hello␛[2J").await;
    writer.append(append("Hello\u{1b}[2J")).await.unwrap().await.unwrap();
    shown.until("message.completed     (as above)").await;
    assert_eq!(
        shown.text().matches("Hello").count(),
        1,
        "it is not said twice: {}",
        shown.text()
    );
    writer.close().await.unwrap();
    child.start_kill().unwrap();
}

/// What a terminal has shown so far.
struct Shown {
    screen: tokio::process::ChildStdout,
    bytes: Vec<u8>,
}

impl Shown {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    async fn until(&mut self, wanted: &str) {
        while !self.text().contains(wanted) {
            let length = within(wanted, self.screen.read_buf(&mut self.bytes)).await.unwrap();
            assert_ne!(length, 0, "the terminal ended before {wanted:?}: {}", self.text());
        }
    }
}

fn payload(text: &str) -> Payload {
    let role = v1::MessageRole::Agent.into();
    if text == "started" {
        return Payload::MessageStarted(v1::MessageStarted {
            role,
            ..v1::MessageStarted::default()
        });
    }
    let text = v1::LongText {
        text: text.into(),
        ..v1::LongText::default()
    };
    let part = v1::ContentPart {
        part: Some(v1::content_part::Part::Text(text)),
    };
    Payload::MessageCompleted(v1::MessageCompleted {
        role,
        content: vec![part],
        ..v1::MessageCompleted::default()
    })
}

fn growing(at: u64, text: &str) -> v1::DeltaAppend {
    let fragment = Some(v1::delta::Fragment::MessageText(text.into()));
    let delta = v1::Delta {
        item_id: "m".into(),
        at,
        fragment,
        ..v1::Delta::default()
    };
    v1::DeltaAppend {
        session: Some(by_id("s")),
        delta: Some(delta),
    }
}

#[tokio::test]
async fn a_broken_pipe_is_no_error() {
    let data = DataDir::new();
    let _hub = data.start().await;
    // More than a pipe holds.
    printed(&data, "publish", &many(0..1_000)).await;
    for typed in [
        "history --json",
        "history",
        "tail --json --from-start",
        "tail --from-start",
    ] {
        let mut child = bellboard(&data, typed).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        within("a line", lines.next_line()).await.unwrap().unwrap();
        drop(lines);
        let output = within("the command to end", child.wait_with_output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{typed}: {said}");
        assert!(!said.contains("error"), "{typed}: {said}");
    }
}

#[tokio::test]
async fn colours_are_only_where_they_are_wanted_and_agents_make_none() {
    let data = DataDir::new();
    let _hub = data.start().await;
    printed(
        &data,
        "publish",
        &says("s", "e-1", "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\nnext"),
    )
    .await;
    for typed in ["history", "tail --exit-when-caught-up", "sessions"] {
        assert!(
            !printed(&data, typed, "").await.contains('\u{1b}'),
            "{typed}: a pipe is not coloured"
        );
        let mut forced = bellboard(&data, typed);
        forced.env("CLICOLOR_FORCE", "1");
        let text = String::from_utf8(run(forced, "").await.stdout).unwrap();
        assert!(text.contains('\u{1b}'), "{typed}: colours can be had");
        let mut forbidden = bellboard(&data, typed);
        forbidden.env("NO_COLOR", "1");
        assert!(
            !String::from_utf8(run(forbidden, "").await.stdout)
                .unwrap()
                .contains('\u{1b}'),
            "{typed}: NO_COLOR"
        );
        // What is left after our own colours is plain text.
        for sequence in ["\u{1b}[31mred", "\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"] {
            assert!(!text.contains(sequence), "{typed}: {text:?}");
        }
    }
    let line = printed(&data, "history", "").await;
    assert!(
        line.contains("agent: ␛[31mred␛]0;title␇\u{fffd}2J\u{fffd} next"),
        "{line}"
    );
}

#[tokio::test]
async fn every_exit_code_means_what_the_help_says() {
    let data = DataDir::new();
    let (status, said) = code(bellboard(&data, "sessions"), "").await;
    assert_eq!(status, 4, "no hub ever ran here, so there is no key: {said}");
    assert!(
        said.contains("`bellboard serve`") && said.lines().count() == 1,
        "{said}"
    );
    let hub = data.start().await;
    let key = hub.key();
    let with_key = |typed: &str, key: &str| {
        let mut command = bellboard(&data, typed);
        command.env("BELLBOARD_KEY", key);
        command
    };
    for (command, expected) in [
        (bellboard(&data, "sessions"), 0),
        (bellboard(&data, "sessions --no-such-flag"), 2),
        (bellboard(&data, "tail --last 3 --from-start"), 2),
        (bellboard(&data, "history an/id/with\u{a0}blank"), 2),
        (bellboard(&data, "publish /no/such/file"), 2),
        (bellboard(&data, "sessions --url 127.0.0.1"), 2),
        (with_key("sessions", &key), 0),
        (with_key("sessions", "bb_nobody_0000"), 4),
        (bellboard(&data, "sessions --url http://192.0.2.1:1"), 4),
    ] {
        let words = format!("{command:?}");
        let (status, said) = code(command, "").await;
        assert_eq!(status, expected, "{words}: {said}");
        assert!(status == 0 || said.contains("error:"), "{words}: {said}");
        assert!(
            !said.contains("Error {") && !said.contains("backtrace"),
            "{words}: {said}"
        );
    }
    let (status, said) = code(bellboard(&data, "publish"), "{}\n").await;
    assert_eq!(status, 1, "{said}");
    let reader = printed(&data, "key create --principal reader", "").await;
    let (status, said) = code(with_key("publish", reader.trim()), &says("s", "e", "x")).await;
    assert_eq!(status, 4, "a key that may only read: {said}");
    let only_publishes = printed(&data, "key create --principal bot --scope publish", "").await;
    let (status, said) = code(with_key("publish", only_publishes.trim()), &says("s", "e", "x")).await;
    assert_eq!(status, 0, "a key that may only publish: {said}");
    hub.kill().await;
    for typed in [
        "sessions",
        "tail",
        "history",
        "publish",
        "publish --writer-id w",
        "connect opencode",
    ] {
        let mut command = bellboard(&data, typed);
        // Nobody listens there: a port below those that systems hand out.
        command.env("BELLBOARD_URL", "http://127.0.0.1:1");
        let (status, said) = code(command, &says("s", "e", "x")).await;
        assert_eq!(status, 3, "{typed}: {said}");
        assert!(
            said.contains("no hub answers at http://127.0.0.1:1; start one"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_bad_line_is_named_with_its_number_and_field() {
    let data = DataDir::new();
    let _hub = data.start().await;
    let wrong = r#"{"session":{"sessionId":"s"},"event":{"messageCompleted":{"content":[{"text":{"text":7}}]}}}"#;
    let reserved = r#"{"session":{"sessionId":"s"},"event":{"attentionRaised":{}}}"#;
    let input = format!(
        "{}\n{wrong}\n{reserved}\nnothing\n{}",
        says("s", "e-1", "one"),
        says("s", "e-2", "two")
    );
    let output = run(bellboard(&data, "publish --json --keep-going"), &input).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("line 3: field event.messageCompleted.content[0].text.text: "),
        "{said}"
    );
    assert!(
        lines[1].starts_with("line 4: rejected: ") && lines[1].ends_with("(PAYLOAD_RESERVED)"),
        "{said}"
    );
    assert!(
        lines[2].starts_with("line 5: ") && lines[2].contains("bellboard publish --help"),
        "{said}"
    );
    assert!(lines[3].starts_with("error: 3 of the lines"), "{said}");
    let results = jsons(&String::from_utf8(output.stdout).unwrap());
    let outcomes: Vec<_> = results.iter().map(|result| result.get("stored").is_some()).collect();
    assert_eq!(
        outcomes,
        [true, false, false, false, true],
        "a result for each line, in order"
    );

    let (status, said) = code(
        bellboard(&data, "publish"),
        &format!("{wrong}\n{}", says("s", "e-3", "three")),
    )
    .await;
    assert_eq!(status, 1, "{said}");
    let kept = jsons(&printed(&data, "history --json", "").await);
    assert_eq!(ids(&kept), ["e-1", "e-2"], "it stopped at the bad line");
}

#[tokio::test]
async fn a_writer_answers_every_line_in_its_order_and_stores_it_once() {
    let data = DataDir::new();
    let _hub = data.start().await;
    open_session(&data).await;
    let spool = data.path().join("spool");
    let typed = format!("publish --json --writer-id w --spool {}", spool.display());
    let results = jsons(&printed(&data, &typed, &many(0..500)).await);
    let offsets: Vec<_> = results
        .iter()
        .map(|result| result["stored"]["offset"].as_str().unwrap().parse::<u32>().unwrap())
        .collect();
    assert_eq!(offsets, (1..501).collect::<Vec<_>>());
    assert_eq!(ids(&jsons(&printed(&data, "history --json", "").await)).len(), 500);
}

#[tokio::test]
async fn what_was_published_before_is_told_and_stored_once() {
    let data = DataDir::new();
    let _hub = data.start().await;
    printed(&data, "publish", &many(0..3)).await;
    assert_eq!(
        printed(&data, "publish", &many(0..4)).await,
        "1 stored, 3 there before\n"
    );
    // With a writer the vendor's identity counts, not the id.
    let keyed = r#"{"session":{"sessionId":"s"},"event":{"turnStarted":{}},"dedupeKey":"turn-1"}"#;
    assert_eq!(printed(&data, "publish --writer-id w", keyed).await, "1 stored\n");
    assert_eq!(
        printed(&data, "publish --writer-id w", keyed).await,
        "0 stored, 1 there before\n"
    );
    assert_eq!(ids(&jsons(&printed(&data, "history --json", "").await)).len(), 4);
}

#[tokio::test]
async fn a_history_with_raw_bytes_can_be_published_to_another_hub() {
    let (from, to) = (DataDir::new(), DataDir::new());
    let (_one, _other) = (from.start().await, to.start().await);
    let raw = r#"{"session":{"sessionId":"s"},"event":{"eventId":"e-1","vendorRaw":{"vendor":"v","type":"t","content":"AP8="}},"raw":{"mediaType":"application/json","content":"e30="}}"#;
    open_session(&from).await;
    printed(&from, "publish", &format!("{raw}\n{}", says("s", "e-2", "two"))).await;
    let copy = printed(&from, "history --json --raw", "").await;
    assert_eq!(printed(&to, "publish", &copy).await, "3 stored\n");
    let copied = jsons(&printed(&to, "history --json --raw --family vendor", "").await);
    assert_eq!(
        copied[0]["raw"],
        json!({ "mediaType": "application/json", "content": "e30=" })
    );
    assert_eq!(copied[0]["event"]["vendorRaw"]["content"], "AP8=");
    let shown = printed(&to, "history --raw", "").await;
    assert!(shown.contains("│ raw application/json 2 B\n  │ {}\n"), "{shown}");
}

#[tokio::test]
async fn a_live_tail_shows_what_comes_and_ends_when_told() {
    let data = DataDir::new();
    let hub = data.start().await;
    open_session(&data).await;
    let mut child = bellboard(&data, "tail --last 0").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("the stream to be live", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    assert!(first.starts_with("── live from"), "{first}");
    printed(&data, "publish", &says("s", "e-1", "hello")).await;
    let line = within("the event", lines.next_line()).await.unwrap().unwrap();
    assert!(line.ends_with("agent: hello"), "{line}");
    assert_eq!(signalled(&mut child, "INT").await, Some(0), "Ctrl-C ends it well");

    let mut closing = bellboard(&data, "tail s --stop-when-closed --json").spawn().unwrap();
    let mut frames = BufReader::new(closing.stdout.take().unwrap()).lines();
    within("the stream to begin", frames.next_line())
        .await
        .unwrap()
        .unwrap();
    printed(
        &data,
        "publish",
        r#"{"session":{"sessionId":"s"},"event":{"sessionClosed":{"cause":"SESSION_CLOSE_CAUSE_USER"}}}"#,
    )
    .await;
    let mut last = String::new();
    while let Some(line) = within("the stream to end", frames.next_line()).await.unwrap() {
        last = line;
    }
    assert!(last.contains("CLOSING_REASON_COMPLETE"), "{last}");
    assert_eq!(within("the tail to end", closing.wait()).await.unwrap().code(), Some(0));

    // A hub that goes says so, and the tail waits for it.
    let mut waiting = bellboard(&data, "tail").spawn().unwrap();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    while !within("the stream to be live", lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .starts_with("── live")
    {}
    assert!(hub.terminate().await.success());
    let line = within("the closing", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line, "── the hub closes the stream (draining); dialling again");
    assert_eq!(signalled(&mut waiting, "TERM").await, Some(0));
}

#[tokio::test]
async fn an_interrupted_publish_tells_what_was_stored() {
    let data = DataDir::new();
    let _hub = data.start().await;
    for typed in ["publish --json", "publish --json --writer-id w"] {
        let mut child = bellboard(&data, typed).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all(says("s", &typed.replace("publish ", "e-").replace(' ', "_"), "x").as_bytes())
            .await
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the result while the input is open", lines.next_line())
            .await
            .unwrap()
            .unwrap();
        assert!(line.contains("stored"), "{line}");
        assert_eq!(signalled(&mut child, "INT").await, Some(1), "{typed}");
    }
    assert_eq!(ids(&jsons(&printed(&data, "history --json", "").await)).len(), 2);
}

#[tokio::test]
async fn a_connector_waits_for_its_agent_and_ends_when_told() {
    let data = DataDir::new();
    let _hub = data.start().await;
    for signal in ["INT", "TERM"] {
        // No agent there: it is dialled until it comes.
        let mut child = bellboard(&data, "connect opencode --url http://127.0.0.1:1")
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = within("a word", said.next_line()).await.unwrap().unwrap();
        assert_eq!(first, "following opencode at http://127.0.0.1:1; Ctrl-C ends it");
        assert_eq!(signalled(&mut child, signal).await, Some(0));
        assert!(
            data.path().join("connectors").is_dir(),
            "its state lies in the data folder"
        );
    }
}

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
