//! `bellboard tail`: what happens, while it happens.
//!
//! Believe this: a frame's place is saved only after the frame was printed and the output took it, so a run that goes on from a resume
//! file misses nothing; only what a crash cut in between comes again.

mod stage;
mod view;

use std::io::Write as _;
use std::path::PathBuf;

use bellboard_sdk::v1::ErrorReason;
use bellboard_sdk::{self as sdk, FileResumeTokenStore, Frame, OnUndecodable, Start, SubscribeOptions, Subscription};
use futures_util::StreamExt as _;

use super::hub::Hub;
use super::output::{Output, note};
use super::signals::Signals;
use super::{hub, json, printable, select};
use view::View;

/// What is typed behind `bellboard tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line is an event: time, session, kind, words. On a terminal, messages grow while the agent
writes them. Ctrl-C ends it.

Examples:
  bellboard tail
  bellboard tail SESSION --with-descendants --last 100
  bellboard tail --project ~/src/shop --family ask,turn
  bellboard tail --detail content --from-start --exit-when-caught-up --json > log.jsonl
  bellboard tail --json --resume-file place | my-program")]
pub(super) struct Args {
    #[command(flatten)]
    select: select::Args,
    /// Start with so many of the newest events; 0 to start with the next one
    #[arg(long, value_name = "N", default_value_t = 10, group = "start", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    last: u32,
    /// Start with the oldest event that is kept
    #[arg(long, group = "start")]
    from_start: bool,
    /// Start with the sessions as they are, then follow
    #[arg(long, group = "start")]
    snapshot: bool,
    /// Keep the place in this file: a later run goes on right after the last line of this one
    #[arg(long, value_name = "FILE")]
    resume_file: Option<PathBuf>,
    /// End when all named sessions are closed
    #[arg(long, requires = "sessions", conflicts_with_all = ["projects", "vendors"])]
    stop_when_closed: bool,
    /// End when everything that is stored was shown
    #[arg(long)]
    exit_when_caught_up: bool,
    /// One frame of the stream in protobuf-JSON a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hub: hub::Args,
}

impl Args {
    fn options(&self) -> SubscribeOptions {
        let start = match (self.from_start, self.snapshot, self.last) {
            (true, _, _) => Start::Oldest,
            (_, true, _) => Start::Snapshot,
            (_, _, 0) => Start::Now,
            (_, _, last) => Start::Last(last),
        };
        let mut options = SubscribeOptions::to(self.select.interests()).starting(start);
        options.stop_when_closed = self.stop_when_closed;
        // Events are passed on, not folded: one that cannot be read is told and left behind.
        options.on_undecodable = OnUndecodable::Continue;
        if let Some(path) = &self.resume_file {
            options = options.with_store(FileResumeTokenStore::new(path));
        }
        options
    }
}

/// How frames are printed.
enum Form {
    Json,
    People(Box<View>),
}

/// Prints until the stream ends or somebody ends it.
pub(super) async fn run(args: Args, out: &mut Output) -> Result<(), super::Error> {
    let hub = args.hub.hub()?;
    let mut signals = Signals::new()?;
    let mut form = if args.json {
        Form::Json
    } else {
        Form::People(Box::new(View::new(out.look())))
    };
    let mut frames = tokio::select! {
        reached = hub.reach() => {
            reached?;
            hub.client.subscribe(args.options())
        }
        () = signals.next() => return Ok(()),
    };
    let outcome = loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            // Nothing is lost: what was not printed was not saved.
            () = signals.next() => break Ok(()),
        };
        match frame {
            None => break Ok(()),
            Some(Ok(frame)) => {
                let caught_up = matches!(frame, Frame::CaughtUp(_));
                form.print(frame, &frames, out)?;
                frames.acknowledge().await.map_err(|error| hub.error(error))?;
                if caught_up && args.exit_when_caught_up {
                    break Ok(());
                }
            }
            Some(Err(error)) => {
                if let Some(error) = failed(error, &hub) {
                    break Err(error);
                }
            }
        }
    };
    form.end(out)?;
    outcome
}

impl Form {
    fn print(&mut self, frame: Frame, frames: &Subscription, out: &mut Output) -> Result<(), super::Error> {
        match self {
            Form::Json => {
                let frame = frame.into_response(frames.resume_token().unwrap_or_default());
                writeln!(out, "{}", json::line(&frame)?)?;
            }
            Form::People(view) => {
                let mut text = String::new();
                view.frame(&frame, &mut text);
                out.write_all(text.as_bytes())?;
            }
        }
        out.flush()?;
        Ok(())
    }

    /// Ends a line that is still open.
    fn end(&mut self, out: &mut Output) -> Result<(), super::Error> {
        if let Form::People(view) = self {
            let mut text = String::new();
            view.end(&mut text);
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

/// The error that ends the stream; none for one after which it goes on.
fn failed(error: sdk::Error, hub: &Hub) -> Option<super::Error> {
    if error.reason() == Some(ErrorReason::ResumeTokenInvalid) {
        // The stream goes on from a snapshot, which says so in its own frames.
        let text = format!("the place in the resume file leads nowhere, starting anew: {error}");
        note(&printable::one_line(&text));
        return None;
    }
    Some(hub.error(error).into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn typed(flags: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("tail").chain(flags.split_whitespace());
        Typed::try_parse_from(words).map(|typed| typed.args)
    }

    #[test]
    fn a_stream_starts_where_it_is_told() {
        let start = |flags| typed(flags).unwrap().options().start;
        assert_eq!(start(""), Start::Last(10));
        assert_eq!(start("--last 3"), Start::Last(3));
        assert_eq!(start("--last 0"), Start::Now);
        assert_eq!(start("--from-start"), Start::Oldest);
        assert_eq!(start("--snapshot"), Start::Snapshot);
        assert!(typed("--snapshot --from-start").is_err());
        assert!(typed("--last 10001").is_err());
    }

    #[test]
    fn only_named_sessions_can_all_be_closed() {
        assert!(typed("s --stop-when-closed").unwrap().options().stop_when_closed);
        assert!(typed("--stop-when-closed").is_err());
        assert!(typed("s --vendor v --stop-when-closed").is_err());
    }
}
