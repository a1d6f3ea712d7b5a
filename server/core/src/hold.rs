//! Who holds a session: the fence, and what it lets in.
//!
//! Believe this: the fence of a session never goes back. Once it was held under a fence, nothing is stored in it under a smaller one, be
//! it held by nobody by then: a writer that lost it without knowing has the smaller one for ever, until it opens anew and is told.

use crate::id::WriterId;

/// Proof that a writer is who it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The writer.
    pub writer: WriterId,
    /// Its fence.
    pub fence: u64,
}

/// Who holds a session. Part of its row, and no fold of its events: claims, releases and ended leases write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// The writer that holds it.
    pub owner: Option<WriterId>,
    /// The fence under which it is held, or was last; 0 while nobody ever held it.
    pub fence: u64,
}

/// What a writer may do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It holds it.
    Holds,
    /// It may have it: nobody who lives holds it.
    Claims,
}

/// Why a session lets somebody not in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// This writer holds it, and its lease lives.
    Owned(WriterId),
    /// It was held under this fence since, which is greater.
    Fenced(u64),
}

/// What a claim does where another writer holds the session and lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// It is refused.
    #[default]
    Free,
    /// It takes the session all the same.
    Over,
}

impl Hold {
    /// Whether this writer may append. Its fence is its newest one; `lives` tells whether another writer's lease does.
    ///
    /// # Errors
    /// Who or what bars it.
    pub fn admit(&self, claim: &Claim, lives: impl Fn(&WriterId) -> bool) -> Result<Admission, Barred> {
        match &self.owner {
            Some(owner) if *owner != claim.writer && lives(owner) => Err(Barred::Owned(owner.clone())),
            Some(owner) if *owner == claim.writer && self.fence == claim.fence => Ok(Admission::Holds),
            Some(_) | None if claim.fence < self.fence => Err(Barred::Fenced(self.fence)),
            Some(_) | None => Ok(Admission::Claims),
        }
    }

    /// Whether this writer may have it, taking it where `take` says so.
    ///
    /// # Errors
    /// Who or what bars it.
    pub fn claim(&self, claim: &Claim, take: Take, lives: impl Fn(&WriterId) -> bool) -> Result<Admission, Barred> {
        match (take, self.admit(claim, lives)) {
            (Take::Over, Err(Barred::Owned(_))) if claim.fence > self.fence => Ok(Admission::Claims),
            (Take::Over, Err(Barred::Owned(_))) => Err(Barred::Fenced(self.fence)),
            (Take::Over | Take::Free, admitted) => admitted,
        }
    }

    /// Who keeps everybody without a writer out.
    #[must_use]
    pub fn keeper(&self, lives: impl Fn(&WriterId) -> bool) -> Option<&WriterId> {
        self.owner.as_ref().filter(|owner| lives(owner))
    }

    /// Whether it is held by this writer.
    #[must_use]
    pub fn is_of(&self, writer: &WriterId) -> bool {
        self.owner.as_ref() == Some(writer)
    }

    /// It is held by this writer from now on.
    pub(crate) fn take(&mut self, claim: &Claim) {
        debug_assert!(claim.fence >= self.fence, "a fence never goes back");
        *self = Hold {
            owner: Some(claim.writer.clone()),
            fence: claim.fence,
        };
    }

    /// It is held by nobody from now on. The fence stays.
    pub(crate) fn release(&mut self) {
        self.owner = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{claim, writer};

    #[test]
    fn every_row_of_the_table() {
        let held = |owner: Option<&str>, fence| Hold {
            owner: owner.map(writer),
            fence,
        };
        let owned = Err(Barred::Owned(writer("b")));
        let (holds, claims) = (Ok(Admission::Holds), Ok(Admission::Claims));
        let fenced = Err(Barred::Fenced(5));
        // Held by whom, under which fence, who lives; the claim of `a`; as an append, as a claim, as a take-over.
        for (owner, lives, fence, append, taking) in [
            (None, false, 5, claims.clone(), claims.clone()),
            (None, false, 6, claims.clone(), claims.clone()),
            (None, false, 4, fenced.clone(), fenced.clone()),
            (Some("a"), true, 5, holds.clone(), holds.clone()),
            (Some("a"), false, 5, holds.clone(), holds),
            (Some("a"), true, 6, claims.clone(), claims.clone()),
            (Some("b"), true, 6, owned.clone(), claims.clone()),
            (Some("b"), true, 4, owned, fenced.clone()),
            (Some("b"), false, 6, claims.clone(), claims),
            (Some("b"), false, 4, fenced.clone(), fenced),
        ] {
            let hold = held(owner, 5);
            let case = format!("{hold:?} {lives} {fence}");
            assert_eq!(hold.admit(&claim("a", fence), |_| lives), append, "{case}");
            assert_eq!(hold.claim(&claim("a", fence), Take::Free, |_| lives), append, "{case}");
            assert_eq!(hold.claim(&claim("a", fence), Take::Over, |_| lives), taking, "{case}");
        }
    }

    #[test]
    fn who_lets_go_leaves_its_fence() {
        let mut hold = Hold::default();
        hold.take(&claim("a", 3));
        assert!(hold.is_of(&writer("a")));
        assert_eq!(hold.keeper(|_| true), Some(&writer("a")));
        assert_eq!(hold.keeper(|_| false), None);
        hold.release();
        assert_eq!((hold.keeper(|_| true), hold.fence), (None, 3));
    }
}
