//! `bellboard history`: what is stored, forwards or backwards.
//!
//! Believe this: the resume token that is told at the end continues right after what was printed forwards, or after the log as it was
//! when the first page was read backwards; `bellboard tail` with the same flags goes on from it.

use std::io::Write as _;
use std::path::PathBuf;

use bellboard_sdk::v1::{Event, EventAppend, EventOrder, EventRaw, ListEventsRequest, ListEventsResponse};
use bellboard_sdk::{FileResumeTokenStore, ResumeTokenStore as _, session_id};

use super::lines::Lines;
use super::output::{Output, note};
use super::{hub, json, select};

/// Most events in one page: the hub's bound.
const PAGE_MAX: u64 = 1_000;

/// What is typed behind `bellboard history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json a line is an event; with --raw as well it is what `bellboard publish` takes: session, event and raw.

Examples:
  bellboard history SESSION
  bellboard history --reverse --limit 20
  bellboard history SESSION --json --raw > session.jsonl
  bellboard history --resume-file place && bellboard tail --resume-file place")]
pub(super) struct Args {
    #[command(flatten)]
    select: select::Args,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// The vendor's own bytes beside the events that have some
    #[arg(long)]
    raw: bool,
    /// One event in protobuf-JSON a line
    #[arg(long)]
    json: bool,
    /// Put the place into this file: `bellboard tail --resume-file` goes on from there
    #[arg(long, value_name = "FILE")]
    resume_file: Option<PathBuf>,
    #[command(flatten)]
    hub: hub::Args,
}

/// Prints it.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let hub = args.hub.hub()?;
    hub.reach().await?;
    let mut lines = Lines::new(out.look());
    let order = if args.reverse {
        EventOrder::Descending
    } else {
        EventOrder::Ascending
    };
    let mut request = ListEventsRequest {
        interests: args.select.interests(),
        order: order.into(),
        include_raw: args.raw,
        ..ListEventsRequest::default()
    };
    let mut left = args.limit;
    let (resume_token, more) = loop {
        // No page is longer than what is still wanted, so that its resume token is that of the last line.
        request.page_size = i32::try_from(left.min(PAGE_MAX)).unwrap_or(i32::MAX);
        let page = hub
            .client
            .list_events_page(request.clone())
            .await
            .map_err(|error| hub.error(error))?;
        left = left.saturating_sub(page.events.len() as u64);
        print(&page, &args, &mut lines, out)?;
        if page.next_page_token.is_empty() || left == 0 {
            break (page.resume_token, !page.next_page_token.is_empty());
        }
        request.page_token = page.next_page_token;
    };
    if more {
        note(&format!(
            "these are {}; there may be more, raise --limit to see them",
            args.limit
        ));
    }
    if let Some(path) = args.resume_file {
        let saved = FileResumeTokenStore::new(&path).save(resume_token.clone()).await;
        saved.map_err(|source| super::Error::ResumeFile { path, source })?;
    }
    note(&format!("resume token: {resume_token}"));
    Ok(())
}

fn print(page: &ListEventsResponse, args: &Args, lines: &mut Lines, out: &mut Output) -> Result<(), super::Error> {
    let mut text = String::new();
    for event in &page.events {
        let raw = page.raws.iter().find(|raw| raw.offset == event.offset);
        match (args.json, args.raw) {
            (true, true) => text.push_str(&json::line(&append(event, raw))?),
            (true, false) => text.push_str(&json::line(event)?),
            (false, _) => {
                lines.event(event, &mut text);
                if let Some(raw) = raw {
                    lines.raw(raw, &mut text);
                }
                continue;
            }
        }
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The event as it would be appended again.
fn append(event: &Event, raw: Option<&EventRaw>) -> EventAppend {
    EventAppend {
        session: (!event.session_id.is_empty()).then(|| session_id(&event.session_id)),
        event: Some(event.clone()),
        raw: raw.and_then(|raw| raw.raw.clone()),
        ..EventAppend::default()
    }
}
