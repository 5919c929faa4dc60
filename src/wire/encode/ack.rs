//! The acknowledgements: PUBACK to PUBCOMP, SUBACK and UNSUBACK (sections 3.4 to 3.7, 3.9, 3.11).

use super::super::packet::{PacketId, Version};
use super::super::reason::ReasonCode;
use super::super::writer::{put_u16, put_variable_byte_integer};

/// Appends PUBACK; the shortest form that says it. 3.x has no room for the reason.
pub fn puback(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    ack(out, 0x40, version, id, reason);
}

/// Appends PUBREC.
pub fn pubrec(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    ack(out, 0x50, version, id, reason);
}

/// Appends PUBREL.
pub fn pubrel(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    ack(out, 0x62, version, id, reason);
}

/// Appends PUBCOMP.
pub fn pubcomp(out: &mut Vec<u8>, version: Version, id: PacketId, reason: ReasonCode) {
    ack(out, 0x70, version, id, reason);
}

#[inline]
fn ack(out: &mut Vec<u8>, first: u8, version: Version, id: PacketId, reason: ReasonCode) {
    let [high, low] = id.get().to_be_bytes();
    if version == Version::V5 && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason.as_byte()]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}

/// Appends SUBACK: one code a filter. In 3.x every refusal is 0x80 (3.1.1) or, in 3.1, which has
/// none, QoS 0.
pub fn suback(out: &mut Vec<u8>, version: Version, id: PacketId, codes: &[ReasonCode]) {
    put_head(out, 0x90, version, id, codes.len());
    out.extend(codes.iter().map(|code| match version {
        Version::V5 => code.as_byte(),
        _ if !code.is_error() => code.as_byte(),
        Version::V311 => 0x80,
        Version::V31 => 0,
    }));
}

/// Appends UNSUBACK: codes only in 5.0.
pub fn unsuback(out: &mut Vec<u8>, version: Version, id: PacketId, codes: &[ReasonCode]) {
    let codes = match version {
        Version::V5 => codes,
        _ => &[],
    };
    put_head(out, 0xB0, version, id, codes.len());
    out.extend(codes.iter().map(|code| code.as_byte()));
}

/// All of SUBACK and UNSUBACK but the codes.
fn put_head(out: &mut Vec<u8>, first: u8, version: Version, id: PacketId, codes: usize) {
    let section = usize::from(version == Version::V5);
    let remaining = 2 + section + codes;
    out.reserve(5 + remaining);
    out.push(first);
    put_variable_byte_integer(out, remaining);
    put_u16(out, id.get());
    if version == Version::V5 {
        out.push(0); // no properties
    }
}
