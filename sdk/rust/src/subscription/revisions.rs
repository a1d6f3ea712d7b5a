//! Which interests a stream has, which its resume token is of, and which it is to have.
//!
//! The one thing to believe: a redial asks for the newest interests if the hub can go on from the resume token with them, which it can if
//! only sessions were added. If not, it asks for those that the resume token is of, and the change is called for again: no cut costs
//! more than the change itself. At most one change is on its way at a time, and of those that wait the newest wins.

use std::collections::BTreeSet;

use bellboard_proto::v1::interest::Selector;
use bellboard_proto::v1::{Answer, Detail, Interest, SnapshotReason, SubscriptionUpdated};
use prost::Message as _;

/// As many sessions as a redial may name as added.
const UNSYNCED_SESSIONS_MAX: usize = 64;

/// Interests, and the number of the change that made them; 0 for those that the stream began with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Revision {
    pub(super) number: u64,
    pub(super) interests: Vec<Interest>,
}

/// What a dial asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    pub(super) interests: Vec<Interest>,
    pub(super) unsynced_session_ids: Vec<String>,
}

/// Why a change did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The interests cannot be had: the stream goes on with those that it has.
    Wrong,
    /// The stream cannot be reached by calls: a dial must ask for them.
    OutOfReach,
}

/// Who said that a snapshot of what was added comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adding {
    Nobody,
    /// A dial that named sessions. The hub sends none if the resume token was of the new interests after all.
    Dial,
    /// The hub.
    Hub,
}

/// The interests of one subscription over all of its streams.
#[derive(Debug)]
pub(super) struct Revisions {
    /// The newest that the application asked for, but for those that the hub refused.
    wanted: Revision,
    /// Those of the frames that come now.
    in_force: Revision,
    /// Those that the resume token is of.
    synced: Revision,
    /// Those that a dial or a call asked for and that are not in force yet.
    on_its_way: Option<Revision>,
    /// Whether the snapshot of what `in_force` has beyond `synced` is still to end.
    adding: Adding,
    /// The newest that the hub refused.
    refused: u64,
    /// The newest that a call could not bring about.
    out_of_reach: u64,
    /// What the application was told last to be in force.
    told: u64,
}

impl Revisions {
    pub(super) fn new(interests: Vec<Interest>) -> Revisions {
        let first = Revision { number: 0, interests };
        Revisions {
            wanted: first.clone(),
            in_force: first.clone(),
            synced: first,
            on_its_way: None,
            adding: Adding::Nobody,
            refused: 0,
            out_of_reach: 0,
            told: 0,
        }
    }

    /// The interests of the frames that come now.
    pub(super) fn in_force(&self) -> &[Interest] {
        &self.in_force.interests
    }

    /// The application asked for this.
    pub(super) fn want(&mut self, revision: &Revision) {
        if revision.number > self.wanted.number.max(self.refused) {
            self.wanted = revision.clone();
        }
    }

    /// A dial begins that starts anew, without a resume token.
    pub(super) fn dial_anew(&mut self) -> Asked {
        self.ask(self.wanted.clone(), Vec::new())
    }

    /// A dial begins that goes on from the resume token.
    pub(super) fn dial(&mut self) -> Asked {
        match sessions_added(&self.synced.interests, &self.wanted.interests) {
            Some(session_ids) => self.ask(self.wanted.clone(), session_ids),
            // A reset, but not a circle.
            None if self.wanted.number <= self.out_of_reach => self.ask(self.wanted.clone(), Vec::new()),
            None => self.ask(self.synced.clone(), Vec::new()),
        }
    }

    fn ask(&mut self, revision: Revision, unsynced_session_ids: Vec<String>) -> Asked {
        self.adding = if unsynced_session_ids.is_empty() {
            Adding::Nobody
        } else {
            Adding::Dial
        };
        let interests = revision.interests.clone();
        self.on_its_way = Some(revision);
        Asked {
            interests,
            unsynced_session_ids,
        }
    }

    /// The stream that was dialled began. Gives what is in force where that is another revision than the application was told last.
    pub(super) fn subscribed(&mut self, answer: Answer) -> Option<SubscriptionUpdated> {
        let adding = if answer == Answer::Resumed {
            self.adding
        } else {
            Adding::Nobody
        };
        self.come_true(adding);
        let revision = self.in_force.number;
        let told = std::mem::replace(&mut self.told, revision);
        let snapshot_follows = adding != Adding::Nobody;
        (told != revision).then_some(SubscriptionUpdated {
            revision,
            snapshot_follows,
        })
    }

    /// What is to be called for now. `None`: nothing, or not yet.
    pub(super) fn to_call(&self) -> Option<Revision> {
        let idle = self.on_its_way.is_none() && self.adding == Adding::Nobody;
        (idle && self.wanted.number > self.in_force.number).then(|| self.wanted.clone())
    }

    /// A change was called for.
    pub(super) fn called(&mut self, revision: Revision) {
        self.on_its_way = Some(revision);
    }

    /// The hub did not do what was asked for last. Whether that was a change that has not come about.
    pub(super) fn refused(&mut self, refusal: Refusal) -> bool {
        let Some(asked) = self.on_its_way.take() else {
            return false;
        };
        let is_change = asked.number > self.in_force.number;
        match refusal {
            Refusal::OutOfReach => self.out_of_reach = asked.number.max(self.out_of_reach),
            Refusal::Wrong if is_change => {
                self.refused = asked.number.max(self.refused);
                if self.wanted.number <= self.refused {
                    self.wanted = self.in_force.clone();
                }
            }
            Refusal::Wrong => {}
        }
        is_change
    }

    /// `subscription_updated` came.
    pub(super) fn updated(&mut self, updated: &SubscriptionUpdated) {
        let number = updated.revision;
        if self.on_its_way.as_ref().is_some_and(|asked| asked.number == number) {
            self.come_true(if updated.snapshot_follows {
                Adding::Hub
            } else {
                Adding::Nobody
            });
            self.told = number;
        }
    }

    /// What was asked for is in force.
    fn come_true(&mut self, adding: Adding) {
        if let Some(asked) = self.on_its_way.take() {
            self.in_force = asked;
        }
        self.adding = adding;
        self.settle();
    }

    /// A snapshot began. A reset's is of everything that is in force, and so of what was being added.
    pub(super) fn snapshot_begins(&mut self, reason: SnapshotReason) {
        if reason == SnapshotReason::Reset {
            self.adding = Adding::Nobody;
        }
    }

    /// A snapshot ended.
    pub(super) fn snapshot_ends(&mut self, reason: SnapshotReason) {
        if reason == SnapshotReason::InterestAdded {
            self.adding = Adding::Nobody;
        }
        self.settle();
    }

    /// The stream caught up, with no snapshot under way.
    pub(super) fn caught_up(&mut self) {
        if self.adding == Adding::Dial {
            self.adding = Adding::Nobody;
        }
        self.settle();
    }

    /// The resume token is of what is in force, unless a snapshot is still to end.
    fn settle(&mut self) {
        if self.adding == Adding::Nobody {
            self.synced.clone_from(&self.in_force);
        }
    }
}

/// The sessions that the new interests have beyond the old ones. `None`: they differ in something else too, or in more than a redial
/// can name.
fn sessions_added(old: &[Interest], new: &[Interest]) -> Option<Vec<String>> {
    let old: BTreeSet<Vec<u8>> = old.iter().map(canonical).collect();
    let added = new.iter().filter(|interest| !old.contains(&canonical(interest)));
    let session_ids: BTreeSet<&str> = added.filter_map(session_id).collect();
    let is_kept =
        |interest: &&Interest| session_id(interest).is_none_or(|session_id| !session_ids.contains(session_id));
    let rest: BTreeSet<Vec<u8>> = new.iter().filter(is_kept).map(canonical).collect();
    let explained = rest == old && session_ids.len() <= UNSYNCED_SESSIONS_MAX;
    explained.then(|| session_ids.into_iter().map(str::to_owned).collect())
}

fn session_id(interest: &Interest) -> Option<&str> {
    match &interest.selector {
        Some(Selector::Session(selector)) => Some(&selector.session_id),
        Some(Selector::All(_) | Selector::Project(_) | Selector::Vendor(_)) | None => None,
    }
}

/// The same bytes for interests that say the same.
fn canonical(interest: &Interest) -> Vec<u8> {
    let mut interest = interest.clone();
    if interest.detail() == Detail::Unspecified {
        interest.set_detail(Detail::Content);
    }
    interest.families.sort_unstable();
    interest.families.dedup();
    interest.encode_to_vec()
}

#[cfg(test)]
mod tests;
