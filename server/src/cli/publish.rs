//! `bellboard publish`: appends events that stand in a file, a line each.
//!
//! Believe this: every line is answered once, in its order: stored, duplicate or rejected. What a signal or a bad line stops is what was
//! not sent yet; what is on its way is waited for and told.

mod input;
mod report;
mod send;

use std::io;
use std::path::PathBuf;

use bellboard_sdk::{RetryPolicy, Spool, Writer, WriterOptions};

use super::hub::Hub;
use super::output::{Output, note};
use super::signals::Signals;
use super::{Exit, hub, json};
use input::Input;
use report::Report;

/// How often a hub that went away is dialled again before giving up: about a minute, longer than a hub takes to start again.
const WRITER_RETRIES: u32 = 8;

/// What is typed behind `bellboard publish`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = r#"A line is an EventAppend of the contract (bellboard/v1/session_events_service.proto) in
protobuf-JSON: the session, by id or by key, and the event with its payload. A session that does
not exist is opened.

  {"session":{"sessionId":"s-1"},"event":{"itemId":"m-1","messageCompleted":{"role":"MESSAGE_ROLE_AGENT","content":[{"text":{"text":"Hello"}}]}}}

A line that has a dedupeKey may be published again: it is answered as duplicate, and stored once.
Without a writer an eventId in the event does the same.

Examples:
  bellboard publish events.jsonl
  my-agent | bellboard publish --writer-id my-agent --spool ~/.cache/my-agent
  bellboard history SESSION --json --raw | bellboard publish --url https://other.example.com"#
)]
pub(super) struct Args {
    /// The file; - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Append as this writer, by a stream that is dialled again when it is lost. Always the same for the same spool
    #[arg(long, value_name = "ID")]
    writer_id: Option<String>,
    /// Keep events in this folder until the hub has them: what an interrupted run left there is sent by the next one
    #[arg(long, value_name = "FOLDER", requires = "writer_id")]
    spool: Option<PathBuf>,
    /// Go on after a line that cannot be read or that the hub rejects
    #[arg(long)]
    keep_going: bool,
    /// One result in protobuf-JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: hub::Args,
}

/// Why not everything was published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open {path}; name another file, or - for standard input", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be read to its end.
    #[error("cannot read line {line}")]
    Read {
        /// The line.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Lines that cannot be read, and events that the hub rejected.
    #[error("{0} of the lines were not stored, as told above; correct them and publish them again")]
    NotStored(u64),
    /// A signal came.
    #[error("interrupted; the lines that were not sent are not stored")]
    Interrupted,
    /// A second signal came.
    #[error(
        "interrupted while the hub had not answered all that was sent; what has a dedupeKey may be published again"
    )]
    Cut,
}

impl Error {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Error::Open { .. } => Exit::Usage,
            Error::Read { .. } | Error::NotStored(_) | Error::Interrupted | Error::Cut => Exit::Failed,
        }
    }
}

/// Publishes, and prints what became of it.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let hub = args.hub.hub()?;
    let mut signals = Signals::new()?;
    let source = input::open(&args.file)?;
    if source.is_typed() {
        note("type or paste events, a line each; Ctrl-D ends them");
    }
    tokio::select! {
        reached = hub.reach() => reached?,
        () = signals.next() => return Err(Error::Interrupted.into()),
    }
    let mut report = Report::new(out, args.json, args.keep_going, source.bytes());
    let (mut input, stop) = Input::start(source).map_err(|source| Error::Read { line: 1, source })?;
    let mut sending = Box::pin(publish(&args, &hub, &mut input, &mut report));
    let mut interrupted = false;
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            () = signals.next() => {
                if interrupted {
                    break Err(Error::Cut.into());
                }
                interrupted = true;
                stop.now();
            }
        }
    };
    drop(sending);
    // What was stored is told whatever stopped it.
    let finished = report.finish();
    sent?;
    finished?;
    if interrupted {
        Err(Error::Interrupted.into())
    } else {
        Ok(())
    }
}

async fn publish(args: &Args, hub: &Hub, input: &mut Input, report: &mut Report<'_>) -> Result<(), super::Error> {
    let Some(writer_id) = &args.writer_id else {
        return send::by_calls(hub, input, report).await;
    };
    let mut options = WriterOptions::new(writer_id);
    if let Some(folder) = &args.spool {
        options = options.with_spool(Spool::on_disk(folder));
    }
    options.retry = RetryPolicy {
        retries: Some(WRITER_RETRIES),
        ..RetryPolicy::stream()
    };
    let writer = Writer::open(&hub.client, options)
        .await
        .map_err(|error| hub.error(error))?;
    match writer.recovered().resent {
        0 => {}
        left => note(&format!("sending {left} events that an earlier run left in the spool")),
    }
    send::by_stream(hub, writer, input, report).await
}

/// Words for a line that is no event.
fn complaint(problem: &json::Problem) -> String {
    match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("field {field}: {}", problem.message),
    }
}
