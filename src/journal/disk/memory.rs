//! A folder in memory, for tests and simulations: at a crash it loses and tears what was not synced,
//! as a seed says; it can be full, and its syncs can fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Disk, DiskFile};

/// What is written as a whole or not at all.
const SECTOR: usize = 512;

/// The folder. Clones are the same one.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: Vec<Content>,
    /// As programs see them.
    names: BTreeMap<String, usize>,
    /// As they were when they were last synced.
    synced_names: BTreeMap<String, usize>,
    /// What happened to them since, in order: names, and the files that they are from then on.
    changes: Vec<Vec<(String, Option<usize>)>>,
    /// Files that were opened before the last crash are dead.
    life: u64,
    capacity: Option<u64>,
    failing_syncs: usize,
    failing_writes: usize,
    /// Changes until the power fails.
    changes_left: Option<usize>,
    syncs: u64,
}

#[derive(Default)]
struct Content {
    /// As programs see it.
    seen: Vec<u8>,
    /// What outlives a crash.
    synced: Vec<u8>,
    /// Writes and cuts since, in order.
    unsynced: Vec<Change>,
    /// Room that was taken.
    reserved: u64,
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

struct Open {
    disk: Memory,
    file: usize,
    life: u64,
}

impl Memory {
    /// Power fails, and comes back. What was not synced is lost, kept or torn, as the seed says.
    pub fn crash(&self, seed: u64) {
        let mut disk = self.0.lock();
        let disk = &mut *disk;
        let mut random = seed;
        disk.life += 1;
        disk.failing_syncs = 0;
        disk.failing_writes = 0;
        disk.changes_left = None;
        // A journalling file system keeps a beginning of what was done to names.
        let kept = below(&mut random, disk.changes.len() + 1);
        for (name, file) in disk.changes.drain(..).take(kept).flatten() {
            set(&mut disk.synced_names, name, file);
        }
        disk.names.clone_from(&disk.synced_names);
        for content in &mut disk.files {
            content.crash(&mut random);
        }
    }

    /// How many bytes there is room for; `None`: for any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// The next so many syncs of files fail, and what they were to make sure of is lost at the next
    /// crash, whatever is synced later.
    pub fn fail_syncs(&self, count: usize) {
        self.0.lock().failing_syncs = count;
    }

    /// The next so many writes fail, after a part of them.
    pub fn fail_writes(&self, count: usize) {
        self.0.lock().failing_writes = count;
    }

    /// After so many changes more, whatever is asked of it fails until the next crash.
    pub fn lose_power_after(&self, changes: usize) {
        self.0.lock().changes_left = Some(changes);
    }

    /// How many files were synced so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Bytes that its files take up.
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// What stands in a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.0.lock();
        let file = disk.names.get(name)?;
        Some(disk.files[*file].seen.clone())
    }

    /// Puts this in a file, as if it had always stood there.
    pub fn set_content(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.0.lock();
        let file = disk.files.len();
        disk.files.push(Content {
            reserved: bytes.len() as u64,
            seen: bytes.clone(),
            synced: bytes,
            unsynced: Vec::new(),
        });
        disk.names.insert(name.to_owned(), file);
        disk.synced_names.insert(name.to_owned(), file);
    }
}

impl Inner {
    fn used(&self) -> u64 {
        let sizes = self.names.values().map(|file| self.files[*file].size());
        sizes.sum()
    }

    fn has_room_for(&self, bytes: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used() + bytes > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Something is about to change.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let file = self.names.get(name).copied();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All of it happens, or nothing.
    fn change(&mut self, names: &[(&str, Option<usize>)]) {
        let change = names.iter().map(|(name, file)| ((*name).to_owned(), *file));
        self.changes.push(change.clone().collect());
        for (name, file) in change {
            set(&mut self.names, name, file);
        }
    }
}

fn set(names: &mut BTreeMap<String, usize>, name: String, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name, file),
        None => names.remove(&name),
    };
}

impl Content {
    fn size(&self) -> u64 {
        self.reserved.max(self.seen.len() as u64)
    }

    fn crash(&mut self, random: &mut u64) {
        let mut after = std::mem::take(&mut self.synced);
        // Often nothing was lost, for the system had written it all by itself.
        let is_whole = below(random, 4) == 0;
        for change in self.unsynced.drain(..) {
            match change {
                Change::Truncate(length) => after.resize(length as usize, 0),
                Change::Write(offset, bytes) => {
                    for (place, sector) in sectors(offset, &bytes) {
                        if is_whole || below(random, 2) == 0 {
                            put(&mut after, place, sector);
                        }
                    }
                }
            }
        }
        self.seen.clone_from(&after);
        self.synced = after;
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut disk = self.0.lock();
        disk.spend()?;
        disk.has_room_for(bytes)?;
        let file = disk.files.len();
        disk.files.push(Content {
            seen: vec![0; bytes as usize],
            synced: vec![0; bytes as usize],
            unsynced: Vec::new(),
            reserved: bytes,
        });
        disk.change(&[(name, Some(file))]);
        let life = disk.life;
        drop(disk);
        let disk = self.clone();
        Ok(Box::new(Open { disk, file, life }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let disk = self.0.lock();
        let file = disk.find(name)?;
        let life = disk.life;
        drop(disk);
        let disk = self.clone();
        Ok(Box::new(Open { disk, file, life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.spend()?;
        let file = disk.find(from)?;
        disk.change(&[(from, None), (to, Some(file))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.spend()?;
        disk.find(name)?;
        disk.change(&[(name, None)]);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.spend()?;
        disk.changes.clear();
        disk.synced_names = disk.names.clone();
        Ok(())
    }
}

impl Open {
    /// The folder, where it has not crashed since.
    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let disk = self.disk.0.lock();
        match disk.life == self.life {
            true => Ok(disk),
            false => Err(io::Error::other("opened before a crash")),
        }
    }
}

impl DiskFile for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.alive()?.files[self.file].seen.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.alive()?;
        let seen = &disk.files[self.file].seen;
        let from = seen.get(offset as usize..).unwrap_or_default();
        let length = from.len().min(into.len());
        into[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.spend()?;
        let size = disk.files[self.file].size();
        disk.has_room_for((offset + bytes.len() as u64).saturating_sub(size))?;
        let fails = disk.failing_writes > 0;
        let bytes = match fails {
            true => &bytes[..bytes.len() / 2],
            false => bytes,
        };
        disk.failing_writes -= usize::from(fails);
        let content = &mut disk.files[self.file];
        put(&mut content.seen, offset as usize, bytes);
        content.unsynced.push(Change::Write(offset, bytes.to_vec()));
        match fails {
            true => Err(io::Error::other("this write was to fail")),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.spend()?;
        let fails = disk.failing_syncs > 0;
        disk.failing_syncs -= usize::from(fails);
        disk.syncs += 1;
        let content = &mut disk.files[self.file];
        let unsynced = std::mem::take(&mut content.unsynced);
        if fails {
            // Still seen, and never on disk: as Linux has it.
            return Err(io::Error::other("this sync was to fail"));
        }
        for change in unsynced {
            match change {
                Change::Write(offset, bytes) => put(&mut content.synced, offset as usize, &bytes),
                Change::Truncate(length) => content.synced.resize(length as usize, 0),
            }
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.spend()?;
        let content = &mut disk.files[self.file];
        content.seen.resize(length as usize, 0);
        content.reserved = content.reserved.min(length);
        content.unsynced.push(Change::Truncate(length));
        Ok(())
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

/// The parts of a write that lie in one sector each, with their places.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut parts = Vec::new();
    let (mut place, mut rest) = (offset as usize, bytes);
    while !rest.is_empty() {
        let length = (SECTOR - place % SECTOR).min(rest.len());
        let (part, after) = rest.split_at(length);
        parts.push((place, part));
        place += length;
        rest = after;
    }
    parts
}

/// A number below `count` (splitmix64, Steele, Lea and Flood 2014).
fn below(state: &mut u64, count: usize) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % count as u64) as usize
}
