//! `publish`, and `history` that can be published again.

use super::*;

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
