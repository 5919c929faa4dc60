//! The journal of a run: it keeps the shards' commits when it gets to it, in the one order in which
//! they were handed over, and at a crash it has kept a beginning of them and nothing else.
//!
//! What shards state is added up by the same [`Store`] that the tests of the broker have. What the
//! model holds to be true after each commit is kept beside it: that is what a crash comes back to.

use std::collections::{HashMap, VecDeque};

use cofferdam::broker::{Commit, Shard};

use crate::model::Snapshot;
use crate::store::Store;

/// What survives a restart, and what is on its way there.
pub struct Storage {
    /// `None`: nothing is kept.
    pub store: Option<Store>,
    /// Commits wait to be kept until told otherwise.
    pub hold: bool,
    /// It takes no more messages.
    pub is_full: bool,
    /// Commits that are not kept yet, in order.
    waiting: VecDeque<Waiting>,
    /// Commits handed over so far; each has the place that it was given by that.
    handed: u64,
    /// Places up to here are kept.
    kept: u64,
    /// Of each shard: the place of its last commit, and the number.
    latest: HashMap<u16, (u64, u64)>,
    /// Of each shard: the number of the last commit that it knows to be kept.
    told: HashMap<u16, u64>,
    /// What is true as far as it is kept, while something may wait.
    base: Option<Snapshot>,
}

struct Waiting {
    shard: u16,
    commit: Commit,
    /// What is true after it, where it may be the last that is kept.
    after: Option<Snapshot>,
}

impl Storage {
    pub fn new(is_on: bool) -> Self {
        Self {
            store: is_on.then(Store::default),
            hold: false,
            is_full: false,
            waiting: VecDeque::new(),
            handed: 0,
            kept: 0,
            latest: HashMap::new(),
            told: HashMap::new(),
            base: None,
        }
    }

    /// A shard's turn ends, before anybody sees anything of it: what it stated is handed over. Returns
    /// the number of the commit, where there is one.
    pub fn turn(&mut self, id: u16, shard: &mut Shard) -> Option<u64> {
        let commit = shard.take_commit()?;
        let number = commit.number;
        self.handed += 1;
        self.latest.insert(id, (self.handed, number));
        self.waiting.push_back(Waiting {
            shard: id,
            commit,
            after: None,
        });
        Some(number)
    }

    /// What is true after the last commit; asked for only where it may be needed.
    pub fn note(&mut self, after: impl FnOnce() -> Snapshot) {
        if let Some(last) = self.waiting.back_mut().filter(|_| self.hold) {
            last.after = Some(after());
        }
    }

    /// From now on commits wait, or not. Nothing waits by then; `now` is true.
    pub fn set_hold(&mut self, on: bool, now: impl FnOnce() -> Snapshot) {
        if self.store.is_some() && on != self.hold {
            self.hold = on;
            if on && self.waiting.is_empty() {
                self.base = Some(now());
            }
        }
    }

    /// The place of what a shard stated last; 0: it stated nothing.
    pub fn latest(&self, shard: u16) -> u64 {
        self.latest.get(&shard).map_or(0, |latest| latest.0)
    }

    /// Whether what was stated up to this place outlives a crash.
    pub const fn is_kept(&self, place: u64) -> bool {
        place <= self.kept
    }

    /// Whether a shard knows everything to be kept that it ever stated.
    pub fn has_told_all(&self, shard: u16) -> bool {
        let latest = self.latest.get(&shard).map_or(0, |latest| latest.1);
        self.told.get(&shard).copied().unwrap_or(0) == latest
    }

    /// Nothing waits to be kept.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many commits wait to be kept.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps so many of the commits that wait. Returns whom to tell, and up to which of its commits.
    pub fn keep(&mut self, count: usize) -> Vec<(u16, u64)> {
        let mut told: Vec<(u16, u64)> = Vec::new();
        for waiting in self.waiting.drain(..count) {
            let (shard, number) = (waiting.shard, waiting.commit.number);
            told.retain(|(other, _)| *other != shard);
            told.push((shard, number));
            if let Some(store) = &mut self.store {
                store.keep(waiting.commit);
            }
            self.base = waiting.after;
            self.kept += 1;
        }
        told
    }

    /// A shard is being told.
    pub fn tell(&mut self, shard: u16, number: u64) {
        self.told.insert(shard, number);
    }

    /// The broker is gone, and of what waited so much was kept. What is true then; `now`: what was
    /// true before, where that is all kept.
    pub fn crash(&mut self, kept: usize, now: impl FnOnce() -> Snapshot) -> Snapshot {
        self.keep(kept);
        let after = match (&self.store, self.base.take()) {
            (None, _) => Snapshot::default(),
            (Some(_), Some(base)) => base,
            (Some(_), None) => now(),
        };
        self.waiting.clear();
        self.latest.clear();
        self.told.clear();
        (self.kept, self.is_full) = (self.handed, false);
        self.base = self.hold.then(|| after.clone());
        after
    }
}
