//! The core over a cluster in memory: real shards, a clock that the test owns, clients that speak
//! real packets. A module a capability.

#[path = "../cluster/mod.rs"]
mod cluster;

mod aliases;
mod authenticate;
mod connect;
mod fair;
mod isolation;
mod limits;
mod listener_limits;
mod messages;
mod plans;
mod policy;
mod properties;
mod random;
mod rejudged;
mod retained;
mod sessions;
mod shares;
mod subscriptions;
mod turns;
mod wills;
