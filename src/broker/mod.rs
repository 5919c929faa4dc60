//! The core's face: a shard, which ties connections, sessions and teams together.
//!
//! The shell hands a [`Shard`] bytes, verdicts, batches and the time; the shard hands back bytes in
//! outboxes and [`Effect`]s. No I/O happens here and nothing waits. A shard belongs to one thread;
//! what shards share is the [`World`](crate::team::World).
//!
//! One file a concern: `connect` (from CONNECT to CONNACK, takeover) and `pending` (what waits in
//! between), `authenticate` (challenges, re-authentication), `publish` (a message in), `deliver` (a
//! message out), `form` (its bytes) and `late` (what a slow reader is to have), `subscribe`, `replay`
//! (retained messages), `turn` and `lanes` (how much of it one connection and one team get done at a
//! time), `bound` (limits of teams and clients), `ask` (what somebody else decides), `clearance` and
//! `entitlement` (whether a publish, a subscription may be), `park` (wills that wait for that) and
//! `again` (subscriptions that had no answer), `report` (topics that the platform is to hear of),
//! `review` (what has changed outside) and `walk` (those whom it concerns are judged anew), `observe`
//! (a policy that is tried beside the one in force), `survey` (what stands here, for who asks from
//! outside), `crossing` (what crosses a team's border by a rule), `credential` (what is wrong with a
//! token or certificate), `depart` (the end of connections and sessions), `keep` (what must outlive a
//! crash, and what waits for that) and
//! `restore` (what did), `timers`; the tables, outboxes, aliases and counters that they work on.

mod again;
mod alias;
mod ask;
mod authenticate;
mod batch;
mod bound;
mod clearance;
mod connect;
mod connection;
mod counters;
mod credential;
mod crossing;
mod deliver;
mod depart;
mod effect;
mod entitlement;
mod event;
mod form;
mod keep;
mod lanes;
mod late;
mod observe;
mod outbox;
mod park;
mod pending;
mod publish;
mod recent;
mod replay;
mod report;
mod restore;
mod review;
mod shard;
mod share;
mod subscribe;
mod survey;
mod table;
mod timers;
mod turn;
mod walk;

pub use crate::session::{Peer, network};
pub use ask::{Answer, Question};
pub use batch::Batch;
pub use connect::Migrant;
pub use counters::{Counters, Drop, ListenerBytes};
pub use credential::{CertificateFault, TokenFault};
pub use effect::{Breach, ConnId, Effect, Exchange, ExchangeState, Login, Verdict};
pub use event::{DisconnectCause, Event, EventKind, Refusal, Way, Who};
pub use keep::{Commit, Numbers};
pub use observe::{Act, Observed};
pub use outbox::Outbox;
pub use review::{Change, ChangeKind, Judge, Review, Standing, TeamStanding};
pub use shard::Shard;
pub use survey::{Found, Page, Wanted};
pub use turn::{Allowance, Awaited};
