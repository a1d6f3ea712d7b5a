//! What a transaction promises when something fails.

use std::sync::Arc;

use bellboard_core::event::Kind;
use bellboard_core::id::WriterId;
use bellboard_core::offset::Offset;
use bellboard_core::store::suite::Chain;
use bellboard_core::store::{self, Store};
use sea_orm::ConnectionTrait;

use super::super::sql::begin_writing;
use super::{asked, fresh, is_locked};

#[tokio::test]
async fn nothing_of_a_transaction_is_kept_once_a_step_of_it_failed() {
    let (_directory, store) = fresh().await;
    let store: Arc<dyn Store> = store;
    let mut chain = Chain::on(&store, "t").await;
    chain.event("a", Kind(20));
    let mut transaction = store.begin().await.unwrap();
    let mut wrong = chain.log.clone();
    wrong.tail = Offset(7);
    assert!(transaction.write(&wrong, chain.pending()).await.is_err());
    let after = transaction.write(&chain.log, chain.pending()).await;
    assert!(matches!(after, Err(store::Error::Unavailable(_))), "{after:?}");
    assert!(transaction.commit().await.is_err());
    assert_eq!(store.open_log(&chain.log.tenant).await.unwrap().tail, Offset(0));
    chain.commit().await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let (_directory, store) = fresh().await;
    let [writer, _] = store.connections();
    let pages = asked(writer, "PRAGMA page_count").await.unwrap();
    let limit = async |pages: &str| {
        asked(writer, &format!("PRAGMA max_page_count = {pages}"))
            .await
            .unwrap()
    };
    let sqlite: Arc<dyn Store> = store.clone();
    let mut chain = Chain::on(&sqlite, "t").await;
    chain.event("a", Kind(20));
    chain.commit().await;
    limit(&pages).await;
    let mut large = chain.clone();
    large.event_of("a", Kind(70), &[0; 200_000]);
    assert_eq!(large.try_commit().await, Err(store::Error::Full));
    assert_eq!(
        store.open_log(&chain.log.tenant).await.unwrap().tail,
        Offset(1),
        "reads go on"
    );
    limit("1000000").await;
    chain.event("a", Kind(70));
    chain.commit().await;
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_itself_does_not_block_the_next() {
    let (directory, store) = fresh().await;
    let [writer, _] = store.connections();
    let transaction = begin_writing(writer).await.unwrap();
    // As a failing disk does it: behind the back of whoever counts transactions.
    transaction.execute_unprepared("ROLLBACK").await.unwrap();
    drop(transaction);
    let again = store.begin().await.unwrap();
    assert!(is_locked(&directory).await, "it holds the log as any transaction does");
    again.commit().await.unwrap();
    assert!(!is_locked(&directory).await);
}

#[tokio::test]
async fn rows_that_begin_beyond_the_tail_are_refused() {
    let (_directory, store) = fresh().await;
    let store: Arc<dyn Store> = store;
    let mut chain = Chain::on(&store, "t").await;
    chain.log.tail = Offset(3);
    chain.event("a", Kind(20));
    let answer = chain.try_commit().await;
    assert!(matches!(answer, Err(store::Error::Constraint(_))), "{answer:?}");
}

#[tokio::test]
async fn a_number_that_was_rolled_back_is_not_remembered() {
    let (_directory, store) = fresh().await;
    let store: Arc<dyn Store> = store;
    let writer = |id: &str| WriterId::parse(id).unwrap();
    let mut chain = Chain::on(&store, "t").await;
    let mut given_up = chain.clone();
    given_up.event("a", Kind(20)).writer = Some((writer("x"), 1));
    let mut transaction = store.begin().await.unwrap();
    transaction.write(&given_up.log, given_up.pending()).await.unwrap();
    drop(transaction);
    for id in ["y", "x"] {
        chain.event("a", Kind(70)).writer = Some((writer(id), 1));
        chain.commit().await;
    }
    let session = chain.history[0].spot().unwrap().session;
    let mut transaction = store.begin().await.unwrap();
    for (id, offset) in [("y", 0), ("x", 1)] {
        let found = transaction.find_seqs(session, &writer(id), &[1], 9).await.unwrap();
        let offsets: Vec<_> = found.iter().map(|(_, stored)| stored.offset).collect();
        assert_eq!(offsets, [Offset(offset)], "{id}");
    }
}
