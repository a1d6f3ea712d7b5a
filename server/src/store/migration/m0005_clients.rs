//! Clients get rows: which stream of each is its newest.
//!
//! Believe this: the counter is a row of its own, so that forgetting a client does not give its numbers to others again.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, Index, IntoIden, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::{client, incarnation};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_clients"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use client::Column;
        let mut clients = Table::create()
            .table(client::Entity)
            .col(number(Column::Log))
            .col(text(Column::Principal))
            .col(text(Column::Id))
            .col(number(Column::Incarnation))
            .primary_key(Index::create().col(Column::Log).col(Column::Principal).col(Column::Id))
            .take();
        if manager.get_database_backend() == DbBackend::Sqlite {
            clients.extra("WITHOUT ROWID");
        }
        manager.create_table(clients).await?;
        let counter = Table::create()
            .table(incarnation::Entity)
            .col(
                ColumnDef::new(incarnation::Column::Id)
                    .integer()
                    .not_null()
                    .primary_key(),
            )
            .col(number(incarnation::Column::Newest))
            .take();
        manager.create_table(counter).await?;
        let by_incarnation = Index::create()
            .unique()
            .name("clients_by_incarnation")
            .table(client::Entity)
            .col(Column::Incarnation)
            .take();
        manager.create_index(by_incarnation).await?;
        let by_principal = Index::create()
            .name("clients_by_principal")
            .table(client::Entity)
            .col(Column::Log)
            .col(Column::Principal)
            .col(Column::Incarnation)
            .take();
        manager.create_index(by_principal).await
    }
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().not_null().take()
}
