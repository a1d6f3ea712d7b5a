//! What can be chosen, and where it is chosen: a flag, the environment, a file, or the default, in this order.
//!
//! Believe this: a setting is one row of [`setting::SERVE`]. Its flag, its variable, its key in the file, its help and its default all
//! come from there, and every value from whatever place passes the same parser. What is wrong or unknown stops the start.

pub mod setting;
pub mod layers;
pub mod value;
pub mod folder;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use bellboard_core::retention::Retention;
use clap::{ArgMatches, FromArgMatches};

use crate::serve::settings::{Metrics, PrincipalLimits, Settings, TlsFiles};
use crate::store::{Database, Url, UrlError};
use crate::telemetry::{self, Logging};
use layers::Layers;
use setting::Setting;

/// The name of the file that is read from the data folder where it lies there and no other is named.
pub const FILE_NAME: &str = "bellboard.toml";

/// Why the hub does not start: each text says which setting, from where, and what to write.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that the setting cannot have.
    #[error("{place} is {value:?}, which is not {expected}; write for instance {example}")]
    Wrong {
        /// The flag, the variable, or the key and its file.
        place: String,
        /// What stands there.
        value: String,
        /// What the setting takes.
        expected: String,
        /// A value that it takes, written as it would stand there.
        example: String,
    },
    /// A URL that names no database. The URL itself is not told: a password may be in it.
    #[error("{place} is not the URL of a database: {reason}; write for instance {example}")]
    DatabaseUrl {
        /// The flag, the variable, or the key and its file.
        place: String,
        /// What is wrong with it.
        reason: UrlError,
        /// A value that the setting takes.
        example: &'static str,
    },
    /// A key that no setting has.
    #[error("{file} has the key {key:?}, which is no setting; remove it, or write one of {known}", file = file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// The keys that there are.
        known: String,
    },
    /// A key that cannot stand in the file, because the file is found by it.
    #[error("{file} has the key {key:?}, by which the file itself is found; use the flag or the variable", file = file.display())]
    Misplaced {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the settings in {file}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no TOML.
    #[error("{file} is not TOML", file = file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Two settings that only work together.
    #[error("{given} is set and {missing} is not; set both, or neither")]
    Alone {
        /// The one that is set, as it stands there.
        given: String,
        /// The name of the other.
        missing: &'static str,
    },
    /// There is no place for the data by default.
    #[error("no data folder is set and this user has no home folder; set one with --data-dir or BELLBOARD_DATA_DIR")]
    NoHome,
}

/// Looks up a variable of the environment. Tests bring their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the environment is read"
)]
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The flags of `serve` as they were typed.
#[derive(Clone, Debug, Default)]
pub struct ServeFlags(layers::Flags);

/// The flags by which other commands find the data folder.
#[derive(Clone, Debug, Default)]
pub struct FolderFlags(layers::Flags);

/// The flags by which other commands find the database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseFlags(layers::Flags);

macro_rules! flags {
    ($name:ident, $settings:expr, $arg:expr) => {
        impl clap::Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                command.args($settings.iter().map(|setting| $arg(setting.arg())))
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($name(layers::flags(matches, $settings)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

flags!(ServeFlags, setting::SERVE, std::convert::identity);
// They may stand before or behind the command that they are for.
flags!(FolderFlags, setting::FOLDER, |arg: clap::Arg| arg.global(true));
flags!(DatabaseFlags, setting::DATABASE, |arg: clap::Arg| arg.global(true));

/// Everything that was chosen for a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it serves.
    pub settings: Settings,
    /// What it tells about itself.
    pub logging: Logging,
}

/// Settles every setting of `serve`.
///
/// # Errors
/// See [`Error`]; the first one that is found.
pub fn resolve(flags: &ServeFlags, environment: Environment<'_>) -> Result<Config, Error> {
    let layers = Layers::read(&flags.0, environment)?;
    let logging = Logging {
        filter: layers.one(&setting::LOG, "a filter such as info, or debug,hyper=warn", |text| {
            telemetry::is_filter(text).then(|| text.to_owned())
        })?,
        format: layers.one(&setting::LOG_FORMAT, "text or json", value::format)?,
    };
    let settings = Settings {
        listen: layers.one(&setting::LISTEN, "an IP address and a port", value::address)?,
        synchronous: layers.one(&setting::SYNCHRONOUS, "full or relaxed", value::synchronous)?,
        window_bytes: layers.one(&setting::WINDOW_BYTES, "a size from 1MiB to 64GiB", value::window)?,
        replay_events: layers.one(&setting::REPLAY_LIMIT, "a number of events", value::number)?,
        retention: Retention {
            age: layers.optional(&setting::RETAIN_AGE, "a time from 1s to 36500d", value::retain_age)?,
            bytes: layers.optional(&setting::RETAIN_BYTES, "a size of 1MiB or more", value::retain_bytes)?,
        },
        heartbeat: layers.one(&setting::HEARTBEAT, "a time from 1s to 60s", value::heartbeat)?,
        max_stream_age: layers.one(
            &setting::MAX_STREAM_AGE,
            "a time of 10s or more, or 0s",
            value::max_stream_age,
        )?,
        drain_deadline: layers.one(&setting::DRAIN_DEADLINE, "a time from 0s to 10m", value::drain_deadline)?,
        allowed_hosts: layers.many(&setting::ALLOW_HOST, "a host, with or without a port", value::host)?,
        allowed_origins: layers.many(&setting::ALLOW_ORIGIN, "the origin of a web page", value::origin)?,
        proxy: layers.one(&setting::BEHIND_PROXY, "true or false", value::proxy)?,
        tls: tls(&layers)?,
        keepalive: layers.one(&setting::KEEPALIVE, "a time from 1s to 10m", value::keepalive)?,
        connections: layers.one(&setting::CONNECTIONS, "a number from 1 to 1000000", value::count)?,
        connections_per_address: layers.one(
            &setting::CONNECTIONS_PER_ADDRESS,
            "a number from 0 to 1000000",
            value::count_or_none,
        )?,
        database_url: database_url(&layers)?,
        per_principal: per_principal(&layers)?,
        metrics: metrics(&layers)?,
        data_dir: layers.into_data_dir(),
    };
    Ok(Config { settings, logging })
}

/// What one principal may have open.
fn per_principal(layers: &Layers) -> Result<PrincipalLimits, Error> {
    let count = |setting| layers.one(setting, "a number from 1 to 1000000", value::count);
    Ok(PrincipalLimits {
        subscriptions: count(&setting::SUBSCRIPTIONS_PER_PRINCIPAL)?,
        publishers: count(&setting::PUBLISHERS_PER_PRINCIPAL)?,
        calls: count(&setting::CALLS_PER_PRINCIPAL)?,
    })
}

/// Where metrics are shown; nowhere unless an address is given.
fn metrics(layers: &Layers) -> Result<Option<Metrics>, Error> {
    let reach = layers.one(&setting::METRICS_ANYWHERE, "true or false", value::reach)?;
    let listen = layers.optional(&setting::METRICS_ADDRESS, "an IP address and a port", value::address)?;
    Ok(listen.map(|listen| Metrics { listen, reach }))
}

/// Certificate and key, which are nothing without each other.
fn tls(layers: &Layers) -> Result<Option<TlsFiles>, Error> {
    let alone = |given: &Setting, missing: &Setting| Error::Alone {
        given: layers.place(given),
        missing: missing.name,
    };
    let (cert, key) = (&setting::TLS_CERT, &setting::TLS_KEY);
    match (layers.path(cert)?, layers.path(key)?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(alone(cert, key)),
        (None, Some(_)) => Err(alone(key, cert)),
    }
}

/// Settles the data folder alone, for commands that work on it while a server runs.
///
/// # Errors
/// See [`Error`].
pub fn data_dir(flags: &FolderFlags, environment: Environment<'_>) -> Result<PathBuf, Error> {
    Layers::read(&flags.0, environment).map(Layers::into_data_dir)
}

/// Settles which database holds the logs, for commands that work on it while a server runs.
///
/// # Errors
/// See [`Error`].
pub fn database(flags: &DatabaseFlags, environment: Environment<'_>) -> Result<Database, Error> {
    let layers = Layers::read(&flags.0, environment)?;
    let url = database_url(&layers)?;
    Ok(Database::at(url.as_ref(), &layers.into_data_dir()))
}

fn database_url(layers: &Layers) -> Result<Option<Url>, Error> {
    let setting = &setting::DATABASE_URL;
    let wrong = |reason| Error::DatabaseUrl {
        place: layers.place(setting),
        reason,
        example: setting.example,
    };
    layers.text(setting).map(|text| text.parse().map_err(wrong)).transpose()
}

#[cfg(test)]
mod tests;
