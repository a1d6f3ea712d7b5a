//! Events without a session: whom they are for, and what is known of their writers' connectors.
//!
//! Believe this: nothing that is there changes. A log of an older database has no such event.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, Index, IntoIden, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::{audience, tenant_event, writer};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0008_tenant"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sqlite = manager.get_database_backend() == DbBackend::Sqlite;
        let mut place = ColumnDef::new(tenant_event::Column::Place);
        if sqlite {
            place.custom("integer");
        } else {
            place.big_integer();
        }
        let events = Table::create()
            .table(tenant_event::Entity)
            .col(place.not_null().primary_key())
            .col(number(tenant_event::Column::Writer))
            .col(ColumnDef::new(tenant_event::Column::Kind).small_integer().not_null())
            .take();
        manager.create_table(events).await?;

        use audience::Column;
        let mut audiences = Table::create();
        audiences
            .table(audience::Entity)
            .col(number(Column::Writer))
            .col(number(Column::Key))
            .col(number(Column::Until))
            .col(number(Column::From))
            .primary_key(Index::create().col(Column::Writer).col(Column::Key).col(Column::Until));
        if sqlite {
            // Rows in the order of the key, as in m0001.
            audiences.extra("WITHOUT ROWID");
        }
        manager.create_table(audiences).await?;
        let by_end = Index::create()
            .name("audiences_by_until")
            .table(audience::Entity)
            .col(Column::Until)
            .col(Column::Writer)
            .take();
        manager.create_index(by_end).await?;

        let mut online = ColumnDef::new(writer::Column::Online);
        // SQLite takes one column at a time.
        for column in [
            ColumnDef::new(writer::Column::Connector).text().take(),
            online.boolean().not_null().default(false).take(),
            ColumnDef::new(writer::Column::LostAfter).big_integer().take(),
            ColumnDef::new(writer::Column::LostUntil).big_integer().take(),
        ] {
            let alter = Table::alter().table(writer::Entity).add_column(column).take();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}
