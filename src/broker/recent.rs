//! What a connection remembers of the topics that it published to last.

use std::rc::Rc;
use std::sync::Arc;

use crate::team::{Generation, Matched, Team};

/// Everything that publishing to one topic needs: decided once, good until the routes change.
#[derive(Debug)]
pub(super) struct Known {
    /// As the client wrote it.
    pub(super) written: Box<str>,
    /// With the mount.
    pub(super) topic: Arc<str>,
    /// Whose topic it is.
    pub(super) team: Arc<Team>,
    /// What the grant's decision depended on: [`Grant::generation`](crate::policy::Grant::generation).
    pub(super) granted_under: u64,
    /// The routes that `matched` was made from.
    pub(super) generation: Generation,
    /// Who gets it.
    pub(super) matched: Matched,
}

/// Topics remembered for a connection. A power of two.
const PLACES: usize = 8;

/// The last topics, each in the place that its hash gives it. Owns nothing until first used.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Option<Box<[Option<Rc<Known>>; PLACES]>>,
}

impl Recent {
    /// What is known of a topic. It may be out of date.
    pub(super) fn get(&self, written: &str) -> Option<&Rc<Known>> {
        let known = self.places.as_ref()?[place(written)].as_ref()?;
        (*known.written == *written).then_some(known)
    }

    /// Remembers a topic in place of another.
    pub(super) fn put(&mut self, known: &Rc<Known>) {
        let places = self.places.get_or_insert_default();
        places[place(&known.written)] = Some(Rc::clone(known));
    }
}

/// The last bytes of a topic are those that differ between a publisher's topics.
fn place(topic: &str) -> usize {
    let tail = topic.as_bytes().iter().rev().take(8);
    let hash = tail.fold(topic.len() as u32, |hash, byte| {
        hash.wrapping_mul(31) ^ u32::from(*byte)
    });
    (hash ^ hash >> 7) as usize & (PLACES - 1)
}
