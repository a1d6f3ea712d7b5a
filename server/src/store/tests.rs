//! The promises suite on real files, and what only this store promises.

mod opening;
mod transactions;
mod reads;
mod trims;
mod api_keys;
mod postgres;

use std::path::Path;
use std::sync::Arc;

use bellboard_core::id::TenantId;
use bellboard_core::store::Store;
use bellboard_core::store::suite::{PlainEncode, Subject};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tempfile::TempDir;

use super::open::sqlite::{self, Role};
use super::sql::begin_writing;
use super::{Error, FILE_NAME, Options, Sql, Synchronous};

async fn open_with(data_dir: &Path, options: Options) -> Result<Sql, Error> {
    Sql::open(data_dir, Arc::new(PlainEncode), options).await
}

async fn opened(data_dir: &Path) -> Sql {
    open_with(data_dir, Options::default()).await.unwrap()
}

async fn subject() -> Subject {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let again = Arc::clone(&directory);
    Subject {
        store: Arc::new(opened(directory.path()).await),
        reopen: Some(Box::new(move || {
            let directory = Arc::clone(&again);
            Box::pin(async move { Arc::new(opened(directory.path()).await) as Arc<dyn Store> })
        })),
        keep: Box::new(directory),
    }
}

bellboard_core::store_suite!(subject);

async fn fresh() -> (TempDir, Arc<Sql>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(opened(directory.path()).await);
    (directory, store)
}

fn tenant(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

/// The first column of the first row, as text.
async fn asked(connection: &DatabaseConnection, sql: &str) -> Result<String, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?.unwrap();
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number.to_string()))
}

/// Whether somebody may write now, asked without waiting.
async fn is_locked(directory: &TempDir) -> bool {
    let role = Role::Checkpointer(std::time::Duration::ZERO);
    let path = directory.path().join(FILE_NAME);
    let beside = sqlite::connect(&path, Synchronous::Full, role).await.unwrap();
    match begin_writing(&beside).await {
        Ok(_) => false,
        Err(error) => {
            assert!(error.to_string().contains("locked"), "{error}");
            true
        }
    }
}
