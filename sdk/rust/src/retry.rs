//! When to try again: exponential back-off with full jitter.
//!
//! The one thing to believe: a delay is drawn evenly from zero to a ceiling that doubles, so that clients that lost the same
//! hub do not come back together; what the hub says (`RetryInfo`, `closing.retry_after`) is never undercut.

use std::future::Future;
use std::time::Duration;

use crate::error::Result;

/// How often and how patiently to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first delay's ceiling. Default 100 ms.
    pub first_ceiling: Duration,
    /// No delay's ceiling grows above this. Default 10 s for calls, 30 s for streams.
    pub largest_ceiling: Duration,
    /// How many retries in a row before the error is handed out. `None`: without end, which is the default for streams;
    /// 5 for calls.
    pub retries: Option<u32>,
}

impl RetryPolicy {
    /// For one call: gives up after 5 retries.
    #[must_use]
    pub const fn call() -> RetryPolicy {
        RetryPolicy {
            first_ceiling: Duration::from_millis(100),
            largest_ceiling: Duration::from_secs(10),
            retries: Some(5),
        }
    }

    /// For a stream that is to live as long as its program: never gives up.
    #[must_use]
    pub const fn stream() -> RetryPolicy {
        RetryPolicy {
            first_ceiling: Duration::from_millis(100),
            largest_ceiling: Duration::from_secs(30),
            retries: None,
        }
    }

    /// Never tries again.
    #[must_use]
    pub const fn never() -> RetryPolicy {
        RetryPolicy {
            first_ceiling: Duration::ZERO,
            largest_ceiling: Duration::ZERO,
            retries: Some(0),
        }
    }
}

/// Counts the failures in a row and draws the delays between them.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub const fn new(policy: RetryPolicy) -> Backoff {
        Backoff { policy, failures: 0 }
    }

    /// How long to wait after one more failure, and at least as long as the hub said; `None` when it is time to give up.
    pub fn next_delay(&mut self, at_least: Option<Duration>) -> Option<Duration> {
        if self.policy.retries.is_some_and(|most| self.failures >= most) {
            return None;
        }
        let delay = full_jitter(ceiling(&self.policy, self.failures), random());
        self.failures = self.failures.saturating_add(1);
        Some(delay.max(at_least.unwrap_or(Duration::ZERO)))
    }

    /// Something succeeded: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures in a row there were.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// Makes a call until it succeeds, fails for good, or fails too often. The call must be one that may be repeated.
///
/// # Errors
/// The call's last error.
pub async fn retrying<T, Call, Answer>(policy: &RetryPolicy, mut call: Call) -> Result<T>
where
    Call: FnMut() -> Answer,
    Answer: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::new(policy.clone());
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !error.is_retryable() {
            return Err(error);
        }
        let Some(delay) = backoff.next_delay(error.retry_delay()) else {
            return Err(error);
        };
        tracing::debug!(%error, delay_ms = delay.as_millis(), "call failed, trying again");
        wait(delay).await;
    }
}

/// Waits, and is the only place that does so between attempts.
pub(crate) async fn wait(delay: Duration) {
    tokio::time::sleep(delay).await;
}

fn ceiling(policy: &RetryPolicy, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    policy.first_ceiling.saturating_mul(factor).min(policy.largest_ceiling)
}

/// A delay between zero and the ceiling, even over all of it; `random` is even over all of `u64`.
fn full_jitter(ceiling: Duration, random: u64) -> Duration {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    let drawn = (u128::from(micros) * u128::from(random)) >> 64;
    Duration::from_micros(u64::try_from(drawn).unwrap_or(micros))
}

fn random() -> u64 {
    // Without a source of randomness the delay is the whole ceiling: late, never a storm.
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_even_between_zero_and_its_ceiling() {
        let ceiling = Duration::from_secs(8);
        assert_eq!(full_jitter(ceiling, 0), Duration::ZERO);
        assert_eq!(full_jitter(ceiling, 1 << 63), Duration::from_secs(4));
        let last = full_jitter(ceiling, u64::MAX);
        assert!(last < ceiling && last > Duration::from_millis(7_999));
    }

    #[test]
    fn ceilings_double_and_stop_growing() {
        let policy = RetryPolicy::stream();
        assert_eq!(ceiling(&policy, 0), Duration::from_millis(100));
        assert_eq!(ceiling(&policy, 3), Duration::from_millis(800));
        assert_eq!(ceiling(&policy, 9), Duration::from_secs(30));
        assert_eq!(ceiling(&policy, u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn the_hubs_word_is_never_undercut() {
        let mut backoff = Backoff::new(RetryPolicy::stream());
        for _ in 0..100 {
            let told = Duration::from_secs(40);
            assert_eq!(backoff.next_delay(Some(told)), Some(told));
        }
    }

    #[test]
    fn it_gives_up_after_the_retries_and_begins_anew_after_a_success() {
        let mut backoff = Backoff::new(RetryPolicy {
            retries: Some(2),
            ..RetryPolicy::call()
        });
        assert!(backoff.next_delay(None).is_some());
        assert!(backoff.next_delay(None).is_some());
        assert!(backoff.next_delay(None).is_none());
        backoff.reset();
        assert!(backoff.next_delay(None).is_some());
    }
}
