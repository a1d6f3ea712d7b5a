//! A session's row, and how events change it.
//!
//! Believe this: the row is a fold of the log. It is written in the transaction that stores the event, and nothing else writes it; but
//! for who holds it, which is no fold of events: see [`crate::hold`].

use std::borrow::Cow;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use crate::event::{Family, Routing, SessionRef, SessionStep};
use crate::hold::Hold;
use crate::id::SessionId;
use crate::limits;
use crate::offset::{Index, Offset, SessionNumber, Time};
use crate::store::Progress;

/// Counts a session's vendor-side lives, from 1.
pub type Life = u32;

/// A session's name on the vendor's side. Parts are compared one by one, never joined.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// Who makes the agent.
    pub vendor: Arc<str>,
    /// The connector's own lasting id, so that two laptops never collide.
    pub installation: Arc<str>,
    /// The project, normalised by [`normal_project`].
    pub project: Arc<str>,
    /// The vendor's id of the session.
    pub native_id: Arc<str>,
}

/// Why a key is refused: the part, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A part that must be given is empty.
    #[error("{0} is empty; give the vendor's name and its id of the session")]
    Empty(&'static str),
    /// A part is too long.
    #[error("{0} has {1} bytes; give at most {max}", max = limits::KEY_PART_BYTES_MAX)]
    TooLong(&'static str, usize),
    /// A part has a control character.
    #[error("{0} has a control character; remove it")]
    Control(&'static str),
}

impl SessionKey {
    /// Checks the parts and normalises the project.
    ///
    /// # Errors
    /// Names the part that is empty, too long or holds a control character.
    pub fn parse(vendor: &str, installation: &str, project: &str, native_id: &str) -> Result<SessionKey, Error> {
        for (name, part) in [("vendor", vendor), ("native_id", native_id)] {
            if part.is_empty() {
                return Err(Error::Empty(name));
            }
        }
        for (name, part) in [
            ("vendor", vendor),
            ("installation", installation),
            ("project", project),
            ("native_id", native_id),
        ] {
            if part.len() > limits::KEY_PART_BYTES_MAX {
                return Err(Error::TooLong(name, part.len()));
            }
            if part.chars().any(char::is_control) {
                return Err(Error::Control(name));
            }
        }
        Ok(SessionKey {
            vendor: normal_vendor(vendor).into(),
            installation: installation.into(),
            project: normal_project(project).into(),
            native_id: native_id.into(),
        })
    }
}

/// The one spelling of a vendor: lower case, as far as ASCII goes.
#[must_use]
pub fn normal_vendor(vendor: &str) -> String {
    vendor.to_ascii_lowercase()
}

/// The one spelling of a project: an absolute path or a repository URL in NFC, without a slash at the end.
///
/// macOS hands out paths decomposed, and some agents add a slash: without this the two sides of one project would never meet.
#[must_use]
pub fn normal_project(project: &str) -> String {
    let normal: String = project.nfc().collect();
    let trimmed = normal.trim_end_matches('/');
    if trimmed.is_empty() && !normal.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// What is known of a session beside its place. In a change, what is absent stays and what is empty is cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// What a list shows.
    pub title: Option<Arc<str>>,
    /// The project, normalised.
    pub project: Option<Arc<str>>,
    /// Who makes the agent.
    pub vendor: Option<Arc<str>>,
    /// The parent session, which is opened if it is new: children may arrive first.
    pub parent: Option<SessionRef>,
    /// Everything else, by the contract's field name.
    pub other: Vec<(Arc<str>, Arc<str>)>,
}

impl SessionFacts {
    /// Takes over what `newer` says, keeps what it does not mention, forgets what it says is empty. The parent is left to the caller, who knows the tree.
    pub fn merge(&mut self, newer: &SessionFacts) {
        let SessionFacts {
            title,
            project,
            vendor,
            parent: _,
            other,
        } = newer;
        for (mine, theirs) in [
            (&mut self.title, title),
            (&mut self.project, project),
            (&mut self.vendor, vendor),
        ] {
            if let Some(theirs) = theirs {
                *mine = Some(theirs.clone()).filter(|theirs| !theirs.is_empty());
            }
        }
        for (name, value) in other {
            match self.other.iter().position(|(known, _)| known == name) {
                Some(at) if value.is_empty() => drop(self.other.remove(at)),
                Some(at) => self.other[at].1.clone_from(value),
                None if value.is_empty() => {}
                None => self.other.push((name.clone(), value.clone())),
            }
        }
    }

    /// One of the other facts; none when unknown or cleared.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        self.other
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty())
    }
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// It may still speak.
    Live,
    /// It ended; a new life reopens it.
    Closed,
}

/// What of a session is no longer kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Its smallest index that is kept; 0 while nothing is trimmed.
    pub until: Index,
    /// Per family of which events were trimmed, the offset behind the newest of them; sorted by family.
    pub families: Vec<(Family, Offset)>,
}

impl Trimmed {
    /// The offset behind the newest event of it that was trimmed; 0 while nothing is.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.families
            .iter()
            .map(|(_, offset)| *offset)
            .max()
            .unwrap_or_default()
    }

    /// Whether an event of a family that is `wanted` was trimmed at `from` or behind it.
    pub fn lacks(&self, from: Offset, wanted: impl Fn(Family) -> bool) -> bool {
        self.families
            .iter()
            .any(|(family, offset)| *offset > from && wanted(*family))
    }

    /// One more event goes, the next one in the session's order.
    pub(crate) fn take(&mut self, index: Index, family: Option<Family>, offset: Offset) {
        self.until = Index(index.0 + 1);
        let Some(family) = family else { return };
        match self.families.binary_search_by_key(&family, |(family, _)| *family) {
            Ok(at) => self.families[at].1 = offset.next(),
            Err(at) => self.families.insert(at, (family, offset.next())),
        }
    }
}

/// One session, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The store's number.
    pub number: SessionNumber,
    /// Its id.
    pub id: SessionId,
    /// Its name on the vendor's side.
    pub key: Option<SessionKey>,
    /// Its parent, the parent's parent and so on, nearest first, at most [`limits::SESSION_DEPTH_MAX`].
    pub ancestors: Box<[SessionId]>,
    /// Its vendor-side life.
    pub life: Life,
    /// Whether it goes on.
    pub lifecycle: Lifecycle,
    /// Put aside by a person.
    pub archived: bool,
    /// What is known of it.
    pub facts: SessionFacts,
    /// The index of its next event.
    pub next_index: Index,
    /// Where it was opened.
    pub opened_offset: Offset,
    /// Its newest event.
    pub last_offset: Offset,
    /// The event that brought it to where it stands; zero while it never stood elsewhere. Its [`Session::routing`] is that of its events
    /// from there on; what was before lies in its [`Stood`]s.
    pub stands_from: Offset,
    /// When it was opened.
    pub created: Time,
    /// When its newest event was stored.
    pub updated: Time,
    /// When it was closed, while it is.
    pub closed: Option<Time>,
    /// What of it is no longer kept.
    pub trimmed: Trimmed,
    /// Who holds it.
    pub hold: Hold,
}

impl Session {
    /// A session whose first event is about to be placed at `offset`.
    #[must_use]
    pub fn new(number: SessionNumber, id: SessionId, key: Option<SessionKey>, offset: Offset, now: Time) -> Session {
        let facts = key.as_ref().map_or_else(SessionFacts::default, |key| SessionFacts {
            vendor: Some(key.vendor.clone()),
            project: Some(key.project.clone()).filter(|project| !project.is_empty()),
            ..SessionFacts::default()
        });
        Session {
            number,
            id,
            key,
            ancestors: Box::default(),
            life: 1,
            lifecycle: Lifecycle::Live,
            archived: false,
            facts,
            next_index: Index(0),
            opened_offset: offset,
            last_offset: offset,
            stands_from: Offset::ZERO,
            created: now,
            updated: now,
            closed: None,
            trimmed: Trimmed::default(),
            hold: Hold::default(),
        }
    }

    /// About how many bytes it takes in memory: what caches and snapshots are bounded by.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let key = self.key.iter().flat_map(|key| {
            let SessionKey {
                vendor,
                installation,
                project,
                native_id,
            } = key;
            [vendor, installation, project, native_id]
        });
        let SessionFacts {
            title,
            project,
            vendor,
            parent: _,
            other,
        } = &self.facts;
        let facts = [title, project, vendor].into_iter().flatten();
        let others = other.iter().flat_map(|(name, value)| [name, value]);
        // An id is counted as long as it may be: most are a third of that.
        let ids = (1 + self.ancestors.len() + usize::from(self.hold.owner.is_some())) * limits::ID_BYTES_MAX;
        let texts: usize = key.chain(facts).chain(others).map(|text| text.len()).sum();
        size_of::<Session>() + ids + texts
    }

    /// Whether events changed the row since: then `newer` is to be written.
    pub(crate) fn is_behind(&self, newer: &Session) -> bool {
        (self.next_index, self.stands_from) != (newer.next_index, newer.stands_from)
    }

    /// The top of its tree; itself when it has no parent.
    #[must_use]
    pub fn root(&self) -> &SessionId {
        self.ancestors.last().unwrap_or(&self.id)
    }

    /// Its parent.
    #[must_use]
    pub fn parent(&self) -> Option<&SessionId> {
        self.ancestors.first()
    }

    /// Where it stands, for selectors.
    #[must_use]
    pub fn routing(&self) -> Routing {
        let text = |fact: &Option<Arc<str>>| fact.clone().unwrap_or_default();
        Routing {
            session: self.id.clone(),
            project: text(&self.facts.project),
            vendor: text(&self.facts.vendor),
            ancestors: self.ancestors.clone(),
        }
    }

    /// How far it got, where that is all that changed since it was `before`.
    #[must_use]
    pub fn progress_since(&self, before: &Session) -> Option<Progress> {
        let progress = Progress {
            session: self.number,
            next_index: self.next_index,
            last_offset: self.last_offset,
            updated: self.updated,
        };
        let mut same = before.clone();
        same.hold.clone_from(&self.hold);
        (same.next_index, same.last_offset, same.updated) = (self.next_index, self.last_offset, self.updated);
        (same == *self).then_some(progress)
    }

    /// Its facts with newer ones. The vendor stays where the key tells it: who made an agent does not change.
    #[must_use]
    pub fn with(&self, newer: &SessionFacts) -> SessionFacts {
        let mut merged = self.facts.clone();
        merged.merge(newer);
        if let Some(key) = &self.key {
            merged.vendor = Some(key.vendor.clone());
        }
        merged
    }

    /// The fields in which another row of it is not the same.
    pub(crate) fn differs(&self, other: &Session) -> Vec<&'static str> {
        let Session {
            number,
            id,
            key,
            ancestors,
            life,
            lifecycle,
            archived,
            facts,
            next_index,
            opened_offset,
            last_offset,
            stands_from,
            created,
            updated,
            closed,
            trimmed,
            hold,
        } = self;
        let fields = [
            ("number", *number == other.number),
            ("id", *id == other.id),
            ("key", *key == other.key),
            ("ancestors", *ancestors == other.ancestors),
            ("life", *life == other.life),
            ("lifecycle", *lifecycle == other.lifecycle),
            ("archived", *archived == other.archived),
            ("facts", *facts == other.facts),
            ("next_index", *next_index == other.next_index),
            ("opened_offset", *opened_offset == other.opened_offset),
            ("last_offset", *last_offset == other.last_offset),
            ("stands_from", *stands_from == other.stands_from),
            ("created", *created == other.created),
            ("updated", *updated == other.updated),
            ("closed", *closed == other.closed),
            ("trimmed", *trimmed == other.trimmed),
            ("hold", *hold == other.hold),
        ];
        let differ = fields.into_iter().filter(|(_, same)| !same);
        differ.map(|(name, _)| name).collect()
    }

    /// Takes from an event what it says before its step: a later life that it belongs to, and the key that the session lacked. Gives the
    /// step that is left: a life that the event itself is of is not begun twice.
    pub(crate) fn meet<'a>(
        &mut self,
        life: Option<Life>,
        key: Option<&SessionKey>,
        step: &'a SessionStep,
    ) -> Cow<'a, SessionStep> {
        if self.key.is_none() {
            self.key = key.cloned();
        }
        let Some(life) = life.filter(|life| *life > self.life) else {
            return Cow::Borrowed(step);
        };
        self.live_again(life);
        if *step == SessionStep::Renewed(None) {
            Cow::Owned(SessionStep::Renewed(Some(life)))
        } else {
            Cow::Borrowed(step)
        }
    }

    /// Begins another life, which opens it where it was closed.
    const fn live_again(&mut self, life: Life) {
        self.life = life;
        self.lifecycle = Lifecycle::Live;
        self.closed = None;
    }

    /// Folds one event that was placed at `offset`. `lineage` is the new parent and its ancestors, where the event names one. Gives
    /// where it stood until now, if the event moved it.
    pub fn apply(
        &mut self,
        step: &SessionStep,
        lineage: Option<Box<[SessionId]>>,
        offset: Offset,
        now: Time,
    ) -> Option<Stood> {
        let mut stood = None;
        match step {
            SessionStep::None => {}
            SessionStep::Opened(facts) | SessionStep::Changed(facts) => {
                let before = self.routing();
                self.facts = self.with(facts);
                if let Some(ancestors) = lineage {
                    self.ancestors = ancestors;
                }
                stood = self.moved(before, offset);
            }
            SessionStep::Renewed(life) => {
                // A life never goes back, and the number is the writer's: it may be the last one there is.
                let next = || self.life.saturating_add(1);
                self.live_again(life.map_or_else(next, |life| self.life.max(life)));
            }
            SessionStep::Closed => {
                self.lifecycle = Lifecycle::Closed;
                self.closed = Some(now);
            }
            SessionStep::Archived => self.archived = true,
            SessionStep::Unarchived => self.archived = false,
        }
        self.next_index = Index(self.next_index.0 + 1);
        self.last_offset = offset;
        self.updated = now;
        stood
    }

    /// Follows a session above it that the event at `offset` moved to where `parent` says. Gives where it stood until now; none when it
    /// does not lie below that session, or stands there already.
    pub fn follow(&mut self, parent: &Routing, offset: Offset) -> Option<Stood> {
        let before = self.routing();
        self.ancestors = before.below(parent)?.ancestors;
        self.moved(before, offset)
    }

    fn moved(&mut self, before: Routing, offset: Offset) -> Option<Stood> {
        // Its first event did not find it elsewhere.
        if self.next_index == Index(0) || self.routing() == before {
            return None;
        }
        Some(Stood {
            session: self.number,
            from: std::mem::replace(&mut self.stands_from, offset),
            until: offset,
            routing: Arc::new(before),
        })
    }
}

/// Where a session stood for a while: what its events of `[from, until)` are selected by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stood {
    /// The session.
    pub session: SessionNumber,
    /// The event that had brought it there; zero where it began.
    pub from: Offset,
    /// The event that moved it on: its own, or that of a session above it. Later than `from`.
    pub until: Offset,
    /// Where it stood.
    pub routing: Arc<Routing>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_25_both_spellings_of_a_path_are_one_project() {
        assert_eq!(normal_project("/home/u/Gru\u{308}n/"), "/home/u/Gr\u{fc}n");
        assert_eq!(normal_project("/"), "/");
        assert_eq!(normal_project(""), "");
        assert_eq!(normal_project("https://example.org/a//"), "https://example.org/a");
    }

    #[test]
    fn keys_are_structured_so_that_no_two_sessions_share_one() {
        let one = SessionKey::parse("a", "b", "/c", "d");
        assert_ne!(one, SessionKey::parse("a", "", "b/c", "d"));
        assert_eq!(SessionKey::parse("", "", "", "d"), Err(Error::Empty("vendor")));
        assert_eq!(SessionKey::parse("a", "", "", ""), Err(Error::Empty("native_id")));
        assert_eq!(
            SessionKey::parse("a", "\n", "", "d"),
            Err(Error::Control("installation"))
        );
    }

    #[test]
    fn an_update_that_lacks_a_fact_never_erases_it() {
        let mut facts = SessionFacts {
            title: Some("old".into()),
            other: vec![("cwd".into(), "/a".into())],
            ..SessionFacts::default()
        };
        facts.merge(&SessionFacts {
            other: vec![("branch".into(), "main".into())],
            ..SessionFacts::default()
        });
        assert_eq!(facts.title.as_deref(), Some("old"));
        assert_eq!((facts.other("cwd"), facts.other("branch")), (Some("/a"), Some("main")));
        facts.merge(&SessionFacts {
            title: Some("".into()),
            other: vec![("cwd".into(), "".into())],
            ..SessionFacts::default()
        });
        assert_eq!((facts.title.as_deref(), facts.other("cwd")), (None, None));
        assert_eq!(facts.other.len(), 1, "what was cleared leaves nothing behind");
    }
}
