//! What is due when. One heap a shard; entries are hints, and whoever is due says so itself.
//!
//! A connection or session has at most a few entries: it sets one only for a time earlier than the
//! earliest it has set, and when that fires it looks at its own state and sets the next. What an
//! owner leaves behind when it goes is swept out before it is more than the owners have.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Whose timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// CONNECT, login or keep alive.
    Conn { index: u32, generation: u32 },
    /// Delayed will or expiry.
    Session { index: u32, generation: u32 },
}

/// The timers of one shard.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Timer)>>,
}

/// Timers that may be set for each owner, and for nobody, before they are swept.
const PER_OWNER: usize = 4;
const SPARE: usize = 256;

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

    /// Whether so many are set that most must be of owners that have gone: of `owners` each has only
    /// a few. Sweeping then costs each timer set a small constant.
    pub(super) fn are_stale(&self, owners: usize) -> bool {
        self.heap.len() > SPARE + PER_OWNER * owners
    }

    /// Takes out those that are of no use.
    pub(super) fn sweep(&mut self, is_of_use: impl Fn(Timer, Time) -> bool) {
        self.heap
            .retain(|Reverse((at, timer))| is_of_use(*timer, *at));
    }

    /// How many are set.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the next one fires.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
