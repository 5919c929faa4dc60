//! What one turn of a shard has for another.

use std::sync::Arc;

use crate::team::{Message, Route, Team};

/// Messages of one team's topics for sessions of one other shard. The shell hands it over, and the
/// other shard takes it with `Shard::deliver_batch`.
#[derive(Debug)]
pub struct Batch {
    team: Arc<Team>,
    messages: Vec<Arc<Message>>,
    /// Each with the index of its message; in the order of the messages.
    routes: Vec<(u32, Route)>,
    /// Of the routes, those that were delivered.
    done: usize,
}

impl Batch {
    pub(super) const fn new(team: Arc<Team>) -> Self {
        Self {
            team,
            messages: Vec::new(),
            routes: Vec::new(),
            done: 0,
        }
    }

    /// Whose topics' messages they are.
    pub const fn team(&self) -> &Arc<Team> {
        &self.team
    }

    /// Whether there is nothing left in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Deliveries left in it.
    pub fn len(&self) -> usize {
        self.routes.len() - self.done
    }

    /// Message and route of each delivery left in it, in order.
    pub fn deliveries(&self) -> impl Iterator<Item = (&Arc<Message>, Route)> {
        self.routes[self.done..]
            .iter()
            .map(|(message, route)| (&self.messages[*message as usize], *route))
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

    /// The next delivery, which counts as made.
    pub(super) fn take(&mut self) -> Option<(Arc<Message>, Route)> {
        let (message, route) = *self.routes.get(self.done)?;
        self.done += 1;
        Some((Arc::clone(&self.messages[message as usize]), route))
    }
}
