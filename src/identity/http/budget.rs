//! How often a question may be repeated: a share of the questions, so that repeating never makes
//! most of what a hook that is in trouble has to serve.

use parking_lot::Mutex;
use tokio::time::Instant;

/// Repeats that each question pays for.
const SHARE: f64 = 0.2;
/// Repeats a second that are free, for a hook that is asked little.
const FREE: f64 = 10.0;
/// Repeats that can be saved up.
const SAVED_MAX: f64 = 100.0;

/// The budget of one endpoint.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Saved>);

#[derive(Debug)]
struct Saved {
    repeats: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Saved {
            repeats: SAVED_MAX / 2.0,
            at: now,
        }))
    }

    /// A question was asked for the first time.
    pub(super) fn earn(&self) {
        let mut saved = self.0.lock();
        saved.repeats = (saved.repeats + SHARE).min(SAVED_MAX);
    }

    /// Whether there is a repeat left; then it is spent.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let mut saved = self.0.lock();
        let free = now.duration_since(saved.at).as_secs_f64() * FREE;
        saved.repeats = (saved.repeats + free).min(SAVED_MAX);
        saved.at = now;
        if saved.repeats < 1.0 {
            return false;
        }
        saved.repeats -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spend_all(budget: &Budget, now: Instant) -> u32 {
        let spent = std::iter::from_fn(|| budget.spend(now).then_some(1));
        spent.sum()
    }

    #[test]
    fn repeats_are_a_share_of_the_questions_and_some_a_second() {
        let now = Instant::now();
        let budget = Budget::new(now);
        spend_all(&budget, now);
        for _ in 0..50 {
            budget.earn();
        }
        let paid = spend_all(&budget, now);
        assert!((9..=10).contains(&paid), "{paid}");
        let free = spend_all(&budget, now + Duration::from_secs(1));
        assert!((9..=11).contains(&free), "{free}");
        let saved = spend_all(&budget, now + Duration::from_secs(3600));
        assert_eq!(saved, SAVED_MAX as u32);
    }
}
