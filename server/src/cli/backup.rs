//! `bellboard backup`: the whole database at one moment, as one file, while a hub runs or not.
//!
//! Believe this: a file of the name that is printed is a whole backup. Until it is one it has another name.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bellboard_core::clock::{Clock as _, Real};
use bellboard_core::offset::Time;
use indicatif::{HumanBytes, ProgressBar};

use super::output::Output;
use super::signals::{self, Signals};
use super::{Exit, bar, files};
use crate::config::{self, DatabaseFlags};
use crate::store::{self, Database, FILE_NAME, Url};

/// How often the growing file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is typed behind `bellboard backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The backup is the database at one moment; a hub that runs on it goes on. It holds everything: all tenants' logs, the hashes of keys, the
secrets of resume tokens. Only you can read the file; keep it so. local.key is not in it: a restored hub makes another.
A PostgreSQL database is copied by pg_dump; say `bellboard new-epoch` when you have put a copy back.

Examples:
  bellboard backup ~/backups
  bellboard backup before-the-upgrade.db && bellboard verify before-the-upgrade.db")]
pub(super) struct Args {
    /// The file to make, or the folder to make one in, named after the time. Nothing is written over
    #[arg(value_name = "FILE")]
    target: PathBuf,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to back up.
    #[error("there is no hub's data in {data_dir}; name the folder with --data-dir", data_dir = .0.display())]
    NoData(PathBuf),
    /// What is stored does not lie in a file.
    #[error(
        "what is stored lies in {0}; copy that with pg_dump, and say `bellboard new-epoch` when you have put a copy back"
    )]
    Elsewhere(Url),
    /// There is a file already.
    #[error("{path} is there already; name another file, or a folder", path = .0.display())]
    Exists(PathBuf),
    /// The database cannot be copied.
    #[error("cannot copy the database")]
    Copy(#[from] store::Error),
    /// The finished file cannot be given its name.
    #[error("cannot make {path}", path = path.display())]
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
    #[error("interrupted; there is no backup")]
    Interrupted,
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::NoData(_) => Exit::NotFound,
            Error::Exists(_) | Error::Elsewhere(_) => Exit::Usage,
            Error::Copy(store::Error::Store(bellboard_core::store::Error::Corrupt(_))) => Exit::Damaged,
            Error::Copy(_) | Error::File { .. } | Error::Signals(_) | Error::Interrupted => Exit::Failed,
        }
    }
}

/// Makes it, and prints to `out` where it is.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let data_dir = match config::database(&args.database, &config::environment)? {
        Database::Folder(data_dir) => data_dir,
        Database::Postgres(url) => return Err(Error::Elsewhere(url).into()),
    };
    let (target, bytes) = backup(&data_dir, args.target, Real::new().now()).await?;
    writeln!(out, "{}", target.display())?;
    out.flush()?;
    super::output::note(&format!("{} of {}", HumanBytes(bytes), data_dir.display()));
    Ok(())
}

/// Where it is, and how large.
async fn backup(data_dir: &Path, target: PathBuf, now: Time) -> Result<(PathBuf, u64), Error> {
    let database = data_dir.join(FILE_NAME);
    if !database.is_file() {
        return Err(Error::NoData(data_dir.to_owned()));
    }
    let target = if target.is_dir() {
        target.join(name(now))
    } else {
        target
    };
    if target.exists() {
        return Err(Error::Exists(target));
    }
    let mut growing = target.as_os_str().to_owned();
    growing.push(format!(".{}.partial", std::process::id()));
    let growing = PathBuf::from(growing);
    let mut signals = Signals::new()?;
    let copied = tokio::select! {
        copied = store::copy(&database, &growing) => copied.map_err(Error::from),
        () = signals.next() => Err(Error::Interrupted),
        never = watch(&growing, &database) => match never {},
    };
    let bytes = growing.metadata().map_or(0, |growing| growing.len());
    let placed = copied.and_then(|()| {
        let exists = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
        files::place(&growing, &target).map_err(|source| match exists(&source) {
            true => Error::Exists(target.clone()),
            false => Error::File {
                path: target.clone(),
                source,
            },
        })
    });
    if placed.is_err() {
        // It may not have been made; and where it cannot be removed its name says what it is.
        let _ = std::fs::remove_file(&growing);
    }
    placed.map(|()| (target, bytes))
}

/// `bellboard-2026-01-31T120000Z.db`: in the order of time, and legal on every file system.
fn name(now: Time) -> String {
    let time = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
    format!("bellboard-{}.db", time.strftime("%Y-%m-%dT%H%M%SZ"))
}

/// Draws how the copy grows, for ever.
async fn watch(growing: &Path, database: &Path) -> Infallible {
    let bytes = |path: &Path| path.metadata().map_or(0, |file| file.len());
    let bar: ProgressBar = bar::bytes(Some(bytes(database)));
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        bar.set_position(bytes(growing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_after_its_time() {
        assert_eq!(name(Time(1_800_000_000_123_456)), "bellboard-2027-01-15T080000Z.db");
    }
}
