//! What a subscriber wants.
//!
//! Believe this: [`Interests`] are canonical, so two subscribers who want the same of the same sessions have equal interests, equal
//! hashes and therefore equal resume tokens, whatever order they wrote them in and however they spelled "all families".

pub mod gain;
pub mod index;

use sha2::{Digest as _, Sha256};

use crate::audience::Audience;
use crate::event::{Event, Families, Family, InSession, Of, Routing};
use crate::id::SessionId;
use crate::limits;
use crate::link::first_eight_bytes;

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// All of the tenant's.
    All,
    /// Those of one project, in its normal spelling.
    Project(String),
    /// Those of one vendor's agents.
    Vendor(String),
    /// One.
    Session(SessionId),
    /// One and all below it.
    Subtree(SessionId),
}

/// How much of them. Each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detail {
    /// What a list needs: session, ask, attention and command events.
    Summary,
    /// All durable events.
    Content,
    /// Deltas too.
    Live,
}

impl Detail {
    const fn families(self) -> Families {
        match self {
            Detail::Summary => Families::NONE
                .with(Family::Session)
                .with(Family::Ask)
                .with(Family::Attention)
                .with(Family::Command),
            Detail::Content | Detail::Live => Families::ALL,
        }
    }
}

/// One wish of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interest {
    /// Which sessions.
    pub selector: Selector,
    /// How much of them.
    pub detail: Detail,
    /// Only these families of it.
    pub families: Families,
}

impl Interest {
    /// All that `detail` holds.
    #[must_use]
    pub const fn new(selector: Selector, detail: Detail) -> Interest {
        Interest {
            selector,
            detail,
            families: Families::ALL,
        }
    }

    /// The families that this interest really wants.
    #[must_use]
    pub const fn wanted(&self) -> Families {
        self.detail.families().and(self.families)
    }

    /// The same wish, with only those families that its detail has; all that it has are [`Families::ALL`], however they were listed.
    fn canonical(self) -> Interest {
        let has = self.detail.families();
        let listed = Family::ALL
            .into_iter()
            .filter(|family| has.contain(*family) && self.families.contain(*family));
        let families: Families = listed.collect();
        let all = Family::ALL.into_iter().filter(|family| has.contain(*family));
        Interest {
            families: if families == all.collect() {
                Families::ALL
            } else {
                families
            },
            ..self
        }
    }

    /// Whether this interest looks at the session at all.
    #[must_use]
    pub fn selects(&self, routing: &Routing) -> bool {
        match &self.selector {
            Selector::All => true,
            Selector::Project(project) => *project == *routing.project,
            Selector::Vendor(vendor) => *vendor == *routing.vendor,
            Selector::Session(session) => *session == routing.session,
            Selector::Subtree(session) => *session == routing.session || routing.ancestors.contains(session),
        }
    }
}

/// Why interests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None were given.
    #[error("is empty; give at least one interest")]
    None,
    /// Too many were given.
    #[error("has {0} entries; give at most {max}", max = limits::INTERESTS_MAX)]
    TooMany(usize),
}

/// All wishes of one subscriber, sorted, without repetition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interests(Box<[Interest]>);

impl Interests {
    /// Brings interests into their canonical form.
    ///
    /// # Errors
    /// When there are none, or more than [`limits::INTERESTS_MAX`].
    pub fn new(interests: Vec<Interest>) -> Result<Interests, Error> {
        if interests.is_empty() {
            return Err(Error::None);
        }
        if interests.len() > limits::INTERESTS_MAX {
            return Err(Error::TooMany(interests.len()));
        }
        let mut interests: Vec<_> = interests.into_iter().map(Interest::canonical).collect();
        interests.sort();
        interests.dedup();
        Ok(Interests(interests.into()))
    }

    /// One by one, in canonical order.
    pub fn iter(&self) -> std::slice::Iter<'_, Interest> {
        self.0.iter()
    }

    /// Whether an event of this family of that session is wanted.
    #[must_use]
    pub fn want(&self, routing: &Routing, family: Family) -> bool {
        self.0
            .iter()
            .any(|interest| interest.wanted().contain(family) && interest.selects(routing))
    }

    /// Whether this event is wanted. One that moves its session is wanted where it came from and where it goes to; and what enters an
    /// interest by it or leaves it is told so whatever families that one wants.
    #[must_use]
    pub fn want_event(&self, event: &Event) -> bool {
        match &event.of {
            Of::Session(InSession {
                routing, moved_from, ..
            }) => self.want_move(moved_from.as_deref(), routing, event.family),
            Of::Tenant(audience) => self.want_of_tenant(audience, event.family),
        }
    }

    /// Whether an event without a session is wanted that is for this audience.
    #[must_use]
    pub fn want_of_tenant(&self, audience: &Audience, family: Family) -> bool {
        self.0
            .iter()
            .any(|interest| interest.wanted().contain(family) && audience.is_selected_by(&interest.selector))
    }

    /// Whether events without a session may be wanted at all.
    #[must_use]
    pub fn look_at_tenant(&self) -> bool {
        self.0
            .iter()
            .any(|interest| interest.wanted().contain(Family::Connector))
    }

    /// The same of an event that is not read yet: `before` is where it moved its session from, if it did.
    #[must_use]
    pub fn want_move(&self, before: Option<&Routing>, routing: &Routing, family: Family) -> bool {
        let Some(before) = before else {
            return self.want(routing, family);
        };
        self.0.iter().any(|interest| {
            let (was, is) = (interest.selects(before), interest.selects(routing));
            let wanted = interest.wanted();
            was != is && !wanted.is_empty() || was && wanted.contain(family)
        })
    }

    /// Whether deltas of this family of that session are wanted.
    #[must_use]
    pub fn want_deltas(&self, routing: &Routing, family: Family) -> bool {
        self.0.iter().any(|interest| {
            interest.detail == Detail::Live && interest.wanted().contain(family) && interest.selects(routing)
        })
    }

    /// How much of a session is wanted; none when nothing is.
    #[must_use]
    pub fn detail(&self, routing: &Routing) -> Option<Detail> {
        self.0
            .iter()
            .filter(|interest| interest.selects(routing))
            .map(|interest| interest.detail)
            .max()
    }

    /// Whether every event of the tenant is wanted.
    #[must_use]
    pub fn everything(&self) -> bool {
        let all = |interest: &Interest| interest.selector == Selector::All && interest.wanted() == Families::ALL;
        self.0.iter().any(all)
    }

    /// Whether any of them wants deltas.
    #[must_use]
    pub fn live(&self) -> bool {
        self.0.iter().any(|interest| interest.detail == Detail::Live)
    }

    /// The sessions looked at, when all interests name single sessions: such a read can go by session instead of by offset.
    #[must_use]
    pub fn single_sessions(&self) -> Option<Vec<&SessionId>> {
        let mut sessions: Vec<_> = self
            .0
            .iter()
            .map(|interest| match &interest.selector {
                Selector::Session(session) => Some(session),
                Selector::All | Selector::Project(_) | Selector::Vendor(_) | Selector::Subtree(_) => None,
            })
            .collect::<Option<_>>()?;
        sessions.dedup();
        Some(sessions)
    }

    /// Whether all of them select sessions by name, be it with what lies below.
    #[must_use]
    pub fn select_sessions(&self) -> bool {
        let by_name = |interest: &Interest| matches!(interest.selector, Selector::Session(_) | Selector::Subtree(_));
        self.iter().all(by_name)
    }

    /// Eight bytes that stand for these interests in a resume token.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = Sha256::new();
        for interest in &self.0 {
            let (tag, text) = match &interest.selector {
                Selector::All => (0u8, ""),
                Selector::Project(project) => (1, project.as_str()),
                Selector::Vendor(vendor) => (2, vendor.as_str()),
                Selector::Session(session) => (3, session.as_str()),
                Selector::Subtree(session) => (4, session.as_str()),
            };
            hash.update([tag, interest.detail as u8]);
            hash.update(interest.families.bits().to_be_bytes());
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        first_eight_bytes(&hash.finalize())
    }
}

impl From<Interest> for Interests {
    fn from(interest: Interest) -> Interests {
        Interests(Box::new([interest.canonical()]))
    }
}

impl<'a> IntoIterator for &'a Interests {
    type Item = &'a Interest;
    type IntoIter = std::slice::Iter<'a, Interest>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::only;

    fn routing(session: &str, project: &str, ancestors: &[&str]) -> Routing {
        Routing {
            session: SessionId::parse(session).unwrap(),
            project: project.into(),
            vendor: "opencode".into(),
            ancestors: ancestors.iter().map(|id| SessionId::parse(id).unwrap()).collect(),
        }
    }

    fn interest(selector: Selector, detail: Detail) -> Interests {
        Interests::new(vec![Interest::new(selector, detail)]).unwrap()
    }

    #[test]
    fn a_selector_selects_what_it_says() {
        let child = routing("child", "/p", &["mid", "root"]);
        let id = |text| SessionId::parse(text).unwrap();
        for (selector, expected) in [
            (Selector::All, true),
            (Selector::Project("/p".into()), true),
            (Selector::Project("/q".into()), false),
            (Selector::Vendor("opencode".into()), true),
            (Selector::Vendor("codex".into()), false),
            (Selector::Session(id("child")), true),
            (Selector::Session(id("root")), false),
            (Selector::Subtree(id("root")), true),
            (Selector::Subtree(id("child")), true),
            (Selector::Subtree(id("other")), false),
        ] {
            let interests = interest(selector.clone(), Detail::Content);
            assert_eq!(interests.want(&child, Family::Message), expected, "{selector:?}");
        }
    }

    #[test]
    fn detail_decides_families_and_deltas() {
        let any = routing("s", "", &[]);
        let summary = interest(Selector::All, Detail::Summary);
        assert!(summary.want(&any, Family::Session) && !summary.want(&any, Family::Message));
        assert!(!interest(Selector::All, Detail::Content).want_deltas(&any, Family::Message));
        let live = interest(Selector::All, Detail::Live);
        assert!(live.want(&any, Family::Message) && live.want_deltas(&any, Family::Message));
        let mut tools = Interest::new(Selector::All, Detail::Live);
        tools.families = Families::NONE.with(Family::Tool);
        let tools = Interests::new(vec![tools]).unwrap();
        assert!(tools.want(&any, Family::Tool) && !tools.want(&any, Family::Message));
        assert!(!tools.want_deltas(&any, Family::Message));
    }

    fn filtered(detail: Detail, families: impl IntoIterator<Item = Family>) -> Interests {
        let families = families.into_iter().collect();
        Interests::new(vec![Interest {
            families,
            ..Interest::new(Selector::All, detail)
        }])
        .unwrap()
    }

    #[test]
    fn one_wish_is_one_whatever_families_it_lists() {
        let summary = [Family::Command, Family::Session, Family::Attention, Family::Ask];
        for detail in [Detail::Summary, Detail::Content, Detail::Live] {
            let all = interest(Selector::All, detail);
            assert_eq!(filtered(detail, Family::ALL), all, "{detail:?}");
            // A number that outlives this version: a family that is added later moves nobody's hash.
            assert_eq!(all.0[0].families, Families::ALL);
            assert_eq!(filtered(detail, Family::ALL).hash(), all.hash());
        }
        let plain = interest(Selector::All, Detail::Summary);
        assert_eq!(filtered(Detail::Summary, summary).hash(), plain.hash());
        let more = summary.into_iter().chain([Family::Message]);
        assert_eq!(
            filtered(Detail::Summary, more).hash(),
            plain.hash(),
            "there are none at SUMMARY"
        );
        let asks = filtered(Detail::Summary, [Family::Ask]);
        assert_eq!(
            filtered(Detail::Summary, [Family::Ask, Family::Tool]).hash(),
            asks.hash()
        );
        let twice = [Interest::new(Selector::All, Detail::Summary), plain.0[0].clone()];
        assert_eq!(Interests::new(twice.into()).unwrap().iter().len(), 1);
    }

    #[test]
    fn different_wishes_stay_different() {
        let all_but_one = || Family::ALL.into_iter().filter(|family| *family != Family::Vendor);
        let different = [
            interest(Selector::All, Detail::Summary),
            interest(Selector::All, Detail::Content),
            interest(Selector::All, Detail::Live),
            interest(only("s"), Detail::Live),
            interest(Selector::Subtree(SessionId::parse("s").unwrap()), Detail::Live),
            filtered(Detail::Summary, [Family::Ask]),
            filtered(Detail::Content, [Family::Ask]),
            filtered(Detail::Summary, [Family::Session, Family::Ask, Family::Attention]),
            filtered(Detail::Summary, [Family::Message]),
            filtered(
                Detail::Content,
                [Family::Session, Family::Ask, Family::Attention, Family::Command],
            ),
            filtered(Detail::Content, all_but_one()),
            filtered(Detail::Live, all_but_one()),
        ];
        let hashes: std::collections::HashSet<_> = different.iter().map(Interests::hash).collect();
        assert_eq!(hashes.len(), different.len());
    }

    #[test]
    fn deltas_respect_the_families_that_were_listed() {
        let any = routing("s", "", &[]);
        let every = filtered(Detail::Live, Family::ALL);
        let tools = filtered(Detail::Live, [Family::Tool]);
        for family in [Family::Message, Family::Reasoning, Family::Tool] {
            assert!(every.want_deltas(&any, family));
            assert_eq!(tools.want_deltas(&any, family), family == Family::Tool);
        }
    }

    #[test]
    fn the_order_of_interests_does_not_matter_but_their_content_does() {
        let a = Interest::new(Selector::All, Detail::Summary);
        let b = Interest::new(Selector::Session(SessionId::parse("s").unwrap()), Detail::Live);
        let one = Interests::new(vec![a.clone(), b.clone()]).unwrap();
        let other = Interests::new(vec![b.clone(), a.clone(), b.clone()]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.hash(), other.hash());
        assert_ne!(one.hash(), Interests::new(vec![b]).unwrap().hash());
        assert_eq!(Interests::new(vec![]), Err(Error::None));
        assert_eq!(Interests::new(vec![a; 65]), Err(Error::TooMany(65)));
    }
}
