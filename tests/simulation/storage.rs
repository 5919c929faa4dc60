//! Where durable state will be taken from the core.
//!
//! At the end of every turn, before anything that the turn led to is seen by a client, the shard is
//! handed over here. Today nothing of it outlives the process, so there is nothing to do. A journal
//! that can lose what it had not yet synced goes here: it keeps what the turn put in it, holds back
//! the acknowledgements that wait for the sync, and on a restart hands back what was synced; the
//! model then has to say what may be gone.

use cofferdam::broker::Shard;
use cofferdam::time::Time;

/// What survives a restart: nothing yet.
pub struct Storage;

impl Storage {
    /// A shard's turn ends.
    pub const fn turn(&mut self, _shard: &mut Shard, _now: Time) {}
}
