//! Opening the SQLite file: who may read it, and what every connection is told.
//!
//! Believe this: with the default options the write-ahead log is synced at every commit (`synchronous = FULL`), before the commit
//! returns. Who writes: one connection, one transaction at a time, `BEGIN IMMEDIATE`. Who reads: a few read-only connections, which
//! never wait for the writer. Who moves the write-ahead log into the file: a third kind of connection, out of everybody's way.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bellboard_core::store;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{DatabaseConnection, SqlxSqliteConnector};

use super::super::checkpoint::Checkpointer;
use super::super::{error, migration};
use super::{Connections, Error, Options, Synchronous};

/// The database's name in the data folder.
pub const FILE_NAME: &str = "bellboard.db";

/// How long a statement waits for another process that writes (`bellboard key` beside a server): its transactions take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read or a transaction waits for its connection. Longer than [`BUSY_TIMEOUT`], so that the cause is told, not the symptom.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often, and how long apart, a program tries to open a database that another one is just making: the change to a write-ahead log
/// does not wait by itself. Together as long as [`BUSY_TIMEOUT`].
const OPEN_TRIES_MAX: u32 = 200;
/// See [`OPEN_TRIES_MAX`].
const OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// How many reads may go on at once, where nobody says.
const READERS: u32 = 3;

/// Pages that a connection keeps, in KiB: the tail of each table and the upper levels of the trees. The rest is the system's cache.
const PAGE_CACHE_KIB: u32 = 8 * 1024;

/// Prepared statements that a connection keeps. The writer knows 64 texts per table (see `rows`), readers far fewer.
const STATEMENTS_MAX: usize = 256;

/// Rows that SQLite may be ahead of us within one read. Each costs a hand-over between two threads when the queue is short.
const ROWS_AHEAD_MAX: usize = 256;

/// How many connections of a kind there are, and what they may do.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Role {
    /// One. It never moves the write-ahead log: that is done beside it.
    Writer,
    /// As many as this, which cannot write.
    Readers(u32),
    /// One, which waits for nobody long.
    Checkpointer(Duration),
}

/// Opens all connections of a store.
pub(super) async fn all(data_dir: &Path, options: Options) -> Result<Connections, Error> {
    let Options { synchronous, readers } = options;
    let path = make_file(data_dir)?;
    let writer = writer(&path, synchronous).await?;
    let readers = connect(&path, synchronous, Role::Readers(readers.unwrap_or(READERS))).await?;
    let checkpointer = Checkpointer::start(&path, synchronous).await?;
    Ok(Connections {
        writer,
        readers,
        checkpointer: Some(checkpointer),
    })
}

/// Makes the file if there is none, readable by its owner only. SQLite gives its companions the same permissions.
///
/// A file that is there is not opened: closing it would take away every lock that this process holds on it.
pub(super) fn make_file(data_dir: &Path) -> Result<PathBuf, Error> {
    let path = data_dir.join(FILE_NAME);
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(Error::File {
            path,
            reason: error.kind(),
        }),
    }
}

/// Opens the writer and brings the database to the newest shape.
pub(super) async fn writer(path: &Path, synchronous: Synchronous) -> Result<DatabaseConnection, Error> {
    let writer = connect(path, synchronous, Role::Writer).await?;
    migration::run(&writer).await?;
    Ok(writer)
}

/// Opens the connections of one kind.
pub(in crate::store) async fn connect(
    path: &Path,
    synchronous: Synchronous,
    role: Role,
) -> Result<DatabaseConnection, store::Error> {
    let mut tries = 1;
    loop {
        match connect_once(path, synchronous, role).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error::is_busy(&error) && tries < OPEN_TRIES_MAX => tries += 1,
            Err(error) => return Err(error::of_sqlx(&error)),
        }
        tokio::time::sleep(OPEN_RETRY_INTERVAL).await;
    }
}

async fn connect_once(path: &Path, synchronous: Synchronous, role: Role) -> Result<DatabaseConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        // There are none: `write` checks what an event refers to once per commit, not once per row.
        .foreign_keys(false)
        .synchronous(match synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Off => SqliteSynchronous::Off,
        })
        .pragma("cache_size", format!("-{PAGE_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_MAX)
        .row_buffer_size(ROWS_AHEAD_MAX)
        .disable_statement_logging();
    let (connections, options) = match role {
        Role::Writer => (
            1,
            options
                .journal_mode(SqliteJournalMode::Wal)
                .thread_name(|_| "store-writer".to_owned()),
        ),
        Role::Readers(count) => (
            count.max(1),
            options
                .read_only(true)
                .thread_name(|number| format!("store-reader-{number}")),
        ),
        Role::Checkpointer(busy) => (
            1,
            options
                .busy_timeout(busy)
                .thread_name(|_| "store-checkpoint".to_owned()),
        ),
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Connections are kept for ever: they hold prepared statements and pages, and the last one to close would move the whole
        // write-ahead log.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| {
            Box::pin(async move {
                // SQLite ends a transaction by itself when its disk fails, and sqlx then believes for ever that one is open.
                // The ping lets a queued rollback pass first.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_with(options)
        .await?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}
