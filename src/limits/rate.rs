//! Token buckets: so many a second, and so many at once.
//!
//! A bucket is one number: the time at which everything that was taken is paid for, at the rate. It
//! may lie ahead of now by as much as the burst is worth; what lies beyond is for the taker to wait
//! for. So nothing is lost between two looks at the clock, and who takes a thousand at once waits a
//! thousand times as long as who takes one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Span, Time};

/// So many a second, and so many at once after a while of silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// A second; at least 1.
    pub per_second: u64,
    /// At once; at least 1.
    pub burst: u64,
}

/// The bucket of one taker. Full as it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When all that was taken is paid for, in nanoseconds since the Unix epoch.
    paid_ns: u64,
}

/// What a client has taken out of the buckets of its publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// PUBLISH packets.
    pub messages: Bucket,
    /// Bytes of them.
    pub bytes: Bucket,
}

/// A bucket that takers of all shards share.
#[derive(Debug, Default)]
pub struct SharedBucket {
    paid_ns: AtomicU64,
}

impl Rate {
    /// A rate whose burst is what a second brings.
    pub const fn per_second(per_second: u64) -> Self {
        Self {
            per_second,
            burst: per_second,
        }
    }

    /// How long `count` take, in nanoseconds.
    fn cost_ns(self, count: u64) -> u64 {
        let cost = u128::from(count) * 1_000_000_000 / u128::from(self.per_second.max(1));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// What is paid for, and when the taker may go on, after `count` were taken.
    fn take(self, paid_ns: u64, count: u64, now: Time) -> (u64, Time) {
        let now_ns = now.as_micros().saturating_mul(1000);
        let paid_ns = paid_ns.max(now_ns).saturating_add(self.cost_ns(count));
        let burst_ns = self.cost_ns(self.burst);
        let ready = Time::from_micros(paid_ns.saturating_sub(burst_ns).div_ceil(1000));
        (paid_ns, ready)
    }
}

impl Bucket {
    /// Takes `count`, whether they are there or not. Returns when the taker may go on: now or earlier
    /// where they were there.
    pub fn take(&mut self, rate: Rate, count: u64, now: Time) -> Time {
        let (paid_ns, ready) = rate.take(self.paid_ns, count, now);
        self.paid_ns = paid_ns;
        ready
    }

    /// Takes one, unless it is not there.
    pub fn try_take(&mut self, rate: Rate, now: Time) -> bool {
        let (paid_ns, ready) = rate.take(self.paid_ns, 1, now);
        let there = ready <= now;
        if there {
            self.paid_ns = paid_ns;
        }
        there
    }

    /// Of two takers that are one, the state of the one that has more to pay.
    #[must_use]
    pub const fn or_poorer(self, other: Self) -> Self {
        if self.paid_ns < other.paid_ns {
            other
        } else {
            self
        }
    }

    /// Whether it is as full as a new one.
    pub const fn is_full(&self, now: Time) -> bool {
        self.paid_ns / 1000 <= now.as_micros()
    }
}

impl Spent {
    /// Whether there is nothing left to pay.
    pub const fn is_paid(&self, now: Time) -> bool {
        self.messages.is_full(now) && self.bytes.is_full(now)
    }

    /// What a client has to pay that has spent the one here and the other there.
    #[must_use]
    pub const fn or_more(self, other: Self) -> Self {
        Self {
            messages: self.messages.or_poorer(other.messages),
            bytes: self.bytes.or_poorer(other.bytes),
        }
    }
}

impl SharedBucket {
    /// As [`Bucket::take`].
    pub fn take(&self, rate: Rate, count: u64, now: Time) -> Time {
        let (mut ready, order) = (now, Ordering::Relaxed);
        let taken = self.paid_ns.fetch_update(order, order, |paid_ns| {
            let (paid_ns, at) = rate.take(paid_ns, count, now);
            ready = at;
            Some(paid_ns)
        });
        debug_assert!(taken.is_ok(), "every state has a next");
        ready
    }

    /// As [`Bucket::try_take`].
    pub fn try_take(&self, rate: Rate, now: Time) -> bool {
        let order = Ordering::Relaxed;
        let taken = self.paid_ns.fetch_update(order, order, |paid_ns| {
            let (paid_ns, ready) = rate.take(paid_ns, 1, now);
            (ready <= now).then_some(paid_ns)
        });
        taken.is_ok()
    }

    /// Full again: the rate is another now.
    pub fn refill(&self) {
        self.paid_ns.store(0, Ordering::Relaxed);
    }
}

/// The longest that somebody is made to wait before the rate is looked at again: it may have changed.
pub const LOOK_AGAIN: Span = Span::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_micros(1_700_000_000_000_000);

    #[test]
    fn the_burst_is_there_at_once_and_then_so_many_a_second() {
        let rate = Rate {
            per_second: 10,
            burst: 3,
        };
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(bucket.take(rate, 1, NOW) <= NOW);
        }
        assert_eq!(bucket.take(rate, 1, NOW), NOW + Span::from_millis(100));
        assert_eq!(bucket.take(rate, 5, NOW), NOW + Span::from_millis(600));
        let later = NOW + Span::from_secs(60);
        assert!(bucket.is_full(later) && !bucket.is_full(NOW));
        assert!(
            bucket.take(rate, 3, later) <= later,
            "no more than a burst is saved up"
        );
        assert_eq!(bucket.take(rate, 1, later), later + Span::from_millis(100));
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let rate = Rate::per_second(2);
        let (mut own, shared) = (Bucket::default(), SharedBucket::default());
        for there in [true, true, false, false] {
            assert_eq!(
                (own.try_take(rate, NOW), shared.try_take(rate, NOW)),
                (there, there)
            );
        }
        let later = NOW + Span::from_millis(500);
        assert!(own.try_take(rate, later) && shared.try_take(rate, later));
        assert!(!own.try_take(rate, later) && !shared.try_take(rate, later));
        shared.refill();
        assert!(shared.try_take(rate, later));
    }

    #[test]
    fn takers_at_once_wait_one_behind_the_other() {
        let rate = Rate {
            per_second: 1000,
            burst: 1,
        };
        let bucket = SharedBucket::default();
        let ready: Vec<Span> = (0..4).map(|_| bucket.take(rate, 1, NOW) - NOW).collect();
        assert_eq!(ready, [0, 1, 2, 3].map(Span::from_millis));
    }
}
