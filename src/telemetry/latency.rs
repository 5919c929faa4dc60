//! The time that messages take through the broker, counted in buckets.
//!
//! A shard counts every message, so the histogram is a few plain numbers that it owns and not the
//! recorder's, which keeps each sample until it is scraped.

use std::fmt::Write as _;

use super::metric::Metric;
use crate::time::Span;

/// Upper ends of the buckets, in microseconds, and as seconds for the label.
const BUCKETS: [(u64, &str); 17] = [
    (5, "0.000005"),
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
];

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// One a bucket, then those above the last.
    counts: [u64; BUCKETS.len() + 1],
    sum_us: u64,
}

impl Latency {
    /// Counts `messages` that each took `span`.
    pub fn observe(&mut self, span: Span, messages: u64) {
        let micros = span.as_micros();
        let bucket = BUCKETS.partition_point(|(end, _)| *end < micros);
        self.counts[bucket] += messages;
        self.sum_us = self.sum_us.saturating_add(micros.saturating_mul(messages));
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// Appends it in Prometheus' text format.
    pub fn render(&self, metric: &Metric, out: &mut String) {
        let Metric { name, help, .. } = metric;
        let ends = BUCKETS.iter().map(|(_, end)| *end).chain(["+Inf"]);
        let mut total = 0;
        // Writing to a String does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (end, count) in ends.zip(self.counts) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {total}");
        }
        let (seconds, micros) = (self.sum_us / 1_000_000, self.sum_us % 1_000_000);
        let _ = writeln!(
            out,
            "{name}_sum {seconds}.{micros:06}\n{name}_count {total}"
        );
    }
}
