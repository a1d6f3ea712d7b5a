//! A hub's own numbers, as a Prometheus would read them.

use std::collections::HashMap;

use crate::process::Process;
use crate::within;

/// The flags of a hub that shows them.
pub const SHOWN: [&str; 2] = ["--metrics-address", "127.0.0.1:0"];

/// All numbers at one moment, by name and labels as they are written.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// What was read.
    pub text: String,
    values: HashMap<String, f64>,
}

impl Process {
    /// Reads its metrics.
    ///
    /// # Panics
    /// When it was not told to show them.
    pub async fn metrics(&self) -> Metrics {
        let url = self.metrics_url.as_deref().expect("the hub shows metrics");
        let answer = within("the metrics", reqwest::get(url)).await.expect("the metrics");
        assert!(answer.status().is_success(), "{answer:?}");
        let text = within("the metrics", answer.text()).await.expect("text");
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let values = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(sample)
            .collect();
        Metrics { text, values }
    }

    /// Reads its metrics until they are so.
    ///
    /// # Panics
    /// When they do not become so.
    pub async fn metrics_until(&self, what: &str, mut are: impl FnMut(&Metrics) -> bool) -> Metrics {
        within(what, async {
            loop {
                let metrics = self.metrics().await;
                if are(&metrics) {
                    return metrics;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

impl Metrics {
    /// One number, by its name without `bellboard_` before it.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        let value = self.values.get(&format!("bellboard_{name}"));
        *value.unwrap_or_else(|| panic!("there is no bellboard_{name} in:\n{}", self.text))
    }

    /// The names of all metrics, as samples bear them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let name = |line: &str| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, _)) => name.to_owned(),
            None => panic!("no type: {line}"),
        };
        types.map(name).collect()
    }
}
