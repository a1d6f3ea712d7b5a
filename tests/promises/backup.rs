//! A log that was set back is told so, by whatever means it was set back: never a silent wait, never another history's continuation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use bellboard_proto::v1::{self, Answer, ResetReason};
use bellboard_tests::client::Client;
use bellboard_tests::database::{flip_a_byte_of, verify_links};
use bellboard_tests::events::{all, on, resume, text};
use bellboard_tests::landed;
use bellboard_tests::postgres::is_sqlites_own;
use bellboard_tests::process::{DataDir, binary, cli};
use bellboard_tests::within;
use tokio::process::Command;

use crate::reset::{expect_reset, token};

/// Runs a command on a folder. Its exit code, what it printed and what it said.
async fn run(data: &Path, typed: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command.args(typed).env("BELLBOARD_DATA_DIR", data).stdin(Stdio::null());
    let output = within("the command to end", command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same, where it must end well.
async fn done(data: &Path, typed: &[&str]) -> String {
    let (code, told, said) = run(data, typed).await;
    assert_eq!(code, Some(0), "{typed:?}: {said}");
    told
}

/// Appends so many messages to one session, whose opening is counted as well where it is new.
async fn say(client: &Client, what: &str, count: usize) {
    client
        .append(
            (0..count)
                .map(|number| on("s").says(&format!("{what} {number}")))
                .collect(),
        )
        .await;
}

fn wanted() -> Vec<v1::Interest> {
    vec![all(v1::Detail::Content)]
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every file of a folder, as somebody copies it by hand.
fn copy_all(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn p_16_a_restored_log_resets_every_resume_token_from_before() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let (data, restored) = (DataDir::new(), DataDir::new());
    let file = restored.path().join("backup.db");
    let hub = data.start().await;
    let client = hub.client();
    say(&client, "kept", 99).await;
    let at_100 = token(&client, &wanted()).await;
    // While the hub runs, and goes on.
    assert_eq!(
        done(data.path(), &["backup", name(&file)]).await,
        format!("{}\n", file.display())
    );
    say(&client, "lost", 50).await;
    let at_150 = token(&client, &wanted()).await;
    hub.terminate().await;

    let folder = restored.path().join("data");
    let told = done(&folder, &["restore", name(&file)]).await;
    assert!(told.starts_with("default: 100 events, epoch "), "{told}");
    let restored = DataDir::at(folder);
    let hub = restored.start().await;
    let client = hub.client();
    let history = client.history(wanted()).await;
    assert_eq!((history.len(), text(&history[99]).as_str()), (100, "kept 98"));
    for token in [&at_100, &at_150] {
        expect_reset(
            client.subscribe(resume(token, wanted())).await,
            ResetReason::EpochChanged,
        )
        .await;
    }
    say(&client, "after", 60).await;
    for token in [&at_100, &at_150] {
        expect_reset(
            client.subscribe(resume(token, wanted())).await,
            ResetReason::EpochChanged,
        )
        .await;
    }
    let new = token(&client, &wanted()).await;
    hub.kill().await;
    let hub = restored.start().await;
    let mut stream = hub.client().subscribe(resume(&new, wanted())).await;
    assert_eq!(
        stream.subscribed().await.answer(),
        Answer::Resumed,
        "the new history is as good as any"
    );
    hub.terminate().await;
    assert_eq!(verify_links(restored.path()).await, 160);
}

#[tokio::test]
async fn p_10_a_file_that_was_put_back_by_hand_is_told_by_tail_and_by_links() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let (data, copy) = (DataDir::new(), DataDir::new());
    let hub = data.start().await;
    say(&hub.client(), "kept", 99).await;
    let at_100 = token(&hub.client(), &wanted()).await;
    hub.terminate().await;
    copy_all(data.path(), copy.path());
    let hub = data.start().await;
    say(&hub.client(), "lost", 50).await;
    let at_150 = token(&hub.client(), &wanted()).await;
    hub.terminate().await;

    let hub = copy.start().await;
    let client = hub.client();
    expect_reset(
        client.subscribe(resume(&at_150, wanted())).await,
        ResetReason::ResumeTokenAhead,
    )
    .await;
    say(&client, "another", 50).await;
    let reset = client.subscribe(resume(&at_150, wanted())).await;
    expect_reset(reset, ResetReason::HistoryChanged).await;
    say(&client, "longer", 10).await;
    let reset = client.subscribe(resume(&at_150, wanted())).await;
    expect_reset(reset, ResetReason::HistoryChanged).await;
    let mut stream = client.subscribe(resume(&at_100, wanted())).await;
    assert_eq!(
        stream.subscribed().await.answer(),
        Answer::Resumed,
        "what it has seen is still true"
    );
    assert_eq!(stream.caught_up().await.len(), 60);
    hub.terminate().await;

    // Whoever knows of it says so, and then nobody has to rely on that.
    assert!(
        done(copy.path(), &["new-epoch"])
            .await
            .starts_with("default: 160 events, epoch ")
    );
    let hub = copy.start().await;
    let reset = hub.client().subscribe(resume(&at_100, wanted())).await;
    expect_reset(reset, ResetReason::EpochChanged).await;
    hub.terminate().await;
    assert_eq!(verify_links(copy.path()).await, 160);
}

#[tokio::test]
async fn a_backup_is_whole_while_others_write() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let data = DataDir::new();
    let hub = data.start().await;
    let client = hub.client();
    // From here on there is a log to be verified.
    say(&client, "first", 1).await;
    let writer = tokio::spawn({
        let client = client.clone();
        async move {
            for number in 0..300 {
                client
                    .append(vec![
                        on("s").says(&number.to_string()).raw(b"raw"),
                        on("t").says(&number.to_string()),
                    ])
                    .await;
            }
        }
    });
    let mut lengths = Vec::new();
    while !writer.is_finished() {
        let told = done(data.path(), &["backup", name(data.path())]).await;
        let file = Path::new(told.trim());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let told = done(data.path(), &["verify", name(file)]).await;
        let log: Vec<&str> = told.split(' ').collect();
        lengths.push(log[1].replace(',', "").parse::<u64>().unwrap());
        fs::remove_file(file).unwrap();
    }
    within("the writer to end", writer).await.unwrap();
    assert!(lengths.is_sorted() && lengths.len() > 1, "{lengths:?}");
    let left = fs::read_dir(data.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let odd: Vec<String> = left
        .filter(|name| name.contains("partial") || name.contains("bellboard-"))
        .collect();
    assert_eq!(odd, Vec::<String>::new(), "nothing is left behind");
}

#[tokio::test]
async fn nothing_is_written_over_that_was_not_named() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let (data, other) = (DataDir::new(), DataDir::new());
    let hub = data.start().await;
    say(&hub.client(), "kept", 9).await;
    let file = other.path().join("backup.db");
    done(data.path(), &["backup", name(&file)]).await;
    let whole = fs::read(&file).unwrap();
    let (code, _, said) = run(data.path(), &["backup", name(&file)]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is there already"), "{said}");
    assert!(fs::read(&file).unwrap() == whole);

    let (code, _, said) = run(data.path(), &["restore", name(&file), "--replace"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("a server already runs"), "{said}");
    let (code, _, said) = run(data.path(), &["new-epoch"]).await;
    assert_eq!(code, Some(3), "{said}");
    say(&hub.client(), "lost", 5).await;
    let old = token(&hub.client(), &wanted()).await;
    hub.kill().await;
    let (code, _, said) = run(data.path(), &["restore", name(&file)]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--replace"), "{said}");
    assert_eq!(verify_links(data.path()).await, 15, "nothing was touched");

    done(data.path(), &["restore", name(&file), "--replace"]).await;
    assert_eq!(verify_links(data.path()).await, 10);
    let replaced = data.path().join("bellboard.db.replaced");
    assert!(
        done(data.path(), &["verify", name(&replaced)])
            .await
            .contains(" 15 events "),
        "it is kept"
    );
    let (code, _, said) = run(data.path(), &["restore", name(&file), "--replace"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(fs::read(&file).unwrap() == whole, "the backup is only read");
    let hub = data.start().await;
    let reset = hub.client().subscribe(resume(&old, wanted())).await;
    expect_reset(reset, ResetReason::EpochChanged).await;
}

#[tokio::test]
async fn what_is_no_whole_backup_is_not_restored() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    let (data, other) = (DataDir::new(), DataDir::new());
    let hub = data.start().await;
    say(&hub.client(), "this is the one", 9).await;
    hub.terminate().await;
    let file = other.path().join("backup.db");
    done(data.path(), &["backup", name(&file)]).await;
    flip_a_byte_of(&file, "this is the one 4");
    let nothing = other.path().join("no.db");
    fs::write(&nothing, "no database ".repeat(1000)).unwrap();
    let folder = other.path().join("data");
    for (backup, expected) in [(&file, 6), (&nothing, 6), (&other.path().join("missing.db"), 5)] {
        let (code, _, said) = run(&folder, &["restore", name(backup)]).await;
        assert_eq!(code, Some(expected), "{}: {said}", backup.display());
        assert!(
            !folder.join("bellboard.db").exists() && !folder.join("restoring").exists(),
            "{said}"
        );
    }
    let (code, _, said) = run(&folder, &["backup", name(&nothing)]).await;
    assert_eq!(code, Some(5), "{said}");
}

#[tokio::test]
async fn folders_of_every_landed_state_can_be_backed_up_as_they_are_and_restored() {
    if is_sqlites_own("it has its own tools for backups") {
        return;
    }
    for landed in landed::all() {
        let (data, other) = (DataDir::new(), DataDir::new());
        landed::copy(&landed, data.path());
        let file = other.path().join("backup.db");
        done(data.path(), &["backup", name(&file)]).await;
        let folder = other.path().join("data");
        done(&folder, &["restore", name(&file)]).await;
        let state = landed::state(&landed);
        let events: usize = state["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tenant| tenant["seen"]["history"].as_array().unwrap().len())
            .sum();
        assert_eq!(verify_links(&folder).await, events as u64, "{}", landed.display());
        let restored = DataDir::at(folder);
        let hub = restored.start().await;
        let tenant = &state["tenants"][1];
        let client = Client::new(&hub.url, tenant["key"].as_str());
        let old = tenant["resume"]["token"].as_str().unwrap();
        expect_reset(client.subscribe(resume(old, wanted())).await, ResetReason::EpochChanged).await;
        let keys = cli(&restored, &["key", "list"]).await;
        let local: Vec<&str> = keys.lines().filter(|line| line.contains(" local ")).collect();
        assert_eq!(
            local.len(),
            2,
            "the machine's own key is made anew, and the one in the backup revoked: {keys}"
        );
        assert_eq!(
            local.iter().filter(|line| line.contains("revoked")).count(),
            1,
            "{keys}"
        );
    }
}
