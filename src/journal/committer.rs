//! The committer: one thread that keeps the commits of all shards.
//!
//! It takes all that waits, writes it at once, syncs once if any of it wants that, and tells the
//! shards. While the disk is busy with one batch the next gathers: the slower the disk, the more share
//! a sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::Ready;
use super::log::Log;
use crate::fact::Fact;
use crate::telemetry::metric as m;

/// The name of its thread. Who waits for what is kept waits for it: the process cannot go on without.
pub const THREAD: &str = "journal";

/// Most bytes of one batch, about.
const BATCH_BYTES: u64 = 4 << 20;

/// Bytes' worth of cleaning between two batches, and for each byte of the batch before.
const CLEAN_BYTES: u64 = 128 << 10;
const CLEAN_FOR_EACH: u64 = 4;

/// Between two tries of what the disk refuses.
const RETRY: Duration = Duration::from_millis(100);

/// The facts of one turn of a shard.
#[derive(Debug)]
pub struct Commit {
    /// Whose.
    pub shard: u16,
    /// Counts up; what is told of one holds for all before it.
    pub number: u64,
    /// It counts as kept when it is on disk; otherwise when the system has it.
    pub sync: bool,
    /// Somebody waits only for the system to have it, whatever else is synced with it.
    pub hasty: bool,
    /// In order.
    pub facts: Vec<Fact>,
}

/// What a shard is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The system has its commits up to this one; they are being synced.
    Written(u64),
    /// Its commits up to this one are kept.
    Committed(u64),
    /// There is no room for more messages; what ends something is still kept.
    Full,
    /// There is room again.
    Roomy,
}

/// How shards are told: which, and what. Called by the committer's thread, which it must not hold up.
pub type Tell = Box<dyn Fn(u16, Told) + Send>;

/// It was not all on disk when patience was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal could not be written to its end: {commits} commits were not told that they are kept"
)]
pub struct Unfinished {
    /// How many.
    pub commits: u64,
}

/// A running journal. Clones are the same one.
///
/// What waits in it is bounded by those who wait for it: a publisher has no more messages
/// unacknowledged than its connection may, a receiver no more in flight, and what promises anything
/// is not said before its commit is. Bytes that wait are `cofferdam_journal_waiting_bytes`.
#[derive(Clone, Debug)]
pub struct Journal {
    work: Sender<Work>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes of commits that were handed over and not taken up.
    waiting: AtomicU64,
    /// Commits that were handed over and not told.
    commits: AtomicU64,
    /// Nobody waits for the end any more.
    is_given_up: AtomicBool,
}

#[derive(Debug)]
enum Work {
    Commit(Commit, u64),
    Finish(Sender<()>),
}

impl Ready {
    /// Starts the committer, for shards 0 to `shards` - 1.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(self, shards: u16, tell: Tell) -> std::io::Result<Journal> {
        let (work, taken) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let committer = Committer {
            log: self.0,
            work: taken,
            shared: Arc::clone(&shared),
            shards,
            tell,
            due: BTreeMap::new(),
            is_full: false,
        };
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || committer.run())?;
        Ok(Journal { work, shared })
    }
}

impl Journal {
    /// Hands over a commit, and never waits. After [`finish`](Self::finish) nothing is kept any more,
    /// and nobody is told.
    pub fn commit(&self, commit: Commit) {
        let bytes = commit.facts.iter().map(weight).sum();
        self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        // Refused only when the committer has ended.
        let _ = self.work.send(Work::Commit(commit, bytes));
    }

    /// Keeps all that was handed over, syncs it, and ends.
    ///
    /// # Errors
    /// The disk did not take it all in this time.
    pub fn finish(&self, patience: Duration) -> Result<(), Unfinished> {
        let (done, is_done) = mpsc::channel();
        let asked = self.work.send(Work::Finish(done));
        if asked.is_ok() && is_done.recv_timeout(patience).is_ok() {
            return Ok(());
        }
        self.shared.is_given_up.store(true, Ordering::Relaxed);
        Err(Unfinished {
            commits: self.shared.commits.load(Ordering::Relaxed),
        })
    }
}

/// About as many bytes as a fact has.
fn weight(fact: &Fact) -> u64 {
    let more = match fact {
        Fact::Kept(kept) => kept.message.size() + kept.targets.len() * 32,
        _ => 0,
    };
    64 + more as u64
}

struct Committer {
    log: Log,
    work: Receiver<Work>,
    shared: Arc<Shared>,
    shards: u16,
    tell: Tell,
    /// By shard, what of this batch is to be told.
    due: BTreeMap<u16, Due>,
    is_full: bool,
}

/// How long to wait for work.
enum Patience {
    None,
    Retry,
    Ever,
}

impl Committer {
    fn run(mut self) {
        self.log.provide();
        self.tell_room();
        let mut patience = Patience::None;
        loop {
            let (batch, finish, is_over) = self.take(&patience);
            if !self.keep(batch.sync) {
                return;
            }
            for (shard, due) in std::mem::take(&mut self.due) {
                self.shared
                    .commits
                    .fetch_sub(due.commits, Ordering::Relaxed);
                (self.tell)(shard, Told::Committed(due.number));
            }
            if finish.is_some() || is_over {
                self.close();
                if let Some(done) = finish {
                    let _ = done.send(());
                }
                return;
            }
            patience = self.tidy(batch.bytes);
            self.tell_room();
            self.count();
        }
    }

    /// Takes all that waits, or as much as makes a batch, and appends it.
    fn take(&mut self, patience: &Patience) -> (Batch, Option<Sender<()>>, bool) {
        let mut batch = Batch::default();
        let first = match patience {
            Patience::None => self.work.try_recv(),
            Patience::Retry => self.work.recv_timeout(RETRY).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            }),
            Patience::Ever => self.work.recv().map_err(|_| TryRecvError::Disconnected),
        };
        let mut next = first;
        loop {
            match next {
                Ok(Work::Commit(commit, bytes)) => self.append(commit, bytes, &mut batch),
                Ok(Work::Finish(done)) => return (batch, Some(done), false),
                Err(TryRecvError::Empty) => return (batch, None, false),
                Err(TryRecvError::Disconnected) => return (batch, None, true),
            }
            if batch.bytes >= BATCH_BYTES {
                return (batch, None, false);
            }
            next = self.work.try_recv();
        }
    }

    fn append(&mut self, commit: Commit, bytes: u64, batch: &mut Batch) {
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        batch.bytes += bytes;
        batch.sync |= commit.sync;
        let due = self.due.entry(commit.shard).or_default();
        due.number = commit.number;
        due.commits += 1;
        due.hasty |= commit.hasty;
        self.log.append(commit.facts);
    }

    /// Writes and syncs until it is so. `false`: nobody waits for it any more.
    fn keep(&mut self, sync: bool) -> bool {
        let begun = Instant::now();
        let mut failures = 0_u64;
        if sync && self.due.values().any(|due| due.hasty) {
            self.write_first();
        }
        loop {
            let sync = sync || !self.log.doomed.is_empty();
            match self.log.flush(sync) {
                Ok(()) => break,
                Err(error) => {
                    failures += 1;
                    m::JOURNAL_FAILURES.count(&[], 1);
                    if failures == 1 {
                        tracing::error!(%error, "the journal cannot be written; what waits for it waits, and it is tried again");
                    }
                }
            }
            self.tell_room();
            if self.shared.is_given_up.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(RETRY);
        }
        if failures > 0 {
            tracing::info!(
                failures,
                away_ms = begun.elapsed().as_millis(),
                "the journal is written again"
            );
        }
        if sync {
            m::JOURNAL_COMMIT_DURATION.observe(begun.elapsed());
        }
        true
    }

    /// Tells those who need no more as soon as the system has it. Where it has not, they wait with the
    /// others.
    fn write_first(&mut self) {
        if self.log.flush(false).is_ok() {
            for (shard, due) in self.due.iter().filter(|(_, due)| due.hasty) {
                (self.tell)(*shard, Told::Written(due.number));
            }
        }
    }

    fn close(&mut self) {
        while let Err(error) = self.log.close() {
            tracing::error!(%error, "the journal cannot be closed");
            if self.shared.is_given_up.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(RETRY);
        }
    }

    /// Gives back space; how long the next work may be waited for.
    fn tidy(&mut self, batch: u64) -> Patience {
        let budget = CLEAN_BYTES.max(batch * CLEAN_FOR_EACH);
        let cleaned = self.log.clean(budget);
        let is_roomy = !self.log.is_full() || self.log.provide();
        match cleaned {
            Ok(true) => Patience::None,
            Ok(false) if self.log.is_behind() => Patience::None,
            Ok(false) if is_roomy => Patience::Ever,
            Ok(false) => Patience::Retry,
            Err(error) => {
                tracing::error!(%error, "the journal's oldest file cannot be read to give back its space");
                Patience::Retry
            }
        }
    }

    fn tell_room(&mut self) {
        if self.is_full == self.log.is_full() {
            return;
        }
        self.is_full = self.log.is_full();
        m::JOURNAL_FULL.set(&[], f64::from(u8::from(self.is_full)));
        let told = match self.is_full {
            true => Told::Full,
            false => Told::Roomy,
        };
        for shard in 0..self.shards {
            (self.tell)(shard, told);
        }
    }

    fn count(&mut self) {
        let counts = std::mem::take(&mut self.log.counts);
        m::JOURNAL_WRITTEN.count(&[], counts.written);
        m::JOURNAL_CARRIED.count(&[], counts.carried);
        m::JOURNAL_LOST.count(&[], counts.lost);
        m::JOURNAL_SIZE.set(&[], self.log.size() as f64);
        m::JOURNAL_LIVE.set(&[], self.log.index.live() as f64);
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        m::JOURNAL_WAITING.set(&[], waiting as f64);
    }
}

/// What a shard is to be told when a batch is kept.
#[derive(Default)]
struct Due {
    /// Its last commit.
    number: u64,
    commits: u64,
    hasty: bool,
}

/// What was taken at once.
#[derive(Default)]
struct Batch {
    bytes: u64,
    sync: bool,
}
