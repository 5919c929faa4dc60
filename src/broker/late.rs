//! QoS 0 for a client that does not read fast enough: the newest messages are kept, the oldest
//! dropped.
//!
//! What stands in an outbox is encoded and may be half sent, so nothing is taken out of it. Beyond half of
//! an outbox's limit QoS 0 messages wait here instead, shared with everyone else who keeps them, and
//! are encoded as the client takes what is before them. They may take up the other half.

use std::collections::VecDeque;
use std::sync::Arc;

use super::form::Terms;
use crate::policy::Grant;
use crate::session::Queued;
use crate::team::Message;

/// Messages that wait for one connection, oldest first.
#[derive(Debug)]
pub(super) struct Late {
    waiting: VecDeque<(Arc<Message>, Terms)>,
    bytes: usize,
    /// What they were let through by.
    grant: Arc<Grant>,
    generation: u64,
}

/// What one message takes beside its bytes.
const EACH: usize = 64;

impl Late {
    pub(super) fn under(grant: &Arc<Grant>) -> Box<Self> {
        Box::new(Self {
            waiting: VecDeque::new(),
            bytes: 0,
            grant: Arc::clone(grant),
            generation: grant.generation(),
        })
    }

    /// Adds a message, and drops the oldest until no more than `most` bytes wait. Returns how many
    /// were dropped.
    pub(super) fn push(&mut self, message: &Arc<Message>, terms: Terms, most: usize) -> u64 {
        self.bytes += message.size() + EACH;
        self.waiting.push_back((Arc::clone(message), terms));
        let mut dropped = 0;
        while self.bytes > most
            && let Some((oldest, _)) = self.waiting.pop_front()
        {
            self.bytes -= oldest.size() + EACH;
            dropped += 1;
        }
        dropped
    }

    /// The oldest message.
    pub(super) fn pop(&mut self) -> Option<(Arc<Message>, Terms)> {
        let (message, terms) = self.waiting.pop_front()?;
        self.bytes -= message.size() + EACH;
        Some((message, terms))
    }

    /// What waits, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Queued> + '_ {
        let waiting = self.waiting.iter();
        waiting.map(|(message, terms)| terms.queued(Arc::clone(message)))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the session may still do what it might when they were let through.
    pub(super) fn is_under(&self, grant: &Arc<Grant>) -> bool {
        Arc::ptr_eq(&self.grant, grant) && self.generation == grant.generation()
    }
}
