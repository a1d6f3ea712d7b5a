//! What is fast, beside what: `./recipe bench`.
//!
//! Believe this: every number is a ratio of two servers that ran on the same machine a moment apart, each fresh and in a process of its own, met by
//! the same clients; and it counts only if everything arrived exactly once and in order. `RESULTS.md` has what came of it.

mod clock;
mod error;
mod probe;
mod server;
mod load;
mod baseline;
mod rounds;
mod report;
mod scenario;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use baseline::{bare, raw};
use error::{Error, Result, io};
use report::Row;
use rounds::{Noise, Plan};
use scenario::{Bench, Scenario, Size};

/// Measures the hub beside its baselines.
#[derive(Debug, Parser)]
#[command(name = "bellboard-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios, all of them if none is named, and prints a table of ratios.
    Run(Run),
    /// The baseline of streams: raw tonic. Started by `run`.
    #[command(hide = true)]
    Raw(raw::Args),
    /// The baseline of appends: bare SQLite. Started by `run`.
    #[command(hide = true)]
    Bare(bare::Args),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Which scenarios.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Small loads and few rounds: shows where things stand in a few minutes.
    #[arg(long, conflicts_with = "smoke")]
    quick: bool,
    /// Tiny loads and one round: shows that everything works, not how fast it is.
    #[arg(long)]
    smoke: bool,
    /// Keeps rounds that were noisy, and says so.
    #[arg(long)]
    force: bool,
    /// Rounds to keep [default: 5; 3 with --quick, 1 with --smoke].
    #[arg(long)]
    rounds: Option<usize>,
    /// The hub's program.
    #[arg(long, env = "BELLBOARD_BIN", default_value = "target/release/bellboard")]
    hub: PathBuf,
    /// Another build of the hub, to be met in place of the baselines: shows what a change is worth.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// Where the results go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the JSON holds.
#[derive(Debug, Serialize)]
struct Results<'a> {
    cores: usize,
    size: Size,
    rows: &'a [Row],
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(args).await,
        Command::Raw(args) => raw::run(args).await,
        Command::Bare(args) => bare::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(anstream::stderr().lock(), "bellboard-bench: {}", error::whole(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Run) -> Result<()> {
    let size = match (args.quick, args.smoke) {
        (_, true) => Size::Smoke,
        (true, _) => Size::Quick,
        _ => Size::Full,
    };
    let bench = Bench {
        hub: args.hub,
        beside: args.beside,
        size,
        plan: Plan {
            rounds: args.rounds.unwrap_or_else(|| size.pick(5, 3, 1)).max(1),
            noise: if args.force || size == Size::Smoke {
                Noise::Keep
            } else {
                Noise::Discard
            },
        },
    };
    if size == Size::Smoke || cfg!(debug_assertions) {
        print(format_args!(
            "Nothing below says how fast anything is: the loads are tiny, or nothing was optimised."
        ))?;
    }
    let scenarios = if args.scenarios.is_empty() {
        Scenario::ALL.to_vec()
    } else {
        args.scenarios
    };
    let (mut rows, mut void) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        match scenario.run(&bench).await {
            Ok(told) => {
                print(format_args!("{}", report::table(&told)))?;
                rows.extend(told);
            }
            // The others are worth having all the same.
            Err(error) => {
                print(format_args!("{}: {}", scenario.name(), error::whole(&error)))?;
                void.push(scenario.name());
            }
        }
    }
    if let Some(path) = args.json {
        let results = Results {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            size,
            rows: &rows,
        };
        std::fs::write(path, serde_json::to_vec_pretty(&results)?).map_err(io("write the results"))?;
    }
    if void.is_empty() {
        Ok(())
    } else {
        Err(Error::Void(format!("no numbers of {}", void.join(", "))))
    }
}

/// One line on standard output.
fn print(line: fmt::Arguments<'_>) -> Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(io("print"))
}
