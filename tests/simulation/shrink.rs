//! From a long run that breaks a promise to a short one that breaks the same (delta debugging,
//! Zeller and Hildebrandt 2002).

use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam::policy::Policy;

use crate::failure::Failure;
use crate::guarded;
use crate::plan::Plan;

/// The shortest plan found in `patience`, and how it fails.
pub fn shrink(
    plan: &Plan,
    policy: &Arc<Policy>,
    found: (usize, Failure),
    patience: Duration,
) -> (Plan, Failure) {
    let until = Instant::now() + patience;
    let (at, mut failure) = found;
    let mut best = plan.clone();
    best.steps.truncate(at + 1);
    best.thorough = true;
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 && Instant::now() < until {
        let mut start = 0;
        let mut shrunk = false;
        while start < best.steps.len() && Instant::now() < until {
            let mut tried = best.clone();
            let end = (start + size).min(tried.steps.len());
            tried.steps.drain(start..end);
            match guarded(&tried, policy) {
                Err((at, other)) if other.promise == failure.promise => {
                    tried.steps.truncate(at + 1);
                    (best, failure, shrunk) = (tried, other, true);
                }
                _ => start = end,
            }
        }
        if !shrunk || size > 1 {
            size = if size == 1 {
                0
            } else {
                size.div_ceil(2).min(size - 1)
            };
        }
    }
    (best, failure)
}
