//! Chains: what makes a record's place and content checkable.
//!
//! A chain is one team's or the platform's. Its records are numbered from 1 without gaps, and each has
//! a hash over its own content and its predecessor's hash. So a record that is altered, left out, put
//! in or moved breaks the chain at its place, and what is cut off at the end falls short of the last
//! signed checkpoint. Pure: no clock, no files, no database. `docs/audit.md` has the encoding.

mod checkpoint;
mod key;
mod verify;

use std::fmt;

use super::record::{Level, Record};

pub use checkpoint::{Checkpoint, Trim};
pub use key::{AuditKey, AuditKeyError, PublicKey};
#[cfg(test)]
pub(super) use verify::Fault;
pub use verify::{Problem, Tally, Verifier};

/// The chain of what is no team's. No team's id begins with `$`.
pub const PLATFORM: &str = "$platform";

/// What a record's hash begins with, so that it is no other message's.
const RECORD: &[u8] = b"cofferdam audit record 1\n";

/// A record's hash. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// A record with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Linked {
    /// Whose: a team's id, or [`PLATFORM`].
    pub chain: String,
    /// Its number, from 1.
    pub number: u64,
    /// Over the predecessor's hash, the place and the content.
    pub hash: Hash,
    /// What happened.
    pub record: Record,
}

/// The last record of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: there is none.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Hash {
    /// What the first record of a chain follows.
    pub const NONE: Self = Self([0; 32]);

    /// From its digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let is_canonical = hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(hex).ok()?;
        is_canonical.then(|| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl Head {
    /// Of a chain without records.
    pub const NONE: Self = Self {
        number: 0,
        hash: Hash::NONE,
    };

    /// The head after this record of `chain`.
    pub fn follow(&self, chain: &str, record: &Record) -> Self {
        let number = self.number + 1;
        let hash = hash(&self.hash, chain, number, record);
        Self { number, hash }
    }
}

/// The chain that a record belongs to.
pub fn chain_of(record: &Record) -> &str {
    match (record.level, &record.team) {
        (Level::Team, Some(team)) => team,
        _ => PLATFORM,
    }
}

fn hash(previous: &Hash, chain: &str, number: u64, record: &Record) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(RECORD).update(&previous.0);
    put(&mut hasher, chain);
    hasher.update(&number.to_be_bytes());
    hasher.update(&record.at.as_micros().to_be_bytes());
    put(&mut hasher, record.level.as_str());
    put(&mut hasher, &record.event);
    let optional = [
        &record.team,
        &record.actor,
        &record.client_id,
        &record.remote,
        &record.listener,
    ];
    for text in optional {
        match text {
            None => drop(hasher.update(&[0])),
            Some(text) => {
                hasher.update(&[1]);
                put(&mut hasher, text);
            }
        }
    }
    put(&mut hasher, &record.detail_text());
    Hash(*hasher.finalize().as_bytes())
}

/// Its length in four bytes, then the text.
fn put(hasher: &mut blake3::Hasher, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    hasher.update(&length.to_be_bytes()).update(text.as_bytes());
}

#[cfg(test)]
mod tests;
