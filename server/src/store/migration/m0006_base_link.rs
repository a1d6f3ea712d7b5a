//! A log's row learns which link its chain begins with, so that a log may get another epoch, or lose its oldest events, and its links can
//! still be computed anew.
//!
//! Believe this: rows that are there stay as they are. Null means what it always was: the genesis of the log's epoch.

use sea_orm::sea_query::{ColumnDef, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::log;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_base_link"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let base_link = ColumnDef::new(log::Column::BaseLink).big_integer().take();
        let table = Table::alter().table(log::Entity).add_column(base_link).take();
        manager.alter_table(table).await
    }
}
