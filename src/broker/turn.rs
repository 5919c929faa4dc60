//! What one connection, and one team, may make its shard do before the others have their turn.
//!
//! Packets are cheap to send and can be dear to serve: one topic can match thousands of filters, one
//! filter can walk a million retained messages. So work is counted in steps: a packet, a filter
//! subscribed to or ended, a place of the subscription trie visited, a delivery, a retained message
//! looked at, and a KiB read or delivered each count one, which is about what a microsecond does. A
//! connection is served for one *visit* at a time and goes on in a later turn, with the bytes that it
//! has sent, with what its session waits to send; a team has its share of steps whatever its number
//! of connections ([`lanes`](super::lanes)). A turn is what lies between two calls of
//! [`Shard::go_on`].

use super::batch::Batch;
use super::connection::Phase;
use super::effect::ConnId;
use super::event::DisconnectCause;
use super::shard::Shard;
use crate::session::Queued;
use crate::time::Time;

/// What may be done at a time at most, whatever the pace of the shard. The simulation makes it small.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Steps of the packets of one connection in one visit. The packet that passes it is still served
    /// whole.
    pub packets: u32,
    /// Retained messages that one connection may have looked at in one turn; at least one.
    pub retained: u32,
    /// Steps of one team before the next has its turn, and of all who wait in one turn; at least one.
    pub share: u32,
}

/// What waits in a shard's lanes, to look at: whose turn it is when it is its team's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A connection is read, or what it has sent is served.
    Reader(ConnId),
    /// What waits for a connection's outbox is written into it.
    Writer(ConnId),
    /// So many deliveries, in one batch from another shard.
    Batch(usize),
}

/// What a TLS handshake's part counts, for each time that bytes of it are read.
const HANDSHAKE_STEPS: u32 = 256;

/// What one delivery of so many bytes counts.
pub(super) const fn steps_of(bytes: usize) -> u32 {
    1 + (bytes >> 10) as u32
}

/// What waits in a team's lane.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A connection: to go on with what is held of it, or to be read again.
    Reader(ConnId),
    /// A connection whose session is to send what waits.
    Writer(ConnId),
    /// What came from another shard.
    Batch(Batch),
}

impl Waiting {
    fn to_look_at(&self) -> Awaited {
        match self {
            Self::Reader(id) => Awaited::Reader(*id),
            Self::Writer(id) => Awaited::Writer(*id),
            Self::Batch(batch) => Awaited::Batch(batch.len()),
        }
    }
}

/// What a connection has spent of its share of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    turn: u64,
    steps: u32,
    retained: u32,
}

/// One connection is being served.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Visit {
    pub(super) steps: u32,
    /// When to stop. The packet that passes it is still served whole.
    most: u32,
}

impl Visit {
    pub(super) const fn is_over(self) -> bool {
        self.steps >= self.most
    }

    /// The packet that is being served is the last of this visit.
    pub(super) const fn stop(&mut self) {
        self.most = 0;
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            packets: u32::MAX,
            retained: 1024,
            share: u32::MAX,
        }
    }
}

impl Spent {
    fn within(&mut self, turn: u64) -> &mut Self {
        if self.turn != turn {
            *self = Self {
                turn,
                ..Self::default()
            };
        }
        self
    }

    /// How many retained messages may still be looked at; `None`: no more in this turn.
    pub(super) fn retained_left(&mut self, turn: u64, allowance: Allowance) -> Option<u32> {
        let left = allowance
            .retained
            .saturating_sub(self.within(turn).retained);
        (left > 0).then_some(left)
    }

    /// Counts retained messages that were looked at.
    pub(super) fn charge_retained(&mut self, turn: u64, steps: u32) {
        self.within(turn).retained += steps;
    }
}

impl Shard {
    /// The same shard, where no more than this is done at a time.
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = allowance;
        self.lanes.allow(allowance);
        self
    }

    /// What waits for a turn, each with its lane: the number of its team, or 0. The lanes in no order;
    /// within one, whoever is first is next. Some of these connections may be over.
    pub fn awaited(&self) -> impl Iterator<Item = (u32, Awaited)> + '_ {
        let waiting = self.lanes.waiting();
        waiting.map(|(lane, waiting)| (lane, waiting.to_look_at()))
    }

    /// Bytes of a connection that wait for its turn; 0: none do.
    pub fn unread(&self, id: ConnId) -> usize {
        let conn = self.conns.get(id.index, id.generation);
        conn.map_or(0, |conn| if conn.paused { conn.held.len() } else { 0 })
    }

    /// Whether a connection is to be called before it is read or served again.
    pub fn is_awaited(&self, id: ConnId) -> bool {
        let conn = self.conns.get(id.index, id.generation);
        conn.is_some_and(|conn| conn.awaits_turn)
    }

    /// The QoS 0 messages that wait until a slow reader has taken what is before them, oldest first.
    pub fn late(&self, id: ConnId) -> impl Iterator<Item = Queued> + '_ {
        let conn = self.conns.get(id.index, id.generation);
        let late = conn.and_then(|conn| conn.late.as_ref());
        late.into_iter().flat_map(|late| late.iter())
    }

    /// A turn begins: goes on with what waited for one, team by team, as far as the turn has room.
    /// The shell calls it once it has written what [`take_touched`](Self::take_touched) named; what
    /// this adds is written when everyone has been read again.
    pub fn go_on(&mut self, now: Time) {
        self.begin_turn();
        while self.serve_one(now).is_some() {}
        self.review_on(now);
    }

    /// [`go_on`](Self::go_on) in steps, for who wants to look in between: this first.
    pub fn begin_turn(&mut self) {
        self.turn += 1;
        self.lanes.begin_turn();
    }

    /// Then this as often as it says what was served, and for whom by lane.
    pub fn serve_one(&mut self, now: Time) -> Option<(u32, Awaited)> {
        let (lane, waiting) = self.lanes.next()?;
        let served = waiting.to_look_at();
        match waiting {
            Waiting::Reader(id) => self.go_on_reading(lane, id, now),
            Waiting::Writer(id) => self.go_on_writing(id, now),
            Waiting::Batch(batch) => self.go_on_delivering(lane, batch, now),
        }
        Some((lane, served))
    }

    /// Whether something waits for [`go_on`](Self::go_on).
    pub fn has_unread(&self) -> bool {
        self.lanes.has_waiting() || !self.hungry.is_empty()
    }

    /// Whom the shell may read again, after [`go_on`](Self::go_on).
    pub fn read_on(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.hungry)
    }

    /// The shell has something to read from a connection that has no [`appetite`](Self::appetite)
    /// now. Where that is because its team has had its share, or because another shard has too much
    /// of its team's waiting, [`read_on`](Self::read_on) names it when it may be read.
    pub fn await_turn(&mut self, id: ConnId) {
        let waits = self
            .conns
            .get(id.index, id.generation)
            .is_some_and(|conn| !conn.awaits_turn && Self::wants(conn) > 0 && !self.has_turn(conn));
        if waits && let Some(conn) = self.conns.get_mut(id.index, id.generation) {
            conn.awaits_turn = true;
            let lane = conn.lane;
            self.lanes.wait(lane, Waiting::Reader(id));
        }
    }

    /// Another shard has caught up: those who were not read because of it wait for a turn again.
    pub fn resume(&mut self) {
        for id in std::mem::take(&mut self.stalled) {
            if let Some(conn) = self.conns.get_mut(id.index, id.generation) {
                let lane = conn.lane;
                self.lanes.wait(lane, Waiting::Reader(id));
            }
        }
    }

    /// The shell did a part of a TLS handshake for this connection, which is dearer than the bytes
    /// look.
    pub fn shook_hands(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(id.index, id.generation) {
            self.lanes.charge(conn.lane, HANDSHAKE_STEPS);
        }
    }

    /// Whether those who are not logged in have had their share, so that no more should be accepted
    /// in this turn.
    pub fn accepts_later(&self) -> bool {
        !self.lanes.is_open(super::lanes::NOBODY)
    }

    /// Begins to serve a connection; the caller ends it with [`end_visit`](Self::end_visit), which
    /// takes what this returns.
    pub(super) fn begin_visit(&mut self, id: ConnId) -> Visit {
        let turn = self.turn;
        let (lane, done) = match self.conns.get_mut(id.index, id.generation) {
            Some(conn) => (conn.lane, conn.spent.within(turn).steps),
            None => (super::lanes::NOBODY, 0),
        };
        self.lanes.enter(lane);
        let most = self.lanes.pace().visit.saturating_sub(done);
        let visit = Visit { steps: 0, most };
        std::mem::replace(&mut self.visit, visit)
    }

    /// Counts what was done since [`begin_visit`](Self::begin_visit).
    pub(super) fn end_visit(&mut self, id: ConnId, outer: Visit) {
        let steps = std::mem::replace(&mut self.visit, outer).steps;
        let turn = self.turn;
        let fed = std::mem::take(&mut self.fed_now);
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        let spent = conn.spent.within(turn);
        spent.steps = spent.steps.saturating_add(steps);
        if fed && conn.fed.is_none() {
            conn.fed.clone_from(&self.fed);
        }
        self.lanes.charge(conn.lane, steps);
    }

    /// Counts work for the connection that is being served.
    pub(super) fn charge(&mut self, steps: usize) {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.visit.steps = self.visit.steps.saturating_add(steps);
    }

    /// Whether this connection's next packet must wait for another turn; then it does.
    pub(super) fn pauses(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return false;
        };
        if conn.session().is_none() {
            return false; // what it may have sent is bounded
        }
        conn.paused = true;
        if !std::mem::replace(&mut conn.awaits_turn, true) {
            let lane = conn.lane;
            self.lanes.wait(lane, Waiting::Reader(id));
        }
        true
    }

    fn go_on_reading(&mut self, lane: u32, id: ConnId, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        if let Some(fed) = &conn.fed
            && fed.transit.is_behind()
            && fed.transit.await_arrival()
        {
            return self.stalled.push(id);
        }
        conn.fed = None;
        conn.awaits_turn = false;
        conn.heard = now; // it was not read before
        if !std::mem::take(&mut conn.paused) {
            conn.called = true;
            self.lanes.set_aside(lane);
            self.hungry.push(id);
            return;
        }
        if conn.is_asking() {
            return; // the answer brings it back
        }
        conn.spent = Spent::default(); // a visit of its own
        let held = std::mem::take(&mut conn.held);
        self.consume_held(id, held, now);
        self.settle_reading(id, now);
    }

    /// All that a connection's packet waited to know is known: it is served now or when it is its
    /// team's turn; or, where it waits for something else besides, after that.
    pub(super) fn go_on_after_answers(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        conn.heard = now;
        if conn.paused {
            return;
        }
        let has_turn = self
            .conns
            .get(id.index, id.generation)
            .is_some_and(|conn| self.has_turn(conn));
        if !has_turn && self.pauses(id) {
            return;
        }
        let held = match self.conns.get_mut(id.index, id.generation) {
            Some(conn) => std::mem::take(&mut conn.held),
            None => return,
        };
        self.consume_held(id, held, now);
        self.settle_reading(id, now);
    }

    /// Ends a connection that has ended meanwhile, once everything that came before was served.
    fn settle_reading(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        if conn.is_paused() {
            return;
        }
        let (ended, gone) = (conn.ended.take(), conn.gone);
        match ended {
            Some(cause) => self.end(id.index, cause, now),
            None => self.hungry.push(id),
        }
        if gone && self.conns.get(id.index, id.generation).is_some() {
            self.conns.remove(id.index);
        }
    }

    fn go_on_writing(&mut self, id: ConnId, now: Time) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        conn.waiting = false;
        conn.spent = Spent::default(); // a visit of its own
        if let Some(session) = conn.session() {
            let outer = self.begin_visit(id);
            self.attend(session);
            self.pump(session, now);
            self.rest();
            self.end_visit(id, outer);
        }
    }

    /// What another shard has for sessions here: delivered as far as the team's share goes, the rest
    /// in later turns.
    pub fn deliver_batch(&mut self, batch: Batch, now: Time) {
        let lane = batch.team().number();
        self.lanes.enter(lane);
        match self.lanes.is_open(lane) {
            true => self.go_on_delivering(lane, batch, now),
            false => self.lanes.wait(lane, Waiting::Batch(batch)),
        }
    }

    fn go_on_delivering(&mut self, lane: u32, mut batch: Batch, now: Time) {
        let steps = self.deliver_some(&mut batch, self.lanes.pace().visit, now);
        self.lanes.charge(lane, steps);
        if !batch.is_empty() {
            self.lanes.put_back(lane, Waiting::Batch(batch));
        }
    }

    /// A connection that is logged in has ended. What came before that is served first.
    pub(super) fn end(&mut self, index: u32, cause: DisconnectCause, now: Time) {
        let Some(conn) = self.conns.at_mut(index) else {
            return;
        };
        if conn.is_paused() {
            conn.ended.get_or_insert(cause);
        } else if let Phase::Active(session) = conn.phase {
            self.detach(session, cause, now);
            self.close(index);
        }
    }

    /// Has [`pump`](Self::pump) called in the next turn.
    pub(super) fn pump_later(&mut self, index: u32) {
        if let Some((generation, conn)) = self.conns.entry_mut(index)
            && !std::mem::replace(&mut conn.waiting, true)
        {
            let lane = conn.lane;
            let id = ConnId { index, generation };
            self.lanes.wait(lane, Waiting::Writer(id));
        }
    }
}
