//! Promises on rows that must not go in.
//!
//! Believe this: the appender never writes them on purpose. That a store refuses them is what turns a mistake above it into an error
//! instead of a damaged log.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::chain::Chain;
use super::wishes::{MESSAGE, SESSION, content};
use super::{Subject, reads};
use crate::event::DedupeKey;
use crate::interest::Selector;
use crate::offset::Offset;
use crate::session::SessionKey;
use crate::store::{Error, Progress};

/// Two sessions, one of them with a key, and three events.
async fn start(subject: &Subject) -> Chain {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.session("a").key = Some(key());
    chain.event("a", SESSION).dedupe = Some(DedupeKey([1; 16]));
    chain.event("b", SESSION);
    chain.event("a", MESSAGE);
    chain.commit().await;
    chain
}

fn key() -> SessionKey {
    SessionKey::parse("v", "i", "/p", "n").unwrap()
}

/// Breaks a copy of the chain by `mistake`, and fails unless the store refuses it whole and then takes what is right.
async fn refused(chain: &mut Chain, what: &str, mistake: impl FnOnce(&mut Chain)) {
    let mut wrong = chain.clone();
    wrong.event("c", SESSION);
    mistake(&mut wrong);
    let answer = wrong.try_commit().await;
    assert!(matches!(answer, Err(Error::Constraint(_))), "{what}: {answer:?}");
    let row = chain.store.open_log(&chain.log.tenant).await.unwrap();
    super::logs::assert_same_log(&row, &chain.log);
    let id = super::chain::session_id("c");
    assert_eq!(chain.store.session(row.key, &id).await, Ok(None), "{what}");
    chain.event("a", MESSAGE);
    chain.commit().await;
    reads::check_all(chain, &content(Selector::All), what).await;
}

pub async fn an_offset_is_written_once(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "an old offset", |wrong| {
        wrong.event("c", MESSAGE).offset = Offset(1);
    })
    .await;
    refused(&mut chain, "an offset twice", |wrong| {
        let last = wrong.history.last().unwrap().offset;
        wrong.event("c", MESSAGE).offset = last;
    })
    .await;
}

pub async fn offsets_have_no_holes(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "a hole", |wrong| {
        wrong.event("c", MESSAGE).offset.0 += 1;
        wrong.log.tail.0 += 1;
    })
    .await;
    refused(&mut chain, "a hole that the tail does not tell", |wrong| {
        wrong.event("c", MESSAGE).offset.0 += 1
    })
    .await;
}

pub async fn the_tail_follows_from_what_was_written(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "a tail too far", |wrong| wrong.log.tail.0 += 1).await;
    refused(&mut chain, "a tail too near", |wrong| wrong.log.tail.0 -= 1).await;
}

pub async fn a_dedupe_key_is_stored_once_per_session(subject: Subject) {
    let mut chain = start(&subject).await;
    let known = Some(DedupeKey([1; 16]));
    refused(&mut chain, "a known dedupe key", |wrong| {
        wrong.event("a", MESSAGE).dedupe = known;
    })
    .await;
    refused(&mut chain, "a new dedupe key twice", |wrong| {
        wrong.event("b", MESSAGE).dedupe = known;
        wrong.event("b", MESSAGE).dedupe = known;
    })
    .await;
    chain.event("b", MESSAGE).dedupe = known;
    chain.commit().await;
}

pub async fn a_session_id_is_unique_in_its_log(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "a second session of one id", |wrong| {
        let mut second = wrong.session("c").clone();
        second.number.0 += 1;
        second.id = super::chain::session_id("a");
        wrong.changes.sessions.push(second);
    })
    .await;
}

pub async fn only_a_session_that_is_there_gets_further(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "a session that got further without a row", |wrong| {
        let mut beyond = wrong.session("c").clone();
        beyond.number.0 += 1;
        let (next_index, last_offset) = (beyond.next_index, beyond.last_offset);
        wrong.changes.progress.push(Progress {
            session: beyond.number,
            next_index,
            last_offset,
            updated: beyond.updated,
        });
    })
    .await;
}

pub async fn a_native_key_is_unique_in_its_log(subject: Subject) {
    let mut chain = start(&subject).await;
    refused(&mut chain, "a second session of one key", |wrong| {
        wrong.session("c").key = Some(key());
    })
    .await;
    let mut other = Chain::on(&subject.store, "other").await;
    other.session("a").key = Some(key());
    other.event("a", SESSION);
    other.commit().await;
}
