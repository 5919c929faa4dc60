//! PUBLISH (section 3.3), the hot path.

use super::super::packet::{PacketId, QoS, Version};
use super::super::section::id;
use super::super::writer::{
    VARIABLE_BYTE_INTEGER_MAX, fitting_text, put_text, put_u16, put_u32, put_variable_byte_integer,
    variable_byte_integer_length,
};

/// A PUBLISH to a client, all but its payload.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// The client's version: 3.x writes no properties.
    pub version: Version,
    /// A second try.
    pub dup: bool,
    /// As granted.
    pub qos: QoS,
    /// The flag.
    pub retain: bool,
    /// As the client sees it: mount taken off; empty where an alias stands for it.
    pub topic: &'a str,
    /// Present exactly when `qos` is above 0.
    pub packet_id: Option<PacketId>,
    /// The alias that we set or use.
    pub topic_alias: Option<u16>,
    /// Seconds left.
    pub message_expiry: Option<u32>,
    /// As the client sees it.
    pub response_topic: Option<&'a str>,
    /// Of the one subscription that matched.
    pub subscription_id: Option<u32>,
    /// From `PublishProperties::passed_on`.
    pub passed_on: &'a [u8],
    /// Length of the payload that will follow.
    pub payload_length: usize,
}

/// What has to be known before the first byte.
struct Lengths {
    properties: usize,
    remaining: usize,
}

/// Largest packet of MQTT, fixed header included: what holds for a receiver that names no maximum.
pub const PACKET_SIZE_MAX: usize = 5 + VARIABLE_BYTE_INTEGER_MAX;

/// Length of the whole packet, payload included. The caller sees to it that it is not above the
/// receiver's maximum packet size, nor above [`PACKET_SIZE_MAX`].
pub fn publish_length(head: &PublishHead<'_>) -> usize {
    let remaining = lengths(head).remaining;
    1 + variable_byte_integer_length(remaining) + remaining
}

/// Appends a PUBLISH without its payload; the payload must follow. Returns where in `out` the
/// packet identifier's two bytes lie, so that the same bytes can serve several receivers.
pub fn publish_head(out: &mut Vec<u8>, head: &PublishHead<'_>) -> Option<usize> {
    let Lengths {
        properties,
        remaining,
    } = lengths(head);
    // Room for the head alone: a large payload goes out from where it lies.
    out.reserve(5 + remaining - head.payload_length);
    let flags = u8::from(head.dup) << 3 | (head.qos as u8) << 1 | u8::from(head.retain);
    out.push(0x30 | flags);
    put_variable_byte_integer(out, remaining);
    put_text(out, head.topic);
    let place = head.packet_id.map(|id| {
        let place = out.len();
        put_u16(out, id.get());
        place
    });
    if head.version == Version::V5 {
        put_variable_byte_integer(out, properties);
        put_properties(out, head);
    }
    place
}

fn put_properties(out: &mut Vec<u8>, head: &PublishHead<'_>) {
    if let Some(seconds) = head.message_expiry {
        out.push(id::MESSAGE_EXPIRY);
        put_u32(out, seconds);
    }
    if let Some(alias) = head.topic_alias {
        out.push(id::TOPIC_ALIAS);
        put_u16(out, alias);
    }
    if let Some(subscription) = head.subscription_id {
        out.push(id::SUBSCRIPTION_ID);
        put_variable_byte_integer(out, subscription as usize);
    }
    if let Some(topic) = head.response_topic {
        out.push(id::RESPONSE_TOPIC);
        put_text(out, topic);
    }
    out.extend_from_slice(head.passed_on);
}

fn lengths(head: &PublishHead<'_>) -> Lengths {
    let properties = properties_length(head);
    let section = match head.version {
        Version::V5 => variable_byte_integer_length(properties) + properties,
        _ => 0,
    };
    let packet_id = if head.packet_id.is_some() { 2 } else { 0 };
    Lengths {
        properties,
        remaining: text_length(head.topic) + packet_id + section + head.payload_length,
    }
}

fn properties_length(head: &PublishHead<'_>) -> usize {
    let expiry = head.message_expiry.map_or(0, |_| 5);
    let alias = head.topic_alias.map_or(0, |_| 3);
    let subscription = head
        .subscription_id
        .map_or(0, |id| 1 + variable_byte_integer_length(id as usize));
    let response = head
        .response_topic
        .map_or(0, |topic| 1 + text_length(topic));
    expiry + alias + subscription + response + head.passed_on.len()
}

fn text_length(text: &str) -> usize {
    2 + fitting_text(text).len()
}
