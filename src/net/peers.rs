//! The other shards, as one shard sees them: where to send.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::reactor::Arrival;
use super::recheck::Recheck;
use super::visit::Visit;
use crate::audit::Spooled;
use crate::broker::{Answer, Batch, ConnId, Review, Verdict};
use crate::journal::Told;

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
    /// The journal has kept something, or cannot.
    Told(Told),
    /// Events of this shard are on record, or cannot be put there now.
    Spooled(Spooled),
    /// Somebody asks from outside.
    Visit(Visit),
    /// The broker is stopping.
    Stop,
}

/// All shards, for one of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Peers {
    own: u16,
    inboxes: Arc<[UnboundedSender<Inbound>]>,
}

impl Peers {
    pub(super) fn new(inboxes: Vec<UnboundedSender<Inbound>>) -> Vec<Self> {
        let inboxes: Arc<[_]> = inboxes.into();
        (0..inboxes.len() as u16)
            .map(|own| Self {
                own,
                inboxes: Arc::clone(&inboxes),
            })
            .collect()
    }

    /// How many shards there are.
    pub(super) fn count(&self) -> u16 {
        self.inboxes.len() as u16
    }

    pub(super) fn send_batch(&self, to: u16, batch: Batch) {
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

    /// This shard has caught up with what the others sent: whoever waited for that goes on.
    pub(super) fn resume_all(&self) {
        for shard in 0..self.inboxes.len() as u16 {
            if shard != self.own {
                self.send(shard, Inbound::Resume);
            }
        }
    }
}
