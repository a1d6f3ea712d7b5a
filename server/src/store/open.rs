//! Opening: which database, what every connection of it is told, and which shape it must have.
//!
//! Believe this: with the default options nothing is acknowledged that a loss of power could take back, whichever database it is.

pub(super) mod sqlite;
pub(super) mod postgres;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bellboard_core::store;
use sea_orm::DatabaseConnection;

pub use self::postgres::{Url, UrlError};
use super::checkpoint::Checkpointer;

/// Which database holds the logs.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// The SQLite file in this folder, which must exist. The file is made if it is not there.
    Folder(PathBuf),
    /// A PostgreSQL database, which must exist. Several servers may share it.
    Postgres(Url),
}

impl Database {
    /// The one that this URL names, or the file in this folder where there is none.
    #[must_use]
    pub fn at(url: Option<&Url>, data_dir: &Path) -> Database {
        url.map_or_else(|| data_dir.into(), |url| Database::Postgres(url.clone()))
    }

    /// Whether several servers may serve it, so that one of them learns of the others' appends only by looking.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self {
            Database::Folder(_) => false,
            Database::Postgres(_) => true,
        }
    }
}

impl From<&Path> for Database {
    fn from(data_dir: &Path) -> Self {
        Database::Folder(data_dir.to_owned())
    }
}

/// For people and logs: no password is in it.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Folder(data_dir) => data_dir.join(sqlite::FILE_NAME).display().fmt(f),
            Database::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer program changed it. It was not touched.
    #[error(
        "the database was changed by a newer bellboard (it has \"{0}\", which this one does not know); use that version, \
         or restore a backup that was made before"
    )]
    Newer(String),
    /// An older program made it, and it was only to be read. It was not touched.
    #[error(
        "the database was made by an older bellboard (it lacks \"{0}\"); `bellboard serve` brings a data folder up to date, \
         `bellboard restore` what it makes of a backup"
    )]
    Older(String),
    /// The file could not be made or read.
    #[error("cannot use {path}: {reason}", path = path.display())]
    File {
        /// The database's path.
        path: PathBuf,
        /// What the system said.
        reason: io::ErrorKind,
    },
    /// The PostgreSQL server cannot be used as it is.
    #[error("cannot use {url}: {reason}")]
    Server {
        /// The database, without its password.
        url: Url,
        /// What it said, or what is wrong with it.
        reason: String,
    },
    /// The database itself failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// When a commit is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When it returns: it survives the end of the process and the loss of power.
    #[default]
    Full,
    /// When it returns it survives the end of the process; the last moments before a loss of power may be lost, whole commits at a time.
    Normal,
    /// **Unsafe**: a loss of power may damage the database. For the test that proves that [`Synchronous::Full`] syncs. PostgreSQL has
    /// no such choice and takes it as [`Synchronous::Normal`].
    Off,
}

/// What can be chosen about a store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When a commit is durable; default [`Synchronous::Full`].
    pub synchronous: Synchronous,
    /// How many reads may go on at once, 1 or more; default 3 in SQLite, where each costs a thread and at most 8 MiB, and 8 in
    /// PostgreSQL, where each costs a process of its server.
    pub readers: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            synchronous: Synchronous::Full,
            readers: None,
        }
    }
}

/// What a store works with. See [`super::Sql`].
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) writer: DatabaseConnection,
    pub(super) readers: DatabaseConnection,
    pub(super) checkpointer: Option<Checkpointer>,
}

/// Opens all connections of a store, with the database in the newest shape.
pub(super) async fn all(database: &Database, options: Options) -> Result<Connections, Error> {
    match database {
        Database::Folder(data_dir) => sqlite::all(data_dir, options).await,
        Database::Postgres(url) => postgres::all(url, options).await,
    }
}

/// Opens one connection that may write, for a program that runs beside a server or before it.
pub(super) async fn one(database: &Database) -> Result<DatabaseConnection, Error> {
    match database {
        Database::Folder(data_dir) => {
            let path = sqlite::make_file(data_dir)?;
            sqlite::writer(&path, Synchronous::Full).await
        }
        Database::Postgres(url) => postgres::writer(url, Synchronous::Full, 1).await,
    }
}
