//! What the shards begin with: the sessions that were kept, and the journal that keeps them on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::{Numbers, Shard};
use crate::fact::{Highest, KeptSession};
use crate::journal::{self, Journal, Ready};
use crate::policy::Grant;
use crate::team::{Message, MessageNumber, SessionNumber};
use crate::time::Time;

/// What was kept, and the journal.
pub struct Kept {
    /// To be started.
    pub log: Ready,
    /// Each with what its principal may do now.
    pub sessions: Vec<(SessionNumber, KeptSession, Arc<Grant>)>,
    /// Those whose principals are gone.
    pub ended: Vec<SessionNumber>,
    /// What they have.
    pub messages: Arc<HashMap<MessageNumber, Arc<Message>>>,
    /// No number above was ever in use.
    pub highest: Highest,
}

/// One shard's share of it.
pub(super) struct Share {
    sessions: Vec<(SessionNumber, KeptSession, Arc<Grant>)>,
    ended: Vec<SessionNumber>,
    messages: Arc<HashMap<MessageNumber, Arc<Message>>>,
    highest: Highest,
    ledger: Ledger,
}

/// Where a shard's commits go.
#[derive(Clone)]
pub(super) struct Ledger {
    journal: Journal,
    shard: u16,
}

impl Kept {
    /// Starts the journal and deals the sessions out.
    pub(super) fn start(
        self,
        count: u16,
        tell: journal::Tell,
    ) -> std::io::Result<(Journal, Vec<Share>)> {
        let journal = self.log.start(count, tell)?;
        let mut shares: Vec<Share> = (0..count)
            .map(|shard| Share {
                sessions: Vec::new(),
                ended: Vec::new(),
                messages: Arc::clone(&self.messages),
                highest: self.highest,
                ledger: Ledger {
                    journal: journal.clone(),
                    shard,
                },
            })
            .collect();
        if let Some(first) = shares.first_mut() {
            first.ended = self.ended;
        }
        for (place, session) in self.sessions.into_iter().enumerate() {
            shares[place % usize::from(count)].sessions.push(session);
        }
        Ok((journal, shares))
    }
}

impl Share {
    /// Puts the sessions back into their shard, before its first connection.
    pub(super) fn restore(self, core: Shard, id: u16, count: u16, now: Time) -> (Shard, Ledger) {
        let sessions = Numbers::after(self.highest.session, id, count);
        let messages = Numbers::after(self.highest.message, id, count);
        let mut core = core.with_journal(sessions, messages);
        self.ended.into_iter().for_each(|it| core.give_up(it));
        let find = |number| self.messages.get(&number).map(Arc::clone);
        for (number, kept, grant) in self.sessions {
            core.restore(number, kept, find, &grant, now);
        }
        (core, self.ledger)
    }
}

impl Ledger {
    /// Hands over what a shard has stated since the last call.
    pub(super) fn keep(&self, core: &mut Shard) {
        if let Some(commit) = core.take_commit() {
            self.journal.commit(journal::Commit {
                shard: self.shard,
                number: commit.number,
                sync: commit.sync,
                hasty: commit.hasty,
                facts: commit.facts,
            });
        }
    }
}
