//! From the shards' plain counters to the metrics page.
//!
//! A shard counts in numbers of its own, which costs it nothing to share. Once a second it writes
//! them into a [`Snapshot`] and leaves that with its [`Reporter`]: one pointer is swapped, nobody
//! waits. A scrape adds up the last snapshot of every shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics::{Label, SharedString};
use parking_lot::Mutex;

use super::latency::Latency;
use super::metric::{Kind, Metric};

/// A metric with the values of its labels, in the metric's order.
type Series = (&'static Metric, Box<[Arc<str>]>);

/// What one shard has counted since it started (counters) and holds now (gauges).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    values: BTreeMap<Series, u64>,
    /// How long messages took.
    pub routing: Latency,
}

/// Where shards leave their snapshots. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Board(Arc<Inner>);

#[derive(Default)]
struct Inner {
    slots: Mutex<Vec<Arc<ArcSwap<Snapshot>>>>,
    /// Asked at each scrape.
    sources: Mutex<Vec<Source>>,
    /// Gauges that were published, so that one whose last holder is gone goes to 0.
    gauges: Mutex<BTreeSet<Series>>,
}

/// Adds what it knows to a snapshot, when somebody asks.
type Source = Box<dyn Fn(&mut Snapshot) + Send>;

/// One shard's place on the board.
pub struct Reporter(Arc<ArcSwap<Snapshot>>);

impl Snapshot {
    /// Adds `value` to a series: a metric and one value for each of its labels, in its order.
    pub fn add(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        let labels = labels.iter().map(|label| Arc::from(*label)).collect();
        *self.values.entry((metric, labels)).or_default() += value;
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (series, value) in &other.values {
            match self.values.get_mut(series) {
                Some(sum) => *sum += value,
                None => drop(self.values.insert(series.clone(), *value)),
            }
        }
        self.routing.merge(&other.routing);
    }
}

impl Board {
    /// A place for one more shard. What it reports stays, also when it has ended: a counter never
    /// goes back.
    pub fn reporter(&self) -> Reporter {
        let slot = Arc::new(ArcSwap::default());
        self.0.slots.lock().push(Arc::clone(&slot));
        Reporter(slot)
    }

    /// What is read where it is kept, at each scrape, rather than reported: gauges of many teams,
    /// which nobody should add up every second for nobody.
    pub fn source(&self, source: impl Fn(&mut Snapshot) + Send + 'static) {
        self.0.sources.lock().push(Box::new(source));
    }

    /// Hands the sums to the recorder in force, but for the latency, which is returned.
    pub fn publish(&self) -> Latency {
        let mut sum = Snapshot::default();
        for slot in self.0.slots.lock().iter() {
            sum.merge(&slot.load());
        }
        for source in self.0.sources.lock().iter() {
            source(&mut sum);
        }
        for (series, value) in &sum.values {
            match series.0.kind {
                Kind::Counter => metrics::counter!(series.0.name, labels(series)).absolute(*value),
                Kind::Gauge | Kind::Histogram => {
                    self.0.gauges.lock().insert(series.clone());
                }
            }
        }
        for series in self.0.gauges.lock().iter() {
            let value = sum.values.get(series).copied().unwrap_or(0);
            metrics::gauge!(series.0.name, labels(series)).set(value as f64);
        }
        sum.routing
    }
}

impl Reporter {
    /// Replaces what this shard reported before.
    pub fn report(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

fn labels((metric, values): &Series) -> Vec<Label> {
    let named = metric.labels.iter().zip(values.iter());
    named
        .map(|(name, value)| Label::new(*name, SharedString::from(Arc::clone(value))))
        .collect()
}
