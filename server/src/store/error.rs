//! What the database says, in the store's words: the one place that reads its error codes.
//!
//! Believe this: [`Error::Full`] and [`Error::Constraint`] are said only where the database itself said so, because a caller acts on them;
//! everything that is not understood is [`Error::Unavailable`].

use std::sync::Arc;

use bellboard_core::store::Error;
use sea_orm::sqlx;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// SQLite's result codes that mean something to us. The upper bytes of a code say more; the lowest says which it is.
mod sqlite {
    pub(super) const BUSY: i32 = 5;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOT_A_DATABASE: i32 = 26;
    /// The shared index of the write-ahead log could not grow: there is no room for it.
    pub(super) const IO_SHARED_MEMORY_SIZE: i32 = 10 | 19 << 8;
}

/// PostgreSQL's SQLSTATE codes that mean something to us: whole ones, and classes, which are the first two letters.
mod postgres {
    /// A value that its column cannot hold.
    pub(super) const CLASS_DATA: &str = "22";
    pub(super) const CLASS_CONSTRAINT: &str = "23";
    /// The connection broke.
    pub(super) const CLASS_CONNECTION: &str = "08";
    /// The server is ending, or somebody ended the session.
    pub(super) const CLASS_OPERATOR: &str = "57";
    /// The server's own failure.
    pub(super) const CLASS_INTERNAL: &str = "XX";
    pub(super) const DISK_FULL: &str = "53100";
    pub(super) const DATA_CORRUPTED: &str = "XX001";
    pub(super) const INDEX_CORRUPTED: &str = "XX002";
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
/// A full disk is known. In SQLite the last page of a transaction carries the mark that makes it one, and it was not written. A
/// PostgreSQL server that answers a commit with an error has undone it, unless the answer is that it, or the session, is ending.
pub(super) fn of_commit(error: DbErr) -> Error {
    if let DbErr::Conn(RuntimeErr::SqlxError(inner))
    | DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner)) = &error
        && let Some(code) = sqlstate(inner)
        && ![
            postgres::CLASS_CONNECTION,
            postgres::CLASS_OPERATOR,
            postgres::CLASS_INTERNAL,
        ]
        .iter()
        .any(|class| code.starts_with(class))
    {
        return of(error);
    }
    match of(error) {
        Error::Full => Error::Full,
        Error::Constraint(_) | Error::CommitUnknown | Error::Unavailable(_) | Error::Corrupt(_) | Error::Trimmed(_) => {
            Error::CommitUnknown
        }
    }
}

/// What a PostgreSQL server calls the error; none where no such server said anything.
fn sqlstate(error: &sqlx::Error) -> Option<&str> {
    let database = error.as_database_error()?;
    database
        .try_downcast_ref::<PgDatabaseError>()
        .map(PgDatabaseError::code)
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
            let text = || database.message().into();
            if let Some(code) = sqlstate(error) {
                return match code {
                    postgres::DISK_FULL => Error::Full,
                    postgres::DATA_CORRUPTED | postgres::INDEX_CORRUPTED => Error::Corrupt(text()),
                    _ if code.starts_with(postgres::CLASS_CONSTRAINT) || code.starts_with(postgres::CLASS_DATA) => {
                        Error::Constraint(text())
                    }
                    _ => Error::Unavailable(error.to_string().into()),
                };
            }
            let code = number(&**database);
            match code.map(|code| (code, code & 0xff)) {
                Some((_, sqlite::FULL) | (sqlite::IO_SHARED_MEMORY_SIZE, _)) => Error::Full,
                Some((_, sqlite::CONSTRAINT)) => Error::Constraint(text()),
                Some((_, sqlite::CORRUPT | sqlite::NOT_A_DATABASE)) => Error::Corrupt(text()),
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

/// Whether somebody else holds the SQLite file.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(number);
    code.is_some_and(|code| code & 0xff == sqlite::BUSY)
}

fn number(error: &(impl sqlx::error::DatabaseError + ?Sized)) -> Option<i32> {
    error.code()?.parse().ok()
}
