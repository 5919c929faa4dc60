//! Listeners, TLS, WebSocket; the loop that drives a shard.
//!
//! `tls` and `websocket` do no I/O of their own: they are handed files and bytes and called by the
//! shard loop, which owns the sockets.

pub mod tls;
pub mod websocket;
