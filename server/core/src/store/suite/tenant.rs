//! Promises on events without a session: whom they are for, and what is known of their writers.
//!
//! Believe this: who moved and who was told of is proven by `moves`, whose wanderers are told of as they go. Here is what is left.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, session_id, writer_id};
use super::reads::{check_all, everything, walk_both};
use super::wishes::{MESSAGE, SESSION, all_kinds_of_interests, content};
use crate::event::DedupeKey;
use crate::id::WriterId;
use crate::interest::{Interests, Selector};
use crate::offset::{Offset, SessionNumber};
use crate::store::{Missing, Presence, Read, Transaction, WriterRow};

fn only(id: &str) -> Interests {
    content(Selector::Session(session_id(id)))
}

fn row(id: &str, presence: Presence) -> WriterRow {
    WriterRow {
        id: writer_id(id),
        fence: 1,
        last_seq: 3,
        presence,
    }
}

async fn missing(chain: &Chain, interests: &Interests, from: u64, until: u64) -> Vec<Missing> {
    let (from, until) = (Offset(from), Offset(until));
    let found = chain.store.missing(&chain.log, interests, from, until, 10);
    found.await.unwrap()
}

pub async fn an_event_without_a_session_is_for_what_its_writer_held_then(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for id in ["a", "b", "c"] {
        chain.event(id, SESSION);
    }
    // In one commit and over several: a key that stays, one that goes and comes back, and nobody at all.
    for held in [&["a"][..], &["a", "b"], &["b"], &["a", "b"], &[]] {
        chain.tells("w", held);
        chain.event("a", MESSAGE);
    }
    chain.commit().await;
    for held in [&["a", "b"][..], &["a", "b"], &["c"]] {
        chain.tells("w", held);
        chain.commit().await;
        chain.tells("v", &["c"]);
    }
    chain.commit().await;
    for (what, interests) in all_kinds_of_interests() {
        check_all(&chain, &interests, &what).await;
    }
    for (id, count) in [("a", 5), ("b", 5), ("c", 4)] {
        let interests = only(id);
        let page = chain.store.read(everything(&chain, &interests)).await.unwrap();
        let told = page.events.iter().filter(|event| event.in_session().is_none());
        assert_eq!(told.count(), count, "of {id}");
        check_all(&chain, &interests, id).await;
        walk_both(&chain, &interests, [2, 9_999, 3], id).await;
        walk_both(&chain, &interests, [99, 40, 2], id).await;
    }
}

pub async fn what_is_told_of_ten_thousand_sessions_is_for_each_of_them(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let ids: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    chain.event(ids[0], SESSION);
    for held in [&ids[..], &ids[..9_999], &ids[..]] {
        chain.tells("w", held);
        chain.commit().await;
    }
    for (id, count) in [("s0", 4), ("s9998", 3), ("s9999", 2), ("nobody", 0)] {
        let interests = only(id);
        check_all(&chain, &interests, id).await;
        let count_of = chain.store.count(&chain.log, &interests, Offset(0), chain.log.tail, 10);
        assert_eq!(count_of.await, Ok(count), "{id}");
    }
}

pub async fn what_was_told_is_found_again_by_its_key_and_its_seq(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let key = DedupeKey([7; 16]);
    chain.event("a", SESSION).dedupe = Some(key);
    let told = chain.tells("w", &["a"]);
    (told.dedupe, told.writer) = (Some(key), Some((writer_id("w"), 5)));
    let told = told.stored();
    assert_eq!(told.index, None);
    chain.commit().await;
    let tenant = SessionNumber::of_tenant(chain.log.key);
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    let found = transaction.deduplicated(&[(tenant, key)]).await.unwrap();
    assert_eq!(found, [(tenant, key, told)]);
    let seqs = async |transaction: &mut Box<dyn Transaction>, id: &WriterId| {
        transaction.find_seqs(tenant, id, &[4, 5], 10).await.unwrap()
    };
    assert_eq!(seqs(&mut transaction, &writer_id("w")).await, [(5, told)]);
    assert_eq!(seqs(&mut transaction, &writer_id("v")).await, []);
    drop(transaction);
    chain.tells("w", &[]).dedupe = Some(key);
    assert!(chain.try_commit().await.is_err(), "a key is there once");
}

pub async fn a_trimmed_event_without_a_session_is_missed_by_whom_it_was_for(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for id in ["a", "b"] {
        chain.event(id, SESSION);
    }
    chain.tells("w", &["a"]);
    chain.event("b", MESSAGE);
    chain.tells("w", &["b"]);
    chain.commit().await;
    let (a, all) = (only("a"), content(Selector::All));
    assert_eq!(
        missing(&chain, &a, 2, 4).await,
        [Missing::Tenant],
        "too old and still there"
    );
    chain.commit_trim(Offset(4), 1000).await;
    assert_eq!(missing(&chain, &a, 2, 4).await, [Missing::Tenant]);
    assert_eq!(missing(&chain, &a, 3, 4).await, [], "it lay before");
    assert!(missing(&chain, &all, 2, 4).await.contains(&Missing::Tenant));
    let told = missing(&chain, &only("b"), 2, 4).await;
    assert!(!told.contains(&Missing::Tenant), "{told:?}");
    // What is behind the trim is selected as before, though its audience began in what is gone.
    check_from(&chain, &all, 4).await;
    check_from(&chain, &only("b"), 4).await;
    // Nobody can go on from before what is kept of links: then it is forgotten.
    chain.commit_trim(Offset(5), 1).await;
    assert_eq!(missing(&chain, &a, 2, 5).await, []);
    chain.tells("w", &["b"]);
    chain.commit().await;
    check_from(&chain, &only("b"), 5).await;
    check_from(&chain, &a, 5).await;
}

async fn check_from(chain: &Chain, interests: &Interests, from: u64) {
    let read = Read {
        from: Offset(from),
        ..everything(chain, interests)
    };
    let page = chain.store.read(read).await.unwrap();
    let rows = chain.wanted(interests, Offset(from), chain.log.tail);
    chain.assert_events(&page.events, &rows, "behind a trim");
}

pub async fn what_is_known_of_a_connector_comes_back_as_it_was_written(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let rows = [
        row("a", Presence::default()),
        row(
            "b",
            Presence {
                connector: Some("opencode on a laptop".into()),
                online: true,
                lost: None,
            },
        ),
        row(
            "c",
            Presence {
                connector: Some("c".into()),
                online: false,
                lost: Some((100, u64::MAX)),
            },
        ),
    ];
    chain.changes.writers = rows.to_vec();
    chain.event("s", SESSION);
    chain.commit().await;
    assert_eq!(writers(&chain).await, rows);
    let (epoch, fence) = (chain.log.epoch, chain.log.fence);
    chain.store.renew_epoch(chain.log.key, epoch, fence).await.unwrap();
    let told: Vec<_> = writers(&chain).await.into_iter().map(|row| row.presence.lost).collect();
    assert_eq!(told, [None, None, None], "in another history it is lost again");
}

async fn writers(chain: &Chain) -> Vec<WriterRow> {
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    let names = ["a", "b", "c"].map(writer_id);
    let mut found = transaction.writers(chain.log.key, &names).await.unwrap();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    found
}
