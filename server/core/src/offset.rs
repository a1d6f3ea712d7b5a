//! Places: in a tenant's log, in a session, in time.
//!
//! Believe this: offsets and indices start at 0, grow by 1 and have no holes.

use std::fmt;

/// An event's place in its tenant's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The first place of every log.
    pub const ZERO: Offset = Offset(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }

    /// How many places lie in `[self, until)`.
    #[must_use]
    pub const fn distance(self, until: Offset) -> u64 {
        until.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's place in its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// Identity of one log: random, and another one after the log is recreated or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The store's own number of a log, below 2^19 (see `store`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogKey(pub u32);

/// The store's own number of a session: unique over all logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNumber(pub u64);

impl SessionNumber {
    /// The `count`-th session of a log.
    #[must_use]
    pub const fn of(log: LogKey, count: u32) -> SessionNumber {
        SessionNumber(((log.0 as u64) << 32) | count as u64)
    }

    /// What stands for the tenant itself where a session's number is asked for: no session of the log ever has this number.
    #[must_use]
    pub const fn of_tenant(log: LogKey) -> SessionNumber {
        SessionNumber::of(log, u32::MAX)
    }

    /// How many sessions of its log were opened before it.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0 as u32
    }

    /// Whose session it is: the number says so.
    #[must_use]
    pub const fn log(self) -> LogKey {
        LogKey((self.0 >> 32) as u32)
    }
}

/// An event's place in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The session.
    pub session: SessionNumber,
    /// The place in it.
    pub index: Index,
}

/// A point in time: microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds and the nanoseconds after them, as protobuf writes them.
    #[must_use]
    pub const fn parts(self) -> (i64, i32) {
        (
            self.0.div_euclid(1_000_000),
            (self.0.rem_euclid(1_000_000) * 1000) as i32,
        )
    }

    /// From seconds and nanoseconds, cut to microseconds; none when out of range.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: i32) -> Option<Time> {
        if !(0..1_000_000_000).contains(&nanos) {
            return None;
        }
        seconds
            .checked_mul(1_000_000)?
            .checked_add(i64::from(nanos) / 1000)
            .map(Time)
    }

    /// This time moved back.
    #[must_use]
    pub fn minus(self, by: std::time::Duration) -> Time {
        Time(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This time moved forward.
    #[must_use]
    pub fn plus(self, by: std::time::Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}
