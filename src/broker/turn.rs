//! What one connection may make its shard do before the others have their turn.
//!
//! Packets are cheap to send and can be dear to serve: one topic can match thousands of filters, one
//! filter can walk a million retained messages. So work is counted, and a connection that has spent
//! its share of a turn goes on in the next: with the bytes that it has sent, with what its session
//! waits to send. A turn is what lies between two calls of [`Shard::go_on`].

use super::connection::Phase;
use super::effect::ConnId;
use super::event::DisconnectCause;
use super::shard::Shard;
use crate::time::Time;

/// What one connection may spend in one turn.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// What its packets may cost: packets, filters subscribed to or ended, places of the subscription
    /// trie visited, and deliveries; each counts one. The packet that passes it is still served whole.
    pub packets: u32,
    /// Retained messages that it may have looked at; at least one.
    pub retained: u32,
}

/// What a connection has spent of its share of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    turn: u64,
    packets: u32,
    retained: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            packets: 16_384,
            retained: 1024,
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

    /// Counts what a packet cost.
    fn charge(&mut self, turn: u64, steps: usize) {
        let spent = self.within(turn);
        spent.packets = (spent.packets).saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    /// Whether packets must wait for the next turn.
    fn is_spent(&mut self, turn: u64, allowance: Allowance) -> bool {
        self.within(turn).packets >= allowance.packets
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
    /// The same shard, where a connection may spend so much in one turn.
    pub fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = allowance;
        self
    }

    /// A turn begins: encodes what waited for a socket to take what was before it, or for a new turn.
    /// The shell calls it once it has written what [`take_touched`](Self::take_touched) named; what
    /// this adds is written when everyone has been read again.
    pub fn go_on(&mut self, now: Time) {
        self.turn += 1;
        for id in std::mem::take(&mut self.waiting) {
            let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
                continue;
            };
            conn.waiting = false;
            if let Some(session) = conn.session() {
                self.pump(session, now);
            }
        }
        self.review_on(now);
    }

    /// Whether bytes wait for [`read_on`](Self::read_on).
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whose bytes wait for [`read_on`](Self::read_on), in the order in which they are served, and
    /// how many those are. Some of these connections may be over.
    pub fn unread(&self) -> impl Iterator<Item = (ConnId, usize)> + '_ {
        self.unread.iter().map(|id| {
            let conn = self.conns.get(id.index, id.generation);
            (*id, conn.map_or(0, |conn| conn.held.len()))
        })
    }

    /// Goes on with the bytes of connections that had spent their share of the last turn. The shell
    /// calls it once a turn, after [`go_on`](Self::go_on), while it reads at all. Returns whom it may
    /// read again.
    pub fn read_on(&mut self, now: Time) -> Vec<ConnId> {
        let mut hungry = Vec::new();
        for id in std::mem::take(&mut self.unread) {
            let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
                continue;
            };
            if std::mem::take(&mut conn.paused) {
                conn.heard = now;
                let held = std::mem::take(&mut conn.held);
                self.consume_held(id, held, now);
            }
            self.settle_reading(id, now, &mut hungry);
        }
        hungry
    }

    /// Ends a connection that has ended meanwhile, once everything that came before was served.
    pub(super) fn settle_reading(&mut self, id: ConnId, now: Time, hungry: &mut Vec<ConnId>) {
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return;
        };
        if conn.is_paused() {
            return;
        }
        let (ended, gone) = (conn.ended.take(), conn.gone);
        match ended {
            Some(cause) => self.end(id.index, cause, now),
            None => hungry.push(id),
        }
        if gone {
            self.conns.remove(id.index);
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

    /// Counts what a packet of this connection cost.
    pub(super) fn charge(&mut self, index: u32, steps: usize) {
        let turn = self.turn;
        if let Some(conn) = self.conns.at_mut(index) {
            conn.spent.charge(turn, steps);
        }
    }

    /// Whether this connection's next packet must wait for the next turn; then it does.
    pub(super) fn pauses(&mut self, id: ConnId) -> bool {
        let (turn, allowance) = (self.turn, self.allowance);
        let Some(conn) = self.conns.get_mut(id.index, id.generation) else {
            return false;
        };
        if conn.session().is_none() || !conn.spent.is_spent(turn, allowance) {
            return false;
        }
        if !std::mem::replace(&mut conn.paused, true) {
            self.unread.push(id);
        }
        true
    }

    /// Has [`pump`](Self::pump) called in the next turn.
    pub(super) fn pump_later(&mut self, index: u32) {
        if let Some((generation, conn)) = self.conns.entry_mut(index)
            && !std::mem::replace(&mut conn.waiting, true)
        {
            self.waiting.push(ConnId { index, generation });
        }
    }
}
