//! Promises on transactions: whole or not at all, and one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use std::sync::Arc;

use tokio::task::JoinSet;

use super::chain::{Chain, session_id};
use super::logs::assert_same_log;
use super::rows::{assert_found, writer};
use super::wishes::{MESSAGE, SESSION, content};
use super::{Subject, reads};
use crate::event::DedupeKey;
use crate::interest::Selector;
use crate::offset::{LogKey, Offset, Time};
use crate::store::{Presence, SessionFilter, SessionOrder, SnapshotLimits, Store, WriterRow};

pub async fn a_lock_gives_the_row_that_the_last_commit_left(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for (round, session) in ["a", "b", "a"].into_iter().enumerate() {
        chain.event(session, MESSAGE);
        chain.log.fence += 10;
        chain.log.recorded = Time(1_800_000_000_000_000 + round as i64);
        chain.commit().await;
        let mut transaction = chain.store.begin().await.unwrap();
        assert_same_log(&transaction.lock(chain.log.key).await.unwrap(), &chain.log);
        drop(transaction);
        let opened = chain.store.open_log(&chain.log.tenant).await.unwrap();
        assert_same_log(&opened, &chain.log);
    }
}

pub async fn what_was_not_committed_leaves_nothing(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.event("a", SESSION);
    chain.commit().await;
    let mut lost = chain.clone();
    let dedupe = DedupeKey([1; 16]);
    lost.event("a", MESSAGE).dedupe = Some(dedupe);
    lost.event("lost", SESSION);
    lost.changes.writers = vec![WriterRow {
        id: writer("w"),
        fence: 1,
        last_seq: 1,
        presence: Presence::default(),
    }];
    let log = chain.log.key;
    for _ in 0..3 {
        let mut transaction = chain.store.begin().await.unwrap();
        transaction.lock(log).await.unwrap();
        transaction.write(&lost.log, lost.pending()).await.unwrap();
        drop(transaction);
    }
    let mut transaction = chain.store.begin().await.unwrap();
    assert_same_log(&transaction.lock(log).await.unwrap(), &chain.log);
    assert_eq!(transaction.sessions(log, &[session_id("lost")]).await, Ok(vec![]));
    assert_eq!(transaction.writers(log, &[writer("w")]).await, Ok(vec![]));
    let number = chain.sessions[&session_id("a")].number;
    assert_eq!(transaction.deduplicated(&[(number, dedupe)]).await, Ok(vec![]));
    drop(transaction);
    // The same rows go in when they are committed, so nothing of them was there.
    lost.commit().await;
    reads::check_all(&lost, &content(Selector::All), "all").await;
}

pub async fn nothing_is_seen_before_its_commit(subject: Subject) {
    let store = subject.store.clone();
    let mut chain = Chain::on(&store, "t").await;
    chain.event("a", SESSION);
    chain.commit().await;
    let before = chain.clone();
    chain.event("a", MESSAGE);
    chain.event("b", SESSION);
    let log = chain.log.key;
    let mut transaction = store.begin().await.unwrap();
    transaction.lock(log).await.unwrap();
    transaction.write(&chain.log, chain.pending()).await.unwrap();

    assert_eq!(store.session(log, &session_id("b")).await, Ok(None));
    let a = store.session(log, &session_id("a")).await.unwrap();
    assert_eq!(a.as_ref(), Some(&before.sessions[&session_id("a")]));
    let limits = SnapshotLimits {
        sessions: 9,
        items: 9,
        scan: 9,
        bytes: 999,
        row_bytes: 1 << 20,
        oldest: Offset::ZERO,
    };
    let snapshot = store
        .snapshot(log, (&content(Selector::All)).into(), limits)
        .await
        .unwrap();
    assert_same_log(&snapshot.log, &before.log);
    assert_eq!(snapshot.sessions.len(), 1);

    transaction.commit().await.unwrap();
    let snapshot = store
        .snapshot(log, (&content(Selector::All)).into(), limits)
        .await
        .unwrap();
    assert_same_log(&snapshot.log, &chain.log);
    reads::check_all(&chain, &content(Selector::All), "all").await;
}

pub async fn transactions_on_one_log_come_one_after_the_other(subject: Subject) {
    const TASKS: usize = 8;
    const ROUNDS: usize = 8;
    let store = subject.store.clone();
    let mut chain = Chain::on(&store, "t").await;
    chain.event("a", SESSION);
    chain.commit().await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (store, log) = (store.clone(), chain.log.key);
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                append_to_what_is_there(&store, log).await;
            }
        });
    }
    tasks.join_all().await;
    for _ in 0..TASKS * ROUNDS {
        chain.event("a", MESSAGE);
    }
    let row = store.open_log(&chain.log.tenant).await.unwrap();
    assert_same_log(&row, &chain.log);
    reads::check_all(&chain, &content(Selector::All), "all").await;
}

/// Locks, looks, and writes one event behind what it saw.
async fn append_to_what_is_there(store: &Arc<dyn Store>, log: LogKey) {
    let mut transaction = store.begin().await.unwrap();
    let row = transaction.lock(log).await.unwrap();
    let session = transaction.sessions(log, &[session_id("a")]).await.unwrap().remove(0);
    // Others run in between, if the lock lets them.
    tokio::task::yield_now().await;
    assert_eq!(session.next_index.0, row.tail.0, "row and session are of one moment");
    let sessions = [(session.id.clone(), session)].into();
    let mut next = Chain::continued(store, row, sessions, Vec::new());
    next.event("a", MESSAGE);
    transaction.write(&next.log, next.pending()).await.unwrap();
    transaction.commit().await.unwrap();
}

pub async fn transactions_on_different_logs_do_not_mix(subject: Subject) {
    let mut tasks = JoinSet::new();
    for tenant in ["a", "b", "c", "d"] {
        let store = subject.store.clone();
        tasks.spawn(async move {
            let mut chain = Chain::on(&store, tenant).await;
            for round in 0..8 {
                for session in ["same", "names"] {
                    let body = format!("{tenant}{round}");
                    let event = chain.event_of(session, MESSAGE, body.as_bytes());
                    event.dedupe = Some(DedupeKey([round; 16]));
                    event.writer = Some((writer("w"), u64::from(round)));
                }
                chain.commit().await;
            }
            chain
        });
    }
    for chain in tasks.join_all().await {
        assert_same_log(&chain.store.open_log(&chain.log.tenant).await.unwrap(), &chain.log);
        reads::check_all(&chain, &content(Selector::All), "all").await;
        for session in chain.sessions.values() {
            assert_found(&chain, session).await;
        }
        let (filter, order) = (SessionFilter::default(), SessionOrder::Opened);
        let below = chain.log.tail;
        let sessions = chain.store.list_sessions(chain.log.key, &filter, order, below, 9).await;
        assert_eq!(sessions.unwrap().len(), 2);
    }
}
