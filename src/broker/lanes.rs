//! Fair share: whose turn it is when a shard has more to do than one turn holds.
//!
//! Each team has a lane, and so have those who are not logged in, together. Work is counted in steps
//! (see [`turn`](super::turn)); in an *epoch* each lane may take [`Pace::quantum`] of them. Who comes
//! while its lane has steps left is served at once; else it waits in its lane, and the lanes take
//! turns: as many steps a turn as [`Pace::round`], and a new epoch when every waiting lane has had its
//! share. So a team's part of the shard does not grow with its connections, one packet that costs a
//! hundred quanta is paid for in a hundred epochs, and a lane that asks for little waits for one
//! turn's work of others at most.
//!
//! While one lane alone has anything to do there is nobody to be fair to, and turns are long. Pure
//! bookkeeping: what waits is the caller's own.

use std::collections::VecDeque;

use super::turn::Allowance;

/// The lane of connections that are not logged in.
pub(super) const NOBODY: u32 = 0;

/// How much is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Steps of one connection before the next of its lane is served.
    pub(super) visit: u32,
    /// Steps of one lane in an epoch.
    pub(super) quantum: u32,
    /// Steps of those who had to wait, in one turn.
    pub(super) round: u32,
    /// Bytes to read from a connection at a time.
    pub(super) read: usize,
}

/// One lane has the shard to itself. A turn takes a few milliseconds at most: nobody knows when the
/// next team comes.
const ALONE: Pace = Pace {
    visit: 4096,
    quantum: 4096,
    round: 4096,
    read: 64 << 10,
};

/// Lanes share the shard. A turn takes some tenths of a millisecond.
const SHARED: Pace = Pace {
    visit: 256,
    quantum: 512,
    round: 512,
    read: 16 << 10,
};

/// For so many turns after another lane was served, the shard counts as shared.
const REMEMBERED: u64 = 1024;

/// The lanes of one shard; `T` is what waits in them.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// By team number.
    lanes: Vec<Lane<T>>,
    /// Lanes in which something waits, the one that is next at the front.
    ring: VecDeque<u32>,
    epoch: u64,
    turn: u64,
    /// What is left of this turn for those who wait.
    room: i64,
    /// The lane last served, and until which turn there are others.
    last: u32,
    shared_until: u64,
    /// What had to wait, ever.
    waited: u64,
    allowance: Allowance,
}

#[derive(Debug)]
struct Lane<T> {
    epoch: u64,
    /// Steps left in this epoch; below 0: taken ahead.
    left: i64,
    /// Steps set aside in this turn for connections that were told to read.
    turn: u64,
    set_aside: i64,
    waiting: VecDeque<T>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            ring: VecDeque::new(),
            epoch: 1,
            turn: 0,
            room: 0,
            last: NOBODY,
            shared_until: 0,
            waited: 0,
            allowance: Allowance::default(),
        }
    }
}

impl<T> Lane<T> {
    const fn new() -> Self {
        Self {
            epoch: 0,
            left: 0,
            turn: 0,
            set_aside: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl<T> Lanes<T> {
    /// How much is done at a time now.
    pub(super) fn pace(&self) -> Pace {
        let pace = match self.turn < self.shared_until {
            true => SHARED,
            false => ALONE,
        };
        let Allowance { packets, share, .. } = self.allowance;
        Pace {
            visit: pace.visit.min(packets),
            quantum: pace.quantum.min(share),
            round: pace.round.min(share),
            read: pace.read,
        }
    }

    /// What waits, lane by lane.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u32, &T)> {
        self.ring.iter().flat_map(|lane| {
            let waiting = self.lanes[*lane as usize].waiting.iter();
            waiting.map(|what| (*lane, what))
        })
    }

    /// From now on no more than this is done at a time.
    pub(super) const fn allow(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// Whether something waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.ring.is_empty()
    }

    /// What had to wait, ever.
    pub(super) const fn waited(&self) -> u64 {
        self.waited
    }

    /// Whether someone of this lane may be served at once.
    pub(super) fn is_open(&self, lane: u32) -> bool {
        match self.lanes.get(lane as usize) {
            None => true,
            Some(lane) => {
                lane.waiting.is_empty()
                    && (lane.epoch < self.epoch && lane.left >= 0 || lane.left > 0)
            }
        }
    }

    /// Someone of this lane is served: notes whether there are others.
    pub(super) fn enter(&mut self, lane: u32) {
        if lane != self.last {
            self.last = lane;
            self.shared_until = self.turn + REMEMBERED;
        }
    }

    /// Counts steps that were taken for this lane.
    pub(super) fn charge(&mut self, lane: u32, steps: u32) {
        self.room -= i64::from(steps);
        self.refreshed(lane).left -= i64::from(steps);
    }

    /// Puts something at the end of its lane.
    pub(super) fn wait(&mut self, lane: u32, what: T) {
        self.waited += 1;
        self.put(lane, |waiting| waiting.push_back(what));
    }

    /// Puts what is not done yet back at the front of its lane.
    pub(super) fn put_back(&mut self, lane: u32, what: T) {
        self.put(lane, |waiting| waiting.push_front(what));
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
        self.room = i64::from(self.pace().round);
        if self.ring.is_empty() {
            self.epoch += 1; // everyone who came was served
        }
    }

    /// Whose turn it is, and for what; `None`: nothing waits, or this turn is over.
    pub(super) fn next(&mut self) -> Option<(u32, T)> {
        let mut passed = 0;
        while self.room > 0 {
            let lane = *self.ring.front()?;
            let turn = self.turn;
            let state = self.refreshed(lane);
            let set_aside = if state.turn == turn {
                state.set_aside
            } else {
                0
            };
            if state.left <= set_aside {
                self.ring.rotate_left(1);
                passed += 1;
                if passed >= self.ring.len() {
                    self.epoch += 1;
                    passed = 0;
                }
                continue;
            }
            let what = state.waiting.pop_front();
            if state.waiting.is_empty() {
                self.ring.pop_front();
            }
            self.room -= 1; // a turn ends, whatever is charged
            if let Some(what) = what {
                return Some((lane, what));
            }
        }
        None
    }

    /// A connection of this lane is told to read: its visit is charged when it does, and counts in
    /// this turn already.
    pub(super) fn set_aside(&mut self, lane: u32) {
        let (turn, visit) = (self.turn, i64::from(self.pace().visit));
        self.room -= visit;
        let lane = self.refreshed(lane);
        if lane.turn != turn {
            (lane.turn, lane.set_aside) = (turn, 0);
        }
        lane.set_aside += visit;
    }

    fn put(&mut self, lane: u32, put: impl FnOnce(&mut VecDeque<T>)) {
        let state = self.refreshed(lane);
        if state.waiting.is_empty() {
            put(&mut state.waiting);
            self.ring.push_back(lane);
        } else {
            put(&mut state.waiting);
        }
    }

    /// The lane, with its share of this epoch. What it has taken ahead is taken off; what it did not
    /// take before is not added.
    fn refreshed(&mut self, lane: u32) -> &mut Lane<T> {
        let (epoch, quantum) = (self.epoch, i64::from(self.pace().quantum));
        let index = lane as usize;
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, Lane::new);
        }
        let lane = &mut self.lanes[index];
        if lane.epoch != epoch {
            let passed = i64::try_from(epoch - lane.epoch).unwrap_or(i64::MAX);
            lane.left = quantum.min(lane.left.saturating_add(quantum.saturating_mul(passed)));
            lane.epoch = epoch;
        }
        lane
    }
}
