//! Promises on sessions that move: to another project, below another parent, with all that lies below them.
//!
//! Believe this: an event is selected by where its session stood when it was stored, however often the session moved since.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Subject;
use super::chain::{Chain, session_id};
use super::reads::{check_all, everything, walk_both};
use super::snapshots::WIDE;
use super::wishes::{MESSAGE, all_kinds_of_interests, content, family_tree_of};
use crate::event::Family;
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::link::Link;
use crate::offset::Offset;
use crate::store::{Only, Read, SessionSnapshot, Shown, SnapshotLimits, Store};
use crate::window::{Budget, Window};

/// A fixed disorder.
struct Dice(u64);

impl Dice {
    fn throw<T: Copy>(&mut self, choices: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        choices[(self.0 >> 33) as usize % choices.len()]
    }
}

/// The family tree, whose sessions then go about between two projects and below one another, in and out of commits; and two writers that
/// hold now these of them and now those, and tell of themselves.
pub(super) async fn wanderers(store: &Arc<dyn Store>, seed: u64) -> Chain {
    let mut chain = family_tree_of(store, &format!("t{seed}")).await;
    let mut dice = Dice(seed);
    let above: [&[&str]; 4] = [&[], &["root"], &["alone"], &["alone", "root"]];
    let held: [&[&str]; 6] = [
        &[],
        &["leaf"],
        &["alone"],
        &["mid", "alone"],
        &["root", "leaf"],
        &["root"],
    ];
    for _ in 0..60 {
        let session = dice.throw(&["root", "mid", "leaf", "alone"]);
        match dice.throw(&[0, 1, 2, 3, 4, 5, 6]) {
            0 => drop(chain.moves(session, Some(dice.throw(&["/p", "/q", ""])), None).offset),
            1 if session == "mid" => drop(chain.moves("mid", None, Some(dice.throw(&above))).offset),
            2 if session == "alone" => drop(chain.moves("alone", Some("/q"), Some(dice.throw(&above[..2]))).offset),
            3 => chain.commit().await,
            5 => drop(chain.tells(dice.throw(&["v", "w"]), dice.throw(&held)).offset),
            _ => drop(chain.event(session, MESSAGE).offset),
        }
    }
    chain.commit().await;
    assert!(chain.stood.len() > 5, "they did move");
    let told = chain.history.iter().filter(|row| row.spot().is_none());
    assert!(told.count() > 3, "and were spoken of");
    chain
}

pub(super) fn all_interests() -> Vec<(String, Interests)> {
    let mut all = all_kinds_of_interests();
    // Families without sessions' own: what enters and leaves is told all the same.
    for selector in [
        Selector::All,
        Selector::Project("/q".into()),
        Selector::Project(String::new()),
        Selector::Vendor("opencode".into()),
        Selector::Session(session_id("mid")),
        Selector::Subtree(session_id("alone")),
        Selector::Subtree(session_id("root")),
    ] {
        let mut messages = Interest::new(selector, Detail::Content);
        messages.families = [Family::Message].into_iter().collect();
        let connectors = Interest {
            families: [Family::Connector].into_iter().collect(),
            ..messages.clone()
        };
        all.push((format!("{connectors:?}"), Interests::from(connectors)));
        let both = vec![
            messages.clone(),
            Interest::new(Selector::Project("/p".into()), Detail::Summary),
        ];
        all.push((format!("{messages:?}"), Interests::new(vec![messages]).unwrap()));
        all.push((format!("{both:?}"), Interests::new(both).unwrap()));
    }
    all
}

const SEEDS: std::ops::Range<u64> = 0..4;

pub async fn an_event_is_selected_by_where_its_session_stood_then(subject: Subject) {
    for seed in SEEDS {
        let chain = wanderers(&subject.store, seed).await;
        for (what, interests) in all_interests() {
            let what = format!("{what} of {seed}");
            check_all(&chain, &interests, &what).await;
            walk_both(&chain, &interests, [3, 9_999, 4], &what).await;
            walk_both(&chain, &interests, [99, 60, 7], &what).await;
        }
    }
}

pub async fn what_moved_is_counted_where_it_stood_then(subject: Subject) {
    for seed in SEEDS {
        let chain = wanderers(&subject.store, seed).await;
        let tail = chain.log.tail;
        for (what, interests) in all_interests() {
            for (from, until) in [(Offset::ZERO, tail), (Offset(50), tail), (Offset(50), Offset(70))] {
                let wanted = chain.wanted(&interests, from, until);
                let count = chain.store.count(&chain.log, &interests, from, until, 1_000).await;
                assert_eq!(count, Ok(wanted.len() as u64), "{what} of {seed} in {from}..{until}");
            }
            let wanted = chain.wanted(&interests, Offset::ZERO, tail);
            for count in [1, 5, 20] {
                let expected = wanted
                    .iter()
                    .rev()
                    .nth(count - 1)
                    .map_or(Offset::ZERO, |row| row.offset);
                let found = chain.store.seek_back(&chain.log, &interests, tail, count as u32).await;
                assert_eq!(found, Ok(expected), "{count} back in {what} of {seed}");
            }
        }
    }
}

pub async fn history_is_what_the_window_was(subject: Subject) {
    for seed in SEEDS {
        let chain = wanderers(&subject.store, seed).await;
        let all = content(Selector::All);
        let page = chain.store.read(everything(&chain, &all)).await.unwrap();
        let mut window = Window::new(Offset::ZERO, Link(0), Budget::new(1 << 30));
        page.events.into_iter().for_each(|event| window.push(event));
        for (what, interests) in all_interests() {
            let read = Read {
                events_max: 500,
                ..everything(&chain, &interests)
            };
            let offsets =
                |events: Vec<crate::event::Event>| -> Vec<u64> { events.iter().map(|event| event.offset.0).collect() };
            let stored = chain.store.read(read).await.unwrap();
            let held = window.read(&interests, Offset::ZERO, chain.log.tail, 1 << 30).unwrap();
            assert_eq!(offsets(held.events), offsets(stored.events), "{what} of {seed}");
        }
    }
}

pub async fn who_moved_at_an_event_is_known(subject: Subject) {
    for seed in SEEDS {
        let chain = wanderers(&subject.store, seed).await;
        for offset in (0..=chain.log.tail.0).map(Offset) {
            let moved = chain.store.moved_at(chain.log.key, offset).await.unwrap();
            let moved: BTreeSet<String> = moved.iter().map(|routing| format!("{routing:?}")).collect();
            let expected = chain.stood.iter().filter(|stood| stood.until == offset);
            let expected = expected.map(|stood| format!("{:?}", stood.routing)).collect();
            assert_eq!(moved, expected, "at {offset} of {seed}");
        }
    }
}

pub async fn a_snapshot_holds_what_stands_in_it_now(subject: Subject) {
    for seed in SEEDS {
        let chain = wanderers(&subject.store, seed).await;
        for (what, interests) in all_interests() {
            let limits = WIDE;
            let snapshot = chain
                .store
                .snapshot(chain.log.key, (&interests).into(), limits)
                .await
                .unwrap();
            let held: BTreeSet<_> = snapshot.sessions.iter().map(|entry| &entry.session.id).collect();
            let standing = chain.sessions.values();
            let standing = standing.filter(|session| interests.detail(&session.routing()).is_some());
            assert_eq!(held, standing.map(|session| &session.id).collect(), "{what} of {seed}");
            for entry in &snapshot.sessions {
                assert_eq!(entry.session, chain.sessions[&entry.session.id], "{what} of {seed}");
            }
        }
    }
}

pub async fn a_snapshot_is_of_what_others_select_too(subject: Subject) {
    let chain = wanderers(&subject.store, SEEDS.start).await;
    let whole = |entry: &SessionSnapshot| format!("{:?} {:?}", entry.session, entry.items.len());
    for (what, interests) in all_interests() {
        let everything = chain.store.snapshot(chain.log.key, (&interests).into(), WIDE);
        let everything = everything.await.unwrap();
        for (of_others, others) in all_interests() {
            let shown = Shown {
                interests: &interests,
                only: Only::SelectedBy(&others),
            };
            let snapshot = chain.store.snapshot(chain.log.key, shown, WIDE).await.unwrap();
            let selected = |entry: &&SessionSnapshot| others.detail(&entry.session.routing()).is_some();
            let expected: Vec<_> = everything.sessions.iter().filter(selected).map(whole).collect();
            let found: Vec<_> = snapshot.sessions.iter().map(whole).collect();
            assert_eq!(found, expected, "{what}, of {of_others}");
            assert!(!snapshot.truncated);
        }
    }
}

pub async fn a_snapshot_of_named_sessions_is_in_the_order_of_their_names(subject: Subject) {
    // More than a store looks up at once.
    const SESSIONS: usize = 600;
    let mut chain = Chain::on(&subject.store, "t").await;
    for nth in 0..SESSIONS {
        chain.event(&format!("s{nth}"), MESSAGE);
    }
    chain.moves("s3", Some("/elsewhere"), None);
    chain.commit().await;
    let named: Vec<_> = (0..SESSIONS).rev().map(|nth| session_id(&format!("s{nth}"))).collect();
    let some = [&named[..], &[session_id("unknown")]].concat();
    let nowhere = content(Selector::Project(String::new()));
    let shown = Shown {
        interests: &nowhere,
        only: Only::These(&some),
    };
    for (sessions, truncated) in [(SESSIONS, false), (SESSIONS - 1, false), (500, true)] {
        let limits = SnapshotLimits { sessions, ..WIDE };
        let snapshot = chain.store.snapshot(chain.log.key, shown, limits).await.unwrap();
        let found: Vec<_> = snapshot.sessions.iter().map(|entry| entry.session.id.clone()).collect();
        let wanted = named.iter().filter(|id| id.as_str() != "s3").take(sessions);
        assert_eq!(found, wanted.cloned().collect::<Vec<_>>(), "those that stand in it now");
        assert_eq!(snapshot.truncated, truncated, "at most {sessions}");
    }
}
