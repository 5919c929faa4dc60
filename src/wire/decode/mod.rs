//! Bytes to packets: [`frame`] finds where one ends, [`packet`] reads it.
//!
//! One file for each group of packets. A packet that breaks a rule is refused whole; what follows
//! from that (CONNACK, DISCONNECT or a close without a word) is for `broker`.

mod ack;
mod connect;
mod leave;
mod publish;
mod subscribe;

use super::reader::Reader;
use super::rule::{self, Read};
use super::{Packet, ReasonCode, Version};

pub use super::rule::RULES;

/// One whole packet within the bytes read: its first byte and what follows the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first: u8,
    /// The variable header and the payload.
    pub body: &'a [u8],
    /// Bytes that the whole packet takes, fixed header included.
    pub length: usize,
}

/// What the bytes read amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A whole packet stands at the front.
    Whole(Frame<'a>),
    /// More bytes are needed: this many in all once the fixed header is known, else `None`.
    Partial(Option<usize>),
}

/// Why bytes are no packet. `code` is what MQTT 5.0 answers; `statement` names the rule broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({statement})")]
pub struct DecodeError {
    /// 0x81, 0x82, 0x84, 0x90, 0x95 …
    pub code: ReasonCode,
    /// In plain words, without anything that the client sent.
    pub what: &'static str,
    /// Such as `MQTT-1.5.5-1`.
    pub statement: &'static str,
}

/// Finds the packet at the front of `bytes`, which is at most `max_packet_size` long in all.
///
/// # Errors
/// 0x81 when the remaining length takes more than four bytes, 0x95 when the packet is too large;
/// both are known before the packet's body has arrived.
#[inline]
pub fn frame(bytes: &[u8], max_packet_size: u32) -> Result<Framing<'_>, DecodeError> {
    // Most packets are shorter than 130 bytes.
    let (header, remaining) = match *bytes {
        [_, short @ 0..=0x7F, ..] => (2, usize::from(short)),
        [] | [_] => return Ok(Framing::Partial(None)),
        _ => match long_remaining_length(bytes)? {
            Some(long) => long,
            None => return Ok(Framing::Partial(None)),
        },
    };
    let length = header + remaining;
    if length > max_packet_size as usize {
        return Err(rule::TOO_LARGE);
    }
    Ok(match bytes.get(header..length) {
        Some(body) => Framing::Whole(Frame {
            first: bytes[0],
            body,
            length,
        }),
        None => Framing::Partial(Some(length)),
    })
}

/// Bytes of the fixed header and the remaining length (section 2.1.4); `None` when it goes on.
/// Forms longer than the value needs are let pass here: 3.1 and 3.1.1 allow them, and the version
/// may not be known yet.
fn long_remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut remaining = 0;
    for (place, &byte) in bytes[1..].iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((place + 2, remaining)));
        }
    }
    if bytes.len() > 4 {
        Err(rule::REMAINING_LENGTH)
    } else {
        Ok(None)
    }
}

/// Reads a frame. `version` is the one that CONNECT settled, `None` before that; a CONNECT brings
/// its own.
///
/// # Errors
/// See [`DecodeError`]. No input panics, and no allocation is larger than a small multiple of the
/// frame.
pub fn packet(frame: Frame<'_>, version: Option<Version>) -> Result<Packet<'_>, DecodeError> {
    read(frame, version).map_err(|rule| *rule)
}

/// In which version to answer a CONNECT that [`packet`] refused: its own, or the nearest to it
/// where it is none that is served. `None` when this is no CONNECT of MQTT: then nothing tells
/// that an answer would be understood.
pub fn answer_version(frame: Frame<'_>) -> Option<Version> {
    if frame.first != CONNECT {
        return None;
    }
    connect::answer_version(frame.body)
}

const CONNECT: u8 = 0x10;

impl Frame<'_> {
    /// Whether the remaining length takes no more bytes than it needs `[MQTT-1.5.5-1]`.
    const fn has_shortest_length(&self) -> bool {
        match self.length.saturating_sub(self.body.len()) {
            0..=2 => true,
            3 => self.body.len() >= 1 << 7,
            4 => self.body.len() >= 1 << 14,
            _ => self.body.len() >= 1 << 21,
        }
    }
}

#[inline]
fn read(frame: Frame<'_>, version: Option<Version>) -> Read<Packet<'_>> {
    let Frame { first, body, .. } = frame;
    if version == Some(Version::V5) && !frame.has_shortest_length() {
        return Err(&rule::VARIABLE_BYTE_INTEGER);
    }
    match version {
        Some(version) if first >> 4 == 3 => {
            publish::publish(first & 0x0F, body, version).map(Packet::Publish)
        }
        Some(version) => control(first, body, version),
        None if first == CONNECT => {
            let connect = connect::connect(body)?;
            if connect.version == Version::V5 && !frame.has_shortest_length() {
                return Err(&rule::VARIABLE_BYTE_INTEGER);
            }
            Ok(Packet::Connect(connect))
        }
        None if first >> 4 == 1 => Err(&rule::RESERVED_FLAGS),
        None => Err(&rule::FIRST_PACKET),
    }
}

/// All but PUBLISH.
fn control(first: u8, body: &[u8], version: Version) -> Read<Packet<'_>> {
    match first {
        CONNECT => connect::connect(body).map(Packet::Connect),
        0x40 => ack::puback(body, version).map(Packet::PubAck),
        0x50 => ack::pubrec(body, version).map(Packet::PubRec),
        0x62 => ack::pubrel(body, version).map(Packet::PubRel),
        0x70 => ack::pubcomp(body, version).map(Packet::PubComp),
        0x82 => subscribe::subscribe(body, version).map(Packet::Subscribe),
        0xA2 => subscribe::unsubscribe(body, version).map(Packet::Unsubscribe),
        0xC0 => Reader::new(body).end().map(|()| Packet::PingReq),
        0xE0 => leave::disconnect(body, version).map(Packet::Disconnect),
        0xF0 if version == Version::V5 => leave::auth(body).map(Packet::Auth),
        // 3.1 has a DUP flag on these three (section 2.1 there).
        0x6A | 0x8A | 0xAA if version == Version::V31 => control(first & 0xF7, body, version),
        _ => Err(match first >> 4 {
            0 => &rule::RESERVED_TYPE,
            15 if version != Version::V5 => &rule::RESERVED_TYPE,
            2 | 9 | 11 | 13 => &rule::SERVER_ONLY,
            _ => &rule::RESERVED_FLAGS,
        }),
    }
}
