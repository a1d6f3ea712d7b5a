//! `tail`: what it shows, and where it goes on.

use super::*;

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
