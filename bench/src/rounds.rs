//! Sides of a comparison, in alternating order, and what is kept of them.
//!
//! Believe this: a ratio is taken within one round, where both sides met the same machine, and the median of those ratios is told with
//! the smallest and the largest. Two absolute numbers of different times are never divided.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::probe::{self, Usage};
use std::time::Duration;

/// Cores that others may take before a round is thrown away.
const OTHERS_MAX: f64 = 0.3;

/// How far two looks at the disk may lie apart before a round is thrown away.
const DISK_RATIO_MAX: f64 = 1.5;

/// What one run of one side gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// What the machine did meanwhile.
    pub(crate) usage: Usage,
    /// The numbers, by name.
    pub(crate) values: BTreeMap<&'static str, f64>,
}

impl Sample {
    /// A sample of this window.
    pub(crate) fn of(usage: Usage) -> Sample {
        Sample {
            usage,
            values: BTreeMap::new(),
        }
    }

    /// With one more number.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Sample {
        self.values.insert(name, value);
        self
    }
}

/// What is done about noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noise {
    /// A noisy round is thrown away, and another one run.
    Discard,
    /// It is kept, and the result says so.
    Keep,
}

/// How many rounds, and what counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rounds to keep.
    pub(crate) rounds: usize,
    /// What is done about noise.
    pub(crate) noise: Noise,
}

/// All that was kept of one comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    /// By side, one sample for each kept round.
    sides: Vec<Vec<Sample>>,
    /// Around them.
    pub(crate) around: Around,
}

/// Under what the samples were taken.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Around {
    /// Rounds kept.
    pub(crate) kept: usize,
    /// Rounds thrown away for noise.
    pub(crate) discarded: usize,
    /// Of those kept, how many were noisy: only where that was asked for.
    pub(crate) noisy: usize,
    /// Cores that others took, in the kept sample where it was most.
    pub(crate) others_cores_max: f64,
    /// Cores that the host took from the machine, likewise.
    pub(crate) steal_cores_max: f64,
    /// How long a sync of 4 KiB took, shortest and longest, in microseconds.
    pub(crate) sync_us: (f64, f64),
}

/// Runs all sides in turn, forwards and backwards, until enough rounds are kept. `run` is told which side and starts it anew.
pub(crate) async fn rounds<S: Copy>(
    plan: Plan,
    disk: &Path,
    sides: &[S],
    mut run: impl AsyncFnMut(S) -> Result<Sample>,
) -> Result<Rounds> {
    let mut kept = Rounds {
        sides: sides.iter().map(|_| Vec::new()).collect(),
        around: Around {
            sync_us: (f64::INFINITY, 0.0),
            ..Around::default()
        },
    };
    let most = 3 * plan.rounds;
    for round in 0..most {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let mut samples: Vec<(usize, Sample)> = Vec::with_capacity(sides.len());
        let mut looks = vec![probe::sync_time(disk)?];
        for side in order {
            samples.push((side, run(sides[side]).await?));
            looks.push(probe::sync_time(disk)?);
        }
        let noisy = is_noisy(&samples, &looks);
        if noisy && plan.noise == Noise::Discard {
            kept.around.discarded += 1;
            continue;
        }
        kept.keep(samples, &looks, noisy);
        if kept.around.kept == plan.rounds {
            break;
        }
    }
    if kept.around.kept == 0 {
        return Err(Error::Void(format!(
            "all of {most} rounds were noisy; try on a quiet machine, or with --force"
        )));
    }
    Ok(kept)
}

fn is_noisy(samples: &[(usize, Sample)], looks: &[Duration]) -> bool {
    let busy = samples.iter().any(|(_, sample)| sample.usage.others_cores > OTHERS_MAX);
    let (shortest, longest) = (looks.iter().min(), looks.iter().max());
    let (shortest, longest) = (
        shortest.copied().unwrap_or_default(),
        longest.copied().unwrap_or_default(),
    );
    busy || longest.as_secs_f64() > DISK_RATIO_MAX * shortest.as_secs_f64()
}

impl Rounds {
    fn keep(&mut self, samples: Vec<(usize, Sample)>, looks: &[Duration], noisy: bool) {
        let around = &mut self.around;
        around.kept += 1;
        around.noisy += usize::from(noisy);
        for look in looks {
            let micros = look.as_secs_f64() * 1e6;
            around.sync_us = (around.sync_us.0.min(micros), around.sync_us.1.max(micros));
        }
        for (side, sample) in samples {
            around.others_cores_max = around.others_cores_max.max(sample.usage.others_cores);
            around.steal_cores_max = around.steal_cores_max.max(sample.usage.steal_cores);
            self.sides[side].push(sample);
        }
    }

    /// The median of a number on one side.
    pub(crate) fn median(&self, side: usize, name: &str) -> f64 {
        let values = self.sides[side].iter().filter_map(|sample| sample.values.get(name));
        spread(values.copied().collect()).median
    }

    /// A number of one side by the same of another, round by round.
    pub(crate) fn ratio(&self, side: usize, beside: usize, name: &str) -> Spread {
        let pairs = self.sides[side].iter().zip(&self.sides[beside]);
        let ratios = pairs.filter_map(|(own, other)| Some(own.values.get(name)? / other.values.get(name)?));
        spread(ratios.collect())
    }
}

/// A median with its ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) least: f64,
    /// The largest.
    pub(crate) most: f64,
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values.first(), values.last());
    let middle = values.len() / 2;
    let median = match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    };
    Spread {
        median,
        least: first.copied().unwrap_or(f64::NAN),
        most: last.copied().unwrap_or(f64::NAN),
    }
}

/// What a share of sorted times stays below, in seconds.
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list that was counted"
    )]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: f64, others: f64) -> Sample {
        let usage = Usage {
            others_cores: others,
            ..Usage::default()
        };
        Sample::of(usage).with("value", value)
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        let mut rounds = Rounds {
            sides: vec![Vec::new(), Vec::new()],
            around: Around::default(),
        };
        for (own, other) in [(1.0, 2.0), (30.0, 30.0), (4.0, 2.0)] {
            rounds.keep(vec![(0, sample(own, 0.0)), (1, sample(other, 0.0))], &[], false);
        }
        let ratio = rounds.ratio(0, 1, "value");
        let (median, least, most) = (1.0, 0.5, 2.0);
        assert_eq!(ratio, Spread { median, least, most });
        assert_eq!(rounds.median(0, "value"), 4.0);
    }

    #[test]
    fn others_and_the_disk_make_a_round_noisy() {
        let quiet = [Duration::from_micros(100), Duration::from_micros(149)];
        let slow = [Duration::from_micros(100), Duration::from_micros(151)];
        assert!(!is_noisy(&[(0, sample(1.0, 0.29))], &quiet));
        assert!(is_noisy(&[(0, sample(1.0, 0.31))], &quiet));
        assert!(is_noisy(&[(0, sample(1.0, 0.0))], &slow));
    }

    #[tokio::test]
    async fn noisy_rounds_are_run_again_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = 0;
        let plan = Plan {
            rounds: 2,
            noise: Noise::Keep,
        };
        let kept = rounds(plan, folder.path(), &["a", "b"], async |_| {
            runs += 1;
            Ok(sample(1.0, 9.0))
        });
        let kept = kept.await.unwrap();
        assert_eq!((runs, kept.around.kept, kept.around.noisy), (4, 2, 2));
        let discarding = Plan {
            noise: Noise::Discard,
            ..plan
        };
        let none = rounds(discarding, folder.path(), &["a", "b"], async |_| Ok(sample(1.0, 9.0))).await;
        assert!(matches!(none, Err(Error::Void(_))), "{none:?}");
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        assert_eq!(quantile(&times, 0.5), 51.0);
        assert_eq!(quantile(&times, 0.99), 100.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
