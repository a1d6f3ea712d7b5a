//! Promises on rows: what was written comes back, column by column.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::chain::{Chain, bytes, session_id};
use super::wishes::{MESSAGE, SESSION, TOOL, TURN, content};
use super::{Subject, reads};
use crate::event::{DedupeKey, ItemKey, ItemStep, Raw};
use crate::id::WriterId;
use crate::interest::Selector;
use crate::offset::{Index, Offset, Time};
use crate::session::{Lifecycle, Session, SessionFacts, SessionKey};
use crate::store::{Presence, Stored, WriterRow};

pub(super) fn writer(name: &str) -> WriterId {
    WriterId::parse(name).unwrap()
}

fn raw(media_type: &str, content: &'static str) -> Raw {
    Raw {
        media_type: media_type.into(),
        content: bytes(content),
    }
}

pub async fn what_was_committed_is_read_with_every_column(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let first = chain.event("a", SESSION);
    first.writer = Some((writer("w"), 1));
    first.dedupe = Some(DedupeKey([0xff; 16]));
    let started = chain.event_of("b", MESSAGE, b"");
    (started.item, started.item_step) = (Some(ItemKey(u64::MAX)), Some(ItemStep::Started));
    started.raw = Some(raw("application/json", "{}"));
    let completed = chain.event_of("a", TOOL, b"\0\xff'\n");
    (completed.item, completed.item_step) = (Some(ItemKey(0)), Some(ItemStep::Completed));
    chain.commit().await;
    chain.event("b", TURN).item = Some(ItemKey(1 << 63));
    chain.commit().await;
    reads::check_all(&chain, &content(Selector::All), "all").await;
}

/// A session in which every field is unlike a fresh one's.
fn full(chain: &mut Chain) -> Session {
    let session = chain.session("full");
    session.key = Some(SessionKey::parse("codex", "", "/home/u/Gr\u{fc}n", "n/1 \u{1f980}").unwrap());
    session.ancestors = ["parent", "root"].map(session_id).into();
    session.life = 7;
    session.lifecycle = Lifecycle::Closed;
    session.archived = true;
    session.facts = SessionFacts {
        title: Some("two\nlines, \"quotes\" and \u{1f980}".into()),
        project: Some("".into()),
        vendor: None,
        // A row tells its parent by its ancestors.
        parent: None,
        other: vec![("cwd".into(), "/a b".into()), ("branch".into(), "".into())],
    };
    session.created = Time(-1);
    session.closed = Some(Time(1_700_000_000_123_456));
    chain.event("full", SESSION);
    chain.session("full").clone()
}

/// Fails unless the store and a transaction find the session, by its id and by its key.
pub(super) async fn assert_found(chain: &Chain, session: &Session) {
    let log = chain.log.key;
    let found = chain.store.session(log, &session.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(session));
    let ids = [session_id("unknown"), session.id.clone()];
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(log).await.unwrap();
    assert_eq!(transaction.sessions(log, &ids).await, Ok(vec![session.clone()]));
    let Some(key) = &session.key else { return };
    let unknown = SessionKey {
        native_id: "unknown".into(),
        ..key.clone()
    };
    let keys = [key.clone(), unknown.clone()];
    assert_eq!(transaction.sessions_by_key(log, &keys).await, Ok(vec![session.clone()]));
    drop(transaction);
    let by_key = chain.store.session_by_key(log, key).await.unwrap();
    assert_eq!(by_key.as_ref(), Some(session));
    assert_eq!(chain.store.session_by_key(log, &unknown).await, Ok(None));
}

pub async fn a_session_comes_back_as_it_was_written(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let full = full(&mut chain);
    chain.event("bare", SESSION);
    chain.commit().await;
    assert_found(&chain, &full).await;
    assert_found(&chain, &chain.sessions[&session_id("bare")]).await;
}

pub async fn a_changed_session_replaces_the_one_before(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.event("full", SESSION);
    chain.commit().await;
    let full = full(&mut chain);
    chain.commit().await;
    assert_found(&chain, &full).await;
    let session = chain.session("full");
    session.facts = SessionFacts::default();
    (session.lifecycle, session.closed, session.archived) = (Lifecycle::Live, None, false);
    session.ancestors = Box::default();
    chain.event("full", SESSION);
    chain.commit().await;
    assert_found(&chain, &chain.sessions[&full.id]).await;
}

pub async fn writers_come_back_as_they_were_written(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let row = |name: &str, fence, last_seq| WriterRow {
        id: writer(name),
        fence,
        last_seq,
        presence: Presence::default(),
    };
    chain.changes.writers = vec![row("a", 1, 0), row("A", 2, u64::MAX)];
    chain.event("s", SESSION);
    chain.commit().await;
    // No event at all: a fence is given out, for example.
    chain.changes.writers = vec![row("a", u64::MAX, 9), row("b", 1, 1)];
    chain.commit().await;
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    let names = ["b", "unknown", "a", "A"].map(writer);
    let mut found = transaction.writers(chain.log.key, &names).await.unwrap();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found, [row("A", 2, u64::MAX), row("a", u64::MAX, 9), row("b", 1, 1)]);
}

pub async fn a_dedupe_key_tells_where_its_event_lies(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    let key = |number| DedupeKey([number; 16]);
    chain.event("a", SESSION).dedupe = Some(key(1));
    chain.event("b", SESSION).dedupe = Some(key(1));
    chain.event("a", MESSAGE).dedupe = None;
    chain.event("a", MESSAGE).dedupe = Some(key(0xff));
    chain.commit().await;
    let [a, b] = ["a", "b"].map(|id| chain.sessions[&session_id(id)].number);
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    let keys = [(a, key(1)), (b, key(1)), (a, key(2)), (a, key(0xff)), (b, key(0xff))];
    let mut found = transaction.deduplicated(&keys).await.unwrap();
    found.sort_by_key(|(_, _, stored)| stored.offset);
    let at = |offset, index| Stored {
        offset: Offset(offset),
        index: Some(Index(index)),
    };
    assert_eq!(
        found,
        [(a, key(1), at(0, 0)), (b, key(1), at(1, 0)), (a, key(0xff), at(3, 2))]
    );
    assert_eq!(transaction.deduplicated(&[]).await, Ok(vec![]));
}

pub async fn a_seq_is_found_among_the_newest_events_of_its_session_only(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for seq in 0..4_u64 {
        for (session, name) in [("a", "w"), ("b", "w"), ("a", "v")] {
            let nth = if name == "v" { u64::MAX - seq } else { seq };
            chain.event(session, MESSAGE).writer = Some((writer(name), nth));
        }
    }
    chain.commit().await;
    chain.event("a", MESSAGE);
    chain.commit().await;
    let [a, b] = ["a", "b"].map(|id| chain.sessions[&session_id(id)].number);
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    // Session a from its newest: one without a writer, then v and w by turns.
    for (session, name, seq, scan_max, expected) in [
        (a, "w", 3, 3, Some(9)),
        (a, "w", 3, 2, None),
        (a, "v", u64::MAX - 3, 2, Some(11)),
        (a, "v", u64::MAX - 3, 1, None),
        (a, "w", 0, 9, Some(0)),
        (a, "w", 0, 8, None),
        (a, "w", 4, 99, None),
        (b, "w", 3, 1, Some(10)),
        (b, "w", 0, 4, Some(1)),
        (b, "v", u64::MAX, 99, None),
        (a, "unknown", 0, 99, None),
    ] {
        let found = transaction
            .find_seqs(session, &writer(name), &[seq], scan_max)
            .await
            .unwrap();
        let row = expected.map(|offset: usize| &chain.history[offset]);
        let expected: Vec<_> = row.map(|row| (seq, row.stored())).into_iter().collect();
        assert_eq!(found, expected, "{name} {seq} within {scan_max} of {session:?}");
    }
    let mut several = transaction
        .find_seqs(a, &writer("w"), &[0, 2, 3, 77], 99)
        .await
        .unwrap();
    several.sort_by_key(|(seq, _)| *seq);
    assert_eq!(
        several.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        [0, 2, 3],
        "all of a batch in one look"
    );
}

pub async fn what_lies_below_a_session_is_found_at_any_depth_and_in_its_log_only(subject: Subject) {
    let mut other = Chain::on(&subject.store, "other").await;
    other.session("theirs").ancestors = [session_id("root")].into();
    other.event("theirs", SESSION);
    other.commit().await;
    let mut chain = Chain::on(&subject.store, "t").await;
    for (id, ancestors) in [
        ("root", &[][..]),
        ("mid", &["root"]),
        ("leaf", &["mid", "root"]),
        ("beside", &["elsewhere"]),
    ] {
        chain.session(id).ancestors = ancestors.iter().map(|id| session_id(id)).collect();
        chain.event(id, SESSION);
    }
    chain.commit().await;
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    for (above, expected) in [
        (&["root"][..], &["leaf", "mid"][..]),
        (&["mid", "elsewhere"], &["beside", "leaf"]),
        (&["leaf"], &[]),
        (&[], &[]),
    ] {
        let above: Vec<_> = above.iter().map(|id| session_id(id)).collect();
        let found = transaction.descendants(chain.log.key, &above, 99).await.unwrap();
        let mut ids: Vec<_> = found.iter().map(|session| session.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "below {above:?}");
    }
    let some = transaction
        .descendants(chain.log.key, &[session_id("root")], 1)
        .await
        .unwrap();
    assert_eq!(some.len(), 1, "no more than asked for");
}

pub async fn raw_records_lie_beside_their_events(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.event("a", SESSION).raw = Some(raw("text/plain; charset=utf-8", "one"));
    chain.event("a", MESSAGE);
    chain.event("b", SESSION).raw = Some(raw("application/json", ""));
    chain.commit().await;
    let all = [0, 1, 2].map(Offset);
    let mut found = chain.store.raws(chain.log.key, &all).await.unwrap();
    found.sort_by_key(|(offset, _)| *offset);
    let one = (Offset(0), raw("text/plain; charset=utf-8", "one"));
    let other = (Offset(2), raw("application/json", ""));
    assert_eq!(found, [one, other.clone()]);
    let found = chain.store.raws(chain.log.key, &all[1..]).await;
    assert_eq!(found, Ok(vec![other]));
    assert_eq!(chain.store.raws(chain.log.key, &[]).await, Ok(vec![]));
}
