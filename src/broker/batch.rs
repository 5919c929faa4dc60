//! What one turn of a shard has for another.

use std::sync::Arc;

use crate::team::{Message, Route};

/// Messages for sessions of one other shard. The shell hands it over with one wake, and the other
/// shard takes it with `Shard::deliver_batch`.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Arc<Message>>,
    /// Each with the index of its message; in the order of the messages.
    routes: Vec<(u32, Route)>,
}

/// Some of the shards, as the publishers of one connection reach them. Shards beyond the 64th share
/// a place with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed(u64);

impl Fed {
    /// Adds a shard.
    pub(super) const fn add(&mut self, shard: u16) {
        self.0 |= 1 << (shard % 64);
    }

    /// Adds what another has.
    pub const fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it may hold this shard.
    pub const fn has(self, shard: u16) -> bool {
        self.0 & 1 << (shard % 64) != 0
    }
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Deliveries in it.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Adds a delivery.
    pub(super) fn push(&mut self, message: &Arc<Message>, route: Route) {
        if !self
            .messages
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, message))
        {
            self.messages.push(Arc::clone(message));
        }
        self.routes.push((self.messages.len() as u32 - 1, route));
    }

    /// Message and route of each delivery, in order.
    pub fn deliveries(&self) -> impl Iterator<Item = (&Arc<Message>, Route)> {
        self.routes
            .iter()
            .map(|(message, route)| (&self.messages[*message as usize], *route))
    }
}
