//! hyper's timers, on the hub's own clock.
//!
//! Believe this: what hyper waits for ends when the [`Clock`] says so, so a test that holds time holds keepalives and deadlines too.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bellboard_core::clock::{self, Clock};
use hyper::rt;

/// A clock as hyper wants it.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    clock: Arc<dyn Clock>,
    /// What stands for the clock's beginning: hyper reckons in instants, which only the machine can make.
    beginning: Instant,
}

impl Timer {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant is needed to count from; how long ago it was is never asked of the machine"
    )]
    pub(super) fn new(clock: Arc<dyn Clock>) -> Timer {
        let beginning = Instant::now();
        Timer { clock, beginning }
    }

    /// Waits for so long.
    pub(super) fn wait(&self, duration: Duration) -> clock::Sleep {
        self.clock.sleep(duration)
    }
}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(self.clock.sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(rt::Timer::now(self)))
    }

    fn now(&self) -> Instant {
        self.beginning + self.clock.elapsed()
    }
}

struct Sleep(clock::Sleep);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

impl rt::Sleep for Sleep {}

#[cfg(test)]
mod tests {
    use bellboard_core::clock::Manual;
    use bellboard_core::offset::Time;
    use futures_util::poll;
    use hyper::rt::Timer as _;

    use super::*;

    #[tokio::test]
    async fn a_deadline_is_reached_when_the_clock_says_so() {
        let clock = Manual::starting_at(Time(0));
        let timer = Timer::new(clock.clone());
        clock.advance(Duration::from_secs(5));
        let mut sleep = timer.sleep_until(timer.now() + Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        assert!(poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_secs(1));
        sleep.await;
    }
}
