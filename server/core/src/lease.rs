//! Which writers are heard: their leases, as this process knows them.
//!
//! Believe this: a lease decides who is asked first, never what is stored; that is the fence's, in the rows. So every process reckons
//! leases by its own monotonic clock, and errs on one side only: a writer that may live is not believed dead. What it did not hear
//! itself it reads in the writer's row, where every change is a sign of life, whoever wrote it.

mod ends;

use std::collections::HashMap;
use std::time::Duration;

use crate::id::WriterId;
use crate::limits;
use crate::subscription::registry::Nodes;

pub use ends::{look, run};

/// What a writer's row tells of its life: any other one than before is a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The writer.
    pub writer: WriterId,
    /// Its fence.
    pub fence: u64,
    /// The last seq that was consumed.
    pub last_seq: u64,
    /// Counted on by the node that hears it, while it appends nothing.
    pub beat: u64,
}

/// A writer whose lease ended without a word, and what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The writer.
    pub writer: WriterId,
    /// The sessions that nobody holds now.
    pub sessions: Vec<crate::id::SessionId>,
}

#[derive(Debug)]
struct Lease {
    sign: Sign,
    /// When it was last heard here, or first seen.
    heard: Duration,
    /// When its row last told of it what this process did not write.
    seen: Duration,
    /// When its row last told of it, as far as is known here.
    told: Duration,
    /// Whether it spoke here since then.
    spoke: bool,
}

/// The leases of one log's writers. Times are [`crate::clock::Clock::elapsed`].
#[derive(Debug, Default)]
pub struct Leases {
    /// Writers that hold sessions: an entry goes when its lease has ended.
    leases: HashMap<WriterId, Lease>,
    /// When somebody last looked.
    looked: Duration,
    /// Whether those that held sessions before this process began are among them.
    loaded: bool,
}

impl Leases {
    /// Time went on. Where nobody looked for so long that leases ran out unseen (the machine slept), every one begins anew.
    fn look(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.looked) > limits::LEASE_TICK + limits::LEASE_DURATION;
        if slept {
            self.leases.values_mut().for_each(|lease| lease.heard = now);
        }
        self.looked = self.looked.max(now);
    }

    /// A frame or a call of a writer came, under a fence that was its newest. Nothing changes for a writer that holds no session.
    pub fn hear(&mut self, writer: &WriterId, fence: u64, now: Duration) {
        self.look(now);
        if let Some(lease) = self.leases.get_mut(writer).filter(|lease| lease.sign.fence == fence) {
            (lease.heard, lease.spoke) = (now, true);
        }
    }

    /// Looks at a writer's row. One that is seen for the first time is given a whole period.
    pub fn observe(&mut self, sign: Sign, now: Duration) {
        self.look(now);
        match self.leases.get_mut(&sign.writer) {
            Some(lease) if lease.sign == sign => {}
            // A row that was read before a newer one tells nothing.
            Some(lease) if lease.sign.fence > sign.fence => {}
            Some(lease) => {
                lease.sign = sign;
                (lease.seen, lease.told, lease.spoke) = (now, now, false);
            }
            None => {
                let lease = Lease {
                    heard: now,
                    seen: now,
                    told: now,
                    spoke: false,
                    sign,
                };
                self.leases.insert(lease.sign.writer.clone(), lease);
            }
        }
    }

    /// What this process committed of a writer's row, which it heard before.
    pub fn committed(&mut self, writer: &WriterId, fence: u64, last_seq: u64, now: Duration) {
        if let Some(lease) = self.leases.get_mut(writer) {
            (lease.sign.fence, lease.sign.last_seq) = (fence, last_seq);
            (lease.told, lease.spoke) = (now, false);
        }
    }

    /// A writer holds sessions from now on, or came to this node and may.
    pub fn begin(&mut self, writer: &WriterId, fence: u64, last_seq: u64, now: Duration) {
        self.look(now);
        let beat = self.leases.get(writer).map_or(0, |lease| lease.sign.beat);
        let lease = Lease {
            sign: Sign {
                writer: writer.clone(),
                fence,
                last_seq,
                beat,
            },
            heard: now,
            seen: now,
            told: now,
            spoke: false,
        };
        self.leases.insert(writer.clone(), lease);
    }

    /// Whether a writer whose row was just read still has its lease.
    pub fn lives(&mut self, sign: Sign, now: Duration, nodes: Nodes) -> bool {
        let writer = sign.writer.clone();
        self.observe(sign, now);
        self.leases.get(&writer).is_some_and(|lease| lease.lives(now, nodes))
    }

    /// The writers whose leases have ended, as far as is known here: to be looked at once more in the store.
    pub fn ended(&mut self, now: Duration, nodes: Nodes) -> Vec<WriterId> {
        self.look(now);
        let ended = self.leases.iter().filter(|(_, lease)| !lease.lives(now, nodes));
        ended.map(|(writer, _)| writer.clone()).collect()
    }

    /// A writer holds nothing any more.
    pub fn forget(&mut self, writer: &WriterId) {
        self.leases.remove(writer);
    }

    /// The writers that were heard here and of which their rows do not tell since: their beats are to be counted on, so that no other
    /// node believes them dead.
    pub fn silent_rows(&mut self, now: Duration) -> Vec<(WriterId, u64)> {
        let due = |lease: &&Lease| lease.spoke && now.saturating_sub(lease.told) >= limits::LEASE_BEAT;
        let silent = self.leases.values().filter(due);
        silent
            .map(|lease| (lease.sign.writer.clone(), lease.sign.fence))
            .collect()
    }

    /// The beats of these were counted on.
    pub fn beaten(&mut self, writers: &[(WriterId, u64)], now: Duration) {
        for (writer, fence) in writers {
            if let Some(lease) = self.leases.get_mut(writer).filter(|lease| lease.sign.fence == *fence) {
                lease.sign.beat += 1;
                (lease.told, lease.spoke) = (now, false);
            }
        }
    }

    /// Whether those that held sessions before this process began are known.
    #[must_use]
    pub const fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// They are now.
    pub const fn loaded(&mut self) {
        self.loaded = true;
    }

    /// How much of a writer's lease is left; none where it has ended, or is not known here.
    #[must_use]
    pub fn left(&self, writer: &WriterId, now: Duration) -> Option<Duration> {
        let lease = self.leases.get(writer)?;
        lease.until().checked_sub(now)
    }
}

#[cfg(test)]
impl Leases {
    /// All that decides what can come, told so that worlds which differ only in how much went before are the same.
    pub(crate) fn tell(&self, now: Duration, signs: &[Sign]) -> String {
        let mut all: Vec<String> = self
            .leases
            .iter()
            .map(|(writer, lease)| {
                let (heard, told) = (now.saturating_sub(lease.heard), now.saturating_sub(lease.told));
                let newest = signs.contains(&lease.sign);
                let left = lease.until().saturating_sub(now);
                format!("{writer} {heard:?} {left:?} {told:?} {} {newest}", lease.spoke)
            })
            .collect();
        all.sort();
        format!("{all:?} {}", self.loaded)
    }
}

impl Lease {
    fn lives(&self, now: Duration, nodes: Nodes) -> bool {
        let patience = match nodes {
            Nodes::One => Duration::ZERO,
            // Whoever hears a writer tells its row a little later.
            Nodes::Several => limits::LEASE_BEAT,
        };
        now < self.until() + patience
    }

    fn until(&self) -> Duration {
        self.heard.max(self.seen) + limits::LEASE_DURATION
    }
}

#[cfg(test)]
mod tests;
