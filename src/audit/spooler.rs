//! The spool's thread: takes all that waits in the ring, writes it, syncs once for all of it, and
//! says so. While one batch is synced the next one gathers, and syncs keep a small distance, so that a
//! storm costs few of them and a single event waits for no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::pseudonym::Pseudonyms;
use super::queue::Entry;
use super::record::Record;
use super::sink::{Shared, Spooled};
use super::spool::{AppendError, Appender};
use crate::telemetry::metric as m;

/// Most entries of one write.
const BATCH_MAX: usize = 4_096;

/// How long a write may take before nobody waits for it any longer.
const STUCK: Duration = Duration::from_secs(1);
/// How often it is looked whether one does.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Sees to it that a disk that hangs holds nobody up for long: it counts as one that takes nothing. Runs
/// until nobody has the other end.
pub(super) async fn watch(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let since = shared.writing_since_ms.load(Ordering::Acquire);
        let now = shared.begun.elapsed().as_millis();
        let took = now.saturating_sub(u128::from(since.saturating_sub(1)));
        if since == 0 || took < STUCK.as_millis() {
            continue;
        }
        if !shared.spool_failing.swap(true, Ordering::AcqRel) {
            m::AUDIT_SPOOL_FAILING.set(&[], 1.0);
            tracing::error!("the disk of the audit spool does not answer; nobody waits for it");
        }
        shared.tell(Spooled {
            upto: u64::MAX,
            is_kept: false,
        });
    }
}

/// The thread's half of the audit.
pub(super) struct Spooler {
    pub(super) shared: Arc<Shared>,
    pub(super) appender: Appender,
    /// Shortest time between two syncs, while not much waits for the second.
    pub(super) sync_every: Duration,
    /// How often refusals that were folded go on record.
    pub(super) fold_every: Duration,
    /// Pause between two tries to write.
    pub(super) retry: Duration,
    pub(super) pseudonyms: Option<Pseudonyms>,
}

impl Spooler {
    /// Starts the thread. It ends when the ring is closed and empty.
    pub(super) fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("audit-spool".to_owned())
            .spawn(move || self.run())
    }

    fn run(mut self) {
        let mut next_sweep = Instant::now() + self.fold_every;
        let mut next_sync = Instant::now();
        let mut entries = Vec::new();
        loop {
            if Instant::now() >= next_sweep {
                self.shared.sweep();
                next_sweep = Instant::now() + self.fold_every;
            }
            let Some(ticket) = self
                .shared
                .pop(&mut entries, BATCH_MAX, next_sync, next_sweep)
            else {
                return;
            };
            if entries.is_empty() {
                continue;
            }
            let events = entries.iter().map(Entry::count).sum();
            self.shared.in_hand.store(events, Ordering::Release);
            let records: Vec<_> = entries.drain(..).map(|it| self.encode(it)).collect();
            self.write(&records, ticket, &mut next_sweep);
            self.shared.in_hand.store(0, Ordering::Release);
            next_sync = Instant::now() + self.sync_every;
        }
    }

    /// One try, with a note of when it began.
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AppendError> {
        let now = self.shared.begun.elapsed().as_millis();
        let since = u64::try_from(now).unwrap_or(u64::MAX - 1) + 1;
        self.shared.writing_since_ms.store(since, Ordering::Release);
        let appended = self.appender.append(records);
        self.shared.writing_since_ms.store(0, Ordering::Release);
        appended
    }

    fn encode(&self, entry: Entry) -> Vec<u8> {
        let mut record = Record::from(entry);
        if let Some(pseudonyms) = &self.pseudonyms {
            pseudonyms.apply(&mut record);
        }
        record.to_spool()
    }

    /// Writes a batch, however long there is no room meanwhile: what comes after it waits in the
    /// ring, and what finds no room there is counted.
    fn write(&mut self, records: &[Vec<u8>], ticket: u64, next_sweep: &mut Instant) {
        let mut failures = 0_u32;
        while let Err(error) = self.append(records) {
            failures += 1;
            m::AUDIT_SPOOL_FAILURES.count(&[], 1);
            if failures == 1 {
                m::AUDIT_SPOOL_FAILING.set(&[], 1.0);
                tracing::error!(%error, "events wait in memory, and are counted where there is no room");
            }
            self.shared.spool_failing.store(true, Ordering::Release);
            self.shared.tell(Spooled {
                upto: ticket,
                is_kept: false,
            });
            self.appender.wait_for_room(self.retry);
            if Instant::now() >= *next_sweep {
                self.shared.sweep();
                *next_sweep = Instant::now() + self.fold_every;
            }
        }
        let was_failing = self.shared.spool_failing.swap(false, Ordering::AcqRel);
        if failures > 0 || was_failing {
            m::AUDIT_SPOOL_FAILING.set(&[], 0.0);
            tracing::info!(failures, "the audit spool takes events again");
        }
        let count = records.len() as u64;
        self.shared.spooled.fetch_add(count, Ordering::AcqRel);
        m::AUDIT_SPOOLED.count(&[], count);
        self.shared.tell(Spooled {
            upto: ticket,
            is_kept: true,
        });
    }
}
