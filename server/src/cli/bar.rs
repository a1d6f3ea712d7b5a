//! A bar for work that takes long.
//!
//! Believe this: it is drawn on standard error, and only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar moves: smoothly, and cheaply.
const INTERVAL: Duration = Duration::from_millis(200);

/// Of so many bytes, where that is known.
pub(super) fn bytes(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => drawn(
            ProgressBar::new(total),
            "{wide_bar} {binary_bytes}/{binary_total_bytes} {msg}",
        ),
        None => drawn(ProgressBar::new_spinner(), "{spinner} {binary_bytes} {msg}"),
    }
}

/// Of so many events.
pub(super) fn events(total: u64) -> ProgressBar {
    drawn(
        ProgressBar::new(total),
        "{wide_bar} {human_pos}/{human_len} events {msg}",
    )
}

fn drawn(bar: ProgressBar, template: &str) -> ProgressBar {
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        // The bar's own look will do.
        Err(_) => bar,
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    if !bar.is_hidden() {
        bar.enable_steady_tick(INTERVAL);
    }
    bar
}
