//! Packets to bytes: what a server sends. Each function appends one whole packet to `out`, but for
//! [`publish_head`], which leaves the payload to the caller so that a large one can be shared.
//! Each writes the shortest form that says it.

mod ack;
mod connack;
mod leave;
mod publish;

pub use ack::{puback, pubcomp, pubrec, pubrel, suback, unsuback};
pub use connack::{ConnAck, connack};
pub use leave::{auth, disconnect};
pub use publish::{PACKET_SIZE_MAX, PublishHead, publish_head, publish_length};

/// Appends PINGRESP.
pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xD0, 0]);
}
