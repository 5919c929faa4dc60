//! The numbers that bound everything the core holds. Nothing in the core grows without one.
//!
//! [`Limits`] are the broker's or a listener's, [`TeamLimits`] a team's and its clients'; of two of a
//! kind the stricter holds. `config` fills them from `[limits]` and `[plan.<name>]`; the tests and the
//! simulation set them directly.

mod plan;
mod rate;

use crate::time::Span;
use crate::wire::QoS;

pub use plan::{ClientLimits, Durability, Limit, OverRate, TeamLimits};
pub use rate::{Bucket, LOOK_AGAIN, Rate, SharedBucket, Spent};

/// Limits of one broker, or of what comes by one listener. Sizes are bytes unless the name says
/// otherwise. Those of a team and the number of connections are the broker's alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet accepted from a client, fixed header included.
    pub max_packet_size: u32,
    /// Bytes that a connection may make the broker hold before it has logged in.
    pub max_unauthenticated_bytes: u32,
    /// Time within which a complete CONNECT must have arrived.
    pub connect_timeout: Span,
    /// Time within which a login must have been judged.
    pub login_timeout: Span,
    /// Longest topic name or filter, in bytes of UTF-8, mount included.
    pub max_topic_length: u16,
    /// Most levels of a topic name or filter, mount included.
    pub max_topic_levels: u16,
    /// Longest client identifier, in bytes.
    pub max_client_id_length: u16,
    /// QoS 1 and 2 messages that a client may have unacknowledged towards us (our Receive Maximum).
    pub receive_maximum: u16,
    /// Most QoS 1 and 2 messages unacknowledged towards a client, whatever it would accept.
    pub max_inflight: u16,
    /// Messages that wait in one session's queue.
    pub max_queued_messages: u32,
    /// Bytes (topic, properties and payload) that wait in one session's queue.
    pub max_queued_bytes: u64,
    /// Bytes that wait for one connection's socket. Half of it is for what is encoded; beyond that
    /// QoS 0 messages wait in the other half, and the oldest of them are dropped and counted. QoS 1
    /// and 2 messages are encoded up to the whole of it and then wait in the session's queue.
    pub max_outbox_bytes: u32,
    /// Subscriptions of one session.
    pub max_subscriptions: u32,
    /// Topic aliases that a client may set towards us.
    pub topic_alias_maximum: u16,
    /// The highest QoS that is served `[MQTT-3.2.2-9]`.
    pub max_qos: QoS,
    /// Whether retained messages are served `[MQTT-3.2.2-13]`.
    pub retain_available: bool,
    /// Whether a payload that is said to be UTF-8 is held to it `[MQTT-3.3.2.3.2]`.
    pub check_payload_format: bool,
    /// Longest time that a session outlives its connection.
    pub max_session_expiry: Span,
    /// Longest keep alive; a client that asks for more, or for none, is told this one (5.0).
    /// `None`: the client's own wish holds.
    pub max_keep_alive_s: Option<u16>,
    /// Retained messages of one team.
    pub max_retained_messages: u32,
    /// Bytes (topic, properties and payload) of one team's retained messages.
    pub max_retained_bytes: u64,
    /// Sessions of one team, connected or not.
    pub max_sessions_per_team: u32,
    /// Connections of one listener set, logged in or not, on one shard.
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_size: 1 << 20,
            max_unauthenticated_bytes: 64 << 10,
            connect_timeout: Span::from_secs(10),
            login_timeout: Span::from_secs(10),
            max_topic_length: 4096,
            max_topic_levels: 64,
            max_client_id_length: 256,
            receive_maximum: 1024,
            max_inflight: 1024,
            max_queued_messages: 100_000,
            max_queued_bytes: 256 << 20,
            max_outbox_bytes: 4 << 20,
            max_subscriptions: 10_000,
            topic_alias_maximum: 64,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            check_payload_format: false,
            max_session_expiry: Span::from_secs(7 * 24 * 3600),
            max_keep_alive_s: None,
            max_retained_messages: 1_000_000,
            max_retained_bytes: 1 << 30,
            max_sessions_per_team: 1_000_000,
            max_connections: 1_000_000,
        }
    }
}
