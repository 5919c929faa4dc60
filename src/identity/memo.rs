//! What argon2id has already answered, so that ten thousand devices that reconnect do not each
//! cost twenty milliseconds again.
//!
//! Remembered is a success only, as a hash under a key that lives as long as the process, together
//! with the stored hash that it was checked against: a rotated credential has another stored hash
//! and is checked anew. Nothing in here can be turned back into a password.

use std::collections::HashMap;
use std::mem;

use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;

/// A bounded memory of successes. Two generations: when the younger is full the older is
/// forgotten, and what is asked for moves to the younger. So what is used stays, at constant cost.
#[derive(Debug)]
pub(super) struct Memo {
    key: [u8; 32],
    generations: Mutex<Generations>,
    /// Entries of one generation.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Digest>,
    old: HashMap<Box<str>, Digest>,
}

type Digest = [u8; 32];

impl Memo {
    /// Remembers at most `capacity` usernames.
    pub(super) fn new(key: [u8; 32], capacity: usize) -> Self {
        Self {
            key,
            generations: Mutex::default(),
            capacity: (capacity / 2).max(1),
        }
    }

    /// Whether this password was found to match this stored hash before.
    pub(super) fn knows(&self, username: &str, password: &[u8], stored: &str) -> bool {
        let digest = self.digest(username, password, stored);
        let mut generations = self.generations.lock();
        if let Some(known) = generations.young.get(username) {
            return known.ct_eq(&digest).into();
        }
        let Some((username, known)) = generations.old.remove_entry(username) else {
            return false;
        };
        generations.keep(username, known, self.capacity);
        known.ct_eq(&digest).into()
    }

    /// Remembers that this password matches this stored hash.
    pub(super) fn learn(&self, username: &str, password: &[u8], stored: &str) {
        let digest = self.digest(username, password, stored);
        let mut generations = self.generations.lock();
        generations.old.remove(username);
        generations.keep(username.into(), digest, self.capacity);
    }

    /// Each part with its length before it, so that no two different triples read the same.
    fn digest(&self, username: &str, password: &[u8], stored: &str) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [username.as_bytes(), password, stored.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn keep(&mut self, username: Box<str>, digest: Digest, capacity: usize) {
        if self.young.len() >= capacity && !self.young.contains_key(&username) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(username, digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_against_the_same_stored_hash_is_known() {
        let memo = Memo::new([1; 32], 10);
        memo.learn("alice", b"horse", "$1");
        assert!(memo.knows("alice", b"horse", "$1"));
        assert!(!memo.knows("alice", b"horse", "$2"));
        assert!(!memo.knows("alice", b"Horse", "$1"));
        assert!(!memo.knows("bob", b"horse", "$1"));
        assert!(!memo.knows("alic", b"ehorse", "$1"));

        memo.learn("alice", b"battery", "$2");
        assert!(!memo.knows("alice", b"horse", "$1"));
        assert!(memo.knows("alice", b"battery", "$2"));
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_forgotten() {
        let memo = Memo::new([1; 32], 100);
        memo.learn("daily", b"x", "$");
        memo.learn("once", b"x", "$");
        for other in 0..10_000 {
            memo.learn(&format!("user {other}"), b"x", "$");
            assert!(memo.knows("daily", b"x", "$"), "after {other} others");
            assert!(memo.len() <= 100, "{} entries", memo.len());
        }
        assert!(!memo.knows("once", b"x", "$"));
        assert!(memo.knows("user 9999", b"x", "$"));
    }
}
