//! Whom an event without a session concerns: those who look at one of the sessions that its writer held when it was stored.
//!
//! Believe this: it is a set of keys, one for everything that a selector can name those sessions by. A selector selects the event if
//! its key is in the set, so what is wanted costs one look however many sessions there are, and live, stored and counted alike it is
//! the same set.

use crate::event::Routing;
use crate::id::WriterId;
use crate::interest::Selector;
use crate::link::{Digest, first_eight_bytes};

/// What a selector names, as far as an audience needs it: the first eight bytes of a SHA-256. Two names of one tenant that have the same
/// one cost a subscriber an event that it did not ask for, once in 2^64 pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AudienceKey(pub u64);

impl AudienceKey {
    /// That of a selector; none where it selects everything.
    #[must_use]
    pub fn of(selector: &Selector) -> Option<AudienceKey> {
        Some(match selector {
            Selector::All => return None,
            Selector::Project(project) => AudienceKey::named(1, project),
            Selector::Vendor(vendor) => AudienceKey::named(2, vendor),
            Selector::Session(session) => AudienceKey::named(3, session.as_str()),
            Selector::Subtree(session) => AudienceKey::named(4, session.as_str()),
        })
    }

    fn named(kind: u8, name: &str) -> AudienceKey {
        let digest = Digest::of(&[&[kind][..], name.as_bytes()].concat());
        AudienceKey(first_eight_bytes(&digest.0))
    }
}

/// The sessions of one writer, as selectors see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    writer: WriterId,
    /// Ascending, each once.
    keys: Box<[AudienceKey]>,
}

impl Audience {
    /// That of a writer that holds the sessions that stand there.
    pub fn holding<'a>(writer: WriterId, sessions: impl IntoIterator<Item = &'a Routing>) -> Audience {
        let mut keys = Vec::new();
        // Neighbours mostly share all but their own name.
        let mut before: Option<&Routing> = None;
        for routing in sessions {
            let id = routing.session.as_str();
            let mut add = |kind: u8, name: &str| keys.push(AudienceKey::named(kind, name));
            add(3, id);
            add(4, id);
            if before.is_none_or(|before| before.project != routing.project) {
                add(1, &routing.project);
            }
            if before.is_none_or(|before| before.vendor != routing.vendor) {
                add(2, &routing.vendor);
            }
            if before.is_none_or(|before| before.ancestors != routing.ancestors) {
                routing.ancestors.iter().for_each(|above| add(4, above.as_str()));
            }
            before = Some(routing);
        }
        Audience::of_keys(writer, keys)
    }

    /// That of these keys, in any order.
    #[must_use]
    pub fn of_keys(writer: WriterId, mut keys: Vec<AudienceKey>) -> Audience {
        keys.sort_unstable();
        keys.dedup();
        Audience {
            writer,
            keys: keys.into(),
        }
    }

    /// Whose sessions they are.
    #[must_use]
    pub const fn writer(&self) -> &WriterId {
        &self.writer
    }

    /// The keys, ascending, each once.
    #[must_use]
    pub const fn keys(&self) -> &[AudienceKey] {
        &self.keys
    }

    /// Whether a selector selects one of the sessions, or everything.
    #[must_use]
    pub fn is_selected_by(&self, selector: &Selector) -> bool {
        AudienceKey::of(selector).is_none_or(|key| self.keys.binary_search(&key).is_ok())
    }

    /// What it holds in memory, roughly.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        size_of_val(&*self.keys) + size_of::<Audience>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::interest::Interest;
    use crate::testing::{session, writer};

    fn routing(id: &str, project: &str, ancestors: &[&str]) -> Routing {
        Routing {
            session: session(id),
            project: project.into(),
            vendor: "v".into(),
            ancestors: ancestors.iter().map(|id| session(id)).collect(),
        }
    }

    /// Whatever a selector says of the sessions one by one, it says of the audience.
    #[test]
    fn an_audience_is_selected_iff_one_of_its_sessions_is() {
        let id = |id: &str| -> SessionId { session(id) };
        let all = [
            routing("a", "/p", &[]),
            routing("b", "/p", &["a"]),
            routing("c", "/q", &["b", "a"]),
            routing("d", "", &["x"]),
        ];
        let mut selectors = vec![Selector::Vendor("v".into()), Selector::Vendor("w".into())];
        for name in ["a", "b", "c", "d", "x", "y", "/p"] {
            selectors.extend([Selector::Session(id("a")), Selector::Subtree(id("a"))]);
            if let Ok(id) = SessionId::parse(name) {
                selectors.extend([Selector::Session(id.clone()), Selector::Subtree(id)]);
            }
        }
        selectors.extend(["/p", "/q", "", "a"].map(|project| Selector::Project(project.into())));
        for held in 0..1_usize << all.len() {
            let held: Vec<&Routing> = (0..all.len())
                .filter(|at| held >> at & 1 == 1)
                .map(|at| &all[at])
                .collect();
            let audience = Audience::holding(writer("w"), held.iter().copied());
            for selector in &selectors {
                let interest = Interest::new(selector.clone(), crate::interest::Detail::Content);
                let expected = held.iter().any(|routing| interest.selects(routing));
                assert_eq!(audience.is_selected_by(selector), expected, "{selector:?} of {held:?}");
            }
            assert!(audience.is_selected_by(&Selector::All), "all is all, also of nobody");
        }
    }
}
