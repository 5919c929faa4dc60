//! A shard is asked something from outside its thread, and answers between two turns.
//!
//! For the control API, which runs on the ordinary runtime. What is asked must be small: the
//! shard's connections wait for it.

use tokio::sync::oneshot;

use super::peers::{Inbound, Peers};
use crate::broker::Shard;
use crate::time::Time;

/// What is done on the shard's thread.
pub(super) type Visit = Box<dyn FnOnce(&mut Shard, Time) + Send>;

/// All shards, for who is none of them. Cheap to clone.
#[derive(Clone)]
pub struct Shards(pub(super) Peers);

impl Shards {
    /// How many there are; the first is 0.
    pub fn count(&self) -> u16 {
        self.0.count()
    }

    /// Runs `visit` on the thread of `shard` and gives what it returns. `None`: the shard has ended.
    pub async fn visit<T: Send + 'static>(
        &self,
        shard: u16,
        visit: impl FnOnce(&mut Shard, Time) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let visit: Visit = Box::new(move |shard, now| {
            // Whoever asked may have gone.
            let _ = answer.send(visit(shard, now));
        });
        self.0.send(shard, Inbound::Visit(visit));
        answered.await.ok()
    }
}
