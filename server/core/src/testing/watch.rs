//! What the core's tests count of a store's calls, and which of them they let fail.
//!
//! Believe this: nothing fails that was not told to, and everything is counted before it fails.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::store::failing::{Point, Points};
use crate::store::{Changes, Error};

/// What is seen and told, shared with its transactions.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Commits that were tried.
    pub(crate) commits: AtomicU64,
    /// Snapshots that were taken.
    pub(crate) snapshots: AtomicU64,
    /// So many of the next snapshots fail.
    failing_snapshots: AtomicU32,
    /// Times that numbers of clients were taken.
    pub(crate) takes: AtomicU64,
    /// Held while taken numbers are kept from who asked for them.
    takes_held: Arc<tokio::sync::Mutex<()>>,
    /// So many of the next looks at a log (begin, open) fail.
    blind: AtomicU32,
    /// What `blind` becomes at the next commit.
    blind_after: AtomicU32,
    /// Events with this in their bytes break a constraint.
    pub(crate) poison: Mutex<Option<&'static [u8]>>,
    /// So many calls go through, and the next fails so.
    failing_call: Mutex<Option<(u32, Error)>>,
}

impl Watch {
    /// The next commit goes through, and so many looks at a log after it fail.
    pub(crate) fn go_blind_after_commit(&self, looks: u32) {
        self.blind_after.store(looks, Ordering::Relaxed);
    }

    /// So many of the next snapshots fail.
    pub(crate) fn fail_snapshots(&self, count: u32) {
        self.failing_snapshots.store(count, Ordering::Relaxed);
    }

    /// So many of the next looks at a log fail.
    pub(crate) fn go_blind(&self, looks: u32) {
        self.blind.store(looks, Ordering::Relaxed);
    }

    /// Numbers of clients are taken and not told until what is returned is dropped.
    pub(crate) fn hold_takes(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.takes_held.clone().try_lock_owned().expect("nobody holds them")
    }

    /// So many calls of the store go through, and the next fails. One that was committed is then of unknown outcome.
    pub(crate) fn fail_call_after(&self, calls: u32, error: Error) {
        *self.failing_call.lock().unwrap() = Some((calls, error));
    }

    /// Whether the call that was to fail did.
    pub(crate) fn has_failed_a_call(&self) -> bool {
        self.failing_call.lock().unwrap().is_none()
    }

    fn fail_a_call(&self, point: Point<'_>) -> Result<(), Error> {
        let mut failing = self.failing_call.lock().unwrap();
        match failing.take() {
            None => Ok(()),
            Some((0, _)) if matches!(point, Point::Committed) => Err(Error::CommitUnknown),
            Some((0, error)) => Err(error),
            Some((calls, error)) => {
                *failing = Some((calls - 1, error));
                Ok(())
            }
        }
    }

    fn check(&self, changes: &Changes) -> Result<(), Error> {
        let poison = *self.poison.lock().unwrap();
        let poisoned = |poison: &[u8]| {
            let mut rows = changes.events.iter();
            rows.any(|row| row.stored.windows(poison.len()).any(|bytes| bytes == poison))
        };
        match poison {
            Some(poison) if poisoned(poison) => Err(Error::Constraint("poison".into())),
            _ => Ok(()),
        }
    }
}

fn fail_one(left: &AtomicU32) -> Result<(), Error> {
    let less = |left: u32| left.checked_sub(1);
    match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
        Ok(_) => Err(Error::Unavailable("blind".into())),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl Points for Watch {
    async fn at(&self, point: Point<'_>) -> Result<(), Error> {
        match point {
            Point::Open | Point::Begin => fail_one(&self.blind)?,
            Point::Write(changes) => self.check(changes)?,
            Point::Commit => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                let blind = self.blind_after.swap(0, Ordering::Relaxed);
                self.blind.fetch_add(blind, Ordering::Relaxed);
            }
            Point::Snapshot => {
                self.snapshots.fetch_add(1, Ordering::Relaxed);
                // As with a database, others have their turn meanwhile.
                tokio::task::yield_now().await;
                fail_one(&self.failing_snapshots)?;
            }
            Point::Take => {
                fail_one(&self.blind)?;
                self.takes.fetch_add(1, Ordering::Relaxed);
            }
            Point::Taken => drop(self.takes_held.lock().await),
            Point::Lock | Point::Load | Point::Trim | Point::Committed | Point::Read | Point::Beat => {}
        }
        self.fail_a_call(point)
    }
}
