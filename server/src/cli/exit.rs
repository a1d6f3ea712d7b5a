//! How a command may end: the one table, which the help prints.
//!
//! Believe this: a number never changes its meaning, because scripts compare it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done, or whoever read the output went away.
    Done,
    /// It failed for a reason that has no number of its own.
    Failed,
    /// What was typed or set is wrong; nothing was done. The command line's parser ends so too.
    Usage,
    /// No hub answers, or another one has the data folder.
    Unreachable,
    /// The key is missing, not valid, or does not allow this.
    Refused,
    /// There is no such thing.
    NotFound,
    /// What is stored is damaged.
    Damaged,
}

/// Every way to end, with its number and its words in the help.
const TABLE: [(Exit, u8, &str); 7] = [
    (Exit::Done, 0, "done; also when the reader of the output went away"),
    (Exit::Failed, 1, "failed"),
    (Exit::Usage, 2, "a flag, an argument or a setting is wrong"),
    (
        Exit::Unreachable,
        3,
        "no hub answers, or another one has the data folder",
    ),
    (
        Exit::Refused,
        4,
        "the key is missing, not valid, or does not allow this",
    ),
    (Exit::NotFound, 5, "there is no such thing"),
    (Exit::Damaged, 6, "what is stored is damaged"),
];

/// The table as the help shows it.
#[must_use]
pub fn help() -> String {
    let rows = TABLE.map(|(_, number, words)| format!("  {number}  {words}"));
    format!("Exit codes:\n{}", rows.join("\n"))
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        let number = TABLE.iter().find(|(known, ..)| *known == exit);
        number.map_or(ExitCode::FAILURE, |(_, number, _)| ExitCode::from(*number))
    }
}
