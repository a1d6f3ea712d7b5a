//! The task that trims: looks at every log, and asks the committer for one piece after the other.
//!
//! Believe this: it decides nothing but when. Between two pieces of one log the committer takes whatever else was queued, so an append
//! waits for one piece at most. A wall clock that leaps forward is not believed at once: what it makes too old is given out no more,
//! but it is trimmed only when the clock has stayed there for [`limits::LEAP_GRACE`].

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Retention;
use crate::appender::Error;
use crate::hub::Hub;
use crate::limits;
use crate::offset::Time;

/// Sweeps until the hub stops: at once, and then every [`limits::SWEEP_INTERVAL`].
pub async fn run(hub: Arc<Hub>) {
    let mut sweeper = Sweeper::default();
    loop {
        if sweeper.sweep(&hub).await == Err(Error::Stopped) {
            return;
        }
        hub.clock().sleep(limits::SWEEP_INTERVAL).await;
    }
}

/// What is remembered from one sweep to the next.
#[derive(Debug, Default)]
pub struct Sweeper {
    /// The wall clock and the monotonic one, at the last look.
    last: Option<(Time, Duration)>,
    /// Until when, on the monotonic clock, age trims nothing.
    hold_until: Duration,
}

impl Sweeper {
    /// Trims every log to what is to be kept of it.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the hub stops. Whatever else goes wrong is logged, and tried again by the next sweep.
    pub async fn sweep(&mut self, hub: &Hub) -> Result<(), Error> {
        let clock = hub.clock();
        let retention = self.may(hub.retention(), clock.now(), clock.elapsed());
        let logs = match hub.store().logs().await {
            Ok(logs) => logs,
            Err(error) => {
                warn!(%error, "logs cannot be looked through for what is to be trimmed; trying again");
                return Ok(());
            }
        };
        for row in logs.iter().filter(|row| retention.is_due(row, clock.now())) {
            match trim(hub, row, retention).await {
                Ok(()) => {}
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => warn!(tenant = %row.tenant, %error, "a log was not trimmed; trying again"),
            }
        }
        Ok(())
    }

    /// What may be trimmed now: nothing by its age, shortly after the wall clock leapt.
    fn may(&mut self, retention: Retention, now: Time, elapsed: Duration) -> Retention {
        if let Some((wall, monotonic)) = self.last.replace((now, elapsed))
            && now > wall.plus(elapsed.saturating_sub(monotonic) + limits::LEAP_MIN)
        {
            warn!("the wall clock leapt forward; nothing is trimmed for its age until it has stayed there for a while");
            self.hold_until = elapsed + limits::LEAP_GRACE;
        }
        let age = retention.age.filter(|_| elapsed >= self.hold_until);
        Retention { age, ..retention }
    }
}

/// Trims one log, piece by piece.
async fn trim(hub: &Hub, row: &crate::store::LogRow, retention: Retention) -> Result<(), Error> {
    let log = hub.log(&row.tenant).await?;
    let before = row.oldest;
    loop {
        let trimmed = hub.appender().trim(log.clone(), retention).await?;
        if !trimmed.more {
            if trimmed.oldest > before {
                info!(tenant = %row.tenant, from = before.0, until = trimmed.oldest.0, "events were trimmed");
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_of_the_wall_clock_trims_nothing_until_it_has_stayed() {
        let retention = Retention {
            age: Some(Duration::from_secs(60)),
            bytes: Some(1),
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let mut sweeper = Sweeper::default();
        let start = Time(0).plus(day);
        let (mut now, mut elapsed) = (start, Duration::ZERO);
        let mut pass = |wall: Duration, monotonic: Duration| {
            now = now.plus(wall);
            elapsed += monotonic;
            sweeper.may(retention, now, elapsed).age.is_some()
        };
        let tick = limits::SWEEP_INTERVAL;
        assert!(pass(Duration::ZERO, Duration::ZERO), "a start is no leap");
        assert!(pass(tick, tick));
        assert!(!pass(day + tick, tick), "it leapt");
        assert!(!pass(tick, tick), "and is not believed yet");
        assert!(pass(limits::LEAP_GRACE, limits::LEAP_GRACE), "it has stayed there");
        now = start;
        let mut back = Sweeper::default();
        assert!(back.may(retention, now.plus(day), elapsed).age.is_some());
        assert!(
            back.may(retention, now, elapsed + tick).age.is_some(),
            "back is no leap: it makes nothing old"
        );
        assert_eq!(sweeper.may(retention, now, elapsed).bytes, Some(1));
    }
}
