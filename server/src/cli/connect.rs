//! `bellboard connect`: ties an agent on this machine to the hub.
//!
//! Believe this: it runs until told to end. The agent and the hub may both be away for any time; what waits for the hub waits on disk.

use std::path::PathBuf;

use bellboard_connectors::opencode;
use clap::Subcommand;

use super::output::note;
use super::signals::Signals;
use super::{Exit, hub};
use crate::config;
use crate::telemetry::{self, Format, Logging};

/// The folder in the data folder that holds what connectors keep.
const STATE_FOLDER: &str = "connectors";
/// The variable by which opencode itself is given its password.
const PASSWORD_VARIABLE: &str = "OPENCODE_SERVER_PASSWORD";

/// What is typed behind `bellboard connect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    agent: Agent,
}

#[derive(Debug, Subcommand)]
enum Agent {
    /// Follow a running opencode server, and publish what it does.
    Opencode(Opencode),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events that the hub does not have yet wait in the state folder, also after the end. A server that
wants a password is given the one in OPENCODE_SERVER_PASSWORD. Ctrl-C ends it.

Examples:
  opencode serve --port 4096 &
  bellboard connect opencode --url http://127.0.0.1:4096
  bellboard connect opencode --hub https://hub.example.com")]
struct Opencode {
    /// Where the opencode server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4096")]
    url: String,
    /// Where the connector keeps its id and what the hub does not have yet [default: the folder connectors in the data folder]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// This machine's name, as people know it [default: its own]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// What is logged: a level, or several with the module they are for
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    log: String,
    #[command(flatten)]
    hub: hub::ArgsBesideUrl,
}

fn filter(text: &str) -> Result<String, &'static str> {
    if telemetry::is_filter(text) {
        Ok(text.to_owned())
    } else {
        Err("write for instance info, or warn,bellboard_connectors=debug")
    }
}

/// Why the agent is no longer followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// opencode cannot be followed, or the hub takes no more.
    #[error("the connector to {url} ended")]
    Opencode {
        /// The agent.
        url: String,
        /// Why.
        source: Box<opencode::Error>,
    },
}

impl Error {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Error::Opencode { .. } => Exit::Failed,
        }
    }
}

/// Follows the agent until told to end.
pub(super) async fn run(args: Args) -> Result<(), super::Error> {
    match args.agent {
        Agent::Opencode(args) => follow_opencode(args).await,
    }
}

async fn follow_opencode(args: Opencode) -> Result<(), super::Error> {
    let hub = args.hub.hub()?;
    let state_dir = match args.state_dir {
        Some(folder) => folder,
        None => args.hub.data_dir()?.join(STATE_FOLDER),
    };
    let mut signals = Signals::new()?;
    tokio::select! {
        reached = hub.reach() => reached?,
        () = signals.next() => return Ok(()),
    }
    telemetry::init(&Logging {
        filter: args.log,
        format: Format::Text,
    })?;
    let own_name = || gethostname::gethostname().to_string_lossy().into_owned();
    let options = opencode::Options {
        password: config::environment(PASSWORD_VARIABLE).map(|password| password.to_string_lossy().into_owned()),
        host: args.host.unwrap_or_else(own_name),
        ..opencode::Options::new(&args.url, state_dir)
    };
    note(&format!("following opencode at {}; Ctrl-C ends it", args.url));
    let followed = opencode::run(options, &hub.client, async move { signals.next().await }).await;
    followed.map_err(|source| Error::Opencode {
        url: args.url,
        source: Box::new(source),
    })?;
    Ok(())
}
