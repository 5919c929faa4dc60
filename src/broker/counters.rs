//! What a shard counts. Plain numbers of one thread; the shell publishes them.

use std::sync::Arc;

use super::observe::Observed;
use crate::wire::QoS;

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

/// Totals since the shard began. What is an event is counted by whoever gets the events.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections turned away unheard because there were too many.
    pub turned_away: u64,
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
    /// Bytes of MQTT by listener, as they come and go; of all connections, logged in or not.
    pub listeners: Vec<ListenerBytes>,
    /// What an observed policy would have decided otherwise.
    pub observed: Observed,
    /// Sessions now.
    pub sessions: u64,
    /// Connections now, logged in or not.
    pub connections: u64,
    /// Messages that crossed a team's border, by [`Way`](super::Way).
    pub crossings: [u64; 2],
    /// Sessions that ended because their time was over.
    pub sessions_expired: u64,
    /// Times that a connection, or what came from another shard, waited because its team had had
    /// its share.
    pub waited: u64,
    /// Sessions that were judged anew because something was changed.
    pub sessions_reviewed: u64,
}

/// Bytes of MQTT over one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerBytes {
    /// Its name.
    pub listener: Arc<str>,
    /// From clients.
    pub received: u64,
    /// Taken by the sockets of clients.
    pub sent: u64,
}

impl Drop {
    /// Number of reasons.
    pub const COUNT: usize = 7;
    /// As a metric's label, by index.
    pub const LABELS: [&'static str; Self::COUNT] = [
        "slow_consumer",
        "queue_full",
        "expired",
        "too_large",
        "denied",
        "retained_full",
        "gone",
    ];
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

    /// The bytes of a listener. There are few, and connections share their names.
    pub(super) fn bytes_of(&mut self, listener: &Arc<str>) -> &mut ListenerBytes {
        let mut known = self.listeners.iter();
        let place = known
            .position(|it| Arc::ptr_eq(&it.listener, listener) || it.listener == *listener)
            .unwrap_or_else(|| {
                self.listeners.push(ListenerBytes {
                    listener: Arc::clone(listener),
                    received: 0,
                    sent: 0,
                });
                self.listeners.len() - 1
            });
        &mut self.listeners[place]
    }

    pub(super) fn drop(&mut self, why: Drop) {
        self.dropped[why as usize] += 1;
    }
}
