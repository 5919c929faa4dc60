//! The other shards, as one shard sees them: where to send, and whether they keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::reactor::Arrival;
use super::recheck::Recheck;
use super::visit::Visit;
use crate::audit::Spooled;
use crate::broker::{Answer, Batch, ConnId, Fed, Review, Verdict};

/// What reaches a shard from outside its own thread.
pub(super) enum Inbound {
    /// A login was judged.
    Judged(ConnId, Verdict),
    /// What a client of this shard may do was asked, and this is the answer.
    Answered(u64, Answer),
    /// Another shard's turn had this for sessions here.
    Batch(Batch),
    /// A connection whose session lives here.
    Arrival(Box<Arrival>),
    /// A listener's client certificates are checked by other files from now on.
    Recheck(Recheck),
    /// Something has changed: those whom it concerns are to be judged anew.
    Review(Arc<Review>),
    /// A shard that was behind has caught up.
    Resume,
    /// Events of this shard are on record, or cannot be put there now.
    Spooled(Spooled),
    /// Somebody asks from outside.
    Visit(Visit),
    /// The broker is stopping.
    Stop,
}

/// Deliveries that may wait for a shard before the others stop reading publishers, and below which
/// they begin again. They bound what is on its way between shards; batches themselves are never
/// refused.
const BEHIND: usize = 32_768;
const CAUGHT_UP: usize = 8_192;

/// All shards, for one of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Peers {
    own: u16,
    inboxes: Arc<[UnboundedSender<Inbound>]>,
    /// Deliveries on their way to each shard.
    backlog: Arc<[AtomicUsize]>,
}

impl Peers {
    pub(super) fn new(inboxes: Vec<UnboundedSender<Inbound>>) -> Vec<Self> {
        let backlog: Arc<[AtomicUsize]> = inboxes.iter().map(|_| AtomicUsize::new(0)).collect();
        let inboxes: Arc<[_]> = inboxes.into();
        (0..inboxes.len() as u16)
            .map(|own| Self {
                own,
                inboxes: Arc::clone(&inboxes),
                backlog: Arc::clone(&backlog),
            })
            .collect()
    }

    /// How many shards there are.
    pub(super) fn count(&self) -> u16 {
        self.inboxes.len() as u16
    }

    /// Whether one of these shards has too much waiting for it.
    pub(super) fn are_behind(&self, fed: Fed) -> bool {
        let waiting = |(shard, backlog): (usize, &AtomicUsize)| {
            fed.has(shard as u16) && backlog.load(Ordering::Relaxed) > BEHIND
        };
        self.backlog.iter().enumerate().any(waiting)
    }

    /// Whether any other shard has too much waiting for it.
    pub(super) fn any_is_behind(&self) -> bool {
        let waiting = |(shard, backlog): (usize, &AtomicUsize)| {
            shard != usize::from(self.own) && backlog.load(Ordering::Relaxed) > BEHIND
        };
        self.backlog.iter().enumerate().any(waiting)
    }

    pub(super) fn send_batch(&self, to: u16, batch: Batch) {
        self.backlog[usize::from(to)].fetch_add(batch.len(), Ordering::Relaxed);
        self.send(to, Inbound::Batch(batch));
    }

    pub(super) fn send_arrival(&self, to: u16, arrival: Arrival) {
        self.send(to, Inbound::Arrival(Box::new(arrival)));
    }

    /// All shards ask again about the certificates of a listener's clients.
    pub(super) fn recheck(&self, recheck: &Recheck) {
        for shard in 0..self.inboxes.len() as u16 {
            self.send(shard, Inbound::Recheck(recheck.clone()));
        }
    }

    pub(super) fn send(&self, to: u16, inbound: Inbound) {
        // A shard that has ended needs nothing any more.
        let _ = self.inboxes[usize::from(to)].send(inbound);
    }

    pub(super) fn send_to_all(&self, inbound: impl Fn() -> Inbound) {
        for shard in 0..self.inboxes.len() as u16 {
            self.send(shard, inbound());
        }
    }

    /// This shard has delivered a batch. Whoever waited for it goes on.
    pub(super) fn delivered(&self, batch: &Batch) {
        let before = self.backlog[usize::from(self.own)].fetch_sub(batch.len(), Ordering::Relaxed);
        if before > CAUGHT_UP && before - batch.len() <= CAUGHT_UP {
            for shard in 0..self.inboxes.len() as u16 {
                if shard != self.own {
                    self.send(shard, Inbound::Resume);
                }
            }
        }
    }
}
