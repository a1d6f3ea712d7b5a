//! Which of opencode's lists to read, and when.
//!
//! The one thing to believe: a list of folders is only asked of folders that live already. A question about a folder starts
//! an instance in it, and a listener must not wake what sleeps.

use std::collections::{BTreeSet, HashSet, VecDeque};

use serde_json::Value;

use super::frame::{number, text};

/// How many of the newest sessions are read when the connector first sees a server. Older ones are read when they speak.
pub const RECENT_SESSIONS: usize = 50;

/// Most folders whose lists are read. Beyond it the rest is heard by the stream alone.
const DIRECTORIES_MAX: usize = 64;

/// Most reads that wait. A sweep asks for every recent session and three lists of each folder.
const WAITING_MAX: usize = 1_024;

/// Ticks of the clock (one a second) between the start of a stream and a second sweep: what was lost while the first one
/// ran is found by then.
const AGAIN_TICKS: u64 = 3;

/// Ticks between two comparisons of what runs and waits: the time for which an error can last.
const LISTS_TICKS: u64 = 30;

/// Ticks between two comparisons of all sessions.
const SESSIONS_TICKS: u64 = 300;

/// One list to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Read {
    /// The folder that the server was started in.
    Home,
    /// All sessions.
    Sessions,
    /// One session's history, or its messages.
    Record(String),
    /// No list itself: once the records before it are read, it is known in which folders something runs.
    Lists,
    /// What runs in a folder.
    Status(String),
    /// What is asked for in a folder.
    Permissions(String),
    /// See [`Read::Permissions`].
    Questions(String),
}

/// The lists that wait to be read on one connection.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    waiting: VecDeque<Read>,
    queued: HashSet<Read>,
    directories: BTreeSet<String>,
    /// Those of them that no list was read of yet.
    fresh: Vec<String>,
    ticks: u64,
}

impl Sweeps {
    /// The stream begins anew: everything is compared. Folders stay known.
    pub(super) fn begin(&mut self) {
        self.waiting.clear();
        self.queued.clear();
        self.ticks = 0;
        self.add(Read::Home);
        self.add(Read::Sessions);
    }

    /// A second has passed.
    pub(super) fn tick(&mut self, running: Vec<String>) {
        self.ticks += 1;
        for directory in std::mem::take(&mut self.fresh) {
            self.lists_of(&directory);
        }
        if self.ticks == AGAIN_TICKS || self.ticks.is_multiple_of(SESSIONS_TICKS) {
            self.add(Read::Sessions);
        }
        if self.ticks == AGAIN_TICKS || self.ticks.is_multiple_of(LISTS_TICKS) {
            self.lists(running);
        }
    }

    /// A folder lives.
    pub(super) fn lives(&mut self, directory: &str) {
        if directory.starts_with('/')
            && self.directories.len() < DIRECTORIES_MAX
            && !self.directories.contains(directory)
        {
            self.directories.insert(directory.to_owned());
            self.fresh.push(directory.to_owned());
        }
    }

    /// These sessions' records have to be read, and then what runs and waits: a list knows how things stand and not how
    /// they came to it.
    pub(super) fn records<'a>(&mut self, sessions: impl IntoIterator<Item = &'a str>) {
        for session in sessions {
            self.add(Read::Record(session.to_owned()));
        }
        self.add(Read::Lists);
    }

    /// The sessions to read of a list: those that are wanted among the newest, parents before their children.
    pub(super) fn wanted(listed: &Value, wants: impl Fn(&Value) -> bool, knows: impl Fn(&str) -> bool) -> Vec<&str> {
        let mut sessions: Vec<&Value> = listed
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .collect();
        let time = |session: &Value, pointer| number(session, pointer).unwrap_or(0);
        sessions.sort_by_key(|session| std::cmp::Reverse(time(session, "/time/updated")));
        let mut wanted: Vec<&Value> = sessions
            .into_iter()
            .enumerate()
            .filter(|(rank, session)| (*rank < RECENT_SESSIONS || knows(text(session, "/id"))) && wants(session))
            .map(|(_, session)| session)
            .collect();
        wanted.sort_by_key(|session| time(session, "/time/created"));
        wanted.into_iter().map(|session| text(session, "/id")).collect()
    }

    /// What runs and waits is compared next, in the folders that live and in those where something runs.
    pub(super) fn lists(&mut self, running: Vec<String>) {
        let all: BTreeSet<String> = running.into_iter().chain(self.directories.iter().cloned()).collect();
        for directory in all {
            self.lists_of(&directory);
        }
    }

    /// The next list to read.
    pub(super) fn next(&mut self) -> Option<Read> {
        let read = self.waiting.pop_front()?;
        self.queued.remove(&read);
        Some(read)
    }

    fn lists_of(&mut self, directory: &str) {
        self.add(Read::Status(directory.to_owned()));
        self.add(Read::Permissions(directory.to_owned()));
        self.add(Read::Questions(directory.to_owned()));
    }

    fn add(&mut self, read: Read) {
        if self.waiting.len() < WAITING_MAX && self.queued.insert(read.clone()) {
            self.waiting.push_back(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(sweeps: &mut Sweeps) -> Vec<Read> {
        std::iter::from_fn(|| sweeps.next()).collect()
    }

    #[test]
    fn a_folder_is_asked_once_it_lives_and_then_again_and_again() {
        let mut sweeps = Sweeps::default();
        sweeps.begin();
        assert_eq!(drain(&mut sweeps), [Read::Home, Read::Sessions]);
        sweeps.lives("/d");
        sweeps.lives("/d");
        sweeps.lives("global");
        assert_eq!(drain(&mut sweeps), []);
        sweeps.tick(Vec::new());
        let lists = ["/d"].map(str::to_owned);
        let [d] = lists;
        assert_eq!(
            drain(&mut sweeps),
            [
                Read::Status(d.clone()),
                Read::Permissions(d.clone()),
                Read::Questions(d)
            ]
        );
        let mut later = drain(&mut sweeps);
        for _ in 1..LISTS_TICKS {
            sweeps.tick(vec!["/running".to_owned()]);
            later.extend(drain(&mut sweeps));
        }
        assert_eq!(later.iter().filter(|read| **read == Read::Sessions).count(), 1);
        assert_eq!(
            later
                .iter()
                .filter(|read| **read == Read::Status("/running".to_owned()))
                .count(),
            2
        );
    }

    #[test]
    fn what_runs_is_asked_after_the_records() {
        let mut sweeps = Sweeps::default();
        sweeps.records(["ses_1", "ses_2"]);
        assert_eq!(drain(&mut sweeps).last(), Some(&Read::Lists));
    }

    #[test]
    fn the_newest_sessions_are_read_and_those_that_are_known() {
        let session = |number: u64| serde_json::json!({ "id": format!("ses_{number}"), "time": { "created": number, "updated": number } });
        let listed: Value = (0..200).map(session).collect();
        let wanted = Sweeps::wanted(&listed, |_| true, |id| id == "ses_3");
        assert_eq!(wanted.len(), RECENT_SESSIONS + 1);
        assert_eq!((wanted[0], wanted[1]), ("ses_3", "ses_150"));
        let changed = Sweeps::wanted(&listed, |session| text(session, "/id") == "ses_199", |_| false);
        assert_eq!(changed, ["ses_199"]);
    }
}
