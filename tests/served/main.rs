//! The running program over real sockets. A module a capability.

#[path = "../packets/mod.rs"]
mod packets;
#[path = "../repository/mod.rs"]
mod repository;
#[path = "../running/mod.rs"]
mod running;

mod anonymous;
mod audit;
mod backup;
mod breaches;
mod certificates;
mod changes;
mod changes_at_scale;
mod client_certificates;
mod control;
mod documentation;
mod frames;
mod guessing;
mod hook_crowds;
mod hook_logins;
mod hook_topics;
mod hook_vectors;
mod jwt;
mod lifecycle;
mod metrics;
mod outage;
mod packets_over_tcp;
mod plans;
mod policy_diff;
mod policy_reload;
mod proofs;
mod proxy;
mod refusals;
mod refused_messages;
mod refused_websockets;
mod restored;
mod shards;
mod transports;
