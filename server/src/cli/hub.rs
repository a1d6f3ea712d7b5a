//! The hub that a command talks to: where it is, with which key, and what its answers mean for whoever typed the command.
//!
//! Believe this: a newcomer types nothing. And the key of this machine's hub never leaves the machine: it is read only for an address
//! that is the machine itself.

mod error;

use std::fs;
use std::path::PathBuf;

use bellboard_sdk::v1::ListSessionsRequest;
use bellboard_sdk::{self as sdk, Client, DEFAULT_ADDRESS, Options};

use crate::config::{self, Environment, FolderFlags};
use crate::serve::lock;
pub(super) use error::Error;

const URL_VARIABLE: &str = "BELLBOARD_URL";
const KEY_VARIABLE: &str = "BELLBOARD_KEY";

/// Where the hub is and how to come in.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Where the hub is [env: BELLBOARD_URL] [default: where the hub of the data folder runs,
    /// or http://127.0.0.1:2355]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    url: Option<String>,
    #[command(flatten)]
    entry: Entry,
}

/// Where the hub is, for commands whose `--url` is something else's.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct ArgsBesideUrl {
    /// Where the hub is [env: BELLBOARD_URL] [default: where the hub of the data folder runs,
    /// or http://127.0.0.1:2355]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    hub: Option<String>,
    #[command(flatten)]
    entry: Entry,
}

/// How to come in.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Hub")]
#[group(skip)]
struct Entry {
    /// The key. Others on this machine can see what is typed: the variable or a file is better [env: BELLBOARD_KEY] [default: the
    /// key of this machine's hub]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// A file that holds the key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Certificates in PEM to trust for https, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    folder: FolderFlags,
}

/// A hub to talk to.
#[derive(Debug)]
pub(super) struct Hub {
    /// The way to it.
    pub(super) client: Client,
    url: String,
    /// The flag that names it.
    flag: &'static str,
}

impl Args {
    /// Settles which hub it is. Nothing is dialled yet.
    pub(super) fn hub(&self) -> Result<Hub, super::Error> {
        open(self.url.as_deref(), "--url", &self.entry, &config::environment)
    }
}

impl ArgsBesideUrl {
    /// Settles which hub it is. Nothing is dialled yet.
    pub(super) fn hub(&self) -> Result<Hub, super::Error> {
        open(self.hub.as_deref(), "--hub", &self.entry, &config::environment)
    }

    /// The data folder of this machine's hub, whether it is there or not.
    pub(super) fn data_dir(&self) -> Result<PathBuf, super::Error> {
        Ok(config::data_dir(&self.entry.folder, &config::environment)?)
    }
}

impl Hub {
    /// Asks the hub for something small, so that one that is away is told at once and not waited for.
    pub(super) async fn reach(&self) -> Result<(), Error> {
        let request = ListSessionsRequest {
            page_size: 1,
            ..ListSessionsRequest::default()
        };
        let answer = self.client.session_events().list_sessions(request).await;
        match answer.map_err(sdk::Error::from) {
            // A key that may only publish was heard all the same.
            Ok(_) | Err(sdk::Error::Permission(_)) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    /// What an error of the SDK means here.
    pub(super) fn error(&self, error: sdk::Error) -> Error {
        Error::of(error, &self.url, self.flag)
    }
}

fn open(
    url: Option<&str>,
    flag: &'static str,
    entry: &Entry,
    environment: Environment<'_>,
) -> Result<Hub, super::Error> {
    let url = url.map(str::to_owned).or_else(|| variable(environment, URL_VARIABLE));
    let url = url.or_else(|| running(entry, environment));
    let url = url.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let mut options = Options::at(&url).with_key(key(&url, entry, environment)?);
    if let Some(path) = &entry.ca_file {
        options = options.with_ca_certificate(read(path.clone())?);
    }
    let client = Client::connect(options).map_err(|error| Error::Option(Box::new(error)))?;
    Ok(Hub { client, url, flag })
}

/// Where the hub of the data folder runs, if one does: its lock says so. A folder that cannot be looked into says nothing here, and why
/// when the key is read from it.
fn running(entry: &Entry, environment: Environment<'_>) -> Option<String> {
    let data_dir = config::data_dir(&entry.folder, environment).ok()?;
    lock::holder(&data_dir).ok()??.url
}

/// The key that was typed, that of the file that was typed, that of the environment, that of this machine's hub.
fn key(url: &str, entry: &Entry, environment: Environment<'_>) -> Result<String, super::Error> {
    if let Some(key) = &entry.key {
        return Ok(key.clone());
    }
    if let Some(path) = &entry.key_file {
        let text = read(path.clone())?;
        let key = text.trim();
        return if key.is_empty() {
            Err(Error::EmptyKeyFile(path.clone()).into())
        } else {
            Ok(key.to_owned())
        };
    }
    if let Some(key) = variable(environment, KEY_VARIABLE) {
        return Ok(key);
    }
    if !is_this_machine(url) {
        return Err(Error::NoKeyElsewhere { url: url.to_owned() }.into());
    }
    let data_dir = config::data_dir(&entry.folder, environment)?;
    let key = sdk::local_key(Some(&data_dir)).map_err(|error| Error::NoKey(Box::new(error)))?;
    Ok(key)
}

fn read(path: PathBuf) -> Result<String, Error> {
    fs::read_to_string(&path).map_err(|source| Error::File { path, source })
}

fn variable(environment: Environment<'_>, name: &str) -> Option<String> {
    let value = environment(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}

/// Whether a key sent there stays on this machine. An address that cannot be read is refused later, without being dialled.
fn is_this_machine(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return true;
    };
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests;
