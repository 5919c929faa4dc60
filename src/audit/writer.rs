//! The audit as it runs: the ring and the spool's thread on one side, on the other a carrier for each
//! database that records go to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::carrier::{Carrier, Parts, Progress};
use super::chain::AuditKey;
use super::pseudonym::{Personal, Pseudonyms};
use super::regions::{Regions, Store};
use super::sink::{AuditSink, Shared};
use super::spool::{self, Appender, Bounds, Found, Spool, SpoolError};
use super::spooler::{Spooler, watch as watch_disk};
use crate::time::Span;

/// The folder of the spool in the data directory.
const DIRECTORY: &str = "audit";
/// The file of the last checkpoints in it.
const WITNESS: &str = "checkpoints";

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
    /// Shortest time between two syncs of the spool while fewer than 256 events wait for the second: an
    /// event after a quiet while is synced at once, those of a storm share their syncs.
    pub sync_every: Duration,
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
            sync_every: Duration::from_millis(5),
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
    /// Records that an earlier run left in the spool.
    left: u64,
    /// By store.
    progress: Vec<Arc<Progress>>,
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

/// Starts the writer on the current tokio runtime. The first of `stores` is the main one, the others are
/// those of `regions`. The spool lies in `data_dir`, which is the caller's alone.
///
/// # Errors
/// [`StartError`].
pub fn start(
    stores: Vec<Store>,
    regions: Regions,
    data_dir: &Path,
    key: AuditKey,
    settings: Settings,
) -> Result<(AuditSink, AuditWriter), StartError> {
    let directory = data_dir.join(DIRECTORY);
    let bounds = Bounds {
        total: settings.spool_bytes_max,
        segment: settings.segment_bytes,
    };
    let opened = spool::open(&directory, bounds)?;
    start_with(stores, regions, &directory, key, settings, opened)
}

pub(super) fn start_with(
    stores: Vec<Store>,
    regions: Regions,
    directory: &Path,
    key: AuditKey,
    settings: Settings,
    (spool, appender, found): (Spool, Appender, Found),
) -> Result<(AuditSink, AuditWriter), StartError> {
    let sink = AuditSink::new(settings.queue_max, settings.queue_bytes_max);
    let (stop, stopping) = watch::channel(false);
    let mut carriers = JoinSet::new();
    let mut progress = Vec::new();
    let accounts = stores.first().map(|main| main.database.clone());
    for store in stores {
        let own = Arc::new(Progress::default());
        progress.push(Arc::clone(&own));
        let carrier = Carrier::new(Parts {
            accounts: accounts.clone().unwrap_or_else(|| store.database.clone()),
            witness: witness_path(directory, store.region.as_deref()),
            store,
            regions: regions.clone(),
            spool: spool.clone(),
            run: appender.run(),
            found,
            key: key.clone(),
            shared: Arc::clone(sink.shared()),
            progress: own,
            settings: settings.clone(),
            stopping: stopping.clone(),
        });
        carriers.spawn(carrier.run());
    }
    Spooler {
        shared: Arc::clone(sink.shared()),
        appender,
        sync_every: settings.sync_every,
        fold_every: settings.fold_every,
        retry: settings.retry_first.max(Duration::from_millis(20)),
        pseudonyms: Pseudonyms::of(&key, settings.personal),
    }
    .start()?;
    tokio::spawn(watch_disk(Arc::downgrade(sink.shared())));
    let writer = AuditWriter {
        // Given up, it takes the carriers along.
        task: tokio::spawn(async move { while carriers.join_next().await.is_some() {} }),
        stop,
        shared: Arc::clone(sink.shared()),
        left: found.records,
        progress,
    };
    Ok((sink, writer))
}

/// Where a broker with this data directory keeps its own copy of the last checkpoints of a store.
pub fn witness_of(data_dir: &Path, region: Option<&str>) -> PathBuf {
    witness_path(&data_dir.join(DIRECTORY), region)
}

/// The files of a data directory that a backup takes along, before it takes the database: what the
/// databases may not have yet, and the broker's own copies of the last checkpoints. A file that is
/// gone when it is read was taken by the databases meanwhile.
///
/// # Errors
/// As the system says.
pub fn files_to_back_up(data_dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(data_dir.join(DIRECTORY)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let is_wanted = |name: &str| {
            let is_witness = name.split('.').next() == Some(WITNESS) && !name.ends_with('~');
            is_witness || spool::is_segment(Path::new(name))
        };
        if name.to_str().is_some_and(is_wanted) {
            files.push(Path::new(DIRECTORY).join(name));
        }
    }
    files.sort();
    Ok(files)
}

fn witness_path(directory: &Path, region: Option<&str>) -> PathBuf {
    match region {
        Some(region) => directory.join(format!("{WITNESS}.{region}")),
        None => directory.join(WITNESS),
    }
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
        let spooled = self.left + self.shared.spooled.load(Ordering::Acquire);
        let taken = self
            .progress
            .iter()
            .map(|it| it.taken.load(Ordering::Acquire));
        let taken = taken.min().unwrap_or(0);
        Finished::Incomplete {
            cause,
            written: written(),
            spooled: spooled.saturating_sub(taken),
            lost: self.shared.waiting(),
        }
    }
}
