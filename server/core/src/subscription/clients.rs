//! Which stream of a client is its newest.
//!
//! Believe this: the store gives each stream of a client a higher number than any before, and only the highest lives. A stream is heard of
//! here before its number is asked for, so that a higher one that another node took is never overlooked; and what an older stream leaves
//! behind when it ends late touches nothing of the newer one's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::client::{ClientKey, Incarnation};
use crate::limits;
use crate::store::{self, Store};
use crate::subscription::control::{Control, Mailbox};

/// The clients that have a stream at this node.
#[derive(Debug)]
pub struct Clients {
    /// Held for one look or one change. It has at most as many entries as there are open streams.
    slots: Mutex<HashMap<ClientKey, Slot>>,
    /// Who waits for a number: at most one entry of each call that is under way.
    waiting: Mutex<Vec<Waiting>>,
    /// Who has it asks the store, for all that wait. Several that come at once are one transaction.
    turn: tokio::sync::Mutex<()>,
    /// Up to here the numbers that other nodes took are known. Held while they are read.
    seen: tokio::sync::Mutex<Incarnation>,
}

type Waiting = (ClientKey, oneshot::Sender<Result<Incarnation, store::Error>>);

#[derive(Debug, Default)]
struct Slot {
    /// The highest number that was heard of.
    newest: Incarnation,
    /// The stream that has it, or had the highest before.
    holder: Option<(Incarnation, Arc<Mailbox>)>,
    /// Streams of this node that have a number, or are about to.
    streams: usize,
}

impl Slot {
    /// A number was taken, here or elsewhere: a lower one is replaced.
    fn hear(&mut self, taken: Incarnation) {
        self.newest = self.newest.max(taken);
        let lower = self.holder.take_if(|(incarnation, _)| *incarnation < taken);
        if let Some((_, mailbox)) = lower {
            replace(&mailbox);
        }
    }
}

fn replace(mailbox: &Mailbox) {
    // It supersedes its like, so there is room for it always.
    let _ = mailbox.post(Control::Replaced);
}

impl Clients {
    /// Without any, over a store where this was the newest number when the node started.
    #[must_use]
    pub fn new(newest: Incarnation) -> Arc<Clients> {
        Arc::new(Clients {
            slots: Mutex::default(),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            seen: tokio::sync::Mutex::new(newest),
        })
    }

    /// Takes the next number for a stream of this client, and replaces its earlier ones. The stream has its place until what is returned
    /// is dropped.
    ///
    /// # Errors
    /// When the store cannot be used; then nobody was replaced, or everybody by a stream that does not come to be.
    pub async fn take(
        self: &Arc<Self>,
        store: &dyn Store,
        key: ClientKey,
        mailbox: Arc<Mailbox>,
    ) -> Result<Claim, store::Error> {
        self.slots().entry(key.clone()).or_default().streams += 1;
        // From here on the place is given back when this is dropped.
        let mut claim = Claim {
            clients: self.clone(),
            key,
            incarnation: Incarnation::default(),
        };
        claim.incarnation = self.next(store, &claim.key).await?;
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(&claim.key) {
            slot.hear(claim.incarnation);
            if slot.newest == claim.incarnation {
                slot.holder = Some((claim.incarnation, mailbox));
            } else {
                replace(&mailbox);
            }
        }
        drop(slots);
        Ok(claim)
    }

    /// The next number, asked for together with all others that are wanted now.
    async fn next(&self, store: &dyn Store, key: &ClientKey) -> Result<Incarnation, store::Error> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push((key.clone(), answer));
            let turn = tokio::select! {
                biased;
                answer = &mut answered => match answer {
                    Ok(answer) => return answer,
                    // Who asked for us gave up.
                    Err(_) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            let mut batch = std::mem::take(&mut *self.waiting());
            // Whose call was given up needs no number.
            batch.retain(|(_, answer)| !answer.is_closed());
            Self::ask(store, batch).await;
            drop(turn);
            if let Ok(answer) = answered.await {
                return answer;
            }
        }
    }

    async fn ask(store: &dyn Store, mut batch: Vec<Waiting>) {
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(limits::CLIENTS_TAKEN_AT_ONCE));
            let keys: Vec<ClientKey> = batch.iter().map(|(key, _)| key.clone()).collect();
            match store.take_incarnations(&keys).await {
                Ok(taken) => {
                    for ((_, answer), incarnation) in batch.into_iter().zip(taken) {
                        // Who gave up has dropped its end.
                        let _ = answer.send(Ok(incarnation));
                    }
                }
                Err(error) => {
                    for (_, answer) in batch {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
            batch = rest;
        }
    }

    /// Learns which numbers other nodes took, and replaces what is lower here. To be called often where there are other nodes.
    ///
    /// # Errors
    /// When the store cannot be read; what was learnt until then counts.
    pub async fn compare(&self, store: &dyn Store) -> Result<(), store::Error> {
        let mut seen = self.seen.lock().await;
        while !self.is_empty() {
            let taken = store.incarnations(*seen, limits::CLIENTS_READ_MAX).await?;
            let more = taken.len() == limits::CLIENTS_READ_MAX;
            let mut slots = self.slots();
            for (key, incarnation) in taken {
                if let Some(slot) = slots.get_mut(&key) {
                    slot.hear(incarnation);
                }
                *seen = incarnation;
            }
            drop(slots);
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Whether no client has a stream here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ClientKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place among those of its client, given back on drop.
#[derive(Debug)]
pub struct Claim {
    clients: Arc<Clients>,
    key: ClientKey,
    incarnation: Incarnation,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut slots = self.clients.slots();
        let Entry::Occupied(mut slot) = slots.entry(self.key.clone()) else {
            return;
        };
        // Only its own: a newer stream holds the slot with a higher number.
        slot.get_mut().holder.take_if(|(holder, _)| *holder == self.incarnation);
        slot.get_mut().streams -= 1;
        if slot.get().streams == 0 {
            slot.remove();
        }
    }
}
