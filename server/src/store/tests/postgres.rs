//! The promises suite on PostgreSQL, and what only it promises there.

use std::sync::Arc;

use bellboard_core::store::Store;
use bellboard_core::store::suite::{PlainEncode, Subject};
use bellboard_tests::postgres::TestDatabase;

use super::super::{Database, Options, Sql};

fn database(made: &TestDatabase) -> Database {
    Database::Postgres(made.url.parse().unwrap())
}

async fn opened(made: &TestDatabase) -> Sql {
    Sql::open(database(made), Arc::new(PlainEncode), Options::default())
        .await
        .unwrap()
}

/// None where PostgreSQL is not to be had and the tests were told to go on without.
async fn subject() -> Option<Subject> {
    let made = Arc::new(TestDatabase::new()?);
    let again = Arc::clone(&made);
    Some(Subject {
        store: Arc::new(opened(&made).await),
        reopen: Some(Box::new(move || {
            let made = Arc::clone(&again);
            Box::pin(async move { Arc::new(opened(&made).await) as Arc<dyn Store> })
        })),
        keep: Box::new(made),
    })
}

bellboard_core::store_suite!(subject);
