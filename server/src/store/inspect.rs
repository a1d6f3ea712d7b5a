//! What lies in the database, as it lies there: for whoever checks it.
//!
//! Believe this: it only reads, and goes by places and numbers alone. A database that is looked at by [`Inspector`] may be in use, may be a
//! backup, and stays as it is.

use std::path::Path;

use async_trait::async_trait;
use bellboard_core::link::Link;
use bellboard_core::offset::{Index, LogKey, Offset, SessionNumber};
use bellboard_core::store::{Error, LogRow};
use bellboard_core::verify::{Evidence, KeptEvent, KeptEvents, KeptSession};
use sea_orm::sea_query::{Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, QueryResult};

use super::entity::{event, raw, session};
use super::event_rows::spot;
use super::open::sqlite::{self, Role};
use super::open::{self, Database, Synchronous, postgres};
use super::place::{OFFSET_MAX, offset, place};
use super::session_row::id;
use super::{error, logs, migration};

/// A database that is only looked at.
#[derive(Debug)]
pub struct Inspector(DatabaseConnection);

impl Inspector {
    /// Opens a database for reading. It must have the shape that this program gives it.
    ///
    /// # Errors
    /// [`open::Error::Older`] and [`open::Error::Newer`] when it has another shape; and when it cannot be read.
    pub async fn open(database: &Database) -> Result<Inspector, open::Error> {
        match database {
            Database::Folder(data_dir) => Inspector::open_file(&data_dir.join(sqlite::FILE_NAME)).await,
            Database::Postgres(url) => Inspector::checked(postgres::reader(url).await?).await,
        }
    }

    /// Opens the SQLite file of this path for reading, as a backup is one.
    ///
    /// # Errors
    /// See [`Inspector::open`].
    pub async fn open_file(path: &Path) -> Result<Inspector, open::Error> {
        Inspector::checked(sqlite::connect(path, Synchronous::Full, Role::Readers(1)).await?).await
    }

    async fn checked(connection: DatabaseConnection) -> Result<Inspector, open::Error> {
        migration::check(&connection).await?;
        Ok(Inspector(connection))
    }
}

#[async_trait]
impl Evidence for Inspector {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        logs::all(&self.0).await
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        kept_events(&self.0, log, from, most).await
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        kept_sessions(&self.0, log, after, most).await
    }
}

/// The first events at or behind an offset, and the places of raw records up to the last of them.
pub(super) async fn kept_events(
    connection: &impl ConnectionTrait,
    log: LogKey,
    from: Offset,
    most: usize,
) -> Result<KeptEvents, Error> {
    use event::Column;
    let select = Query::select()
        .columns([
            Column::Place,
            Column::Session,
            Column::Idx,
            Column::Link,
            Column::HasRaw,
            Column::Stored,
        ])
        .from(event::Entity)
        .and_where(Column::Place.gte(place(log, from)))
        .and_where(Column::Place.lte(place(log, Offset(OFFSET_MAX))))
        .order_by(Column::Place, Order::Asc)
        .limit(most as u64)
        .take();
    let rows = connection.query_all(&select).await.map_err(error::of)?;
    let events: Vec<KeptEvent> = rows.iter().map(kept_event).collect::<Result<_, _>>()?;
    let last = events.last().map_or(Offset(OFFSET_MAX), |event| event.offset);
    let select = Query::select()
        .column(raw::Column::Place)
        .from(raw::Entity)
        .and_where(raw::Column::Place.gte(place(log, from)))
        .and_where(raw::Column::Place.lte(place(log, last)))
        .order_by(raw::Column::Place, Order::Asc)
        .limit(most as u64)
        .take();
    let rows = connection.query_all(&select).await.map_err(error::of)?;
    let raw = |row: &QueryResult| row.try_get_by_index(0).map(offset).map_err(error::of);
    let raws = rows.iter().map(raw).collect::<Result<_, _>>()?;
    Ok(KeptEvents { events, raws })
}

fn kept_event(row: &QueryResult) -> Result<KeptEvent, Error> {
    let number = |column: usize| row.try_get_by_index::<i64>(column).map_err(error::of);
    Ok(KeptEvent {
        offset: offset(number(0)?),
        spot: spot(number(1)?, number(2)?),
        link: Link(number(3)?.cast_unsigned()),
        has_raw: row.try_get_by_index(4).map_err(error::of)?,
        stored: row.try_get_by_index::<Vec<u8>>(5).map_err(error::of)?.into(),
    })
}

/// The first sessions of a log behind this one.
pub(super) async fn kept_sessions(
    connection: &impl ConnectionTrait,
    log: LogKey,
    after: Option<SessionNumber>,
    most: usize,
) -> Result<Vec<KeptSession>, Error> {
    use session::Column;
    // The first one has the number 0 in its log.
    let first = after.map_or_else(|| SessionNumber::of(log, 0), |after| SessionNumber(after.0 + 1));
    let select = Query::select()
        .columns([Column::Number, Column::NextIndex, Column::LastOffset, Column::Id])
        .from(session::Entity)
        .and_where(Column::Number.gte(first.0.cast_signed()))
        .and_where(Column::Log.eq(i64::from(log.0)))
        .order_by(Column::Number, Order::Asc)
        .limit(most as u64)
        .take();
    let rows = connection.query_all(&select).await.map_err(error::of)?;
    rows.iter().map(kept_session).collect()
}

fn kept_session(row: &QueryResult) -> Result<KeptSession, Error> {
    let number = |column: usize| {
        let number = row.try_get_by_index::<i64>(column).map_err(error::of);
        number.map(i64::cast_unsigned)
    };
    let name: String = row.try_get_by_index(3).map_err(error::of)?;
    Ok(KeptSession {
        number: SessionNumber(number(0)?),
        next_index: Index(number(1)?),
        last_offset: Offset(number(2)?),
        id: id(&name)?,
    })
}
