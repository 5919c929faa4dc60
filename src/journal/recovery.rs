//! Reading everything back: the segments from the oldest to the newest, each once.
//!
//! Only the newest segment can end in the middle of something: each is synced before the next begins,
//! and the next says where it ended. In the newest, marks say how far it was on disk: what is wrong
//! before that is damage, what is wrong after it is the torn tail of a write that nobody was told of.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::bytes::Malformed;
use super::codec::{self, Entry};
use super::disk::{Disk, DiskFile};
use super::error::JournalError;
use super::index::{Index, Place, Placed};
use super::record::{Piece, Record, Walk};
use super::segment::{self, HEADER, Header, Unreadable};
use crate::fact::Kept;
use crate::team::{Message, SessionNumber};

/// What was read back, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that were read.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Sessions that there are.
    pub sessions: usize,
    /// Messages that there are: queued, in flight or retained.
    pub messages: usize,
    /// What was cut off the end: bytes of a write that was under way when the broker was stopped, and
    /// of which nobody had been told that it was kept.
    pub torn: Option<Damage>,
    /// What could not be read, and was passed over.
    pub damaged: Vec<Damage>,
    /// Files that should be there and are not.
    pub missing: Vec<String>,
}

/// Bytes that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// The name of the file that has them now, beside the other; `None` where nothing is lost with
    /// them, or they could not be written there.
    pub kept_in: Option<String>,
}

/// How far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were read.
    pub bytes: u64,
    /// Of so many.
    pub of: u64,
    /// Messages that there are so far.
    pub messages: usize,
}

/// Everything that there is.
pub(super) struct ReadBack {
    pub index: Index<Loaded>,
    pub report: Recovery,
    /// Where each segment ends.
    pub ends: BTreeMap<u32, u64>,
    /// `None`: there is no segment that says it.
    pub salt: Option<u32>,
    /// Sessions of which it never says what they are, and which are over therefore: what said it was
    /// lost with the crash.
    pub unknown: Vec<SessionNumber>,
}

/// A message and where its record is.
#[derive(Debug)]
pub(super) struct Loaded {
    pub message: Arc<Message>,
    pub place: Place,
}

impl Placed for Loaded {
    fn place(&self) -> Place {
        self.place
    }
}

/// A segment's file.
pub(super) struct Found {
    pub number: u32,
    pub file: Box<dyn DiskFile>,
    pub length: u64,
    /// `None`: it is damaged.
    pub header: Option<Header>,
}

/// Reads everything.
pub(super) fn read_back(
    disk: &dyn Disk,
    progress: &mut dyn FnMut(Progress),
) -> Result<ReadBack, JournalError> {
    let found = find(disk)?;
    let mut reading = Reading {
        disk,
        salt: found.iter().find_map(|it| it.header).map(|it| it.salt),
        index: Index::default(),
        report: Recovery::default(),
    };
    let of = found.iter().map(|it| it.length).sum();
    let mut ends = BTreeMap::new();
    for (place, it) in found.iter().enumerate() {
        let next = found.get(place + 1);
        if let Some(next) = next {
            let gap = it.number + 1..next.number;
            reading.report.missing.extend(gap.map(segment::name));
        }
        let end = next
            .filter(|next| next.number == it.number + 1)
            .and_then(|next| next.header)
            .map(|header| header.previous_end);
        let end = reading.segment(it, end, next.is_none())?;
        ends.insert(it.number, end);
        reading.report.bytes += it.length;
        reading.report.segments += 1;
        progress(Progress {
            bytes: reading.report.bytes,
            of,
            messages: reading.index.state.messages.len(),
        });
    }
    let unknown = reading.index.settle();
    let Reading {
        salt,
        index,
        mut report,
        ..
    } = reading;
    report.sessions = index.state.sessions.len();
    report.messages = index.state.messages.len();
    Ok(ReadBack {
        index,
        report,
        ends,
        salt,
        unknown,
    })
}

/// All segments in order, with their headers. A newer version is refused before anything is read.
pub(super) fn find(disk: &dyn Disk) -> Result<Vec<Found>, JournalError> {
    let mut found = Vec::new();
    for number in numbers(disk)? {
        let name = segment::name(number);
        let file = disk.open(&name).map_err(failed("open", &name))?;
        let length = file.length().map_err(failed("measure", &name))?;
        let mut start = [0; HEADER as usize];
        let read = file.read_at(&mut start, 0).map_err(failed("read", &name))?;
        let header = match Header::read(&start[..read]) {
            Ok(header) => Some(header).filter(|it| it.number == number),
            Err(Unreadable::Damaged) => None,
            Err(Unreadable::Newer(version)) => {
                return Err(JournalError::Newer {
                    file: name,
                    version,
                    newest: segment::VERSION,
                });
            }
        };
        found.push(Found {
            number,
            file,
            length,
            header,
        });
    }
    Ok(found)
}

/// The numbers of all segments, in order.
pub(super) fn numbers(disk: &dyn Disk) -> Result<Vec<u32>, JournalError> {
    let names = disk.list().map_err(failed("list", "directory"))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|it| segment::number(it)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// An error of the disk's.
pub(super) fn failed(
    what: &'static str,
    name: &str,
) -> impl FnOnce(io::Error) -> JournalError + use<> {
    let name = name.to_owned();
    move |source| JournalError::Io { what, name, source }
}

struct Reading<'a> {
    disk: &'a dyn Disk,
    salt: Option<u32>,
    index: Index<Loaded>,
    report: Recovery,
}

impl Reading<'_> {
    /// Reads a segment; where it ends.
    fn segment(
        &mut self,
        it: &Found,
        end: Option<u64>,
        is_newest: bool,
    ) -> Result<u64, JournalError> {
        let name = segment::name(it.number);
        let stated = end.unwrap_or(it.length);
        let mut bytes = vec![0; stated.min(it.length) as usize];
        let read = it.file.read_at(&mut bytes, 0);
        let read = read.map_err(failed("read", &name))?;
        bytes.truncate(read);
        if stated > read as u64 {
            self.lose(&name, &bytes, read..stated as usize);
        }
        match it.header {
            Some(header) => self.index.state.advance(header.order, header.highest),
            None => self.lose(&name, &bytes, 0..read.min(HEADER as usize)),
        }
        let Some(salt) = self.salt else {
            self.lose(&name, &bytes, HEADER as usize..read);
            return Ok(read as u64);
        };
        let end = match is_newest {
            false => read,
            true => {
                let tail = tail(&bytes, salt);
                if tail.torn > 0 {
                    let torn = tail.end..tail.end + tail.torn;
                    let damage = self.damage(&name, &bytes, torn, tail.goes_on);
                    self.report.torn = Some(damage);
                }
                self.secure(it, &name, tail.end as u64)?;
                tail.end
            }
        };
        self.records(it.number, &name, &bytes[..end], salt);
        Ok(end as u64)
    }

    /// What was read of the newest segment may be in memory only: what is built on it must not be
    /// surer than it is itself.
    fn secure(&self, it: &Found, name: &str, end: u64) -> Result<(), JournalError> {
        it.file.truncate(end).map_err(failed("cut", name))?;
        it.file.sync().map_err(failed("sync", name))
    }

    fn records(&mut self, number: u32, name: &str, bytes: &[u8], salt: u32) {
        for piece in Walk::new(bytes, salt, HEADER as usize) {
            let lost = match piece {
                Piece::Damaged(range) => Some(range),
                Piece::Record(record) => self
                    .record(number, bytes, &record)
                    .err()
                    .map(|Malformed| record.start..record.body.end),
            };
            if let Some(range) = lost {
                self.lose(name, bytes, range);
            }
        }
    }

    fn record(&mut self, segment: u32, bytes: &[u8], record: &Record) -> Result<(), Malformed> {
        let length = (record.body.end - record.start) as u32;
        match codec::read(record.kind, &bytes[record.body.clone()])? {
            Entry::Fact(fact) => {
                // Read, it is never the one kind that has a message in it.
                let fact = fact.without_message().map_err(|_| Malformed)?;
                self.index.apply(fact, segment, length);
            }
            Entry::Kept(order, kept, sent) => {
                let place = Place {
                    segment,
                    length,
                    offset: record.start as u64,
                };
                let Kept {
                    number,
                    message,
                    targets,
                    retained,
                    receipt,
                } = kept;
                let kept = Kept {
                    number,
                    message: Loaded {
                        message: Arc::new(message),
                        place,
                    },
                    targets,
                    retained,
                    receipt,
                };
                self.index.keep(order, kept, &sent);
            }
            Entry::Known(known) => self.index.keep_known(known),
            Entry::Carried(number, session) => {
                self.index.restore(number, *session, segment, length);
            }
            Entry::Mark(_) => {}
        }
        Ok(())
    }

    fn lose(&mut self, name: &str, bytes: &[u8], range: Range<usize>) {
        if !range.is_empty() {
            let damage = self.damage(name, bytes, range, true);
            self.report.damaged.push(damage);
        }
    }

    /// Puts bytes aside, where they are to be kept.
    fn damage(&self, name: &str, bytes: &[u8], range: Range<usize>, keep: bool) -> Damage {
        let aside = format!("{name}.damaged-{}", range.start);
        let there = bytes.get(range.start..range.end.min(bytes.len()));
        let kept = there
            .filter(|there| keep && !there.is_empty())
            .is_some_and(|there| self.set_aside(&aside, there).is_ok());
        Damage {
            file: name.to_owned(),
            offset: range.start as u64,
            bytes: range.len() as u64,
            kept_in: kept.then_some(aside),
        }
    }

    fn set_aside(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.create(name, bytes.len() as u64)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.disk.sync_names()
    }
}

/// How the newest segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where the last whole commit ends.
    pub end: usize,
    /// Bytes after it that are something.
    torn: usize,
    /// There are whole records among them.
    goes_on: bool,
}

/// How the bytes of the newest segment end.
pub(super) fn tail(bytes: &[u8], salt: u32) -> Tail {
    // How far it was on disk; each damage with the end of the last commit before it; the last such end.
    let (mut synced, mut damages, mut end) = (HEADER as usize, Vec::new(), HEADER as usize);
    for piece in Walk::new(bytes, salt, HEADER as usize) {
        match piece {
            Piece::Damaged(range) => {
                damages.push((range.start, end));
            }
            Piece::Record(record) => {
                if let Ok(Entry::Mark(behind)) =
                    codec::read(record.kind, &bytes[record.body.clone()])
                {
                    let sure = record.start.saturating_sub(behind as usize);
                    synced = synced.max(sure);
                }
                if record.ends_commit {
                    end = record.body.end;
                }
            }
        }
    }
    let damaged = damages.into_iter().find(|(start, _)| *start >= synced);
    let end = damaged.map_or(end, |(_, end)| end.max(synced));
    let tail = &bytes[end.min(bytes.len())..];
    let torn = tail
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |it| it + 1);
    let goes_on = damaged.is_some_and(|(start, _)| {
        Walk::new(bytes, salt, start).any(|it| matches!(it, Piece::Record(_)))
    });
    Tail { end, torn, goes_on }
}
