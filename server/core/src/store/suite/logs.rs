//! Promises on logs, tenants, names, resume keys and lasting.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use tokio::task::JoinSet;

use super::chain::{Chain, session_id, tenant_id};
use super::wishes::{MESSAGE, SESSION, all_kinds_of_interests, content, family_tree};
use super::{Subject, reads};
use crate::event::{DedupeKey, Raw};
use crate::id::WriterId;
use crate::interest::Selector;
use crate::offset::{Epoch, LogKey, Offset, Time};
use crate::resume_token::{KeyId, ResumeKey};
use crate::session::SessionKey;
use crate::store::{Error, LogRow, Presence, SessionFilter, SessionOrder, SnapshotLimits, Store, WriterRow};

/// Fails unless both are the same row of one log.
pub(super) fn assert_same_log(one: &LogRow, other: &LogRow) {
    let fields = |log: &LogRow| {
        (
            (log.key, log.tenant.clone(), log.epoch, log.oldest),
            (log.tail, log.link, log.recorded, log.fence, log.sessions),
            (log.oldest_recorded, log.bytes, log.base),
            log.link_key.genesis(Epoch(1)),
        )
    };
    assert_eq!(fields(one), fields(other));
}

pub async fn a_log_is_made_once_and_stays_as_it_was_made(subject: Subject) {
    let made = subject.store.open_log(&tenant_id("t")).await.unwrap();
    assert_ne!(made.epoch, Epoch(0));
    assert_eq!(made.link, made.link_key.genesis(made.epoch));
    assert_eq!(made.base, made.link, "its chain begins with its genesis");
    assert_eq!((made.oldest, made.tail), (Offset(0), Offset(0)));
    assert_eq!((made.fence, made.sessions), (0, 0));
    assert!(made.key.0 < 1 << 19, "{:?}", made.key);
    let again = subject.store.open_log(&tenant_id("t")).await.unwrap();
    assert_same_log(&made, &again);
}

pub async fn many_who_open_a_new_log_at_once_get_the_same_one(subject: Subject) {
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let store = subject.store.clone();
        opening.spawn(async move { store.open_log(&tenant_id("t")).await.unwrap() });
    }
    let logs = opening.join_all().await;
    for log in &logs {
        assert_same_log(&logs[0], log);
    }
}

pub async fn a_log_with_another_epoch_is_the_same_log_under_another_name(subject: Subject) {
    let store = &subject.store;
    let other = Chain::on(store, "other").await.log;
    let mut chain = Chain::on(store, "t").await;
    chain.event("a", SESSION);
    chain.event("a", MESSAGE);
    chain.commit().await;
    let before = store.open_log(&tenant_id("t")).await.unwrap();
    let epoch = Epoch(before.epoch.0 ^ 1);
    store.renew_epoch(before.key, epoch, 1 << 33).await.unwrap();

    let renewed = LogRow {
        epoch,
        fence: 1 << 33,
        ..before
    };
    assert_same_log(&store.open_log(&tenant_id("t")).await.unwrap(), &renewed);
    assert_same_log(&store.open_log(&tenant_id("other")).await.unwrap(), &other);
    assert_ne!(renewed.base, renewed.link_key.genesis(epoch), "its links do not change");
    chain.log = renewed;
    for offset in (0..=chain.log.tail.0).map(Offset) {
        let link = store.link_before(&chain.log, offset).await.unwrap();
        assert_eq!(link, chain.link_before(offset), "before {offset}");
    }
    reads::check_all(&chain, &content(Selector::All), "all").await;
    chain.event("a", MESSAGE);
    chain.commit().await;
    let nobody = LogKey(chain.log.key.0 + 1);
    assert!(matches!(
        store.renew_epoch(nobody, epoch, 1).await,
        Err(Error::Corrupt(_))
    ));
}

pub async fn all_logs_are_listed_as_they_are(subject: Subject) {
    let store = &subject.store;
    assert!(store.logs().await.unwrap().is_empty());
    let mut one = Chain::on(store, "one").await;
    let two = Chain::on(store, "two").await;
    one.event("a", SESSION);
    one.commit().await;
    let logs = store.logs().await.unwrap();
    assert_eq!(logs.len(), 2);
    for (listed, made) in logs.iter().zip([&one.log, &two.log]) {
        assert_same_log(listed, made);
    }
}

pub async fn tenants_have_logs_of_their_own(subject: Subject) {
    let a = subject.store.open_log(&tenant_id("a")).await.unwrap();
    let b = subject.store.open_log(&tenant_id("b")).await.unwrap();
    assert_ne!(a.key, b.key);
    assert_ne!(a.epoch, b.epoch);
    let under_same_epoch = |log: &LogRow| log.link_key.genesis(Epoch(1));
    assert_ne!(under_same_epoch(&a), under_same_epoch(&b), "link keys");
}

pub async fn tenants_cannot_see_each_others_rows(subject: Subject) {
    let store = &subject.store;
    let mut mine = Chain::on(store, "mine").await;
    let mut theirs = Chain::on(store, "theirs").await;
    let key = SessionKey::parse("v", "i", "/p", "n").unwrap();
    let writer = WriterId::parse("w").unwrap();
    let dedupe = DedupeKey::of_key("k");
    mine.event("mine", SESSION);
    mine.commit().await;
    theirs.session("theirs").key = Some(key.clone());
    theirs.event_of("theirs", SESSION, b"secret").dedupe = Some(dedupe);
    let raw = Raw {
        media_type: "text/plain".into(),
        content: super::chain::bytes("secret"),
    };
    theirs.event("theirs", MESSAGE).raw = Some(raw);
    theirs.changes.writers = vec![WriterRow {
        id: writer.clone(),
        fence: 1,
        last_seq: 1,
        presence: Presence::default(),
    }];
    theirs.commit().await;

    let log = mine.log.key;
    for (what, interests) in all_kinds_of_interests() {
        reads::check_all(&mine, &interests, &what).await;
    }
    assert_eq!(store.session(log, &session_id("theirs")).await, Ok(None));
    assert_eq!(store.session_by_key(log, &key).await, Ok(None));
    assert_eq!(store.raws(log, &[Offset(0), Offset(1)]).await, Ok(vec![]));
    let listed = store
        .list_sessions(log, &SessionFilter::default(), SessionOrder::Recent, Offset(99), 9)
        .await;
    assert_eq!(listed, Ok(vec![mine.sessions[&session_id("mine")].clone()]));
    let limits = SnapshotLimits {
        sessions: 9,
        items: 9,
        scan: 9,
        bytes: 9_999,
        row_bytes: 1 << 20,
        oldest: Offset::ZERO,
    };
    let snapshot = store
        .snapshot(log, (&content(Selector::All)).into(), limits)
        .await
        .unwrap();
    assert_eq!(snapshot.sessions.len(), 1);
    assert_same_log(&snapshot.log, &mine.log);

    let mut transaction = store.begin().await.unwrap();
    transaction.lock(log).await.unwrap();
    let number = mine.sessions[&session_id("mine")].number;
    assert_eq!(transaction.sessions(log, &[session_id("theirs")]).await, Ok(vec![]));
    assert_eq!(transaction.sessions_by_key(log, &[key]).await, Ok(vec![]));
    assert_eq!(transaction.writers(log, &[writer]).await, Ok(vec![]));
    assert_eq!(transaction.deduplicated(&[(number, dedupe)]).await, Ok(vec![]));
}

pub async fn odd_but_legal_names_are_only_names(subject: Subject) {
    let longest = "x".repeat(128);
    let ids = [
        "_", "a_", "ab", ".", "-", "--", ":", ":a", "..", "0", "-1", "00", "null", "NULL", "1e3", &longest,
    ];
    let longest = "\u{e4}".repeat(2048);
    let texts = [
        "'", "''", "\"", "a';--", "%", "_", "a%", "a_", "ab", "[a]", "\\", "&", "a\",\"b", "$1", "?1", &longest,
    ];
    let mut chain = Chain::on(&subject.store, "--:.").await;
    for (id, text) in ids.into_iter().zip(texts) {
        chain.event(id, SESSION);
        // A child tells whether the name also works inside a list of ancestors.
        let child = format!("child-of-{}", chain.sessions.len());
        let session = chain.session(&child);
        session.ancestors = [session_id(id)].into();
        session.facts.project = Some(text.into());
        session.facts.vendor = Some(text.into());
        session.facts.title = Some(text.into());
        session.facts.other = vec![(text.into(), text.into())];
        session.key = Some(SessionKey::parse(text, text, text, text).unwrap());
        chain.event(&child, SESSION);
    }
    chain.commit().await;
    for (id, text) in ids.into_iter().zip(texts) {
        check_odd_name(&chain, id, text).await;
    }
}

async fn check_odd_name(chain: &Chain, id: &str, text: &str) {
    let log = chain.log.key;
    let id = session_id(id);
    let found = chain.store.session(log, &id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&chain.sessions[&id]), "{id}");
    for selector in [
        Selector::Session(id.clone()),
        Selector::Subtree(id.clone()),
        Selector::Project(text.into()),
        Selector::Vendor(text.into()),
    ] {
        let what = format!("{selector:?}");
        reads::check_all(chain, &content(selector), &what).await;
    }
    let children = chain.sessions.values().filter(|child| child.parent() == Some(&id));
    let children: Vec<_> = children.cloned().collect();
    assert_eq!(children.len(), 1);
    for filter in [
        SessionFilter {
            parent: Some(id.clone()),
            ..SessionFilter::default()
        },
        SessionFilter {
            project: Some(text.into()),
            ..SessionFilter::default()
        },
        SessionFilter {
            vendor: Some(text.into()),
            ..SessionFilter::default()
        },
    ] {
        let listed = chain
            .store
            .list_sessions(log, &filter, SessionOrder::Opened, chain.log.tail, 9)
            .await;
        assert_eq!(listed.unwrap(), children, "{filter:?}");
    }
    let key = SessionKey::parse(text, text, text, text).unwrap();
    let found = chain.store.session_by_key(log, &key).await.unwrap();
    assert_eq!(found, Some(children[0].clone()), "by key {text}");
}

pub async fn names_are_compared_byte_by_byte(subject: Subject) {
    let store = &subject.store;
    let mut chain = Chain::on(store, "tenant").await;
    let other = store.open_log(&tenant_id("Tenant")).await.unwrap();
    assert_ne!(chain.log.key, other.key, "tenants differ in case");
    let natives = ["a", "A", "a ", " a", "\u{e4}", "a\u{308}", "\u{c4}"];
    for (nth, native) in natives.into_iter().enumerate() {
        let session = chain.session(["s", "S", "s.", ".s", "s0", "s1", "s2"][nth]);
        session.key = Some(SessionKey::parse("v", "i", "/p", native).unwrap());
        session.facts.vendor = Some(native.into());
        let id = session.id.clone();
        chain.event(id.as_str(), SESSION);
    }
    chain.commit().await;
    for session in chain.sessions.values() {
        let by_id = store.session(chain.log.key, &session.id).await.unwrap();
        assert_eq!(by_id.as_ref(), Some(session));
        let key = session.key.as_ref().unwrap();
        let by_key = store.session_by_key(chain.log.key, key).await.unwrap();
        assert_eq!(by_key.as_ref(), Some(session));
        for selector in [
            Selector::Session(session.id.clone()),
            Selector::Vendor(key.native_id.to_string()),
        ] {
            let what = format!("{selector:?}");
            reads::check_all(&chain, &content(selector), &what).await;
        }
    }
}

fn resume_key(id: u16) -> ResumeKey {
    ResumeKey {
        id: KeyId(id),
        secret: Some([id as u8; 32]),
        mints_from: Time(i64::from(id) * 1_000_000 - 7),
    }
}

async fn sorted_keys(store: &dyn Store) -> Vec<ResumeKey> {
    let mut keys = store.resume_keys().await.unwrap();
    keys.sort_by_key(|key| key.id);
    keys
}

pub async fn a_removed_resume_key_keeps_its_number_and_loses_its_secret(subject: Subject) {
    let store = &subject.store;
    assert_eq!(store.resume_keys().await, Ok(vec![]), "the store makes none itself");
    for id in [1, 2, u16::MAX] {
        store.add_resume_key(&resume_key(id)).await.unwrap();
    }
    let mut expected = [1, 2, u16::MAX].map(resume_key);
    assert_eq!(sorted_keys(&**store).await, expected);
    store.remove_resume_key(KeyId(1)).await.unwrap();
    expected[0].secret = None;
    assert_eq!(sorted_keys(&**store).await, expected);
}

pub async fn the_number_of_a_resume_key_must_be_new(subject: Subject) {
    let store = &subject.store;
    store.add_resume_key(&resume_key(1)).await.unwrap();
    for _ in 0..2 {
        let again = store.add_resume_key(&resume_key(1)).await;
        assert!(matches!(again, Err(Error::Constraint(_))), "{again:?}");
        store.remove_resume_key(KeyId(1)).await.unwrap();
    }
    assert_eq!(store.resume_keys().await.unwrap().len(), 1);
}

pub async fn what_was_committed_is_there_after_opening_again(subject: Subject) {
    let Subject { store, reopen, keep } = subject;
    let Some(reopen) = reopen else { return };
    let mut chain = family_tree(&store).await;
    store.add_resume_key(&resume_key(1)).await.unwrap();
    drop(store);
    for _ in 0..2 {
        // Nothing may hold the store when it is opened again, and a chain does.
        let history = chain.history.clone();
        let (log, sessions) = (chain.log.clone(), chain.sessions.clone());
        drop(chain);
        let store = reopen().await;
        let row = store.open_log(&tenant_id("t")).await.unwrap();
        assert_same_log(&row, &log);
        chain = Chain::continued(&store, row, sessions, history);
        for (what, interests) in all_kinds_of_interests() {
            reads::check_all(&chain, &interests, &what).await;
        }
        for session in chain.sessions.values() {
            let found = store.session(log.key, &session.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(session));
        }
        assert_eq!(store.resume_keys().await, Ok(vec![resume_key(1)]));
        chain.event("root", MESSAGE);
        chain.event("after", SESSION);
        chain.commit().await;
    }
    drop(keep);
}
