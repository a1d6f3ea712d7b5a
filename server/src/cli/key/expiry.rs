//! When a key expires, as it is typed.
//!
//! Believe this: a time that has a unit counts from now, a time that has a date stands.

use std::time::Duration;

use bellboard_core::offset::Time;

use crate::config::value;

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Never,
    After(Duration),
    At(Time),
}

impl Expiry {
    /// Reads `never`, `30d`, or an RFC 3339 time.
    pub(super) fn parse(text: &str) -> Result<Expiry, &'static str> {
        if text == "never" {
            return Ok(Expiry::Never);
        }
        if let Some(after) = value::duration(text) {
            return Ok(Expiry::After(after));
        }
        let time: Result<jiff::Timestamp, _> = text.parse();
        let time =
            time.map_err(|_| "write a time such as 30d or 12h, a date such as 2027-01-31T12:00:00Z, or never")?;
        Ok(Expiry::At(Time(time.as_microsecond())))
    }

    /// The moment; none for never.
    pub(super) fn at(self, now: Time) -> Option<Time> {
        match self {
            Expiry::Never => None,
            Expiry::After(after) => Some(now.plus(after)),
            Expiry::At(time) => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_length_a_date_or_never() {
        let at = |text| Expiry::parse(text).map(|expiry| expiry.at(Time(5)));
        assert_eq!(at("never"), Ok(None));
        assert_eq!(at("2s"), Ok(Some(Time(2_000_005))));
        assert_eq!(at("1970-01-01T00:00:01Z"), Ok(Some(Time(1_000_000))));
        for bad in ["", "soon", "30", "2027-01-31", "-1d"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }
}
