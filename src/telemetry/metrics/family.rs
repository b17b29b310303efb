//! A metric family with its samples, and the text of many.
//!
//! Purpose: whoever derives a metric at the scrape says what it is in plain
//! values, and only this module knows the encoder.
//!
//! Invariant: a family is written even when it has no sample, so that its name
//! and meaning can be found before the first one occurs.
//!
//! Deliberately absent: keeping anything. A family lives for one scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use std::fmt;

/// The labels of one sample, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub struct Labels(Vec<(&'static str, String)>);

impl Labels {
    /// These labels and one more.
    #[must_use]
    pub fn and(mut self, label: (&'static str, String)) -> Self {
        self.0.push(label);
        self
    }
}

impl<const N: usize> From<[(&'static str, String); N]> for Labels {
    fn from(labels: [(&'static str, String); N]) -> Self {
        Self(labels.into())
    }
}

/// A metric family as it is at one instant.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Whole(u64),
    Real(f64),
    Histogram(Histogram),
}

/// Observations by bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    sum: f64,
    /// Upper bound and the observations in this bucket alone; the last bound
    /// is infinite.
    buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// No observation, with these upper bounds, ascending.
    #[must_use]
    pub fn of(bounds: &[f64]) -> Self {
        Self::read(bounds, &[], 0.0)
    }

    /// Counts as they are read off: one per bound, and one for what is above.
    #[must_use]
    pub fn read(bounds: &[f64], counts: &[u64], sum: f64) -> Self {
        let counts = counts.iter().copied().chain(std::iter::repeat(0));
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Self {
            sum,
            buckets: bounds.zip(counts).collect(),
        }
    }

    /// Count one observation.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.buckets.partition_point(|(bound, _)| *bound < value);
        if let Some((_, count)) = self.buckets.get_mut(bucket) {
            *count += 1;
            self.sum += value;
        }
    }
}

impl Family {
    /// A family of values that go up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Gauge)
    }

    /// A family of values that only go up. The text's samples are called
    /// `name` with `_total` behind it.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Counter)
    }

    /// A family of histograms.
    #[must_use]
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Histogram)
    }

    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            samples: Vec::new(),
        }
    }

    /// Add a sample.
    pub fn add(&mut self, labels: impl Into<Labels>, value: u64) {
        self.samples.push((labels.into(), Value::Whole(value)));
    }

    /// Add a sample that need not be a whole number.
    pub fn add_real(&mut self, labels: impl Into<Labels>, value: f64) {
        self.samples.push((labels.into(), Value::Real(value)));
    }

    /// Add a sample to a family of histograms.
    pub fn add_histogram(&mut self, labels: impl Into<Labels>, value: Histogram) {
        self.samples.push((labels.into(), Value::Histogram(value)));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.samples {
            let labels = labels.0.as_slice();
            if labels.is_empty() {
                encode_value(&mut metric, self.kind, value)?;
            } else {
                let mut sample = metric.encode_family(&labels)?;
                encode_value(&mut sample, self.kind, value)?;
            }
        }
        Ok(())
    }
}

fn encode_value(to: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> fmt::Result {
    const PLAIN: Option<&Exemplar<NoLabelSet, f64>> = None;
    match (kind, value) {
        (MetricType::Counter, Value::Whole(count)) => to.encode_counter(count, PLAIN),
        (MetricType::Counter, Value::Real(count)) => to.encode_counter(count, PLAIN),
        (_, Value::Whole(value)) => to.encode_gauge(value),
        (_, Value::Real(value)) => to.encode_gauge(value),
        (_, Value::Histogram(histogram)) => {
            let count = histogram.buckets.iter().map(|(_, count)| count).sum();
            to.encode_histogram::<NoLabelSet>(histogram.sum, count, &histogram.buckets, None)
        }
    }
}

/// The encoder takes its metrics from a collector only.
#[derive(Debug)]
struct Scrape(Vec<Family>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

/// The `OpenMetrics` text of these families, its end mark included.
pub(super) fn text(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut text = String::new();
    // Writing into a string cannot fail, and neither can our own values; a
    // text without its end mark would be refused by the scraper.
    let _ = encode(&mut text, &registry);
    text
}
