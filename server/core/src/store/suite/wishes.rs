//! A log with a small family tree in it, and interests in all that can be told apart there.

#![allow(clippy::unwrap_used, reason = "a test helper fails by panicking")]

use std::sync::Arc;

use super::chain::{Chain, session_id};
use crate::event::{Families, Family, Kind};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::store::Store;

pub(super) const SESSION: Kind = Kind(20);
pub(super) const ONLINE: Kind = Kind(40);
pub(super) const TURN: Kind = Kind(60);
pub(super) const MESSAGE: Kind = Kind(70);
pub(super) const TOOL: Kind = Kind(90);
pub(super) const ASK: Kind = Kind(100);

const KINDS: [Kind; 5] = [SESSION, TURN, MESSAGE, TOOL, ASK];

/// Four sessions in turn, written by several commits: `root` (/p, codex) with its child `mid` (/p, opencode) and grandchild `leaf`
/// (/q, opencode), and `alone`, of which nothing is known.
pub(super) async fn family_tree(store: &Arc<dyn Store>) -> Chain {
    family_tree_of(store, "t").await
}

/// The same in the log of this tenant.
pub(super) async fn family_tree_of(store: &Arc<dyn Store>, tenant: &str) -> Chain {
    let mut chain = Chain::on(store, tenant).await;
    for (id, project, vendor, ancestors) in [
        ("root", "/p", "codex", &[][..]),
        ("mid", "/p", "opencode", &["root"]),
        ("leaf", "/q", "opencode", &["mid", "root"]),
    ] {
        let session = chain.session(id);
        session.facts.project = Some(project.into());
        session.facts.vendor = Some(vendor.into());
        session.ancestors = ancestors.iter().map(|id| session_id(id)).collect();
        chain.event(id, SESSION);
    }
    for round in 0..56_usize {
        // A fixed disorder: no session and no kind comes at a regular distance.
        let session = ["root", "mid", "leaf", "alone"][round * 7 % 13 % 4];
        chain.event(session, KINDS[round * 3 % 11 % 5]);
        if round % 13 == 0 {
            chain.commit().await;
        }
    }
    chain.commit().await;
    chain
}

/// Interests that differ in selector, detail and families, with a name for each.
pub(super) fn all_kinds_of_interests() -> Vec<(String, Interests)> {
    let one = |selector, detail| vec![Interest::new(selector, detail)];
    let session = |id| Selector::Session(session_id(id));
    let subtree = |id| Selector::Subtree(session_id(id));
    let mut tools = Interest::new(Selector::All, Detail::Content);
    tools.families = Families::NONE.with(Family::Tool);
    let mut asks_of_leaf = Interest::new(session("leaf"), Detail::Summary);
    asks_of_leaf.families = Families::NONE.with(Family::Ask).with(Family::Message);
    let mut nothing = Interest::new(Selector::All, Detail::Content);
    nothing.families = Families::NONE;
    [
        one(Selector::All, Detail::Content),
        one(Selector::All, Detail::Summary),
        one(Selector::All, Detail::Live),
        one(Selector::Project("/p".into()), Detail::Content),
        one(Selector::Project("/Q".into()), Detail::Content),
        one(Selector::Vendor("opencode".into()), Detail::Content),
        one(session("mid"), Detail::Content),
        one(session("alone"), Detail::Summary),
        one(subtree("root"), Detail::Content),
        one(subtree("mid"), Detail::Content),
        one(subtree("leaf"), Detail::Live),
        vec![tools.clone()],
        vec![asks_of_leaf.clone()],
        vec![nothing],
        vec![asks_of_leaf, Interest::new(session("alone"), Detail::Content)],
        vec![Interest::new(session("leaf"), Detail::Content), tools],
        vec![
            Interest::new(subtree("mid"), Detail::Summary),
            Interest::new(Selector::Project("/p".into()), Detail::Content),
        ],
    ]
    .into_iter()
    .map(|list| (format!("{list:?}"), Interests::new(list).unwrap()))
    .collect()
}

/// All events of what `selector` selects.
pub(super) fn content(selector: Selector) -> Interests {
    Interests::new(vec![Interest::new(selector, Detail::Content)]).unwrap()
}
