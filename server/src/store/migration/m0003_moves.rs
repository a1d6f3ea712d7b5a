//! Sessions move: where they stood before is kept, so that history is selected as it was while it was new.
//!
//! Believe this: nothing is rewritten. A session of an older database stands where it stands since its first event.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::{session, stood, stood_below};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_moves"
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
        let number = |column| ColumnDef::new(column).big_integer().not_null().take();
        let text = |column| ColumnDef::new(column).text().not_null().take();
        let mut stands_from = ColumnDef::new(session::Column::StandsFrom);
        let altered = Table::alter()
            .table(session::Entity)
            .add_column(stands_from.big_integer().not_null().default(0))
            .take();
        manager.alter_table(altered).await?;

        use stood::Column;
        let mut stood = Table::create();
        stood
            .table(stood::Entity)
            .col(number(Column::Session))
            .col(number(Column::Until))
            .col(number(Column::From))
            .col(text(Column::Id))
            .col(text(Column::Project))
            .col(text(Column::Vendor))
            .col(text(Column::Ancestors))
            .primary_key(Index::create().col(Column::Session).col(Column::Until));
        let mut below = Table::create();
        below
            .table(stood_below::Entity)
            .col(ColumnDef::new(stood_below::Column::Session).big_integer().not_null())
            .col(ColumnDef::new(stood_below::Column::Until).big_integer().not_null())
            .col(ColumnDef::new(stood_below::Column::Ancestor).text().not_null())
            .primary_key(
                Index::create()
                    .col(stood_below::Column::Session)
                    .col(stood_below::Column::Until)
                    .col(stood_below::Column::Ancestor),
            );
        if sqlite {
            // Rows in the order of the key, as in m0001.
            stood.extra("WITHOUT ROWID");
            below.extra("WITHOUT ROWID");
        }
        manager.create_table(stood).await?;
        manager.create_table(below).await?;
        let by_end = Index::create()
            .name("stood_by_until")
            .table(stood::Entity)
            .col(Column::Until)
            .take();
        manager.create_index(by_end).await
    }
}
