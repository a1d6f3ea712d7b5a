//! The lines of a file, read beside everything else.
//!
//! Believe this: no line is longer in memory than [`LINE_BYTES_MAX`], and no more than [`AHEAD_MAX`] of them are read ahead. A bad line
//! is an entry like any other, with what is wrong with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _};
use std::path::Path;
use std::thread;

use bellboard_sdk::v1::EventAppend;
use tokio::sync::{mpsc, watch};

use super::Error;
use crate::cli::json::{self, Problem};

/// Longest line, in bytes: the largest event and its raw bytes (256 KiB each) with every character escaped.
pub(super) const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Most entries read ahead: enough to fill calls, and little memory even when all are as long as they may be.
const AHEAD_MAX: usize = 64;

/// A line that is not empty.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) line: u64,
    /// Its length with its end, in bytes, and that of the empty lines before it.
    pub(super) bytes: u64,
    /// What stands in it.
    pub(super) append: Result<EventAppend, Problem>,
}

/// A file that was opened.
pub(super) struct Source {
    reader: Box<dyn BufRead + Send>,
    bytes: Option<u64>,
    typed: bool,
}

impl Source {
    /// How long it is, in bytes, where that is known.
    pub(super) const fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Whether somebody has to type it.
    pub(super) const fn is_typed(&self) -> bool {
        self.typed
    }
}

/// Opens it; `-` is standard input.
pub(super) fn open(path: &Path) -> Result<Source, Error> {
    if path == Path::new("-") {
        let reader = Box::new(BufReader::new(io::stdin()));
        let typed = io::stdin().is_terminal();
        return Ok(Source {
            reader,
            bytes: None,
            typed,
        });
    }
    let failed = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let bytes = about.is_file().then_some(about.len());
    let reader = Box::new(BufReader::new(file));
    Ok(Source {
        reader,
        bytes,
        typed: false,
    })
}

/// The entries as they come.
#[derive(Debug)]
pub(super) struct Input {
    entries: mpsc::Receiver<Result<Entry, super::super::Error>>,
    stopped: watch::Receiver<bool>,
}

/// Ends an input before its end.
#[derive(Debug)]
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    /// No further entry comes.
    pub(super) fn now(&self) {
        self.0.send_replace(true);
    }
}

impl Input {
    /// Starts to read. The reading thread ends with the file, when nobody wants more, or, where it hangs at standard input, with the
    /// process: nothing waits for it.
    pub(super) fn start(source: Source) -> io::Result<(Input, Stop)> {
        let (sender, entries) = mpsc::channel(AHEAD_MAX);
        let (stop, stopped) = watch::channel(false);
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || read(source.reader, &sender))?;
        Ok((Input { entries, stopped }, Stop(stop)))
    }

    /// The next entry; none after the last. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Entry, super::super::Error>> {
        if *self.stopped.borrow() {
            return None;
        }
        tokio::select! {
            // Whoever could stop it is gone only at the end.
            Ok(()) = self.stopped.changed() => None,
            entry = self.entries.recv() => entry,
        }
    }

    /// The next entry if it was read already.
    pub(super) fn ready(&mut self) -> Option<Result<Entry, super::super::Error>> {
        if *self.stopped.borrow() {
            return None;
        }
        self.entries.try_recv().ok()
    }
}

fn read(mut reader: Box<dyn BufRead + Send>, sender: &mpsc::Sender<Result<Entry, super::super::Error>>) {
    let (mut line, mut bytes) = (0, 0);
    loop {
        line += 1;
        let entry = match next(&mut *reader) {
            Ok(None) => return,
            Ok(Some((length, text))) => {
                bytes += length;
                match text.map(|text| parse(&text)) {
                    Ok(None) => continue,
                    Ok(Some(Ok(append))) => Ok(Entry { line, bytes, append }),
                    Ok(Some(Err(error))) => Err(error),
                    Err(problem) => Ok(Entry {
                        line,
                        bytes,
                        append: Err(problem),
                    }),
                }
            }
            Err(source) => Err(Error::Read { line, source }.into()),
        };
        bytes = 0;
        let last = entry.is_err();
        if sender.blocking_send(entry).is_err() || last {
            return;
        }
    }
}

/// A line's length and its text; none after the last.
fn next(reader: &mut (dyn BufRead + Send)) -> io::Result<Option<(u64, Result<String, Problem>)>> {
    let mut bytes = Vec::new();
    let mut length = (&mut *reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? as u64;
    if length == 0 {
        return Ok(None);
    }
    if length == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
        length += reader.skip_until(b'\n')? as u64;
        return Ok(Some((
            length,
            Err(problem(&format!(
                "is longer than {LINE_BYTES_MAX} bytes; shorten its texts"
            ))),
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| problem("is not UTF-8"));
    Ok(Some((length, text)))
}

/// What stands in a line; none where nothing does.
fn parse(text: &str) -> Option<Result<Result<EventAppend, Problem>, super::super::Error>> {
    // A file that was written on another system may begin with a mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return None;
    }
    let append = json::parse::<EventAppend>(text).map(|append| append.and_then(complete));
    Some(append.map_err(super::super::Error::from))
}

/// What the hub would refuse for the same reason on every line.
fn complete(append: EventAppend) -> Result<EventAppend, Problem> {
    let missing = |field: &str, message: &str| Problem {
        field: field.to_owned(),
        message: message.to_owned(),
    };
    match &append.event {
        None => Err(missing(
            "event",
            r#"is missing; write {"session":{"sessionId":"s-1"},"event":{...}}"#,
        )),
        Some(event) if event.payload.is_none() => Err(missing(
            "event",
            r#"has no payload; write for instance "messageCompleted":{...} in it"#,
        )),
        Some(_) => Ok(append),
    }
}

fn problem(message: &str) -> Problem {
    Problem {
        field: String::new(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn entries(text: impl Into<Vec<u8>>) -> Vec<Entry> {
        let text: Vec<u8> = text.into();
        let reader = Box::new(io::Cursor::new(text));
        let (mut input, _stop) = Input::start(Source {
            reader,
            bytes: None,
            typed: false,
        })
        .unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = input.next().await {
            entries.push(entry.unwrap());
        }
        entries
    }

    const GOOD: &str = r#"{"session":{"sessionId":"s"},"event":{"turnStarted":{}}}"#;

    #[tokio::test]
    async fn every_line_that_is_not_empty_is_an_entry_with_its_number() {
        let text = format!("\u{feff}{GOOD}\r\n\n  \n{GOOD}");
        let total = text.len() as u64;
        let entries = entries(text).await;
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 4]);
        assert!(entries.iter().all(|entry| entry.append.is_ok()));
        assert_eq!(entries.iter().map(|entry| entry.bytes).sum::<u64>(), total);
    }

    #[tokio::test]
    async fn a_bad_line_says_what_is_wrong_and_the_next_one_is_read() {
        let wrong = r#"{"session":{"sessionId":"s"},"event":{"turnStarted":{"model":1}}}"#;
        let text = format!("{wrong}\n{{\"session\":{{}}}}\n{{\"event\":{{}}}}\n[\n{GOOD}\n");
        let entries = entries(text).await;
        let problem = |at: usize| entries[at].append.clone().unwrap_err();
        assert_eq!(
            (entries[0].line, problem(0).field.as_str()),
            (1, "event.turnStarted.model")
        );
        assert_eq!(problem(1).field, "event");
        assert!(problem(2).message.starts_with("has no payload; write for instance"));
        assert!(problem(3).field.is_empty());
        assert!(entries[4].append.is_ok());
    }

    #[tokio::test]
    async fn a_line_without_an_end_costs_no_memory() {
        let mut text = vec![b'x'; 3 * 1024 * 1024];
        text.extend(format!("\n{GOOD}\n").bytes());
        text.extend([0xff, b'\n']);
        let entries = entries(text).await;
        assert!(
            entries[0]
                .append
                .clone()
                .unwrap_err()
                .message
                .contains("longer than 2097152 bytes")
        );
        assert!(entries[1].append.is_ok());
        assert_eq!(
            (entries[2].line, entries[2].append.clone().unwrap_err().message),
            (3, "is not UTF-8".to_owned())
        );
    }

    #[tokio::test]
    async fn a_stopped_input_gives_no_more() {
        let reader = Box::new(io::Cursor::new(format!("{GOOD}\n{GOOD}\n")));
        let (mut input, stop) = Input::start(Source {
            reader,
            bytes: None,
            typed: false,
        })
        .unwrap();
        assert!(input.next().await.is_some());
        stop.now();
        assert!(input.next().await.is_none());
        assert!(input.ready().is_none());
    }
}
