//! Subscriptions that a session brought along and about which nobody had an answer: they stay, and are
//! asked about again, each time after a longer while, until somebody says yes or no. Called by
//! `entitlement` with what has no answer, and by `shard` when the time has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;

use super::ask::Heard;
use super::entitlement::{Judged, judge};
use super::shard::Shard;
use super::timers::Timer;
use crate::team::SessionAddress;
use crate::time::{Span, Time};
use crate::topic::TopicFilter;

/// Before it is asked again for the first time; each time after it is twice as long.
const FIRST: Span = Span::from_secs(2);

/// The longest while: a hook that is back is asked by then.
const LONGEST: Span = Span::from_secs(60);

/// A subscription: its session, and its key there.
type Which = (SessionAddress, Arc<str>);

/// What is to be asked about again. No more than there are subscriptions.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// By when it is due, then in the order in which it came.
    due: BTreeMap<(Time, u64), (Which, u32)>,
    /// The same, so that a subscription has one place however often it is asked about.
    waiting: HashSet<Which, foldhash::fast::RandomState>,
    /// Counts what came.
    count: u64,
    /// The earliest timer set.
    pub(super) timer: Time,
}

impl Default for Unanswered {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            waiting: HashSet::default(),
            count: 0,
            timer: Time::NEVER,
        }
    }
}

/// How long to wait after so many questions without an answer.
fn pause(tries: u32) -> Span {
    let factor = 1_u64 << tries.min(16);
    Span::from_micros(FIRST.as_micros().saturating_mul(factor)).min(LONGEST)
}

impl Shard {
    /// There was no answer about a subscription for the `tries`th time, counted from 0.
    pub(super) fn ask_again_later(&mut self, which: Which, tries: u32, heard: Heard, now: Time) {
        if !self.unanswered.waiting.insert(which.clone()) {
            return;
        }
        let at = heard.until.max(now + pause(tries));
        self.unanswered.count += 1;
        let place = (at, self.unanswered.count);
        self.unanswered.due.insert(place, (which, tries + 1));
        self.timers
            .set(Timer::Unanswered, at, &mut self.unanswered.timer);
    }

    /// Asks again about what is due and still there.
    pub(super) fn unanswered_timer(&mut self, now: Time) {
        self.unanswered.timer = Time::NEVER;
        while let Some(next) = self.unanswered.due.first_entry()
            && next.key().0 <= now
        {
            let (which, tries) = next.remove();
            self.unanswered.waiting.remove(&which);
            let (address, key) = which;
            if self.is_still_to_be_asked(address, &key) {
                self.ask_about_subscription(address.index, &key, tries);
            }
        }
        if let Some(((at, _), _)) = self.unanswered.due.first_key_value() {
            self.timers
                .set(Timer::Unanswered, *at, &mut self.unanswered.timer);
        }
    }

    fn is_still_to_be_asked(&self, address: SessionAddress, key: &str) -> bool {
        let Some(session) = self.sessions.get(address.index, address.generation) else {
            return false;
        };
        let Some(subscription) = session.subscriptions.get(key) else {
            return false;
        };
        let filter = TopicFilter::parse(subscription.filter(key), u16::MAX, u16::MAX);
        filter.is_ok_and(|filter| {
            let standing = judge(&session.grant, filter, subscription.group.as_deref());
            matches!(standing, Ok(Judged::Asks { .. }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_while_grows_up_to_a_bound() {
        let secs = |tries| pause(tries).as_micros() / 1_000_000;
        let found: Vec<u64> = (0..8).map(secs).collect();
        assert_eq!(found, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
