//! Connections whose next words wait until an event of theirs is on record: CONNACK for the connect, and
//! the end that the broker makes of a connection for its end. So what a client has seen of it is on
//! record, also when the broker is killed at that moment. Called by the reactor.

use std::collections::VecDeque;

use crate::audit::Spooled;
use crate::broker::ConnId;

/// Those who wait, in the order of their tickets.
#[derive(Debug)]
pub(super) struct Held {
    waiting: VecDeque<(u64, ConnId, bool)>,
    strict: bool,
}

/// What becomes of one who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// What it has to say is written.
    GoOn,
    /// It is closed without a word.
    TurnAway,
}

impl Held {
    /// `strict`: nobody is admitted whose connect is not on record.
    pub(super) fn new(strict: bool) -> Self {
        let waiting = VecDeque::new();
        Self { waiting, strict }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Tickets come in their order.
    pub(super) fn put(&mut self, ticket: u64, conn: ConnId, is_admission: bool) {
        self.waiting.push_back((ticket, conn, is_admission));
    }

    /// The next one that need not wait any longer.
    pub(super) fn next(&mut self, spooled: Spooled) -> Option<(ConnId, Release)> {
        let &(ticket, conn, is_admission) = self.waiting.front()?;
        // Where nothing can be put on record, those behind wait for the same.
        if spooled.is_kept && ticket > spooled.upto {
            return None;
        }
        self.waiting.pop_front();
        let goes = !spooled.is_kept && self.strict && is_admission;
        let release = if goes {
            Release::TurnAway
        } else {
            Release::GoOn
        };
        Some((conn, release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32) -> ConnId {
        ConnId {
            index,
            generation: 1,
        }
    }

    fn released(held: &mut Held, upto: u64, is_kept: bool) -> Vec<(u32, Release)> {
        let spooled = Spooled { upto, is_kept };
        std::iter::from_fn(|| held.next(spooled))
            .map(|(conn, release)| (conn.index, release))
            .collect()
    }

    #[test]
    fn those_go_on_whose_events_are_on_record_and_no_others() {
        let mut held = Held::new(true);
        held.put(3, conn(1), true);
        held.put(5, conn(2), false);
        held.put(6, conn(3), true);
        assert_eq!(released(&mut held, 2, true), []);
        let both = [(1, Release::GoOn), (2, Release::GoOn)];
        assert_eq!(released(&mut held, 5, true), both);
        assert_eq!(released(&mut held, 9, true), [(3, Release::GoOn)]);
    }

    #[test]
    fn where_nothing_can_be_kept_nobody_waits_and_strict_admits_nobody() {
        for (strict, admission) in [(true, Release::TurnAway), (false, Release::GoOn)] {
            let mut held = Held::new(strict);
            held.put(3, conn(1), true);
            held.put(9, conn(2), false);
            let expected = [(1, admission), (2, Release::GoOn)];
            assert_eq!(released(&mut held, 3, false), expected);
        }
    }
}
