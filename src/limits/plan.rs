//! What a team may have and do: its plan, with what was changed for it alone.

use super::{Limits, Rate};

/// Limits of one team. Where the listener of a connection has one of the same kind, the stricter of
/// the two holds. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamLimits {
    /// Connections that are logged in.
    pub max_connections: u32,
    /// Logins.
    pub connect_rate: Option<Rate>,
    /// PUBLISH packets of all clients.
    pub message_rate: Option<Rate>,
    /// Bytes of PUBLISH packets of all clients, from the fixed header to the end, as sent.
    pub byte_rate: Option<Rate>,
    /// Subscriptions of all sessions.
    pub max_subscriptions: u32,
    /// Sessions, connected or not.
    pub max_sessions: u32,
    /// Bytes (topic, properties and payload) in the queues of all sessions.
    pub max_queued_bytes: u64,
    /// Retained messages.
    pub max_retained_messages: u32,
    /// Bytes (topic, properties and payload) of retained messages.
    pub max_retained_bytes: u64,
    /// Largest packet accepted from a client. A connection is told when it logs in, and keeps it.
    pub max_packet_size: u32,
    /// What becomes of a client that is over a rate.
    pub over_rate: OverRate,
    /// What an acknowledgement to its clients is worth.
    pub durability: Durability,
    /// Of each client.
    pub client: ClientLimits,
}

/// Limits of each client of a team: of one username, or of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections under one username.
    pub max_connections: u32,
    /// Sessions under one username, connected or not.
    pub max_sessions: u32,
    /// Logins under one username.
    pub connect_rate: Option<Rate>,
    /// PUBLISH packets of one session.
    pub message_rate: Option<Rate>,
    /// Bytes of PUBLISH packets of one session, from the fixed header to the end, as sent.
    pub byte_rate: Option<Rate>,
    /// Subscriptions of one session.
    pub max_subscriptions: u32,
    /// Messages in one session's queue.
    pub max_queued_messages: u32,
    /// Bytes (topic, properties and payload) in one session's queue.
    pub max_queued_bytes: u64,
}

/// What an acknowledgement is worth. A later one is stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// State lives as long as the process.
    Memory,
    /// What was acknowledged is the system's to write: it outlives the broker's crash.
    Os,
    /// What was acknowledged is on disk: it outlives the machine's crash.
    #[default]
    Disk,
}

impl Durability {
    /// All of them, strictest first.
    pub const ALL: [Self; 3] = [Self::Disk, Self::Os, Self::Memory];

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Os => "os",
            Self::Memory => "memory",
        }
    }
}

/// What becomes of a client that is over a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverRate {
    /// It is read later: nothing is lost.
    #[default]
    Slow,
    /// It is told 0x96 (5.0) and cut.
    Disconnect,
}

/// A limit of a team or client, as it is counted and put on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Limit {
    /// [`TeamLimits::max_connections`].
    Connections,
    /// [`TeamLimits::connect_rate`].
    ConnectRate,
    /// [`TeamLimits::message_rate`].
    MessageRate,
    /// [`TeamLimits::byte_rate`].
    ByteRate,
    /// [`TeamLimits::max_subscriptions`].
    Subscriptions,
    /// [`TeamLimits::max_sessions`].
    Sessions,
    /// [`TeamLimits::max_queued_bytes`].
    Queued,
    /// [`TeamLimits::max_retained_messages`] and [`TeamLimits::max_retained_bytes`].
    Retained,
    /// [`ClientLimits::max_connections`].
    ClientConnections,
    /// [`ClientLimits::max_sessions`].
    ClientSessions,
    /// [`ClientLimits::connect_rate`].
    ClientConnectRate,
    /// [`ClientLimits::message_rate`].
    ClientMessageRate,
    /// [`ClientLimits::byte_rate`].
    ClientByteRate,
    /// [`ClientLimits::max_subscriptions`], or the listener's.
    ClientSubscriptions,
    /// The queue of one session, by messages or bytes; or the listener's.
    ClientQueue,
}

impl Limit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectRate,
        Self::MessageRate,
        Self::ByteRate,
        Self::Subscriptions,
        Self::Sessions,
        Self::Queued,
        Self::Retained,
        Self::ClientConnections,
        Self::ClientSessions,
        Self::ClientConnectRate,
        Self::ClientMessageRate,
        Self::ClientByteRate,
        Self::ClientSubscriptions,
        Self::ClientQueue,
    ];

    /// Its name on record and in metrics: it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectRate => "connect_rate",
            Self::MessageRate => "message_rate",
            Self::ByteRate => "byte_rate",
            Self::Subscriptions => "subscriptions",
            Self::Sessions => "sessions",
            Self::Queued => "queued",
            Self::Retained => "retained",
            Self::ClientConnections => "client_connections",
            Self::ClientSessions => "client_sessions",
            Self::ClientConnectRate => "client_connect_rate",
            Self::ClientMessageRate => "client_message_rate",
            Self::ClientByteRate => "client_byte_rate",
            Self::ClientSubscriptions => "client_subscriptions",
            Self::ClientQueue => "client_queue",
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            max_sessions: u32::MAX,
            connect_rate: None,
            message_rate: None,
            byte_rate: None,
            max_subscriptions: u32::MAX,
            max_queued_messages: u32::MAX,
            max_queued_bytes: u64::MAX,
        }
    }
}

impl Default for TeamLimits {
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            connect_rate: None,
            message_rate: None,
            byte_rate: None,
            max_subscriptions: u32::MAX,
            max_sessions: u32::MAX,
            max_queued_bytes: 4 << 30,
            max_retained_messages: u32::MAX,
            max_retained_bytes: u64::MAX,
            max_packet_size: u32::MAX,
            over_rate: OverRate::Slow,
            durability: Durability::Disk,
            client: ClientLimits::default(),
        }
    }
}

impl TeamLimits {
    /// Whether messages are counted against a rate at all.
    pub const fn is_metered(&self) -> bool {
        let client = &self.client;
        self.message_rate.is_some()
            || self.byte_rate.is_some()
            || client.message_rate.is_some()
            || client.byte_rate.is_some()
    }

    /// What holds for a connection by a listener with these limits.
    pub fn narrow(&self, listener: &Limits) -> Limits {
        let client = &self.client;
        Limits {
            max_packet_size: listener.max_packet_size.min(self.max_packet_size),
            max_subscriptions: listener.max_subscriptions.min(client.max_subscriptions),
            max_queued_messages: listener.max_queued_messages.min(client.max_queued_messages),
            max_queued_bytes: listener.max_queued_bytes.min(client.max_queued_bytes),
            max_sessions_per_team: listener.max_sessions_per_team.min(self.max_sessions),
            ..listener.clone()
        }
    }
}
