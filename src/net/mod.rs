//! Listeners, TLS, WebSocket; the loop that drives a shard.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`server`] | the shards' threads: starting, stopping |
//! | `listener` | sockets that accept |
//! | `reactor` | one shard's loop: sockets in, core, sockets out |
//! | `link`, `layers` | one socket; TLS and WebSocket between it and MQTT |
//! | `kept` | what a shard begins with after a restart, and where its commits go |
//! | `peers` | one shard's view of the others |
//! | `recheck` | client certificates that were revoked since |
//! | `services` | what a shard asks of the rest of the broker: logins, records, counts |
//! | `desk` | where they bring the questions that somebody else answers; how many may be open |
//! | [`proxy`] | whose address it is that a proxy connects from |
//! | `visit` | what a shard is asked from outside its thread |
//! | [`tls`], [`websocket`] | both without I/O of their own |
//! | [`addresses`] | how many connections each source address has |
//! | [`clock`] | where the core's time comes from |

pub mod addresses;
pub mod clock;
mod desk;
mod held;
mod kept;
mod layers;
mod link;
mod listener;
mod peers;
pub mod proxy;
mod reactor;
mod recheck;
pub mod server;
mod services;
pub mod tls;
mod visit;
pub mod websocket;
