//! The running program over real sockets. A module a capability.

#[path = "../packets/mod.rs"]
mod packets;
#[path = "../running/mod.rs"]
mod running;

mod breaches;
mod frames;
mod guessing;
mod lifecycle;
mod packets_over_tcp;
mod plans;
mod proofs;
mod refusals;
mod refused_messages;
mod refused_websockets;
mod shards;
mod transports;
