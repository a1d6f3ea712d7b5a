//! `bellboard rebuild`: the rows of sessions, folded anew out of the log.
//!
//! Believe this: on a data folder no hub may run meanwhile. On a database that hubs share they may: each page is read, and everything is
//! written, under the log's lock, and what hubs keep of the rows they read anew.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bellboard_core::id::SessionId;
use bellboard_core::rebuild::{self, Difference, Mode, Report};
use bellboard_core::store;
use bellboard_core::verify::Evidence as _;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::output::Output;
use super::{Exit, bar};
use crate::config::{self, DatabaseFlags};
use crate::serve::lock::{self, Lock};
use crate::store::{Database, FILE_NAME, Options, Sql};
use crate::wire::encode::Protobuf;

/// What is typed behind `bellboard rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every log is folded from what was kept of its trimmed events to its tail, and rows of sessions that differ from what comes out are told of and
replaced. A log with a damaged event is told of and left as it is: `bellboard verify` says more of it. Stop the hub that uses the data
folder first; hubs that share a PostgreSQL database may run. It ends with 6 when something is damaged that it leaves.

Examples:
  bellboard rebuild --dry-run
  bellboard rebuild --database-url postgres://hub@db/bellboard
  bellboard rebuild --json | jq -c 'select(.differ > 0)'")]
pub(super) struct Args {
    /// Only say what differs
    #[arg(long)]
    dry_run: bool,
    /// One log in JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Why rows stay as they are.
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
    /// A log is damaged, or differs still.
    #[error("{} not right; what lies in the log itself `bellboard verify` looks at", logs(*.0))]
    Left(usize),
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::NoData(_) => Exit::NotFound,
            Error::Lock(_) => Exit::Unreachable,
            Error::Open(crate::store::Error::Store(store::Error::Corrupt(_)))
            | Error::Store(store::Error::Corrupt(_))
            | Error::Left(_) => Exit::Damaged,
            Error::Open(_) | Error::Store(_) => Exit::Failed,
        }
    }
}

fn logs(count: usize) -> String {
    match count {
        1 => "one log is".to_owned(),
        count => format!("{count} logs are"),
    }
}

/// What became of each log, by its tenant.
type Outcome = (String, Result<Report, rebuild::Error>);

/// Rebuilds, and prints to `out`.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let database = config::database(&args.database, &config::environment)?;
    let mode = if args.dry_run { Mode::Look } else { Mode::Replace };
    let outcomes = rebuild(database, mode).await?;
    for outcome in &outcomes {
        if args.json {
            writeln!(out, "{}", line(outcome))?;
        } else {
            print(outcome, mode, out)?;
        }
    }
    out.flush()?;
    let is_right = |(_, outcome): &&Outcome| outcome.as_ref().is_ok_and(|report| report.left == 0);
    match outcomes.iter().filter(|outcome| !is_right(outcome)).count() {
        0 => Ok(()),
        left => Err(Error::Left(left).into()),
    }
}

async fn rebuild(database: Database, mode: Mode) -> Result<Vec<Outcome>, Error> {
    // Held to the end.
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
    let encode = Arc::new(Protobuf);
    let store = Sql::open(database, encode.clone(), options).await?;
    let logs = store.logs().await?;
    let bar = bar::events(logs.iter().map(|log| log.oldest.distance(log.tail)).sum());
    let (mut outcomes, mut before) = (Vec::with_capacity(logs.len()), 0);
    for log in logs {
        bar.set_message(log.tenant.to_string());
        let mut progress = |events| bar.set_position(before + events);
        let outcome = rebuild::rebuild(&store, &*encode, log.key, mode, &mut progress).await;
        before += log.oldest.distance(log.tail);
        match outcome {
            Err(rebuild::Error::Store(error)) => return Err(error.into()),
            outcome => outcomes.push((log.tenant.to_string(), outcome)),
        }
    }
    bar.finish_and_clear();
    store.close().await?;
    Ok(outcomes)
}

fn print((tenant, outcome): &Outcome, mode: Mode, out: &mut Output) -> Result<(), super::Error> {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            writeln!(out, "{tenant}: {error}")?;
            return Ok(());
        }
    };
    let (events, sessions) = (HumanCount(report.events), HumanCount(report.sessions));
    let done = match (report.differ, mode) {
        (0, _) => "all rows are right".to_owned(),
        (differ, Mode::Look) => format!("{} wrong", rows(differ)),
        (differ, Mode::Replace) => format!("{} wrong, {} replaced", rows(differ), differ - report.left),
    };
    writeln!(out, "{tenant}: {events} events of {sessions} sessions folded: {done}")?;
    for (id, difference) in &report.differences {
        writeln!(out, "  {}", words(id, difference))?;
    }
    let more = report.differ - report.differences.len() as u64;
    if more > 0 {
        writeln!(out, "  and {} more", HumanCount(more))?;
    }
    Ok(())
}

fn rows(count: u64) -> String {
    match count {
        1 => "one row is".to_owned(),
        count => format!("{} rows are", HumanCount(count)),
    }
}

fn words(id: &SessionId, difference: &Difference) -> String {
    match difference {
        Difference::Missing => format!("session {id}: its row is not there"),
        Difference::Stray => format!("session {id}: there is a row, and nothing in the log that it is of"),
        Difference::Fields(fields) => format!("session {id}: {}", fields.join(", ")),
    }
}

/// A log for a program.
fn line((tenant, outcome): &Outcome) -> Value {
    match outcome {
        Err(rebuild::Error::Damaged(offset)) => json!({ "tenant": tenant, "damagedAt": offset.0 }),
        Err(rebuild::Error::Store(error)) => json!({ "tenant": tenant, "error": error.to_string() }),
        Ok(report) => json!({
            "tenant": tenant,
            "epoch": report.log.epoch.to_string(),
            "oldest": report.log.oldest.0,
            "tail": report.log.tail.0,
            "events": report.events,
            "sessions": report.sessions,
            "differ": report.differ,
            "left": report.left,
            "differences": report.differences.iter().map(fields).collect::<Vec<_>>(),
        }),
    }
}

fn fields((id, difference): &(SessionId, Difference)) -> Value {
    let id = id.as_str();
    match difference {
        Difference::Missing => json!({ "sessionId": id, "kind": "missing" }),
        Difference::Stray => json!({ "sessionId": id, "kind": "stray" }),
        Difference::Fields(fields) => json!({ "sessionId": id, "kind": "fields", "fields": fields }),
    }
}
