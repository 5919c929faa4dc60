//! What a shard counts. Plain numbers of one thread; the shell publishes them.

use super::event::{DisconnectCause, Refusal};
use crate::wire::{QoS, Version};

/// Why a message did not reach someone who would have got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Drop {
    /// QoS 0 for a client that does not read fast enough.
    SlowConsumer,
    /// The session's queue is full.
    QueueFull,
    /// It expired while it waited.
    Expired,
    /// Larger than the client takes.
    TooLarge,
    /// A deny rule of the receiver's.
    Denied,
    /// The team's retained messages are at their limit.
    RetainedFull,
    /// It could not be decoded as the receiver may see it, or its session had gone.
    Gone,
}

/// Totals since the shard began; gauges are read where the thing itself is.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// CONNACK with success, by version (3.1, 3.1.1, 5.0).
    pub connects: [u64; 3],
    /// Connections that were not admitted, by [`Refusal::index`].
    pub refused: [u64; Refusal::COUNT],
    /// Admitted connections that ended, by [`DisconnectCause::index`].
    pub disconnects: [u64; DisconnectCause::COUNT],
    /// Messages from clients, by QoS.
    pub messages_in: [u64; 3],
    /// Payload bytes from clients, by QoS.
    pub bytes_in: [u64; 3],
    /// Messages to clients, by QoS.
    pub messages_out: [u64; 3],
    /// Payload bytes to clients, by QoS.
    pub bytes_out: [u64; 3],
    /// Messages not delivered, by [`Drop`].
    pub dropped: [u64; Drop::COUNT],
    /// Publishes (and wills) not accepted.
    pub publishes_refused: u64,
    /// Filters not granted.
    pub subscribes_refused: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Connections now, logged in or not.
    pub connections: u64,
    /// Sessions that ended because their time was over.
    pub sessions_expired: u64,
}

impl Drop {
    /// Number of reasons.
    pub const COUNT: usize = 7;
    /// As a metric's label, by index.
    pub const LABELS: [&'static str; Self::COUNT] =
        ["slow_consumer", "queue_full", "expired", "too_large", "denied", "retained_full", "gone"];
}

impl Refusal {
    /// Number of reasons.
    pub const COUNT: usize = 15;
    /// As a metric's label, by index.
    pub const LABELS: [&'static str; Self::COUNT] = [
        "unknown_user",
        "no_credential",
        "wrong_password",
        "anonymous",
        "team_suspended",
        "client_id",
        "unavailable",
        "busy",
        "connect_timeout",
        "malformed",
        "quota",
        "gone",
        "stopping",
        "tls",
        "websocket",
    ];

    /// Place in [`Refusal::LABELS`].
    pub const fn index(self) -> usize {
        match self {
            Self::UnknownUser => 0,
            Self::NoCredential => 1,
            Self::WrongPassword => 2,
            Self::Anonymous => 3,
            Self::TeamSuspended => 4,
            Self::ClientId => 5,
            Self::Unavailable => 6,
            Self::Busy => 7,
            Self::ConnectTimeout => 8,
            Self::Malformed(_) => 9,
            Self::Quota => 10,
            Self::Gone => 11,
            Self::Stopping => 12,
            Self::Tls => 13,
            Self::WebSocket(_) => 14,
        }
    }
}

impl DisconnectCause {
    /// Number of causes.
    pub const COUNT: usize = 8;
    /// As a metric's label, by index.
    pub const LABELS: [&'static str; Self::COUNT] =
        ["client", "lost", "keep_alive", "taken_over", "protocol", "server", "tls", "websocket"];

    /// Place in [`DisconnectCause::LABELS`].
    pub const fn index(self) -> usize {
        match self {
            Self::Client(_) => 0,
            Self::Lost => 1,
            Self::KeepAlive => 2,
            Self::TakenOver => 3,
            Self::Protocol(_) => 4,
            Self::Server(_) => 5,
            Self::Tls => 6,
            Self::WebSocket(_) => 7,
        }
    }
}

impl Counters {
    pub(super) fn message_in(&mut self, qos: QoS, payload: usize) {
        self.messages_in[qos as usize] += 1;
        self.bytes_in[qos as usize] += payload as u64;
    }

    pub(super) fn message_out(&mut self, qos: QoS, payload: usize) {
        self.messages_out[qos as usize] += 1;
        self.bytes_out[qos as usize] += payload as u64;
    }

    pub(super) fn drop(&mut self, why: Drop) {
        self.dropped[why as usize] += 1;
    }

    pub(super) fn connect(&mut self, version: Version) {
        self.connects[version as usize] += 1;
    }
}
