//! Logs learn how many bytes they keep and since when, and what is left of events that were trimmed gets its place.
//!
//! Believe this: the bytes of a log that is there are counted here, once. From when its oldest event is stays unknown (zero, which is
//! long ago) until a first trim has looked.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, Index, IntoIden, Table};
use sea_orm_migration::prelude::*;

use crate::store::entity::{base, log, session, trimmed_links};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_retention"
    }
}

/// A log's events lie in one range of places, its raw records too.
pub(in crate::store) const COUNT_BYTES: &str = "UPDATE logs SET bytes = \
    (SELECT coalesce(sum(octet_length(stored)), 0) FROM events WHERE place >= logs.key << 44 AND place < (logs.key + 1) << 44) + \
    (SELECT coalesce(sum(octet_length(content) + octet_length(media_type)), 0) FROM raws \
    WHERE place >= logs.key << 44 AND place < (logs.key + 1) << 44)";

fn zero(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().default(0).take()
}

/// A key that the table is ordered by.
fn key(backend: DbBackend, column: impl IntoIden) -> ColumnDef {
    let mut key = ColumnDef::new(column);
    if backend == DbBackend::Sqlite {
        key.custom("integer");
    } else {
        key.big_integer();
    }
    key.not_null().primary_key().take()
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let families = ColumnDef::new(session::Column::TrimmedFamilies)
            .text()
            .not_null()
            .default("[]")
            .take();
        // SQLite takes one column at a time.
        for alter in [
            Table::alter()
                .table(log::Entity)
                .add_column(zero(log::Column::OldestRecorded))
                .take(),
            Table::alter()
                .table(log::Entity)
                .add_column(zero(log::Column::Bytes))
                .take(),
            Table::alter()
                .table(session::Entity)
                .add_column(zero(session::Column::TrimmedIndex))
                .take(),
            Table::alter()
                .table(session::Entity)
                .add_column(zero(session::Column::TrimmedOffset))
                .take(),
            Table::alter().table(session::Entity).add_column(families).take(),
        ] {
            manager.alter_table(alter).await?;
        }
        let by_trimmed = Index::create()
            .name("sessions_by_trimmed_offset")
            .table(session::Entity)
            .col(session::Column::Log)
            .col(session::Column::TrimmedOffset)
            .take();
        manager.create_index(by_trimmed).await?;
        let bases = Table::create()
            .table(base::Entity)
            .col(key(backend, base::Column::Number))
            .col(ColumnDef::new(base::Column::Log).big_integer().not_null())
            .col(ColumnDef::new(base::Column::Parent).text())
            .col(ColumnDef::new(base::Column::Session).text().not_null())
            .take();
        manager.create_table(bases).await?;
        let by_parent = Index::create()
            .name("session_bases_by_parent")
            .table(base::Entity)
            .col(base::Column::Log)
            .col(base::Column::Parent)
            .take();
        manager.create_index(by_parent).await?;
        let links = Table::create()
            .table(trimmed_links::Entity)
            .col(key(backend, trimmed_links::Column::Place))
            .col(ColumnDef::new(trimmed_links::Column::Links).blob().not_null())
            .take();
        manager.create_table(links).await?;
        manager.get_connection().execute_unprepared(COUNT_BYTES).await?;
        Ok(())
    }
}
