//! The core over a cluster in memory: real shards, a clock that the test owns, clients that speak
//! real packets. A module a capability.

#[path = "../cluster/mod.rs"]
mod cluster;

mod aliases;
mod ask;
mod ask_random;
mod authenticate;
mod connect;
mod durable;
mod expiry;
mod fair;
mod kept;
mod limits;
mod listener_limits;
mod messages;
mod observed;
mod owed;
mod plans;
mod policy;
mod properties;
mod rejudged;
mod retained;
mod review;
mod review_everyone;
mod review_races;
mod review_random;
mod review_work;
mod sessions;
mod shares;
mod subscriptions;
mod surveyed;
mod turns;
mod wills;
