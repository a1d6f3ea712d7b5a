//! Writers: who appended what, by number.
//!
//! Believe this: an event names its writer by a number, so every writer that an event names has a row, even one whose fence and last
//! `seq` nobody wrote.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bellboard_core::id::WriterId;
use bellboard_core::lease::Sign;
use bellboard_core::offset::LogKey;
use bellboard_core::store::{Error, EventRow, Presence, RowOf, WriterRow};
use sea_orm::sea_query::{Cond, Expr, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Value};

use super::entity::{session, writer};
use super::error;
use super::rows::{Rows, lists};

const WRITERS: Rows = Rows {
    before: "INSERT INTO writers (log,id,fence,last_seq,connector,online,lost_after,lost_until) VALUES",
    columns: 8,
    after: "ON CONFLICT (log,id) DO UPDATE SET fence=excluded.fence,last_seq=excluded.last_seq,connector=excluded.connector,\
            online=excluded.online,lost_after=excluded.lost_after,lost_until=excluded.lost_until",
};

const NAME_WRITERS: Rows = Rows {
    before: "INSERT INTO writers (log,id) VALUES",
    columns: 2,
    after: "ON CONFLICT (log,id) DO NOTHING",
};

/// Only those that still have their fence. It takes no log's row: a node that only hears a writer does not wait for those that append.
const BEAT: Rows = Rows {
    before: "UPDATE writers SET beat=beat+1 FROM (VALUES",
    columns: 3,
    after: ") AS w WHERE writers.log=w.column1 AND writers.id=w.column2 AND writers.fence=w.column3",
};

/// Most numbers that are remembered. Past it all are forgotten: they are read again where they are needed.
const NUMBERS_MAX: usize = 10_000;

/// A writer's number, by log and id. It never changes once it is committed.
pub(super) type Number = ((LogKey, WriterId), i64);

/// Committed numbers, so that a commit need not ask for them: each row that a statement returns wakes two threads.
#[derive(Debug, Default)]
pub(super) struct Numbers(
    /// Shared by all transactions. Held for one look or one insertion, never over an await.
    Mutex<HashMap<(LogKey, WriterId), i64>>,
);

impl Numbers {
    /// Takes over what a transaction learned. To be called once it is committed.
    pub(super) fn learn(&self, numbers: Vec<Number>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + numbers.len() > NUMBERS_MAX {
            known.clear();
        }
        known.extend(numbers);
    }

    fn get(&self, log: LogKey, id: &WriterId) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(log, id.clone())).copied()
    }
}

/// The rows of these writers.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ids: &[WriterId],
) -> Result<Vec<WriterRow>, Error> {
    let ids: Vec<&str> = ids.iter().map(WriterId::as_str).collect();
    let mut found = Vec::with_capacity(ids.len());
    for list in lists(&ids) {
        found.extend(by_ids(connection, log, list).await?);
    }
    found.into_iter().filter_map(writer_row).collect()
}

async fn by_ids(connection: &impl ConnectionTrait, log: LogKey, ids: Vec<&str>) -> Result<Vec<writer::Model>, Error> {
    writer::Entity::find()
        .filter(writer::Column::Log.eq(i64::from(log.0)))
        .filter(writer::Column::Id.is_in(ids))
        .all(connection)
        .await
        .map_err(error::of)
}

/// What the rows of these writers tell of their lives.
pub(super) async fn signs(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ids: &[WriterId],
) -> Result<Vec<Sign>, Error> {
    let ids: Vec<&str> = ids.iter().map(WriterId::as_str).collect();
    let mut found = Vec::with_capacity(ids.len());
    for list in lists(&ids) {
        found.extend(by_ids(connection, log, list).await?);
    }
    found.into_iter().filter_map(sign).collect()
}

/// The writers that hold a session, or whose connectors are there.
pub(super) async fn holders(connection: &impl ConnectionTrait, log: LogKey) -> Result<Vec<Sign>, Error> {
    let owners = Query::select()
        .distinct()
        .column(session::Column::Owner)
        .from(session::Entity)
        .and_where(session::Column::Log.eq(i64::from(log.0)))
        .and_where(session::Column::Owner.is_not_null())
        .take();
    let found = writer::Entity::find()
        .filter(writer::Column::Log.eq(i64::from(log.0)))
        .filter(
            Cond::any()
                .add(writer::Column::Online.eq(true))
                .add(writer::Column::Id.in_subquery(owners)),
        )
        .all(connection)
        .await
        .map_err(error::of)?;
    found.into_iter().filter_map(sign).collect()
}

fn sign(model: writer::Model) -> Option<Result<Sign, Error>> {
    let beat = model.beat.cast_unsigned();
    let row = writer_row(model)?;
    Some(row.map(|row| Sign {
        writer: row.id,
        fence: row.fence,
        last_seq: row.last_seq,
        beat,
    }))
}

/// Counts the beats of these writers on.
pub(super) async fn beat(
    connection: &impl ConnectionTrait,
    log: LogKey,
    writers: &[(WriterId, u64)],
) -> Result<(), Error> {
    let values = writers.iter().flat_map(|(id, fence)| -> [Value; 3] {
        [i64::from(log.0).into(), id.as_str().into(), fence.cast_signed().into()]
    });
    BEAT.execute(connection, values.collect()).await?;
    Ok(())
}

/// None for a writer that is only named by events.
fn writer_row(model: writer::Model) -> Option<Result<WriterRow, Error>> {
    let writer::Model {
        number: _,
        log: _,
        id,
        fence,
        last_seq,
        beat: _,
        connector,
        online,
        lost_after,
        lost_until,
    } = model;
    let (fence, last_seq) = (fence?.cast_unsigned(), last_seq?.cast_unsigned());
    let presence = Presence {
        connector: connector.map(Into::into),
        online,
        lost: lost_after
            .zip(lost_until)
            .map(|(after, until)| (after.cast_unsigned(), until.cast_unsigned())),
    };
    Some(writer_id(&id).map(|id| WriterRow {
        id,
        fence,
        last_seq,
        presence,
    }))
}

/// The values of [`WRITERS`].
fn values(log: LogKey, row: WriterRow) -> [Value; 8] {
    let WriterRow {
        id,
        fence,
        last_seq,
        presence: Presence {
            connector,
            online,
            lost,
        },
    } = row;
    let (after, until) = lost.unzip();
    [
        i64::from(log.0).into(),
        id.as_str().into(),
        fence.cast_signed().into(),
        last_seq.cast_signed().into(),
        connector.map(|connector| connector.to_string()).into(),
        online.into(),
        after.map(u64::cast_signed).into(),
        until.map(u64::cast_signed).into(),
    ]
}

/// Forgets what writers were told to have lost.
pub(super) async fn forget_lost(connection: &impl ConnectionTrait, log: LogKey) -> Result<(), Error> {
    let none = || Expr::val(None::<i64>);
    writer::Entity::update_many()
        .col_expr(writer::Column::LostAfter, none())
        .col_expr(writer::Column::LostUntil, none())
        .filter(writer::Column::Log.eq(i64::from(log.0)))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

pub(super) fn writer_id(text: &str) -> Result<WriterId, Error> {
    WriterId::parse(text).map_err(|error| error::corrupt(format!("a writer's id {error}")))
}

/// Writes writers and gives the numbers of those whom the events name. What is not in `numbers` yet is added to `learned`.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    log: LogKey,
    events: &[EventRow],
    rows: Vec<WriterRow>,
    numbers: &Numbers,
    learned: &mut Vec<Number>,
) -> Result<HashMap<WriterId, i64>, Error> {
    let by = events.iter().filter_map(|event| Some(&event.writer.as_ref()?.0));
    let about = events.iter().filter_map(|event| match &event.of {
        RowOf::Session(_) => None,
        RowOf::Tenant(audience) => Some(audience.writer()),
    });
    let named: HashSet<&WriterId> = by.chain(about).collect();
    let mut found = HashMap::with_capacity(named.len());
    let mut unknown = Vec::new();
    for id in named {
        match numbers.get(log, id) {
            Some(number) => _ = found.insert(id.clone(), number),
            None => unknown.push(id.as_str()),
        }
    }
    let values = rows.into_iter().flat_map(|row| values(log, row));
    WRITERS.execute(connection, values.collect()).await?;
    let values = unknown.iter().flat_map(|id| [i64::from(log.0).into(), (*id).into()]);
    NAME_WRITERS.execute(connection, values.collect()).await?;
    for list in lists(&unknown) {
        for model in by_ids(connection, log, list).await? {
            let id = writer_id(&model.id)?;
            learned.push(((log, id.clone()), model.number));
            found.insert(id, model.number);
        }
    }
    Ok(found)
}
