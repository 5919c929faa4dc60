//! The spool's thread: takes all that waits in the ring, writes it, syncs once for all of it, and
//! says so. While one batch is synced the next one gathers, so that a storm costs few syncs and a
//! single event waits for no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::pseudonym::Pseudonyms;
use super::queue::Entry;
use super::record::Record;
use super::sink::{Shared, Spooled};
use super::spool::Appender;
use crate::telemetry::metric as m;

/// Most entries of one write.
const BATCH_MAX: usize = 4_096;

/// The thread's half of the audit.
pub(super) struct Spooler {
    pub(super) shared: Arc<Shared>,
    pub(super) appender: Appender,
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
        let mut entries = Vec::new();
        loop {
            if Instant::now() >= next_sweep {
                self.shared.sweep();
                next_sweep = Instant::now() + self.fold_every;
            }
            let Some(ticket) = self.shared.pop(&mut entries, BATCH_MAX, next_sweep) else {
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
        }
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
        while let Err(error) = self.appender.append(records) {
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
        if failures > 0 {
            m::AUDIT_SPOOL_FAILING.set(&[], 0.0);
            tracing::info!(failures, "the audit spool takes events again");
        }
        self.shared.spool_failing.store(false, Ordering::Release);
        let count = records.len() as u64;
        self.shared.spooled.fetch_add(count, Ordering::AcqRel);
        m::AUDIT_SPOOLED.count(&[], count);
        self.shared.tell(Spooled {
            upto: ticket,
            is_kept: true,
        });
    }
}
