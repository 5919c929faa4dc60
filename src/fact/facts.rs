//! What one shard has stated since it last handed anything to the journal.

use std::sync::Arc;

use super::{Fact, Kept, Target};
use crate::team::{Message, SessionNumber};
use crate::wire::PacketId;

/// Facts in the order in which they are to be known.
///
/// A message is known before what became of it: while one is being routed its targets gather here,
/// and what is stated meanwhile stands behind it.
#[derive(Debug, Default)]
pub struct Facts {
    stated: Vec<Fact>,
    routing: bool,
    targets: Vec<Target>,
    behind: Vec<Fact>,
}

impl Facts {
    /// Adds a fact.
    pub fn state(&mut self, fact: Fact) {
        match self.routing {
            true => self.behind.push(fact),
            false => self.stated.push(fact),
        }
    }

    /// Adds a fact where there is one.
    pub fn extend(&mut self, fact: Option<Fact>) {
        if let Some(fact) = fact {
            self.state(fact);
        }
    }

    /// A message is routed from here to [`close`](Self::close).
    pub fn open(&mut self) {
        debug_assert!(!self.routing, "one message at a time");
        self.routing = true;
    }

    /// The message that is being routed is for this session.
    pub fn target(&mut self, target: Target) {
        debug_assert!(self.routing, "of a message that is being routed");
        self.targets.push(target);
    }

    /// The message is routed. Where it has targets, is retained or is a receipt, it is kept.
    pub fn close(
        &mut self,
        message: impl FnOnce() -> Arc<Message>,
        retained: Option<(Arc<str>, u64)>,
        receipt: Option<(SessionNumber, PacketId)>,
    ) {
        self.routing = false;
        let targets = std::mem::take(&mut self.targets);
        match receipt {
            Some((session, id)) if targets.is_empty() && retained.is_none() => {
                self.stated.push(Fact::Received(session, id));
            }
            None if targets.is_empty() && retained.is_none() => {}
            _ => {
                let message = message();
                self.stated.push(Fact::Kept(Box::new(Kept {
                    number: message.number,
                    message,
                    targets,
                    retained,
                    receipt,
                })));
            }
        }
        self.stated.append(&mut self.behind);
    }

    /// Forgets what was stated since there were so many.
    pub fn forget_since(&mut self, mark: usize) {
        self.stated.truncate(mark);
    }

    /// Number of facts.
    pub fn len(&self) -> usize {
        self.stated.len() + self.behind.len() + self.targets.len()
    }

    /// Whether nothing was stated.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything stated; what is stated from now on belongs to the next commit.
    pub fn take(&mut self) -> Vec<Fact> {
        debug_assert!(!self.routing, "between messages");
        std::mem::take(&mut self.stated)
    }
}
