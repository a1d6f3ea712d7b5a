//! The store in a SQL database: SQLite or PostgreSQL.
//!
//! Believe this: every method is a few statements on the right connection; what they say stands in the files beside. What the two
//! databases do not share is how they are opened and what their errors mean.

use std::sync::Arc;

use async_trait::async_trait;
use bellboard_core::client::{ClientKey, Incarnation};
use bellboard_core::event::{Encode, Raw, Routing};
use bellboard_core::id::{SessionId, TenantId, WriterId};
use bellboard_core::interest::Interests;
use bellboard_core::lease::Sign;
use bellboard_core::link::{Link, LinkKey};
use bellboard_core::offset::{Epoch, LogKey, Offset, SessionNumber, Time};
use bellboard_core::resume_token::{KeyId, ResumeKey};
use bellboard_core::session::{Session, SessionKey};
use bellboard_core::store::{
    self, Error, LogRow, Missing, Page, Read, SessionFilter, SessionOrder, Shown, Snapshot, SnapshotLimits, Store,
};
use bellboard_core::verify::{Evidence, KeptEvents, KeptSession};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, QueryFilter,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::checkpoint::Checkpointer;
use super::entity::log;
use super::open::{self, Connections, Database, Options};
use super::place::{Direction, LOGS_MAX, Range};
use super::transaction::Transaction;
use super::writers::Numbers;
use super::{
    api_keys::ApiKeys, clients, count, error, event_rows, inspect, logs, missing, read, resume_keys, sessions,
    snapshot, stood, writers,
};

/// All logs of all tenants, in one database. Dropped, it stops its own task and lets go of the database once running statements have
/// ended.
#[derive(Debug)]
pub struct Sql {
    /// For transactions that write: one connection in SQLite, so that one follows the other; a few in PostgreSQL.
    writer: DatabaseConnection,
    /// They cannot write, and a transaction on one sees one moment.
    readers: DatabaseConnection,
    encode: Arc<dyn Encode>,
    /// In SQLite.
    checkpointer: Option<Checkpointer>,
    numbers: Arc<Numbers>,
}

impl Sql {
    /// Opens this database and gives it its tables if it has none. `encode` puts the links behind events that are read.
    ///
    /// # Errors
    /// When the database cannot be used, or belongs to a newer version.
    pub async fn open(
        database: impl Into<Database>,
        encode: Arc<dyn Encode>,
        options: Options,
    ) -> Result<Sql, open::Error> {
        let Connections {
            writer,
            readers,
            checkpointer,
        } = open::all(&database.into(), options).await?;
        Ok(Sql {
            writer,
            readers,
            encode,
            checkpointer,
            numbers: Arc::default(),
        })
    }

    /// The keys that clients come with.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.writer.clone(), self.readers.clone())
    }

    /// Ends every connection after its running statement, which leaves a single file behind where there is a file.
    ///
    /// # Errors
    /// When the database fails at the last moment; nothing that was committed is lost by it.
    pub async fn close(&self) -> Result<(), Error> {
        self.readers.close_by_ref().await.map_err(error::of)?;
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.close().await?;
        }
        // In SQLite the last connection empties the write-ahead log into the file.
        self.writer.close_by_ref().await.map_err(error::of)
    }

    /// One moment for all statements of it: a session that is moved between two of them would be found in neither place.
    async fn read_way(&self, read: Read<'_>, direction: Direction) -> Result<Page, Error> {
        let moment = begin_reading(&self.readers).await?;
        let page = read::read(&moment, &*self.encode, read, direction).await?;
        moment.commit().await.map_err(error::of)?;
        Ok(page)
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> [&DatabaseConnection; 2] {
        [&self.writer, &self.readers]
    }
}

/// A transaction that may write from its beginning: in SQLite one that turns into a writer later may fail half-way.
pub(super) async fn begin_writing(connection: &DatabaseConnection) -> Result<DatabaseTransaction, Error> {
    connection
        .begin_with_options(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await
        .map_err(error::of)
}

/// A transaction on a reader: all its statements see one moment.
async fn begin_reading(connection: &DatabaseConnection) -> Result<DatabaseTransaction, Error> {
    connection.begin().await.map_err(error::of)
}

/// The log's row.
pub(super) fn log_row(model: log::Model) -> Result<LogRow, Error> {
    let log::Model {
        key,
        tenant,
        epoch,
        link_key,
        oldest,
        tail,
        link,
        recorded,
        fence,
        sessions,
        base_link,
        oldest_recorded,
        bytes,
    } = model;
    let link_key = link_key.try_into().map_err(|_| error::corrupt("a log's key"))?;
    let (link_key, epoch) = (LinkKey::new(&link_key), Epoch(epoch.cast_unsigned()));
    Ok(LogRow {
        base: base_link.map_or_else(|| link_key.genesis(epoch), |link| Link(link.cast_unsigned())),
        key: LogKey(u32::try_from(key).map_err(|_| error::corrupt("a log's number"))?),
        tenant: TenantId::parse(&tenant).map_err(|error| error::corrupt(format!("a tenant {error}")))?,
        epoch,
        link_key,
        oldest: Offset(oldest.cast_unsigned()),
        tail: Offset(tail.cast_unsigned()),
        link: Link(link.cast_unsigned()),
        recorded: Time(recorded),
        fence: fence.cast_unsigned(),
        sessions: u32::try_from(sessions).map_err(|_| error::corrupt("a log's count of sessions"))?,
        oldest_recorded: Time(oldest_recorded),
        bytes: bytes.cast_unsigned(),
    })
}

async fn find_log(connection: &impl ConnectionTrait, tenant: &TenantId) -> Result<Option<LogRow>, Error> {
    log::Entity::find()
        .filter(log::Column::Tenant.eq(tenant.as_str()))
        .one(connection)
        .await
        .map_err(error::of)?
        .map(log_row)
        .transpose()
}

/// A new log's row, with a random identity and a random secret.
fn new_log(tenant: &TenantId) -> Result<log::ActiveModel, Error> {
    let mut secret = [0; 32];
    let mut epoch = [0; 8];
    for random in [&mut secret[..], &mut epoch[..]] {
        getrandom::fill(random).map_err(|error| Error::Unavailable(error.to_string().into()))?;
    }
    // Zero is what a message holds where nobody wrote an epoch.
    let epoch = Epoch(u64::from_be_bytes(epoch).max(1));
    let link = LinkKey::new(&secret).genesis(epoch);
    Ok(log::ActiveModel {
        key: ActiveValue::NotSet,
        tenant: ActiveValue::Set(tenant.to_string()),
        epoch: ActiveValue::Set(epoch.0.cast_signed()),
        link_key: ActiveValue::Set(secret.to_vec()),
        oldest: ActiveValue::Set(0),
        tail: ActiveValue::Set(0),
        link: ActiveValue::Set(link.0.cast_signed()),
        recorded: ActiveValue::Set(0),
        fence: ActiveValue::Set(0),
        sessions: ActiveValue::Set(0),
        base_link: ActiveValue::Set(Some(link.0.cast_signed())),
        oldest_recorded: ActiveValue::Set(0),
        bytes: ActiveValue::Set(0),
    })
}

#[async_trait]
impl Evidence for Sql {
    async fn logs(&self) -> Result<Vec<LogRow>, Error> {
        logs::all(&self.readers).await
    }

    async fn kept_events(&self, log: LogKey, from: Offset, most: usize) -> Result<KeptEvents, Error> {
        inspect::kept_events(&self.readers, log, from, most).await
    }

    async fn kept_sessions(
        &self,
        log: LogKey,
        after: Option<SessionNumber>,
        most: usize,
    ) -> Result<Vec<KeptSession>, Error> {
        inspect::kept_sessions(&self.readers, log, after, most).await
    }
}

#[async_trait]
impl Store for Sql {
    async fn open_log(&self, tenant: &TenantId) -> Result<LogRow, Error> {
        if let Some(log) = find_log(&self.readers, tenant).await? {
            return Ok(log);
        }
        let transaction = begin_writing(&self.writer).await?;
        log::Entity::insert(new_log(tenant)?)
            .on_conflict(OnConflict::column(log::Column::Tenant).do_nothing().to_owned())
            .exec_without_returning(&transaction)
            .await
            .map_err(error::of)?;
        let log = find_log(&transaction, tenant).await?;
        let log = log.ok_or_else(|| error::corrupt("a log that was made is not there"))?;
        if i64::from(log.key.0) >= LOGS_MAX {
            return Err(Error::Constraint("there are too many tenants".into()));
        }
        transaction.commit().await.map_err(error::of_commit)?;
        Ok(log)
    }

    async fn log_rows(&self, logs: &[LogKey]) -> Result<Vec<LogRow>, Error> {
        logs::rows(&self.readers, logs).await
    }

    async fn begin(&self) -> Result<Box<dyn store::Transaction>, Error> {
        let transaction = begin_writing(&self.writer).await?;
        Ok(Box::new(Transaction::new(transaction, Arc::clone(&self.numbers))))
    }

    async fn read(&self, read: Read<'_>) -> Result<Page, Error> {
        self.read_way(read, Direction::Forward).await
    }

    async fn read_back(&self, read: Read<'_>) -> Result<Page, Error> {
        self.read_way(read, Direction::Back).await
    }

    async fn renew_epoch(&self, log: LogKey, epoch: Epoch, fence: u64) -> Result<(), Error> {
        let transaction = begin_writing(&self.writer).await?;
        logs::renew_epoch(&transaction, log, epoch, fence).await?;
        transaction.commit().await.map_err(error::of_commit)
    }

    async fn link_before(&self, log: &LogRow, offset: Offset) -> Result<Link, Error> {
        read::link_before(&self.readers, log, offset).await
    }

    async fn missing(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: usize,
    ) -> Result<Vec<Missing>, Error> {
        let range = Range {
            log: log.key,
            from,
            until,
        };
        missing::missing(&self.readers, log, interests, range, most).await
    }

    async fn count(
        &self,
        log: &LogRow,
        interests: &Interests,
        from: Offset,
        until: Offset,
        most: u64,
    ) -> Result<u64, Error> {
        let range = Range {
            log: log.key,
            from,
            until,
        };
        let moment = begin_reading(&self.readers).await?;
        let found = count::count(&moment, interests, range, most).await?;
        moment.commit().await.map_err(error::of)?;
        Ok(found)
    }

    async fn seek_back(&self, log: &LogRow, interests: &Interests, until: Offset, count: u32) -> Result<Offset, Error> {
        let moment = begin_reading(&self.readers).await?;
        let found = count::seek_back(&moment, log, interests, until, count.max(1)).await?;
        moment.commit().await.map_err(error::of)?;
        Ok(found)
    }

    async fn moved_at(&self, log: LogKey, offset: Offset) -> Result<Vec<Arc<Routing>>, Error> {
        stood::moved_at(&self.readers, log, offset).await
    }

    async fn raws(&self, log: LogKey, offsets: &[Offset]) -> Result<Vec<(Offset, Raw)>, Error> {
        event_rows::raws(&self.readers, log, offsets).await
    }

    async fn session(&self, log: LogKey, id: &SessionId) -> Result<Option<Session>, Error> {
        let found = sessions::by_ids(&self.readers, log, std::slice::from_ref(id)).await?;
        Ok(found.into_iter().next())
    }

    async fn session_by_key(&self, log: LogKey, key: &SessionKey) -> Result<Option<Session>, Error> {
        let found = sessions::by_keys(&self.readers, log, std::slice::from_ref(key)).await?;
        Ok(found.into_iter().next())
    }

    async fn list_sessions(
        &self,
        log: LogKey,
        filter: &SessionFilter,
        order: SessionOrder,
        below: Offset,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        sessions::list(&self.readers, log, filter, order, below, limit).await
    }

    async fn snapshot(&self, log: LogKey, shown: Shown<'_>, limits: SnapshotLimits) -> Result<Snapshot, Error> {
        let moment = begin_reading(&self.readers).await?;
        let snapshot = snapshot::take(&moment, &*self.encode, log, shown, limits).await?;
        // Nothing was written: the end of the transaction only gives the connection back, and dropping it does the same.
        moment.commit().await.map_err(error::of)?;
        Ok(snapshot)
    }

    async fn holders(&self, log: LogKey) -> Result<Vec<Sign>, Error> {
        writers::holders(&self.readers, log).await
    }

    async fn beat(&self, log: LogKey, writers: &[(WriterId, u64)]) -> Result<(), Error> {
        writers::beat(&self.writer, log, writers).await
    }

    async fn take_incarnations(&self, clients: &[ClientKey]) -> Result<Vec<Incarnation>, Error> {
        if clients.is_empty() {
            return Ok(Vec::new());
        }
        let transaction = begin_writing(&self.writer).await?;
        let taken = clients::take(&transaction, clients).await?;
        transaction.commit().await.map_err(error::of_commit)?;
        Ok(taken)
    }

    async fn newest_incarnation(&self) -> Result<Incarnation, Error> {
        clients::newest(&self.readers).await
    }

    async fn incarnations(&self, after: Incarnation, most: usize) -> Result<Vec<(ClientKey, Incarnation)>, Error> {
        clients::taken(&self.readers, after, most).await
    }

    async fn resume_keys(&self) -> Result<Vec<ResumeKey>, Error> {
        resume_keys::all(&self.readers).await
    }

    async fn add_resume_key(&self, key: &ResumeKey) -> Result<(), Error> {
        resume_keys::add(&self.writer, key).await
    }

    async fn remove_resume_key(&self, id: KeyId) -> Result<(), Error> {
        resume_keys::remove(&self.writer, id).await
    }
}
