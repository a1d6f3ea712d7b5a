//! A hub's database, looked at from outside while no hub runs on it.

use std::path::Path;

use bellboard_core::link::{Digest, Link, LinkKey};
use bellboard_core::offset::Epoch;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};

/// Empties the logs, and keeps the keys: a log is recreated when it is next opened.
pub async fn forget_logs(data: &Path) {
    let database = open(data).await;
    for table in [
        "raws",
        "dedupes",
        "events",
        "session_ancestors",
        "sessions",
        "writers",
        "logs",
    ] {
        let statement = format!("DELETE FROM {table}");
        database
            .execute_unprepared(&statement)
            .await
            .expect("a table of the hub");
    }
    database.close().await.expect("the database closes");
}

/// The newest change of the database's shape, by its name.
pub async fn newest_migration(data: &Path) -> String {
    let database = open(data).await;
    let newest = rows(&database, "SELECT max(version) AS version FROM seaql_migrations").await;
    let version = newest[0].try_get("", "version").expect("a name");
    database.close().await.expect("the database closes");
    version
}

/// Computes every link of every log anew, from the stored bytes. Returns how many events there are.
///
/// # Panics
/// When a link is not what it must be, or a place is missing: the log is broken there.
pub async fn verify_links(data: &Path) -> u64 {
    let database = open(data).await;
    let mut events = 0;
    for log in rows(
        &database,
        "SELECT key, epoch, link_key, tail, link, base_link FROM logs",
    )
    .await
    {
        let number = |column| log.try_get::<i64>("", column).expect("a number").cast_unsigned();
        let secret: Vec<u8> = log.try_get("", "link_key").expect("the links' secret");
        let key = LinkKey::new(&secret.try_into().expect("32 bytes"));
        let base: Option<i64> = log.try_get("", "base_link").expect("a link");
        let genesis = || key.genesis(Epoch(number("epoch")));
        let mut link = base.map_or_else(genesis, |link| Link(link.cast_unsigned()));
        let first = number("key") << 44;
        let places = format!(
            "WHERE place >= {first} AND place < {} ORDER BY place",
            first + (1 << 44)
        );
        let mut next = first;
        for event in rows(&database, &format!("SELECT place, link, stored FROM events {places}")).await {
            let place = event.try_get::<i64>("", "place").expect("a place").cast_unsigned();
            assert_eq!(place, next, "the log has a hole");
            let stored: Vec<u8> = event.try_get("", "stored").expect("the stored bytes");
            link = key.next(link, &Digest::of(&stored));
            let kept = event.try_get::<i64>("", "link").expect("a link").cast_unsigned();
            assert_eq!(kept, link.0, "the chain is broken at offset {}", place - first);
            next += 1;
        }
        assert_eq!(
            (next - first, link.0),
            (number("tail"), number("link")),
            "the log's row names another tail"
        );
        events += next - first;
    }
    database.close().await.expect("the database closes");
    events
}

async fn open(data: &Path) -> DatabaseConnection {
    let file = data.join("bellboard.db");
    Database::connect(format!("sqlite://{}", file.display()))
        .await
        .expect("the hub's database")
}

async fn rows(database: &DatabaseConnection, query: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(database.get_database_backend(), query);
    database.query_all_raw(statement).await.expect("rows of the hub")
}
