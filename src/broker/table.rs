//! A table whose places are used again but whose entries are never mistaken for each other.

use slab::Slab;

/// Entries by index; each carries the generation under which it was put in.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<(u32, T)>,
    next_generation: u32,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            next_generation: 0,
        }
    }

    /// Where the next entry will stand.
    pub(super) fn next_place(&self) -> (u32, u32) {
        (self.entries.vacant_key() as u32, self.next_generation)
    }

    /// Puts `entry` where `next_place` said.
    pub(super) fn insert(&mut self, entry: T) -> (u32, u32) {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        (self.entries.insert((generation, entry)) as u32, generation)
    }

    /// The entry at `index`, if it is still the one of `generation`.
    pub(super) fn get(&self, index: u32, generation: u32) -> Option<&T> {
        let (current, entry) = self.entries.get(index as usize)?;
        (*current == generation).then_some(entry)
    }

    pub(super) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let (current, entry) = self.entries.get_mut(index as usize)?;
        (*current == generation).then_some(entry)
    }

    /// The entry at `index`, whichever it is.
    pub(super) fn at(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize).map(|(_, entry)| entry)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index as usize).map(|(_, entry)| entry)
    }

    /// The entry at `index` with its generation.
    pub(super) fn entry_mut(&mut self, index: u32) -> Option<(u32, &mut T)> {
        self.entries
            .get_mut(index as usize)
            .map(|(generation, entry)| (*generation, entry))
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        self.entries
            .try_remove(index as usize)
            .map(|(_, entry)| entry)
    }

    /// Behind every index that is taken.
    pub(super) fn end(&self) -> u32 {
        self.entries.capacity() as u32
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, (_, entry))| entry)
    }

    /// Index and generation of every entry.
    pub(super) fn places(&self) -> Vec<(u32, u32)> {
        self.entries
            .iter()
            .map(|(index, (generation, _))| (index as u32, *generation))
            .collect()
    }
}
