//! Promises on lists of sessions.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "tests, whose names say what they promise"
)]

use super::Subject;
use super::chain::{Chain, session_id};
use super::wishes::{MESSAGE, SESSION, family_tree};
use crate::offset::Offset;
use crate::session::{Lifecycle, Session};
use crate::store::{SessionFilter, SessionOrder};

const ORDERS: [SessionOrder; 2] = [SessionOrder::Recent, SessionOrder::Opened];

/// The family tree and some that are closed, archived or both, in an order of their own.
async fn crowd(subject: &Subject) -> Chain {
    let mut chain = family_tree(&subject.store).await;
    for nth in 0..12 {
        let id = format!("s{nth}");
        let session = chain.session(&id);
        session.facts.project = Some(["/p", "/q", "/P"][nth % 3].into());
        session.facts.vendor = ["codex", "opencode"].get(nth % 4).map(|&vendor| vendor.into());
        if nth % 2 == 0 {
            session.lifecycle = Lifecycle::Closed;
            session.closed = Some(session.created);
        }
        session.archived = nth % 3 == 0;
        if nth > 8 {
            session.ancestors = [session_id("mid"), session_id("root")].into();
        }
        chain.event(&id, SESSION);
    }
    for id in ["s3", "leaf", "s0", "s11"] {
        chain.event(id, MESSAGE);
        chain.commit().await;
    }
    chain
}

fn place(order: SessionOrder, session: &Session) -> Offset {
    match order {
        SessionOrder::Recent => session.last_offset,
        SessionOrder::Opened => session.opened_offset,
    }
}

/// What a list must hold.
fn expected(chain: &Chain, filter: &SessionFilter, order: SessionOrder, below: Offset) -> Vec<Session> {
    let text = |fact: &Option<std::sync::Arc<str>>| fact.clone().unwrap_or_default();
    let mut sessions: Vec<_> = chain
        .sessions
        .values()
        .filter(|session| place(order, session) < below)
        .filter(|session| filter.include_closed || session.lifecycle == Lifecycle::Live)
        .filter(|session| filter.include_archived || !session.archived)
        .filter(|session| !filter.roots_only || session.ancestors.is_empty())
        .filter(|session| filter.parent.is_none() || session.parent() == filter.parent.as_ref())
        .filter(|session| {
            filter
                .project
                .as_ref()
                .is_none_or(|wanted| *wanted == text(&session.facts.project))
        })
        .filter(|session| {
            filter
                .vendor
                .as_ref()
                .is_none_or(|wanted| *wanted == text(&session.facts.vendor))
        })
        .cloned()
        .collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(place(order, session)));
    sessions
}

async fn check(chain: &Chain, filter: &SessionFilter) -> usize {
    let mut most = 0;
    for order in ORDERS {
        let whole = expected(chain, filter, order, chain.log.tail);
        most = whole.len();
        for limit in [1, 2, 3, 7, 100] {
            let mut pages = Vec::new();
            let mut below = chain.log.tail;
            loop {
                let page = chain
                    .store
                    .list_sessions(chain.log.key, filter, order, below, limit)
                    .await
                    .unwrap();
                assert!(page.len() <= limit);
                let Some(last) = page.last() else { break };
                below = place(order, last);
                pages.extend(page);
                assert!(pages.len() <= whole.len(), "{filter:?} {order:?} repeats itself");
            }
            let ids = |sessions: &[Session]| {
                sessions
                    .iter()
                    .map(|session| session.id.to_string())
                    .collect::<Vec<_>>()
            };
            assert_eq!(ids(&pages), ids(&whole), "{filter:?} {order:?} in pages of {limit}");
        }
    }
    most
}

fn all() -> SessionFilter {
    SessionFilter {
        include_closed: true,
        include_archived: true,
        ..SessionFilter::default()
    }
}

pub async fn a_list_is_in_the_order_that_was_asked_for(subject: Subject) {
    let chain = crowd(&subject).await;
    for order in ORDERS {
        for below in [0, 1, 30, 60, 65, chain.log.tail.0].map(Offset) {
            let page = chain
                .store
                .list_sessions(chain.log.key, &all(), order, below, 100)
                .await;
            assert_eq!(
                page,
                Ok(expected(&chain, &all(), order, below)),
                "{order:?} below {below}"
            );
        }
    }
    let newest = chain
        .store
        .list_sessions(chain.log.key, &all(), SessionOrder::Recent, chain.log.tail, 1)
        .await;
    assert_eq!(newest.unwrap()[0].id, session_id("s11"));
}

pub async fn a_filter_lets_through_what_it_says(subject: Subject) {
    let chain = crowd(&subject).await;
    assert_eq!(check(&chain, &all()).await, 16);
    let open = SessionFilter::default();
    let live_and_here = check(&chain, &open).await;
    assert_eq!(
        live_and_here,
        4 + 4,
        "neither closed nor archived ones come by themselves"
    );
    let text = |text: &str| Some(text.into());
    for base in [all(), open] {
        for (filter, at_least) in [
            (
                SessionFilter {
                    project: text("/p"),
                    ..base.clone()
                },
                2,
            ),
            (
                SessionFilter {
                    project: text("/P"),
                    ..base.clone()
                },
                1,
            ),
            (
                SessionFilter {
                    project: text("/none"),
                    ..base.clone()
                },
                0,
            ),
            (
                SessionFilter {
                    vendor: text("codex"),
                    ..base.clone()
                },
                1,
            ),
            (
                SessionFilter {
                    vendor: text("opencode"),
                    project: text("/q"),
                    ..base.clone()
                },
                1,
            ),
            (
                SessionFilter {
                    parent: Some(session_id("root")),
                    ..base.clone()
                },
                1,
            ),
            (
                SessionFilter {
                    parent: Some(session_id("mid")),
                    ..base.clone()
                },
                2,
            ),
            (
                SessionFilter {
                    parent: Some(session_id("none")),
                    ..base.clone()
                },
                0,
            ),
            (
                SessionFilter {
                    roots_only: true,
                    ..base.clone()
                },
                2,
            ),
            (
                SessionFilter {
                    roots_only: true,
                    parent: Some(session_id("mid")),
                    ..base.clone()
                },
                0,
            ),
            (
                SessionFilter {
                    include_closed: !base.include_closed,
                    ..base.clone()
                },
                4,
            ),
            (
                SessionFilter {
                    include_archived: !base.include_archived,
                    ..base.clone()
                },
                4,
            ),
        ] {
            assert!(
                check(&chain, &filter).await >= at_least,
                "the test says too little: {filter:?}"
            );
        }
    }
}

pub async fn pages_of_a_list_lose_nothing_and_repeat_nothing(subject: Subject) {
    let mut chain = Chain::on(&subject.store, "t").await;
    for nth in 0..150 {
        chain.event(&format!("s{}", nth * 7 % 101), MESSAGE);
    }
    chain.commit().await;
    assert_eq!(check(&chain, &SessionFilter::default()).await, 101);
}

pub async fn a_listed_session_is_the_session(subject: Subject) {
    let chain = crowd(&subject).await;
    let listed = chain
        .store
        .list_sessions(chain.log.key, &all(), SessionOrder::Opened, chain.log.tail, 100)
        .await
        .unwrap();
    for session in listed {
        assert_eq!(session, chain.sessions[&session.id]);
    }
}
