//! Which shard holds which session of one team.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Whose session it is, within a team: a principal never shares a session with another, whatever
/// client ids the two use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// The principal's username.
    pub username: Arc<str>,
    /// The client id.
    pub client_id: Arc<str>,
}

/// Where a session lives. A session never moves: a connection that resumes it moves to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionAddress {
    /// The shard.
    pub shard: u16,
    /// Place in the shard's table of sessions.
    pub index: u32,
    /// Which occupant of that place; generations are not used again.
    pub generation: u32,
}

/// What came of claiming a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There was none; it is the claimer's now.
    New,
    /// There is one, here.
    Held(SessionAddress),
    /// The team has as many sessions as it may.
    Full,
}

/// The sessions of one team, connected or not.
#[derive(Debug, Default)]
pub struct Registry {
    places: Mutex<HashMap<SessionKey, SessionAddress, foldhash::fast::RandomState>>,
}

impl SessionAddress {
    /// The address of nobody: no session has it.
    pub const NOBODY: Self = Self {
        shard: u16::MAX,
        index: u32::MAX,
        generation: u32::MAX,
    };
}

impl Registry {
    /// Takes `key` for the session at `address` unless another holds it. Two shards that claim the
    /// same key at the same time get one `New` and one `Held`.
    pub fn claim(&self, key: &SessionKey, address: SessionAddress, max: u32) -> Claim {
        let mut places = self.places.lock();
        if let Some(&held) = places.get(key) {
            return Claim::Held(held);
        }
        if places.len() >= max as usize {
            return Claim::Full;
        }
        places.insert(key.clone(), address);
        Claim::New
    }

    /// Gives `key` up, if `address` still holds it.
    pub fn release(&self, key: &SessionKey, address: SessionAddress) {
        let mut places = self.places.lock();
        if places.get(key) == Some(&address) {
            places.remove(key);
        }
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.places.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
