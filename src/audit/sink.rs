//! The end of the audit that shards hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::fold::Folds;
use super::queue::{Entry, Queue, is_refusal};
use super::record::Record;
use crate::broker::Event;
use crate::telemetry::metric as m;

/// Puts events on record. Cheap to clone, never waits, works on any thread.
#[derive(Clone, Debug)]
pub struct AuditSink {
    shared: Arc<Shared>,
}

/// What sinks and writer share. The locks are held for one entry's bookkeeping, but by the sweep
/// once a second; never both at once.
#[derive(Debug)]
pub(super) struct Shared {
    folds: Mutex<Folds>,
    queue: Mutex<Queue>,
    /// The queue is no longer empty, or has a batch.
    filled: Notify,
    batch_max: usize,
    /// Rows that are in the database.
    pub(super) written: AtomicU64,
    /// Events of the batch that the writer has in hand.
    pub(super) in_hand: AtomicU64,
    /// The last try to write failed.
    pub(super) failing: AtomicBool,
}

impl AuditSink {
    pub(super) fn new(events_max: usize, bytes_max: usize, batch_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                folds: Mutex::new(Folds::new()),
                queue: Mutex::new(Queue::new(events_max, bytes_max)),
                filled: Notify::new(),
                batch_max,
                written: AtomicU64::new(0),
                in_hand: AtomicU64::new(0),
                failing: AtomicBool::new(false),
            }),
        }
    }

    /// Puts `event` on record, or counts it: a refusal like others of this second becomes one row
    /// with them, and what finds no room is counted in a gap record of its team.
    pub fn record(&self, event: Box<Event>) {
        let at_once = match is_refusal(&event.kind) {
            true => self.shared.folds.lock().admit(event),
            false => Some(event),
        };
        if let Some(event) = at_once {
            self.shared.push(Entry::Event(event));
        }
    }

    /// Puts an administrative change on record that is not made in the database, so that its record
    /// has no transaction to be in.
    pub fn note(&self, record: Record) {
        self.shared.push(Entry::Note(Box::new(record)));
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    fn push(&self, entry: Entry) {
        let count = entry.count();
        let (has_room, length) = {
            let mut queue = self.queue.lock();
            (queue.push(entry), queue.len())
        };
        if !has_room {
            m::AUDIT_DROPPED.count(&[], count);
        }
        // Where a gap came before it, the first makes two.
        if length <= 2 || length == self.batch_max || length == self.batch_max + 1 {
            self.filled.notify_one();
        }
    }

    /// Queues what was counted since the last call.
    pub(super) fn sweep(&self) {
        let counted = self.folds.lock().sweep();
        for folded in counted {
            m::AUDIT_FOLDED.count(&[], folded.count - 1);
            self.push(Entry::Folded(Box::new(folded)));
        }
    }

    /// No event is taken any more; what was counted so far is queued.
    pub(super) fn close(&self) {
        self.sweep();
        self.queue.lock().close();
    }

    /// Waits until there may be more in the queue.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn pop(&self, into: &mut Vec<Entry>, max: usize) {
        self.queue.lock().pop(into, max);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.lock().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// Events that happened and are neither on record nor counted there.
    pub(super) fn waiting(&self) -> u64 {
        let folded = self.folds.lock().waiting();
        folded + self.queue.lock().waiting() + self.in_hand.load(Ordering::Acquire)
    }
}
