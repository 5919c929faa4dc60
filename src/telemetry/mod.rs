//! What the broker counts, and how it becomes a page of metrics.
//!
//! [`metric`] has every metric by name; nothing else in the code spells one. What shards count
//! reaches the page by [`Snapshot`]s, what is rare is counted there and then. `admin` serves the
//! page; `audit`, `identity` and `net` count.

mod latency;
pub mod metric;
mod snapshot;

pub use latency::Latency;
pub use metric::{Kind, Metric, install};
pub use snapshot::{Board, Reporter, Snapshot};
