//! The command line: what is typed, which command runs, and how it ends.
//!
//! Believe this: a command prints what it was asked for to standard output and everything else to standard error, and [`Exit`] is the
//! only table of how it may end.

pub mod exit;
pub mod serve;
pub mod key;
mod sessions;
mod tail;
mod publish;
mod history;
mod connect;
mod verify;
mod backup;
mod restore;
mod new_epoch;
mod rebuild;
mod files;
mod hub;
mod select;
mod lines;
mod summary;
mod table;
mod bar;
mod json;
mod printable;
mod output;
mod signals;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{config, telemetry};
pub use exit::Exit;
use output::Output;

/// The board between coding agents and the people who run them.
///
/// `bellboard serve` starts a hub on this machine; everything else talks to one.
#[derive(Debug, Parser)]
#[command(name = "bellboard", version, after_long_help = exit::help(), after_help = exit::help(), max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start the hub, with its data on this machine.
    Serve(serve::Args),
    /// Make, list and revoke keys, in the database of this machine's hub. Running hubs follow within a second.
    Key(key::Args),
    /// List the sessions.
    Sessions(sessions::Args),
    /// Show what happens, while it happens.
    Tail(tail::Args),
    /// Append events that stand in a file, a line each.
    Publish(publish::Args),
    /// Show what is stored.
    History(history::Args),
    /// Tie an agent on this machine to the hub.
    Connect(connect::Args),
    /// Look whether what is stored is whole, and where it is not.
    Verify(verify::Args),
    /// Copy everything that is stored into one file, while the hub runs or not.
    Backup(backup::Args),
    /// Make a data folder of a backup.
    Restore(restore::Args),
    /// Tell clients that the database was set back by other means than restore.
    NewEpoch(new_epoch::Args),
    /// Fold the rows of sessions anew out of the log, and put right what differs.
    Rebuild(rebuild::Args),
}

/// Why a command did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// There are no logs.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// `serve` failed.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// `key` failed.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The hub cannot be reached, or does not do it.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// `publish` failed.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// `connect` failed.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// `verify` failed, or found something.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// `backup` failed.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// `restore` failed.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// `new-epoch` failed.
    #[error(transparent)]
    NewEpoch(#[from] new_epoch::Error),
    /// `rebuild` failed, or left something.
    #[error(transparent)]
    Rebuild(#[from] rebuild::Error),
    /// A message has no line of JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// It could not be told to end.
    #[error(transparent)]
    Signals(#[from] signals::Error),
    /// The place cannot be kept.
    #[error("cannot write the resume file {path}", path = path.display())]
    ResumeFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked for could not be printed.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Error::Config(_) => Exit::Usage,
            Error::Telemetry(_) => Exit::Failed,
            Error::Serve(error) => error.exit(),
            Error::Key(error) => error.exit(),
            Error::Hub(error) => error.exit(),
            Error::Publish(error) => error.exit(),
            Error::Connect(error) => error.exit(),
            Error::Verify(error) => error.exit(),
            Error::Backup(error) => error.exit(),
            Error::Restore(error) => error.exit(),
            Error::NewEpoch(error) => error.exit(),
            Error::Rebuild(error) => error.exit(),
            Error::Json(_) | Error::Signals(_) | Error::ResumeFile { .. } => Exit::Failed,
            // Whoever read our output has seen enough.
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Error::Output(_) => Exit::Failed,
        }
    }
}

/// Runs what was typed, and tells on standard error why it failed.
pub async fn run(cli: Cli) -> Exit {
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args).await.map_err(Error::from),
        Command::Key(args) => key::run(args, &mut anstream::stdout().lock()).await,
        Command::Sessions(args) => sessions::run(args, &mut Output::stdout()).await,
        Command::Tail(args) => tail::run(args, &mut Output::stdout()).await,
        Command::Publish(args) => publish::run(args, &mut Output::stdout()).await,
        Command::History(args) => history::run(args, &mut Output::stdout()).await,
        Command::Connect(args) => connect::run(args).await,
        Command::Verify(args) => verify::run(args, &mut Output::stdout()).await,
        Command::Backup(args) => backup::run(args, &mut Output::stdout()).await,
        Command::Restore(args) => restore::run(args, &mut Output::stdout()).await,
        Command::NewEpoch(args) => new_epoch::run(args, &mut Output::stdout()).await,
        Command::Rebuild(args) => rebuild::run(args, &mut Output::stdout()).await,
    };
    let Err(error) = outcome else {
        return Exit::Done;
    };
    let exit = error.exit();
    if exit != Exit::Done {
        tell(&error);
    }
    exit
}

/// The error and, after colons, what caused it.
fn tell(error: &dyn std::error::Error) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    // What the hub says may hold what an agent said.
    let text = printable::one_line(&text);
    // When standard error is gone as well there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_tells_how_it_ends() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains(&exit::help()), "{help}");
    }

    #[test]
    fn the_data_folder_may_be_named_before_and_behind_what_is_done_with_it() {
        for typed in ["bellboard key --data-dir /x list", "bellboard key list --data-dir /x"] {
            let Command::Key(args) = Cli::parse_from(typed.split(' ')).command else {
                panic!("{typed}");
            };
            let folder = crate::store::Database::from(std::path::Path::new("/x"));
            assert_eq!(args.database(&|_| None).unwrap(), folder, "{typed}");
        }
    }

    #[test]
    fn a_broken_pipe_is_no_error() {
        let broken = Error::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(broken.exit(), Exit::Done);
        assert_eq!(Error::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Failed);
    }
}
