//! What is due when. One heap a shard; entries are hints, and whoever is due says so itself.
//!
//! A connection or session has at most a few entries: it sets one only for a time earlier than the
//! earliest it has set, and when that fires it looks at its own state and sets the next. Owners
//! that go leave theirs behind, for a keep alive or an expiry to come in hours or days; when those
//! have become more than the others they are swept out, so that clients who come and go do not
//! make the heap grow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::shard::Shard;
use crate::time::Time;

/// Entries beside one an owner that are not worth sweeping out.
const SPARE: usize = 1024;

/// Whose timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// CONNECT, login or keep alive.
    Conn { index: u32, generation: u32 },
    /// Delayed will or expiry.
    Session { index: u32, generation: u32 },
    /// Repeated crossings go on record.
    Crossings,
    /// Subscriptions without an answer are asked about again.
    Unanswered,
}

/// The timers of one shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Timer)>>,
}

impl Timers {
    /// Sets a timer, unless `earliest`, the owner's note of its earliest one, comes no later.
    pub(super) fn set(&mut self, timer: Timer, at: Time, earliest: &mut Time) {
        if at < *earliest {
            *earliest = at;
            self.heap.push(Reverse((at, timer)));
        }
    }

    /// The next one that has fired by `now`.
    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.heap.peek()?.0.0 > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that are not `current`.
    fn sweep(&mut self, current: impl Fn(Timer, Time) -> bool) {
        self.heap
            .retain(|Reverse((at, timer))| current(*timer, *at));
    }

    /// When the next one fires.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

impl Shard {
    /// Drops the timers of owners that have gone, once they are more than the others.
    pub(super) fn sweep_timers(&mut self) {
        if self.timers.len() <= 2 * (self.conns.len() + self.sessions.len()) + SPARE {
            return;
        }
        let (conns, sessions) = (&self.conns, &self.sessions);
        let (crossings, unanswered) = (self.crossings.timer, self.unanswered.timer);
        self.timers.sweep(|timer, at| match timer {
            Timer::Conn { index, generation } => conns
                .get(index, generation)
                .is_some_and(|conn| conn.timer == at),
            Timer::Session { index, generation } => sessions
                .get(index, generation)
                .is_some_and(|session| session.timer == at),
            Timer::Crossings => at == crossings,
            Timer::Unanswered => at == unanswered,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::policy::Policy;
    use crate::session::Peer;
    use crate::team::World;
    use crate::time::Span;
    use std::sync::Arc;

    #[test]
    fn connections_that_come_and_go_leave_no_timers_behind_and_those_that_stay_keep_theirs() {
        let policy = Policy::flowfuse().expect("the built-in policy");
        let world = Arc::new(World::new(Limits::default(), &policy));
        let mut shard = Shard::new(0, 1, world, [0; 32]);
        let (peer, now) = (
            Peer {
                address: ([192, 0, 2, 1], 1).into(),
                listener: Arc::from("main"),
            },
            Time::from_micros(1),
        );
        let stays = shard.open(peer.clone(), now).expect("room");
        for _ in 0..10_000 {
            let goes = shard.open(peer.clone(), now).expect("room");
            shard.closed(goes, now);
            assert!(
                shard.timers.len() <= 2 * 2 + SPARE,
                "{}",
                shard.timers.len()
            );
        }
        assert_eq!(shard.next_timer(), Some(now + Span::from_secs(10)));
        shard.tick(now + Span::from_secs(10));
        assert_eq!(shard.appetite(stays), 0, "its time for CONNECT is over");
        assert_eq!(shard.timers.len(), 0);
    }
}
