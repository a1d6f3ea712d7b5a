//! What opening promises: who may read the file, what a commit is worth, which databases are refused.

use bellboard_core::store::{self, Store};
use sea_orm::ConnectionTrait;

use super::super::{ApiKeys, Error, FILE_NAME, Options, Synchronous};
use super::api_keys::api_key;
use super::{asked, fresh, open_with, tenant};

#[tokio::test]
async fn a_commit_is_synced_unless_somebody_asked_for_less() {
    for (synchronous, number) in [
        (Synchronous::Full, "2"),
        (Synchronous::Normal, "1"),
        (Synchronous::Off, "0"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            synchronous,
            ..Options::default()
        };
        let store = open_with(directory.path(), options).await.unwrap();
        let [writer, _] = store.connections();
        assert_eq!(asked(writer, "PRAGMA synchronous").await.unwrap(), number);
    }
    let (_directory, store) = fresh().await;
    let [writer, readers] = store.connections();
    assert_eq!(asked(writer, "PRAGMA synchronous").await.unwrap(), "2");
    assert_eq!(asked(writer, "PRAGMA journal_mode").await.unwrap(), "wal");
    assert_eq!(asked(writer, "PRAGMA wal_autocheckpoint").await.unwrap(), "0");
    let written = readers.execute_unprepared("DELETE FROM logs").await;
    assert!(written.is_err(), "a reader cannot write");
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, store) = fresh().await;
    store.open_log(&tenant("t")).await.unwrap();
    for name in [FILE_NAME, "bellboard.db-wal", "bellboard.db-shm"] {
        let metadata = std::fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (directory, store) = fresh().await;
    let [writer, _] = store.connections();
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_unheard_of', 0)";
    writer.execute_unprepared(newer).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "a closed database is one file");
    let before = std::fs::read(directory.path().join(FILE_NAME)).unwrap();
    for refused in [
        open_with(directory.path(), Options::default()).await.unwrap_err(),
        ApiKeys::open(directory.path()).await.unwrap_err(),
    ] {
        assert!(
            matches!(&refused, Error::Newer(name) if name == "m9999_unheard_of"),
            "{refused:?}"
        );
    }
    assert!(before == std::fs::read(directory.path().join(FILE_NAME)).unwrap());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = open_with(&directory.path().join("none"), Options::default())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("none/bellboard.db"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), [b'x'; 8192]).unwrap();
    let refused = open_with(directory.path(), Options::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Store(store::Error::Corrupt(_))), "{refused:?}");
}

#[tokio::test]
async fn two_programs_that_open_a_new_database_at_once_both_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let opened = futures_util::future::join_all((0..4).map(|_| ApiKeys::open(directory.path()))).await;
    for (nth, keys) in opened.into_iter().enumerate() {
        keys.unwrap().insert(api_key(&nth.to_string())).await.unwrap();
    }
}
