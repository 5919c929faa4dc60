//! What of one team's is on its way between shards: counted, so that no team fills the queues between
//! them that all teams share. Kept by [`Team`](super::Team); `broker` counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Deliveries of all teams that may be on their way before their publishers are no longer read: each
/// team that has some under way has an equal part of them.
const BOUND: usize = 32_768;

/// A team's part is no smaller, however many there are.
const PART_MIN: usize = 256;

/// Deliveries of one team on their way between shards.
#[derive(Debug, Default)]
pub struct Transit {
    count: AtomicUsize,
    /// Teams that have some under way.
    crowd: Arc<AtomicUsize>,
    /// Someone waits for [`arrived`](Self::arrived) to say that it has caught up.
    awaited: AtomicBool,
}

impl Transit {
    /// One of those that share `crowd`.
    pub(super) fn among(crowd: &Arc<AtomicUsize>) -> Self {
        Self {
            crowd: Arc::clone(crowd),
            ..Self::default()
        }
    }

    /// Deliveries under way.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// So many more are on their way.
    pub fn left(&self, count: usize) {
        if count > 0 && self.count.fetch_add(count, Ordering::SeqCst) == 0 {
            self.crowd.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many have arrived. `true`: those who wait for the others to catch up may go on.
    pub fn arrived(&self, count: usize) -> bool {
        if count == 0 {
            return false;
        }
        let after = self.count.fetch_sub(count, Ordering::SeqCst) - count;
        if after == 0 {
            self.crowd.fetch_sub(1, Ordering::Relaxed);
        }
        after <= self.part() / 4 && self.awaited.swap(false, Ordering::SeqCst)
    }

    /// Whether so much is under way that nothing should be added.
    pub fn is_behind(&self) -> bool {
        self.count() > self.part()
    }

    /// Whether it is behind still; then [`arrived`](Self::arrived) will say when it no longer is.
    pub fn await_arrival(&self) -> bool {
        self.awaited.store(true, Ordering::SeqCst);
        self.is_behind()
    }

    fn part(&self) -> usize {
        (BOUND / self.crowd.load(Ordering::Relaxed).max(1)).max(PART_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_may_have_its_part_under_way_and_is_told_when_a_quarter_is_left() {
        let crowd = Arc::default();
        let [one, other] = [Transit::among(&crowd), Transit::among(&crowd)];
        one.left(BOUND);
        assert!(!one.is_behind());
        other.left(1);
        assert!(
            one.is_behind() && !other.is_behind(),
            "half of it is the other's"
        );
        assert!(one.await_arrival());
        assert!(!one.arrived(BOUND / 2), "not yet few enough");
        assert!(one.arrived(BOUND / 2 - BOUND / 8));
        assert!(!one.arrived(BOUND / 8), "nobody waits any more");
        assert_eq!(crowd.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_waits_under_a_smaller_part_is_told_though_the_part_has_grown() {
        let crowd = Arc::new(AtomicUsize::new(1_000));
        let one = Transit::among(&crowd);
        one.left(PART_MIN + 1);
        assert!(one.await_arrival());
        crowd.store(1, Ordering::Relaxed);
        assert!(one.arrived(1));
    }
}
