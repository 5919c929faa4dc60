//! Topic names and filters (section 4.7), how two filters relate, and the trie that finds the
//! subscriptions of a topic.
//!
//! Knows nothing of teams or sessions. Called by `policy` (containment and overlap), `team`
//! (routes) and `broker` (parsing what clients wrote).

mod filter;
mod name;
pub(crate) mod relation;

pub use filter::{SharedFilter, TopicFilter};
pub use name::{TopicError, TopicName};
