//! The end of the audit that writes: one task, in order, in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::queue::Entry;
use super::record::Record;
use super::sink::{AuditSink, Shared};
use super::store::{Numbered, Numbering, find_teams, insert_numbered};
use crate::database::Database;
use crate::telemetry::metric as m;

/// How the audit is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most events that wait: a quarter of them refusals, and of either part no team has more than
    /// it leaves free.
    pub queue_max: usize,
    /// Most bytes of text in the events that wait, shared likewise.
    pub queue_bytes_max: usize,
    /// Most records of one transaction.
    pub batch_max: usize,
    /// Longest time that an event waits for others to share its transaction.
    pub batch_wait: Duration,
    /// How often refusals that were folded go on record.
    pub fold_every: Duration,
    /// Pause after a first failure; doubles with each further one.
    pub retry_first: Duration,
    /// Longest pause between two tries.
    pub retry_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_max: 65_536,
            queue_bytes_max: 32 << 20,
            batch_max: 500,
            batch_wait: Duration::from_millis(100),
            fold_every: Duration::from_secs(1),
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_secs(2),
        }
    }
}

/// The running writer. Dropped, it writes what waits and ends by itself, unobserved.
#[derive(Debug)]
pub struct AuditWriter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
}

/// How the audit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Everything that was recorded is in the database: so many records in this run.
    Whole {
        /// Records written.
        written: u64,
    },
    /// Some of it is not.
    Incomplete {
        /// Why.
        cause: Cause,
        /// Records written in this run.
        written: u64,
        /// Events that are neither on record nor counted there: at most so many, for the last
        /// batch may have come through.
        lost: u64,
    },
}

/// Why the audit could not be written to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The database took records to the last, but not fast enough.
    Slow,
    /// The database took nothing.
    Away,
    /// The writer itself failed.
    Failed,
}

/// Starts the writer on the current tokio runtime.
///
/// # Errors
/// Where the system has no randomness to number the records with.
pub fn start(
    database: Database,
    settings: Settings,
) -> Result<(AuditSink, AuditWriter), sqlx::Error> {
    let sink = AuditSink::new(
        settings.queue_max,
        settings.queue_bytes_max,
        settings.batch_max,
    );
    let (stop, stopping) = watch::channel(false);
    let next_sweep = tokio::time::Instant::now() + settings.fold_every;
    let writing = Writing {
        database,
        settings,
        shared: Arc::clone(sink.shared()),
        stopping,
        next_sweep,
        numbering: Numbering::new()?,
    };
    let writer = AuditWriter {
        task: tokio::spawn(writing.run()),
        stop,
        shared: Arc::clone(sink.shared()),
    };
    Ok((sink, writer))
}

impl AuditWriter {
    /// Takes no more events, writes those that wait, and ends; gives up after `patience`.
    pub async fn finish(mut self, patience: Duration) -> Finished {
        let written = || self.shared.written.load(Ordering::Acquire);
        let before = written();
        // The task holds the other end; where it is gone there is nothing to stop.
        let _ = self.stop.send(true);
        let cause = match tokio::time::timeout(patience, &mut self.task).await {
            Ok(Ok(())) => return Finished::Whole { written: written() },
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit writer failed");
                Cause::Failed
            }
            Err(_) => {
                self.task.abort();
                // Until it has ended it may still take a batch up or set one down, and a batch in
                // between is in neither count.
                if let Ok(()) = (&mut self.task).await {
                    return Finished::Whole { written: written() };
                }
                let failing = self.shared.failing.load(Ordering::Acquire);
                match failing || written() == before {
                    true => Cause::Away,
                    false => Cause::Slow,
                }
            }
        };
        let (written, lost) = (written(), self.shared.waiting());
        Finished::Incomplete {
            cause,
            written,
            lost,
        }
    }
}

struct Writing {
    database: Database,
    settings: Settings,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    /// When folded refusals are next queued.
    next_sweep: tokio::time::Instant,
    numbering: Numbering,
}

impl Writing {
    async fn run(mut self) {
        loop {
            let mut entries = Vec::new();
            let open = self.collect(&mut entries).await;
            let events = entries.iter().map(Entry::count).sum();
            self.shared.in_hand.store(events, Ordering::Release);
            let batch: Vec<_> = entries
                .into_iter()
                .map(|entry| self.numbering.number(Record::from(entry)))
                .collect();
            if !batch.is_empty() {
                self.write(batch).await;
            } else if !open {
                return;
            }
        }
    }

    /// Gathers a batch: waits for a first entry, then a short while for others. `false`: the queue
    /// is closed, and what comes now is the rest.
    async fn collect(&mut self, entries: &mut Vec<Entry>) -> bool {
        let max = self.settings.batch_max;
        loop {
            // Folds wait while the store is away: they are counts and take no room.
            if tokio::time::Instant::now() >= self.next_sweep {
                self.shared.sweep();
                self.next_sweep = tokio::time::Instant::now() + self.settings.fold_every;
            }
            if self.stopped() || !self.shared.is_empty() {
                break;
            }
            tokio::select! {
                () = self.shared.filled() => {}
                _ = self.stopping.changed() => {}
                () = tokio::time::sleep_until(self.next_sweep) => {}
            }
        }
        let until = tokio::time::Instant::now() + self.settings.batch_wait;
        while self.shared.len() < max && !self.stopped() {
            tokio::select! {
                () = self.shared.filled() => {}
                _ = self.stopping.changed() => {}
                () = tokio::time::sleep_until(until) => break,
            }
        }
        let stopped = self.stopped();
        if stopped {
            self.shared.close();
        }
        self.shared.pop(entries, max);
        !stopped
    }

    fn stopped(&self) -> bool {
        *self.stopping.borrow() || self.stopping.has_changed().is_err()
    }

    /// Writes a batch, however long the database is away meanwhile. Order is kept: nothing else is
    /// written before it.
    async fn write(&mut self, mut batch: Vec<Numbered>) {
        let begun = Instant::now();
        let mut pause = self.settings.retry_first;
        let mut failures = 0_u32;
        while let Err(error) = self.try_to_write(&mut batch).await {
            failures += 1;
            self.shared.failing.store(true, Ordering::Release);
            m::AUDIT_WRITE_FAILURES.count(&[], 1);
            m::AUDIT_QUEUE.set(&[], (self.shared.len() + batch.len()) as f64);
            if failures == 1 {
                tracing::warn!(%error, waiting = self.shared.len() + batch.len(),
                    "the audit store takes nothing; events wait and are tried again");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.settings.retry_max);
        }
        if failures > 0 {
            tracing::info!(
                failures,
                away_ms = begun.elapsed().as_millis(),
                "the audit store takes records again"
            );
        }
        let written = batch.len() as u64;
        self.shared.failing.store(false, Ordering::Release);
        self.shared.written.fetch_add(written, Ordering::AcqRel);
        self.shared.in_hand.store(0, Ordering::Release);
        m::AUDIT_WRITTEN.count(&[], written);
        m::AUDIT_QUEUE.set(&[], self.shared.len() as f64);
        m::AUDIT_BATCH_DURATION.observe(begun.elapsed());
    }

    async fn try_to_write(&self, batch: &mut [Numbered]) -> Result<(), sqlx::Error> {
        let mut transaction = self.database.begin().await?;
        find_teams(&mut transaction, batch).await?;
        insert_numbered(&mut transaction, batch).await?;
        transaction.commit().await
    }
}
