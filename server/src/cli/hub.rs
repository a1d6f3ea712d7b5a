//! The hub that a command talks to: where it is, with which key, and what its answers mean for whoever typed the command.
//!
//! Believe this: a newcomer types nothing. And the key of this machine's hub never leaves the machine: it is read only for an address
//! that is the machine itself.

use std::fs;
use std::io;
use std::path::PathBuf;

use bellboard_sdk::v1::ListSessionsRequest;
use bellboard_sdk::{self as sdk, Client, DEFAULT_ADDRESS, Options};

use super::Exit;
use crate::config::{self, Environment, FolderFlags};

const URL_VARIABLE: &str = "BELLBOARD_URL";
const KEY_VARIABLE: &str = "BELLBOARD_KEY";

/// Where the hub is and how to come in.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the hub is [env: BELLBOARD_URL] [default: http://127.0.0.1:2355]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    url: Option<String>,
    #[command(flatten)]
    entry: Entry,
}

/// Where the hub is, for commands whose `--url` is something else's.
#[derive(Debug, clap::Args)]
pub(super) struct ArgsBesideUrl {
    /// Where the hub is [env: BELLBOARD_URL] [default: http://127.0.0.1:2355]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    hub: Option<String>,
    #[command(flatten)]
    entry: Entry,
}

/// How to come in.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Hub")]
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

/// What went wrong between a command and its hub.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is known to come in with.
    #[error("there is no key at hand; start the hub with `bellboard serve`, or name a key with --key-file or BELLBOARD_KEY")]
    NoKey(#[source] Box<sdk::Error>),
    /// The hub is not this machine's, and there is no key for it.
    #[error("{url} is not this machine, and its key is not known; name one with --key-file or BELLBOARD_KEY")]
    NoKeyElsewhere {
        /// The hub.
        url: String,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key's file is empty.
    #[error("{path} holds no key; name another file", path = .0.display())]
    EmptyKeyFile(PathBuf),
    /// An address, a key or an option that cannot be used.
    #[error(transparent)]
    Option(Box<sdk::Error>),
    /// No hub answers.
    #[error("no hub answers at {url}; start one with `bellboard serve`, or name another with --url")]
    Unreachable {
        /// Where.
        url: String,
        /// What the connection said.
        source: Box<sdk::Error>,
    },
    /// The key is no good.
    #[error("the hub at {url} does not know the key; name another with --key-file or BELLBOARD_KEY")]
    Credential {
        /// The hub.
        url: String,
        /// What it said.
        source: Box<sdk::Error>,
    },
    /// The key does not allow it.
    #[error("the key does not allow this; make one that does with `bellboard key create`")]
    Permission(#[source] Box<sdk::Error>),
    /// What was named is not there.
    #[error("the hub has no such thing; look at `bellboard sessions --all`")]
    Gone(#[source] Box<sdk::Error>),
    /// The request is wrong.
    #[error("the hub does not take this; change what it names")]
    Request(#[source] Box<sdk::Error>),
    /// The resume token leads nowhere.
    #[error("the stream cannot go on from there; delete the resume file, or start with --snapshot")]
    Place(#[source] Box<sdk::Error>),
    /// Everything else.
    #[error("the hub at {url} did not do it")]
    Failed {
        /// The hub.
        url: String,
        /// Why.
        source: Box<sdk::Error>,
    },
    /// Something on this machine failed: the spool or the resume file.
    #[error(transparent)]
    Local(Box<sdk::Error>),
}

impl Error {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Error::Option(_) | Error::Request(_) | Error::EmptyKeyFile(_) | Error::File { .. } => Exit::Usage,
            Error::Unreachable { .. } => Exit::Unreachable,
            Error::NoKey(_) | Error::NoKeyElsewhere { .. } | Error::Credential { .. } | Error::Permission(_) => {
                Exit::Refused
            }
            Error::Gone(_) => Exit::NotFound,
            Error::Place(_) | Error::Failed { .. } | Error::Local(_) => Exit::Failed,
        }
    }
}

/// A hub to talk to.
#[derive(Debug)]
pub(super) struct Hub {
    /// The way to it.
    pub(super) client: Client,
    url: String,
}

impl Args {
    /// Settles which hub it is. Nothing is dialled yet.
    pub(super) fn hub(&self) -> Result<Hub, super::Error> {
        open(self.url.as_deref(), &self.entry, &config::environment)
    }
}

impl ArgsBesideUrl {
    /// Settles which hub it is. Nothing is dialled yet.
    pub(super) fn hub(&self) -> Result<Hub, super::Error> {
        open(self.hub.as_deref(), &self.entry, &config::environment)
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
        let url = self.url.clone();
        let answered = error.reason().is_some();
        let source = Box::new(error);
        match &*source {
            sdk::Error::Retryable(_) | sdk::Error::OutcomeUnknown(_) if !answered => Error::Unreachable { url, source },
            sdk::Error::Credential(_) => Error::Credential { url, source },
            sdk::Error::Permission(_) => Error::Permission(source),
            sdk::Error::Gone(_) => Error::Gone(source),
            sdk::Error::InvalidRequest(_) => Error::Request(source),
            sdk::Error::StartFromSnapshot(_) => Error::Place(source),
            sdk::Error::Option { .. } => Error::Option(source),
            sdk::Error::Spool { .. } | sdk::Error::ResumeTokenStore(_) | sdk::Error::File { .. } => Error::Local(source),
            sdk::Error::Retryable(_)
            | sdk::Error::OutcomeUnknown(_)
            | sdk::Error::Refresh(_)
            | sdk::Error::Fenced(_)
            | sdk::Error::Replaced
            | sdk::Error::Conflict(_)
            | sdk::Error::Refused(_)
            | sdk::Error::Unimplemented(_)
            | sdk::Error::BrokenPromise(_)
            | sdk::Error::SpoolFull
            | sdk::Error::Closed
            | _ => Error::Failed { url, source },
        }
    }
}

fn open(url: Option<&str>, entry: &Entry, environment: Environment<'_>) -> Result<Hub, super::Error> {
    let url = url.map(str::to_owned).or_else(|| variable(environment, URL_VARIABLE));
    let url = url.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let mut options = Options::at(&url).with_key(key(&url, entry, environment)?);
    if let Some(path) = &entry.ca_file {
        options = options.with_ca_certificate(read(path.clone())?);
    }
    let client = Client::connect(options).map_err(|error| Error::Option(Box::new(error)))?;
    Ok(Hub { client, url })
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
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn key_for(url: &str, entry: &Entry, variables: &[(&str, &str)]) -> Result<String, super::super::Error> {
        key(url, entry, &|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn what_was_typed_goes_before_the_environment_and_that_before_the_local_key() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("local.key"), "local\n").unwrap();
        fs::write(dir.path().join("other"), "filed\n").unwrap();
        let folder = ("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap());
        let environment = [folder, (KEY_VARIABLE, "from-environment")];
        let typed = Entry {
            key: Some("typed".into()),
            ..Entry::default()
        };
        let filed = Entry {
            key_file: Some(dir.path().join("other")),
            ..Entry::default()
        };
        let here = "http://127.0.0.1:2355";
        assert_eq!(key_for(here, &typed, &environment).unwrap(), "typed");
        assert_eq!(key_for(here, &filed, &environment).unwrap(), "filed");
        assert_eq!(key_for(here, &Entry::default(), &environment).unwrap(), "from-environment");
        assert_eq!(key_for(here, &Entry::default(), &[folder, (KEY_VARIABLE, "")]).unwrap(), "local");
    }

    #[test]
    fn the_local_key_never_leaves_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("local.key"), "local\n").unwrap();
        let folder = [("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap())];
        for here in ["http://127.0.0.1:1", "http://127.9.9.9:1", "https://localhost", "http://LOCALHOST:1", "http://[::1]:1"] {
            assert_eq!(key_for(here, &Entry::default(), &folder).unwrap(), "local", "{here}");
        }
        for elsewhere in ["http://10.0.0.1:1", "http://127.0.0.1.example.com", "http://localhost.example.com:2355", "http://[::2]:1", "http://127.0.0.1@example.com"] {
            let error = key_for(elsewhere, &Entry::default(), &folder).unwrap_err();
            assert_eq!(error.exit(), Exit::Refused, "{elsewhere}");
        }
    }

    #[test]
    fn without_any_key_the_text_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let folder = [("BELLBOARD_DATA_DIR", dir.path().to_str().unwrap())];
        let error = key_for(DEFAULT_ADDRESS, &Entry::default(), &folder).unwrap_err();
        assert!(error.to_string().contains("`bellboard serve`"), "{error}");
        let entry = Entry {
            key_file: Some(dir.path().join("none")),
            ..Entry::default()
        };
        assert_eq!(key_for(DEFAULT_ADDRESS, &entry, &[]).unwrap_err().exit(), Exit::Usage);
        fs::write(dir.path().join("none"), "\n").unwrap();
        assert_eq!(key_for(DEFAULT_ADDRESS, &entry, &[]).unwrap_err().exit(), Exit::Usage);
    }
}
