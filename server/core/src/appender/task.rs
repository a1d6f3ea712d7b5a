//! What a batch of jobs comes to: the tasks of one commit, what they name, and what each is answered.
//!
//! Believe this: nothing here reads or writes. A task is one append, or a whole job where the job is one thing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::appender::decide::{Decision, Rows};
use crate::appender::wanted::Wanted;
use crate::appender::{Claim, Error, Grant, Job, Outcome, Wish};
use crate::id::WriterId;
use crate::lease::{Ended, Sign};
use crate::log::Log;
use crate::offset::LogKey;
use crate::store;
use crate::subscription::registry::Nodes;

/// Where one task of a batch stands among the jobs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// The append of this number of the job.
    Append { job: usize, append: usize },
    /// The whole job: opening, renewing or ending writers.
    Whole { job: usize },
}

/// What became of one task.
#[derive(Debug)]
pub(super) enum Done {
    Append(Result<Outcome, Error>),
    Writer(Result<Grant, Error>),
    Ended(Result<Vec<Ended>, Error>),
}

impl Task {
    pub(super) const fn job(self) -> usize {
        match self {
            Task::Append { job, .. } | Task::Whole { job } => job,
        }
    }
}

pub(super) fn tasks(job: usize, what: &Job) -> Vec<Task> {
    match what {
        Job::Append { appends, .. } => (0..appends.len()).map(|append| Task::Append { job, append }).collect(),
        Job::Open { .. } | Job::Renew { .. } | Job::End { .. } => vec![Task::Whole { job }],
        Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. } => Vec::new(),
    }
}

pub(super) fn weight(job: &Job) -> usize {
    match job {
        Job::Append { appends, .. } => appends.len(),
        Job::Open { wish, .. } => 1 + wish.sessions.len(),
        Job::Renew { wish, .. } => 1 + wish.as_ref().map_or(0, |wish| wish.sessions.len()),
        Job::End { writers, .. } => writers.len(),
        Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. } => 1,
    }
}

pub(super) const fn job_log(job: &Job) -> &Arc<Log> {
    match job {
        Job::Append { log, .. }
        | Job::Open { log, .. }
        | Job::Renew { log, .. }
        | Job::End { log, .. }
        | Job::Deltas { log, .. }
        | Job::Trim { log, .. }
        | Job::Compare { log, .. } => log,
    }
}

/// The logs of the tasks, each once, in the order of their numbers: two processes that lock several never wait for one another.
pub(super) fn logs(jobs: &[Job], tasks: &[Task]) -> Vec<Arc<Log>> {
    let mut logs: Vec<Arc<Log>> = tasks.iter().map(|task| job_log(&jobs[task.job()]).clone()).collect();
    logs.sort_by_key(|log| log.row().key);
    logs.dedup_by_key(|log| log.row().key);
    logs
}

/// What each task is told of a commit that was tried.
pub(super) fn answers(result: Result<Vec<Done>, store::Error>, jobs: &[Job], tasks: &[Task]) -> Vec<Done> {
    let error = match result {
        Ok(done) => return done,
        Err(error) => error,
    };
    if error != store::Error::Full {
        error!(%error, tasks = tasks.len(), "a commit failed");
    }
    let error = Error::from(error);
    let answer = |task: &Task| match &jobs[task.job()] {
        Job::Open { .. } | Job::Renew { .. } => Done::Writer(Err(error.clone())),
        Job::End { .. } => Done::Ended(Err(error.clone())),
        Job::Append { .. } | Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. } => {
            Done::Append(Err(error.clone()))
        }
    };
    tasks.iter().map(answer).collect()
}

pub(super) fn decide(decision: &mut Decision<'_>, jobs: &[Job], task: Task) -> Done {
    match (task, &jobs[task.job()]) {
        (Task::Append { append, .. }, Job::Append { claim, appends, .. }) => {
            let checked = claim.as_ref().map_or(Ok(()), |claim| decision.check(claim).map(drop));
            Done::Append(checked.map(|()| decision.append(claim.as_ref(), &appends[append])))
        }
        (_, Job::Open { writer, wish, .. }) => {
            let row = decision.open_writer(writer);
            let claim = Claim {
                writer: writer.clone(),
                fence: row.fence,
            };
            let grant = grant(decision, &claim, row.last_seq, Some(wish));
            decision.settle_acknowledged(writer, wish.acknowledged);
            Done::Writer(Ok(grant))
        }
        (_, Job::Renew { claim, wish, .. }) => {
            let checked = decision.check(claim).map(|row| row.last_seq);
            Done::Writer(checked.map(|last_seq| grant(decision, claim, last_seq, wish.as_ref())))
        }
        (_, Job::End { writers, .. }) => {
            let ended = writers.iter().filter_map(|writer| decision.end_lease(writer));
            Done::Ended(Ok(ended.collect()))
        }
        (Task::Whole { .. }, Job::Append { .. }) | (_, Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. }) => {
            Done::Append(Err(Error::Unavailable))
        }
    }
}

fn grant(decision: &mut Decision<'_>, claim: &Claim, last_seq: u64, wish: Option<&Wish>) -> Grant {
    Grant {
        fence: claim.fence,
        last_seq,
        sessions: wish.map_or_else(Vec::new, |wish| decision.claim_all(claim, wish)),
    }
}

/// Everything that these tasks name.
pub(super) fn wanted(jobs: &[Job], tasks: impl Iterator<Item = Task>) -> Wanted {
    let mut wanted = Wanted::default();
    for task in tasks {
        match (task, &jobs[task.job()]) {
            (Task::Append { append, .. }, Job::Append { claim, appends, .. }) => {
                wanted.append(claim.as_ref(), &appends[append]);
            }
            (_, Job::Open { writer, wish, .. }) => wanted.writer(writer, Some(wish)),
            (_, Job::Renew { claim, wish, .. }) => wanted.writer(&claim.writer, wish.as_ref()),
            (_, Job::End { writers, .. }) => wanted.ending(writers),
            (Task::Whole { .. }, Job::Append { .. })
            | (_, Job::Deltas { .. } | Job::Compare { .. } | Job::Trim { .. }) => {}
        }
    }
    wanted
}

/// Whoever calls under its newest fence is heard, before it is decided what others may take.
pub(super) fn hear(log: &Log, jobs: &[Job], tasks: impl Iterator<Item = Task>, rows: &Rows, now: Duration) {
    let mut last = None;
    for job in tasks.map(Task::job) {
        if last.replace(job) == Some(job) {
            continue;
        }
        if let Job::Append { claim: Some(claim), .. } | Job::Renew { claim, .. } = &jobs[job]
            && rows
                .writers
                .get(&claim.writer)
                .is_some_and(|row| row.fence == claim.fence)
        {
            log.leases().hear(&claim.writer, claim.fence, now);
        }
    }
}

/// The writers of these whose leases live.
pub(super) fn living(log: &Log, signs: Vec<Sign>, now: Duration, nodes: Nodes) -> HashSet<WriterId> {
    if signs.is_empty() {
        return HashSet::new();
    }
    let mut leases = log.leases();
    let living = signs.into_iter().filter_map(|sign| {
        let writer = sign.writer.clone();
        leases.lives(sign, now, nodes).then_some(writer)
    });
    living.collect()
}

/// The writers of one log that renewed or opened a stream, and were let.
pub(super) fn came(done: &[Option<Done>], jobs: &[Job], tasks: &[Task], log: LogKey) -> Vec<Claim> {
    let mut came = Vec::new();
    for (done, task) in done.iter().zip(tasks) {
        if let Some(Done::Writer(Ok(_))) = done
            && let Job::Renew { log: of, claim, .. } = &jobs[task.job()]
            && of.row().key == log
        {
            came.push(claim.clone());
        }
    }
    came
}
