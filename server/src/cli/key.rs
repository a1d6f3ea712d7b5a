//! `bellboard key`: keys for people and programs, and the keys that resume tokens are made with.
//!
//! Believe this: it works on the database, while a hub runs on it or not; running hubs see what changed within a second. A key's
//! text is printed once, when it is made, and is nowhere afterwards.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bellboard_core::access::{Principal, Scope};
use bellboard_core::clock::{Clock, Real};
use bellboard_core::hub;
use bellboard_core::id::{PrincipalId, TenantId};
use bellboard_core::offset::Time;
use bellboard_core::resume_token::{KeyId, ResumeKey};
use bellboard_core::store::{self, Store as _};
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::Exit;
use crate::auth::{key, local, stored};
use crate::config::{self, DatabaseFlags};
use crate::serve::folder;
use crate::store::{ApiKey, ApiKeys, Database, FILE_NAME, Options, Sql};
use crate::wire::encode::Protobuf;

mod expiry;
mod table;

use expiry::Expiry;

/// What is typed behind `bellboard key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellboard key create --principal ada --scope read,prompt,answer
  bellboard key create --principal build-bot --scope publish --expires 30d --label ci
  bellboard key renew 3f2a9c01b7de --expires 90d
  bellboard key list
  bellboard key revoke 3f2a9c01b7de")]
pub struct Args {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(subcommand)]
    command: Command,
}

impl Args {
    /// The database that is worked on.
    pub(super) fn database(&self, environment: config::Environment<'_>) -> Result<Database, config::Error> {
        config::database(&self.database, environment)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it. It is shown this once.
    Create(Create),
    /// List all keys, revoked ones too. No key can be read from the list.
    List,
    /// Revoke a key: its streams end within a second, and it opens no more.
    Revoke {
        /// The key's id, as in the list: the part between the underscores. The whole key is taken too.
        id: String,
    },
    /// Give a key another expiry. Its streams go on, and are warned of the new one in its time.
    Renew {
        /// The key's id, as in the list: the part between the underscores. The whole key is taken too.
        id: String,
        /// When it expires: after a time such as 30d or 12h, at a time such as 2027-01-31T12:00:00Z, or never.
        #[arg(long, value_name = "TIME", value_parser = Expiry::parse)]
        expires: Expiry,
    },
    /// Make another key for resume tokens. It is used after 10 seconds; tokens made with earlier ones stay good.
    RotateResume,
    /// Erase a key for resume tokens: clients that come with a token made with it are told to start from a snapshot.
    RemoveResume {
        /// The key's number, as in the list.
        id: u16,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Who comes with the key: a person or a program. Several keys may be of one principal.
    #[arg(long, value_name = "NAME", value_parser = PrincipalId::parse)]
    principal: PrincipalId,
    /// Whose log it opens. Tenants cannot see each other.
    #[arg(long, value_name = "NAME", value_parser = TenantId::parse, default_value = local::TENANT)]
    tenant: TenantId,
    /// What the key allows; several with commas. admin is all of them.
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "read", value_parser = scopes())]
    scopes: Vec<Scope>,
    /// When it expires: after a time such as 30d or 12h, at a time such as 2027-01-31T12:00:00Z, or never.
    #[arg(long, value_name = "TIME", value_parser = Expiry::parse, default_value = "never")]
    expires: Expiry,
    /// A remark for the list.
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

fn scopes() -> impl clap::builder::TypedValueParser<Value = Scope> {
    let names = Scope::NAMES.map(|(_, name)| name);
    PossibleValuesParser::new(names).try_map(|name| Scope::parse(&name).ok_or("is no scope"))
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// There is no database in the folder, and no other was named.
    #[error("there is no hub's data in {data_dir}; name the folder with --data-dir, or start a hub with `bellboard serve`", data_dir = .0.display())]
    NoData(PathBuf),
    /// The database cannot be opened.
    #[error("cannot open the database")]
    Open(#[from] crate::store::Error),
    /// The database was opened and then failed.
    #[error("cannot use the database")]
    Store(#[from] store::Error),
    /// No key could be made.
    #[error("cannot make a key")]
    Create(#[from] stored::Error),
    /// The key would be useless.
    #[error("the key would expire in the past; give --expires a time to come")]
    Past,
    /// No such key.
    #[error("there is no key {0:?} that is good, or would be if it had not expired; look at `bellboard key list`")]
    Unknown(String),
    /// No such resume token key.
    #[error("there is no resume token key {0} that could be removed; look at `bellboard key list`")]
    UnknownResume(u16),
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::Past => Exit::Usage,
            Error::NoData(_) | Error::Unknown(_) | Error::UnknownResume(_) => Exit::NotFound,
            Error::Folder(_) | Error::Open(_) | Error::Store(_) | Error::Create(_) => Exit::Failed,
        }
    }
}

/// Does it, and prints to `out`.
///
/// # Errors
/// See [`Error`]; [`super::Error::Config`] when the data folder is not known, [`super::Error::Output`] when `out` takes no more.
pub async fn run(args: Args, out: &mut impl Write) -> Result<(), super::Error> {
    let database = args.database(&config::environment)?;
    act(args.command, &database, &Real::new(), out).await
}

async fn act(
    command: Command,
    database: &Database,
    clock: &dyn Clock,
    out: &mut impl Write,
) -> Result<(), super::Error> {
    match command {
        Command::Create(wish) => create(wish, database, clock.now(), out).await,
        Command::List => list(database, clock.now(), out).await,
        Command::Revoke { id } => revoke(&id, database, clock.now(), out).await,
        Command::Renew { id, expires } => renew(&id, expires.at(clock.now()), database, clock.now(), out).await,
        Command::RotateResume => rotate(database, clock, out).await,
        Command::RemoveResume { id } => remove(KeyId(id), database, out).await,
    }
}

async fn create(wish: Create, database: &Database, now: Time, out: &mut impl Write) -> Result<(), super::Error> {
    let Create {
        principal,
        tenant,
        scopes,
        expires,
        label,
    } = wish;
    let expire_time = expires.at(now);
    if expire_time.is_some_and(|time| time <= now) {
        return Err(Error::Past.into());
    }
    if let Database::Folder(data_dir) = database {
        folder::make(data_dir).map_err(Error::from)?;
    }
    let api_keys = ApiKeys::open(database.clone()).await.map_err(Error::from)?;
    let wish = stored::Wish {
        principal: Principal {
            tenant,
            id: principal,
            scopes: scopes.into_iter().collect(),
        },
        label,
        expire_time,
    };
    let key = stored::create(&api_keys, wish, now).await.map_err(Error::from)?;
    writeln!(out, "{}", key.text)?;
    out.flush()?;
    // Beside the output, which a script may read.
    let _ = writeln!(
        anstream::stderr(),
        "This is the only time that the key is shown. Its id is {}.",
        key.id
    );
    Ok(())
}

async fn list(database: &Database, now: Time, out: &mut impl Write) -> Result<(), super::Error> {
    let store = open(database).await?;
    let rows = store.api_keys().all().await.map_err(Error::from)?;
    let resume_keys = store.resume_keys().await.map_err(Error::from)?;
    store.close().await.map_err(Error::from)?;
    table::api_keys(out, &rows, now)?;
    writeln!(out)?;
    table::resume_keys(out, &resume_keys, now)?;
    out.flush()?;
    Ok(())
}

async fn revoke(id: &str, database: &Database, now: Time, out: &mut impl Write) -> Result<(), super::Error> {
    has_data(database)?;
    // Whoever gives the whole key means its id; it must not stand in an error text.
    let id = key::parse(id).unwrap_or(id);
    let api_keys = ApiKeys::open(database.clone()).await.map_err(Error::from)?;
    if !api_keys.revoke(id, now).await.map_err(Error::from)? {
        return Err(Error::Unknown(id.to_owned()).into());
    }
    writeln!(out, "revoked {id}")?;
    Ok(())
}

async fn renew(
    id: &str,
    expire_time: Option<Time>,
    database: &Database,
    now: Time,
    out: &mut impl Write,
) -> Result<(), super::Error> {
    if expire_time.is_some_and(|time| time <= now) {
        return Err(Error::Past.into());
    }
    has_data(database)?;
    let id = key::parse(id).unwrap_or(id);
    let api_keys = ApiKeys::open(database.clone()).await.map_err(Error::from)?;
    if !api_keys.renew(id, expire_time).await.map_err(Error::from)? {
        return Err(Error::Unknown(id.to_owned()).into());
    }
    writeln!(out, "renewed {id}")?;
    Ok(())
}

async fn rotate(database: &Database, clock: &dyn Clock, out: &mut impl Write) -> Result<(), super::Error> {
    let store = open(database).await?;
    let made = hub::rotate_resume_keys(&store, clock).await;
    store.close().await.map_err(Error::from)?;
    let KeyId(id) = made.map_err(Error::from)?;
    writeln!(out, "made resume token key {id}")?;
    Ok(())
}

async fn remove(id: KeyId, database: &Database, out: &mut impl Write) -> Result<(), super::Error> {
    let store = open(database).await?;
    let keys = store.resume_keys().await.map_err(Error::from)?;
    let known = keys.iter().any(|key| key.id == id && key.secret.is_some());
    if known {
        store.remove_resume_key(id).await.map_err(Error::from)?;
    }
    store.close().await.map_err(Error::from)?;
    if !known {
        return Err(Error::UnknownResume(id.0).into());
    }
    writeln!(out, "removed resume token key {}", id.0)?;
    Ok(())
}

async fn open(database: &Database) -> Result<Sql, Error> {
    has_data(database)?;
    let options = Options {
        readers: Some(1),
        ..Options::default()
    };
    Ok(Sql::open(database.clone(), Arc::new(Protobuf), options).await?)
}

/// So that a mistyped folder is told and not made.
fn has_data(database: &Database) -> Result<(), Error> {
    match database {
        Database::Folder(data_dir) if !data_dir.join(FILE_NAME).is_file() => Err(Error::NoData(data_dir.clone())),
        Database::Folder(_) | Database::Postgres(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
