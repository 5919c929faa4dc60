//! The core's face: a shard, which ties connections, sessions and teams together.
//!
//! The shell hands a [`Shard`] bytes, verdicts, batches and the time; the shard hands back bytes in
//! outboxes and [`Effect`]s. No I/O happens here and nothing waits. A shard belongs to one thread;
//! what shards share is the [`World`](crate::team::World).
//!
//! One file a concern: `connect` (from CONNECT to CONNACK, takeover) and `pending` (what waits in
//! between), `authenticate` (challenges, re-authentication), `publish` (a message in), `deliver` (a
//! message out), `form` (its bytes) and `late` (what a
//! slow reader is to have), `subscribe`, `replay` (retained messages), `turn` and
//! `lanes` (how much of it one connection and one team get done at a time), `depart` (the end of connections and sessions, wills),
//! `bound` (limits of
//! teams and clients), `timers`; the tables, outboxes, aliases and counters that they work on.

mod alias;
mod authenticate;
mod batch;
mod bound;
mod connect;
mod connection;
mod counters;
mod deliver;
mod depart;
mod effect;
mod event;
mod form;
mod lanes;
mod late;
mod outbox;
mod pending;
mod publish;
mod recent;
mod replay;
mod shard;
mod share;
mod subscribe;
mod table;
mod timers;
mod turn;

pub use crate::session::{Peer, network};
pub use batch::Batch;
pub use connect::Migrant;
pub use counters::{Counters, Drop, ListenerBytes};
pub use effect::{Breach, ConnId, Effect, Exchange, ExchangeState, Login, Verdict};
pub use event::{DisconnectCause, Event, EventKind, Refusal, Who};
pub use outbox::Outbox;
pub use shard::Shard;
pub use turn::Allowance;
