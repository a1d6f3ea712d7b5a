//! What a connector counted.
//!
//! The one thing to believe: whatever was not mapped, was dropped or had to be derived is a number here. How often a
//! connector must derive says how far the vendor's stream can be trusted.

use std::collections::BTreeMap;

use tracing::{debug, info, warn};

/// Most kinds of vendor events counted by name; the rest is counted together, so that a hostile vendor grows nothing.
const KINDS_MAX: usize = 256;

/// Under which name kinds beyond [`KINDS_MAX`] are counted.
const OTHER: &str = "(other)";

/// Counters of one run, growing from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Events given out.
    pub events: u64,
    /// Of these, the ones derived from a sweep or from other facts.
    pub derived: u64,
    /// Deltas given out.
    pub deltas: u64,
    /// Deltas that could not be placed: after a cut, or of an item whose beginning was not heard.
    pub deltas_unplaced: u64,
    /// Vendor events that had nothing new to say: repeats, signs of life, steps without a meaning of their own.
    pub repeated: u64,
    /// Vendor events given out as `vendor_raw`, by their kind.
    pub raw: BTreeMap<String, u64>,
    /// Vendor events of no session, which no event of the log can carry, by their kind.
    pub sessionless: BTreeMap<String, u64>,
    /// Events that were too large even when shortened; a notice took their place.
    pub too_large: u64,
    /// Raw records that were too large to travel beside their event.
    pub raw_omitted: u64,
    /// Times that the stream was lost and opened again.
    pub reconnects: u64,
    /// Gaps found in the vendor's own numbering, and repaired from its history.
    pub gaps: u64,
    /// Sweep calls that failed; the next sweep asks again.
    pub sweep_failures: u64,
    /// Bytes from the vendor that were no JSON.
    pub malformed: u64,
}

impl Report {
    pub(crate) fn count_raw(&mut self, kind: &str) {
        count(&mut self.raw, kind);
    }

    pub(crate) fn count_sessionless(&mut self, kind: &str) {
        count(&mut self.sessionless, kind);
    }

    /// Tells the counters to whoever reads the log.
    pub(crate) fn log(&self) {
        let Report {
            events,
            derived,
            deltas,
            deltas_unplaced,
            reconnects,
            gaps,
            sweep_failures,
            malformed,
            too_large,
            ..
        } = self;
        info!(
            events,
            derived, deltas, deltas_unplaced, reconnects, gaps, sweep_failures, "the connector so far"
        );
        if *malformed > 0 || *too_large > 0 {
            warn!(malformed, too_large, "the vendor said what could not be kept");
        }
        debug!(raw = ?self.raw, sessionless = ?self.sessionless, "kinds without a place");
    }
}

fn count(counts: &mut BTreeMap<String, u64>, kind: &str) {
    let known = counts.contains_key(kind) || counts.len() < KINDS_MAX;
    *counts.entry(if known { kind } else { OTHER }.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let mut report = Report::default();
        for number in 0..1000 {
            report.count_raw(&format!("kind.{number}"));
        }
        assert_eq!(report.raw.len(), KINDS_MAX + 1);
        assert_eq!(report.raw[OTHER], 1000 - KINDS_MAX as u64);
    }
}
