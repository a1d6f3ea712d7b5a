//! A field at fault: what parsing at the door answers.
//!
//! Believe this: whatever varies in the words is also in the metadata, so that a program need not read words.

use std::fmt::Display;

use bellboard_core::appender::{Refusal, Rejection};
use bellboard_core::{id, interest, limits, session};
use tonic::Status;

use crate::wire::status;

/// A field at fault, and what is wrong with it, worded to follow the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, with dots.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
    /// What varies in the problem: names and values.
    pub metadata: Vec<(&'static str, String)>,
}

impl Fault {
    /// A fault of a field, in words that never vary. What varies is added by [`Fault::with`].
    pub fn new(field: impl Into<String>, problem: impl Display) -> Fault {
        Fault {
            field: field.into(),
            problem: problem.to_string(),
            metadata: Vec::new(),
        }
    }

    /// Adds something that varies in the problem.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Fault {
        self.metadata.push((name, value.to_string()));
        self
    }

    /// The field is longer than its limit, in bytes.
    pub fn bytes(field: impl Into<String>, bytes: usize, limit: usize) -> Fault {
        Fault::new(field, format!("has {bytes} bytes; give at most {limit}"))
            .with("bytes", bytes)
            .with("limit", limit)
    }

    /// The field has more entries than its limit, or none where there must be one: `least` is 0 or 1.
    pub fn entries(field: impl Into<String>, count: usize, least: usize, limit: usize) -> Fault {
        Fault::new(field, format!("has {count} entries; give {least} to {limit}"))
            .with("count", count)
            .with("limit", limit)
    }

    /// The field is no id.
    pub fn id(field: impl Into<String>, error: &id::Error) -> Fault {
        let fault = Fault::new(field, error);
        match error {
            id::Error::Empty => fault.with("limit", limits::ID_BYTES_MAX),
            id::Error::TooLong(bytes) => fault.with("bytes", bytes).with("limit", limits::ID_BYTES_MAX),
            id::Error::Character => fault,
        }
    }

    /// A part of the field, which is a key, is none.
    #[must_use]
    pub fn key(field: &str, error: &session::Error) -> Fault {
        match error {
            session::Error::Empty(part) => Fault::new(
                format!("{field}.{part}"),
                "is empty; give the vendor's name and its id of the session",
            ),
            session::Error::TooLong(part, bytes) => {
                Fault::bytes(format!("{field}.{part}"), *bytes, limits::KEY_PART_BYTES_MAX)
            }
            session::Error::Control(part) => {
                Fault::new(format!("{field}.{part}"), "has a control character; remove it")
            }
        }
    }

    /// The interests are none, or too many.
    #[must_use]
    pub fn interests(error: &interest::Error) -> Fault {
        match error {
            interest::Error::None => Fault::new("interests", error),
            interest::Error::TooMany(count) => Fault::entries("interests", *count, 1, limits::INTERESTS_MAX),
        }
    }

    /// The same, as the answer to one append.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Rejection {
        let Fault {
            field,
            problem,
            metadata,
        } = self;
        Rejection {
            refusal,
            message: format!("{field} {problem}"),
            field,
            metadata,
        }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Rejection {
        fault.refused(Refusal::InvalidField)
    }
}

/// The way back: a message that begins with its field is a problem of that field.
impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Fault {
        let Rejection {
            refusal: _,
            message,
            field,
            metadata,
        } = rejection;
        let problem = message.strip_prefix(&field).map_or(message.as_str(), str::trim_start);
        Fault {
            problem: problem.to_owned(),
            field,
            metadata,
        }
    }
}

/// A field at fault, as a whole call's answer.
impl From<Fault> for Status {
    fn from(fault: Fault) -> Status {
        status::invalid(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_in_the_words_is_beside_them() {
        let long = Fault::id("session_id", &id::Error::TooLong(129));
        assert_eq!(
            long.metadata,
            [("bytes", "129".to_owned()), ("limit", "128".to_owned())]
        );
        let part = Fault::key("key", &session::Error::TooLong("native_id", 5000));
        assert_eq!(part.field, "key.native_id");
        assert_eq!(
            part.metadata,
            [("bytes", "5000".to_owned()), ("limit", "4096".to_owned())]
        );
        let many = Fault::interests(&interest::Error::TooMany(65));
        assert_eq!(many.metadata, [("count", "65".to_owned()), ("limit", "64".to_owned())]);
    }

    #[test]
    fn a_fault_is_the_same_after_it_was_an_appends_answer() {
        let fault = Fault::bytes("event", 300_000, 262_144);
        let rejection = fault.clone().refused(Refusal::TooLarge);
        assert_eq!(rejection.message, "event has 300000 bytes; give at most 262144");
        assert_eq!(Fault::from(rejection), fault);
    }
}
