//! MQTT over WebSocket (RFC 6455; MQTT 5.0 section 6), without I/O.
//!
//! The shard loop owns the socket. It feeds what it reads to a [`Handshake`] until that accepts or
//! refuses, and from then on to a [`Decoder`], which turns each read in place into one contiguous
//! piece of the MQTT stream, as if it had come over TCP: MQTT packets may be split over frames and
//! joined in them at will `[MQTT-6.0.0-2]`. What is sent is framed by putting a [`binary_head`]
//! before any number of packets.
//!
//! Compression (RFC 7692) is never negotiated: an offer of it is passed over, as its RFC allows.

mod encode;
mod frame;
mod handshake;

pub use encode::{CloseCode, Head, binary_head, close_frame};
pub use frame::{Decoded, Decoder, End, Pong};
pub use handshake::{Accepted, Handshake, Progress, Refused};
