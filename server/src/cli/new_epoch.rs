//! `bellboard new-epoch`: for a database that was set back by other means than `bellboard restore`.
//!
//! Believe this: the logs' identities change, their fences leap, and nothing else. Done once too often it costs every client a snapshot. Not
//! done at all, links still tell most clients that their history is another one; only who was behind the place where it was set back
//! to goes on, rightly.

use std::path::PathBuf;
use std::sync::Arc;

use bellboard_core::{hub, store};

use super::output::Output;
use super::{Exit, restore};
use crate::config::{self, DatabaseFlags};
use crate::serve::lock::{self, Lock};
use crate::store::{Database, FILE_NAME, Options, Sql};
use crate::wire::encode::Protobuf;

/// What is typed behind `bellboard new-epoch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`bellboard restore` does this by itself. It is for a folder or a database that was put back by hand, from a snapshot of the disk or by a
failover that lost the last moments. Stop all hubs that use it first: one that still runs refuses to append until it is started anew.

Examples:
  bellboard new-epoch
  bellboard new-epoch --database-url postgres://hub@db/bellboard")]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Why the epochs stay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no database in the folder.
    #[error("there is no hub's data in {data_dir}; name the folder with --data-dir", data_dir = .0.display())]
    NoData(PathBuf),
    /// A hub runs on it.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The database cannot be opened.
    #[error("cannot open the database")]
    Open(#[from] crate::store::Error),
    /// The database was opened and then failed.
    #[error("cannot use the database")]
    Store(#[from] store::Error),
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::NoData(_) => Exit::NotFound,
            Error::Lock(_) => Exit::Unreachable,
            Error::Open(_) | Error::Store(_) => Exit::Failed,
        }
    }
}

/// Gives every log a new epoch, and prints to `out` what there is now.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let database = config::database(&args.database, &config::environment)?;
    let logs = renew(database).await?;
    restore::told(&logs, out)
}

async fn renew(database: Database) -> Result<Vec<store::LogRow>, Error> {
    // Held to the end. On a database that hubs of other machines share, each of them sees for itself that its log is another one.
    let _lock = match &database {
        Database::Folder(data_dir) if !data_dir.join(FILE_NAME).is_file() => {
            return Err(Error::NoData(data_dir.clone()));
        }
        Database::Folder(data_dir) => Some(Lock::take(data_dir)?),
        Database::Postgres(_) => None,
    };
    let options = Options {
        readers: Some(1),
        ..Options::default()
    };
    let store = Sql::open(database, Arc::new(Protobuf), options).await?;
    let logs = hub::renew_epochs(&store).await?;
    store.close().await?;
    Ok(logs)
}
