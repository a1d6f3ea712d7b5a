//! All logs of this process, and what they share.
//!
//! Believe this: a tenant's log is opened once, by its first caller, and stays. What a caller may see of it is decided before it
//! comes here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::appender::Appender;
use crate::appender::committer::Committer;
use crate::client::ClientKey;
use crate::clock::Clock;
use crate::event::{Encode, Families, Family};
use crate::id::{ClientId, PrincipalId, TenantId};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::limits;
use crate::log::Log;
use crate::offset::{Epoch, Time};
use crate::resume_token::{KeyId, Keyring, ResumeKey};
use crate::retention::Retention;
use crate::store::{self, LogRow, Read, Store};
use crate::subscription::clients::Clients;
use crate::subscription::frame::ClosingReason;
use crate::subscription::registry::{Nodes, Registry};
use crate::subscription::snapshots::Snapshots;
use crate::subscription::standing::Credential;
use crate::subscription::{self, Closing, Subscription, Surroundings};
use crate::window::Budget;

/// Who opens a stream.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it acts for.
    pub principal: PrincipalId,
    /// Which of the principal's applications it is; none for one that nothing replaces.
    pub client: Option<ClientId>,
    /// Whose end is the stream's end.
    pub credential: Credential,
}

/// The hub of one process. Held by every service, behind an [`Arc`].
#[derive(Debug)]
pub struct Hub {
    store: Arc<dyn Store>,
    encode: Arc<dyn Encode>,
    clock: Arc<dyn Clock>,
    appender: Appender,
    budget: Arc<Budget>,
    nodes: Nodes,
    registry: Arc<Registry>,
    snapshots: Arc<Snapshots>,
    clients: Arc<Clients>,
    retention: Retention,
    /// Logs by tenant. Held for one look or one insertion, never over an await: opening a log may wait for the store's writer, and
    /// other tenants do not.
    logs: Mutex<HashMap<TenantId, Arc<Log>>>,
    /// Replaced as a whole when keys change; the lock is held to copy the handle.
    keyring: RwLock<Arc<Keyring>>,
    draining: watch::Sender<Option<(ClosingReason, Option<Duration>)>>,
}

impl Hub {
    /// A hub over a store, and its committer, which the caller runs as a task of its own. Makes the first resume token key where
    /// there is none.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn open(
        store: Arc<dyn Store>,
        encode: Arc<dyn Encode>,
        clock: Arc<dyn Clock>,
        window_bytes: usize,
        nodes: Nodes,
        retention: Retention,
    ) -> Result<(Arc<Hub>, Committer), store::Error> {
        let keyring = load_keyring(&*store, clock.now()).await?;
        let clients = Clients::new(store.newest_incarnation().await?);
        let (appender, committer) = Committer::new(store.clone(), encode.clone(), clock.clone(), nodes);
        let snapshots = Snapshots::new(encode.clone(), clock.clone(), limits::SNAPSHOTS_BYTES_MAX);
        let hub = Hub {
            store,
            encode,
            clock,
            appender,
            budget: Budget::new(window_bytes),
            snapshots,
            nodes,
            registry: Registry::new(nodes),
            clients,
            retention,
            logs: Mutex::default(),
            keyring: RwLock::new(Arc::new(keyring)),
            draining: watch::Sender::new(None),
        };
        Ok((Arc::new(hub), committer))
    }

    /// The tenant's log, made if it is new.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn log(&self, tenant: &TenantId) -> Result<Arc<Log>, store::Error> {
        if let Some(log) = self.logs().get(tenant) {
            return Ok(log.clone());
        }
        let log = loop {
            let row = self.store.open_log(tenant).await?;
            let (store, encode) = (self.store.clone(), self.encode.clone());
            let log = Arc::new(Log::new(row, store, encode, self.budget.clone(), self.retention));
            match self.recover(&log).await {
                Ok(()) => break log,
                // Another process trimmed it in between.
                Err(store::Error::Trimmed(_)) => {}
                Err(error) => return Err(error),
            }
        };
        // Who came first meanwhile has a log that others hold already: there is never a second one.
        Ok(self.logs().entry(tenant.clone()).or_insert(log).clone())
    }

    /// Finds the items that were open when the last process ended: their texts ended with it, and nobody shall wait for more of them in
    /// silence. It looks as far back as one open turn may reach; an older item that is still open is not told of.
    async fn recover(&self, log: &Log) -> Result<(), store::Error> {
        // Session events too: an item goes where its session goes.
        let items = Families::from_iter([Family::Message, Family::Reasoning, Family::Tool, Family::Session]);
        let interest = Interest {
            families: items,
            ..Interest::new(Selector::All, Detail::Content)
        };
        let Ok(interests) = Interests::new(vec![interest]) else {
            return Ok(());
        };
        let row = log.row();
        let read = Read {
            log: row,
            interests: &interests,
            from: row.oldest,
            until: row.tail,
            events_max: limits::RECOVER_EVENTS_MAX,
            bytes_max: limits::RECOVER_BYTES_MAX,
            scan_max: limits::RECOVER_EVENTS_MAX,
        };
        let mut newest = self.store.read_back(read).await?.events;
        newest.reverse();
        log.recover(&newest, |event| self.encode.item_id(&event.bytes));
        Ok(())
    }

    /// All logs that were opened.
    #[must_use]
    pub fn opened(&self) -> Vec<Arc<Log>> {
        self.logs().values().cloned().collect()
    }

    /// Bytes of the newest events in memory, of all logs.
    #[must_use]
    pub fn window_bytes(&self) -> usize {
        self.budget.used_bytes()
    }

    /// The logs that somebody subscribes to.
    #[must_use]
    pub fn followed(&self) -> Vec<Arc<Log>> {
        let logs = self.logs();
        logs.values().filter(|log| log.subscribers() > 0).cloned().collect()
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Log>>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way in.
    #[must_use]
    pub const fn appender(&self) -> &Appender {
        &self.appender
    }

    /// Whether other nodes open the same logs.
    #[must_use]
    pub const fn nodes(&self) -> Nodes {
        self.nodes
    }

    /// How much of each log is kept.
    #[must_use]
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Where logs last.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The snapshots that all streams share.
    #[must_use]
    pub const fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    /// The resume token keys as they are now.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the resume token keys anew. To be called often: a new key must be known before it mints.
    ///
    /// # Errors
    /// When the store cannot be used; the keys stay as they were.
    pub async fn reload_keys(&self) -> Result<(), store::Error> {
        let keyring = load_keyring(&*self.store, self.clock.now()).await?;
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
        Ok(())
    }

    /// The open streams.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Learns which clients have a newer stream at another node, and ends the older ones here. To be called as often as tails are
    /// compared; a hub alone knows without asking.
    ///
    /// # Errors
    /// When the store cannot be used; the next call learns it.
    pub async fn compare_clients(&self) -> Result<(), store::Error> {
        match self.nodes {
            Nodes::One => Ok(()),
            Nodes::Several => self.clients.compare(&*self.store).await,
        }
    }

    /// Looks at what other nodes stored, so that a reader who has heard of it there finds it here. A hub alone knows without looking, and
    /// where the store does not answer in time what is known has to do.
    pub async fn look(&self, log: &Arc<Log>) {
        if self.nodes == Nodes::One {
            return;
        }
        tokio::select! {
            // A hub that stops says so in other ways.
            _ = self.appender.look(log.clone()) => {}
            () = self.clock.sleep(limits::LOOK_MAX) => {}
        }
    }

    /// Opens a stream out of a log, and ends the earlier ones of the caller's client. A stream that is refused ends none.
    ///
    /// # Errors
    /// See [`Subscription::open`].
    pub async fn subscribe(
        &self,
        log: Arc<Log>,
        caller: Caller,
        request: subscription::Request,
    ) -> Result<Subscription, subscription::Error> {
        self.look(&log).await;
        let Caller {
            principal,
            client,
            credential,
        } = caller;
        let client = client.map(|id| ClientKey {
            log: log.row().key,
            principal: principal.clone(),
            id,
        });
        let around = Surroundings {
            registered: self.registry.enter(log.row().tenant.clone(), principal),
            log,
            clock: self.clock.clone(),
            snapshots: self.snapshots.clone(),
            keyring: self.keyring(),
            draining: self.draining.subscribe(),
            credential,
        };
        let mailbox = around.registered.mailbox().clone();
        let mut subscription = Subscription::open(around, request).await?;
        if let Some(client) = client {
            subscription.hold(self.clients.take(&*self.store, client, mailbox).await?);
        }
        Ok(subscription)
    }

    /// Ends all streams politely, with the longest advice when to come back.
    pub fn drain(&self) {
        let longest = Some(limits::DRAIN_RETRY_MAX);
        self.draining.send_replace(Some((ClosingReason::Draining, longest)));
    }

    /// Tells when the hub drains.
    #[must_use]
    pub fn draining(&self) -> Closing {
        self.draining.subscribe()
    }
}

/// The stored keys, and a first one where there is none that can mint.
async fn load_keyring(store: &dyn Store, now: Time) -> Result<Keyring, store::Error> {
    let mut keys = store.resume_keys().await?;
    if let Some(keyring) = Keyring::new(&keys, now) {
        return Ok(keyring);
    }
    match new_key(store, &keys, now).await {
        Ok(key) => keys.push(key),
        // Another node that starts now was first with this number: its key is everybody's.
        Err(store::Error::Constraint(_)) => keys = store.resume_keys().await?,
        Err(error) => return Err(error),
    }
    Keyring::new(&keys, now).ok_or_else(|| store::Error::Corrupt("no resume token key can mint".into()))
}

async fn new_key(store: &dyn Store, keys: &[ResumeKey], mints_from: Time) -> Result<ResumeKey, store::Error> {
    if keys.len() >= limits::RESUME_KEYS_MAX {
        return Err(store::Error::Constraint(
            "there are as many resume token keys as may be kept".into(),
        ));
    }
    let id = keys
        .iter()
        .map(|key| key.id.0)
        .max()
        .map_or(Some(1), |id| id.checked_add(1));
    let id = KeyId(id.ok_or_else(|| store::Error::Constraint("resume token key numbers are used up".into()))?);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| store::Error::Unavailable(error.to_string().into()))?;
    let key = ResumeKey {
        id,
        secret: Some(secret),
        mints_from,
    };
    store.add_resume_key(&key).await?;
    Ok(key)
}

/// Gives every log another identity: what a store needs that was set back to an earlier state. From then on every older resume token is
/// answered with a reset, and no fence that was given out in the lost history is given out again. No hub may run on the store.
///
/// # Errors
/// When the store cannot be used. Calling it again does what is left, and what was done once more.
pub async fn renew_epochs(store: &dyn Store) -> Result<Vec<LogRow>, store::Error> {
    for log in store.logs().await? {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| store::Error::Unavailable(error.to_string().into()))?;
        // Zero is what a field says that nobody filled in.
        let epoch = Epoch(u64::from_be_bytes(random).max(1));
        store
            .renew_epoch(log.key, epoch, log.fence.saturating_add(limits::FENCE_LEAP))
            .await?;
    }
    store.logs().await
}

/// Adds a resume token key that begins to mint after [`limits::RESUME_KEY_DELAY`], when every node knows it. Older ones go on verifying.
///
/// # Errors
/// When the store cannot be used, or there are [`limits::RESUME_KEYS_MAX`] keys.
pub async fn rotate_resume_keys(store: &dyn Store, clock: &dyn Clock) -> Result<KeyId, store::Error> {
    let keys = store.resume_keys().await?;
    let now = clock.now();
    let from = if keys.is_empty() {
        now
    } else {
        now.plus(limits::RESUME_KEY_DELAY)
    };
    Ok(new_key(store, &keys, from).await?.id)
}
