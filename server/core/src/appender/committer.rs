//! The task that stores.
//!
//! Believe this: it answers nothing that it has not committed, and after a commit of unknown outcome it looks before it does or
//! says anything more. One bad append never fails its neighbours: a commit that breaks a constraint is repeated one by one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::appender::counters::{Counters, Size};
use crate::appender::decide::{Decision, Known, Rows};
use crate::appender::kept;
use crate::appender::outcome::{Found, Trace, Verdict};
use crate::appender::task::{Done, Task, answers, came, decide, hear, job_log, living, logs, tasks, wanted, weight};
use crate::appender::{Appender, Claim, Error, Job, Queued, Refusal, Rejection};
use crate::clock::Clock;
use crate::event::{Encode, Event};
use crate::limits;
use crate::log::Log;
use crate::offset::LogKey;
use crate::store::{self, LogRow, Store, WriterRow};
use crate::subscription::registry::Nodes;

/// How long a commit of unknown outcome is looked after before its callers are told that nobody knows.
const UNKNOWN_LOOKS: u32 = 8;
const UNKNOWN_WAIT: Duration = Duration::from_millis(50);

/// The committer. It lives as one task, and ends when the last [`Appender`] is gone.
#[derive(Debug)]
pub struct Committer {
    pub(super) store: Arc<dyn Store>,
    pub(super) encode: Arc<dyn Encode>,
    pub(super) clock: Arc<dyn Clock>,
    jobs: mpsc::Receiver<Queued>,
    /// Folded rows of each log, true for the tail that is kept with them and for no other.
    pub(super) cache: HashMap<LogKey, Cached>,
    pub(super) nodes: Nodes,
    /// Shared with every [`Appender`].
    counters: Arc<Counters>,
}

#[derive(Debug)]
pub(super) struct Cached {
    pub(super) row: LogRow,
    pub(super) rows: Rows,
}

/// What one commit did to one log.
struct Committed {
    log: Arc<Log>,
    /// The log's row before it.
    before: LogRow,
    /// And after it.
    row: LogRow,
    events: Vec<Event>,
    changed: Rows,
    /// The writers that hold sessions because of it, or came to this node and may.
    holders: Vec<WriterRow>,
    /// The writers that renewed, or opened a stream.
    came: Vec<Claim>,
}

impl Committer {
    /// A committer that is yet to run, and the way to it.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        encode: Arc<dyn Encode>,
        clock: Arc<dyn Clock>,
        nodes: Nodes,
    ) -> (Appender, Committer) {
        let (appender, jobs) = Appender::channel();
        let counters = appender.counters.clone();
        (
            appender,
            Committer {
                store,
                encode,
                clock,
                jobs,
                cache: HashMap::new(),
                nodes,
                counters,
            },
        )
    }

    /// Stores until the last handle is gone and the queue is empty.
    pub async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let mut batch = vec![first];
            let mut appends = weight(&batch[0].0);
            while appends < limits::COMMIT_EVENTS_MAX
                && let Ok(job) = self.jobs.try_recv()
            {
                appends += weight(&job.0);
                batch.push(job);
            }
            let (jobs, permits): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            self.process(jobs).await;
            kept::bound(self.cache.values_mut().map(|cached| &mut cached.rows));
            drop(permits);
        }
        debug!("the committer ended");
    }

    async fn process(&mut self, mut jobs: Vec<Job>) {
        let tasks: Vec<Task> = jobs.iter().enumerate().flat_map(|(at, job)| tasks(at, job)).collect();
        let mut done = Vec::with_capacity(tasks.len());
        if !tasks.is_empty() {
            match self.commit(&jobs, &tasks).await {
                Err(store::Error::Constraint(reason)) => {
                    warn!(%reason, tasks = tasks.len(), "a commit broke a constraint; storing one by one");
                    for task in &tasks {
                        done.extend(self.commit_alone(&mut jobs, *task).await);
                    }
                }
                result => done.extend(answers(result, &jobs, &tasks)),
            }
        }
        self.counters.became(&done);
        let mut done = done.into_iter();
        let (mut looked, mut compared) = (HashSet::new(), HashSet::new());
        for job in jobs {
            match job {
                Job::Append { appends, reply, .. } => {
                    let outcomes = done.by_ref().take(appends.len()).map(|done| match done {
                        Done::Append(outcome) => outcome,
                        Done::Writer(_) | Done::Ended(_) => Err(Error::Unavailable),
                    });
                    // The caller may have gone away; what it appended is stored all the same.
                    let _ = reply.send(outcomes.collect());
                }
                Job::Open { reply, .. } | Job::Renew { reply, .. } => {
                    if let Some(Done::Writer(grant)) = done.next() {
                        let _ = reply.send(grant);
                    }
                }
                Job::End { reply, .. } => {
                    if let Some(Done::Ended(ended)) = done.next() {
                        let _ = reply.send(ended);
                    }
                }
                Job::Deltas { log, claim, deltas } => {
                    if looked.insert(log.row().key) {
                        self.look_for_deltas(&log, claim.as_ref(), &deltas).await;
                    }
                    self.pass_on(&log, claim.as_ref(), deltas);
                }
                Job::Compare { log, looked } => {
                    // All that asked were queued before this began: one look serves them.
                    if compared.insert(log.row().key) {
                        self.compare(&log).await;
                    }
                    // Whoever asked may have gone away.
                    let _ = looked.map(|looked| looked.send(()));
                }
                Job::Trim { log, retention, reply } => {
                    // Whoever asked may have gone away; what was trimmed is gone all the same.
                    let _ = reply.send(self.trim(&log, &retention).await);
                }
            }
        }
    }

    /// One task in a transaction of its own. An append that the store refuses is rejected, and consumes its seq as every rejected one
    /// does, so that what its writer sent after it still follows.
    async fn commit_alone(&mut self, jobs: &mut [Job], task: Task) -> Vec<Done> {
        let tasks = std::slice::from_ref(&task);
        let mut alone = self.commit(jobs, tasks).await;
        if let (Err(store::Error::Constraint(reason)), Task::Append { job, append }) = (&alone, task)
            && let Some(Job::Append { appends, .. }) = jobs.get_mut(job)
        {
            error!(%reason, "an event broke a constraint, which is a defect");
            appends[append].draft = Err(Rejection {
                refusal: Refusal::Internal,
                message: "the hub could not store this event; it is a defect, please report it".to_owned(),
                field: String::new(),
                metadata: Vec::new(),
            });
            alone = self.commit(jobs, tasks).await;
        }
        answers(alone, jobs, tasks)
    }

    /// One transaction over all logs that the tasks name. What it returns is durable and announced.
    async fn commit(&mut self, jobs: &[Job], tasks: &[Task]) -> Result<Vec<Done>, store::Error> {
        let (begin, mut size) = (self.clock.elapsed(), Size::default());
        let mut transaction = self.store.begin().await?;
        let mut committed: Vec<Committed> = Vec::new();
        let mut done: Vec<Option<Done>> = tasks.iter().map(|_| None).collect();
        for log in logs(jobs, tasks) {
            let key = log.row().key;
            let row = transaction.lock(key).await?;
            if row.epoch != log.row().epoch {
                error!(epoch = %row.epoch, "the log under this hub is another one; restart it");
                return Err(store::Error::Unavailable(
                    "the log under this hub is another one".into(),
                ));
            }
            let before = row.clone();
            let rows = &mut cached(&mut self.cache, &row).rows;
            let own: Vec<usize> = (0..tasks.len())
                .filter(|at| job_log(&jobs[tasks[*at].job()]).row().key == key)
                .collect();
            let wanted = wanted(jobs, own.iter().map(|at| tasks[*at]));
            wanted.load(&mut *transaction, key, rows).await?;
            hear(&log, jobs, own.iter().map(|at| tasks[*at]), rows, begin);
            let signs = wanted.signs(&mut *transaction, key, rows).await?;
            let known = Known {
                dedupes: wanted.dedupes(&mut *transaction, key, rows).await?,
                repeats: wanted.repeats(&mut *transaction, key, rows).await?,
                living: living(&log, signs, begin, self.nodes),
                standing: wanted.standing(&mut *transaction, key).await?,
            };
            let mut decision = Decision::new(row, rows, known, &*self.encode, self.clock.now());
            for at in own {
                done[at] = Some(decide(&mut decision, jobs, tasks[at]));
            }
            let mut holders = decision.holders();
            let came = came(&done, jobs, tasks, key);
            if self.nodes == Nodes::Several {
                // It may have come from another node, which hears it no more: its row is to tell of it at once.
                holders.extend(came.iter().filter_map(|claim| decision.row(claim)));
            }
            let (row, changes, events, changed) = decision.finish();
            let idle = changes.events.is_empty() && changes.writers.is_empty() && changes.holds.is_empty();
            if !idle {
                transaction.write(&row, changes).await?;
            }
            committed.push(Committed {
                log,
                before,
                row,
                events,
                changed,
                holders,
                came,
            });
        }
        // What fails leaves the cache as it was: true for the row that is kept with it, which the next lock compares.
        match transaction.commit().await {
            Ok(()) => {}
            Err(store::Error::CommitUnknown) => self.resolve(&committed).await?,
            Err(error) => return Err(error),
        }
        for commit in committed {
            size.add(&commit.events);
            self.beat(&commit).await;
            self.announce(commit, begin).await;
        }
        self.counters
            .committed(&size, self.clock.elapsed().saturating_sub(begin));
        Ok(done.into_iter().flatten().collect())
    }

    /// Finds out whether a commit happened.
    async fn resolve(&mut self, committed: &[Committed]) -> Result<(), store::Error> {
        for look in 1..=UNKNOWN_LOOKS {
            match self.look_after(committed).await {
                Ok(Verdict::Happened) => {
                    warn!("a commit of unknown outcome did happen");
                    return Ok(());
                }
                Ok(Verdict::DidNot) => {
                    warn!("a commit of unknown outcome did not happen");
                    return Err(store::Error::Unavailable("the commit did not happen".into()));
                }
                Ok(Verdict::Unknown) => {
                    warn!("a commit's outcome is hidden by another node's");
                    break;
                }
                Err(reason) => {
                    error!(%reason, look, "a commit's outcome is unknown and the log cannot be read");
                    self.clock.sleep(UNKNOWN_WAIT * look).await;
                }
            }
        }
        Err(store::Error::CommitUnknown)
    }

    /// One look at what a commit left. It was one transaction: the log that tells most surely tells for all.
    async fn look_after(&self, committed: &[Committed]) -> Result<Verdict, store::Error> {
        let mut wrote: Vec<&Committed> = committed.iter().filter(|commit| !commit.trace().is_idle()).collect();
        wrote.sort_by_key(|commit| !commit.trace().has_events());
        let mut verdict = Verdict::Happened;
        for commit in wrote {
            verdict = commit.trace().verdict(&self.found(commit).await?);
            if verdict != Verdict::Unknown {
                break;
            }
        }
        Ok(verdict)
    }

    /// What lies where a commit wrote. The log's lock is given only when the transaction that took it before is over.
    async fn found(&self, commit: &Committed) -> Result<Found, store::Error> {
        let (key, tail) = (commit.row.key, commit.row.tail);
        let mut transaction = self.store.begin().await?;
        let row = transaction.lock(key).await?;
        if commit.trace().has_events() {
            let link = if row.tail < tail {
                None
            } else {
                Some(self.store.link_before(&row, tail).await?)
            };
            return Ok(Found { link, ..Found::of(row) });
        }
        let writers: Vec<_> = commit.changed.writers.keys().cloned().collect();
        let sessions: Vec<_> = commit.changed.sessions.keys().cloned().collect();
        Ok(Found {
            writers: transaction.writers(key, &writers).await?,
            sessions: transaction.sessions(key, &sessions).await?,
            ..Found::of(row)
        })
    }

    /// Tells other nodes of writers that came to this one and wrote nothing in their rows.
    async fn beat(&self, commit: &Committed) {
        if self.nodes == Nodes::One || commit.came.is_empty() {
            return;
        }
        let came: Vec<_> = commit
            .came
            .iter()
            .map(|claim| (claim.writer.clone(), claim.fence))
            .collect();
        if let Err(error) = self.store.beat(commit.row.key, &came).await {
            debug!(%error, "writers that came are told of by the next look at leases");
        }
    }

    async fn announce(&mut self, commit: Committed, now: Duration) {
        let Committed {
            log,
            before,
            row,
            events,
            changed,
            holders,
            came: _,
        } = commit;
        {
            let mut leases = log.leases();
            for row in changed.writers.values() {
                leases.committed(&row.id, row.fence, row.last_seq, now);
            }
            for row in &holders {
                leases.begin(&row.id, row.fence, row.last_seq, now);
            }
        }
        self.fill(&log, &before).await;
        log.announce(&events, row.tail, row.link);
        if let Some(cached) = self.cache.get_mut(&row.key) {
            changed
                .sessions
                .into_values()
                .for_each(|session| cached.rows.insert_session(session));
            cached.rows.writers.extend(changed.writers);
            cached.row = row;
        }
    }

    /// Announces what lies in the store beyond the announced tail. Here and nowhere else, because between a commit and its
    /// announcement the store is ahead of every log, and only the committer knows that it is about to say so.
    pub(super) async fn compare(&self, log: &Log) {
        match self.store.open_log(&log.row().tenant).await {
            Ok(row) if row.epoch == log.row().epoch => self.fill(log, &row).await,
            Ok(row) => error!(epoch = %row.epoch, "the log under this hub is another one; restart it"),
            Err(error) => warn!(%error, "the tail cannot be compared with the store"),
        }
    }
}

impl Committed {
    const fn trace(&self) -> Trace<'_> {
        Trace {
            before: &self.before,
            after: &self.row,
            writers: &self.changed.writers,
            sessions: &self.changed.sessions,
        }
    }
}

/// The cached rows of a log, emptied where they were true for another row than the one that is locked.
pub(super) fn cached<'a>(cache: &'a mut HashMap<LogKey, Cached>, row: &LogRow) -> &'a mut Cached {
    let fresh = || Cached {
        row: row.clone(),
        rows: Rows::default(),
    };
    let cached = cache.entry(row.key).or_insert_with(fresh);
    if !same(&cached.row, row) {
        *cached = fresh();
    }
    cached
}

/// Whether rows that were true for the one are true for the other: events move the tail, and all else moves the fence.
pub(super) fn same(cached: &LogRow, row: &LogRow) -> bool {
    cached.epoch == row.epoch && cached.tail == row.tail && cached.link == row.link && cached.fence == row.fence
}
