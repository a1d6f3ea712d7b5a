//! Every interleaving of two writers that want one session, at two nodes, up to so many acts of each kind.
//!
//! Believe this: committers, logs, leases and the look at them are the real ones, over one store. A writer may append under any fence
//! that it ever had, with a seq that always fits: what keeps a stale one out is its fence alone. Who is thought to live is reckoned here
//! from scratch, from what was sent and when.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};

use crate::appender::committer::Committer;
use crate::appender::{Appender, Claim, Error, Outcome, Wish};
use crate::clock::{Clock as _, Manual};
use crate::event::SessionRef;
use crate::hold::{Hold, Take};
use crate::id::WriterId;
use crate::lease::{self, Sign};
use crate::limits::LEASE_DURATION;
use crate::log::Log;
use crate::offset::Time;
use crate::retention::Retention;
use crate::store::around::Surrounded;
use crate::store::memory::Memory;
use crate::store::suite::PlainEncode;
use crate::store::{self, Store};
use crate::subscription::registry::Nodes;
use crate::testing::explorer::Explorer;
use crate::testing::rig::seq;
use crate::testing::watch::Watch;
use crate::testing::{draft, session, tenant, writer};
use crate::window::Budget;

/// How long time goes by at once: a third of a lease, as long as a row may tell nothing.
const PASS: Duration = Duration::from_secs(10);

const WRITERS: [&str; 2] = ["a", "b"];

/// How often each thing may happen in one run.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    opens: u32,
    renews: u32,
    appends: u32,
    hears: u32,
    passes: u32,
    unknowns: u32,
}

/// What a writer says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Nothing,
    Holds,
    Takes,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Open {
        who: usize,
        node: usize,
        says: Says,
    },
    Renew {
        who: usize,
        node: usize,
        says: Says,
    },
    /// Under its claim of this number.
    Append {
        who: usize,
        node: usize,
        claim: usize,
    },
    /// A frame on the stream that it has open at its node.
    Hear {
        who: usize,
    },
    /// Time goes by, and both nodes look at leases, this one first.
    Pass {
        first: usize,
    },
    /// The next commit is of unknown outcome.
    Unknown {
        happens: bool,
    },
}

struct Node {
    log: Arc<Log>,
    appender: Appender,
    clock: Arc<Manual>,
    committer: Pin<Box<dyn Future<Output = ()>>>,
    /// What the store held when it last committed here: what it may keep of it.
    kept: String,
}

struct Writer {
    id: WriterId,
    /// All that it ever was granted, the newest last.
    claims: Vec<Claim>,
    /// Where it last opened, renewed or appended.
    home: usize,
    heard: Option<Duration>,
}

struct World {
    memory: Arc<Memory>,
    watch: Arc<Watch>,
    nodes: [Node; 2],
    writers: [Writer; 2],
    allowed: Allowed,
    /// Whether a fault waits for a commit, and how many there were when it was set.
    unknown: Option<(bool, u64)>,
    /// The greatest fence under which the session was ever held.
    fence: u64,
    stored: u64,
}

impl Node {
    fn over(memory: &Arc<Memory>, watch: &Arc<Watch>) -> Node {
        let encode = Arc::new(PlainEncode);
        let clock = Manual::starting_at(Time(0));
        let store: Arc<dyn Store> = Arc::new(Surrounded::new(memory.clone(), watch.clone()));
        let (appender, committer) = Committer::new(store.clone(), encode.clone(), clock.clone(), Nodes::Several);
        let row = now(memory.open_log(&tenant("t"))).unwrap();
        let log = Log::new(row, store, encode, Budget::new(1 << 20), Retention::default());
        Node {
            log: Arc::new(log),
            appender,
            clock,
            committer: Box::pin(committer.run()),
            kept: String::new(),
        }
    }

    /// Waits for a call, while the committer works.
    fn drive<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        for _ in 0..1000 {
            match select(&mut call, &mut self.committer).now_or_never() {
                Some(Either::Left((answer, _))) => return answer,
                Some(Either::Right(_)) => panic!("the committer ended"),
                None => {}
            }
        }
        panic!("a call hangs")
    }
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the store in memory answers at once")
}

fn wish(says: Says) -> Wish {
    let sessions = match says {
        Says::Nothing => Vec::new(),
        Says::Holds | Says::Takes => vec![SessionRef::Id(session("s"))],
    };
    let take = if says == Says::Takes { Take::Over } else { Take::Free };
    Wish {
        sessions,
        take,
        ..Wish::default()
    }
}

impl World {
    fn new(allowed: Allowed) -> World {
        let memory = Memory::new(Arc::new(PlainEncode));
        let watch = Arc::new(Watch::default());
        let nodes = [(); 2].map(|()| Node::over(&memory, &watch));
        World {
            memory,
            watch,
            nodes,
            writers: WRITERS.map(|id| Writer {
                id: writer(id),
                claims: Vec::new(),
                home: 0,
                heard: None,
            }),
            allowed,
            unknown: None,
            fence: 0,
            stored: 0,
        }
    }

    fn time(&self) -> Duration {
        self.nodes[0].clock.elapsed()
    }

    fn key(&self) -> crate::offset::LogKey {
        self.nodes[0].log.row().key
    }

    fn session(&self) -> (Hold, u64) {
        let found = now(self.memory.session(self.key(), &session("s"))).unwrap();
        found.map_or_else(|| (Hold::default(), 0), |row| (row.hold, row.next_index.0))
    }

    fn signs(&self) -> Vec<Sign> {
        let mut transaction = now(self.memory.begin()).unwrap();
        now(transaction.lock(self.key())).unwrap();
        let ids: Vec<WriterId> = self.writers.iter().map(|writer| writer.id.clone()).collect();
        now(transaction.signs(self.key(), &ids)).unwrap()
    }

    fn choices(&self) -> Vec<Act> {
        let allowed = self.allowed;
        let mut acts = Vec::new();
        for who in 0..WRITERS.len() {
            let newest = self.writers[who].claims.len();
            for node in 0..self.nodes.len() {
                for says in [Says::Nothing, Says::Holds, Says::Takes] {
                    acts.extend((allowed.opens > 0).then_some(Act::Open { who, node, says }));
                    acts.extend((allowed.renews > 0 && newest > 0).then_some(Act::Renew { who, node, says }));
                }
                let claims = (0..newest).filter(|_| allowed.appends > 0);
                acts.extend(claims.map(|claim| Act::Append { who, node, claim }));
            }
            acts.extend((allowed.hears > 0 && newest > 0).then_some(Act::Hear { who }));
        }
        if allowed.passes > 0 {
            acts.extend((0..self.nodes.len()).map(|first| Act::Pass { first }));
        }
        if allowed.unknowns > 0 && self.unknown.is_none() {
            acts.extend([true, false].map(|happens| Act::Unknown { happens }));
        }
        acts
    }

    /// All that decides what can come. Fences are told by their order alone.
    fn tell(&self) -> String {
        let signs = self.signs();
        let (hold, _) = self.session();
        let time = self.time();
        let mut fences: Vec<u64> = signs.iter().map(|sign| sign.fence).chain([hold.fence]).collect();
        fences.extend(
            self.writers
                .iter()
                .flat_map(|writer| writer.claims.iter().map(|claim| claim.fence)),
        );
        fences.sort_unstable();
        fences.dedup();
        let rank = |fence: u64| fences.partition_point(|other| *other < fence);
        let writers = self.writers.iter().map(|writer| {
            let claims: Vec<_> = writer.claims.iter().map(|claim| rank(claim.fence)).collect();
            let heard = writer.heard.map(|heard| (time - heard).min(LEASE_DURATION));
            (claims, writer.home, heard)
        });
        let writers: Vec<_> = writers.collect();
        let rows: Vec<_> = signs.iter().map(|sign| (&sign.writer, rank(sign.fence))).collect();
        let row = now(self.memory.open_log(&tenant("t"))).unwrap();
        let truth = self.truth();
        let nodes = self.nodes.iter().map(|node| {
            let leases = node.log.leases().tell(node.clock.elapsed(), &signs);
            (
                leases,
                node.kept == truth,
                (node.kept != truth).then(|| node.kept.clone()),
                row.tail.0 > 0,
            )
        });
        let nodes: Vec<_> = nodes.collect();
        let held = (&hold.owner, rank(hold.fence), rank(self.fence));
        format!(
            "{held:?} {writers:?} {rows:?} {nodes:?} {:?} {:?}",
            self.unknown.is_some(),
            self.allowed
        )
    }

    /// All that a node may keep of the store.
    fn truth(&self) -> String {
        let row = now(self.memory.open_log(&tenant("t"))).unwrap();
        let rows: Vec<_> = self
            .signs()
            .into_iter()
            .map(|sign| (sign.fence, sign.last_seq))
            .collect();
        format!("{} {} {:?} {rows:?}", row.tail, row.fence, self.session())
    }

    fn act(&mut self, act: Act) {
        let before = self.session();
        let newest: HashMap<WriterId, u64> = self.signs().into_iter().map(|sign| (sign.writer, sign.fence)).collect();
        let then = self.time()
            + if matches!(act, Act::Pass { .. }) {
                PASS
            } else {
                Duration::ZERO
            };
        let lived = before.0.owner.clone().filter(|owner| self.lives(owner, then));
        let answer = self.perform(act);
        if self
            .unknown
            .is_some_and(|(_, commits)| self.watch.commits.load(Ordering::Relaxed) > commits)
        {
            self.unknown = None;
        }
        let after = self.session();
        self.check(act, &before, &after, lived.as_ref(), &newest, answer.as_ref());
        self.fence = self.fence.max(after.0.fence);
    }

    fn lives(&self, id: &WriterId, then: Duration) -> bool {
        let writer = self.writers.iter().find(|writer| writer.id == *id);
        let heard = writer.and_then(|writer| writer.heard);
        heard.is_some_and(|heard| then - heard < LEASE_DURATION)
    }

    fn perform(&mut self, act: Act) -> Option<Result<Outcome, Error>> {
        match act {
            Act::Open { who, node, says } => {
                self.allowed.opens -= 1;
                let (id, at) = (self.writers[who].id.clone(), &mut self.nodes[node]);
                let opening = at.appender.clone();
                let opened = at.drive(opening.open_writer(at.log.clone(), id.clone(), wish(says)));
                if let Ok(grant) = opened {
                    self.writers[who].claims.push(Claim {
                        writer: id,
                        fence: grant.fence,
                    });
                    self.heard(who, node);
                }
                self.keep(node);
            }
            Act::Renew { who, node, says } => {
                self.allowed.renews -= 1;
                let claim = self.writers[who].claims.last().cloned()?;
                let at = &mut self.nodes[node];
                let renewing = at.appender.clone();
                if at
                    .drive(renewing.renew_writer(at.log.clone(), claim, wish(says)))
                    .is_ok()
                {
                    self.heard(who, node);
                }
                self.keep(node);
            }
            Act::Append { who, node, claim } => {
                self.allowed.appends -= 1;
                let claim = self.writers[who].claims[claim].clone();
                let last = self.signs().into_iter().find(|sign| sign.writer == claim.writer);
                let next = last.map_or(1, |sign| sign.last_seq + 1);
                let at = &mut self.nodes[node];
                let (appender, log) = (at.appender.clone(), at.log.clone());
                let answer = at.drive(async {
                    let pending = appender.append(log, Some(claim), vec![seq(next, draft("s"))]).await?;
                    pending.await.unwrap_or(Err(Error::Stopped))
                });
                if matches!(answer.as_ref().map(|outcomes| &outcomes[0]), Ok(Outcome::Stored { .. })) {
                    self.heard(who, self.writers[who].home);
                }
                self.keep(node);
                return Some(answer.map(|mut outcomes| outcomes.remove(0)));
            }
            Act::Hear { who } => {
                self.allowed.hears -= 1;
                let Writer { claims, home, .. } = &self.writers[who];
                let (claim, node) = (claims.last().cloned()?, &self.nodes[*home]);
                node.log.leases().hear(&claim.writer, claim.fence, node.clock.elapsed());
                let newest = self
                    .signs()
                    .into_iter()
                    .any(|sign| sign.writer == claim.writer && sign.fence == claim.fence);
                // A lease that has ended is not renewed by a frame, whether anybody has looked or not.
                if newest && self.lives(&claim.writer, self.time()) {
                    self.heard(who, self.writers[who].home);
                }
            }
            Act::Pass { first } => {
                self.allowed.passes -= 1;
                self.nodes.iter().for_each(|node| node.clock.advance(PASS));
                for node in [first, 1 - first] {
                    let at = &mut self.nodes[node];
                    let (log, appender, clock) = (at.log.clone(), at.appender.clone(), at.clock.clone());
                    // What fails now is done by the next look.
                    let _ = at.drive(lease::look(&log, &appender, &*clock, Nodes::Several));
                    self.keep(node);
                }
            }
            Act::Unknown { happens } => {
                self.allowed.unknowns -= 1;
                if happens {
                    self.memory.fail_commit_after();
                } else {
                    self.memory.fail_commit_before(store::Error::CommitUnknown);
                }
                self.unknown = Some((happens, self.watch.commits.load(Ordering::Relaxed)));
            }
        }
        None
    }

    fn heard(&mut self, who: usize, home: usize) {
        let time = self.time();
        let writer = &mut self.writers[who];
        (writer.heard, writer.home) = (Some(time), home);
    }

    fn keep(&mut self, node: usize) {
        self.nodes[node].kept = self.truth();
    }

    fn check(
        &mut self,
        act: Act,
        (before, length): &(Hold, u64),
        (after, longer): &(Hold, u64),
        lived: Option<&WriterId>,
        newest: &HashMap<WriterId, u64>,
        answer: Option<&Result<Outcome, Error>>,
    ) {
        assert!(after.fence >= before.fence, "a session's fence goes back");
        if let Act::Append { who, claim, .. } = act
            && longer > length
        {
            let claim = &self.writers[who].claims[claim];
            self.stored += 1;
            assert_eq!(
                newest.get(&claim.writer),
                Some(&claim.fence),
                "a replaced writer stored"
            );
            assert!(
                claim.fence >= self.fence,
                "it was held under fence {} since",
                self.fence
            );
            let held = Hold {
                owner: Some(claim.writer.clone()),
                fence: claim.fence,
            };
            assert_eq!(*after, held, "who stores holds");
            assert!(
                lived.is_none_or(|owner| *owner == claim.writer),
                "another writer holds it and lives"
            );
        }
        if let Some(Ok(Outcome::Stored { .. })) = answer {
            assert!(longer > length, "what is acknowledged is stored");
        }
        if let Some(lived) = lived
            && !after.is_of(lived)
        {
            let may = match act {
                Act::Open { who, says, .. } | Act::Renew { who, says, .. } => {
                    says == Says::Takes || self.writers[who].id == *lived
                }
                Act::Append { .. } | Act::Hear { .. } | Act::Pass { .. } | Act::Unknown { .. } => false,
            };
            assert!(may, "{lived} lives and lost its session by {act:?}");
        }
    }
}

/// Walks all that may happen. Gives how many appends were stored, over all runs.
fn walk(allowed: Allowed, begin: &[Act]) -> u64 {
    let explorer = Rc::new(RefCell::new(Explorer::default()));
    let mut stored = 0;
    loop {
        let mut world = World::new(allowed);
        let mut done = Vec::new();
        for act in begin {
            world.act(*act);
        }
        loop {
            let acts = world.choices();
            if acts.is_empty() {
                break;
            }
            let chosen = explorer.borrow_mut().choose(acts.len(), || world.tell());
            let Some(chosen) = chosen else { break };
            done.push(acts[chosen]);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.act(acts[chosen])));
            if let Err(panic) = result {
                eprintln!("by {begin:?} and then {done:?}");
                std::panic::resume_unwind(panic);
            }
        }
        stored += world.stored;
        if !explorer.borrow_mut().next() {
            let explorer = explorer.borrow();
            eprintln!(
                "{allowed:?}: {} runs, {} states, {stored} stored",
                explorer.runs(),
                explorer.states()
            );
            return stored;
        }
    }
}

const NONE: Allowed = Allowed {
    opens: 0,
    renews: 0,
    appends: 0,
    hears: 0,
    passes: 0,
    unknowns: 0,
};

/// `a` holds the session at node 0; `b` is open at node 1 and holds nothing.
const BEGIN: [Act; 3] = [
    Act::Open {
        who: 0,
        node: 0,
        says: Says::Holds,
    },
    Act::Open {
        who: 1,
        node: 1,
        says: Says::Nothing,
    },
    Act::Append {
        who: 0,
        node: 0,
        claim: 0,
    },
];

fn beginning(allowed: Allowed) -> Allowed {
    Allowed {
        opens: allowed.opens + 2,
        appends: allowed.appends + 1,
        ..allowed
    }
}

#[test]
fn a_stale_writer_never_stores_whoever_takes_over_where() {
    let allowed = Allowed {
        opens: 1,
        renews: 1,
        appends: 2,
        ..NONE
    };
    assert!(walk(beginning(allowed), &BEGIN) > 1000);
}

#[test]
fn a_stale_writer_never_stores_when_leases_end_and_a_living_one_never_loses() {
    let allowed = Allowed {
        appends: 2,
        hears: 2,
        passes: 5,
        ..NONE
    };
    assert!(walk(beginning(allowed), &BEGIN) > 1000);
}

#[test]
fn a_stale_writer_never_stores_when_a_commit_is_of_unknown_outcome() {
    let allowed = Allowed {
        renews: 1,
        appends: 2,
        unknowns: 1,
        ..NONE
    };
    assert!(walk(beginning(allowed), &BEGIN) > 1000);
}
