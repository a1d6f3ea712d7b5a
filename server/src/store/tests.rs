//! The promises suite on real files, and what only this store promises.

use std::path::Path;
use std::sync::Arc;

use bellboard_core::event::{DedupeKey, Families, Family, Kind};
use bellboard_core::id::TenantId;
use bellboard_core::interest::{Detail, Interest, Interests, Selector};
use bellboard_core::offset::{Offset, Time};
use bellboard_core::store::suite::{Chain, PlainEncode, Subject};
use bellboard_core::store::{self, Store};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tempfile::TempDir;

use super::{ApiKey, ApiKeys, Error, FILE_NAME, Options, Sqlite, Synchronous};

async fn open_with(data_dir: &Path, options: Options) -> Result<Sqlite, Error> {
    Sqlite::open(data_dir, Arc::new(PlainEncode), options).await
}

async fn open(data_dir: &Path) -> Sqlite {
    open_with(data_dir, Options::default()).await.unwrap()
}

async fn subject() -> Subject {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let again = Arc::clone(&directory);
    Subject {
        store: Arc::new(open(directory.path()).await),
        reopen: Some(Box::new(move || {
            let directory = Arc::clone(&again);
            Box::pin(async move { Arc::new(open(directory.path()).await) as Arc<dyn Store> })
        })),
        keep: Box::new(directory),
    }
}

bellboard_core::store_suite!(subject);

async fn fresh() -> (TempDir, Arc<Sqlite>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()).await);
    (directory, store)
}

fn tenant(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

fn api_key(id: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        hash: id.as_bytes().to_vec(),
        tenant: "t".to_owned(),
        principal: "me".to_owned(),
        scopes: vec!["read".to_owned(), "publish".to_owned()],
        label: "laptop".to_owned(),
        created: Time(1),
        expires: Some(Time(2)),
        revoked: None,
    }
}

/// The first column of the first row, as text.
async fn asked(connection: &DatabaseConnection, sql: &str) -> Result<String, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?.unwrap();
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number.to_string()))
}

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

#[tokio::test]
async fn a_key_is_added_beside_a_running_server_and_seen_by_it() {
    let (directory, store) = fresh().await;
    let log = store.open_log(&tenant("t")).await.unwrap();
    let beside = ApiKeys::open(directory.path()).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    transaction.lock(log.key).await.unwrap();
    let mut added = Box::pin(beside.insert(api_key("a")));
    let still_waits = futures_util::poll!(&mut added).is_pending();
    assert!(still_waits, "the server's transaction is open");
    transaction.commit().await.unwrap();
    added.await.unwrap();
    assert_eq!(store.api_keys().all().await, Ok(vec![api_key("a")]));
}

#[tokio::test]
async fn keys_come_back_as_they_were_and_stay_revoked() {
    let (_directory, store) = fresh().await;
    let keys = store.api_keys();
    let everlasting = ApiKey {
        expires: None,
        scopes: vec![],
        label: String::new(),
        tenant: "other".to_owned(),
        created: Time(5),
        ..api_key("b")
    };
    keys.insert(everlasting.clone()).await.unwrap();
    keys.insert(api_key("a")).await.unwrap();
    assert_eq!(keys.all().await, Ok(vec![api_key("a"), everlasting.clone()]));
    assert_eq!(keys.list("other").await, Ok(vec![everlasting.clone()]));
    assert_eq!(keys.find("b").await, Ok(Some(everlasting.clone())));
    assert_eq!(keys.find_by_hash(b"b").await, Ok(Some(everlasting)));
    assert_eq!(keys.find("c").await, Ok(None));
    for wrong in [
        api_key("a"),
        ApiKey {
            id: "another".to_owned(),
            ..api_key("a")
        },
    ] {
        let answer = keys.insert(wrong).await;
        assert!(matches!(answer, Err(store::Error::Constraint(_))), "{answer:?}");
    }
    assert_eq!(keys.revoke("a", Time(7)).await, Ok(true));
    assert_eq!(keys.revoke("a", Time(8)).await, Ok(false), "it keeps its first time");
    assert_eq!(keys.revoke("none", Time(8)).await, Ok(false));
    assert_eq!(keys.find("a").await.unwrap().unwrap().revoked, Some(Time(7)));
}

#[tokio::test]
async fn nothing_of_a_transaction_is_kept_once_a_step_of_it_failed() {
    let (_directory, store) = fresh().await;
    let store: Arc<dyn Store> = store;
    let mut chain = Chain::on(&store, "t").await;
    chain.event("a", Kind(20));
    let mut transaction = store.begin().await.unwrap();
    let mut wrong = chain.log.clone();
    wrong.tail = Offset(7);
    assert!(transaction.write(&wrong, chain.pending()).await.is_err());
    let after = transaction.write(&chain.log, chain.pending()).await;
    assert!(matches!(after, Err(store::Error::Unavailable(_))), "{after:?}");
    assert!(transaction.commit().await.is_err());
    assert_eq!(store.open_log(&chain.log.tenant).await.unwrap().tail, Offset(0));
    chain.commit().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let (_directory, store) = fresh().await;
    let [writer, _] = store.connections();
    let pages = asked(writer, "PRAGMA page_count").await.unwrap();
    let limit = async |pages: &str| {
        asked(writer, &format!("PRAGMA max_page_count = {pages}"))
            .await
            .unwrap()
    };
    let sqlite: Arc<dyn Store> = store.clone();
    let mut chain = Chain::on(&sqlite, "t").await;
    chain.event("a", Kind(20));
    chain.commit().await;
    limit(&pages).await;
    let mut large = chain.clone();
    large.event_of("a", Kind(70), &[0; 200_000]);
    assert_eq!(large.try_commit().await, Err(store::Error::Full));
    assert_eq!(
        store.open_log(&chain.log.tenant).await.unwrap().tail,
        Offset(1),
        "reads go on"
    );
    limit("1000000").await;
    chain.event("a", Kind(70));
    chain.commit().await;
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_itself_does_not_block_the_next() {
    let (_directory, store) = fresh().await;
    let [writer, _] = store.connections();
    let transaction = super::sqlite::begin_immediate(writer).await.unwrap();
    // As a failing disk does it: behind the back of whoever counts transactions.
    transaction.execute_unprepared("ROLLBACK").await.unwrap();
    drop(transaction);
    let again = store.begin().await.unwrap();
    again.commit().await.unwrap();
}

/// How the database goes about a statement.
async fn plan(connection: &DatabaseConnection, select: &sea_orm::sea_query::SelectStatement) -> String {
    let mut statement = connection.get_database_backend().build(select);
    statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
    let rows = connection.query_all_raw(statement).await.unwrap();
    let details = rows.iter().map(|row| row.try_get_by_index::<String>(3).unwrap());
    details.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_read_passes_more_of_the_log_than_it_was_told_to() {
    use super::wanted::{Wanted, wanted};
    let (_directory, store) = fresh().await;
    let sqlite: Arc<dyn Store> = store.clone();
    let mut chain = Chain::on(&sqlite, "t").await;
    chain.event("a", Kind(20)).dedupe = Some(DedupeKey([0; 16]));
    chain.event("b", Kind(20));
    chain.commit().await;
    let [_, readers] = store.connections();
    let id = |text| bellboard_core::id::SessionId::parse(text).unwrap();
    let asks = Families::NONE.with(Family::Ask);
    for (selectors, by) in [
        (
            vec![Selector::Project("/p".into()), Selector::Vendor("v".into())],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Subtree(id("a"))],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Session(id("a")), Selector::All],
            "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            vec![Selector::Session(id("a")), Selector::Session(id("b"))],
            "INDEX events_by_session (session=? AND rowid>? AND rowid<?)",
        ),
    ] {
        let interests = selectors.into_iter().map(|selector| Interest {
            families: asks,
            ..Interest::new(selector, Detail::Content)
        });
        let interests = Interests::new(interests.collect()).unwrap();
        let wanted: Wanted = wanted(readers, chain.log.key, &interests).await.unwrap();
        let range = super::place::Range {
            log: chain.log.key,
            from: Offset(0),
            until: Offset(2),
        };
        let select = super::read::rows_of(&wanted, range, super::place::Direction::Forward, 9).unwrap();
        let plan = plan(readers, &select).await;
        assert!(plan.contains(by), "{plan}");
        assert!(
            !plan.contains("SCAN events") && !plan.contains("SCAN sessions"),
            "{plan}"
        );
        assert!(!plan.contains("SCAN session_ancestors"), "{plan}");
    }
}
