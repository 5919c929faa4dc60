//! Cofferdam, an MQTT broker that keeps teams apart.
//!
//! The modules in the order in which a message meets them. Everything above the line is the
//! *core*: it has no sockets, no clock, no threads and no files; it is handed bytes and the time,
//! and hands back bytes and effects. Everything below the line is the *shell*, which moves them.
//! Imports run downwards only (`tests/architecture.rs` holds that).
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`time`] | the one notion of time, always an argument |
//! | [`wire`] | MQTT 3.1, 3.1.1 and 5.0 packets from bytes and back |
//! | [`limits`] | the numbers that bound everything the core holds |
//! | [`topic`] | topic names and filters, how filters relate, the subscription trie |
//! | [`policy`] | roles and rules; from them the grant of one connection |
//! | [`team`] | the compartment: routes, retained messages, the session registry |
//! | [`fact`] | what must outlive a crash, and what it adds up to |
//! | [`session`] | one session's protocol state: QoS flows, inflight window, queue |
//! | [`broker`] | the core's face: a shard, which ties connections, sessions and teams together |
//! | — | — |
//! | [`config`] | the configuration file |
//! | [`telemetry`] | what is counted, and how it becomes a page |
//! | [`database`] | SQLite or PostgreSQL: one schema, one set of queries |
//! | [`audit`] | events on record |
//! | [`identity`] | who may log in, and as whom |
//! | [`provision`] | teams and their members made, changed and removed |
//! | [`journal`] | facts kept on disk, and read back on start |
//! | [`net`] | listeners, TLS, WebSocket; the loop that drives a shard |
//! | [`admin`] | HTTP: health and metrics |
//! | [`cli`] | one file a subcommand |

pub mod broker;
pub mod fact;
pub mod limits;
pub mod policy;
pub mod session;
pub mod team;
pub mod time;
pub mod topic;
pub mod wire;

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod database;
pub mod identity;
pub mod journal;
pub mod net;
pub mod provision;
pub mod telemetry;
