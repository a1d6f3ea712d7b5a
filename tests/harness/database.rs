//! A hub's database, looked at from outside while no hub runs on it.

use std::path::Path;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};
use tokio::process::Command;

use crate::process::binary;
use crate::within;

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

/// Changes rows behind the hub's back.
///
/// # Panics
/// When no row is changed.
pub async fn change(data: &Path, statement: &str) {
    let database = open(data).await;
    let changed = database.execute_unprepared(statement).await.expect("a statement");
    assert!(changed.rows_affected() > 0, "nothing is changed by {statement}");
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

/// Runs `bellboard verify`, which computes every link of every log anew from the stored bytes, beside a hub or without one. Returns how
/// many events there are.
///
/// # Panics
/// When something is damaged.
pub async fn verify_links(data: &Path) -> u64 {
    let mut command = Command::new(binary());
    command.args(["verify", "--json", "--data-dir"]).arg(data);
    let output = within("the command to end", command.output())
        .await
        .expect("the program");
    let (told, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{told}");
    let events = |line: &str| {
        let log: serde_json::Value = serde_json::from_str(line).expect("JSON");
        log["events"].as_u64().expect("a number of events")
    };
    told.lines().map(events).sum()
}

/// Changes one byte of the database's file, within the first place where these bytes stand in it.
///
/// # Panics
/// When they do not stand there.
pub fn flip_a_byte_of(file: &Path, text: &str) {
    let mut bytes = std::fs::read(file).expect("the database's file");
    let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let at = found.unwrap_or_else(|| panic!("{text:?} does not stand in {}", file.display()));
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("the database's file");
}

async fn open(data: &Path) -> DatabaseConnection {
    let settings = std::fs::read_to_string(data.join("bellboard.toml")).unwrap_or_default();
    let url = settings.lines().find_map(|line| line.strip_prefix("database_url = "));
    let url = url.map_or_else(
        || format!("sqlite://{}", data.join("bellboard.db").display()),
        |url| url.trim_matches('"').to_owned(),
    );
    Database::connect(url).await.expect("the hub's database")
}

async fn rows(database: &DatabaseConnection, query: &str) -> Vec<QueryResult> {
    let statement = Statement::from_string(database.get_database_backend(), query);
    database.query_all_raw(statement).await.expect("rows of the hub")
}
