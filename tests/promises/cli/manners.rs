//! How a program behaves among others: pipes, colours, exit codes, signals.

use super::*;

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
