//! Time, handed in from outside.
//!
//! Believe this: no other file of the hub asks the machine what time it is, so a test that holds a [`Manual`] clock holds time.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::offset::Time;

/// A wait that is under way. `Sync`, so that what holds one can be looked at from several threads.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What time it is, and how to wait.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock. It may jump.
    fn now(&self) -> Time;

    /// Time since the clock was made. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Ends `wait` from now. Dropping the future is the way to give up waiting.
    fn sleep(&self, wait: Duration) -> Sleep;
}

/// The machine's clock.
#[derive(Debug)]
pub struct Real(std::time::Instant);

impl Real {
    /// A clock that starts now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the machine is asked"
    )]
    pub fn new() -> Real {
        Real(std::time::Instant::now())
    }
}

impl Default for Real {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Real {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place where the machine is asked"
    )]
    fn now(&self) -> Time {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Time(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock that moves only when told.
#[derive(Debug, Default)]
pub struct Manual {
    /// Held for the length of one method; sleepers are woken after it is let go.
    state: Mutex<ManualState>,
}

#[derive(Debug, Default)]
struct ManualState {
    elapsed: Duration,
    wall_offset_us: i64,
    /// By due time and order of arrival. A sleeper that gave up is dropped when its time comes.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    arrivals: u64,
}

impl Manual {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn starting_at(start: Time) -> Arc<Manual> {
        let clock = Manual::default();
        clock.locked(|state| state.wall_offset_us = start.0);
        Arc::new(clock)
    }

    /// Moves time on and wakes who slept until then.
    pub fn advance(&self, by: Duration) {
        let due = self.locked(|state| {
            state.elapsed += by;
            let later = state.sleepers.split_off(&(state.elapsed + Duration::from_nanos(1), 0));
            std::mem::replace(&mut state.sleepers, later)
        });
        for sleeper in due.into_values() {
            // A sleeper that gave up has dropped its end.
            let _ = sleeper.send(());
        }
    }

    /// Moves only the wall clock, as an administrator or a daylight saving bug does.
    pub fn jump(&self, by_us: i64) {
        self.locked(|state| state.wall_offset_us += by_us);
    }

    fn locked<T>(&self, body: impl FnOnce(&mut ManualState) -> T) -> T {
        body(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for Manual {
    fn now(&self) -> Time {
        self.locked(|state| Time(state.wall_offset_us).plus(state.elapsed))
    }

    fn elapsed(&self) -> Duration {
        self.locked(|state| state.elapsed)
    }

    fn sleep(&self, wait: Duration) -> Sleep {
        let (wake, woken) = oneshot::channel();
        self.locked(|state| {
            state.arrivals += 1;
            let due = state.elapsed + wait;
            state.sleepers.insert((due, state.arrivals), wake);
        });
        Box::pin(async move {
            // The clock itself went away: nobody will ever move it, so waiting on would be a hang.
            let _ = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_whose_time_has_come_and_nobody_else() {
        let clock = Manual::starting_at(Time(5));
        let mut early = clock.sleep(Duration::from_secs(1));
        let mut late = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        (&mut early).await;
        assert!(futures_util::poll!(&mut late).is_pending());
        clock.advance(Duration::from_secs(1));
        late.await;
        assert_eq!(clock.now(), Time(2_000_005));
        clock.jump(-2_000_000);
        assert_eq!(clock.now(), Time(5));
        assert_eq!(clock.elapsed(), Duration::from_secs(2));
    }
}
