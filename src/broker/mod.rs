//! The core's face: a shard, which ties connections, sessions and teams together.
//!
//! The shell hands a [`Shard`](shard::Shard) bytes, verdicts, batches and the time; the shard hands
//! back bytes in outboxes and [`Effect`]s. No I/O happens here and nothing waits.

mod effect;
mod event;

pub use effect::{ConnId, Effect, Login, Peer, Verdict};
pub use event::{DisconnectCause, Event, EventKind, Refusal, Who};
