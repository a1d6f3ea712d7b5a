//! `bellboard restore`: a data folder made of a backup.
//!
//! Believe this: the database appears in the folder when it is whole, up to date and checked, and every log in it has a new epoch. What
//! clients stored with the lost history can then never continue with another one: they are told to start from a snapshot.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellboard_core::store::LogRow;
use bellboard_core::{hub, store};
use indicatif::HumanCount;

use super::output::{Output, note};
use super::signals::{self, Signals};
use super::{Exit, files, verify};
use crate::config::{self, DatabaseFlags};
use crate::serve::folder;
use crate::serve::lock::{self, Lock};
use crate::store::{Database, FILE_NAME, Options, Sql, Url};
use crate::wire::encode::Protobuf;

/// Where the database is made ready, in the data folder, so that it only has to be renamed.
const SCRATCH: &str = "restoring";

/// Behind the name of a database that was replaced.
const REPLACED: &str = ".replaced";

/// What is typed behind `bellboard restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
No hub may run on the folder. Every log gets a new epoch: clients that come with an older resume token are told so and start from a
snapshot. Keys are as they were when the backup was made; revoke anew what was revoked since. local.key is made anew.

Examples:
  bellboard restore bellboard-2026-01-31T120000Z.db --data-dir /srv/bellboard
  bellboard restore bellboard-2026-01-31T120000Z.db --replace")]
pub(super) struct Args {
    /// The backup. It stays as it is
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Put it in the place of a database that is there, which is kept beside it as bellboard.db.replaced
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no backup.
    #[error("there is no file {path}", path = .0.display())]
    NoBackup(PathBuf),
    /// What is stored shall not lie in a file.
    #[error("what is stored lies in {0}; put a copy back with pg_restore, and then say `bellboard new-epoch`")]
    Elsewhere(Url),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// A hub runs on it.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// There are data.
    #[error("{path} is there already; choose another folder with --data-dir, or say --replace to keep it beside", path = .0.display())]
    HasData(PathBuf),
    /// What was replaced before is still there.
    #[error("{path} is still there from an earlier time; move it away first", path = .0.display())]
    HasReplaced(PathBuf),
    /// The backup cannot be read, or cannot be made into a database of this version.
    #[error("cannot use the backup")]
    Open(#[from] crate::store::Error),
    /// The database was made and then failed.
    #[error("cannot use the restored database")]
    Store(#[from] store::Error),
    /// The backup is damaged.
    #[error("the backup is damaged; `bellboard verify` shows where. Nothing was restored")]
    Damaged,
    /// A file cannot be moved or removed.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be told to end.
    #[error(transparent)]
    Signals(#[from] signals::Error),
    /// It was told to end.
    #[error("interrupted; nothing was restored")]
    Interrupted,
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::NoBackup(_) => Exit::NotFound,
            Error::Lock(_) => Exit::Unreachable,
            Error::HasData(_) | Error::HasReplaced(_) | Error::Elsewhere(_) => Exit::Usage,
            Error::Damaged | Error::Open(crate::store::Error::Store(store::Error::Corrupt(_))) => Exit::Damaged,
            Error::Folder(_)
            | Error::Open(_)
            | Error::Store(_)
            | Error::File { .. }
            | Error::Signals(_)
            | Error::Interrupted => Exit::Failed,
        }
    }
}

/// Restores, and prints to `out` what is there now.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let data_dir = match config::database(&args.database, &config::environment)? {
        Database::Folder(data_dir) => data_dir,
        Database::Postgres(url) => return Err(Error::Elsewhere(url).into()),
    };
    let Args {
        backup,
        replace,
        database: _,
    } = args;
    if !backup.is_file() {
        return Err(Error::NoBackup(backup).into());
    }
    folder::make(&data_dir).map_err(Error::from)?;
    // Held to the end: no hub starts on half a folder.
    let lock = Lock::take(&data_dir).map_err(Error::from)?;
    let database = data_dir.join(FILE_NAME);
    if database.exists() && !replace {
        return Err(Error::HasData(database).into());
    }
    let replaced = beside(&database, REPLACED);
    if replaced.exists() && replace {
        return Err(Error::HasReplaced(replaced).into());
    }
    let scratch = data_dir.join(SCRATCH);
    let mut signals = Signals::new().map_err(Error::from)?;
    let ready = tokio::select! {
        ready = make_ready(&backup, &scratch) => ready,
        () = signals.next() => Err(Error::Interrupted),
    };
    let outcome = match ready {
        Ok(logs) => put_in_place(&scratch.join(FILE_NAME), &database).await.map(|()| logs),
        Err(error) => Err(error),
    };
    // An earlier one that was interrupted may have left more behind; the next one empties it.
    let _ = fs::remove_dir_all(&scratch);
    let logs = outcome?;
    drop(lock);
    told(&logs, out)?;
    note("every log has a new epoch: clients with an older resume token start from a snapshot");
    Ok(())
}

pub(super) fn told(logs: &[LogRow], out: &mut Output) -> Result<(), super::Error> {
    for log in logs {
        let events = HumanCount(log.oldest.distance(log.tail));
        let (tenant, epoch) = (&log.tenant, log.epoch);
        writeln!(out, "{tenant}: {events} events, epoch {epoch}")?;
    }
    Ok(out.flush()?)
}

/// A copy of the backup in a folder of its own, up to date, checked, with new epochs.
async fn make_ready(backup: &Path, scratch: &Path) -> Result<Vec<LogRow>, Error> {
    let unusable = |source| Error::File {
        path: scratch.to_owned(),
        source,
    };
    if scratch.exists() {
        fs::remove_dir_all(scratch).map_err(unusable)?;
    }
    folder::make(scratch)?;
    let database = scratch.join(FILE_NAME);
    crate::store::copy(backup, &database).await?;
    let options = Options {
        readers: Some(1),
        ..Options::default()
    };
    let store = Sql::open(scratch, Arc::new(Protobuf), options).await?;
    let reports = verify::look(&store).await?;
    if reports.iter().any(|report| report.found > 0) {
        return Err(Error::Damaged);
    }
    let logs = hub::renew_epochs(&store).await?;
    store.close().await?;
    Ok(logs)
}

/// Moves the database into the folder. One that is there is kept under another name.
async fn put_in_place(ready: &Path, database: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::File { path, source }
    };
    if database.exists() {
        let replaced = beside(database, REPLACED);
        let log = beside(database, "-wal");
        if crate::store::settle(database).await.is_err() && log.exists() {
            // It is damaged, which may be why it is replaced. Its log must not stay: it would be taken for the new one's.
            fs::rename(&log, beside(&replaced, "-wal")).map_err(failed(&log))?;
        }
        let _ = fs::remove_file(beside(database, "-shm"));
        fs::hard_link(database, &replaced).map_err(failed(&replaced))?;
        fs::rename(ready, database).map_err(failed(database))?;
        return files::sync_folder_of(database).map_err(failed(database));
    }
    files::place(ready, database).map_err(failed(database))
}

fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(behind);
    name.into()
}
