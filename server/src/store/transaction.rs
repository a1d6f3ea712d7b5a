//! One open transaction: what a commit of the appender passes through.
//!
//! Believe this: once a step of it has failed, nothing of it is ever committed. SQLite may have ended the transaction by then, and what
//! came after would stand alone.

use std::sync::Arc;

use async_trait::async_trait;
use bellboard_core::event::{DedupeKey, Routing};
use bellboard_core::id::{SessionId, WriterId};
use bellboard_core::lease::Sign;
use bellboard_core::offset::{Index, LogKey, Offset, SessionNumber};
use bellboard_core::session::{Session, SessionKey};
use bellboard_core::store::{self, Changes, Error, LogRow, Stored, StoredEvent, Trim, WriterRow};
use sea_orm::sea_query::{Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryResult, QuerySelect};

use super::entity::{event, log, writer};
use super::place::offset;
use super::rows::Rows;
use super::sql::log_row;
use super::writers::{Number, Numbers};
use super::{error, sessions, trim, write, writers};

const FIND_DEDUPES: Rows = Rows {
    before: "SELECT d.session,d.key,d.place,d.idx FROM (VALUES",
    columns: 2,
    after: ") AS w CROSS JOIN dedupes d WHERE d.session=w.column1 AND d.key=w.column2",
};

/// One open transaction.
pub(super) struct Transaction {
    inner: DatabaseTransaction,
    /// Set while a step is under way: one that was given up counts as failed.
    failed: bool,
    numbers: Arc<Numbers>,
    /// What may be told to `numbers` once it is committed.
    learned: Vec<Number>,
}

impl Transaction {
    pub(super) fn new(inner: DatabaseTransaction, numbers: Arc<Numbers>) -> Transaction {
        Transaction {
            inner,
            failed: false,
            numbers,
            learned: Vec::new(),
        }
    }

    fn step(&mut self) -> Result<&DatabaseTransaction, Error> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(Error::Unavailable("an earlier step of this transaction failed".into()));
        }
        Ok(&self.inner)
    }

    fn done<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.failed = result.is_err();
        result
    }
}

#[async_trait]
impl store::Transaction for Transaction {
    async fn lock(&mut self, log: LogKey) -> Result<LogRow, Error> {
        let found = lock(self.step()?, log).await;
        self.done(found)
    }

    async fn sessions(&mut self, log: LogKey, ids: &[SessionId]) -> Result<Vec<Session>, Error> {
        let found = sessions::by_ids(self.step()?, log, ids).await;
        self.done(found)
    }

    async fn sessions_by_key(&mut self, log: LogKey, keys: &[SessionKey]) -> Result<Vec<Session>, Error> {
        let found = sessions::by_keys(self.step()?, log, keys).await;
        self.done(found)
    }

    async fn writers(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<WriterRow>, Error> {
        let found = writers::find(self.step()?, log, ids).await;
        self.done(found)
    }

    async fn signs(&mut self, log: LogKey, ids: &[WriterId]) -> Result<Vec<Sign>, Error> {
        let found = writers::signs(self.step()?, log, ids).await;
        self.done(found)
    }

    async fn held(&mut self, log: LogKey, writers: &[WriterId], most: usize) -> Result<Vec<Session>, Error> {
        let found = sessions::held(self.step()?, log, writers, most).await;
        self.done(found)
    }

    async fn deduplicated(
        &mut self,
        keys: &[(SessionNumber, DedupeKey)],
    ) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
        let found = deduplicated(self.step()?, keys).await;
        self.done(found)
    }

    async fn find_seqs(
        &mut self,
        session: SessionNumber,
        writer: &WriterId,
        seqs: &[u64],
        scan_max: usize,
    ) -> Result<Vec<(u64, Stored)>, Error> {
        let found = find_seqs(self.step()?, session, writer, seqs, scan_max).await;
        self.done(found)
    }

    async fn held_routings(&mut self, log: LogKey, writer: &WriterId) -> Result<Vec<Routing>, Error> {
        let found = sessions::held_routings(self.step()?, log, writer).await;
        self.done(found)
    }

    async fn descendants(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        let found = sessions::below(self.step()?, log, ancestors, most).await;
        self.done(found)
    }

    async fn write(&mut self, log: &LogRow, changes: Changes) -> Result<(), Error> {
        let mut learned = std::mem::take(&mut self.learned);
        let numbers = Arc::clone(&self.numbers);
        let written = write::write(self.step()?, log, changes, &numbers, &mut learned).await;
        self.learned = learned;
        self.done(written)
    }

    async fn events(
        &mut self,
        log: &LogRow,
        from: Offset,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let found = trim::events(self.step()?, log, from, events_max, bytes_max).await;
        self.done(found)
    }

    async fn bases(&mut self, _: LogKey, sessions: &[SessionNumber]) -> Result<Vec<Session>, Error> {
        let found = trim::bases(self.step()?, sessions).await;
        self.done(found)
    }

    async fn bases_below(&mut self, log: LogKey, ancestors: &[SessionId], most: usize) -> Result<Vec<Session>, Error> {
        let found = trim::bases_below(self.step()?, log, ancestors, most).await;
        self.done(found)
    }

    async fn trim(&mut self, trim: Trim, links_max: u64) -> Result<(), Error> {
        let trimmed = trim::trim(self.step()?, trim, links_max).await;
        self.done(trimmed)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Error> {
        self.step()?;
        self.inner.commit().await.map_err(error::of_commit)?;
        self.numbers.learn(self.learned);
        Ok(())
    }
}

async fn lock(connection: &impl ConnectionTrait, key: LogKey) -> Result<LogRow, Error> {
    log::Entity::find_by_id(i64::from(key.0))
        .lock_exclusive()
        .one(connection)
        .await
        .map_err(error::of)?
        .ok_or_else(|| error::corrupt(format!("there is no log {}", key.0)))
        .and_then(log_row)
}

async fn deduplicated(
    connection: &impl ConnectionTrait,
    keys: &[(SessionNumber, DedupeKey)],
) -> Result<Vec<(SessionNumber, DedupeKey, Stored)>, Error> {
    let values = keys
        .iter()
        .flat_map(|(session, key)| [session.0.cast_signed().into(), key.0.to_vec().into()])
        .collect();
    let found = FIND_DEDUPES.query(connection, values).await?;
    let one = |row: &QueryResult| {
        let session: i64 = row.try_get_by_index(0).map_err(error::of)?;
        let key: Vec<u8> = row.try_get_by_index(1).map_err(error::of)?;
        let key = key.try_into().map_err(|_| error::corrupt("a dedupe key's length"))?;
        let session = SessionNumber(session.cast_unsigned());
        Ok((session, DedupeKey(key), stored(row, 2, session)?))
    };
    found.iter().map(one).collect()
}

/// Place and index of an event of this session, from this column on.
fn stored(row: &QueryResult, column: usize, session: SessionNumber) -> Result<Stored, Error> {
    let place: i64 = row.try_get_by_index(column).map_err(error::of)?;
    let index: i64 = row.try_get_by_index(column + 1).map_err(error::of)?;
    Ok(Stored {
        offset: offset(place),
        index: (session != SessionNumber::of_tenant(session.log())).then_some(Index(index.cast_unsigned())),
    })
}

async fn find_seqs(
    connection: &impl ConnectionTrait,
    session: SessionNumber,
    writer: &WriterId,
    seqs: &[u64],
    scan_max: usize,
) -> Result<Vec<(u64, Stored)>, Error> {
    use event::Column;
    let newest = Query::select()
        .column(Column::Place)
        .from(event::Entity)
        .and_where(Column::Session.eq(session.0.cast_signed()))
        .order_by(Column::Place, Order::Desc)
        .limit(scan_max as u64)
        .take();
    let number = Query::select()
        .column((writer::Entity, writer::Column::Number))
        .from(writer::Entity)
        .and_where(writer::Column::Log.eq(i64::from(session.log().0)))
        .and_where(writer::Column::Id.eq(writer.as_str()))
        .take();
    let select = Query::select()
        .columns([Column::Seq, Column::Place, Column::Idx])
        .from(event::Entity)
        .and_where(Column::Place.in_subquery(newest))
        .and_where(Column::Writer.in_subquery(number))
        .and_where(Column::Seq.is_in(seqs.iter().map(|seq| seq.cast_signed())))
        .take();
    let found = connection.query_all(&select).await.map_err(error::of)?;
    let seq = |row: &QueryResult| {
        row.try_get_by_index::<i64>(0)
            .map(i64::cast_unsigned)
            .map_err(error::of)
    };
    found
        .iter()
        .map(|row| Ok((seq(row)?, stored(row, 1, session)?)))
        .collect()
}
