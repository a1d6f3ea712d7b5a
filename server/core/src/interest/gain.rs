//! What more is wanted, of a session that moved or by interests that changed.
//!
//! Believe this: what is compared is the families of which events come, and those of which deltas come. An interest that adds neither
//! to what others gave already adds nothing.

use crate::event::{Families, Routing};
use crate::id::SessionId;
use crate::interest::{Detail, Interest, Interests, Selector};

/// What is wanted more than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gain {
    /// Nothing.
    Nothing,
    /// Deltas: every event was wanted before.
    Deltas,
    /// Events, and perhaps deltas.
    Events,
}

/// What is wanted of a session.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// The families of which events are wanted.
    events: Families,
    /// The families of which deltas are.
    deltas: Families,
}

impl Share {
    fn of<'a>(interests: impl Iterator<Item = &'a Interest>) -> Share {
        interests.fold(Share::default(), |share, interest| {
            let deltas = match interest.detail {
                Detail::Live => interest.wanted(),
                Detail::Summary | Detail::Content => Families::NONE,
            };
            Share {
                events: share.events.or(interest.wanted()),
                deltas: share.deltas.or(deltas),
            }
        })
    }

    /// What all of these want.
    fn joint(all: &[&Interests], routing: &Routing) -> Share {
        let each = all.iter().map(|interests| interests.share(routing));
        let and = |one: Share, other: Share| Share {
            events: one.events.and(other.events),
            deltas: one.deltas.and(other.deltas),
        };
        each.reduce(and).unwrap_or_default()
    }

    const fn beyond(self, less: Share) -> Gain {
        if !less.events.contain_all(self.events) {
            Gain::Events
        } else if !less.deltas.contain_all(self.deltas) {
            Gain::Deltas
        } else {
            Gain::Nothing
        }
    }
}

impl Interests {
    /// The most that may be gained by what lies below a session that came there: it comes to lie below what is above that session. What
    /// else wants each of them is not known here, but for what wants all.
    fn gain_below(&self, before: &Routing, routing: &Routing) -> Gain {
        let of_all = Share::of(self.iter().filter(|interest| interest.selector == Selector::All));
        let entered = |interest: &&Interest| {
            let subtree = matches!(interest.selector, Selector::Subtree(_));
            subtree && interest.selects(routing) && !interest.selects(before)
        };
        Share::of(self.iter().filter(entered)).beyond(of_all)
    }

    fn share(&self, routing: &Routing) -> Share {
        Share::of(self.iter().filter(|interest| interest.selects(routing)))
    }

    /// Those of these interests that may want events which `others` do not want: all that none of the others covers. None where there
    /// are none.
    #[must_use]
    pub fn beyond(&self, others: &Interests) -> Option<Interests> {
        let covered = |interest: &Interest| others.iter().any(|other| covers(other, interest));
        let new: Vec<_> = self.iter().filter(|interest| !covered(interest)).cloned().collect();
        Interests::new(new).ok()
    }

    /// These without those that select one of `sessions` as such, with or without descendants. None where nothing is left.
    #[must_use]
    pub fn without(&self, sessions: &[SessionId]) -> Option<Interests> {
        let is_named = |interest: &Interest| match &interest.selector {
            Selector::Session(id) | Selector::Subtree(id) => sessions.contains(id),
            Selector::All | Selector::Project(_) | Selector::Vendor(_) => false,
        };
        let left: Vec<_> = self.iter().filter(|interest| !is_named(interest)).cloned().collect();
        Interests::new(left).ok()
    }
}

/// What more all of these want of a session that came there from where it stood before.
#[must_use]
pub fn by_move(all: &[&Interests], before: &Routing, routing: &Routing) -> Gain {
    Share::joint(all, routing).beyond(Share::joint(all, before))
}

/// The most that any of these may gain by what lies below a session that came there.
#[must_use]
pub fn below(all: &[&Interests], before: &Routing, routing: &Routing) -> Gain {
    let each = all.iter().map(|interests| interests.gain_below(before, routing));
    each.max().unwrap_or(Gain::Nothing)
}

/// Whether every event that `other` wants is wanted by `interest` too, whatever there is.
fn covers(interest: &Interest, other: &Interest) -> bool {
    let selects = match (&interest.selector, &other.selector) {
        (Selector::All, _) => true,
        (Selector::Subtree(one), Selector::Session(two)) => one == two,
        (one, two) => one == two,
    };
    selects && interest.wanted().contain_all(other.wanted())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Family;
    use crate::testing::{only, session};

    fn interests<'a>(wanted: impl IntoIterator<Item = &'a (Selector, Detail)>) -> Interests {
        let each = wanted
            .into_iter()
            .map(|(selector, detail)| Interest::new(selector.clone(), *detail));
        Interests::new(each.collect()).unwrap()
    }

    fn routing(id: &str, project: &str, ancestors: &[&str]) -> Routing {
        Routing {
            session: session(id),
            project: project.into(),
            vendor: "v".into(),
            ancestors: ancestors.iter().map(|id| session(id)).collect(),
        }
    }

    fn project(name: &str) -> Selector {
        Selector::Project(name.into())
    }

    fn subtree(id: &str) -> Selector {
        Selector::Subtree(session(id))
    }

    #[test]
    fn entering_at_a_higher_detail_counts_for_the_difference() {
        use Detail::{Content, Live, Summary};
        let (before, after) = (routing("s", "/p", &[]), routing("s", "/q", &[]));
        let cases = [
            (interests(&[(project("/q"), Content)]), Gain::Events),
            (interests(&[(project("/p"), Content)]), Gain::Nothing),
            (interests(&[(Selector::All, Content)]), Gain::Nothing),
            (
                interests(&[(project("/p"), Content), (project("/q"), Content)]),
                Gain::Nothing,
            ),
            (
                interests(&[(project("/p"), Content), (project("/q"), Summary)]),
                Gain::Nothing,
            ),
            (
                interests(&[(Selector::All, Summary), (project("/q"), Summary)]),
                Gain::Nothing,
            ),
            (
                interests(&[(Selector::All, Summary), (project("/q"), Content)]),
                Gain::Events,
            ),
            (
                interests(&[(Selector::All, Summary), (project("/q"), Live)]),
                Gain::Events,
            ),
            (
                interests(&[(Selector::All, Content), (project("/q"), Live)]),
                Gain::Deltas,
            ),
            (interests(&[(only("s"), Live), (project("/q"), Live)]), Gain::Nothing),
        ];
        for (interests, gain) in cases {
            assert_eq!(by_move(&[&interests], &before, &after), gain, "{interests:?}");
            assert_eq!(interests.gain_below(&before, &after), Gain::Nothing, "no parent");
        }
    }

    #[test]
    fn families_that_were_not_wanted_before_are_gained() {
        let only_families = |selector, families: &[Family]| Interest {
            families: families.iter().copied().collect(),
            ..Interest::new(selector, Detail::Content)
        };
        let (before, after) = (routing("s", "/p", &[]), routing("s", "/q", &[]));
        let gain = |one: &[Family], other: &[Family]| {
            let both = vec![only_families(project("/p"), one), only_families(project("/q"), other)];
            by_move(&[&Interests::new(both).unwrap()], &before, &after)
        };
        assert_eq!(gain(&[Family::Tool], &[Family::Message]), Gain::Events);
        assert_eq!(
            gain(&[Family::Tool, Family::Message], &[Family::Message]),
            Gain::Nothing
        );
    }

    #[test]
    fn of_several_interests_only_what_all_want_is_gained() {
        let (here, there) = (routing("s", "/p", &[]), routing("s", "/q", &[]));
        let both = interests(&[(project("/p"), Detail::Content), (project("/q"), Detail::Content)]);
        let only_there = interests(&[(project("/q"), Detail::Content)]);
        assert_eq!(by_move(&[&both], &here, &there), Gain::Nothing);
        assert_eq!(by_move(&[&both, &only_there], &here, &there), Gain::Events);
        assert_eq!(by_move(&[&both, &only_there], &there, &here), Gain::Nothing);
    }

    #[test]
    fn what_lies_below_gains_with_what_it_comes_to_lie_below() {
        let (before, after) = (routing("p", "", &[]), routing("p", "", &["root"]));
        let gain = |wanted: &[_]| interests(wanted).gain_below(&before, &after);
        assert_eq!(gain(&[(subtree("root"), Detail::Summary)]), Gain::Events);
        assert_eq!(gain(&[(subtree("p"), Detail::Content)]), Gain::Nothing);
        assert_eq!(gain(&[(only("root"), Detail::Content)]), Gain::Nothing);
        let beside_all = |all, below| gain(&[(Selector::All, all), (subtree("root"), below)]);
        assert_eq!(beside_all(Detail::Content, Detail::Content), Gain::Nothing);
        assert_eq!(beside_all(Detail::Content, Detail::Live), Gain::Deltas);
        assert_eq!(beside_all(Detail::Summary, Detail::Live), Gain::Events);
        // The session itself was wanted by name; what lies below it was not.
        let named = gain(&[(only("p"), Detail::Live), (subtree("root"), Detail::Content)]);
        assert_eq!(named, Gain::Events);
    }

    #[test]
    fn only_what_none_of_the_others_covers_is_beyond_them() {
        use Detail::{Content, Live, Summary};
        let all = |detail| (Selector::All, detail);
        let cases: [(&[_], &[_], &[_]); 8] = [
            (&[all(Content)], &[(only("s"), Content)], &[]),
            (&[all(Content)], &[(only("s"), Live)], &[]),
            (
                &[all(Summary)],
                &[(only("s"), Live), all(Summary)],
                &[(only("s"), Live)],
            ),
            (&[(subtree("s"), Content)], &[(only("s"), Content)], &[]),
            (
                &[(only("s"), Content)],
                &[(subtree("s"), Content)],
                &[(subtree("s"), Content)],
            ),
            (
                &[(only("s"), Content)],
                &[(only("t"), Content)],
                &[(only("t"), Content)],
            ),
            (&[(only("s"), Content), (only("t"), Live)], &[(only("t"), Live)], &[]),
            (
                &[(project("/p"), Content)],
                &[(project("/p"), Summary), (project("/q"), Summary)],
                &[(project("/q"), Summary)],
            ),
        ];
        for (old, new, beyond) in cases {
            let expected = (!beyond.is_empty()).then(|| interests(beyond));
            assert_eq!(
                interests(new).beyond(&interests(old)),
                expected,
                "{new:?} after {old:?}"
            );
        }
    }

    #[test]
    fn what_is_left_without_some_sessions_is_what_never_named_them() {
        use Detail::{Content, Summary};
        let wanted = interests(&[
            (Selector::All, Summary),
            (only("a"), Content),
            (subtree("a"), Summary),
            (subtree("b"), Content),
        ]);
        let left = wanted.without(&[session("a"), session("unknown")]).unwrap();
        assert_eq!(left, interests(&[(Selector::All, Summary), (subtree("b"), Content)]));
        assert_eq!(wanted.without(&[]).as_ref(), Some(&wanted));
        assert_eq!(interests(&[(only("a"), Content)]).without(&[session("a")]), None);
    }
}
