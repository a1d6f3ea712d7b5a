//! Where logs last, in SQLite or PostgreSQL: the only room that knows sea-orm.
//!
//! Believe this: it decides nothing. [`Sql`] implements `bellboard_core::store::Store`, whose rules and promises suite say what
//! that means; everything else here is how the rows lie and how they are found again.
//!
//! One store serves both databases, by the same statements. `open/` holds what they do not share.
//!
//! Text is written as SQL only where a commit passes, and then in the words that SQLite and PostgreSQL share.

mod sql;
mod deadline;

mod open;
mod checkpoint;

mod entity;
mod migration;

mod transaction;
mod write;
mod trim;
mod writers;
mod rows;

mod logs;
mod place;
mod event_rows;
mod sessions;
mod session_row;
mod stood;
mod audience;

mod wanted;
mod read;
mod count;
mod missing;
mod snapshot;

mod clients;
mod inspect;
mod copy;

mod resume_keys;
pub mod api_keys;

mod error;

#[cfg(test)]
mod tests;

pub use api_keys::{ApiKey, ApiKeys};
pub use copy::{copy, settle};
pub use deadline::bounded;
pub use inspect::Inspector;
pub use open::sqlite::FILE_NAME;
pub use open::{Database, Error, Options, Synchronous, Url, UrlError};
pub use sql::Sql;
