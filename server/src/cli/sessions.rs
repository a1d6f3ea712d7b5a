//! `bellboard sessions`: a table of sessions.
//!
//! Believe this: the newest stand on top, and a table that was cut says so on standard error.

use std::io::Write as _;

use bellboard_core::clock::{Clock, Real};
use bellboard_core::offset::Time;
use bellboard_sdk::v1::{Chip, Execution, Lifecycle, ListSessionsRequest, Session, SessionOrder};
use futures_util::StreamExt as _;

use super::output::{Look, Output, note};
use super::summary::words::word;
use super::{hub, json, printable, table};

/// Most rows in one page: the hub's bound.
const PAGE_MAX: u32 = 1_000;
/// Columns that a title or a project may take: two of them and the rest still fit common terminals.
const TEXT_WIDTH: usize = 36;

/// What is typed behind `bellboard sessions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bellboard sessions
  bellboard sessions --project ~/src/shop --all
  bellboard sessions --vendor opencode --json | jq -r .sessionId")]
pub(super) struct Args {
    /// Only sessions of this project: a path or a repository's URL
    #[arg(long, value_name = "PROJECT", default_value = "", hide_default_value = true)]
    project: String,
    /// Only sessions of this vendor
    #[arg(long, value_name = "VENDOR", default_value = "", hide_default_value = true)]
    vendor: String,
    /// Closed and archived sessions too
    #[arg(long)]
    all: bool,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// One session in protobuf-JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: hub::Args,
}

/// Prints them.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let hub = args.hub.hub()?;
    hub.reach().await?;
    let request = ListSessionsRequest {
        // One more than is printed tells whether there are more.
        page_size: i32::try_from(args.limit.saturating_add(1).min(PAGE_MAX)).unwrap_or_default(),
        project: args.project,
        vendor: args.vendor,
        include_closed: args.all,
        include_archived: args.all,
        order: SessionOrder::UpdateTimeDescending.into(),
        ..ListSessionsRequest::default()
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut listed = hub.client.list_sessions(request);
    let mut rows = Vec::new();
    let mut printed = 0;
    let mut cut = false;
    while let Some(session) = listed.next().await {
        let session = session.map_err(|error| hub.error(error))?;
        if printed == limit {
            cut = true;
            break;
        }
        printed += 1;
        if args.json {
            writeln!(out, "{}", json::line(&session)?)?;
        } else {
            rows.push(row(&session, Real::new().now()));
        }
    }
    if !args.json {
        print(out, &rows)?;
    }
    out.flush()?;
    if cut {
        note(&format!("there are more than {limit}; raise --limit to see them"));
    } else if printed == 0 && !args.json {
        note("there are no sessions; agents that are connected and `bellboard publish` make them");
    }
    Ok(())
}

fn print(out: &mut Output, rows: &[[String; 7]]) -> Result<(), super::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let look: Look = out.look();
    let head = ["SESSION", "STATE", "TITLE", "VENDOR", "PROJECT", "EVENTS", "ACTIVE"];
    out.write_all(table::text(look, head, rows).as_bytes())?;
    Ok(())
}

fn row(session: &Session, now: Time) -> [String; 7] {
    let facts = session.facts.clone().unwrap_or_default();
    let key = session.key.clone().unwrap_or_default();
    let or_key = |fact: String, key: String| if fact.is_empty() { key } else { fact };
    [
        printable::one_line(&session.session_id),
        state(session),
        printable::fit(&facts.title, TEXT_WIDTH),
        printable::fit(&or_key(facts.vendor, key.vendor), TEXT_WIDTH),
        end_of(&or_key(facts.project, key.project)),
        session.event_count.to_string(),
        ago(session.update_time, now),
    ]
}

/// Paths differ at their ends.
fn end_of(project: &str) -> String {
    let whole = printable::one_line(project);
    let chars = whole.chars().count();
    if chars <= TEXT_WIDTH {
        return whole;
    }
    let end: String = whole.chars().skip(chars + 1 - TEXT_WIDTH).collect();
    format!("…{end}")
}

/// The state in one word: what a person would look at first.
fn state(session: &Session) -> String {
    let Some(state) = &session.state else {
        return String::new();
    };
    if state.archived {
        return "archived".to_owned();
    }
    if matches!(state.lifecycle(), Lifecycle::Closed | Lifecycle::Deleted) || session.close_time.is_some() {
        return "closed".to_owned();
    }
    if state.chip() != Chip::Unspecified {
        return word(state.chip().as_str_name(), "CHIP_");
    }
    if state.execution() != Execution::Unspecified {
        return word(state.execution().as_str_name(), "EXECUTION_");
    }
    word(state.lifecycle().as_str_name(), "LIFECYCLE_")
}

/// How long ago, in one unit.
fn ago(time: Option<prost_types::Timestamp>, now: Time) -> String {
    let Some(time) = time else {
        return String::new();
    };
    let seconds = (now.0 / 1_000_000).saturating_sub(time.seconds);
    match seconds {
        // Clocks differ a little.
        ..5 => "now".to_owned(),
        5..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        86_400.. => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use bellboard_sdk::v1::{SessionFacts, SessionKey, SessionState};

    use super::*;

    #[test]
    fn a_row_says_what_a_person_looks_for_and_nothing_hostile() {
        let session = Session {
            session_id: "s-1".into(),
            key: Some(SessionKey {
                vendor: "opencode".into(),
                project: format!("/home/ada/{}/shop", "deep/".repeat(10)),
                ..SessionKey::default()
            }),
            facts: Some(SessionFacts {
                title: "Fix\n\u{1b}[31mthe login".into(),
                ..SessionFacts::default()
            }),
            event_count: 12,
            update_time: Some(prost_types::Timestamp { seconds: 10, nanos: 0 }),
            ..Session::default()
        };
        let cells = row(&session, Time(100_000_000));
        assert_eq!(cells[2], "Fix ␛[31mthe login");
        assert_eq!(cells[3], "opencode");
        assert!(cells[4].starts_with('…') && cells[4].ends_with("/shop") && cells[4].chars().count() == TEXT_WIDTH);
        assert_eq!(cells[5..], ["12", "1m ago"]);
    }

    #[test]
    fn a_state_is_one_word() {
        let with = |change: fn(&mut SessionState)| {
            let mut state = SessionState::default();
            change(&mut state);
            let session = Session {
                state: Some(state),
                ..Session::default()
            };
            super::state(&session)
        };
        assert_eq!(with(|state| state.set_lifecycle(Lifecycle::Live)), "live");
        assert_eq!(with(|state| state.set_lifecycle(Lifecycle::Closed)), "closed");
        assert_eq!(with(|state| state.set_execution(Execution::Running)), "running");
        assert_eq!(with(|state| state.set_chip(Chip::AwaitingReply)), "awaiting reply");
        assert_eq!(with(|state| state.archived = true), "archived");
    }

    #[test]
    fn times_are_told_in_one_unit() {
        let at = |seconds| {
            ago(
                Some(prost_types::Timestamp { seconds, nanos: 0 }),
                Time(1_000_000_000_000),
            )
        };
        assert_eq!(at(1_000_005), "now");
        assert_eq!(at(1_000_000 - 59), "59s ago");
        assert_eq!(at(1_000_000 - 3_599), "59m ago");
        assert_eq!(at(1_000_000 - 86_399), "23h ago");
        assert_eq!(at(1_000_000 - 86_400 * 3), "3d ago");
    }
}
