//! QoS 2 from the client `[MQTT-4.3.3]`: the packet identifiers whose PUBREL has not come.

use crate::wire::PacketId;

/// Identifiers received and not yet released. The message itself went on when the first PUBLISH
/// came (the standard's "method B"), so the identifier is all that is kept.
#[derive(Debug, Default)]
pub struct Incoming {
    held: Vec<PacketId>,
}

/// What a QoS 2 PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// A new message.
    New,
    /// One that is held already: answered, not forwarded again.
    Again,
    /// One more than Receive Maximum allows `[MQTT-3.3.4-9]`.
    TooMany,
}

impl Incoming {
    /// What a PUBLISH with this identifier would be.
    pub fn judge(&self, id: PacketId, receive_maximum: u16) -> Receipt {
        if self.held.contains(&id) {
            Receipt::Again
        } else if self.held.len() >= usize::from(receive_maximum) {
            Receipt::TooMany
        } else {
            Receipt::New
        }
    }

    /// Holds the identifier of a new message until its PUBREL.
    pub fn hold(&mut self, id: PacketId) {
        debug_assert!(!self.held.contains(&id));
        self.held.push(id);
    }

    /// PUBREL came. Says whether the identifier was held.
    pub fn release(&mut self, id: PacketId) -> bool {
        match self.held.iter().position(|held| *held == id) {
            Some(place) => {
                self.held.remove(place);
                true
            }
            None => false,
        }
    }

    /// The identifiers held.
    pub fn ids(&self) -> impl Iterator<Item = PacketId> {
        self.held.iter().copied()
    }

    /// Number of identifiers held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}
