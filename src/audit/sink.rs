//! The end of the audit that shards hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::record::Record;
use crate::broker::{Event, EventKind, Who};
use crate::telemetry::metric as m;
use crate::time::Time;

/// Puts events on record. Cheap to clone, never waits, works on any thread.
#[derive(Clone, Debug)]
pub struct AuditSink {
    shared: Arc<Shared>,
}

/// What sinks and writer share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: mpsc::Sender<Entry>,
    /// Bytes of text in the queue.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Whether `gap` holds anything; so that the lock is for bad times only.
    gap_open: AtomicBool,
    gap: Mutex<Gap>,
}

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Box<Event>),
    Gap(Gap),
}

/// Events that had to be left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gap {
    count: u64,
    first: Time,
    last: Time,
}

impl AuditSink {
    pub(super) fn new(queue: mpsc::Sender<Entry>, bytes_max: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue,
                bytes: AtomicUsize::new(0),
                bytes_max,
                gap_open: AtomicBool::new(false),
                gap: Mutex::default(),
            }),
        }
    }

    /// Puts `event` on record, or counts it where the queue is full; then the count goes on record
    /// in its place as soon as there is room.
    pub fn record(&self, event: Box<Event>) {
        let shared = &self.shared;
        let (at, weight) = (event.at, weight(&event));
        if shared.gap_open.load(Ordering::Acquire) && !shared.close_gap() {
            return shared.leave_out(at);
        }
        let held = shared.bytes.fetch_add(weight, Ordering::Relaxed);
        if held + weight > shared.bytes_max || shared.queue.try_send(Entry::Event(event)).is_err() {
            shared.bytes.fetch_sub(weight, Ordering::Relaxed);
            shared.leave_out(at);
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    fn leave_out(&self, at: Time) {
        let mut gap = self.gap.lock();
        if gap.count == 0 {
            (gap.first, gap.last) = (at, at);
        }
        gap.count += 1;
        gap.first = gap.first.min(at);
        gap.last = gap.last.max(at);
        self.gap_open.store(true, Ordering::Release);
        m::AUDIT_DROPPED.count(&[], 1);
    }

    /// Queues the count of what was left out, before whatever comes next. `false`: still no room.
    fn close_gap(&self) -> bool {
        let mut gap = self.gap.lock();
        if gap.count > 0 && self.queue.try_send(Entry::Gap(*gap)).is_err() {
            return false;
        }
        *gap = Gap::default();
        self.gap_open.store(false, Ordering::Release);
        true
    }

    /// The writer, with an empty queue, takes the count itself: perhaps no event comes any more.
    pub(super) fn take_gap(&self) -> Option<Gap> {
        let mut gap = self.gap.lock();
        self.gap_open.store(false, Ordering::Release);
        Some(std::mem::take(&mut *gap)).filter(|gap| gap.count > 0)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// The record of what was queued; its bytes no longer count.
    pub(super) fn unpack(&self, entry: Entry) -> Record {
        match entry {
            Entry::Event(event) => {
                self.bytes.fetch_sub(weight(&event), Ordering::Relaxed);
                Record::from(&*event)
            }
            Entry::Gap(gap) => gap.into(),
        }
    }
}

impl From<Gap> for Record {
    fn from(gap: Gap) -> Self {
        Self::gap(gap.count, gap.first, gap.last)
    }
}

/// The texts of an event, in bytes; the event itself is small and bounded by the queue's length.
fn weight(event: &Event) -> usize {
    let Who {
        username,
        client_id,
        ..
    } = &event.who;
    let text = match &event.kind {
        EventKind::PublishRefused { topic, .. } => topic.len(),
        EventKind::SubscribeRefused { filter, .. } => filter.len(),
        _ => 0,
    };
    username.as_ref().map_or(0, |it| it.len()) + client_id.as_ref().map_or(0, |it| it.len()) + text
}
