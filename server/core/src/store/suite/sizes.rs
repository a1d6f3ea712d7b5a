//! Promises on the largest of everything.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use bytes::Bytes;

use super::chain::{Chain, session_id};
use super::wishes::{MESSAGE, SESSION, content};
use super::{Subject, reads};
use crate::event::{DedupeKey, Raw};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::limits;
use crate::offset::Offset;
use crate::session::SessionKey;

/// Bytes in which a lost or moved piece shows.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
}

pub async fn the_largest_events_come_back_whole(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for nth in 0..8 {
        // Eight bytes are the stored offset's.
        let body = noise(nth, limits::EVENT_BYTES_MAX - 8);
        chain.event_of("a", MESSAGE, &body).raw = Some(Raw {
            media_type: "application/octet-stream".into(),
            content: noise(nth + 100, limits::RAW_BYTES_MAX).into(),
        });
    }
    chain.commit().await;
    reads::check_all(&chain, &content(Selector::All), "all").await;
    for row in &chain.history {
        let found = chain.store.raws(chain.log.key, &[row.offset]).await.unwrap();
        assert!(
            found == [(row.offset, row.raw.clone().unwrap())],
            "raw at {}",
            row.offset
        );
    }
}

pub async fn a_thousand_sessions_open_in_one_batch(subject: Subject) {
    const SESSIONS: usize = 1_000;
    let mut chain = Chain::on(&subject.store, "t").await;
    for nth in 0..SESSIONS {
        let id = format!("session-{nth:04}");
        let key = SessionKey::parse("v", "i", "/p", &id).unwrap();
        chain.session(&id).key = Some(key);
        chain.event(&id, SESSION);
    }
    chain.commit().await;
    let log = chain.log.key;
    reads::check_all(&chain, &content(Selector::All), "all").await;

    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(log).await.unwrap();
    let mut ids: Vec<_> = chain.sessions.keys().cloned().collect();
    let mut keys: Vec<_> = chain
        .sessions
        .values()
        .filter_map(|session| session.key.clone())
        .collect();
    ids.push(session_id("unknown"));
    keys.push(SessionKey::parse("v", "i", "/p", "unknown").unwrap());
    for mut found in [
        transaction.sessions(log, &ids).await.unwrap(),
        transaction.sessions_by_key(log, &keys).await.unwrap(),
    ] {
        found.sort_by(|one, other| one.id.cmp(&other.id));
        assert!(found.iter().eq(chain.sessions.values()), "{} sessions", found.len());
    }
    drop(transaction);

    let interests = ids.into_iter().step_by(3).take(limits::INTERESTS_MAX);
    let interests = interests.map(|id| Interest::new(Selector::Session(id), Detail::Content));
    let interests = Interests::new(interests.collect()).unwrap();
    reads::check_all(&chain, &interests, "as many sessions as may be named").await;
}

pub async fn the_largest_commit_goes_through(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let dedupe = |nth: usize| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&nth.to_le_bytes());
        DedupeKey(key)
    };
    for nth in 0..limits::COMMIT_EVENTS_MAX {
        chain.event(["a", "b", "c"][nth % 3], MESSAGE).dedupe = Some(dedupe(nth));
    }
    chain.commit().await;
    reads::check_all(&chain, &content(Selector::All), "all").await;
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    let keys: Vec<_> = chain
        .history
        .iter()
        .map(|row| (row.session_or_tenant(chain.log.key), row.dedupe.unwrap()))
        .collect();
    let mut found = transaction.deduplicated(&keys).await.unwrap();
    drop(transaction);
    found.sort_by_key(|(_, _, stored)| stored.offset);
    assert_eq!(found.len(), limits::COMMIT_EVENTS_MAX);
    for (row, (session, key, stored)) in chain.history.iter().zip(found) {
        let of = row.session_or_tenant(chain.log.key);
        assert_eq!((of, row.dedupe, row.stored()), (session, Some(key), stored));
    }
    let offsets: Vec<Offset> = chain.history.iter().map(|row| row.offset).collect();
    assert_eq!(chain.store.raws(chain.log.key, &offsets).await, Ok(vec![]));
    // One more raw record than none, so that asking for many finds the one.
    chain.event("a", MESSAGE).raw = Some(Raw {
        media_type: "text/plain".into(),
        content: Bytes::from_static(b"one"),
    });
    chain.commit().await;
    let offsets: Vec<Offset> = chain.history.iter().map(|row| row.offset).collect();
    assert_eq!(chain.store.raws(chain.log.key, &offsets).await.unwrap().len(), 1);
}
