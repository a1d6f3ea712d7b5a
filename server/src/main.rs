//! The program: reads what was typed, runs it, ends with its exit code.
//!
//! Believe this: nothing is decided here; the commands are in `cli`.

use std::process::ExitCode;

use bellboard::cli::{self, Cli};
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await.into()
}
