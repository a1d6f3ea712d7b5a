//! The machine's clock: measuring time is what this program is for.
//!
//! Believe this: it never goes back, and all processes of one machine read the same one.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<(Instant, Duration)> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this program that reads the clocks"
    )]
    let (now, wall) = (Instant::now(), SystemTime::now());
    (now, wall.duration_since(UNIX_EPOCH).unwrap_or_default())
});

/// Time since 1970, from a clock that does not jump: read once from the wall, then counted.
pub(crate) fn now() -> Duration {
    let (start, wall) = *START;
    wall + start.elapsed()
}

/// Time since an earlier [`now`].
pub(crate) fn since(earlier: Duration) -> Duration {
    now().saturating_sub(earlier)
}
