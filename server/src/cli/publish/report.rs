//! What became of the lines: results, complaints, a bar on long work, a summary.
//!
//! Believe this: results go to standard output, everything else to standard error. A line that is no event has a result as well, so
//! that results and lines can be laid side by side.

use std::io::Write as _;

use bellboard_sdk::v1::append_result::Outcome;
use bellboard_sdk::v1::{AppendResult, ErrorReason, EventRejected};
use indicatif::{HumanCount, ProgressBar};

use super::Error;
use super::input::Entry;
use crate::cli::bar;
use crate::cli::json::{self, Problem};
use crate::cli::output::{Output, note};
use crate::cli::printable::one_line;

/// Which line it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    line: u64,
    bytes: u64,
}

impl Place {
    pub(super) const fn of(entry: &Entry) -> Place {
        Place {
            line: entry.line,
            bytes: entry.bytes,
        }
    }
}

/// What became of all lines so far.
#[derive(Debug)]
pub(super) struct Report<'a> {
    out: &'a mut Output,
    json: bool,
    keep_going: bool,
    bar: ProgressBar,
    stored: u64,
    duplicates: u64,
    not_stored: u64,
}

impl<'a> Report<'a> {
    /// Nothing yet. `bytes` is how long the work is, where that is known.
    pub(super) fn new(out: &'a mut Output, json: bool, keep_going: bool, bytes: Option<u64>) -> Report<'a> {
        Report {
            out,
            json,
            keep_going,
            bar: bar::bytes(bytes),
            stored: 0,
            duplicates: 0,
            not_stored: 0,
        }
    }

    /// Takes the hub's answer to a line.
    pub(super) fn result(&mut self, place: Place, result: AppendResult) -> Result<(), super::super::Error> {
        match &result.outcome {
            Some(Outcome::Stored(_)) => self.stored += 1,
            Some(Outcome::Duplicate(_)) => self.duplicates += 1,
            Some(Outcome::Rejected(rejected)) => {
                let reason = bellboard_proto::reason_name(rejected.reason());
                let (field, message) = (&rejected.field, &rejected.message);
                // Most messages name the field themselves.
                let named = field.is_empty() || message.contains(field.as_str());
                let field = if named {
                    String::new()
                } else {
                    format!("field {field}: ")
                };
                self.complain(place, &format!("rejected: {field}{message} ({reason})"));
            }
            // A later hub's answer counts as rejected.
            None => self.complain(place, "answered in a way that this program does not know yet"),
        }
        self.print(place, &result)
    }

    /// Takes a line that is no event.
    pub(super) fn bad(&mut self, place: Place, problem: &Problem) -> Result<(), super::super::Error> {
        self.complain(
            place,
            &format!(
                "{}; see `bellboard publish --help` for what a line is",
                super::complaint(problem)
            ),
        );
        let rejected = EventRejected {
            reason: ErrorReason::InvalidField.into(),
            message: problem.message.clone(),
            field: problem.field.clone(),
            ..EventRejected::default()
        };
        let result = AppendResult {
            outcome: Some(Outcome::Rejected(rejected)),
            ..AppendResult::default()
        };
        self.print(place, &result)
    }

    /// Whether no further line should be sent.
    pub(super) const fn is_over(&self) -> bool {
        self.not_stored > 0 && !self.keep_going
    }

    /// Lets go of what was printed.
    pub(super) fn flush(&mut self) -> Result<(), super::super::Error> {
        let Report { out, bar, .. } = self;
        Ok(bar.suspend(|| out.flush())?)
    }

    /// Sums up.
    ///
    /// # Errors
    /// When not everything was stored.
    pub(super) fn finish(self) -> Result<(), super::super::Error> {
        self.bar.finish_and_clear();
        if !self.json {
            let count = |count: u64, what: &str| match count {
                0 => String::new(),
                count => format!(", {} {what}", HumanCount(count)),
            };
            let duplicates = count(self.duplicates, "there before");
            let not_stored = count(self.not_stored, "not stored");
            writeln!(self.out, "{} stored{duplicates}{not_stored}", HumanCount(self.stored))?;
        }
        self.out.flush()?;
        match self.not_stored {
            0 => Ok(()),
            not_stored => Err(Error::NotStored(not_stored).into()),
        }
    }

    fn print(&mut self, place: Place, result: &AppendResult) -> Result<(), super::super::Error> {
        if self.json {
            writeln!(self.out, "{}", json::line(result)?)?;
        }
        self.bar.inc(place.bytes);
        self.bar
            .set_message(format!("{} events", HumanCount(self.stored + self.duplicates)));
        Ok(())
    }

    fn complain(&mut self, place: Place, text: &str) {
        self.not_stored += 1;
        self.bar
            .suspend(|| note(&one_line(&format!("line {}: {text}", place.line))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bellboard_sdk::v1::EventStored;

    use super::*;
    use crate::cli::output::Look;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn reported(
        json: bool,
        keep_going: bool,
        act: impl FnOnce(&mut Report<'_>),
    ) -> (String, Result<(), super::super::super::Error>) {
        let shared = Shared::default();
        let mut out = Output::to(shared.clone(), Look::PLAIN);
        let mut report = Report::new(&mut out, json, keep_going, None);
        act(&mut report);
        let finished = report.finish();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        (text, finished)
    }

    const PLACE: Place = Place { line: 7, bytes: 1 };

    fn stored(offset: u64) -> AppendResult {
        AppendResult {
            outcome: Some(Outcome::Stored(EventStored { offset, index: 0 })),
            ..AppendResult::default()
        }
    }

    fn wrong() -> Problem {
        Problem {
            field: "event".into(),
            message: "is missing".into(),
        }
    }

    #[test]
    fn what_was_stored_is_summed_up() {
        let (text, finished) = reported(false, false, |report| {
            for offset in 0..1_234 {
                report.result(PLACE, stored(offset)).unwrap();
            }
            report
                .result(
                    PLACE,
                    AppendResult {
                        outcome: Some(Outcome::Duplicate(Default::default())),
                        ..Default::default()
                    },
                )
                .unwrap();
            assert!(!report.is_over());
        });
        assert_eq!(text, "1,234 stored, 1 there before\n");
        finished.unwrap();
    }

    #[test]
    fn a_bad_line_ends_it_unless_told_to_go_on() {
        let (_, finished) = reported(false, false, |report| {
            report.bad(PLACE, &wrong()).unwrap();
            assert!(report.is_over());
        });
        assert_eq!(finished.unwrap_err().exit(), crate::cli::Exit::Failed);
        let (text, finished) = reported(false, true, |report| {
            report.bad(PLACE, &wrong()).unwrap();
            report.result(PLACE, AppendResult::default()).unwrap();
            assert!(!report.is_over());
        });
        assert_eq!(text, "0 stored, 2 not stored\n");
        finished.unwrap_err();
    }

    #[test]
    fn as_json_every_line_has_a_result() {
        let (text, _) = reported(true, true, |report| {
            report.result(PLACE, stored(5)).unwrap();
            report.bad(PLACE, &wrong()).unwrap();
        });
        assert_eq!(
            text,
            "{\"stored\":{\"offset\":\"5\"}}\n{\"rejected\":{\"reason\":\"ERROR_REASON_INVALID_FIELD\",\"message\":\"is missing\",\"field\":\"event\"}}\n"
        );
    }

    #[test]
    fn a_complaint_names_the_field() {
        assert_eq!(super::super::complaint(&wrong()), "field event: is missing");
    }
}
