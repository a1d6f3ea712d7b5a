//! Where logs last, in SQLite: the only room that knows sea-orm.
//!
//! Believe this: it decides nothing. [`Sqlite`] implements `bellboard_core::store::Store`, whose rules and promises suite say what
//! that means; everything else here is how the rows lie and how they are found again.
//!
//! Who writes: one connection, one transaction at a time, `BEGIN IMMEDIATE`. Who reads: a few read-only connections, which in WAL
//! mode never wait for the writer. Who moves the write-ahead log into the file: a third kind of connection, out of everybody's way.
//!
//! Text is written as SQL only where a commit passes, and then in the words that SQLite and PostgreSQL share.

mod sqlite;

mod open;
mod checkpoint;

mod entity;
mod migration;

mod transaction;
mod write;
mod writers;
mod rows;

mod logs;
mod place;
mod event_rows;
mod sessions;
mod session_row;
mod stood;

mod wanted;
mod read;
mod count;
mod snapshot;

mod clients;
mod inspect;

mod resume_keys;
pub mod api_keys;

mod error;

#[cfg(test)]
mod tests;

pub use api_keys::{ApiKey, ApiKeys};
pub use inspect::Inspector;
pub use open::{Error, FILE_NAME, Options, Synchronous};
pub use sqlite::Sqlite;
