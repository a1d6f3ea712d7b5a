//! How a database became what it is: every change of its shape, in order.
//!
//! Believe this: a migration that was released is never edited. They run when the store is opened, all in one transaction, so that a
//! database has either the old shape or the new one, and two programs that open it at once do not both change it.

mod m0001_log;
mod m0003_moves;
mod m0004_retention;
mod m0005_clients;
mod m0006_base_link;
mod m0007_holds;
mod m0008_tenant;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QueryOrder};
use sea_orm_migration::{IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations};

#[cfg(test)]
pub(super) use m0004_retention::COUNT_BYTES;

use super::open::Error;
use super::{error, sql};

/// All migrations, oldest first.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_log::Migration),
            Box::new(m0003_moves::Migration),
            Box::new(m0004_retention::Migration),
            Box::new(m0005_clients::Migration),
            Box::new(m0006_base_link::Migration),
            Box::new(m0007_holds::Migration),
            Box::new(m0008_tenant::Migration),
        ]
    }
}

/// What programs that change the shape of one PostgreSQL database take turns by: any number that others do not use.
const TURN: i64 = 0x6265_6c6c_0001;

/// How long one of them waits for its turn, in milliseconds: the one before may be filling a new column of a large table.
const TURN_TIMEOUT: u32 = 600_000;

/// Brings the database to the newest shape.
///
/// # Errors
/// [`Error::Newer`] when it was changed by a program that knows more migrations than this one. It is left as it is.
pub(super) async fn run(writer: &DatabaseConnection) -> Result<(), Error> {
    let transaction = sql::begin_writing(writer).await?;
    take_turn(&transaction).await?;
    applied(&transaction).await?;
    Migrator::up(&transaction, None).await.map_err(error::of)?;
    transaction.commit().await.map_err(error::of)?;
    Ok(())
}

/// Looks whether the database has the newest shape.
///
/// # Errors
/// [`Error::Newer`] and [`Error::Older`] when it has another one.
pub(super) async fn check(reader: &DatabaseConnection) -> Result<(), Error> {
    let applied = applied(reader).await?;
    let known = Migrator::migrations();
    let mut names = known.iter().map(|known| known.name());
    match names.find(|name| applied.iter().all(|applied| applied != name)) {
        None => Ok(()),
        Some(lacking) => Err(Error::Older(lacking.to_owned())),
    }
}

/// The migrations that the database has been through, if this program knows all of them.
///
/// # Errors
/// [`Error::Newer`] when it does not.
pub(super) async fn applied<'c, C>(connection: &'c C) -> Result<Vec<String>, Error>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let applied = names(connection).await.map_err(error::of)?;
    let known = Migrator::migrations();
    let is_known = |name: &String| known.iter().any(|migration| migration.name() == name);
    match applied.iter().find(|applied| !is_known(applied)) {
        None => Ok(applied),
        Some(unknown) => Err(Error::Newer(unknown.clone())),
    }
}

/// What stands in the table of applied migrations, oldest first; nothing where there is no such table. It is only read: the migrator's
/// own look makes it, which a reader may not.
async fn names<'c, C>(connection: &'c C) -> Result<Vec<String>, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    use seaql_migrations::{Column, Entity};
    if !SchemaManager::new(connection).has_table("seaql_migrations").await? {
        return Ok(Vec::new());
    }
    let models = Entity::find().order_by_asc(Column::Version).all(connection).await?;
    Ok(models.into_iter().map(|model| model.version).collect())
}

/// Waits until nobody else changes the shape. In SQLite the transaction itself is the turn.
async fn take_turn(transaction: &DatabaseTransaction) -> Result<(), Error> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let text = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
         SET LOCAL lock_timeout = {TURN_TIMEOUT}; SELECT pg_advisory_xact_lock({TURN})"
    );
    transaction.execute_unprepared(&text).await.map_err(error::of)?;
    Ok(())
}
