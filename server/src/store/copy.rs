//! A whole database as one new file.
//!
//! Believe this: the copy is the database at one moment, however much is written meanwhile, and it is on the disk when [`copy`] returns. The
//! original stays as it is. Its reader holds the write-ahead log back from being emptied, for as long as the copy takes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sea_orm::{ConnectionTrait, Statement};

use super::open::sqlite::{self, Role};
use super::open::{Error, Synchronous};
use super::{error, migration};

/// Writes the database of one path to another, which must be new. Only its owner can read it: it holds the keys' hashes and the secrets of
/// resume tokens.
///
/// # Errors
/// When the original is no database of this program, or a file cannot be used. What was begun is left.
pub async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let file = |source: io::Error| Error::File {
        path: to.to_owned(),
        reason: source.kind(),
    };
    let original = sqlite::connect(from, Synchronous::Full, Role::Readers(1)).await?;
    migration::applied(&original).await?;
    // SQLite fills an empty file, and one that it made itself would be readable by others.
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(to);
    made.map_err(file)?;
    let target = to.to_str().ok_or_else(|| file(io::ErrorKind::InvalidFilename.into()))?;
    let backend = original.get_database_backend();
    let vacuum = Statement::from_sql_and_values(backend, "VACUUM INTO ?", [target.into()]);
    original.execute_raw(vacuum).await.map_err(error::of)?;
    original.close().await.map_err(error::of)?;
    // SQLite does not sync what it writes so: nobody could be using it.
    File::open(to).and_then(|copy| copy.sync_all()).map_err(file)
}

/// Moves what lies in a database's write-ahead log into its file, and takes the log away. Nobody may use the database.
///
/// # Errors
/// When the database is damaged or the file cannot be written.
pub async fn settle(path: &Path) -> Result<(), Error> {
    let writer = sqlite::connect(path, Synchronous::Full, Role::Writer).await?;
    // The last connection does it when it closes.
    Ok(writer.close().await.map_err(error::of)?)
}
