//! What the database says, in the store's words: the one place that reads its error codes.
//!
//! Believe this: [`Error::Full`] and [`Error::Constraint`] are said only where SQLite itself said so, because a caller acts on them;
//! everything that is not understood is [`Error::Unavailable`].

use std::sync::Arc;

use bellboard_core::store::Error;
use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr};

/// SQLite's result codes that mean something to us. The upper bytes of a code say more; the lowest says which it is.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    /// The shared index of the write-ahead log could not grow: there is no room for it.
    pub(super) const IO_SHARED_MEMORY_SIZE: i32 = 10 | 19 << 8;
}

/// Of anything but a commit.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other kinds differ in nothing that a caller could do"
)]
pub(super) fn of(error: DbErr) -> Error {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => of_sqlx(&inner),
        DbErr::Type(text) | DbErr::Json(text) => Error::Corrupt(text.into()),
        other => Error::Unavailable(other.to_string().into()),
    }
}

/// Of a commit: what is not known to have failed may have happened.
///
/// A full disk is known: the last page of a transaction carries the mark that makes it one, and it was not written.
pub(super) fn of_commit(error: DbErr) -> Error {
    match of(error) {
        Error::Full => Error::Full,
        Error::Constraint(_) | Error::CommitUnknown | Error::Unavailable(_) | Error::Corrupt(_) => Error::CommitUnknown,
    }
}

/// A row that cannot be what this program or an older one wrote.
pub(super) fn corrupt(what: impl Into<Arc<str>>) -> Error {
    Error::Corrupt(what.into())
}

/// Of what lies under sea-orm.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other kinds differ in nothing that a caller could do"
)]
pub(super) fn of_sqlx(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(database) => {
            let code = number(&**database);
            let text = || database.message().into();
            match code.map(|code| (code, code & 0xff)) {
                Some((_, code::FULL) | (code::IO_SHARED_MEMORY_SIZE, _)) => Error::Full,
                Some((_, code::CONSTRAINT)) => Error::Constraint(text()),
                Some((_, code::CORRUPT | code::NOT_A_DATABASE)) => Error::Corrupt(text()),
                Some(_) | None => Error::Unavailable(error.to_string().into()),
            }
        }
        sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Error::Full,
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. } => Error::Corrupt(error.to_string().into()),
        _ => Error::Unavailable(error.to_string().into()),
    }
}

/// Whether somebody else holds the database.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(number);
    code.is_some_and(|code| code & 0xff == code::BUSY)
}

fn number(error: &(impl sqlx::error::DatabaseError + ?Sized)) -> Option<i32> {
    error.code()?.parse().ok()
}
