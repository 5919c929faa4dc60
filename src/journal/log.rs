//! The log's growing end: commits become bytes, bytes are written and synced, segments follow one
//! another. It has no thread and no clock; [`committer`](super::committer) drives it.
//!
//! What is not known to be on disk is kept in memory too, so that it can be written again: where
//! there was no room, to the same place, and where a write or a sync failed, to a new segment. After
//! a failed sync nothing is known of what was written before it, and a second sync that succeeds
//! proves nothing; what the failed segment has from there on does not count.
//!
//! The files of the next segments are made in advance: as long as they are there, the log can grow
//! when the disk is full, which acknowledgements and cleaning need.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Settings;
use super::clean::Cursor;
use super::codec::{self, Envelope, Known, kind};
use super::disk::{self, Disk, DiskFile};
use super::index::{Index, Place};
use super::record;
use super::segment::{self, HEADER, Header};
use crate::fact::{Fact, Highest, Kept, Order};
use crate::team::Message;

/// Files of segments to come that are there in advance.
const SPARES: usize = 2;

/// Most bytes that are not synced, where nobody asks for a sync: they are kept in memory.
const UNSYNCED_MAX: usize = 8 << 20;

/// The log.
pub(super) struct Log {
    pub(super) disk: Box<dyn Disk>,
    pub(super) settings: Settings,
    pub(super) index: Index<Place>,
    /// Where the older segments end.
    pub(super) ends: BTreeMap<u32, u64>,
    pub(super) head: Head,
    /// What is not known to be on disk: the head's bytes from `synced` on.
    pub(super) tail: Vec<u8>,
    pub(super) salt: u32,
    /// Segments that nothing in the log needs any more, once the tail is on disk.
    pub(super) doomed: Vec<u32>,
    pub(super) cursor: Option<Cursor>,
    spares: usize,
    is_full: bool,
    pub(super) counts: Counts,
}

/// The segment that grows.
pub(super) struct Head {
    pub number: u32,
    /// `None`: it is not there yet.
    file: Option<Box<dyn DiskFile>>,
    previous_end: u64,
    base: (Order, Highest),
    /// Up to here it is on disk.
    synced: u64,
    /// Up to here it was handed to the system.
    written: u64,
}

/// What was counted since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Bytes handed to the system.
    pub written: u64,
    /// Of them, carried forward.
    pub carried: u64,
    /// Writes and syncs that failed, those for lack of room left out.
    pub failures: u64,
    /// Messages that were lost to damage while running.
    pub lost: u64,
}

impl Head {
    fn after(number: u32, previous_end: u64, index: &Index<Place>) -> Self {
        let order = Order(index.state.next_order().0 - 1);
        Self {
            number: number + 1,
            file: None,
            previous_end,
            base: (order, index.state.highest),
            synced: HEADER,
            written: HEADER,
        }
    }
}

impl Log {
    /// Goes on in a new segment after those that end there.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        settings: Settings,
        index: Index<Place>,
        ends: BTreeMap<u32, u64>,
        salt: u32,
    ) -> Self {
        let (last, end) = ends
            .last_key_value()
            .map_or((0, 0), |(it, end)| (*it, *end));
        Self {
            head: Head::after(last, end, &index),
            disk,
            settings,
            index,
            ends,
            tail: Vec::new(),
            salt,
            doomed: Vec::new(),
            cursor: None,
            spares: 0,
            is_full: false,
            counts: Counts::default(),
        }
    }

    /// Bytes that its segments have, without what is preallocated.
    pub(super) fn size(&self) -> u64 {
        self.ends.values().sum::<u64>() + self.end()
    }

    /// What is preallocated for a segment: what begins before it has its size may end after it.
    const fn room(&self) -> u64 {
        self.settings.segment_bytes / 8 * 9
    }

    /// Where the head ends.
    pub(super) const fn end(&self) -> u64 {
        self.head.synced + self.tail.len() as u64
    }

    /// Whether new messages are to be refused for lack of room.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether something was appended that is not written, or has to be synced for itself.
    pub(super) fn is_behind(&self) -> bool {
        self.head.written < self.end() || !self.doomed.is_empty() && !self.tail.is_empty()
    }

    /// Appends a commit, and counts it as there.
    pub(super) fn append(&mut self, facts: Vec<Fact>) {
        self.begin();
        let mut last = None;
        for fact in facts {
            last = self.append_fact(fact).or(last);
        }
        if let Some(last) = last {
            record::end_commit(&mut self.tail, self.salt, last);
        }
    }

    /// Everything appended so far is synced: the next bytes begin with saying so.
    pub(super) fn begin(&mut self) {
        if self.tail.is_empty() {
            self.append_record(kind::MARK, true, |out| out.push(0));
        }
    }

    /// Appends a record; its place.
    pub(super) fn append_record(
        &mut self,
        kind: u8,
        ends_commit: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Place {
        let offset = self.end();
        Place {
            segment: self.head.number,
            length: record::append(&mut self.tail, self.salt, kind, ends_commit, write),
            offset,
        }
    }

    /// Appends a fact, if it says anything; where in the tail it begins.
    fn append_fact(&mut self, fact: Fact) -> Option<usize> {
        let start = self.tail.len();
        if let Fact::Cleared(topic, version) = &fact
            && self.index.state.is_outdated(topic, *version)
        {
            return None;
        }
        match fact.without_message() {
            Ok(fact) => {
                let length = record::append_as(&mut self.tail, self.salt, |out| {
                    // It is not the one kind for which there is none.
                    codec::put_fact(out, &fact).unwrap_or_default()
                });
                self.index.apply(fact, self.head.number, length);
            }
            Err(kept) => self.append_kept(*kept),
        }
        (self.tail.len() > start).then_some(start)
    }

    /// Shards race; in the log, what is retained of a topic comes in the order of its versions, so that
    /// it is right from any segment on. A message that is there is not written twice.
    fn append_kept(&mut self, kept: Kept<Arc<Message>>) {
        let Kept {
            number,
            message,
            targets,
            retained,
            receipt,
        } = kept;
        let retained = retained.filter(|(topic, version)| {
            let state = &self.index.state;
            !state.is_outdated(topic, *version)
        });
        if targets.is_empty() && retained.is_none() && receipt.is_none() {
            return;
        }
        if self.index.state.messages.contains_key(&number) {
            let known = Known {
                number,
                targets,
                retained,
                receipt,
            };
            self.append_record(kind::KNOWN, false, |out| codec::put_known(out, &known));
            return self.index.keep_known(known);
        }
        let order = self.index.state.next_order();
        let envelope = Envelope {
            order,
            number,
            targets: &targets,
            sent: &[],
            retained: retained.as_ref(),
            receipt,
        };
        let place = self.append_record(kind::KEPT, false, |out| {
            codec::put_envelope(out, &envelope);
            codec::put_message(out, &message.view());
        });
        let kept = Kept {
            number,
            message: place,
            targets,
            retained,
            receipt,
        };
        self.index.keep(order, kept, &[]);
    }

    /// Writes what was appended and, where asked, makes sure of it. Where it fails, nothing is lost:
    /// the next call tries again.
    ///
    /// # Errors
    /// As the disk says; see [`is_full`](Self::is_full).
    pub(super) fn flush(&mut self, sync: bool) -> io::Result<()> {
        self.write()?;
        if sync || self.tail.len() >= UNSYNCED_MAX || self.end() >= self.settings.segment_bytes {
            self.sync()?;
        }
        if self.end() >= self.settings.segment_bytes {
            self.roll();
        }
        Ok(())
    }

    /// Says that it was ended in order: damage that the next start finds is no torn tail.
    ///
    /// # Errors
    /// As the disk says.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.flush(true)?;
        if self.head.file.is_some() {
            self.begin();
            self.flush(true)?;
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        if self.head.written == self.end() {
            return Ok(());
        }
        if self.head.file.is_none() {
            self.open_head()?;
        }
        let Some(file) = &self.head.file else {
            return Ok(());
        };
        let from = (self.head.written - self.head.synced) as usize;
        let bytes = &self.tail[from..];
        match file.write_at(bytes, self.head.written) {
            Ok(()) => {
                self.counts.written += bytes.len() as u64;
                self.head.written = self.end();
                Ok(())
            }
            Err(error) => {
                if disk::is_full(&error) {
                    // A commit larger than what a segment has room for, or a file system that
                    // cannot promise room.
                    self.give_up_spares();
                } else {
                    self.counts.failures += 1;
                    self.move_on();
                }
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &self.head.file else {
            return Ok(());
        };
        if let Err(error) = file.sync() {
            if disk::is_full(&error) {
                self.give_up_spares();
            } else {
                self.counts.failures += 1;
            }
            self.move_on();
            return Err(error);
        }
        self.head.synced = self.head.written;
        self.tail.clear();
        self.remove_doomed();
        Ok(())
    }

    /// Everything in the head is on disk: another segment begins.
    fn roll(&mut self) {
        let end = self.end();
        let number = self.head.number;
        if let Some(file) = self.head.file.take() {
            // Only to give back what was preallocated: if it fails, that is all that is lost.
            let _ = file.truncate(end);
        }
        self.ends.insert(number, end);
        self.head = Head::after(number, end, &self.index);
        self.provide();
    }

    /// Nothing is known of the head beyond what was synced: that ends there, and the tail belongs to
    /// another segment.
    fn move_on(&mut self) {
        let (number, synced) = (self.head.number, self.head.synced);
        if let Some(file) = self.head.file.take() {
            // What stands there does not count, whether it can be cut off or not.
            let _ = file.truncate(synced);
        }
        self.ends.insert(number, synced);
        self.head = Head::after(number, synced, &self.index);
        self.index.shift(number, synced, number + 1, HEADER);
    }

    /// Makes the head's file, of a spare one where there is one.
    fn open_head(&mut self) -> io::Result<()> {
        let spare = match self.spares {
            0 => {
                let bytes = self.room().max(self.end());
                if let Err(error) = self.disk.create(&spare_name(0), bytes) {
                    self.is_full = true;
                    return Err(error);
                }
                self.spares = 1;
                spare_name(0)
            }
            count => spare_name(count - 1),
        };
        let made = self.name_head(&spare);
        // Used up, or of no use.
        self.spares -= 1;
        match made {
            Ok(file) => {
                self.head.file = Some(file);
                Ok(())
            }
            Err(error) => {
                self.counts.failures += 1;
                let _ = self.disk.remove(&spare);
                Err(error)
            }
        }
    }

    fn name_head(&self, spare: &str) -> io::Result<Box<dyn DiskFile>> {
        let header = Header {
            number: self.head.number,
            salt: self.salt,
            previous_end: self.head.previous_end,
            order: self.head.base.0,
            highest: self.head.base.1,
        };
        let file = self.disk.open(spare)?;
        file.write_at(&header.to_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(spare, &segment::name(self.head.number))?;
        self.disk.sync_names()?;
        Ok(file)
    }

    /// Makes the files of the next segments; whether there is room for all of them.
    pub(super) fn provide(&mut self) -> bool {
        while self.spares < SPARES {
            let made = self.disk.create(&spare_name(self.spares), self.room());
            if let Err(error) = made {
                if !self.is_full {
                    tracing::warn!(%error, "no room for the journal to grow: messages that it would have to keep are refused");
                }
                self.is_full = true;
                return false;
            }
            self.spares += 1;
        }
        if self.is_full {
            tracing::info!("the journal has room again");
        }
        self.is_full = false;
        true
    }

    fn give_up_spares(&mut self) {
        self.is_full = true;
        while self.spares > 0 {
            self.spares -= 1;
            let _ = self.disk.remove(&spare_name(self.spares));
        }
    }

    /// Removes files of segments to come that were left by an earlier run.
    ///
    /// # Errors
    /// As the disk says.
    pub(super) fn remove_old_spares(disk: &dyn Disk) -> io::Result<()> {
        for name in disk.list()? {
            if name.starts_with(SPARE) {
                disk.remove(&name)?;
            }
        }
        disk.sync_names()
    }

    /// Removes what nothing on disk needs any more, one after the other: were a younger one gone
    /// before an older one, what it says is over would be back.
    pub(super) fn remove_doomed(&mut self) {
        while let Some(&number) = self.doomed.first() {
            let name = segment::name(number);
            let removed = match self.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => self.disk.sync_names(),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, file = name, "a file that the journal does not need any more cannot be removed");
                return;
            }
            self.doomed.remove(0);
            self.ends.remove(&number);
            self.index.forget(number);
        }
    }
}

const SPARE: &str = "spare-";

fn spare_name(place: usize) -> String {
    format!("{SPARE}{place}")
}
