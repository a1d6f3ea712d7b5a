//! Opening a PostgreSQL database: where it is, and what every connection is told.
//!
//! Believe this: nothing waits for ever. A statement that takes long, a lock that is not given, a pool that has no connection left:
//! each ends in an error that says that the database is not available.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Executor};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};

use super::super::{error, migration};
use super::{Connections, Error, Options, Synchronous};

/// Connections that may write. Commits of as many tenants go on at once; each is a process of the server.
const WRITERS: u32 = 8;

/// How many reads may go on at once, where nobody says.
const READERS: u32 = 8;

/// How long a read or a transaction waits for its connection, a new one being made included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server works on one statement. The longest, a page of 4096 large events, takes less than a second.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a statement waits for a log that another node has locked: its transactions take milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a transaction that writes may do nothing. A node that was paused in the middle of one must not hold its log against the
/// others.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The same of one that reads: it holds nothing but old rows, which the server would like to sweep.
const IDLE_READER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection that was just used may take to show that it still works. One whose server is gone must not keep its seat.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was not used for so long is asked whether it still works before it is used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Prepared statements that a connection keeps, as in SQLite. The writer knows 64 texts per table (see `rows`), readers far fewer.
const STATEMENTS_MAX: usize = 256;

/// What is told to the server, so that its owner sees who is connected.
const APPLICATION_NAME: &str = "bellboard";

/// What may stand behind the question mark: all that a connection needs, and nothing that would be ignored in silence.
const PARAMETERS: [&str; 9] = [
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

/// Why a text is no URL of a database. None of these holds the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with `postgres://` or `postgresql://`.
    #[error("it does not begin with postgres:// or postgresql://")]
    Scheme,
    /// It is no URL.
    #[error("it is not written as a URL")]
    Syntax,
    /// It has a parameter that means nothing here, or a wrong value for one.
    #[error("what stands behind its ? is not understood")]
    Parameter,
}

/// Where a PostgreSQL database is, and how to come in: `postgres://user:password@host:port/database?sslmode=verify-full`. What it
/// leaves out comes from the environment variables of libpq (`PGHOST`, `PGPASSWORD`, `PGPASSFILE` and so on).
#[derive(Clone)]
pub struct Url {
    options: Arc<PgConnectOptions>,
    /// What may be shown: without password and parameters.
    shown: Arc<str>,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let url = url::Url::parse(text).map_err(|_| UrlError::Syntax)?;
        if !url.query_pairs().all(|(name, _)| is_parameter(&name)) {
            return Err(UrlError::Parameter);
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| UrlError::Parameter)?;
        Ok(Url {
            shown: shown(&options).into(),
            options: Arc::new(options),
        })
    }
}

/// Also what sets a variable of the session, such as the schema that the tables lie in: `options[search_path]=hub`.
fn is_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name) || name == "options" || (name.starts_with("options[") && name.ends_with(']'))
}

fn shown(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    match options.get_socket() {
        Some(folder) => format!("postgres://{user}@/{database}?host={}", folder.display()),
        None => format!(
            "postgres://{user}@{}:{}/{database}",
            options.get_host(),
            options.get_port()
        ),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.shown)
    }
}

/// The same database, whatever the password.
impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for Url {}

/// What the connections of a pool are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Writer(Synchronous),
    Reader,
}

/// Opens all connections of a store.
pub(super) async fn all(url: &Url, options: Options) -> Result<Connections, Error> {
    let Options { synchronous, readers } = options;
    let writer = writer(url, synchronous, WRITERS).await?;
    let readers = connect(url, Role::Reader, readers.unwrap_or(READERS)).await?;
    Ok(Connections {
        writer,
        readers,
        checkpointer: None,
    })
}

/// Opens connections that may write, and brings the database to the newest shape.
pub(super) async fn writer(url: &Url, synchronous: Synchronous, most: u32) -> Result<DatabaseConnection, Error> {
    let writer = connect(url, Role::Writer(synchronous), most).await?;
    migration::run(&writer).await?;
    Ok(writer)
}

/// Opens one connection that only reads, and leaves the database in the shape that it has.
pub(in crate::store) async fn reader(url: &Url) -> Result<DatabaseConnection, Error> {
    connect(url, Role::Reader, 1).await
}

async fn connect(url: &Url, role: Role, most: u32) -> Result<DatabaseConnection, Error> {
    let options = PgConnectOptions::clone(&url.options)
        .application_name(APPLICATION_NAME)
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(most.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(tell(connection, role)))
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for > TRUSTED_FOR {
                    ping(connection).await?;
                }
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Whoever gave up waiting for an answer left the connection to us: if it is dead, the pool must not wait for it.
                ping(connection).await?;
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(|reason| Error::Server {
            url: url.clone(),
            reason: error::of_sqlx(&reason).to_string(),
        })?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(PING_TIMEOUT, connection.ping())
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// Tells a new connection how it is to work, whatever the server's settings say.
async fn tell(connection: &mut PgConnection, role: Role) -> Result<(), sqlx::Error> {
    let milliseconds = |time: Duration| time.as_millis();
    let mut text = format!(
        "SET client_min_messages = warning; SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {};",
        milliseconds(STATEMENT_TIMEOUT),
        milliseconds(LOCK_TIMEOUT),
        milliseconds(match role {
            Role::Writer(_) => IDLE_TIMEOUT,
            Role::Reader => IDLE_READER_TIMEOUT,
        }),
    );
    text.push_str(match role {
        // All statements of a reading transaction see one moment.
        Role::Reader => {
            "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on;"
        }
        // What is read behind the lock of a log is what the one before committed.
        Role::Writer(_) => "SET default_transaction_isolation = 'read committed';",
    });
    text.push_str(match role {
        // A server that waits for its standbys too is left to do so.
        Role::Writer(Synchronous::Full) => {
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
        }
        Role::Writer(Synchronous::Normal | Synchronous::Off) => "SET synchronous_commit = off;",
        Role::Reader => "",
    });
    connection.execute(sqlx::AssertSqlSafe(text)).await?;
    Ok(())
}
