//! Who may do what.
//!
//! Believe this: a [`Principal`] exists only behind a checked credential, and its tenant is the only tenant it can name.

use crate::id::{PrincipalId, TenantId};

/// What a credential allows. Scopes do not imply one another, but for `Admin`, which is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read sessions, events and attention; subscribe.
    Read,
    /// Send prompts and interrupts.
    Prompt,
    /// Answer asks.
    Answer,
    /// Append events, open writers, create and change sessions.
    Publish,
    /// Receive commands and report on them, as connectors do.
    ReceiveCommands,
    /// Everything, and the deletion of sessions.
    Admin,
}

impl Scope {
    /// All scopes with the names that keys, messages and the command line use.
    pub const NAMES: [(Scope, &'static str); 6] = [
        (Scope::Read, "read"),
        (Scope::Prompt, "prompt"),
        (Scope::Answer, "answer"),
        (Scope::Publish, "publish"),
        (Scope::ReceiveCommands, "receive-commands"),
        (Scope::Admin, "admin"),
    ];

    /// The scope of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Scope> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(scope, _)| *scope)
    }

    /// The name of this scope.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(scope, _)| *scope == self)
            .map_or("", |(_, name)| name)
    }
}

/// Several scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// No scope at all.
    pub const NONE: Scopes = Scopes(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Scopes {
        Scopes(self.0 | 1 << scope as u8)
    }

    /// Whether `scope` is among them, or implied by `Admin`.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    /// One by one, in the order of [`Scope::NAMES`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::NAMES
            .into_iter()
            .map(|(scope, _)| scope)
            .filter(move |scope| self.0 & (1 << *scope as u8) != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Scopes::NONE, Scopes::with)
    }
}

/// The credential lacks a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this key lacks the scope \"{}\"; use a key that has it", .0.name())]
pub struct Denied(pub Scope);

/// Who a call acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Where it lives.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub id: PrincipalId,
    /// What its credential allows.
    pub scopes: Scopes,
}

impl Principal {
    /// Checks a scope. Called before anything is looked up, so that a refusal says nothing about what exists.
    ///
    /// # Errors
    /// [`Denied`] names the scope that is missing.
    pub const fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.allow(scope) {
            Ok(())
        } else {
            Err(Denied(scope))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_separate_and_admin_is_all() {
        let reader = Scopes::from_iter([Scope::Read]);
        assert!(reader.allow(Scope::Read));
        assert!(!reader.allow(Scope::Publish));
        assert!(!reader.allow(Scope::Admin));
        let admin = Scopes::NONE.with(Scope::Admin);
        assert!(Scope::NAMES.iter().all(|(scope, _)| admin.allow(*scope)));
        assert!(
            Scope::NAMES
                .iter()
                .all(|(scope, name)| Scope::parse(name) == Some(*scope) && scope.name() == *name)
        );
        assert_eq!(Scope::parse("root"), None);
    }
}
