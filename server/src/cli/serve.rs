//! `bellboard serve`: starts the hub, greets, and ends it when told.
//!
//! Believe this: the first SIGTERM or Ctrl-C ends it politely, the second one at once.

use std::io::{self, Write};
use std::sync::Arc;

use bellboard_core::clock::Real;
use tracing::{debug, error};

use super::Exit;
use super::signals::{self, Signals};
use crate::auth::local;
use crate::config::{self, ServeFlags};
use crate::serve::{self, Running};
use crate::telemetry;

/// What is typed behind `bellboard serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each setting may also stand in the environment or in a TOML file; a flag goes before the environment, that before the file.

Examples:
  bellboard serve
  bellboard serve --listen 127.0.0.1:0 --data-dir /tmp/board
  bellboard serve --listen 0.0.0.0:2355 --tls-cert cert.pem --tls-key key.pem --allow-host hub.example.com")]
pub struct Args {
    #[command(flatten)]
    flags: ServeFlags,
}

/// Why the hub does not serve, or serves no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// There are no logs.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// It does not start.
    #[error(transparent)]
    Start(#[from] serve::Error),
    /// It cannot be told to end.
    #[error(transparent)]
    Signals(#[from] signals::Error),
    /// A part of it ended that should not.
    #[error("the task \"{0}\" ended by itself; this is a fault of the hub, please report it with the log above")]
    Broken(&'static str),
    /// It was told to end a second time.
    #[error("interrupted before all streams had ended")]
    Interrupted,
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::Config(_) => Exit::Usage,
            Error::Start(serve::Error::Exposed { .. }) => Exit::Usage,
            Error::Start(serve::Error::Lock(_)) => Exit::Unreachable,
            Error::Telemetry(_) | Error::Start(_) | Error::Signals(_) | Error::Broken(_) | Error::Interrupted => {
                Exit::Failed
            }
        }
    }
}

/// Serves until told to end.
///
/// # Errors
/// See [`Error`].
pub async fn run(args: Args) -> Result<(), Error> {
    let config = config::resolve(&args.flags, &config::environment)?;
    telemetry::init(&config.logging)?;
    let mut signals = Signals::new()?;
    let mut running = tokio::select! {
        running = serve::start(config.settings, Arc::new(Real::new())) => running?,
        () = signals.next() => return Ok(()),
    };
    if let Err(error) = greet(&mut anstream::stdout().lock(), &running) {
        // A hub without a terminal is still a hub.
        debug!(%error, "nobody reads the greeting");
    }
    let broken = tokio::select! {
        ended = running.wait() => {
            error!(task = ended.name, how = ?ended.how, "a task ended by itself; shutting down");
            Some(ended.name)
        }
        () = signals.next() => None,
    };
    tokio::select! {
        () = running.shutdown() => {}
        () = signals.next() => return Err(Error::Interrupted),
    }
    broken.map_or(Ok(()), |name| Err(Error::Broken(name)))
}

/// What a newcomer needs to know: where it is, where the data lies, how to come in, what to type next.
fn greet(out: &mut impl Write, running: &Running) -> io::Result<()> {
    let strong = anstyle::Style::new().bold();
    let quiet = anstyle::Style::new().dimmed();
    let version = env!("CARGO_PKG_VERSION");
    let (url, address) = (&running.url, running.url.split("://").last().unwrap_or_default());
    let data_dir = running.data_dir.display();
    let key = running.data_dir.join(local::FILE_NAME);
    let key = key.display();
    let plain = if url.starts_with("http:") { "-plaintext " } else { "" };
    writeln!(out, "bellboard {version} is running at {strong}{url}{strong:#}")?;
    writeln!(out, "  data  {data_dir}")?;
    writeln!(
        out,
        "  key   {key} {quiet}(only you can read it; the commands find it themselves){quiet:#}"
    )?;
    if let Some(url) = &running.metrics_url {
        writeln!(out, "  stats {url}")?;
    }
    writeln!(out)?;
    writeln!(out, "Next, in another terminal:")?;
    // Where the commands would not look by themselves, they are told.
    let usual = config::folder::default(&config::environment).is_some_and(|usual| usual == running.data_dir);
    let place = if usual {
        String::new()
    } else {
        format!("BELLBOARD_DATA_DIR='{data_dir}' ")
    };
    let program = program();
    writeln!(out, "  {strong}{place}{program} tail{strong:#}")?;
    writeln!(out, "  {strong}grpcurl {plain}{address} list{strong:#}")?;
    writeln!(out)?;
    writeln!(out, "{quiet}Ctrl-C ends it.{quiet:#}")?;
    out.flush()
}

/// How this program was called, so that the next command can be typed the same way.
fn program() -> String {
    let called = std::env::args_os().next().and_then(|name| name.into_string().ok());
    called.unwrap_or_else(|| "bellboard".to_owned())
}
