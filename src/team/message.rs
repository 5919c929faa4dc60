//! A message as it passes through and as it is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::registry::SessionAddress;
use crate::time::{Span, Time};
use crate::wire::QoS;

/// A message that is kept: in a queue, in flight, retained, or on its way to another shard. One
/// allocation holds its texts; all who keep it share it.
#[derive(Debug)]
pub struct Message {
    /// What it is called where it is kept beyond a crash.
    pub number: MessageNumber,
    copies: AtomicU32,
    /// Topic, passed-on properties, response topic, payload, in this order.
    data: Bytes,
    topic_length: u16,
    response_length: u16,
    passed_on_length: u32,
    has_response: bool,
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
    /// When it stops being worth delivering; [`Time::NEVER`] where no expiry was set.
    pub expires: Time,
    /// For no-local.
    pub publisher: SessionAddress,
}

/// The number of a message. Numbers are not used again, in later runs neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(pub u64);

/// A will `[MQTT-3.1.2.5]`, kept from CONNECT.
#[derive(Clone, Debug)]
pub struct Will {
    /// The message. Its `expires` is set when it is published.
    pub message: Arc<Message>,
    /// Its expiry from then on.
    pub expiry: Option<Span>,
    /// Between the end of the connection and the will.
    pub delay: Span,
}

/// A message, borrowed: from the publisher's bytes or from a [`Message`].
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// Full topic name.
    pub topic: &'a str,
    /// Encoded properties that go on unaltered.
    pub passed_on: &'a [u8],
    /// Full response topic.
    pub response_topic: Option<&'a str>,
    /// Any bytes.
    pub payload: &'a [u8],
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
    /// When it stops being worth delivering.
    pub expires: Time,
    /// For no-local.
    pub publisher: SessionAddress,
}

impl MessageView<'_> {
    /// Bytes that keeping it costs, as limits count them: topic, properties and payload.
    pub const fn size(&self) -> usize {
        let response = match self.response_topic {
            Some(topic) => topic.len(),
            None => 0,
        };
        self.topic.len() + self.passed_on.len() + response + self.payload.len()
    }

    /// Makes it a message that can be kept. Topics fit 65,535 bytes: they came in a packet, and
    /// the full name was checked against `max_topic_length`.
    pub fn keep(&self, number: MessageNumber) -> Message {
        let response = self.response_topic.unwrap_or_default();
        let mut data = Vec::with_capacity(self.size());
        data.extend_from_slice(self.topic.as_bytes());
        data.extend_from_slice(self.passed_on);
        data.extend_from_slice(response.as_bytes());
        data.extend_from_slice(self.payload);
        Message {
            number,
            copies: AtomicU32::new(0),
            data: Bytes::from(data),
            topic_length: self.topic.len() as u16,
            response_length: response.len() as u16,
            passed_on_length: self.passed_on.len() as u32,
            has_response: self.response_topic.is_some(),
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: self.publisher,
        }
    }
}

impl Message {
    /// A number that no other copy of it has: one session can have several, by several
    /// subscriptions.
    pub fn next_copy(&self) -> u32 {
        self.copies.fetch_add(1, Ordering::Relaxed)
    }

    /// This number was given out before.
    pub fn reserve_copy(&self, copy: u32) {
        self.copies
            .fetch_max(copy.wrapping_add(1), Ordering::Relaxed);
    }

    /// Bytes that it costs, as limits count them.
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// Full topic name.
    pub fn topic(&self) -> &str {
        text(&self.data[..usize::from(self.topic_length)])
    }

    /// The payload, shared.
    pub fn payload(&self) -> Bytes {
        self.data.slice(self.payload_start()..)
    }

    /// The message, borrowed.
    pub fn view(&self) -> MessageView<'_> {
        let passed_on = usize::from(self.topic_length);
        let response = passed_on + self.passed_on_length as usize;
        let payload = self.payload_start();
        MessageView {
            topic: self.topic(),
            passed_on: &self.data[passed_on..response],
            response_topic: self
                .has_response
                .then(|| text(&self.data[response..payload])),
            payload: &self.data[payload..],
            qos: self.qos,
            retain: self.retain,
            expires: self.expires,
            publisher: self.publisher,
        }
    }

    fn payload_start(&self) -> usize {
        usize::from(self.topic_length)
            + self.passed_on_length as usize
            + usize::from(self.response_length)
    }
}

/// The text in `bytes`, which `keep` copied from a `str`.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("copied from a str at the same bounds")
}
