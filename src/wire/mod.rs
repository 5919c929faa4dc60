//! MQTT 3.1, 3.1.1 and 5.0 packets from bytes and back.
//!
//! Decoding borrows from the bytes read and allocates nothing for a PUBLISH; encoding appends to a
//! `Vec<u8>`. The module knows what a packet *says* and refuses what no packet may say; what a
//! packet *does* is for `session` and `broker`. Only `broker` and tests call it.
//!
//! Sources: MQTT 3.1 (IBM/Eurotech 2010), MQTT 3.1.1 and 5.0 (OASIS); statements are cited as
//! `[MQTT-x.y.z-n]`, of 5.0 unless said otherwise.

pub mod client;
pub mod decode;
pub mod encode;
mod packet;
mod property;
mod reader;
mod reason;
mod rule;
mod section;
mod writer;

pub use packet::*;
pub use property::{PublishProperties, UserProperties};
pub use reason::ReasonCode;
