//! The end of the audit that writes: one task, in order, in batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::sink::{AuditSink, Entry, Shared};
use super::store::{Numbered, Numbering, find_teams, insert_numbered};
use crate::database::Database;
use crate::telemetry::metric as m;

/// How the audit is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most events that wait.
    pub queue_max: usize,
    /// Most bytes of text in the events that wait.
    pub queue_bytes_max: usize,
    /// Most records of one transaction.
    pub batch_max: usize,
    /// Longest time that an event waits for others to share its transaction.
    pub batch_wait: Duration,
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
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_secs(2),
        }
    }
}

/// The running writer. Dropped, it writes what waits and ends by itself, unobserved.
#[derive(Debug)]
pub struct AuditWriter {
    task: JoinHandle<u64>,
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
    /// The database was away to the end; what still waited is lost.
    Incomplete,
}

/// Starts the writer on the current tokio runtime.
///
/// # Errors
/// Where the system has no randomness to number the records with.
pub fn start(
    database: Database,
    settings: Settings,
) -> Result<(AuditSink, AuditWriter), sqlx::Error> {
    let (queue, entries) = mpsc::channel(settings.queue_max);
    let sink = AuditSink::new(queue, settings.queue_bytes_max);
    let (stop, stopping) = watch::channel(false);
    let writing = Writing {
        database,
        settings,
        shared: Arc::clone(sink.shared()),
        entries,
        stopping,
        numbering: Numbering::new()?,
        written: 0,
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
        // The task holds the other end; where it is gone there is nothing to stop.
        let _ = self.stop.send(true);
        match tokio::time::timeout(patience, &mut self.task).await {
            Ok(Ok(written)) => Finished::Whole { written },
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit writer failed; events are lost");
                Finished::Incomplete
            }
            Err(_) => {
                self.task.abort();
                tracing::error!(
                    patience_ms = patience.as_millis(),
                    gap = ?self.shared.take_gap(),
                    "the audit store stayed away; the events that waited are lost"
                );
                Finished::Incomplete
            }
        }
    }
}

struct Writing {
    database: Database,
    settings: Settings,
    shared: Arc<Shared>,
    entries: mpsc::Receiver<Entry>,
    stopping: watch::Receiver<bool>,
    numbering: Numbering,
    written: u64,
}

impl Writing {
    async fn run(mut self) -> u64 {
        loop {
            let mut entries = Vec::new();
            let open = self.collect(&mut entries).await;
            let mut batch: Vec<_> = entries
                .into_iter()
                .map(|entry| self.numbering.number(self.shared.unpack(entry)))
                .collect();
            if self.entries.is_empty()
                && let Some(gap) = self.shared.take_gap()
            {
                batch.push(self.numbering.number(gap.into()));
            }
            if !batch.is_empty() {
                self.write(batch).await;
            } else if !open {
                return self.written;
            }
        }
    }

    /// Gathers a batch: waits for a first entry, then a short while for others. `false`: the queue
    /// is closed, and what comes now is the rest.
    async fn collect(&mut self, entries: &mut Vec<Entry>) -> bool {
        let max = self.settings.batch_max;
        if !self.stopped() {
            tokio::select! {
                _ = self.entries.recv_many(entries, max) => {}
                _ = self.stopping.changed() => {}
            }
            let until = tokio::time::Instant::now() + self.settings.batch_wait;
            while !entries.is_empty() && entries.len() < max && !self.stopped() {
                tokio::select! {
                    _ = self.entries.recv_many(entries, max - entries.len()) => {}
                    _ = self.stopping.changed() => {}
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
        if !self.stopped() {
            return true;
        }
        self.entries.close();
        while entries.len() < max
            && let Ok(entry) = self.entries.try_recv()
        {
            entries.push(entry);
        }
        false
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
            m::AUDIT_WRITE_FAILURES.count(&[], 1);
            m::AUDIT_QUEUE.set(&[], (self.entries.len() + batch.len()) as f64);
            if failures == 1 {
                tracing::warn!(%error, waiting = self.entries.len() + batch.len(),
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
        self.written += batch.len() as u64;
        m::AUDIT_WRITTEN.count(&[], batch.len() as u64);
        m::AUDIT_QUEUE.set(&[], self.entries.len() as f64);
        m::AUDIT_BATCH_DURATION.observe(begun.elapsed());
    }

    async fn try_to_write(&self, batch: &mut [Numbered]) -> Result<(), sqlx::Error> {
        let mut transaction = self.database.begin().await?;
        find_teams(&mut transaction, batch).await?;
        insert_numbered(&mut transaction, batch).await?;
        transaction.commit().await
    }
}
