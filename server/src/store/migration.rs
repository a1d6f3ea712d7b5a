//! How a database became what it is: every change of its shape, in order.
//!
//! Believe this: a migration that was released is never edited. They run when the store is opened, all in one transaction, so that a
//! database has either the old shape or the new one, and two programs that open it at once do not both change it.

mod m0001_log;
mod m0005_clients;
mod m0006_base_link;

use sea_orm::DatabaseConnection;
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use super::open::Error;
use super::{error, sqlite};

/// All migrations, oldest first.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_log::Migration),
            Box::new(m0005_clients::Migration),
            Box::new(m0006_base_link::Migration),
        ]
    }
}

/// Brings the database to the newest shape.
///
/// # Errors
/// [`Error::Newer`] when it was changed by a program that knows more migrations than this one. It is left as it is.
pub(super) async fn run(writer: &DatabaseConnection) -> Result<(), Error> {
    let transaction = sqlite::begin_immediate(writer).await?;
    let applied = Migrator::get_migration_models(&transaction).await.map_err(error::of)?;
    let known = Migrator::migrations();
    let is_known = |name: &str| known.iter().any(|migration| migration.name() == name);
    if let Some(unknown) = applied.into_iter().find(|applied| !is_known(&applied.version)) {
        return Err(Error::Newer(unknown.version));
    }
    Migrator::up(&transaction, None).await.map_err(error::of)?;
    transaction.commit().await.map_err(error::of)?;
    Ok(())
}
