//! Sessions get a holder and a fence, and writers a beat.
//!
//! Believe this: nobody holds a session of an older database, and every fence that was given out before may claim it.

use sea_orm::sea_query::{ColumnDef, IntoIden, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::{session, writer};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_holds"
    }
}

/// Only of those that are held: few of all, and a row that is written for another reason is left out of it.
const BY_OWNER: &str = "CREATE INDEX sessions_by_owner ON sessions (log, owner) WHERE owner IS NOT NULL";

fn zero(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().default(0).take()
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sessions = || Table::alter().table(session::Entity).take();
        // SQLite takes one column at a time.
        for alter in [
            sessions()
                .add_column(ColumnDef::new(session::Column::Owner).text())
                .take(),
            sessions().add_column(zero(session::Column::OwnerFence)).take(),
            Table::alter()
                .table(writer::Entity)
                .add_column(zero(writer::Column::Beat))
                .take(),
        ] {
            manager.alter_table(alter).await?;
        }
        manager.get_connection().execute_unprepared(BY_OWNER).await?;
        Ok(())
    }
}
