//! Whether a quiet stream is alive.
//!
//! The one thing to believe: a dead connection says nothing, so silence is judged here. Three missed heartbeats are death; and
//! so is a sleep of the whole machine, which shows as a wall clock that ran ahead of the machine's own, or as a timer of ours
//! that came late.

use std::time::{Duration, Instant, SystemTime};

/// Missed heartbeats that are death.
const MISSED: u32 = 3;
/// By how much the hub may delay a heartbeat: its jitter.
const JITTER: f64 = 1.2;
/// How many times an interval is looked at, so that a wake-up is found within a fraction of it.
const LOOKS: u32 = 4;

/// Two clocks at one instant. They disagree after a sleep: most machines' own clock stands still in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Never goes back.
    pub(crate) machine: Instant,
    /// May be set by people.
    pub(crate) wall: SystemTime,
}

impl Moment {
    /// Now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the SDK's one reading of clocks; what follows from it is pure and takes a Moment"
    )]
    pub(crate) fn now() -> Moment {
        Moment {
            machine: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

/// What a look at the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Alive,
    /// Too long without a frame: dial anew.
    Silent,
    /// The machine slept: dial anew, whatever the connection claims.
    Woke,
}

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Watchdog {
    interval: Duration,
    last_frame: Moment,
    last_look: Moment,
}

impl Watchdog {
    /// Begins to watch a stream that is silent for at most this long, before jitter.
    pub(crate) const fn new(interval: Duration, now: Moment) -> Watchdog {
        Watchdog {
            interval,
            last_frame: now,
            last_look: now,
        }
    }

    /// The hub told what it holds itself to.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        if !interval.is_zero() {
            self.interval = interval;
        }
    }

    /// A frame came.
    pub(crate) const fn heard(&mut self, now: Moment) {
        self.last_frame = now;
        self.last_look = now;
    }

    /// Silence until now was no fault.
    pub(crate) const fn forgive(&mut self, now: Moment) {
        self.last_frame = now;
    }

    /// The application was busy until now and nobody looked: what passed on the machine's clock says nothing about the hub, a
    /// sleep of the machine does.
    pub(crate) fn resume(&mut self, now: Moment) -> Verdict {
        let slept = slept(self.last_look, now) > self.interval;
        self.heard(now);
        if slept { Verdict::Woke } else { Verdict::Alive }
    }

    /// How long until the next look.
    pub(crate) fn next_look(&self) -> Duration {
        self.interval / LOOKS
    }

    /// How long silence may be.
    pub(crate) fn patience(&self) -> Duration {
        (self.interval * MISSED).mul_f64(JITTER)
    }

    /// A look at the clock, which was meant to come [`Watchdog::next_look`] after the last one.
    pub(crate) fn look(&mut self, now: Moment) -> Verdict {
        let since_look = now.machine.saturating_duration_since(self.last_look.machine);
        let late = since_look.saturating_sub(self.next_look());
        let woke = late > self.interval || slept(self.last_look, now) > self.interval;
        self.last_look = now;
        if woke {
            Verdict::Woke
        } else if now.machine.saturating_duration_since(self.last_frame.machine) > self.patience() {
            Verdict::Silent
        } else {
            Verdict::Alive
        }
    }
}

/// Returns when the machine slept, for waits in which no stream is watched. Cancel safe.
pub(crate) async fn woke(interval: Duration) {
    let mut watchdog = Watchdog::new(interval, Moment::now());
    while watchdog.look(Moment::now()) != Verdict::Woke {
        tokio::time::sleep(watchdog.next_look()).await;
    }
}

/// By how much the wall clock ran ahead of the machine's. A clock set by hand looks the same and costs one redial.
fn slept(before: Moment, now: Moment) -> Duration {
    let wall = now.wall.duration_since(before.wall).unwrap_or_default();
    wall.saturating_sub(now.machine.saturating_duration_since(before.machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn after(moment: Moment, machine: u64, wall: u64) -> Moment {
        Moment {
            machine: moment.machine + Duration::from_secs(machine),
            wall: moment.wall + Duration::from_secs(wall),
        }
    }

    #[test]
    fn three_missed_heartbeats_with_their_jitter_are_death_and_two_are_not() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        for seconds in (3..=54).step_by(3) {
            assert_eq!(
                watchdog.look(after(start, seconds, seconds)),
                Verdict::Alive,
                "{seconds}"
            );
        }
        assert_eq!(watchdog.look(after(start, 57, 57)), Verdict::Silent);
    }

    #[test]
    fn a_frame_begins_the_silence_anew() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        watchdog.heard(after(start, 50, 50));
        assert_eq!(watchdog.look(after(start, 60, 60)), Verdict::Alive);
    }

    #[test]
    fn a_timer_late_by_an_interval_is_a_wake_up() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        assert_eq!(watchdog.look(after(start, 20, 20)), Verdict::Woke);
    }

    #[test]
    fn a_wall_clock_that_ran_ahead_is_a_wake_up_although_the_machines_stood_still() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        assert_eq!(watchdog.look(after(start, 3, 3600)), Verdict::Woke);
    }

    #[test]
    fn a_wall_clock_set_back_is_nothing() {
        let start = after(Moment::now(), 3600, 3600);
        let mut watchdog = Watchdog::new(INTERVAL, start);
        let now = Moment {
            machine: start.machine + Duration::from_secs(3),
            wall: start.wall - Duration::from_secs(3000),
        };
        assert_eq!(watchdog.look(now), Verdict::Alive);
    }

    #[test]
    fn a_slow_application_is_not_a_dead_hub_and_a_sleep_meanwhile_is() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        assert_eq!(watchdog.resume(after(start, 600, 600)), Verdict::Alive);
        assert_eq!(watchdog.look(after(start, 603, 603)), Verdict::Alive);
        assert_eq!(watchdog.resume(after(start, 700, 4000)), Verdict::Woke);
    }

    #[test]
    fn what_the_hub_holds_itself_to_counts() {
        let start = Moment::now();
        let mut watchdog = Watchdog::new(INTERVAL, start);
        watchdog.set_interval(Duration::from_secs(60));
        assert_eq!(watchdog.look(after(start, 15, 15)), Verdict::Alive);
        watchdog.set_interval(Duration::ZERO);
        assert_eq!(watchdog.patience(), Duration::from_secs(216));
    }
}
