//! Promises on taking the oldest events away.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, bytes, session_id};
use super::logs::assert_same_log;
use super::moves::{all_interests, wanderers};
use super::reads::everything;
use super::wishes::{MESSAGE, SESSION, TOOL, all_kinds_of_interests, content, family_tree};
use crate::event::{DedupeKey, Families, Family, ItemKey, ItemStep, Raw};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::offset::{Index, Offset};
use crate::store::{Error, EventRow, Missing, Read, SnapshotLimits, StoredEvent};

/// More links than any log here has.
const ALL: u64 = 1000;

/// Events at 0, 2 and 4 of `a`, at 1 and 3 of `b`; the one at 1 with a dedupe key and a raw record.
async fn five(subject: &Subject) -> Chain {
    let mut chain = Chain::on(&subject.store, "t").await;
    chain.event("a", SESSION);
    let event = chain.event("b", SESSION);
    event.dedupe = Some(DedupeKey::of_key("k"));
    event.raw = Some(Raw {
        media_type: "text/plain".into(),
        content: bytes("raw"),
    });
    for session in ["a", "b", "a"] {
        chain.event(session, MESSAGE);
    }
    chain.commit().await;
    chain
}

async fn kept(chain: &Chain, from: u64, events_max: usize, bytes_max: usize) -> Vec<StoredEvent> {
    let mut transaction = chain.store.begin().await.unwrap();
    let row = transaction.lock(chain.log.key).await.unwrap();
    transaction
        .events(&row, Offset(from), events_max, bytes_max)
        .await
        .unwrap()
}

pub async fn a_trim_takes_a_prefix_and_keeps_what_it_says(subject: Subject) {
    let mut chain = five(&subject).await;
    let all = kept(&chain, 0, 100, 1 << 20).await;
    for (event, row) in all.iter().zip(&chain.history) {
        let expected = StoredEvent {
            offset: row.offset,
            spot: row.spot(),
            kind: row.kind,
            writer: row.writer.clone(),
            link: row.link,
            stored: row.stored.clone(),
            bytes: row.bytes(),
        };
        assert_eq!(*event, expected);
    }
    assert_eq!(all.len(), 5);
    assert_eq!(kept(&chain, 2, 2, 1 << 20).await.len(), 2, "a number of events");
    assert_eq!(
        kept(&chain, 0, 100, 1).await.len(),
        1,
        "a number of bytes, and one event at least"
    );

    chain.commit_trim(Offset(2), ALL).await;
    let row = chain.store.open_log(&chain.log.tenant).await.unwrap();
    assert_same_log(&row, &chain.log);
    assert_eq!(kept(&chain, 2, 100, 1 << 20).await, all[2..]);
    let a = chain.store.session(row.key, &session_id("a")).await.unwrap().unwrap();
    assert_eq!((a.trimmed.until, a.trimmed.offset()), (Index(1), Offset(1)));
    assert_eq!(a, chain.sessions[&session_id("a")], "all else of it stays");
    let raws = chain.store.raws(row.key, &[Offset(1)]).await.unwrap();
    assert!(raws.is_empty(), "a raw record goes with its event");

    let numbers: Vec<_> = chain.sessions.values().map(|session| session.number).collect();
    let mut transaction = chain.store.begin().await.unwrap();
    let keys = [(numbers[1], DedupeKey::of_key("k"))];
    let duplicates = transaction.deduplicated(&keys).await.unwrap();
    assert_eq!(duplicates[0].2.offset, Offset(1), "dedupe keys stay");
    let bases = transaction.bases(row.key, &numbers).await.unwrap();
    drop(transaction);
    assert_eq!(bases.len(), 2);
    for base in &bases {
        let session = &chain.sessions[&base.id];
        assert_eq!(base.facts.title.as_deref(), Some("base at 2"));
        assert_eq!((&base.trimmed, base.number), (&session.trimmed, session.number));
    }

    chain.commit_trim(Offset(3), ALL).await;
    let mut transaction = chain.store.begin().await.unwrap();
    let mut titles: Vec<_> = transaction.bases(row.key, &numbers).await.unwrap();
    titles.sort_by_key(|base| base.number.0);
    let titles: Vec<_> = titles.iter().map(|base| base.facts.title.as_deref().unwrap()).collect();
    assert_eq!(titles, ["base at 3", "base at 2"], "the newest base of each");
    drop(transaction);
    chain.commit_trim(Offset(5), ALL).await;
    let row = chain.store.open_log(&chain.log.tenant).await.unwrap();
    assert_eq!(
        (row.oldest, row.tail, row.bytes),
        (Offset(5), Offset(5), 0),
        "nothing is left"
    );
    assert_eq!(kept(&chain, 5, 100, 1 << 20).await, []);
}

pub async fn what_was_trimmed_is_never_left_out_silently(subject: Subject) {
    let mut chain = family_tree(&subject.store).await;
    chain.commit_trim(Offset(20), ALL).await;
    for (name, interests) in all_kinds_of_interests() {
        let all = everything(&chain, &interests);
        let trimmed = Some(Error::Trimmed(Offset(20)));
        for from in [0, 19] {
            let read = Read {
                from: Offset(from),
                ..all.clone()
            };
            assert_eq!(
                chain.store.read(read.clone()).await.err(),
                trimmed,
                "{name} from {from}"
            );
            assert_eq!(
                chain.store.read_back(read).await.err(),
                trimmed,
                "{name} back to {from}"
            );
        }
        let read = Read {
            from: Offset(20),
            ..all
        };
        let rows = chain.wanted(&interests, Offset(20), chain.log.tail);
        let page = chain.store.read(read.clone()).await.unwrap();
        chain.assert_events(&page.events, &rows, &name);
        let mut page = chain.store.read_back(read).await.unwrap();
        page.events.reverse();
        chain.assert_events(&page.events, &rows, &name);
        assert_eq!((page.until, page.link), (Offset(20), chain.link_before(Offset(20))));
    }
}

pub async fn links_outlive_their_events_for_a_while(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for _ in 0..40 {
        chain.event("a", MESSAGE);
    }
    chain.commit().await;
    for until in [7, 8, 20, 30] {
        chain.commit_trim(Offset(until), 15).await;
    }
    for offset in 15..=40 {
        let link = chain.store.link_before(&chain.log, Offset(offset)).await.unwrap();
        assert_eq!(link, chain.link_before(Offset(offset)), "before {offset}");
    }
    // Links go in pieces, as they came.
    for offset in 0..7 {
        let link = chain.store.link_before(&chain.log, Offset(offset)).await;
        assert_eq!(link, Err(Error::Trimmed(Offset(30))), "before {offset}");
    }
    for until in [39, 40] {
        chain.commit_trim(Offset(until), 0).await;
        let link = chain.store.link_before(&chain.log, Offset(until)).await.unwrap();
        assert_eq!(
            link,
            chain.link_before(Offset(until)),
            "the oldest one's is always known"
        );
    }
}

pub async fn a_trim_that_is_no_prefix_is_refused(subject: Subject) {
    let mut chain = five(&subject).await;
    chain.commit_trim(Offset(2), ALL).await;
    let good = chain.trim(Offset(4));
    let mut beyond = good.clone();
    beyond.log.oldest = Offset(6);
    beyond.links = vec![chain.log.link; 4];
    let mut short = good.clone();
    short.links.pop();
    let mut again = good.clone();
    again.log.oldest = Offset(2);
    for bad in [beyond, short, again] {
        let mut transaction = chain.store.begin().await.unwrap();
        transaction.lock(chain.log.key).await.unwrap();
        let refused = transaction.trim(bad, ALL).await;
        assert!(matches!(refused, Err(Error::Constraint(_))), "{refused:?}");
    }
    assert_eq!(kept(&chain, 2, 100, 1 << 20).await.len(), 3);
}

pub async fn a_trim_that_is_not_committed_leaves_everything(subject: Subject) {
    let chain = five(&subject).await;
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    transaction.trim(chain.trim(Offset(4)), ALL).await.unwrap();
    drop(transaction);
    assert_eq!(kept(&chain, 0, 100, 1 << 20).await.len(), 5);
    assert_same_log(&chain.store.open_log(&chain.log.tenant).await.unwrap(), &chain.log);
    let page = chain
        .store
        .read(everything(&chain, &content(Selector::All)))
        .await
        .unwrap();
    assert_eq!(page.events.len(), 5);
}

pub async fn an_append_leaves_what_is_trimmed_and_goes_on_behind_it(subject: Subject) {
    let mut chain = five(&subject).await;
    // The appender may hold rows from before a trim.
    let before = chain.sessions.clone();
    chain.commit_trim(Offset(5), ALL).await;
    let trimmed = chain.sessions[&session_id("a")].trimmed.clone();
    chain.sessions = before;
    chain.event("a", MESSAGE);
    chain.commit().await;
    let a = chain
        .store
        .session(chain.log.key, &session_id("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((a.trimmed, a.next_index), (trimmed, Index(4)));
    let row = chain.store.open_log(&chain.log.tenant).await.unwrap();
    assert_eq!(row.bytes, chain.history[5].bytes());
    assert_eq!(row.oldest_recorded, row.recorded, "it is the only one");
    let all = content(Selector::All);
    let read = Read {
        from: Offset(5),
        ..everything(&chain, &all)
    };
    let page = chain.store.read(read).await.unwrap();
    assert_eq!(
        (page.events.len(), page.events[0].in_session().map(|of| of.index)),
        (1, Some(Index(3)))
    );
}

fn missing(session: &str, from: u64, until: u64) -> Missing {
    Missing::Session {
        session: session_id(session),
        from: Index(from),
        until: Index(until),
    }
}

/// What is missing, by session.
async fn found(chain: &Chain, interests: &Interests, range: [u64; 2], most: usize) -> Vec<Missing> {
    let [from, until] = range.map(Offset);
    let mut found = chain
        .store
        .missing(&chain.log, interests, from, until, most)
        .await
        .unwrap();
    found.sort_by_key(|missing| match missing {
        Missing::Session { session, .. } => Some(session.clone()),
        Missing::Tenant => None,
    });
    found
}

pub async fn only_sessions_that_lack_something_wanted_are_missing(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for (session, kind) in [
        ("a", SESSION),
        ("b", SESSION),
        ("a", TOOL),
        ("b", MESSAGE),
        ("b", MESSAGE),
        ("a", MESSAGE),
        ("b", TOOL),
        ("b", MESSAGE),
    ] {
        chain.event(session, kind);
    }
    chain.commit().await;
    chain.commit_trim(Offset(5), ALL).await;
    let all = content(Selector::All);
    let [a, b] = ["a", "b"].map(|id| content(Selector::Session(session_id(id))));
    // Trimmed: a at 0 and 2, b at 1, 3 and 4. Kept: a at 5, b at 6 and 7.
    for (interests, range, expected) in [
        (&all, [0, 5], vec![missing("a", 0, 2), missing("b", 0, 3)]),
        (&all, [2, 5], vec![missing("a", 0, 2), missing("b", 0, 3)]),
        (&all, [3, 5], vec![missing("b", 0, 3)]),
        (&all, [5, 5], vec![]),
        (&a, [2, 5], vec![missing("a", 0, 2)]),
        (&a, [3, 5], vec![]),
        (&b, [4, 5], vec![missing("b", 0, 3)]),
        (&a, [3, 6], vec![missing("a", 2, 3)]),
        (&all, [4, 7], vec![missing("a", 2, 3), missing("b", 0, 4)]),
        (&b, [5, 8], vec![missing("b", 3, 5)]),
        (&b, [7, 8], vec![missing("b", 4, 5)]),
        (&all, [8, 8], vec![]),
    ] {
        assert_eq!(
            found(&chain, interests, range, 10).await,
            expected,
            "{interests:?} {range:?}"
        );
    }
    let families = |family| {
        Interests::new(vec![Interest {
            families: Families::NONE.with(family),
            ..Interest::new(Selector::All, Detail::Content)
        }])
        .unwrap()
    };
    let tools = families(Family::Tool);
    assert_eq!(found(&chain, &tools, [2, 5], 10).await, [missing("a", 0, 2)]);
    assert_eq!(found(&chain, &tools, [3, 5], 10).await, []);
    assert_eq!(found(&chain, &tools, [3, 8], 10).await, [missing("b", 3, 4)]);
    assert_eq!(found(&chain, &families(Family::Ask), [0, 8], 10).await, []);
    assert_eq!(found(&chain, &all, [0, 5], 1).await.len(), 1);
}

pub async fn no_item_of_a_snapshot_is_older_than_was_asked(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for item in ["i", "j", "k", "l"] {
        let event = chain.event("a", MESSAGE);
        event.item = Some(ItemKey::of(item));
        event.item_step = Some(ItemStep::Completed);
    }
    chain.commit().await;
    let limits = |oldest, items| SnapshotLimits {
        sessions: 10,
        items,
        scan: 1000,
        bytes: 1 << 20,
        row_bytes: 1 << 20,
        oldest: Offset(oldest),
    };
    let all = content(Selector::All);
    for (trimmed, oldest, items, expected, more) in [
        (0, 0, 10, vec![0, 1, 2, 3], None),
        (0, 2, 10, vec![2, 3], None),
        (0, 2, 1, vec![3], Some(3)),
        (0, 4, 10, vec![], None),
        (1, 2, 2, vec![2, 3], None),
        (1, 1, 10, vec![1, 2, 3], None),
        (1, 1, 2, vec![2, 3], Some(2)),
    ] {
        if chain.log.oldest < Offset(trimmed) {
            chain.commit_trim(Offset(trimmed), ALL).await;
        }
        let snapshot = chain
            .store
            .snapshot(chain.log.key, (&all).into(), limits(oldest, items))
            .await;
        let session = snapshot.unwrap().sessions.remove(0);
        let offsets: Vec<_> = session.items.iter().map(|event| event.offset.0).collect();
        assert_eq!(offsets, expected, "from {oldest}, {items} items");
        assert_eq!(session.more_below, more.map(Offset), "from {oldest}, {items} items");
    }
}

pub async fn who_wanders_is_never_missed_silently(subject: Subject) {
    for seed in [1, 2, 3] {
        let mut chain = wanderers(&subject.store, seed).await;
        let oldest = Offset(chain.log.tail.0 * 2 / 3);
        chain.commit_trim(oldest, ALL).await;
        for (name, interests) in all_interests() {
            for from in 0..=oldest.0 {
                let wanted = chain.wanted(&interests, Offset(from), oldest);
                let lacking = found(&chain, &interests, [from, oldest.0], 100).await;
                let named = |row: &EventRow| {
                    lacking.iter().any(|missing| match (missing, row.spot()) {
                        (Missing::Session { session, until, .. }, Some(spot)) => {
                            *session == chain.numbered(spot.session).id && spot.index < *until
                        }
                        (Missing::Tenant, None) => true,
                        (Missing::Session { .. }, None) | (Missing::Tenant, Some(_)) => false,
                    })
                };
                let of_tenant = wanted.iter().any(|row| row.spot().is_none());
                assert_eq!(lacking.contains(&Missing::Tenant), of_tenant, "{name} from {from}");
                let unnamed = wanted.iter().find(|row| !named(row));
                assert!(
                    unnamed.is_none(),
                    "{name} from {from}: {unnamed:?} is not in {lacking:?}"
                );
            }
            assert!(
                found(&chain, &interests, [oldest.0, oldest.0], 100).await.is_empty(),
                "{name}"
            );
        }
    }
}

pub async fn bases_are_found_below_one_another(subject: Subject) {
    let mut chain = family_tree(&subject.store).await;
    let mut trim = chain.trim(Offset(50));
    for base in &mut trim.bases {
        base.ancestors = chain.sessions[&base.id].ancestors.clone();
    }
    let mut transaction = chain.store.begin().await.unwrap();
    transaction.lock(chain.log.key).await.unwrap();
    transaction.trim(trim, ALL).await.unwrap();
    transaction.commit().await.unwrap();
    chain.event("alone", MESSAGE);
    let below = async |ids: &[&str], most| {
        let ids: Vec<_> = ids.iter().map(|id| session_id(id)).collect();
        let mut transaction = chain.store.begin().await.unwrap();
        let found = transaction.bases_below(chain.log.key, &ids, most).await.unwrap();
        let mut names: Vec<_> = found.iter().map(|base| base.id.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(below(&["root"], 10).await, ["leaf", "mid"]);
    assert_eq!(below(&["mid"], 10).await, ["leaf"]);
    assert_eq!(below(&["mid", "root"], 10).await, ["leaf", "mid"]);
    assert_eq!(below(&["root"], 1).await.len(), 1);
    assert_eq!(below(&["leaf", "alone", "nobody"], 10).await, [""; 0]);
}
