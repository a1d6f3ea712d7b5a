//! `bellboard verify`: whether what is stored is whole, and where it is not.
//!
//! Believe this: it only reads, beside a running hub or without one, and it computes every link anew. What it says of a log it says of that
//! log as it was when the command ended.

use std::io::Write as _;
use std::path::PathBuf;

use bellboard_core::link::Link;
use bellboard_core::store;
use bellboard_core::verify::{self, Evidence, Finding, Report};
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::output::Output;
use super::{Exit, bar};
use crate::config::{self, DatabaseFlags};
use crate::store::{Database, FILE_NAME, Inspector};

/// What is typed behind `bellboard verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every log is walked from its oldest event to its tail: links, offsets, indices, the rows of sessions, raw records. The bytes of raw
records are in no link; a change of them is not found. It ends with 6 when something is damaged.

Examples:
  bellboard verify
  bellboard verify bellboard-2026-01-31.db
  bellboard verify --json | jq -c 'select(.found > 0)'")]
pub(super) struct Args {
    /// The SQLite file to look at, for instance a backup [default: the hub's database]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// One log in JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Why nothing can be said, or what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("there is no database at {path}; name the folder with --data-dir, or the file", path = .0.display())]
    NoData(PathBuf),
    /// The database cannot be opened.
    #[error("cannot open the database")]
    Open(#[from] crate::store::Error),
    /// The database was opened and then failed.
    #[error("cannot read the database")]
    Store(#[from] store::Error),
    /// Something is damaged, and was told.
    #[error("{} damaged; restore a backup, or copy what is whole with `bellboard history --json --raw`", places(*.0))]
    Damaged(u64),
}

impl Error {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Error::NoData(_) => Exit::NotFound,
            Error::Open(crate::store::Error::Store(store::Error::Corrupt(_)))
            | Error::Store(store::Error::Corrupt(_))
            | Error::Damaged(_) => Exit::Damaged,
            Error::Open(_) | Error::Store(_) => Exit::Failed,
        }
    }
}

fn places(count: u64) -> String {
    match count {
        1 => "one place is".to_owned(),
        count => format!("{} places are", HumanCount(count)),
    }
}

/// Looks, and prints to `out`.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let reports = verify(&args).await?;
    for report in &reports {
        if args.json {
            writeln!(out, "{}", line(report))?;
        } else {
            print(report, out)?;
        }
    }
    out.flush()?;
    match reports.iter().map(|report| report.found).sum() {
        0 => Ok(()),
        found => Err(Error::Damaged(found).into()),
    }
}

/// Looks at all logs of the database that was named.
async fn verify(args: &Args) -> Result<Vec<Report>, super::Error> {
    let database = config::database(&args.database, &config::environment)?;
    let file = match (&args.file, &database) {
        (Some(file), _) => Some(file.clone()),
        (None, Database::Folder(data_dir)) => Some(data_dir.join(FILE_NAME)),
        (None, Database::Postgres(_)) => None,
    };
    let inspector = match file {
        Some(file) if !file.is_file() => Err(Error::NoData(file)),
        Some(file) => Inspector::open_file(&file).await.map_err(Error::from),
        None => Inspector::open(&database).await.map_err(Error::from),
    };
    Ok(look(&inspector?).await.map_err(Error::from)?)
}

/// Looks at all logs of a store.
pub(super) async fn look(store: &dyn Evidence) -> Result<Vec<Report>, store::Error> {
    let logs = store.logs().await?;
    let total = logs.iter().map(|log| log.oldest.distance(log.tail)).sum();
    let bar = bar::events(total);
    let mut reports = Vec::with_capacity(logs.len());
    let mut before = 0;
    for log in logs {
        bar.set_message(log.tenant.to_string());
        let mut progress = |events| bar.set_position(before + events);
        let report = verify::verify(store, log, &mut progress).await?;
        before += report.events;
        reports.push(report);
    }
    bar.finish_and_clear();
    Ok(reports)
}

fn print(report: &Report, out: &mut Output) -> Result<(), super::Error> {
    let Report {
        log,
        events,
        sessions,
        findings,
        found,
    } = report;
    let state = match found {
        0 => "whole".to_owned(),
        found => format!("{} damaged", places(*found)),
    };
    let (events, sessions) = (HumanCount(*events), HumanCount(*sessions));
    let (tenant, oldest, tail) = (&log.tenant, log.oldest, log.tail);
    writeln!(
        out,
        "{tenant}: {events} events of {sessions} sessions in [{oldest}, {tail}): {state}"
    )?;
    for finding in findings {
        writeln!(out, "  {}", words(finding))?;
    }
    let left = found - findings.len() as u64;
    if left > 0 {
        writeln!(out, "  and {} more", HumanCount(left))?;
    }
    Ok(())
}

/// A finding for a person.
fn words(finding: &Finding) -> String {
    let newest = |(index, offset): &(bellboard_core::offset::Index, bellboard_core::offset::Offset)| {
        format!("offset {offset} before index {}", index.0)
    };
    match finding {
        Finding::Hole { from, until } => format!("offsets [{from}, {until}): the events are not there"),
        Finding::Link {
            offset,
            expected,
            found,
        } => format!(
            "offset {offset}: the link is {}, and {} follows from the link before and the event's bytes",
            hex(*found),
            hex(*expected)
        ),
        Finding::Index {
            offset,
            expected,
            found,
        } => format!(
            "offset {offset}: the event has index {} in its session, and {} is next",
            found.0, expected.0
        ),
        Finding::NoSession { offset } => format!("offset {offset}: the event's session has no row"),
        Finding::Session { id, expected, found } => format!(
            "session {id}: its row names {} as its newest event, and that is {}",
            newest(found),
            expected.as_ref().map_or_else(|| "not there".to_owned(), newest)
        ),
        Finding::RawMissing { offset } => format!("offset {offset}: the raw record beside the event is not there"),
        Finding::RawStray { offset } => format!("offset {offset}: there is a raw record, and no event that has one"),
        Finding::Tail { expected, found } => format!(
            "the log's row: its link is {}, and that of the newest event {}",
            hex(*found),
            hex(*expected)
        ),
        Finding::Beyond { offset } => format!("offset {offset}: there is an event behind the tail"),
    }
}

/// A log for a program. Offsets and indices are numbers: a log has fewer than 2^44 events.
fn line(report: &Report) -> Value {
    let Report {
        log,
        events,
        sessions,
        findings,
        found,
    } = report;
    json!({
        "tenant": log.tenant.as_str(),
        "epoch": log.epoch.to_string(),
        "oldest": log.oldest.0,
        "tail": log.tail.0,
        "events": events,
        "sessions": sessions,
        "found": found,
        "findings": findings.iter().map(fields).collect::<Vec<_>>(),
    })
}

fn fields(finding: &Finding) -> Value {
    let newest = |(index, offset): &(bellboard_core::offset::Index, bellboard_core::offset::Offset)| json!({ "nextIndex": index.0, "lastOffset": offset.0 });
    match finding {
        Finding::Hole { from, until } => json!({ "kind": "hole", "from": from.0, "until": until.0 }),
        Finding::Link {
            offset,
            expected,
            found,
        } => {
            json!({ "kind": "link", "offset": offset.0, "expected": hex(*expected), "found": hex(*found) })
        }
        Finding::Index {
            offset,
            expected,
            found,
        } => {
            json!({ "kind": "index", "offset": offset.0, "expected": expected.0, "found": found.0 })
        }
        Finding::NoSession { offset } => json!({ "kind": "no_session", "offset": offset.0 }),
        Finding::Session { id, expected, found } => json!({
            "kind": "session",
            "sessionId": id.as_str(),
            "expected": expected.as_ref().map(newest),
            "found": newest(found),
        }),
        Finding::RawMissing { offset } => json!({ "kind": "raw_missing", "offset": offset.0 }),
        Finding::RawStray { offset } => json!({ "kind": "raw_stray", "offset": offset.0 }),
        Finding::Tail { expected, found } => {
            json!({ "kind": "tail", "expected": hex(*expected), "found": hex(*found) })
        }
        Finding::Beyond { offset } => json!({ "kind": "beyond", "offset": offset.0 }),
    }
}

fn hex(link: Link) -> String {
    format!("{:016x}", link.0)
}
