//! From the spool to one database: a task that takes what is there, in order, in batches, exactly once, and
//! tries again while the database is away.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::watch;

use super::chain::AuditKey;
use super::pseudonym::Pseudonyms;
use super::record::Record;
use super::regions::{Regions, Store};
use super::sink::Shared;
use super::spool::{Found, Place, Spool};
use super::store::{Keyed, find_teams, insert, take};
use super::upkeep::{Witness, link_old, remove_old, sign_heads};
use super::writer::Settings;
use crate::database::{Database, DatabaseError, Part};
use crate::telemetry::metric as m;
use crate::time::Time;

/// How often it is looked whether something is too old to be kept.
const REMOVE_EVERY: Duration = Duration::from_secs(3_600);

/// How far the spool is taken by one carrier.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Records that were read and are in their database, whoever wrote them.
    pub(super) taken: AtomicU64,
}

/// What a carrier is made of.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) regions: Regions,
    /// Where it stands which team a username belongs to.
    pub(super) accounts: Database,
    pub(super) witness: PathBuf,
    pub(super) spool: Spool,
    pub(super) run: i64,
    pub(super) found: Found,
    pub(super) key: AuditKey,
    pub(super) shared: Arc<Shared>,
    pub(super) progress: Arc<Progress>,
    pub(super) settings: Settings,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Takes records from the spool to one database.
pub(super) struct Carrier {
    database: Database,
    region: Option<Arc<str>>,
    regions: Regions,
    accounts: Database,
    grown: watch::Receiver<()>,
    spool: Spool,
    cursor: usize,
    place: Place,
    /// The run that this broker writes.
    run: i64,
    /// What was found at the start, and how much of it was new to the database so far; until it is
    /// all there.
    recovery: Option<(Found, u64)>,
    key: AuditKey,
    /// To find whose a refused login was.
    pseudonyms: Option<Pseudonyms>,
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
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            store,
            regions,
            accounts,
            witness,
            spool,
            run,
            found,
            key,
            shared,
            progress,
            settings,
            stopping,
        } = parts;
        Self {
            database: store.database,
            region: store.region,
            regions,
            accounts,
            grown: spool.listen(),
            cursor: spool.cursor(),
            place: Place::default(),
            spool,
            run,
            recovery: Some((found, 0)),
            pseudonyms: Pseudonyms::of(&key, settings.personal),
            key,
            witness: Witness::open(witness),
            shared,
            progress,
            stopping,
            parts: HashSet::new(),
            next_signing: Instant::now() + settings.checkpoint_every,
            next_removal: Instant::now(),
            settings,
        }
    }

    pub(super) async fn run(mut self) {
        let mut tries = Tries::new(&self);
        loop {
            match self.prepare().await {
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

    /// A region's database may have been away at the start, and its tables be of an older version.
    async fn prepare(&self) -> Result<(), DatabaseError> {
        if self.region.is_some() {
            self.database.migrate().await?;
        }
        link_old(&self.database).await
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
            let record = record.ok()?;
            Some(Keyed {
                run: spooled.run,
                number: spooled.number,
                is_ours: self.regions.of(&record) == self.region.as_ref(),
                record,
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
            _ = self.grown.changed(), if for_first => {}
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
        let here = |team: &str| self.regions.of_team(team) == self.region.as_ref();
        let names = self.pseudonyms.as_ref();
        find_teams(&self.accounts, batch, names, here).await?;
        let mut transaction = self.database.begin().await?;
        let written = take(&mut transaction, batch).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// The month of each record has a part of the table. Without it they go among the rest.
    async fn make_parts(&mut self, batch: &[Keyed]) {
        let ours = batch.iter().filter(|keyed| keyed.is_ours);
        let months = ours.filter_map(|keyed| {
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
        // What was cut or damaged is said once, where the operator looks.
        let is_harmed = found.cut_bytes > 0 || found.damaged > 0;
        if records == 0 && (self.region.is_some() || !is_harmed) {
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
