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
use super::outbox::{Due, Outbox, Progress};
use super::publish::Passing;
use super::shard::Shard;
use crate::fact::{Fact, Facts, Terms};
use crate::limits::Durability;
use crate::session::Session;
use crate::team::{Gone, Matched, MessageNumber, MessageView, Route, SessionNumber, Team};
use crate::time::Span;
use crate::wire::{PacketId, QoS, Version};

/// The facts of one turn of a shard, to be kept together.
#[derive(Debug)]
pub struct Commit {
    /// Counts the commits of the shard, from 1.
    pub number: u64,
    /// It counts as kept when it is on disk, for there is something in it of somebody to whom that was
    /// promised; otherwise when the system has it.
    pub sync: bool,
    /// Somebody waits only for the system to have it.
    pub hasty: bool,
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
    /// How far the journal is.
    progress: Progress,
    /// What those are promised on whose behalf the shard acts now.
    level: Durability,
    /// So many facts of the commit that is being gathered were stated before that.
    before: usize,
    /// It is to be synced.
    is_strict: bool,
    /// Somebody waits only for the system to have it.
    is_hasty: bool,
    /// Outboxes with something that waits for a commit, in the order of the commits.
    waiting: VecDeque<(Due, ConnId)>,
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
            progress: Progress::default(),
            level: Durability::Disk,
            before: 0,
            is_strict: false,
            is_hasty: false,
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
        let is_awaited = self
            .waiting
            .back()
            .is_some_and(|it| it.0.commit == self.gathering);
        !self.facts.is_empty() || is_awaited || !self.careful.is_empty()
    }

    /// Whether a QoS 2 message of before waits for a commit still, so that later ones must too.
    fn holds_batches(&self) -> bool {
        !self.held.is_empty() || !self.careful.is_empty()
    }

    /// From here on the shard acts on behalf of those who are promised this.
    pub(super) fn attend(&mut self, level: Durability) {
        self.is_strict |= self.level == Durability::Disk && self.facts.len() > self.before;
        self.before = self.facts.len();
        self.level = level;
    }

    /// And of those who are promised this, too.
    fn attend_also(&mut self, level: Durability) {
        self.level = self.level.max(level);
    }

    fn due(&self, commit: u64) -> Due {
        Due {
            commit,
            synced: self.level == Durability::Disk,
        }
    }

    /// An outbox holds something until this is met.
    pub(super) fn await_commit(&mut self, due: Due, conn: ConnId) {
        if due.commit == self.gathering {
            self.is_strict |= due.synced;
            self.is_hasty |= !due.synced;
        }
        if self.waiting.back() != Some(&(due, conn)) {
            self.waiting.push_back((due, conn));
        }
    }

    /// Until when a QoS 2 packet is to be held on its way out, which then awaits that commit: one
    /// whose identifier, or whose receipt, is to be kept first, and what must not overtake such a one.
    pub(super) fn hold(&mut self, is_kept: bool, outbox: &Outbox, to: ConnId) -> Option<Due> {
        let commit = match (self.is_careful, is_kept || outbox.has_held()) {
            (true, _) => self.gathering,
            (false, true) => self.latest(),
            (false, false) => return None,
        };
        let due = self.due(commit);
        if due.is_met(self.progress) || outbox.is_closed_until(due) {
            return None;
        }
        self.await_commit(due, to);
        Some(due)
    }

    /// Whether a QoS 2 packet that is about to be written may have to be [held](Self::hold).
    pub(super) fn may_hold(&self, is_kept: bool, outbox: &Outbox) -> bool {
        let holds = self.is_careful || is_kept || outbox.has_held();
        holds && !outbox.is_closed_until(self.due(self.gathering))
    }

    /// Until when something is to be held that promises what was stated last, or was stated since
    /// `mark` facts were; `None`: not at all.
    pub(super) fn promise(&self, mark: Option<usize>) -> Option<Due> {
        let latest = match mark {
            Some(mark) if self.facts.len() == mark => return None,
            _ => self.latest(),
        };
        if self.level == Durability::Memory {
            return None;
        }
        let due = self.due(latest);
        (!due.is_met(self.progress)).then_some(due)
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
        self.keeping.attend(self.keeping.level);
        let facts = self.keeping.facts.take();
        self.keeping.before = 0;
        let sync = std::mem::take(&mut self.keeping.is_strict);
        Some(Commit {
            number,
            sync,
            hasty: std::mem::take(&mut self.keeping.is_hasty),
            facts,
        })
    }

    /// The system has everything up to this commit, which is not synced yet: enough for those who are
    /// promised no more.
    pub fn written(&mut self, number: u64) {
        let progress = &mut self.keeping.progress;
        progress.written = progress.written.max(number);
        let at = *progress;
        // Others stand between them, who wait on.
        let mut released = Vec::new();
        self.keeping.waiting.retain(|(due, id)| {
            let is_met = due.is_met(at);
            if is_met {
                released.push(*id);
            }
            !is_met
        });
        self.release(released, at);
    }

    /// The journal has kept everything up to this commit.
    pub fn committed(&mut self, number: u64) {
        let progress = &mut self.keeping.progress;
        progress.kept = progress.kept.max(number);
        let at = *progress;
        let is_due = |commit: u64| commit <= number;
        while let Some((_, shard, batch)) = self.keeping.held.pop_front_if(|it| is_due(it.0)) {
            self.batches.push((shard, batch));
        }
        while let Some((_, id)) = self.keeping.waiting.pop_front_if(|it| it.0.is_met(at)) {
            self.release([id], at);
        }
    }

    fn release(&mut self, ids: impl IntoIterator<Item = ConnId>, at: Progress) {
        for id in ids {
            if let Some(conn) = self.conns.get_mut(id.index, id.generation)
                && conn.outbox.release(at, &mut self.pool)
            {
                self.touch(id.index);
            }
        }
    }

    /// The shard acts on behalf of a session's team, until it [`rests`](Self::rest).
    pub(super) fn attend(&mut self, session: u32) {
        if self.keeping.is_on()
            && let Some(session) = self.sessions.at(session)
        {
            let level = session.team.durability();
            self.keeping.attend(level);
        }
    }

    /// The same for the session that a delivery from another shard is for.
    pub(super) fn attend_for(&mut self, route: Route) {
        let address = route.session;
        if self
            .sessions
            .get(address.index, address.generation)
            .is_some()
        {
            self.attend(address.index);
        }
    }

    /// The shard acts on nobody's behalf: what it states is as sure as for the strictest team.
    pub(super) fn rest(&mut self) {
        if self.keeping.is_on() {
            let level = self.world.strictest();
            self.keeping.attend(level);
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

    /// What an answer promises that says that something of a session is gone, to be asked before it
    /// goes: where the session is kept, all that was stated, for it may have been gone for some time
    /// and that is not kept.
    pub(super) fn mark_of(&self, session: Option<SessionNumber>) -> Option<usize> {
        match session {
            Some(_) => None,
            None => Some(self.keeping.facts.len()),
        }
    }

    /// Encodes an answer that promises what was stated since `mark` facts were: it is held until that
    /// is kept. Without a mark: what was stated so far.
    pub(super) fn promise(
        &mut self,
        index: u32,
        mark: Option<usize>,
        encode: impl FnOnce(&mut Vec<u8>, Version),
    ) {
        let due = self.keeping.promise(mark);
        let Some((generation, conn)) = self.conns.entry_mut(index) else {
            return;
        };
        // Acknowledgements leave in the order of what they acknowledge [MQTT-4.6.0-2, MQTT-4.6.0-3]:
        // one that has nothing to wait for leaves with the last that does, which is awaited already.
        let is_new = due.is_some();
        let Some(due) = due.or_else(|| conn.outbox.last_due()) else {
            return self.write(index, encode);
        };
        if conn.outbox.is_closed_until(due) {
            return self.write(index, encode);
        }
        let most = conn.max_packet as usize;
        let version = conn.version;
        conn.outbox.hold(due, |out| {
            let before = out.len();
            encode(out, version);
            if out.len() - before > most {
                out.truncate(before);
            }
        });
        if is_new {
            let id = ConnId { index, generation };
            self.keeping.await_commit(due, id);
        }
    }

    /// A message is about to be routed: for whom, is gathered until [`close_message`]. `once`: that it
    /// came, or that it is sent, is stated in the same turn, so that after a crash it is not routed again.
    ///
    /// [`close_message`]: Self::close_message
    pub(super) fn open_message(
        &mut self,
        team: &Team,
        matched: &Matched,
        view: &MessageView<'_>,
        once: bool,
    ) {
        if !self.keeping.is_on() {
            return;
        }
        let level = self.world.durability_of(team, matched);
        self.keeping.attend_also(level);
        self.keeping.is_careful = view.qos == QoS::ExactlyOnce
            && (once || matched.is_kept() || self.keeping.holds_batches());
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

    /// Retained messages have gone without anybody's having cleared them: what was kept of their
    /// topics is not to come back.
    pub(super) fn state_gone(&mut self, gone: &Gone) {
        if self.keeping.is_on() {
            for message in &gone.messages {
                let topic = Arc::from(message.topic());
                self.keeping.facts.state(Fact::Cleared(topic, gone.version));
            }
        }
    }

    /// Whether accepting a message would have to be kept beyond a crash.
    pub(super) fn would_be_kept(
        &self,
        team: &Team,
        matched: &Matched,
        view: &MessageView<'_>,
        receipt: Option<(SessionNumber, PacketId)>,
    ) -> bool {
        let is_retained = view.retain && team.durability() > Durability::Memory;
        receipt.is_some() || is_retained || view.qos > QoS::AtMostOnce && matched.is_kept()
    }

    /// A session has begun or goes on: from now on it is kept, or not any more. What its client is told,
    /// CONNACK first of all, is held until that is so: of one that is kept no more, too, for until then
    /// a crash would bring it back as it was. Of one that is new and not kept, too, where something was
    /// stated since `mark` facts were: that the session before it is over.
    ///
    /// What its team is promised counts for one that begins. One that comes back is kept as it was: what
    /// it has was not stated, or is there already.
    pub(super) fn keep_session(&mut self, index: u32, comes_back: bool, mark: usize) {
        self.attend(index);
        self.keep_or_end(index, comes_back, mark);
        self.rest();
    }

    fn keep_or_end(&mut self, index: u32, comes_back: bool, mark: usize) {
        let Some(session) = self.sessions.at_mut(index) else {
            return;
        };
        let is_promised = match comes_back {
            true => session.number.is_some(),
            false => session.team.durability() > Durability::Memory,
        };
        let is_kept = session.expiry > Span::ZERO && self.keeping.is_on() && is_promised;
        let facts = &mut self.keeping.facts;
        match (session.number, is_kept) {
            (None, false) if facts.len() == mark => return,
            (None, false) => {}
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
                // One that is due and waits for an answer is kept until another takes its place.
                if session.will.is_some() || session.wills_asked == 0 {
                    facts.state(Fact::Will(number, session.will.clone().map(Box::new)));
                }
            }
        }
        if let Some(index) = session.conn
            && let Some((generation, conn)) = self.conns.entry_mut(index)
        {
            let due = self.keeping.due(self.keeping.latest());
            conn.outbox.close_until(due);
            self.keeping.await_commit(due, ConnId { index, generation });
        }
    }
}

fn terms(session: &Session) -> Terms {
    Terms {
        client_id: Arc::clone(&session.key.client_id),
        principal: session.grant.principal().clone(),
        known_by: session.grant.known_by(),
        expiry: session.expiry,
        listener: Arc::clone(&session.peer.listener),
        address: session.peer.address,
    }
}
