//! The task that stores.
//!
//! Believe this: it answers nothing that it has not committed, and after a commit of unknown outcome it looks before it does or
//! says anything more. One bad append never fails its neighbours: a commit that breaks a constraint is repeated one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::appender::counters::{Counters, Size};
use crate::appender::decide::{Decision, Rows};
use crate::appender::kept;
use crate::appender::wanted::Wanted;
use crate::appender::{Appender, Claim, DeltaDraft, Error, Grant, Job, Outcome, Queued, Refusal, Rejection};
use crate::clock::Clock;
use crate::event::{Encode, Event, SessionRef};
use crate::limits;
use crate::log::Log;
use crate::offset::LogKey;
use crate::store::{self, LogRow, Store};
use crate::window::deltas::Delta;

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
    cache: HashMap<LogKey, Cached>,
    /// Shared with every [`Appender`].
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Cached {
    row: LogRow,
    rows: Rows,
}

/// Where one append of a batch stands among the jobs.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// The append of this number of the job.
    Append { job: usize, append: usize },
    /// The whole job: opening or renewing a writer.
    Writer { job: usize },
}

/// What became of one task.
#[derive(Debug)]
pub(super) enum Done {
    Append(Result<Outcome, Error>),
    Writer(Result<Grant, Error>),
}

/// What one commit did to one log.
struct Committed {
    log: Arc<Log>,
    row: LogRow,
    events: Vec<Event>,
    changed: Rows,
}

impl Committer {
    /// A committer that is yet to run, and the way to it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, encode: Arc<dyn Encode>, clock: Arc<dyn Clock>) -> (Appender, Committer) {
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
                result => done.extend(answers(result, &tasks)),
            }
        }
        self.counters.became(&done);
        let mut done = done.into_iter();
        for job in jobs {
            match job {
                Job::Append { appends, reply, .. } => {
                    let outcomes = done.by_ref().take(appends.len()).map(|done| match done {
                        Done::Append(outcome) => outcome,
                        Done::Writer(_) => Err(Error::Unavailable),
                    });
                    // The caller may have gone away; what it appended is stored all the same.
                    let _ = reply.send(outcomes.collect());
                }
                Job::Open { reply, .. } | Job::Renew { reply, .. } => {
                    if let Some(Done::Writer(grant)) = done.next() {
                        let _ = reply.send(grant);
                    }
                }
                Job::Deltas { log, claim, deltas } => self.pass_on(&log, claim.as_ref(), deltas),
                Job::Compare { log } => self.compare(&log).await,
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
        answers(alone, tasks)
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
            log.catch_up(row.tail, row.link);
            log.trimmed(row.oldest);
            let rows = &mut cached(&mut self.cache, &row).rows;
            let own: Vec<usize> = (0..tasks.len())
                .filter(|at| job_log(&jobs[tasks[*at].job()]).row().key == key)
                .collect();
            let wanted = wanted(jobs, own.iter().map(|at| tasks[*at]));
            wanted.load(&mut *transaction, key, rows).await?;
            let dedupes = wanted.dedupes(&mut *transaction, rows).await?;
            let repeats = wanted.repeats(&mut *transaction, rows).await?;
            let mut decision = Decision::new(row, rows, dedupes, repeats, &*self.encode, self.clock.now());
            for at in own {
                done[at] = Some(decide(&mut decision, jobs, tasks[at]));
            }
            let (row, changes, events, changed) = decision.finish();
            let idle = changes.events.is_empty() && changes.writers.is_empty();
            if !idle {
                transaction.write(&row, changes).await?;
            }
            committed.push(Committed {
                log,
                row,
                events,
                changed,
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
            self.announce(commit);
        }
        self.counters
            .committed(&size, self.clock.elapsed().saturating_sub(begin));
        Ok(done.into_iter().flatten().collect())
    }

    /// Finds out whether a commit happened.
    async fn resolve(&mut self, committed: &[Committed]) -> Result<(), store::Error> {
        let Some(witness) = committed
            .iter()
            .find(|commit| !commit.events.is_empty())
            .or_else(|| committed.iter().find(|commit| !commit.changed.writers.is_empty()))
            .or_else(|| committed.first())
        else {
            return Ok(());
        };
        for look in 1..=UNKNOWN_LOOKS {
            match self.happened(witness).await {
                Ok(true) => {
                    warn!(tail = witness.row.tail.0, "a commit of unknown outcome did happen");
                    return Ok(());
                }
                Ok(false) => {
                    warn!(tail = witness.row.tail.0, "a commit of unknown outcome did not happen");
                    return Err(store::Error::Unavailable("the commit did not happen".into()));
                }
                Err(reason) => {
                    error!(%reason, look, "a commit's outcome is unknown and the log cannot be read");
                    self.clock.sleep(UNKNOWN_WAIT * look).await;
                }
            }
        }
        Err(store::Error::CommitUnknown)
    }

    /// Whether the log is as this commit would have left it. Tail and link do not tell where only seqs were consumed: the writers do.
    async fn happened(&self, commit: &Committed) -> Result<bool, store::Error> {
        let (key, writers) = (commit.row.key, &commit.changed.writers);
        let mut transaction = self.store.begin().await?;
        let row = transaction.lock(key).await?;
        let ids: Vec<_> = writers.keys().cloned().collect();
        let found = transaction.writers(key, &ids).await?;
        Ok(same(&commit.row, &row)
            && found.len() == ids.len()
            && found.iter().all(|row| writers.get(&row.id) == Some(row)))
    }

    fn announce(&mut self, commit: Committed) {
        let Committed {
            log,
            row,
            events,
            changed,
        } = commit;
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
            Ok(row) if row.epoch == log.row().epoch => {
                log.catch_up(row.tail, row.link);
                log.trimmed(row.oldest);
            }
            Ok(row) => error!(epoch = %row.epoch, "the log under this hub is another one; restart it"),
            Err(error) => warn!(%error, "the tail cannot be compared with the store"),
        }
    }

    fn pass_on(&self, log: &Log, claim: Option<&Claim>, deltas: Vec<DeltaDraft>) {
        let Some(cached) = self.cache.get(&log.row().key) else {
            debug!(
                count = deltas.len(),
                "deltas of sessions that this process has not seen yet"
            );
            return;
        };
        if let Some(claim) = claim
            && cached
                .rows
                .writers
                .get(&claim.writer)
                .is_none_or(|row| row.fence != claim.fence)
        {
            debug!(writer = %claim.writer, fence = claim.fence, "deltas under a fence that is not the writer's");
            return;
        }
        for draft in deltas {
            let Some(session) = cached.rows.resolve(&draft.session) else {
                continue;
            };
            let delta = Delta {
                session: session.id.clone(),
                item: draft.item,
                item_id: draft.item_id,
                channel: draft.channel,
                at: draft.at,
                text: draft.text,
                message: self.encode.delta(&session.id, &draft.body),
            };
            // Dropped deltas are counted where they are dropped; the completed item has the full value.
            let _ = log.push_delta(&delta);
        }
    }
}

impl Task {
    const fn job(self) -> usize {
        match self {
            Task::Append { job, .. } | Task::Writer { job } => job,
        }
    }
}

fn tasks(job: usize, what: &Job) -> Vec<Task> {
    match what {
        Job::Append { appends, .. } => (0..appends.len()).map(|append| Task::Append { job, append }).collect(),
        Job::Open { .. } | Job::Renew { .. } => vec![Task::Writer { job }],
        Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. } => Vec::new(),
    }
}

const fn weight(job: &Job) -> usize {
    match job {
        Job::Append { appends, .. } => appends.len(),
        Job::Open { sessions, .. } | Job::Renew { sessions, .. } => 1 + sessions.len(),
        Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. } => 1,
    }
}

const fn job_log(job: &Job) -> &Arc<Log> {
    match job {
        Job::Append { log, .. }
        | Job::Open { log, .. }
        | Job::Renew { log, .. }
        | Job::Deltas { log, .. }
        | Job::Trim { log, .. }
        | Job::Compare { log } => log,
    }
}

/// The logs of the tasks, each once, in the order of their numbers: two processes that lock several never wait for one another.
fn logs(jobs: &[Job], tasks: &[Task]) -> Vec<Arc<Log>> {
    let mut logs: Vec<Arc<Log>> = tasks.iter().map(|task| job_log(&jobs[task.job()]).clone()).collect();
    logs.sort_by_key(|log| log.row().key);
    logs.dedup_by_key(|log| log.row().key);
    logs
}

/// The cached rows of a log, emptied where they were true for another row than the one that is locked.
fn cached<'a>(cache: &'a mut HashMap<LogKey, Cached>, row: &LogRow) -> &'a mut Cached {
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

fn same(cached: &LogRow, row: &LogRow) -> bool {
    cached.epoch == row.epoch && cached.tail == row.tail && cached.link == row.link && cached.fence == row.fence
}

/// What each task is told of a commit that was tried.
fn answers(result: Result<Vec<Done>, store::Error>, tasks: &[Task]) -> Vec<Done> {
    let error = match result {
        Ok(done) => return done,
        Err(error) => error,
    };
    if error != store::Error::Full {
        error!(%error, tasks = tasks.len(), "a commit failed");
    }
    let error = Error::from(error);
    let answer = |task: &Task| match task {
        Task::Append { .. } => Done::Append(Err(error.clone())),
        Task::Writer { .. } => Done::Writer(Err(error.clone())),
    };
    tasks.iter().map(answer).collect()
}

fn decide(decision: &mut Decision<'_>, jobs: &[Job], task: Task) -> Done {
    match (task, &jobs[task.job()]) {
        (Task::Append { append, .. }, Job::Append { claim, appends, .. }) => {
            let checked = claim.as_ref().map_or(Ok(()), |claim| decision.check(claim).map(drop));
            Done::Append(checked.map(|()| decision.append(claim.as_ref(), &appends[append])))
        }
        (_, Job::Open { writer, sessions, .. }) => {
            let row = decision.open_writer(writer);
            Done::Writer(Ok(grant(decision, row.fence, row.last_seq, sessions)))
        }
        (_, Job::Renew { claim, sessions, .. }) => {
            let checked = decision.check(claim).map(|row| row.last_seq);
            Done::Writer(checked.map(|last_seq| grant(decision, claim.fence, last_seq, sessions)))
        }
        (Task::Writer { .. }, Job::Append { .. })
        | (_, Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. }) => Done::Append(Err(Error::Unavailable)),
    }
}

fn grant(decision: &mut Decision<'_>, fence: u64, last_seq: u64, sessions: &[SessionRef]) -> Grant {
    let sessions = sessions
        .iter()
        .map(|session| decision.open_session(session).id)
        .collect();
    Grant {
        fence,
        last_seq,
        sessions,
    }
}

/// Everything that these tasks name.
fn wanted(jobs: &[Job], tasks: impl Iterator<Item = Task>) -> Wanted {
    let mut wanted = Wanted::default();
    for task in tasks {
        match (task, &jobs[task.job()]) {
            (Task::Append { append, .. }, Job::Append { claim, appends, .. }) => {
                wanted.append(claim.as_ref(), &appends[append]);
            }
            (_, Job::Open { writer, sessions, .. }) => wanted.writer(writer, sessions),
            (_, Job::Renew { claim, sessions, .. }) => wanted.writer(&claim.writer, sessions),
            (Task::Writer { .. }, Job::Append { .. })
            | (_, Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. }) => {}
        }
    }
    wanted
}
