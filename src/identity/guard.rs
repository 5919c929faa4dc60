//! Who guesses passwords waits: failed logins by source address and by username. Time is an argument.
//!
//! After a few failures each answer takes twice as long as the one before; after more, passwords are no
//! longer hashed, and the answer is the same refusal. What costs next to nothing to check goes on
//! being checked: a token, and a password that was good a while ago. So nobody can lock a client out by
//! guessing under its name, unless the broker has not seen that client since its start.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::broker::{Refusal, network};
use crate::config::LoginLimits;
use crate::time::{Span, Time};

/// Failed logins, by address and by username.
#[derive(Debug)]
pub(super) struct Guard {
    limits: LoginLimits,
    /// Names and addresses are kept as numbers that nobody else can make.
    hasher: foldhash::quality::RandomState,
    failures: Mutex<Failures>,
}

/// The failures of two generations of names and addresses: the older is forgotten as a whole when the
/// younger is full, so that however many there are, they take so much room and no more.
#[derive(Debug, Default)]
struct Failures {
    younger: HashMap<u64, Failed, foldhash::fast::RandomState>,
    older: HashMap<u64, Failed, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    count: u32,
    /// When `count` was right.
    at: Time,
}

/// Names and addresses in one generation: some 2 MiB.
const GENERATION: usize = 65_536;

/// A login: where from, and as whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    address: u64,
    username: Option<u64>,
}

impl Guard {
    pub(super) fn new(limits: LoginLimits) -> Self {
        Self {
            limits,
            hasher: foldhash::quality::RandomState::default(),
            failures: Mutex::default(),
        }
    }

    /// Who logs in.
    pub(super) fn caller(&self, address: IpAddr, username: Option<&str>) -> Caller {
        Caller {
            address: self.hasher.hash_one(network(address)),
            username: username.map(|name| self.hasher.hash_one(name)),
        }
    }

    /// Whether this login's password may be hashed.
    pub(super) fn may_hash(&self, caller: Caller, now: Time) -> bool {
        let mut failures = self.failures.lock();
        let most = caller
            .keys()
            .map(|key| failures.count(key, now, &self.limits));
        most.max().unwrap_or(0) < self.limits.max_failures
    }

    /// A login was refused for this reason. Returns how long its answer is to take.
    pub(super) fn refused(&self, caller: Caller, refusal: Refusal, now: Time) -> Duration {
        let is_guess = matches!(
            refusal,
            Refusal::UnknownUser
                | Refusal::NoCredential
                | Refusal::WrongPassword
                | Refusal::Exchange
                | Refusal::Hook
                | Refusal::TooManyFailures
        );
        if !is_guess {
            return Duration::ZERO;
        }
        let mut failures = self.failures.lock();
        let counts = caller
            .keys()
            .map(|key| failures.add(key, now, &self.limits));
        let count = counts.max().unwrap_or(0);
        drop(failures);
        self.delay(count)
    }

    /// A login was good: what failed under its name is forgotten. What failed from its address is
    /// not, for whoever guesses may have a login of its own.
    pub(super) fn let_in(&self, caller: Caller) {
        if let Some(username) = caller.username {
            let mut failures = self.failures.lock();
            failures.younger.remove(&username);
            failures.older.remove(&username);
        }
    }

    fn delay(&self, count: u32) -> Duration {
        let LoginLimits {
            free_failures,
            delay,
            max_delay,
            ..
        } = self.limits;
        let Some(doublings) = count.checked_sub(free_failures + 1) else {
            return Duration::ZERO;
        };
        let factor = 1_u64.checked_shl(doublings.min(40)).unwrap_or(u64::MAX);
        let micros = delay.as_micros().saturating_mul(factor);
        Duration::from_micros(Span::from_micros(micros).min(max_delay).as_micros())
    }
}

impl Caller {
    fn keys(self) -> impl Iterator<Item = u64> {
        [Some(self.address), self.username].into_iter().flatten()
    }
}

impl Failures {
    fn count(&mut self, key: u64, now: Time, limits: &LoginLimits) -> u32 {
        let found = self.younger.get(&key).or_else(|| self.older.get(&key));
        found.map_or(0, |failed| failed.faded(now, limits).count)
    }

    fn add(&mut self, key: u64, now: Time, limits: &LoginLimits) -> u32 {
        let found = self.younger.get(&key).or_else(|| self.older.get(&key));
        let mut failed = found.map_or(Failed { count: 0, at: now }, |it| it.faded(now, limits));
        // Beyond what refuses all there is nothing to count.
        failed.count = (failed.count + 1).min(limits.max_failures);
        if self.younger.len() >= GENERATION && !self.younger.contains_key(&key) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, failed);
        failed.count
    }
}

impl Failed {
    fn faded(self, now: Time, limits: &LoginLimits) -> Self {
        let each = limits.forget_after.as_micros().max(1);
        let forgotten = now.since(self.at).as_micros() / each;
        let count = u64::from(self.count).saturating_sub(forgotten);
        match count {
            0 => Self { count: 0, at: now },
            count => Self {
                count: u32::try_from(count).unwrap_or(u32::MAX),
                at: self.at + Span::from_micros(forgotten * each),
            },
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
