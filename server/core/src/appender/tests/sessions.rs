//! Sessions open once, under one name, wherever they stand in a tree.

use crate::appender::{Append, Condition, Outcome, Refusal, Wish};
use crate::event::{Draft, SessionRef, SessionStep};
use crate::id::SessionId;
use crate::offset::{Index, Offset};
use crate::session::{Lifecycle, Session, SessionFacts, SessionKey};
use crate::store::memory::Memory;
use crate::store::{SessionFilter, SessionOrder, Store as _};
use crate::testing::rig::{Rig, append, seq, stored};
use crate::testing::{MESSAGE, OPENED, draft, draft_of, session, within, writer};

fn key(native_id: &str) -> SessionKey {
    SessionKey::parse("v", "laptop", "/p", native_id).unwrap()
}

fn by_key(native_id: &str) -> SessionRef {
    SessionRef::Key(key(native_id))
}

fn by_id(id: &str) -> SessionRef {
    SessionRef::Id(session(id))
}

/// What `CreateSession` appends.
fn create(id: &str) -> Append {
    Append {
        condition: Condition::OpensSession,
        ..append(opened(by_id(id), None))
    }
}

fn opened(name: SessionRef, parent: Option<SessionRef>) -> Draft {
    let facts = SessionFacts {
        parent,
        ..SessionFacts::default()
    };
    Draft {
        session_step: SessionStep::Opened(Box::new(facts)),
        ..draft_of(name, OPENED)
    }
}

async fn row(rig: &Rig, id: &SessionId) -> Session {
    rig.memory.session(rig.log.row().key, id).await.unwrap().unwrap()
}

async fn all_sessions(rig: &Rig) -> Vec<Session> {
    let filter = SessionFilter {
        include_closed: true,
        include_archived: true,
        ..SessionFilter::default()
    };
    let memory: &Memory = &rig.memory;
    let list = memory.list_sessions(rig.log.row().key, &filter, SessionOrder::Opened, Offset(u64::MAX), 100);
    list.await.unwrap()
}

fn session_of(outcome: &Outcome) -> SessionId {
    let Outcome::Stored {
        session: Some(session), ..
    } = outcome
    else {
        panic!("it was not stored in a session: {outcome:?}")
    };
    session.clone()
}

fn assert_refused(outcome: &Outcome, expected: Refusal) {
    assert!(
        matches!(outcome, Outcome::Rejected(rejection) if rejection.refusal == expected),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn k_17_two_creates_at_once_give_one_opened_event() {
    let rig = Rig::new().await;
    let (one, other) = (
        rig.queue(None, vec![create("a")]).await,
        rig.queue(None, vec![create("a")]).await,
    );
    let unchanged = [Outcome::Unchanged { session: session("a") }];
    assert_eq!(stored(&within(one).await.unwrap().unwrap()[0]).offset, Offset(0));
    assert_eq!(within(other).await.unwrap().unwrap(), unchanged);
    assert_eq!(rig.append(None, vec![create("a")]).await.unwrap(), unchanged);
    assert_eq!(rig.row().await.tail, Offset(1));
}

#[tokio::test]
async fn an_event_of_a_new_session_opens_it_first() {
    let rig = Rig::new().await;
    let [place] = rig.store([draft("a")]).await;
    assert_eq!((place.offset, place.index), (Offset(1), Some(Index(1))));
    let row = row(&rig, &session("a")).await;
    assert_eq!(
        (row.opened_offset, row.last_offset, row.next_index.0),
        (Offset(0), Offset(1), 2)
    );
}

#[tokio::test]
async fn a_session_named_by_key_is_one_session_within_a_batch_and_after() {
    let rig = Rig::new().await;
    let named = || append(draft_of(by_key("n"), MESSAGE));
    let outcomes = rig.append(None, vec![named(), named()]).await.unwrap();
    let id = session_of(&outcomes[0]);
    assert_eq!(session_of(&outcomes[1]), id);
    assert_eq!(session_of(&rig.append(None, vec![named()]).await.unwrap()[0]), id);
    let row = row(&rig, &id).await;
    assert_eq!(
        (row.key.as_ref(), row.facts.project.as_deref()),
        (Some(&key("n")), Some("/p"))
    );
    assert_eq!(all_sessions(&rig).await.len(), 1);
}

#[tokio::test]
async fn an_id_and_a_key_may_not_name_two_sessions() {
    let rig = Rig::new().await;
    let with_key = |id: &str, native_id: &str| {
        append(Draft {
            opens: Some(key(native_id)),
            ..draft(id)
        })
    };
    rig.append(None, vec![with_key("a", "n"), append(draft("b"))])
        .await
        .unwrap();
    let tail = rig.row().await.tail;
    let outcomes = rig
        .append(
            None,
            vec![
                with_key("b", "n"),
                with_key("c", "n"),
                with_key("a", "m"),
                with_key("a", "n"),
            ],
        )
        .await
        .unwrap();
    outcomes[..3]
        .iter()
        .for_each(|outcome| assert_refused(outcome, Refusal::SessionConflict));
    assert_eq!(stored(&outcomes[3]).offset, tail);
    let by_key = rig
        .append(None, vec![append(draft_of(by_key("n"), MESSAGE))])
        .await
        .unwrap();
    assert_eq!(session_of(&by_key[0]), session("a"));
}

#[tokio::test]
async fn opening_a_writer_opens_its_sessions_once() {
    let rig = Rig::new().await;
    let wish = || Wish {
        sessions: vec![by_id("a"), by_key("n"), by_id("a")],
        ..Wish::default()
    };
    let grant = within(rig.appender.open_writer(rig.log.clone(), writer("w"), wish()))
        .await
        .unwrap();
    let names: Vec<_> = grant.sessions.iter().map(|claimed| &claimed.session).collect();
    assert_eq!((names[0], names[2]), (&session("a"), &session("a")));
    assert_eq!(rig.row().await.tail, Offset(2), "each was opened by one event");
    let again = within(rig.appender.open_writer(rig.log.clone(), writer("w"), wish()))
        .await
        .unwrap();
    assert_eq!((again.sessions, rig.row().await.tail), (grant.sessions, Offset(2)));
}

#[tokio::test]
async fn a_parent_is_opened_before_its_child_and_is_seen_by_it() {
    let rig = Rig::new().await;
    let batch = vec![
        append(opened(by_id("child"), Some(by_key("parent")))),
        append(opened(by_id("leaf"), Some(by_id("child")))),
    ];
    let outcomes = rig.append(None, batch).await.unwrap();
    assert_eq!(
        outcomes
            .iter()
            .map(|outcome| stored(outcome).offset.0)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let child = row(&rig, &session("child")).await;
    let parent = child.parent().unwrap().clone();
    assert_eq!(row(&rig, &parent).await.opened_offset, Offset(0));
    let leaf = row(&rig, &session("leaf")).await;
    assert_eq!(leaf.ancestors[..], [session("child"), parent.clone()]);
    assert_eq!(leaf.root(), &parent);
}

#[tokio::test]
async fn a_session_is_never_its_own_ancestor_and_a_refused_event_leaves_nothing() {
    let rig = Rig::new().await;
    let both_names = Draft {
        opens: Some(key("n")),
        ..opened(by_id("x"), Some(by_key("n")))
    };
    for draft in [
        opened(by_id("x"), Some(by_id("x"))),
        opened(by_key("n"), Some(by_key("n"))),
        both_names,
    ] {
        let outcomes = rig
            .append(None, vec![append(draft), append(draft_of(by_id("y"), MESSAGE))])
            .await
            .unwrap();
        assert_refused(&outcomes[0], Refusal::InvalidField);
        stored(&outcomes[1]);
    }
    let names: Vec<_> = all_sessions(&rig).await.into_iter().map(|session| session.id).collect();
    assert_eq!(names, [session("y")], "nothing of it was opened");
    rig.append(None, vec![append(opened(by_id("b"), Some(by_id("a"))))])
        .await
        .unwrap();
    let changed = |id: &str, parent: &str| {
        append(Draft {
            session_step: opened(by_id(id), Some(by_id(parent))).session_step,
            ..draft(id)
        })
    };
    let outcomes = rig
        .append(None, vec![changed("a", "b"), changed("a", "a"), changed("b", "a")])
        .await
        .unwrap();
    assert_refused(&outcomes[0], Refusal::InvalidField);
    assert_refused(&outcomes[1], Refusal::InvalidField);
    stored(&outcomes[2]);
}

#[tokio::test]
async fn an_unknown_session_costs_its_writer_no_seq_more_than_its_event() {
    let rig = Rig::new().await;
    let claim = rig.open("w").await;
    let outcomes = rig
        .append(Some(&claim), vec![seq(1, draft("a")), seq(2, draft("b"))])
        .await
        .unwrap();
    assert_eq!(
        outcomes
            .iter()
            .map(|outcome| stored(outcome).offset.0)
            .collect::<Vec<_>>(),
        [1, 3]
    );
}

#[tokio::test]
async fn whatever_the_order_of_arrival_everybody_ends_up_with_the_same_ancestors() {
    let links = [("child", "parent"), ("parent", "root"), ("leaf", "child")];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        for at_once in [false, true] {
            let rig = Rig::new().await;
            let appends: Vec<_> = order
                .iter()
                .map(|at| append(opened(by_id(links[*at].0), Some(by_id(links[*at].1)))))
                .collect();
            if at_once {
                rig.append(None, appends).await.unwrap();
            } else {
                for one in appends {
                    rig.append(None, vec![one]).await.unwrap();
                }
            }
            let above = [
                ("leaf", &["child", "parent", "root"][..]),
                ("child", &["parent", "root"]),
                ("parent", &["root"]),
            ];
            for (id, expected) in above {
                let row = row(&rig, &session(id)).await;
                let ancestors: Vec<_> = row.ancestors.iter().map(SessionId::as_str).collect();
                assert_eq!(ancestors, expected, "{id} in the order {order:?}, at once: {at_once}");
            }
        }
    }
}

#[tokio::test]
async fn an_event_of_a_higher_life_opens_a_closed_session_again() {
    let rig = Rig::new().await;
    let closing = Draft {
        session_step: SessionStep::Closed,
        ..draft("s")
    };
    rig.append(None, vec![append(draft("s")), append(closing)])
        .await
        .unwrap();
    rig.append(None, vec![append(draft("s"))]).await.unwrap();
    assert_eq!(
        row(&rig, &session("s")).await.lifecycle,
        Lifecycle::Closed,
        "a straggler opens nothing"
    );
    let reborn = Draft {
        life: Some(2),
        ..draft("s")
    };
    rig.append(None, vec![append(reborn)]).await.unwrap();
    let row = row(&rig, &session("s")).await;
    assert_eq!((row.lifecycle, row.life, row.closed), (Lifecycle::Live, 2, None));
}

#[tokio::test]
async fn a_creation_that_brings_a_key_to_a_session_without_one_is_refused() {
    let rig = Rig::new().await;
    rig.append(None, vec![append(draft("s"))]).await.unwrap();
    let key = SessionKey::parse("v", "i", "/p", "n").unwrap();
    let created = Append {
        condition: Condition::OpensSession,
        ..append(Draft {
            opens: Some(key),
            ..opened(by_id("s"), None)
        })
    };
    let outcomes = rig.append(None, vec![created]).await.unwrap();
    assert_refused(&outcomes[0], Refusal::SessionConflict);
}

#[tokio::test]
async fn a_tree_that_is_too_deep_and_a_cycle_at_its_end_are_refused() {
    let rig = Rig::new().await;
    let most = crate::limits::SESSION_DEPTH_MAX;
    for level in 1..=most {
        let child = opened(by_id(&format!("d{level}")), Some(by_id(&format!("d{}", level - 1))));
        assert!(matches!(
            rig.append(None, vec![append(child)]).await.unwrap()[0],
            Outcome::Stored { .. }
        ));
    }
    let deepest = format!("d{most}");
    let deeper = opened(by_id("too-deep"), Some(by_id(&deepest)));
    assert_refused(
        &rig.append(None, vec![append(deeper)]).await.unwrap()[0],
        Refusal::InvalidField,
    );
    let cycle = opened(by_id("d0"), Some(by_id(&deepest)));
    assert_refused(
        &rig.append(None, vec![append(cycle)]).await.unwrap()[0],
        Refusal::InvalidField,
    );
    let lengthening = opened(by_id("d0"), Some(by_id("one-more")));
    assert_refused(
        &rig.append(None, vec![append(lengthening)]).await.unwrap()[0],
        Refusal::InvalidField,
    );
    let row = row(&rig, &session(&deepest)).await;
    assert_eq!((row.root().as_str(), row.ancestors.len()), ("d0", most));
}
