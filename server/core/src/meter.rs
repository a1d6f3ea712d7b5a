//! Numbers that tell how the hub fares: how often, and how much.
//!
//! Believe this: they only grow, nobody waits for them, and nothing is decided by them. Who shows them, and in what form, is not known here.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How often each of a few kinds happened.
#[derive(Debug)]
pub struct Tally<K> {
    /// Held for one sum or one look.
    counts: Mutex<BTreeMap<K, u64>>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        let counts = Mutex::default();
        Tally { counts }
    }
}

impl<K: Ord + Copy> Tally<K> {
    /// It happened.
    pub fn add(&self, kind: K) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(kind).or_default() += 1;
    }

    /// What happened so far, and how often.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<K, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How values are spread over steps.
#[derive(Debug)]
pub struct Histogram {
    /// The largest value of each step, growing; what is larger falls into one more step.
    steps: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// See [`Histogram::new`].
    pub steps: &'static [u64],
    /// How many values fell into each step, and behind them how many were larger than all.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Histogram {
    /// A histogram whose steps end at these values, each of them included.
    #[must_use]
    pub fn new(steps: &'static [u64]) -> Histogram {
        Histogram {
            steps,
            counts: (0..=steps.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Adds a value.
    pub fn add(&self, value: u64) {
        let step = self.steps.partition_point(|end| *end < value);
        if let Some(count) = self.counts.get(step) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// As it is now.
    #[must_use]
    pub fn spread(&self) -> Spread {
        Spread {
            steps: self.steps,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Spread {
    /// Nothing yet, over these steps.
    #[must_use]
    pub fn none(steps: &'static [u64]) -> Spread {
        Histogram::new(steps).spread()
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Two histograms over the same steps together.
impl AddAssign for Spread {
    fn add_assign(&mut self, other: Spread) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_step_that_ends_with_it() {
        let histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11, 1000] {
            histogram.add(value);
        }
        let mut spread = histogram.spread();
        assert_eq!((spread.counts.as_slice(), spread.sum), (&[2, 2, 2][..], 1024));
        spread += histogram.spread();
        assert_eq!((spread.count(), spread.sum), (12, 2048));
    }

    #[test]
    fn kinds_are_counted_apart() {
        let tally = Tally::default();
        ["b", "a", "b"].into_iter().for_each(|kind| tally.add(kind));
        assert_eq!(tally.counts(), BTreeMap::from([("a", 1), ("b", 2)]));
    }
}
