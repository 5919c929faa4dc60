//! The end of the audit that shards hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use parking_lot::{Condvar, Mutex};

use super::fold::{Folded, Folds};
use super::queue::{Entry, Queue, is_refusal};
use super::record::Record;
use crate::broker::Event;
use crate::telemetry::metric as m;

/// Puts events on record. Cheap to clone, never waits, works on any thread.
#[derive(Clone, Debug)]
pub struct AuditSink {
    shared: Arc<Shared>,
}

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// On record once the spool has come to this ticket.
    At(u64),
    /// Counted with others like it.
    Folded,
    /// There was no room: it is in the count of a gap.
    LeftOut,
}

/// How far the spool has come. Those who hold something back until an event is on record are told
/// by the function that [`AuditSink::on_spooled`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Everything up to this ticket is concerned.
    pub upto: u64,
    /// It is on record. `false`: it could not be written, and is tried again.
    pub is_kept: bool,
}

/// So many events are worth a sync of their own.
const ENOUGH: usize = 256;

type Told = Box<dyn Fn(Spooled) + Send + Sync>;

/// What sinks, the spool's thread and the writer share. The locks are held for one entry's
/// bookkeeping, but by the sweep once a second; never both at once.
pub(super) struct Shared {
    folds: Mutex<Folds>,
    queue: Mutex<Queue>,
    /// The queue has what is awaited, or is closed.
    filled: Condvar,
    told: ArcSwapOption<Told>,
    /// When the write to the spool that is under way began, in milliseconds since `begun`, plus one; 0:
    /// none is.
    pub(super) writing_since_ms: AtomicU64,
    pub(super) begun: Instant,
    /// The last try to write the spool failed, or the one under way takes too long.
    pub(super) spool_failing: AtomicBool,
    /// Records that are in the spool, in this run.
    pub(super) spooled: AtomicU64,
    /// Events that the spool's thread has in hand.
    pub(super) in_hand: AtomicU64,
    /// Records that are in their database, of this run and of those before it.
    pub(super) written: AtomicU64,
    /// The last try to write to a database failed.
    pub(super) failing: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl AuditSink {
    pub(super) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                folds: Mutex::new(Folds::new()),
                queue: Mutex::new(Queue::new(events_max, bytes_max)),
                filled: Condvar::new(),
                told: ArcSwapOption::empty(),
                writing_since_ms: AtomicU64::new(0),
                begun: Instant::now(),
                spool_failing: AtomicBool::new(false),
                spooled: AtomicU64::new(0),
                in_hand: AtomicU64::new(0),
                written: AtomicU64::new(0),
                failing: AtomicBool::new(false),
            }),
        }
    }

    /// Puts `event` on record, or counts it: a refusal like others of this second becomes one row
    /// with them, and what finds no room is counted in a gap record of its team.
    pub fn record(&self, event: Box<Event>) -> Kept {
        let at_once = match is_refusal(&event.kind) {
            true => self.shared.folds.lock().admit(event),
            false => Some(event),
        };
        let Some(event) = at_once else {
            return Kept::Folded;
        };
        match self.shared.push(Entry::Event(event)) {
            Some(ticket) => Kept::At(ticket),
            None => Kept::LeftOut,
        }
    }

    /// Puts an administrative change on record that is not made in the database, so that its record
    /// has no transaction to be in.
    pub fn note(&self, record: Record) {
        self.shared.push(Entry::Note(Box::new(record)));
    }

    /// Who is told how far the spool has come. There is one.
    pub fn on_spooled(&self, told: impl Fn(Spooled) + Send + Sync + 'static) {
        self.shared.told.store(Some(Arc::new(Box::new(told))));
    }

    /// Whether the spool cannot be written now.
    pub fn is_failing(&self) -> bool {
        self.shared.spool_failing.load(Ordering::Acquire)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    fn push(&self, entry: Entry) -> Option<u64> {
        let count = entry.count();
        let (ticket, is_awaited) = {
            let mut queue = self.queue.lock();
            (queue.push(entry), queue.has_awaited())
        };
        if ticket.is_none() {
            m::AUDIT_DROPPED.count(&[], count);
        }
        if is_awaited {
            self.filled.notify_one();
        }
        ticket
    }

    /// Queues what was counted since the last call.
    pub(super) fn sweep(&self) {
        let counted = self.folds.lock().sweep();
        self.queue_folded(counted);
    }

    fn queue_folded(&self, counted: Vec<Folded>) {
        for folded in counted {
            m::AUDIT_FOLDED.count(&[], folded.count - 1);
            self.push(Entry::Folded(Box::new(folded)));
        }
    }

    /// No event is taken any more; what was counted so far is queued.
    pub(super) fn close(&self) {
        let counted = self.folds.lock().sweep_all();
        self.queue_folded(counted);
        self.queue.lock().close();
        self.filled.notify_all();
    }

    /// Appends up to `max` entries to `into`, once there are any, and returns the ticket of the last.
    /// Waits until then or until `until`; and until `not_before` while there are few. `None`: the queue
    /// is closed and nothing is left.
    pub(super) fn pop(
        &self,
        into: &mut Vec<Entry>,
        max: usize,
        not_before: Instant,
        until: Instant,
    ) -> Option<u64> {
        let mut queue = self.queue.lock();
        while !queue.is_closed() && queue.len() < ENOUGH {
            let (count, wait_until) = match queue.is_empty() {
                true => (1, until),
                false => (ENOUGH, not_before),
            };
            if Instant::now() >= wait_until {
                break;
            }
            queue.await_entries(count);
            self.filled.wait_until(&mut queue, wait_until);
        }
        queue.pop(into, max);
        let is_over = into.is_empty() && queue.is_closed();
        (!is_over).then(|| queue.popped())
    }

    /// Tells whoever holds something back.
    pub(super) fn tell(&self, spooled: Spooled) {
        if let Some(told) = &*self.told.load() {
            told(spooled);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Events that happened and are neither in the spool nor counted there.
    pub(super) fn waiting(&self) -> u64 {
        let folded = self.folds.lock().waiting();
        folded + self.queue.lock().waiting() + self.in_hand.load(Ordering::Acquire)
    }
}
