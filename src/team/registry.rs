//! Which shard holds which session of one team.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

/// Whose session it is, within a team: a principal never shares a session with another, whatever
/// client ids the two use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The principal's username.
    pub username: Arc<str>,
    /// The client id.
    pub client_id: Arc<str>,
}

/// Where a session lives. A session never moves: a connection that resumes it moves to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionAddress {
    /// The shard.
    pub shard: u16,
    /// Place in the shard's table of sessions.
    pub index: u32,
    /// Which occupant of that place; generations are not used again.
    pub generation: u32,
}

/// The number of a session that is kept beyond a crash. Numbers are not used again, in later runs
/// neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub NonZeroU64);

/// What came of claiming a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There was none; it is the claimer's now.
    New,
    /// There is one, here.
    Held(SessionAddress),
    /// The team has as many sessions as it may.
    Full,
    /// The principal has.
    PrincipalFull,
}

/// The sessions of one team, connected or not. In order, so that all of one principal's are found
/// at once and a walk over the rest can stop anywhere.
#[derive(Debug, Default)]
pub struct Registry {
    places: Mutex<BTreeMap<SessionKey, SessionAddress>>,
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
    /// same key at the same time get one `New` and one `Held`. There are at most `max` sessions, and
    /// `max_own` of one principal.
    pub fn claim(
        &self,
        key: &SessionKey,
        address: SessionAddress,
        max: u32,
        max_own: u32,
    ) -> Claim {
        let mut places = self.places.lock();
        if let Some(&held) = places.get(key) {
            return Claim::Held(held);
        }
        if places.len() >= max as usize {
            return Claim::Full;
        }
        // Whoever has room for all need not count its own.
        if places.len() >= max_own as usize && count_of(&places, key, max_own) >= max_own {
            return Claim::PrincipalFull;
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

    /// The next `count` sessions after the key `after`, in the order of their keys; where `of` is a
    /// username, only that principal's.
    pub fn next(
        &self,
        of: Option<&Arc<str>>,
        after: Option<&SessionKey>,
        count: usize,
    ) -> Vec<(SessionKey, SessionAddress)> {
        let first = of.map(|username| SessionKey {
            username: Arc::clone(username),
            client_id: Arc::default(),
        });
        let begin = match (after, &first) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let places = self.places.lock();
        let rest = places.range((begin, Bound::Unbounded));
        rest.take_while(|(key, _)| of.is_none_or(|username| key.username == *username))
            .take(count)
            .map(|(key, address)| (key.clone(), *address))
            .collect()
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

/// Sessions of the principal of `key`, counted up to `most`.
fn count_of(places: &BTreeMap<SessionKey, SessionAddress>, key: &SessionKey, most: u32) -> u32 {
    let first = SessionKey {
        username: Arc::clone(&key.username),
        client_id: Arc::default(),
    };
    let own = places
        .range(first..)
        .take_while(|(other, _)| other.username == key.username);
    u32::try_from(own.take(most as usize).count()).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(username: &str, client_id: &str) -> SessionKey {
        SessionKey {
            username: Arc::from(username),
            client_id: Arc::from(client_id),
        }
    }

    #[test]
    fn the_sessions_of_one_principal_are_found_in_pieces_and_nobody_elses_with_them() {
        let registry = Registry::default();
        let all = [("a", "z"), ("b", ""), ("b", "1"), ("b", "2"), ("bb", "0")];
        for (username, client_id) in all {
            let claim = registry.claim(&key(username, client_id), SessionAddress::NOBODY, 9, 9);
            assert_eq!(claim, Claim::New);
        }
        let walk = |of: Option<&str>| {
            let of = of.map(Arc::from);
            let mut found: Vec<SessionKey> = Vec::new();
            loop {
                let next = registry.next(of.as_ref(), found.last(), 2);
                if next.is_empty() {
                    return found;
                }
                found.extend(next.into_iter().map(|(key, _)| key));
            }
        };
        assert_eq!(
            walk(Some("b")),
            [key("b", ""), key("b", "1"), key("b", "2")]
        );
        assert_eq!(walk(Some("")), []);
        assert_eq!(walk(None).len(), all.len());
    }
}
