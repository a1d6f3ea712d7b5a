//! What is damaged is found, and told where.

use std::process::Stdio;

use bellboard_proto::v1;
use bellboard_tests::database::{flip_a_byte_of, verify_links};
use bellboard_tests::events::{all, on};
use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::{DataDir, binary};
use bellboard_tests::{landed, within};
use serde_json::{Value, json};
use tokio::process::Command;

/// Runs the command. Its exit code, and what it printed and said.
async fn verify(data: &DataDir, flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command
        .arg("verify")
        .args(flags)
        .env("BELLBOARD_DATA_DIR", data.path())
        .stdin(Stdio::null());
    let output = within("the command to end", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn hundred() -> Vec<bellboard_tests::events::Append> {
    let says = |number: u32| on(["a", "b"][number as usize % 2]).says(&format!("this is number {number:03}"));
    (0..100).map(says).collect()
}

#[tokio::test]
async fn one_changed_byte_of_a_stored_event_is_found_at_its_offset() {
    if is_sqlites_own("the byte is changed in a file") {
        return;
    }
    let data = DataDir::new();
    let hub = data.start().await;
    let offsets = hub.client().append(hundred()).await;
    hub.terminate().await;
    assert_eq!(verify_links(data.path()).await, 102);
    let (code, told, _) = verify(&data, &[]).await;
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "default: 102 events of 2 sessions in [0, 102): whole\n")
    );

    flip_a_byte_of(&data.path().join("bellboard.db"), "this is number 061");
    let (code, told, said) = verify(&data, &[]).await;
    assert_eq!(code, Some(6), "{told}{said}");
    assert!(
        told.contains(&format!("offset {}: the link is ", offsets[61])),
        "{told}"
    );
    assert!(said.contains("one place is damaged"), "{said}");
    let (code, told, _) = verify(&data, &["--json"]).await;
    assert_eq!(code, Some(6));
    let log: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&log["tenant"], &log["found"], &log["tail"]),
        (&json!("default"), &json!(1), &json!(102))
    );
    let finding = &log["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["offset"]),
        (&json!("link"), &json!(offsets[61]))
    );
    assert_ne!(finding["expected"], finding["found"]);
}

#[tokio::test]
async fn a_log_is_looked_at_while_it_grows() {
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    client.append(hundred()).await;
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..200 {
                client
                    .say(["a", "b", "new"][number % 3], &format!("while it looks {number}"))
                    .await;
            }
        }
    });
    let mut looks = Vec::new();
    while !writer.is_finished() {
        looks.push(verify_links(data.path()).await);
    }
    within("the writer to end", writer).await.unwrap();
    assert!(looks.is_sorted() && looks.len() > 1, "{looks:?}");
    let events = client.history(vec![all(v1::Detail::Content)]).await.len() as u64;
    assert_eq!(verify_links(data.path()).await, events);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_left_alone_and_told() {
    if is_sqlites_own("what is looked at is files") {
        return;
    }
    let data = DataDir::new();
    let (code, _, said) = verify(&data, &[]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("there is no database at "), "{said}");
    assert_eq!(
        std::fs::read_dir(data.path()).unwrap().count(),
        0,
        "nothing is made by looking"
    );

    let file = data.path().join("no.db");
    std::fs::write(&file, "this is no database ".repeat(100)).unwrap();
    let (code, _, said) = verify(&data, &[file.to_str().unwrap()]).await;
    assert_eq!(code, Some(6), "{said}");

    landed::copy(&landed::folder().join("m0001_log/closed"), data.path());
    let before = std::fs::read(data.path().join("bellboard.db")).unwrap();
    let (code, _, said) = verify(&data, &[]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("an older bellboard") && said.contains("`bellboard serve`"),
        "{said}"
    );
    assert!(
        std::fs::read(data.path().join("bellboard.db")).unwrap() == before,
        "it was changed"
    );
    data.start().await.terminate().await;
    assert!(verify_links(data.path()).await > 0);
}
