//! Packets to bytes: what a server sends. Each function appends one whole packet to `out`, but for
//! [`publish_head`], which leaves the payload to the caller so that a large one can be shared.

use super::{PacketId, QoS, ReasonCode, Version};

/// CONNACK's contents. Fields at the standard's default are not written.
#[derive(Clone, Debug, Default)]
pub struct ConnAck<'a> {
    /// A session was there.
    pub session_present: bool,
    /// Seconds, where it differs from what the client asked for.
    pub session_expiry: Option<u32>,
    /// Where below 65,535.
    pub receive_maximum: Option<u16>,
    /// Where QoS 2 is not served: 0 or 1.
    pub maximum_qos: Option<u8>,
    /// Where retained messages are not served: false.
    pub retain_available: Option<bool>,
    /// Largest packet that the server takes.
    pub maximum_packet_size: Option<u32>,
    /// Where the server gave one.
    pub assigned_client_id: Option<&'a str>,
    /// Topic aliases that the server takes.
    pub topic_alias_maximum: Option<u16>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Seconds, where the server decides.
    pub server_keep_alive: Option<u16>,
    /// Basis for response topics.
    pub response_information: Option<&'a str>,
    /// Enhanced authentication's method.
    pub authentication_method: Option<&'a str>,
    /// Enhanced authentication's data.
    pub authentication_data: Option<&'a [u8]>,
}

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

/// Appends CONNACK. In 3.x `reason` becomes the return code that means the same.
pub fn connack(out: &mut Vec<u8>, version: Version, reason: ReasonCode, connack: &ConnAck<'_>) {
    let _ = (out, version, reason, connack);
    todo!("wire")
}

/// Length of the whole packet, payload included.
pub fn publish_length(head: &PublishHead<'_>) -> usize {
    let _ = head;
    todo!("wire")
}

/// Appends a PUBLISH without its payload; the payload must follow. Returns where in `out` the
/// packet identifier's two bytes lie, so that the same bytes can serve several receivers.
pub fn publish_head(out: &mut Vec<u8>, head: &PublishHead<'_>) -> Option<usize> {
    let _ = (out, head);
    todo!("wire")
}

/// Appends PUBACK; the shortest form that says it.
pub fn puback(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    let _ = (out, version, id, reason);
    todo!("wire")
}

/// Appends PUBREC.
pub fn pubrec(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    let _ = (out, version, id, reason);
    todo!("wire")
}

/// Appends PUBREL.
pub fn pubrel(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    let _ = (out, version, id, reason);
    todo!("wire")
}

/// Appends PUBCOMP.
pub fn pubcomp(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    let _ = (out, version, id, reason);
    todo!("wire")
}

/// Appends SUBACK: one code a filter. In 3.x every refusal is 0x80 (3.1.1) or, in 3.1, which has
/// none, QoS 0.
pub fn suback(out: &mut Vec<u8>, version: Version, id: PacketId, codes: &[ReasonCode]) {
    let _ = (out, version, id, codes);
    todo!("wire")
}

/// Appends UNSUBACK: codes only in 5.0.
pub fn unsuback(out: &mut Vec<u8>, version: Version, id: PacketId, codes: &[ReasonCode]) {
    let _ = (out, version, id, codes);
    todo!("wire")
}

/// Appends PINGRESP.
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}

/// Appends DISCONNECT; nothing in 3.x, where a server has none.
pub fn disconnect(
    out: &mut Vec<u8>,
    version: Version,
    reason: ReasonCode,
    reason_string: Option<&str>,
) {
    let _ = (out, version, reason, reason_string);
    todo!("wire")
}

/// Appends AUTH (5.0).
pub fn auth(out: &mut Vec<u8>, reason: ReasonCode, method: &str, data: Option<&[u8]>) {
    let _ = (out, reason, method, data);
    todo!("wire")
}
