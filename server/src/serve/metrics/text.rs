//! The table of metrics as Prometheus reads it.
//!
//! Believe this: the library writes the text (OpenMetrics 1.0); here is only said which number goes where.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Metric, Sources, Value};

/// What is said of the text, so that a scraper knows how to read it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as they are now.
pub(super) fn render(sources: &Arc<Sources>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("bellboard");
    registry.register_collector(Box::new(sources.clone()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in self.now() {
            encode(&mut encoder, metric)?;
        }
        Ok(())
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, metric: Metric) -> fmt::Result {
    let Metric { name, help, value } = metric;
    let kind = match value {
        Value::Counter(_) | Value::Counters(..) => MetricType::Counter,
        Value::Gauge(_) | Value::Gauges(..) => MetricType::Gauge,
        Value::Histogram(..) => MetricType::Histogram,
    };
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    let counter = |mut encoder: MetricEncoder<'_>, value| encoder.encode_counter::<NoLabelSet, _, f64>(&value, None);
    match value {
        Value::Counter(value) => counter(encoder, value),
        Value::Counters(label, values) => values
            .into_iter()
            .try_for_each(|(name, value)| counter(encoder.encode_family(&[(label, name)])?, value)),
        Value::Gauge(value) => encoder.encode_gauge(&value),
        Value::Gauges(label, values) => values
            .into_iter()
            .try_for_each(|(name, value)| encoder.encode_family(&[(label, name)])?.encode_gauge(&value)),
        Value::Histogram(spread, per_unit) => {
            let in_unit = |value: u64| value as f64 / per_unit;
            let ends = spread.steps.iter().map(|end| in_unit(*end)).chain([f64::INFINITY]);
            let buckets: Vec<_> = ends.zip(spread.counts.iter().copied()).collect();
            encoder.encode_histogram::<NoLabelSet>(in_unit(spread.sum), spread.count(), &buckets, None)
        }
    }
}
