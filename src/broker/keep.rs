//! What must outlive a crash is stated here, and what promises it waits here until it is kept.
//!
//! Whatever changes a kept session or a retained message is stated as a [`Fact`] in the turn in which
//! it happens. The shell takes the facts of a turn with [`Shard::take_commit`], hands them to the
//! journal before anything that the turn has for other shards, and says with [`Shard::committed`]
//! when they are kept. Until then an answer that promises them stays in its connection's outbox, and
//! a QoS 2 message that could be taken for a second one after a crash stays here; nothing else waits.
//!
//! Without a journal no session is kept, nothing is stated and nothing waits.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::batch::Batch;
use super::effect::ConnId;
use super::outbox::Outbox;
use super::publish::Passing;
use super::shard::Shard;
use crate::fact::{Fact, Facts, Terms};
use crate::session::Session;
use crate::team::{Matched, MessageNumber, MessageView, SessionNumber};
use crate::time::Span;
use crate::wire::{PacketId, QoS, Version};

/// The facts of one turn of a shard, to be kept together.
#[derive(Debug)]
pub struct Commit {
    /// Counts the commits of the shard, from 1.
    pub number: u64,
    /// In order.
    pub facts: Vec<Fact>,
}

/// Numbers that no other shard gives out.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    next: NonZeroU64,
    step: u64,
}

/// A shard's part of the keeping.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) facts: Facts,
    /// Of sessions and of messages; `None`: nothing is kept.
    numbers: Option<(Numbers, Numbers)>,
    /// The commit that is being gathered.
    gathering: u64,
    /// The last that is kept.
    kept: u64,
    /// Outboxes with something that waits for a commit, in the order of the commits.
    waiting: VecDeque<(u64, ConnId)>,
    /// What waits for the commit that is being gathered, for other shards.
    pub(super) careful: Vec<(u16, Batch)>,
    /// The same, of commits that were handed over.
    held: VecDeque<(u64, u16, Batch)>,
    /// The message that is being routed is one of QoS 2 whose receipt is to be kept first.
    pub(super) is_careful: bool,
    /// The journal takes no more.
    is_full: bool,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            facts: Facts::default(),
            numbers: None,
            gathering: 1,
            kept: 0,
            waiting: VecDeque::new(),
            careful: Vec::new(),
            held: VecDeque::new(),
            is_careful: false,
            is_full: false,
        }
    }
}

impl Numbers {
    /// Those of shard `id` of `count`, where no number after `last` is in use.
    pub fn after(last: u64, id: u16, count: u16) -> Self {
        let first = last.saturating_add(1).saturating_add(u64::from(id));
        Self {
            next: NonZeroU64::new(first).unwrap_or(NonZeroU64::MIN),
            step: u64::from(count),
        }
    }

    fn take(&mut self) -> NonZeroU64 {
        let taken = self.next;
        self.next = taken.saturating_add(self.step);
        taken
    }
}

impl Keeping {
    /// Whether there is a journal.
    pub(super) const fn is_on(&self) -> bool {
        self.numbers.is_some()
    }

    /// Whether nothing new may be promised.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// The number of a message that is about to be routed.
    pub(super) fn message(&mut self) -> MessageNumber {
        let numbers = self.numbers.as_mut();
        MessageNumber(numbers.map_or(0, |(_, messages)| messages.take().get()))
    }

    fn session(&mut self) -> Option<SessionNumber> {
        let numbers = self.numbers.as_mut();
        numbers.map(|(sessions, _)| SessionNumber(sessions.take()))
    }

    /// The commit that everything stated so far belongs to.
    pub(super) fn latest(&self) -> u64 {
        match self.has_some() {
            true => self.gathering,
            false => self.gathering - 1,
        }
    }

    /// The commit that is being gathered will be one: there is something in it, or waits for it.
    fn has_some(&self) -> bool {
        let is_awaited = self.waiting.back().is_some_and(|it| it.0 == self.gathering);
        !self.facts.is_empty() || is_awaited || !self.careful.is_empty()
    }

    /// Whether a QoS 2 message of before waits for a commit still, so that later ones must too.
    fn holds_batches(&self) -> bool {
        !self.held.is_empty() || !self.careful.is_empty()
    }

    /// An outbox holds something until this commit is kept.
    pub(super) fn await_commit(&mut self, commit: u64, conn: ConnId) {
        if self.waiting.back() != Some(&(commit, conn)) {
            self.waiting.push_back((commit, conn));
        }
    }

    /// Until when a QoS 2 packet is to be held on its way out, which then awaits that commit: one
    /// whose identifier, or whose receipt, is to be kept first, and what must not overtake such a one.
    pub(super) fn hold(&mut self, is_kept: bool, outbox: &Outbox, to: ConnId) -> Option<u64> {
        let commit = match (self.is_careful, is_kept || outbox.has_held()) {
            (true, _) => self.gathering,
            (false, true) => self.latest(),
            (false, false) => return None,
        };
        if commit <= self.kept || outbox.is_closed_until(commit) {
            return None;
        }
        self.await_commit(commit, to);
        Some(commit)
    }

    /// Whether a QoS 2 packet that is about to be written may have to be [held](Self::hold).
    pub(super) fn may_hold(&self, is_kept: bool, outbox: &Outbox) -> bool {
        let holds = self.is_careful || is_kept || outbox.has_held();
        holds && !outbox.is_closed_until(self.gathering)
    }

    /// Until when something is to be held that promises what was stated last, or was stated since
    /// `mark` facts were; `None`: not at all.
    pub(super) fn promise(&self, mark: Option<usize>) -> Option<u64> {
        let latest = match mark {
            Some(mark) if self.facts.len() == mark => return None,
            _ => self.latest(),
        };
        (latest > self.kept).then_some(latest)
    }
}

impl Shard {
    /// The same shard, with a journal: sessions that outlive their connection and retained messages
    /// are kept. The numbers are those of sessions and of messages.
    pub fn with_journal(mut self, sessions: Numbers, messages: Numbers) -> Self {
        self.keeping.numbers = Some((sessions, messages));
        self
    }

    /// Whether there is a commit to take.
    pub(super) fn has_commit(&self) -> bool {
        self.keeping.has_some()
    }

    /// What was stated since the last call, for the journal: before [`take_batches`](Self::take_batches)
    /// is called.
    pub fn take_commit(&mut self) -> Option<Commit> {
        if !self.has_commit() {
            return None;
        }
        let number = self.keeping.gathering;
        self.keeping.gathering += 1;
        let careful = self.keeping.careful.drain(..);
        let held = careful.map(|(shard, batch)| (number, shard, batch));
        self.keeping.held.extend(held);
        let facts = self.keeping.facts.take();
        Some(Commit { number, facts })
    }

    /// The journal has kept everything up to this commit.
    pub fn committed(&mut self, number: u64) {
        self.keeping.kept = self.keeping.kept.max(number);
        let is_due = |commit: u64| commit <= number;
        while let Some((_, shard, batch)) = self.keeping.held.pop_front_if(|it| is_due(it.0)) {
            self.batches.push((shard, batch));
        }
        while let Some((_, id)) = self.keeping.waiting.pop_front_if(|it| is_due(it.0)) {
            if let Some(conn) = self.conns.get_mut(id.index, id.generation)
                && conn.outbox.release(number, &mut self.pool)
            {
                self.touch(id.index);
            }
        }
    }

    /// What is for other shards once a commit is kept, in order: the commit, and the shard; to look at.
    pub fn withheld(&self) -> impl Iterator<Item = (u64, u16, &Batch)> {
        let held = self.keeping.held.iter();
        held.map(|(commit, shard, batch)| (*commit, *shard, batch))
    }

    /// The journal takes no more, or does again: meanwhile what would have to be kept is refused.
    pub const fn set_full(&mut self, is_full: bool) {
        self.keeping.is_full = is_full;
    }

    /// Encodes an answer that promises what was stated since `mark` facts were: it is held until that
    /// is kept. Without a mark: what was stated so far.
    pub(super) fn promise(
        &mut self,
        index: u32,
        mark: Option<usize>,
        encode: impl FnOnce(&mut Vec<u8>, Version),
    ) {
        let Some(commit) = self.keeping.promise(mark) else {
            return self.write(index, encode);
        };
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        if conn.outbox.is_closed_until(commit) {
            return self.write(index, encode);
        }
        let most = conn.max_packet as usize;
        let version = conn.version;
        conn.outbox.hold(commit, |out| {
            let before = out.len();
            encode(out, version);
            if out.len() - before > most {
                out.truncate(before);
            }
        });
        let id = ConnId { index, generation };
        self.keeping.await_commit(commit, id);
    }

    /// A message is about to be routed: for whom, is gathered until [`close_message`].
    ///
    /// [`close_message`]: Self::close_message
    pub(super) fn open_message(
        &mut self,
        matched: &Matched,
        view: &MessageView<'_>,
        receipt: Option<(SessionNumber, PacketId)>,
    ) {
        if !self.keeping.is_on() {
            return;
        }
        self.keeping.is_careful = view.qos == QoS::ExactlyOnce
            && (receipt.is_some() || matched.is_kept() || self.keeping.holds_batches());
        self.keeping.facts.open();
    }

    /// The same for a message that was routed before, and is for one session more. `passes_on`: that
    /// another has it no more is to be kept first, so that a QoS 2 message does not come to both.
    pub(super) fn open_delivery(&mut self, view: &MessageView<'_>, passes_on: bool) {
        if self.keeping.is_on() {
            self.keeping.is_careful = passes_on && view.qos == QoS::ExactlyOnce;
            self.keeping.facts.open();
        }
    }

    /// It is routed. `retained` is the version in which it is its topic's retained message, or, where
    /// it has no payload, in which that topic has none.
    pub(super) fn close_message(
        &mut self,
        passing: &Passing<'_>,
        retained: Option<u64>,
        receipt: Option<(SessionNumber, PacketId)>,
    ) {
        if !self.keeping.is_on() {
            return;
        }
        self.keeping.is_careful = false;
        let facts = &mut self.keeping.facts;
        let versioned = retained.map(|version| (Arc::from(passing.view.topic), version));
        let kept = || Arc::clone(passing.kept());
        match versioned {
            Some((topic, version)) if passing.view.payload.is_empty() => {
                facts.close(kept, None, receipt);
                facts.state(Fact::Cleared(topic, version));
            }
            versioned => facts.close(kept, versioned, receipt),
        }
    }

    /// Whether accepting a message would have to be kept beyond a crash.
    pub(super) fn would_be_kept(
        &self,
        matched: &Matched,
        view: &MessageView<'_>,
        receipt: Option<(SessionNumber, PacketId)>,
    ) -> bool {
        receipt.is_some() || view.retain || view.qos > QoS::AtMostOnce && matched.is_kept()
    }

    /// A session has begun or goes on: from now on it is kept, or not any more. What its client is told,
    /// CONNACK first of all, is held until that is so: of one that is kept no more, too, for until then
    /// a crash would bring it back as it was; and `begins_anew`: so it would the one whose place it took.
    pub(super) fn keep_session(&mut self, index: u32, begins_anew: bool) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let is_kept = session.expiry > Span::ZERO && self.keeping.is_on();
        let facts = &mut self.keeping.facts;
        match (session.number, is_kept) {
            (None, false) if begins_anew => {}
            (None, false) => return,
            (Some(number), false) => {
                session.keep_as(None);
                facts.state(Fact::Ended(number));
            }
            (known, true) => {
                let Some(number) = known.or_else(|| self.keeping.session()) else {
                    return;
                };
                session.keep_as(Some(number));
                let facts = &mut self.keeping.facts;
                facts.state(Fact::Session(number, Box::new(terms(session))));
                facts.state(Fact::Will(number, session.will.clone().map(Box::new)));
            }
        }
        if let Some(index) = session.conn
            && let Some((generation, conn)) = self.conns.entry_mut(index)
        {
            let commit = self.keeping.latest();
            conn.outbox.close_until(commit);
            self.keeping
                .await_commit(commit, ConnId { index, generation });
        }
    }
}

fn terms(session: &Session) -> Terms {
    Terms {
        client_id: Arc::clone(&session.key.client_id),
        principal: session.grant.principal().clone(),
        expiry: session.expiry,
        listener: Arc::clone(&session.peer.listener),
        address: session.peer.address,
    }
}
