//! Writers: who appended what, by number.
//!
//! Believe this: an event names its writer by a number, so every writer that an event names has a row, even one whose fence and last
//! `seq` nobody wrote.

use std::collections::{HashMap, HashSet};

use bellboard_core::id::WriterId;
use bellboard_core::offset::LogKey;
use bellboard_core::store::{Error, EventRow, WriterRow};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, Value};

use super::entity::writer;
use super::error;
use super::rows::{Rows, lists};

const WRITERS: Rows = Rows {
    before: "INSERT INTO writers (log,id,fence,last_seq) VALUES",
    columns: 4,
    after: "ON CONFLICT (log,id) DO UPDATE SET fence=excluded.fence,last_seq=excluded.last_seq RETURNING id,number",
};

/// Names that have no row yet. One that has keeps it: setting nothing new makes the database return it.
const NAME_WRITERS: Rows = Rows {
    before: "INSERT INTO writers (log,id) VALUES",
    columns: 2,
    after: "ON CONFLICT (log,id) DO UPDATE SET id=excluded.id RETURNING id,number",
};

/// The rows of these writers.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ids: &[WriterId],
) -> Result<Vec<WriterRow>, Error> {
    let ids: Vec<&str> = ids.iter().map(WriterId::as_str).collect();
    let mut found = Vec::with_capacity(ids.len());
    for list in lists(&ids) {
        found.extend(
            writer::Entity::find()
                .filter(writer::Column::Log.eq(i64::from(log.0)))
                .filter(writer::Column::Id.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?,
        );
    }
    found.into_iter().filter_map(writer_row).collect()
}

/// None for a writer that is only named by events.
fn writer_row(model: writer::Model) -> Option<Result<WriterRow, Error>> {
    let writer::Model {
        number: _,
        log: _,
        id,
        fence,
        last_seq,
    } = model;
    let (fence, last_seq) = (fence?.cast_unsigned(), last_seq?.cast_unsigned());
    Some(writer_id(&id).map(|id| WriterRow { id, fence, last_seq }))
}

fn writer_id(text: &str) -> Result<WriterId, Error> {
    WriterId::parse(text).map_err(|error| error::corrupt(format!("a writer's id {error}")))
}

/// Writes writers and gives the numbers of those whom the events name.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    log: LogKey,
    events: &[EventRow],
    rows: Vec<WriterRow>,
) -> Result<HashMap<WriterId, i64>, Error> {
    let mut numbers = HashMap::with_capacity(rows.len());
    let known: HashSet<WriterId> = rows.iter().map(|row| row.id.clone()).collect();
    let named: HashSet<&WriterId> = events
        .iter()
        .filter_map(|event| Some(&event.writer.as_ref()?.0))
        .collect();
    let values = rows
        .into_iter()
        .flat_map(|WriterRow { id, fence, last_seq }| -> [Value; 4] {
            [
                i64::from(log.0).into(),
                id.as_str().into(),
                fence.cast_signed().into(),
                last_seq.cast_signed().into(),
            ]
        });
    let mut number = |row: &QueryResult| {
        let id: String = row.try_get_by_index(0).map_err(error::of)?;
        let id = writer_id(&id)?;
        numbers.insert(id, row.try_get_by_index(1).map_err(error::of)?);
        Ok(())
    };
    let written = WRITERS.query(connection, values.collect()).await?;
    written.iter().try_for_each(&mut number)?;
    let named = named.into_iter().filter(|id| !known.contains(*id));
    let values = named.flat_map(|id| [i64::from(log.0).into(), id.as_str().into()]);
    let written = NAME_WRITERS.query(connection, values.collect()).await?;
    written.iter().try_for_each(&mut number)?;
    Ok(numbers)
}
