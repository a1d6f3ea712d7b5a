//! How values are written: addresses, sizes, times, words.
//!
//! Believe this: a parser takes exactly what the help and the error texts say, and nothing that only looks like it.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use bellboard_core::limits;

use crate::auth::rules::{Host, Origin};
use crate::serve::settings::{
    DRAIN_DEADLINE_MAX, Proxy, RETAIN_AGE_MAX, RETAIN_BYTES_MIN, Reach, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN,
};
use crate::store::Synchronous;
use crate::telemetry::Format;

/// Most that a count of connections, streams or calls may be: more is a mistyped number.
const COUNT_MAX: usize = 1_000_000;

/// An address and a port; `localhost` for 127.0.0.1.
#[must_use]
pub fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

/// A whole number.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// A whole number with a unit behind it.
fn with_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// A number of bytes, such as `64MiB`, `512KiB` or `1048576`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = with_unit(text)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// A length of time, such as `10s`, `500ms`, `2m`, `1h` or `30d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = with_unit(text)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

fn duration_in(text: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    duration(text).filter(|time| range.contains(time))
}

/// See [`limits::HEARTBEAT_MIN`].
pub(super) fn heartbeat(text: &str) -> Option<Duration> {
    duration_in(text, limits::HEARTBEAT_MIN..=limits::HEARTBEAT_MAX)
}

/// None for `0s`; see [`limits::MAX_AGE_MIN`].
pub(super) fn max_stream_age(text: &str) -> Option<Option<Duration>> {
    match duration(text)? {
        Duration::ZERO => Some(None),
        age => (age >= limits::MAX_AGE_MIN).then_some(Some(age)),
    }
}

/// See [`RETAIN_AGE_MAX`].
pub(super) fn retain_age(text: &str) -> Option<Duration> {
    duration_in(text, Duration::from_secs(1)..=RETAIN_AGE_MAX)
}

/// See [`RETAIN_BYTES_MIN`].
pub(super) fn retain_bytes(text: &str) -> Option<u64> {
    size(text).filter(|bytes| *bytes >= RETAIN_BYTES_MIN)
}

/// See [`limits::KEEPALIVE_MIN`].
pub(super) fn keepalive(text: &str) -> Option<Duration> {
    duration_in(text, limits::KEEPALIVE_MIN..=limits::KEEPALIVE_MAX)
}

/// A count of at least one and at most [`COUNT_MAX`].
pub(super) fn count(text: &str) -> Option<usize> {
    count_or_none(text).filter(|count| *count > 0)
}

/// The same, or 0 for no limit.
pub(super) fn count_or_none(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count <= COUNT_MAX)
}

/// See [`DRAIN_DEADLINE_MAX`].
pub(super) fn drain_deadline(text: &str) -> Option<Duration> {
    duration_in(text, Duration::ZERO..=DRAIN_DEADLINE_MAX)
}

/// See [`WINDOW_BYTES_MIN`].
pub(super) fn window(text: &str) -> Option<usize> {
    let bytes = usize::try_from(size(text)?).ok()?;
    (WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&bytes).then_some(bytes)
}

/// See [`Synchronous`].
pub(super) fn synchronous(text: &str) -> Option<Synchronous> {
    match text {
        "full" => Some(Synchronous::Full),
        "relaxed" => Some(Synchronous::Normal),
        _ => None,
    }
}

/// See [`Proxy`].
pub(super) fn proxy(text: &str) -> Option<Proxy> {
    match text {
        "true" => Some(Proxy::InFront),
        "false" => Some(Proxy::None),
        _ => None,
    }
}

/// See [`Reach`].
pub(super) fn reach(text: &str) -> Option<Reach> {
    match text {
        "true" => Some(Reach::Anywhere),
        "false" => Some(Reach::Loopback),
        _ => None,
    }
}

/// See [`Format`].
pub(super) fn format(text: &str) -> Option<Format> {
    match text {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    }
}

/// See [`Host::parse`].
pub(super) fn host(text: &str) -> Option<Host> {
    Host::parse(text).ok()
}

/// See [`Origin::parse`].
pub(super) fn origin(text: &str) -> Option<Origin> {
    Origin::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64MiB", 64 << 20),
            ("2 GiB", 2 << 30),
            ("5B", 5),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "64MB",
            "64mib",
            "1e3",
            "99999999999GiB",
            "99999999999999999999",
        ] {
            assert_eq!(size(bad), None, "{bad:?}");
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "1 week", "10S", "99999999999999999d"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
