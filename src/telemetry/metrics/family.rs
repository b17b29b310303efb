//! A metric family with its samples, and the text of many.
//!
//! Purpose: whoever derives a metric at the scrape says what it is in plain
//! values, and only this module knows the encoder.
//!
//! Invariant: a family is written even when it has no sample, so that its name
//! and meaning can be found before the first one occurs.
//!
//! Deliberately absent: keeping anything. A family lives for one scrape.

use super::Format;
use crate::telemetry::traces::Ids;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::time::Duration;

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
    labels: &'static [&'static str],
    query: &'static str,
    samples: Vec<(Labels, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Whole(u64),
    Real(f64),
    Histogram(Histogram),
}

/// An observation that is a trace, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Example {
    pub(super) ids: Ids,
    pub(super) value: f64,
    /// When, since the Unix epoch.
    pub(super) unix: Duration,
}

/// What follows the count of a bucket (`OpenMetrics`, "Exemplars").
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ids { trace, span } = self.ids;
        let (value, unix) = (self.value, self.unix.as_secs_f64());
        write!(
            f,
            " # {{trace_id=\"{trace}\",span_id=\"{span}\"}} {value} {unix:.3}"
        )
    }
}

/// Observations by bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    sum: f64,
    /// Upper bound and the observations in this bucket alone; the last bound
    /// is infinite.
    buckets: Vec<(f64, u64)>,
    /// One for each bucket, or none at all.
    examples: Vec<Option<Example>>,
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
            examples: Vec::new(),
        }
    }

    pub(super) fn with_examples(self, examples: Vec<Option<Example>>) -> Self {
        Self { examples, ..self }
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
            labels: &[],
            query: "",
            samples: Vec::new(),
        }
    }

    /// Say which labels its samples have, in this order.
    #[must_use]
    pub const fn labelled(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// Say one question of `PromQL` that it answers, for its page in the docs.
    #[must_use]
    pub const fn answers(mut self, query: &'static str) -> Self {
        self.query = query;
        self
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

/// The text of these families.
pub(super) fn text(families: Vec<Family>, format: Format) -> String {
    let counters: HashSet<&'static str> = families
        .iter()
        .filter(|family| matches!(family.kind, MetricType::Counter))
        .map(|family| family.name)
        .collect();
    let examples = examples(&families);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut text = String::new();
    // Writing into a string cannot fail, and neither can our own values; a
    // text without its end mark would be refused by the scraper.
    let _ = encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => exemplified(text, examples),
        Format::Text => plain(&text, &counters),
    }
}

/// The families that have examples: what their buckets' lines begin with, and
/// what belongs to each of these, in the order of the text.
fn examples(families: &[Family]) -> Vec<(String, Vec<Option<Example>>)> {
    let of = |family: &Family| {
        let mut examples = Vec::new();
        for (_, value) in &family.samples {
            if let Value::Histogram(histogram) = value {
                let own = histogram.examples.iter().copied();
                let own = own.chain(std::iter::repeat(None));
                examples.extend(own.take(histogram.buckets.len()));
            }
        }
        let any = examples.iter().any(Option::is_some);
        any.then(|| (format!("{}_bucket{{", family.name), examples))
    };
    families.iter().filter_map(of).collect()
}

/// The text with its examples: the encoder takes none from outside.
fn exemplified(text: String, examples: Vec<(String, Vec<Option<Example>>)>) -> String {
    if examples.is_empty() {
        return text;
    }
    let mut examples: Vec<_> = examples
        .into_iter()
        .map(|(beginning, examples)| (beginning, examples.into_iter()))
        .collect();
    let mut whole = String::with_capacity(text.len() + 128 * examples.len());
    for line in text.lines() {
        whole.push_str(line);
        let own = examples
            .iter_mut()
            .find(|(beginning, _)| line.starts_with(beginning.as_str()));
        if let Some(example) = own.and_then(|(_, examples)| examples.next().flatten()) {
            // Writing into a string cannot fail.
            let _ = write!(whole, "{example}");
        }
        whole.push('\n');
    }
    whole
}

/// The same in the older format: counters are called there what their samples
/// are called, and there is no end mark.
fn plain(text: &str, counters: &HashSet<&'static str>) -> String {
    let mut plain = String::with_capacity(text.len() + 16 * counters.len());
    for line in text.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|mark| {
            let (name, rest) = line.strip_prefix(mark)?.split_once(' ')?;
            counters.contains(name).then_some((mark, name, rest))
        });
        match described {
            Some((mark, name, rest)) => {
                for part in [mark, name, "_total ", rest] {
                    plain.push_str(part);
                }
            }
            None if line == "# EOF" => continue,
            None => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
impl Family {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// That each sample has the labels that it is said to have.
    pub(crate) fn check_labels(&self) {
        for (labels, _) in &self.samples {
            let names: Vec<&str> = labels.0.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, self.labels, "labels of {}", self.name);
        }
    }

    /// Its part of docs/metrics.md.
    pub(crate) fn page(&self) -> String {
        assert!(
            !self.query.is_empty(),
            "{}: say what it `answers`",
            self.name
        );
        let (kind, ending) = match self.kind {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Histogram => ("histogram", ""),
            _ => ("gauge", ""),
        };
        let labels = match self.labels {
            [] => String::new(),
            labels => format!(", by `{}`", labels.join("`, `")),
        };
        let Self {
            name, help, query, ..
        } = self;
        format!("### `{name}{ending}`\n\nA {kind}{labels}. {help}.\n\n```promql\n{query}\n```\n")
    }
}
