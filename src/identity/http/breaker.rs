//! Keeps from asking a hook that is away: after some failures in a row, one question at a time is
//! let through, each a while after the last, until one is answered.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Failures in a row after which the hook is away.
const FAILURES: u32 = 5;

/// Between two tries of a hook that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether questions go out.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// The hook is back, or may be tried again.
    changed: Notify,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { next_try: Instant, is_trying: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

/// A question that may go out. Dropped without a word on how it went, it says nothing about the
/// hook.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_try: bool,
}

impl Breaker {
    /// Leave to ask, or when to come back for it.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass<'_>, Instant> {
        let mut state = self.state.lock();
        let is_try = match &mut *state {
            State::Closed { .. } => false,
            State::Open {
                is_trying: true, ..
            } => return Err(now + PAUSE),
            State::Open { next_try, .. } if now < *next_try => return Err(*next_try),
            State::Open { is_trying, .. } => {
                *is_trying = true;
                true
            }
        };
        Ok(Pass {
            breaker: self,
            is_try,
        })
    }

    /// Waits for leave to ask; `None`: there was none by `until`.
    pub(super) async fn admit_by(&self, until: Instant) -> Option<Pass<'_>> {
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let again = match self.admit(now) {
                Ok(pass) => return Some(pass),
                Err(again) => again,
            };
            if now >= until {
                return None;
            }
            // Whichever comes first; then it is asked again.
            let _ = tokio::time::timeout_at(again.min(until), changed).await;
        }
    }

    /// Waits until there may be leave to ask.
    pub(super) async fn wait(&self) {
        let _ = tokio::time::timeout(PAUSE, self.changed.notified()).await;
    }

    /// Whether the hook is away.
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.state.lock(), State::Open { .. })
    }
}

impl Pass<'_> {
    /// The hook answered. Says whether it was away before.
    pub(super) fn succeeded(mut self) -> bool {
        self.is_try = false;
        let mut state = self.breaker.state.lock();
        let before = std::mem::take(&mut *state);
        drop(state);
        self.breaker.changed.notify_waiters();
        matches!(before, State::Open { .. })
    }

    /// The hook could not be had. Says whether it is away from now on and was not before.
    pub(super) fn failed(mut self, now: Instant) -> bool {
        self.is_try = false;
        let mut state = self.breaker.state.lock();
        let (failures, was_open) = match *state {
            State::Closed { failures } => (failures + 1, false),
            State::Open { .. } => (FAILURES, true),
        };
        *state = if failures >= FAILURES {
            State::Open {
                next_try: now + PAUSE,
                is_trying: false,
            }
        } else {
            State::Closed { failures }
        };
        failures >= FAILURES && !was_open
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_try {
            return;
        }
        if let State::Open { is_trying, .. } = &mut *self.breaker.state.lock() {
            *is_trying = false;
        }
        self.breaker.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn open(breaker: &Breaker, now: Instant) {
        for failure in 1..=FAILURES {
            let pass = breaker.admit(now).expect("still closed");
            assert_eq!(pass.failed(now), failure == FAILURES);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn after_failures_in_a_row_one_question_a_pause_is_tried_until_one_is_answered() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        assert!(breaker.admit(now).is_err(), "away");
        let now = now + PAUSE;
        let first = breaker.admit(now).expect("one is tried");
        assert!(breaker.admit(now).is_err(), "and no other meanwhile");
        assert!(!first.failed(now), "it was away before");
        assert!(breaker.admit(now).is_err());
        let now = now + PAUSE;
        let second = breaker.admit(now).expect("tried again");
        assert!(second.succeeded(), "it is back");
        assert!(!breaker.is_open());
        assert!(breaker.admit(now).is_ok() && breaker.admit(now).is_ok());
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 * FAILURES {
            for _ in 1..FAILURES {
                assert!(!breaker.admit(now).expect("closed").failed(now));
            }
            assert!(!breaker.admit(now).expect("closed").succeeded());
        }
    }

    #[test]
    fn a_try_that_is_given_up_leaves_its_place_to_another() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        open(&breaker, now);
        drop(breaker.admit(now + PAUSE).expect("a try"));
        assert!(breaker.admit(now + PAUSE).is_ok());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_the_hook_is_back_or_gives_up_at_its_deadline() {
        let breaker = Arc::new(Breaker::default());
        // It failed in a time to come, so that nothing here waits for the clock.
        let far = Instant::now() + Duration::from_secs(3600);
        open(&breaker, far);
        assert!(breaker.admit_by(Instant::now()).await.is_none());
        let waiting = Arc::clone(&breaker);
        let waiting = tokio::spawn(async move { waiting.admit_by(far).await.is_some() });
        tokio::task::yield_now().await;
        let probe = breaker.admit(far + PAUSE).expect("a try");
        assert!(probe.succeeded());
        assert!(waiting.await.expect("no panic"));
    }
}
