//! The keys that are good now, in memory.
//!
//! Believe this: the store is the truth and other processes change it (`bellboard key`), so it is read every
//! [`REFRESH_INTERVAL`], and once more when somebody comes with a key that is not known yet. A key that ends takes the streams
//! opened with it along.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bellboard_core::access::Principal;
use bellboard_core::clock::Clock;
use bellboard_core::offset::Time;
use bellboard_core::subscription::frame::ClosingReason;
use bellboard_core::subscription::standing::Standing;
use bellboard_core::{limits, store};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::Credential;
use super::key::{self, Hash};

/// How often the store is read: a change reaches running streams within a second.
pub const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// How many reads in one interval may be asked for by unknown keys. A newly made key works at once; somebody who tries keys costs
/// at most these reads.
const REFRESHES_ON_DEMAND_MAX: u32 = 10;

/// A key as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its public name.
    pub id: String,
    /// SHA-256 of its text.
    pub hash: Hash,
    /// Whose it is, and what it allows.
    pub principal: Principal,
    /// When it expires; none for never.
    pub expire_time: Option<Time>,
}

/// Where keys lie.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// All keys that were not revoked, expired ones among them.
    ///
    /// # Errors
    /// When the store cannot be read; the keys stay as they were.
    async fn keys(&self) -> Result<Vec<Known>, store::Error>;
}

/// Why somebody may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is unknown, malformed or revoked.
    Invalid,
    /// The key was good until this time.
    Expired(Time),
}

/// The keys that are good now. Shared by the layer, which looks up, and the task that runs [`Keys::refresh`].
#[derive(Debug)]
pub struct Keys {
    clock: Arc<dyn Clock>,
    /// Held for one lookup or one replacement, never while waiting.
    entries: RwLock<HashMap<Hash, Entry>>,
    /// Rung by those who came with an unknown key.
    wanted: Notify,
    /// How many more reads may be asked for in this interval.
    on_demand: AtomicU32,
    /// How many reads began, and the number of the last one that ended: who waits for a read wants one that began after it came.
    began: AtomicU64,
    ended: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    credential: Arc<Credential>,
    standing: watch::Sender<Standing>,
}

impl Entry {
    fn new(known: Known) -> Entry {
        let standing = watch::Sender::new(Standing::Good);
        let Known {
            id,
            hash: _,
            principal,
            expire_time,
        } = known;
        let credential = Arc::new(Credential {
            principal,
            key_id: id,
            standing: standing.subscribe(),
            expire_time,
        });
        Entry { credential, standing }
    }

    /// The same key with another expiry: its streams go on.
    fn renewed(self, known: Known) -> Entry {
        let mut credential = Credential::clone(&self.credential);
        credential.expire_time = known.expire_time;
        Entry {
            credential: Arc::new(credential),
            standing: self.standing,
        }
    }

    /// Whether it is the same key and allows the same. When it expires may be another time.
    fn is(&self, known: &Known) -> bool {
        let credential = &self.credential;
        credential.key_id == known.id && credential.principal == known.principal
    }

    fn has_ended(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Ended(_))
    }

    /// Tells its streams how it stands at this time.
    fn look(&self, now: Time) {
        let standing = match self.credential.expire_time {
            Some(time) if time <= now => return self.end(ClosingReason::CredentialExpired),
            Some(time) if time <= now.plus(limits::EXPIRY_WARNING) => Standing::Expiring(time),
            Some(_) | None => Standing::Good,
        };
        self.standing.send_if_modified(|current| {
            let changed = *current != standing && !matches!(current, Standing::Ended(_));
            if changed {
                *current = standing;
            }
            changed
        });
    }

    /// Ends the streams; the first reason stays.
    fn end(&self, reason: ClosingReason) {
        let first = self.standing.send_if_modified(|standing| {
            let first = !matches!(standing, Standing::Ended(_));
            if first {
                *standing = Standing::Ended(reason);
            }
            first
        });
        if first {
            info!(key = self.credential.key_id, ?reason, "a key ended");
        }
    }

    fn refused(&self, now: Time) -> Option<Refusal> {
        let ended = self.has_ended();
        let expired = self.credential.expire_time.filter(|time| ended || *time <= now);
        expired.map(Refusal::Expired)
    }
}

impl Keys {
    /// Without any key yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Keys> {
        Arc::new(Keys {
            clock,
            entries: RwLock::default(),
            wanted: Notify::new(),
            on_demand: AtomicU32::new(REFRESHES_ON_DEMAND_MAX),
            began: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        })
    }

    /// Whose key this is. Where it is not known, the store is asked once more, unless too many unknown keys came just now.
    ///
    /// # Errors
    /// When the key is not good.
    pub async fn find(&self, text: &str) -> Result<Arc<Credential>, Refusal> {
        if key::parse(text).is_none() {
            return Err(Refusal::Invalid);
        }
        let hash = key::hash(text);
        if let Some(found) = self.look_up(&hash) {
            return found;
        }
        let may_ask = |left: u32| left.checked_sub(1);
        let asked = self
            .on_demand
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_ask);
        if asked.is_err() {
            return Err(Refusal::Invalid);
        }
        let mut ended = self.ended.subscribe();
        let after = self.began.load(Ordering::SeqCst);
        self.wanted.notify_one();
        // The sender lives in `self`, so this waits for a number and never for nothing.
        let _ = ended.wait_for(|number| *number > after).await;
        self.look_up(&hash).unwrap_or(Err(Refusal::Invalid))
    }

    fn look_up(&self, hash: &Hash) -> Option<Result<Arc<Credential>, Refusal>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(hash)?;
        let refused = entry.refused(self.clock.now());
        Some(refused.map_or_else(|| Ok(entry.credential.clone()), Err))
    }

    /// Takes these keys for the good ones. Those that are gone, or allow something else, end their streams; another expiry ends none.
    pub fn replace(&self, known: Vec<Known>) {
        let now = self.clock.now();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(known.len());
        for known in known {
            let hash = known.hash;
            let entry = match entries.remove(&hash) {
                Some(entry) if entry.is(&known) && entry.credential.expire_time == known.expire_time => entry,
                // What has ended does not come back to life; new streams go by the new expiry.
                Some(entry) if entry.is(&known) && !entry.has_ended() => entry.renewed(known),
                Some(other) => {
                    other.end(ClosingReason::PermissionRevoked);
                    Entry::new(known)
                }
                None => Entry::new(known),
            };
            // At once: a stream that opens now is warned of an expiry that is near.
            entry.look(now);
            next.insert(hash, entry);
        }
        let gone = std::mem::replace(&mut *entries, next);
        for entry in gone.into_values() {
            entry.end(ClosingReason::PermissionRevoked);
        }
    }

    /// Warns and ends the streams of keys whose time is near or has come, and tells how long until the next one's.
    fn look_at_all(&self) -> Option<Duration> {
        let now = self.clock.now();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut next: Option<i64> = None;
        for entry in entries.values() {
            let Some(time) = entry.credential.expire_time else {
                continue;
            };
            entry.look(now);
            // A warning that comes an interval late is as good.
            if time > now {
                let wait = time.0.saturating_sub(now.0);
                next = Some(next.map_or(wait, |next| next.min(wait)));
            }
        }
        next.and_then(|wait| u64::try_from(wait).ok())
            .map(Duration::from_micros)
    }

    /// Reads the keys once.
    ///
    /// # Errors
    /// When the store cannot be read; the keys stay as they were.
    pub async fn load(&self, source: &dyn Source) -> Result<(), store::Error> {
        let number = self.began.fetch_add(1, Ordering::SeqCst) + 1;
        let read = source.keys().await;
        let outcome = read.map(|known| self.replace(known));
        self.ended.send_replace(number);
        outcome
    }

    /// Keeps the keys as the store has them. A task of the hub, without an end of its own.
    pub async fn refresh(self: Arc<Self>, source: Arc<dyn Source>) {
        // Side by side: a key expires in time even while the store does not answer.
        futures_util::future::join(self.refresh_forever(&*source), self.expire_forever()).await;
    }

    async fn refresh_forever(&self, source: &dyn Source) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.clock.sleep(REFRESH_INTERVAL) => self.on_demand.store(REFRESHES_ON_DEMAND_MAX, Ordering::Relaxed),
                () = self.wanted.notified() => {}
            }
            let outcome = self.load(source).await;
            match &outcome {
                Ok(()) if failing => info!("keys can be read again"),
                Err(error) if !failing => warn!(%error, "keys cannot be read; those known stay good"),
                Ok(()) | Err(_) => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn expire_forever(&self) {
        loop {
            let wait = self.look_at_all();
            // New keys, and a wall clock that was moved, are looked at as often as the store is.
            let wait = wait.unwrap_or(REFRESH_INTERVAL).min(REFRESH_INTERVAL);
            self.clock.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests;
