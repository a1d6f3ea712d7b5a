//! A whole hub's core on a store in memory and a clock that stands still: appender, log, subscriptions.
//!
//! Believe this: the runtime of a test has one thread, so what is queued without waiting in between is one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::appender::committer::Committer;
use crate::appender::{Append, Appender, Claim, Condition, DeltaDraft, Error, Grant, Outcome, Pending, Wish};
use crate::clock::{Clock as _, Manual};
use crate::event::{Draft, Encode, ItemKey, ItemStep, SessionRef};
use crate::interest::Interests;
use crate::lease::{self, Ended};
use crate::limits;
use crate::log::Log;
use crate::offset::{Index, Offset, Time};
use crate::resume_token::{KeyId, Keyring, ResumeKey};
use crate::retention::Retention;
use crate::store::around::Surrounded;
use crate::store::memory::Memory;
use crate::store::suite::PlainEncode;
use crate::store::{LogRow, Store, Stored};
use crate::subscription::frame::{ClosingReason, Frame, Sent, SnapshotEntry};
use crate::subscription::registry::{Nodes, Registry};
use crate::subscription::snapshots::Snapshots;
use crate::subscription::standing::Standing;
use crate::subscription::start::{OnGap, Start};
use crate::subscription::{self, Request, Subscription, Surroundings};
use crate::testing::kept::Kept;
use crate::testing::telling::Telling;
use crate::testing::watch::Watch;
use crate::testing::{draft, principal, session, tenant, within, writer};
use crate::window::Budget;
use crate::window::deltas::Channel;

type End = watch::Sender<Option<(ClosingReason, Option<Duration>)>>;

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

pub(crate) struct Rig {
    pub(crate) memory: Arc<Memory>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) clock: Arc<Manual>,
    pub(crate) appender: Appender,
    pub(crate) log: Arc<Log>,
    pub(crate) snapshots: Arc<Snapshots>,
    kept: Arc<Kept>,
    nodes: Nodes,
    pub(crate) retention: Retention,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) draining: End,
    pub(crate) credential: watch::Sender<Standing>,
    pub(crate) committer: JoinSet<()>,
}

impl Rig {
    /// With room for everything in the window.
    pub(crate) async fn new() -> Rig {
        Rig::with_window(1 << 30).await
    }

    pub(crate) async fn with_window(bytes: usize) -> Rig {
        let plain = Arc::new(PlainEncode);
        Rig::over(
            Memory::new(plain.clone()),
            plain,
            bytes,
            Retention::default(),
            Nodes::One,
        )
        .await
    }

    /// Another process over the same store.
    pub(crate) async fn beside(first: &Rig) -> Rig {
        let plain = Arc::new(PlainEncode);
        Rig::over(
            first.memory.clone(),
            plain,
            1 << 30,
            Retention::default(),
            Nodes::Several,
        )
        .await
    }

    /// With events that tell their time, of which so many are kept; and what such events must be named to.
    pub(crate) async fn keeping(retention: Retention) -> (Rig, Arc<Telling>) {
        let telling = Arc::new(Telling::default());
        let memory = Memory::new(telling.clone());
        let nodes = Nodes::One;
        (
            Rig::over(memory, telling.clone(), 1 << 30, retention, nodes).await,
            telling,
        )
    }

    /// The same log with another window, as another process has it.
    pub(crate) async fn again(&self, telling: &Arc<Telling>, window_bytes: usize) -> Rig {
        let mut rig = Rig::over(
            self.memory.clone(),
            telling.clone(),
            window_bytes,
            self.retention,
            Nodes::One,
        )
        .await;
        rig.clock = self.clock.clone();
        rig
    }

    async fn over(
        memory: Arc<Memory>,
        encode: Arc<dyn Encode>,
        bytes: usize,
        retention: Retention,
        nodes: Nodes,
    ) -> Rig {
        let watch = Arc::new(Watch::default());
        let store: Arc<dyn Store> = Arc::new(Surrounded::new(memory.clone(), watch.clone()));
        let clock = Manual::starting_at(Time(1_000_000));
        let (appender, committer) = Committer::new(store.clone(), encode.clone(), clock.clone(), nodes);
        let mut tasks = JoinSet::new();
        tasks.spawn(committer.run());
        let row = store.open_log(&tenant("t")).await.unwrap();
        let key = ResumeKey {
            id: KeyId(1),
            secret: Some([7; 32]),
            mints_from: Time(0),
        };
        let kept = Arc::new(Kept::default());
        Rig {
            snapshots: Snapshots::new(kept.clone(), clock.clone(), 1 << 30),
            kept,
            nodes,
            log: Arc::new(Log::new(row, store, encode, Budget::new(bytes), retention)),
            retention,
            memory,
            watch,
            clock,
            appender,
            keyring: Arc::new(Keyring::new(&[key], Time(0)).unwrap()),
            registry: Registry::new(Nodes::One),
            draining: watch::Sender::new(None),
            credential: watch::Sender::new(Standing::Good),
            committer: tasks,
        }
    }

    /// The log's row as the store has it now.
    pub(crate) async fn row(&self) -> LogRow {
        self.memory.open_log(&tenant("t")).await.unwrap()
    }

    pub(crate) fn commits(&self) -> u64 {
        self.watch.commits.load(Ordering::Relaxed)
    }

    /// Queues a call.
    pub(crate) async fn queue(&self, claim: Option<&Claim>, appends: Vec<Append>) -> Pending<Vec<Outcome>> {
        let call = self.appender.append(self.log.clone(), claim.cloned(), appends);
        within(call).await.unwrap()
    }

    /// Appends and waits for the answer.
    pub(crate) async fn append(&self, claim: Option<&Claim>, appends: Vec<Append>) -> Result<Vec<Outcome>, Error> {
        let pending = self.queue(claim, appends).await;
        within(pending).await.unwrap()
    }

    /// Stores drafts of nobody's in one commit, and tells where.
    pub(crate) async fn store<const N: usize>(&self, drafts: [Draft; N]) -> [Stored; N] {
        let outcomes = self.append(None, drafts.map(append).into()).await.unwrap();
        let places: Vec<_> = outcomes.iter().map(stored).collect();
        places.try_into().unwrap()
    }

    /// Stores so many plain messages of a session in one commit.
    pub(crate) async fn store_many(&self, count: usize, id: &str) {
        let appends = (0..count).map(|_| append(draft(id))).collect();
        let outcomes = self.append(None, appends).await.unwrap();
        outcomes
            .iter()
            .for_each(|outcome| assert!(stored(outcome).index > Some(Index(0))));
    }

    /// Opens a writer.
    pub(crate) async fn open(&self, id: &str) -> Claim {
        let opening = self.appender.open_writer(self.log.clone(), writer(id), Wish::default());
        let grant = within(opening).await.unwrap();
        Claim {
            writer: writer(id),
            fence: grant.fence,
        }
    }

    /// Renews a writer, which holds these sessions and no others then.
    pub(crate) async fn renew(&self, claim: &Claim, wish: Wish) -> Result<Grant, Error> {
        within(self.appender.renew_writer(self.log.clone(), claim.clone(), wish)).await
    }

    /// Lets so much time go by as it does in a process that looks at leases: the writers whose leases ended meanwhile.
    pub(crate) async fn pass(&self, time: Duration) -> Vec<Ended> {
        let until = self.clock.elapsed() + time;
        let mut all = Vec::new();
        while self.clock.elapsed() < until {
            let left = until.saturating_sub(self.clock.elapsed());
            self.clock.advance(limits::LEASE_TICK.min(left));
            all.extend(self.look().await);
        }
        all
    }

    /// One look at leases.
    pub(crate) async fn look(&self) -> Vec<Ended> {
        let look = lease::look(&self.log, &self.appender, &*self.clock, self.nodes);
        within(look).await.unwrap()
    }

    /// Queues one fragment of a message and waits until it went through the committer.
    pub(crate) async fn delta(&self, id: &str, item: &str, at: u64, text: &'static str) {
        let delta = delta(id, item, at, text);
        within(self.appender.deltas(self.log.clone(), None, vec![delta]))
            .await
            .unwrap();
        self.settle().await;
    }

    /// Waits until everything that was queued before is done.
    pub(crate) async fn settle(&self) {
        self.append(None, Vec::new()).await.unwrap();
    }

    /// Trims until nothing more is to be trimmed. Tells where the log begins then.
    pub(crate) async fn trim(&self) -> Offset {
        loop {
            let piece = self.appender.trim(self.log.clone(), self.retention);
            let piece = within(piece).await.unwrap();
            if !piece.more {
                return piece.oldest;
            }
        }
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            log: self.log.clone(),
            clock: self.clock.clone(),
            snapshots: self.snapshots.clone(),
            keyring: self.keyring.clone(),
            draining: self.draining.subscribe(),
            credential: self.credential.subscribe(),
            registered: self.registry.enter(tenant("t"), principal("ada")),
        }
    }

    pub(crate) async fn subscribe(&self, request: Request) -> Subscription {
        self.try_subscribe(request).await.unwrap()
    }

    pub(crate) async fn try_subscribe(&self, request: Request) -> Result<Subscription, subscription::Error> {
        within(Subscription::open(self.surroundings(), request)).await
    }

    /// Lets snapshots hold so many bytes together.
    pub(crate) fn bound_snapshots(&mut self, bytes: usize) {
        self.snapshots = Snapshots::new(self.kept.clone(), self.clock.clone(), bytes);
    }

    /// What is on a page.
    pub(crate) fn page(&self, sent: &Sent) -> Vec<SnapshotEntry> {
        self.kept.page(&sent.frame)
    }

    /// The resume token of a frame.
    pub(crate) fn token(&self, sent: &Sent) -> String {
        self.keyring.mint(&tenant("t"), &sent.place)
    }
}

pub(crate) fn request(start: Start, interests: &Interests) -> Request {
    Request {
        start,
        interests: interests.clone(),
        unsynced: Vec::new(),
        on_gap: OnGap::default(),
        include_raw: false,
        stop_when_closed: false,
        linger: Duration::ZERO,
        heartbeat: HEARTBEAT,
        frame_bytes: 1 << 20,
        replay_events: 1000,
        max_age: None,
    }
}

/// An append of nobody's.
pub(crate) fn append(draft: Draft) -> Append {
    seq(0, draft)
}

/// A writer's append of this number.
pub(crate) fn seq(seq: u64, draft: Draft) -> Append {
    Append {
        seq,
        condition: Condition::Always,
        draft: Ok(Box::new(draft)),
    }
}

/// Where it was stored.
pub(crate) fn stored(outcome: &Outcome) -> Stored {
    let Outcome::Stored { stored, .. } = outcome else {
        panic!("it was not stored: {outcome:?}")
    };
    *stored
}

/// An event that starts or completes an item.
pub(crate) fn item_draft(id: &str, item: &str, step: ItemStep) -> Draft {
    Draft {
        item: Some(ItemKey::of(item)),
        item_step: Some(step),
        ..draft(id)
    }
}

pub(crate) fn delta(id: &str, item: &str, at: u64, text: &'static str) -> DeltaDraft {
    DeltaDraft {
        session: SessionRef::Id(session(id)),
        item: ItemKey::of(item),
        item_id: item.into(),
        channel: Channel::Message,
        at,
        text: text.into(),
        body: format!("{item}@{at}:{text}").into(),
    }
}

/// The next frame, which must come without anything else happening.
pub(crate) async fn next(subscription: &mut Subscription) -> Sent {
    within(subscription.next()).await.expect("there is one more").unwrap()
}

/// Fails unless the stream has nothing to say now.
pub(crate) async fn assert_silent(subscription: &mut Subscription) {
    let mut next = Box::pin(subscription.next());
    for _ in 0..5 {
        let poll = futures_util::poll!(&mut next);
        assert!(poll.is_pending(), "nothing was to be said, but it says {poll:?}");
        tokio::task::yield_now().await;
    }
}

/// All frames until the stream has caught up, that frame included.
pub(crate) async fn until_caught_up(subscription: &mut Subscription) -> Vec<Sent> {
    let mut frames = Vec::new();
    loop {
        frames.push(next(subscription).await);
        if matches!(frames.last().unwrap().frame, Frame::CaughtUp(_)) {
            return frames;
        }
    }
}

/// The offsets of all events in these frames.
pub(crate) fn offsets<'a>(frames: impl IntoIterator<Item = &'a Sent>) -> Vec<u64> {
    let mut offsets = Vec::new();
    for sent in frames {
        if let Frame::Events { batch, .. } = &sent.frame {
            offsets.extend(batch.events.iter().map(|event| event.offset.0));
        }
    }
    offsets
}
