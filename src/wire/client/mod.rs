//! The other end: what a client sends and reads. The broker itself does not call it; it is for
//! tests, over real sockets and in the simulation, and for tools that check a running broker.
//!
//! ```
//! use cofferdam::wire::client::{Connect, ConnAck, ServerPacket, read};
//! use cofferdam::wire::{ReasonCode, Version, encode};
//!
//! let hello = Connect { client_id: "c1".into(), ..Connect::new(Version::V5) }.encode();
//! assert_eq!(hello, b"\x10\x0F\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x02c1");
//!
//! let mut answer = Vec::new();
//! encode::connack(&mut answer, Version::V5, ReasonCode::Success, &Default::default());
//! assert_eq!(
//!     read(&answer, Version::V5),
//!     Ok(Some((
//!         ServerPacket::ConnAck(ConnAck { session_present: false, code: 0, properties: vec![] }),
//!         answer.len(),
//!     )))
//! );
//! ```

mod read;
mod send;

pub use read::{ConnAck, ServerPacket, read, read_all};
pub use send::{
    Connect, Publish, Will, auth, disconnect, pingreq, puback, pubcomp, pubrec, pubrel, subscribe,
    unsubscribe,
};

/// A property, owned. Any may be put into any packet, also where it does not belong.
pub type Property = super::section::Property<String, Vec<u8>>;
