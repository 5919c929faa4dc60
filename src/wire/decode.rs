//! Bytes to packets.

use super::{Packet, ReasonCode, Version};

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
pub fn frame(bytes: &[u8], max_packet_size: u32) -> Result<Framing<'_>, DecodeError> {
    let _ = (bytes, max_packet_size);
    todo!("wire")
}

/// Reads a frame. `version` is the one that CONNECT settled; a CONNECT brings its own.
///
/// # Errors
/// See [`DecodeError`]. No input panics, and no allocation is larger than the frame.
pub fn packet(frame: Frame<'_>, version: Option<Version>) -> Result<Packet<'_>, DecodeError> {
    let _ = (frame, version);
    todo!("wire")
}
