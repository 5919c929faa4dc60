//! The audit as it runs: the ring and the spool's thread on one side, on the other a task that takes
//! what is in the spool to the database, in order, in batches, and tries again while it is away.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chain::AuditKey;
use super::pseudonym::{Personal, Pseudonyms};
use super::record::Record;
use super::sink::{AuditSink, Shared};
use super::spool::{self, Appender, Bounds, Found, Place, Spool, SpoolError};
use super::spooler::{Spooler, watch};
use super::store::{Keyed, insert, take};
use super::upkeep::{Witness, link_old, remove_old, sign_heads};
use crate::database::{Database, DatabaseError, Part};
use crate::telemetry::metric as m;
use crate::time::{Span, Time};

/// The folder of the spool in the data directory.
const DIRECTORY: &str = "audit";
/// The file of the last checkpoints in it.
const WITNESS: &str = "checkpoints";
/// How often it is looked whether something is too old to be kept.
const REMOVE_EVERY: Duration = Duration::from_secs(3_600);

/// How the audit is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most events that wait for the spool: a quarter of them refusals, and of either part no team
    /// has more than it leaves free.
    pub queue_max: usize,
    /// Most bytes of text in the events that wait, shared likewise.
    pub queue_bytes_max: usize,
    /// Most bytes of the spool on disk.
    pub spool_bytes_max: u64,
    /// Bytes at which a segment of the spool is followed by the next.
    pub segment_bytes: u64,
    /// Most records of one transaction.
    pub batch_max: usize,
    /// Longest time that a record waits in the spool for others to share its transaction.
    pub batch_wait: Duration,
    /// How often refusals that were folded go on record.
    pub fold_every: Duration,
    /// Pause after a first failure; doubles with each further one.
    pub retry_first: Duration,
    /// Longest pause between two tries.
    pub retry_max: Duration,
    /// How often the heads of chains are signed.
    pub checkpoint_every: Duration,
    /// How long records are kept; `None`: for ever.
    pub retention: Option<Span>,
    /// What is made unrecognisable.
    pub personal: Personal,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_max: 65_536,
            queue_bytes_max: 32 << 20,
            spool_bytes_max: 1 << 30,
            segment_bytes: 8 << 20,
            batch_max: 500,
            batch_wait: Duration::from_millis(50),
            fold_every: Duration::from_secs(1),
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_secs(2),
            checkpoint_every: Duration::from_secs(60),
            retention: None,
            personal: Personal::default(),
        }
    }
}

/// The running writer. Dropped, it writes what waits and ends by itself, unobserved.
#[derive(Debug)]
pub struct AuditWriter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
}

/// How far the spool is taken.
#[derive(Debug, Default)]
struct Progress {
    /// Records that an earlier run left in the spool.
    left: u64,
    /// Records that were read and are in the database, whoever wrote them.
    taken: AtomicU64,
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
        /// Records in the spool, which the next start writes: at most so many.
        spooled: u64,
        /// Events that are in neither, nor counted there.
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

/// Why the audit does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its thread.
    #[error("the thread of the audit spool cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts the writer on the current tokio runtime. The spool lies in `data_dir`, which is the
/// caller's alone.
///
/// # Errors
/// [`StartError`].
pub fn start(
    database: Database,
    data_dir: &Path,
    key: AuditKey,
    settings: Settings,
) -> Result<(AuditSink, AuditWriter), StartError> {
    let directory = data_dir.join(DIRECTORY);
    let bounds = Bounds {
        total: settings.spool_bytes_max,
        segment: settings.segment_bytes,
    };
    let (spool, appender, found) = spool::open(&directory, bounds)?;
    start_with(
        database,
        &directory,
        key,
        settings,
        (spool, appender, found),
    )
}

pub(super) fn start_with(
    database: Database,
    directory: &Path,
    key: AuditKey,
    settings: Settings,
    (spool, appender, found): (Spool, Appender, Found),
) -> Result<(AuditSink, AuditWriter), StartError> {
    let sink = AuditSink::new(settings.queue_max, settings.queue_bytes_max);
    let (stop, stopping) = watch::channel(false);
    let run = appender.run();
    Spooler {
        shared: Arc::clone(sink.shared()),
        appender,
        fold_every: settings.fold_every,
        retry: settings.retry_first.max(Duration::from_millis(20)),
        pseudonyms: Pseudonyms::of(&key, settings.personal),
    }
    .start()?;
    tokio::spawn(watch(Arc::downgrade(sink.shared())));
    let progress = Arc::new(Progress {
        left: found.records,
        taken: AtomicU64::new(0),
    });
    let carrier = Carrier {
        cursor: spool.cursor(),
        place: Place::default(),
        spool,
        run,
        recovery: Some((found, 0)),
        witness: Witness::open(witness_path(directory)),
        database,
        key,
        shared: Arc::clone(sink.shared()),
        progress: Arc::clone(&progress),
        stopping,
        parts: HashSet::new(),
        next_signing: Instant::now() + settings.checkpoint_every,
        next_removal: Instant::now(),
        settings,
    };
    let writer = AuditWriter {
        task: tokio::spawn(carrier.run()),
        stop,
        shared: Arc::clone(sink.shared()),
        progress,
    };
    Ok((sink, writer))
}

/// Where a broker with this data directory keeps its own copy of the last checkpoints.
pub fn witness_of(data_dir: &Path) -> PathBuf {
    witness_path(&data_dir.join(DIRECTORY))
}

fn witness_path(directory: &Path) -> PathBuf {
    directory.join(WITNESS)
}

impl AuditWriter {
    /// Takes no more events, writes those that wait, and ends; gives up after `patience`.
    pub async fn finish(mut self, patience: Duration) -> Finished {
        let written = || self.shared.written.load(Ordering::Acquire);
        let before = written();
        self.shared.close();
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
        let spooled = self.progress.left + self.shared.spooled.load(Ordering::Acquire);
        let taken = self.progress.taken.load(Ordering::Acquire);
        Finished::Incomplete {
            cause,
            written: written(),
            spooled: spooled.saturating_sub(taken),
            lost: self.shared.waiting(),
        }
    }
}

/// Takes records from the spool to one database.
struct Carrier {
    database: Database,
    spool: Spool,
    cursor: usize,
    place: Place,
    /// The run that this broker writes.
    run: i64,
    /// What was found at the start, and how much of it was new to the database so far; until it is
    /// all there.
    recovery: Option<(Found, u64)>,
    key: AuditKey,
    witness: Witness,
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    settings: Settings,
    stopping: watch::Receiver<bool>,
    /// Parts of the table that are there.
    parts: HashSet<Part>,
    next_signing: Instant,
    next_removal: Instant,
}

impl Carrier {
    async fn run(mut self) {
        let mut tries = Tries::new(&self);
        loop {
            match link_old(&self.database).await {
                Err(error) if error.may_pass() => tries.failed(&error).await,
                // They stay where they are, and the next start tries again.
                Err(error) => {
                    break tracing::error!(%error, "records of before there were chains stay unlinked");
                }
                Ok(()) => break tries.end(),
            }
        }
        loop {
            // Asked first: what was appended before it closed is read then.
            let is_closed = self.spool.is_closed();
            let batch = self.read().await;
            let Some((mut records, place)) = batch else {
                tokio::time::sleep(self.settings.retry_max).await;
                continue;
            };
            let count = records.len();
            let is_ours = records.first().is_none_or(|first| first.run == self.run);
            if is_ours {
                self.tell_recovery().await;
            }
            if !records.is_empty() {
                self.write(&mut records).await;
            }
            if place != self.place {
                self.place = place;
                self.spool.taken(self.cursor, place);
            }
            m::AUDIT_SPOOL_BYTES.set(&[], self.spool.bytes() as f64);
            if count == 0 && is_closed {
                break;
            }
            self.keep_up().await;
            if count < self.settings.batch_max {
                self.wait(count == 0).await;
            }
        }
        self.sign().await;
    }

    /// What is next in the spool. `None`: it could not be read now.
    async fn read(&self) -> Option<(Vec<Keyed>, Place)> {
        let (spool, place, max) = (self.spool.clone(), self.place, self.settings.batch_max);
        let read = tokio::task::spawn_blocking(move || spool.read(place, max));
        let batch = match read.await {
            Ok(Ok(batch)) => batch,
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit spool cannot be read");
                return None;
            }
            Err(_) => return None,
        };
        let keyed = batch.records.into_iter().filter_map(|spooled| {
            let record = Record::from_spool(&spooled.payload);
            let record = record.inspect_err(|error| {
                tracing::error!(%error, run = spooled.run, number = spooled.number,
                    "a record in the audit spool is none");
            });
            Some(Keyed {
                run: spooled.run,
                number: spooled.number,
                record: record.ok()?,
            })
        });
        Some((keyed.collect(), batch.end))
    }

    /// Waits for more: for the first, or for others that share its transaction.
    async fn wait(&mut self, for_first: bool) {
        let mut until = self.settings.batch_wait;
        if for_first {
            let next = self.next_signing.min(self.next_removal);
            until = next.saturating_duration_since(Instant::now()).max(until);
        }
        if *self.stopping.borrow() && !for_first {
            return;
        }
        let until = tokio::time::sleep(until);
        tokio::select! {
            () = self.spool.grown(), if for_first => {}
            _ = self.stopping.changed(), if !*self.stopping.borrow() => {}
            () = until => {}
        }
    }

    /// Writes a batch, however long the database is away meanwhile. Order is kept: nothing else is
    /// written before it.
    async fn write(&mut self, batch: &mut [Keyed]) {
        let begun = Instant::now();
        self.make_parts(batch).await;
        let mut tries = Tries::new(self);
        // Whatever the error: what is left out once is gone, and what waits can still be written when
        // somebody has mended the database.
        let written = loop {
            match self.try_to_write(batch).await {
                Err(error) => tries.failed(&error).await,
                Ok(written) => break written,
            }
        };
        tries.end();
        let count = batch.len() as u64;
        self.progress.taken.fetch_add(count, Ordering::AcqRel);
        let ours = written.get(&self.run).copied().unwrap_or(0);
        let written: u64 = written.values().sum();
        self.shared.written.fetch_add(written, Ordering::AcqRel);
        if let Some((_, recovered)) = &mut self.recovery {
            *recovered += written - ours;
        }
        m::AUDIT_WRITTEN.count(&[], written);
        m::AUDIT_QUEUE.set(&[], self.shared.len() as f64);
        m::AUDIT_BATCH_DURATION.observe(begun.elapsed());
    }

    async fn try_to_write(&self, batch: &mut [Keyed]) -> Result<HashMap<i64, u64>, DatabaseError> {
        let mut transaction = self.database.begin().await?;
        let written = take(&mut transaction, batch).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// The month of each record has a part of the table. Without it they go among the rest.
    async fn make_parts(&mut self, batch: &[Keyed]) {
        let months = batch.iter().filter_map(|keyed| {
            Part::of(i64::try_from(keyed.record.at.as_micros()).unwrap_or(i64::MAX))
        });
        let new: HashSet<_> = months.filter(|part| !self.parts.contains(part)).collect();
        for part in new {
            match self.database.make_part(part).await {
                Ok(()) => drop(self.parts.insert(part)),
                // Away: the next batch tries again.
                Err(error) if error.may_pass() => {}
                Err(error) => tracing::error!(%error, ?part, "the audit table has no such part"),
            }
        }
    }

    /// Everything that an earlier run left is in the database: that goes on record.
    async fn tell_recovery(&mut self) {
        let Some((found, records)) = self.recovery.take() else {
            return;
        };
        if records == 0 && found.cut_bytes == 0 && found.damaged == 0 {
            return;
        }
        let detail = json!({
            "records": records,
            "cut_bytes": found.cut_bytes,
            "damaged_segments": found.damaged,
        });
        tracing::info!(
            records,
            "the audit store has what an earlier run left in the spool"
        );
        let mut record =
            Record::administration(now(), "audit_recovered", None, "cofferdam", detail);
        record.actor = None;
        // Straight to the database: the broker may be stopping already.
        let mut tries = Tries::new(self);
        while let Err(error) = self.insert(&record).await {
            tries.failed(&error).await;
        }
        tries.end();
    }

    async fn insert(&self, record: &Record) -> Result<(), DatabaseError> {
        let mut transaction = self.database.begin().await?;
        insert(&mut transaction, vec![record.clone()]).await?;
        Ok(transaction.commit().await?)
    }

    /// What is due now and then. While the database is away it waits for the next time.
    async fn keep_up(&mut self) {
        if Instant::now() >= self.next_signing {
            self.sign().await;
            self.next_signing = Instant::now() + self.settings.checkpoint_every;
        }
        if Instant::now() >= self.next_removal {
            self.next_removal = Instant::now() + REMOVE_EVERY;
            let Some(kept) = self.settings.retention else {
                return;
            };
            match remove_old(&self.database, &self.key, kept, now()).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "audit records that were old enough"),
                Err(error) => tracing::warn!(%error, "old audit records were not removed"),
            }
        }
    }

    async fn sign(&mut self) {
        let signed = sign_heads(&self.database, &self.key, &mut self.witness, now()).await;
        if let Err(error) = signed {
            tracing::warn!(%error, "no checkpoint of the audit's chains now");
        }
    }
}

/// Tries at a database that may be away.
struct Tries {
    shared: Arc<Shared>,
    begun: Instant,
    pause: Duration,
    pause_max: Duration,
    failures: u32,
}

impl Tries {
    fn new(carrier: &Carrier) -> Self {
        Self {
            shared: Arc::clone(&carrier.shared),
            begun: Instant::now(),
            pause: carrier.settings.retry_first,
            pause_max: carrier.settings.retry_max,
            failures: 0,
        }
    }

    /// Waits before the next try.
    async fn failed(&mut self, error: &DatabaseError) {
        self.failures += 1;
        self.shared.failing.store(true, Ordering::Release);
        m::AUDIT_WRITE_FAILURES.count(&[], 1);
        if self.failures == 1 {
            tracing::warn!(%error, "the audit store takes nothing; records wait in the spool and \
                are tried again");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(self.pause_max);
    }

    /// The database has answered.
    fn end(&self) {
        if self.failures > 0 {
            let (failures, away_ms) = (self.failures, self.begun.elapsed().as_millis());
            tracing::info!(failures, away_ms, "the audit store takes records again");
        }
        self.shared.failing.store(false, Ordering::Release);
    }
}

fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = passed.map_or(0, |passed| passed.as_micros());
    Time::from_micros(u64::try_from(micros).unwrap_or(0))
}
