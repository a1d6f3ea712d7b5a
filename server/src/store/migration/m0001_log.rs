//! The first shape: logs, events, sessions, writers, keys.
//!
//! Believe this: the two databases get the same tables. They differ in two words: in SQLite a key is called `integer` to become the
//! table's own order, and a small table is told `WITHOUT ROWID` for the same reason.

use sea_orm::DbBackend;
use sea_orm::sea_query::{ColumnDef, Index, IndexCreateStatement, IntoIden, Table, TableCreateStatement};
use sea_orm_migration::prelude::*;

use crate::store::entity::{ancestor, api_key, event, log, raw, resume_key, session, writer};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_log"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is written so, and async_trait makes another signature of the other spelling"
)]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = Dialect(manager.get_database_backend());
        for table in [
            logs(),
            events(dialect),
            raws(dialect),
            dedupes(dialect),
            sessions(dialect),
            session_ancestors(dialect),
            writers(),
            resume_keys(),
            api_keys(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes(dialect) {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// What the databases disagree about.
#[derive(Clone, Copy)]
struct Dialect(DbBackend);

impl Dialect {
    /// A key of 64 bits that the table is ordered by.
    fn key(self, column: impl IntoIden) -> ColumnDef {
        let mut key = ColumnDef::new(column);
        if self.0 == DbBackend::Sqlite {
            key.custom("integer");
        } else {
            key.big_integer();
        }
        key.not_null().primary_key().take()
    }

    /// A table whose rows lie in the order of its key, where that must be said.
    fn keyed(self, table: &mut TableCreateStatement) -> TableCreateStatement {
        if self.0 == DbBackend::Sqlite {
            table.extra("WITHOUT ROWID");
        }
        table.take()
    }
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().take()
}

fn number_or_null(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().take()
}

fn small(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).small_integer().not_null().take()
}

fn flag(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).boolean().not_null().take()
}

fn text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().not_null().take()
}

fn text_or_null(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().take()
}

fn bytes(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).blob().not_null().take()
}

fn bytes_or_null(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).blob().take()
}

fn logs() -> TableCreateStatement {
    use log::Column;
    Table::create()
        .table(log::Entity)
        .col(
            ColumnDef::new(Column::Key)
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(text(Column::Tenant).unique_key())
        .col(number(Column::Epoch))
        .col(bytes(Column::LinkKey))
        .col(number(Column::Oldest))
        .col(number(Column::Tail))
        .col(number(Column::Link))
        .col(number(Column::Recorded))
        .col(number(Column::Fence))
        .col(number(Column::Sessions))
        .take()
}

fn events(dialect: Dialect) -> TableCreateStatement {
    use event::Column;
    Table::create()
        .table(event::Entity)
        .col(dialect.key(Column::Place))
        .col(number(Column::Session))
        .col(number(Column::Idx))
        .col(small(Column::Kind))
        .col(number_or_null(Column::Item))
        .col(ColumnDef::new(Column::ItemStep).small_integer())
        .col(number_or_null(Column::Writer))
        .col(number_or_null(Column::Seq))
        .col(flag(Column::HasRaw))
        .col(number(Column::Link))
        .col(bytes(Column::Stored))
        .take()
}

fn raws(dialect: Dialect) -> TableCreateStatement {
    use raw::Column;
    Table::create()
        .table(raw::Entity)
        .col(dialect.key(Column::Place))
        .col(text(Column::MediaType))
        .col(bytes(Column::Content))
        .take()
}

fn dedupes(dialect: Dialect) -> TableCreateStatement {
    dialect.keyed(
        Table::create()
            .table("dedupes")
            .col(number("session"))
            .col(bytes("key"))
            .col(number("place"))
            .col(number("idx"))
            .primary_key(Index::create().col("session").col("key")),
    )
}

fn sessions(dialect: Dialect) -> TableCreateStatement {
    use session::Column;
    Table::create()
        .table(session::Entity)
        .col(dialect.key(Column::Number))
        .col(number(Column::Log))
        .col(text(Column::Id))
        .col(bytes_or_null(Column::KeyHash))
        .col(text_or_null(Column::KeyVendor))
        .col(text_or_null(Column::KeyInstallation))
        .col(text_or_null(Column::KeyProject))
        .col(text_or_null(Column::KeyNative))
        .col(text(Column::Ancestors))
        .col(number(Column::Life))
        .col(small(Column::Lifecycle))
        .col(flag(Column::Archived))
        .col(text_or_null(Column::Title))
        .col(text_or_null(Column::Project))
        .col(text_or_null(Column::Vendor))
        .col(text(Column::Facts))
        .col(number(Column::NextIndex))
        .col(number(Column::OpenedOffset))
        .col(number(Column::LastOffset))
        .col(number(Column::Created))
        .col(number(Column::Updated))
        .col(number_or_null(Column::Closed))
        .take()
}

fn session_ancestors(dialect: Dialect) -> TableCreateStatement {
    use ancestor::Column;
    dialect.keyed(
        Table::create()
            .table(ancestor::Entity)
            .col(number(Column::Log))
            .col(text(Column::Ancestor))
            .col(number(Column::Session))
            .col(small(Column::Depth))
            .primary_key(
                Index::create()
                    .col(Column::Log)
                    .col(Column::Ancestor)
                    .col(Column::Session),
            ),
    )
}

fn writers() -> TableCreateStatement {
    use writer::Column;
    Table::create()
        .table(writer::Entity)
        .col(
            ColumnDef::new(Column::Number)
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(number(Column::Log))
        .col(text(Column::Id))
        .col(number_or_null(Column::Fence))
        .col(number_or_null(Column::LastSeq))
        .take()
}

fn resume_keys() -> TableCreateStatement {
    use resume_key::Column;
    Table::create()
        .table(resume_key::Entity)
        .col(ColumnDef::new(Column::Id).integer().not_null().primary_key())
        .col(bytes_or_null(Column::Secret))
        .col(number(Column::MintsFrom))
        .take()
}

fn api_keys() -> TableCreateStatement {
    use api_key::Column;
    Table::create()
        .table(api_key::Entity)
        .col(text(Column::Id).primary_key())
        .col(bytes(Column::Hash).unique_key())
        .col(text(Column::Tenant))
        .col(text(Column::Principal))
        .col(text(Column::Scopes))
        .col(text(Column::Label))
        .col(number(Column::Created))
        .col(number_or_null(Column::Expires))
        .col(number_or_null(Column::Revoked))
        .take()
}

fn indexes(dialect: Dialect) -> Vec<IndexCreateStatement> {
    use session::Column;
    let unique = |name: &str| Index::create().unique().name(name).take();
    let mut by_session = Index::create()
        .name("events_by_session")
        .table(event::Entity)
        .col(event::Column::Session)
        .take();
    // SQLite ends every index entry with the row's key, which is the place: naming it would store it twice.
    if dialect.0 != DbBackend::Sqlite {
        by_session.col(event::Column::Place);
    }
    vec![
        by_session,
        unique("sessions_by_id")
            .table(session::Entity)
            .col(Column::Log)
            .col(Column::Id)
            .take(),
        unique("sessions_by_key")
            .table(session::Entity)
            .col(Column::Log)
            .col(Column::KeyHash)
            .take(),
        Index::create()
            .name("sessions_by_last_offset")
            .table(session::Entity)
            .col(Column::Log)
            .col(Column::LastOffset)
            .take(),
        Index::create()
            .name("sessions_by_opened_offset")
            .table(session::Entity)
            .col(Column::Log)
            .col(Column::OpenedOffset)
            .take(),
        unique("writers_by_id")
            .table(writer::Entity)
            .col(writer::Column::Log)
            .col(writer::Column::Id)
            .take(),
    ]
}
