//! A spool on disk outlives its process.

use bellboard_sdk::{Error, Spool, Writer, WriterOptions};

use crate::hub::Hub;
use crate::writer::{accept, acknowledge, append, entries, open, stored};

fn options(dir: &tempfile::TempDir) -> WriterOptions {
    WriterOptions::new("w").with_spool(Spool::on_disk(dir.path().join("spool")))
}

#[tokio::test]
async fn what_a_dead_process_had_taken_is_sent_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start().await;
    let writer = open(&mut hub, options(&dir), 0).await;
    for name in ["a", "b", "c"] {
        writer.append(append(name)).await.unwrap();
    }
    // The hub answers nothing, and the process dies.
    let silent = accept(&mut hub, 0).await;
    drop((writer, silent));

    // It had consumed a, whose answer nobody heard.
    let writer = open(&mut hub, options(&dir), 1).await;
    let recovered = writer.recovered();
    assert_eq!(
        (recovered.acknowledged, recovered.resent, recovered.torn_bytes),
        (1, 2, 0)
    );
    writer.append(append("d")).await.unwrap();
    let mut stream = accept(&mut hub, 1).await;
    assert_eq!(entries(&mut stream, 3).await, ["2:b", "3:c", "4:d"]);
    acknowledge(&stream, [(2, stored(1)), (3, stored(2)), (4, stored(3))]).await;
    writer.flush().await.unwrap();
    drop(writer);

    let writer = open(&mut hub, options(&dir), 4).await;
    assert_eq!(writer.recovered().resent, 0);
}

#[tokio::test]
async fn two_writers_cannot_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start().await;
    let _writer = open(&mut hub, options(&dir), 0).await;
    let client = hub.client();
    let error = Writer::open(&client, options(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::Spool { .. }), "{error}");
}
