//! A copy of a journal, also of one that a broker is writing to: what it was at one moment.
//!
//! Nobody is asked, and nobody waits. A log is only ever added to at its end and removed from its
//! beginning, one segment after the other, and what lived of a segment is in the newest before it
//! goes. So the copy is whole if all segments were there at one moment: they are opened, the newest
//! is read, and if the first and the last of them still are the first and the last, that was it;
//! otherwise it is tried again. What is open stays readable, whatever the broker removes meanwhile.
//! The newest is cut where its last whole commit ends, as after a crash.
//!
//! Called by `cli`, for backups.

use std::io::ErrorKind;
use std::path::Path;

use super::codec;
use super::disk::{Disk, Folder};
use super::error::JournalError;
use super::record::{Piece, Walk};
use super::recovery::{self, Found, failed, tail};
use super::segment::{self, HEADER};

/// So often it is tried to find the journal between two of its segments.
const TRIES: usize = 100;

/// The segments of a journal at one moment.
pub struct Snapshot {
    older: Vec<Found>,
    /// `None`: there was no segment.
    newest: Option<(Found, Vec<u8>)>,
}

/// A segment of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its file's name.
    pub name: String,
    /// All of it that counts.
    pub bytes: Vec<u8>,
    /// How many of them cannot be read: the disk gave back something else than was written.
    pub damaged: u64,
}

impl Snapshot {
    /// Of the journal in a directory; nothing, where there is none. What was acknowledged before the
    /// call is in it.
    ///
    /// # Errors
    /// A later version of the broker wrote it; the system refuses something; the journal grows faster
    /// than it can be read.
    pub fn take(dir: &Path) -> Result<Self, JournalError> {
        match dir.try_exists() {
            Ok(false) => Ok(Self {
                older: Vec::new(),
                newest: None,
            }),
            _ => Self::take_on(&Folder::observe(dir)?),
        }
    }

    pub(super) fn take_on(disk: &dyn Disk) -> Result<Self, JournalError> {
        for _ in 0..TRIES {
            let mut segments = match recovery::find(disk) {
                // It was removed since it was listed.
                Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    continue;
                }
                found => found?,
            };
            let ends = |numbers: &[u32]| (numbers.first().copied(), numbers.last().copied());
            let found: Vec<u32> = segments.iter().map(|it| it.number).collect();
            let newest = match segments.pop() {
                None => None,
                Some(newest) => {
                    let bytes = read(&newest, newest.length)?;
                    Some((newest, bytes))
                }
            };
            if ends(&recovery::numbers(disk)?) == ends(&found) {
                let older = segments;
                return Ok(Self { older, newest });
            }
        }
        Err(JournalError::Restless { tries: TRIES })
    }

    /// Reads one segment after the other, oldest first. One at a time is in memory.
    pub fn segments(self) -> impl Iterator<Item = Result<Copied, JournalError>> {
        let Self { older, newest } = self;
        let all = older.iter().chain(newest.as_ref().map(|(it, _)| it));
        let headers: Vec<_> = all.map(|it| (it.number, it.header)).collect();
        let salt = headers.iter().find_map(|(_, it)| *it).map(|it| it.salt);
        let older = older.into_iter().enumerate().map(move |(place, it)| {
            let next = headers.get(place + 1).copied();
            let end = next
                .filter(|(number, _)| *number == it.number + 1)
                .and_then(|(_, header)| header)
                .map_or(it.length, |header| header.previous_end.min(it.length));
            let bytes = read(&it, end)?;
            Ok(copied(it.number, bytes, salt))
        });
        let newest = newest.into_iter().map(move |(it, mut bytes)| {
            if let Some(salt) = salt {
                bytes.truncate(tail(&bytes, salt).end);
            }
            Ok(copied(it.number, bytes, salt))
        });
        older.chain(newest)
    }
}

fn read(segment: &Found, length: u64) -> Result<Vec<u8>, JournalError> {
    let mut bytes = vec![0; length as usize];
    let read = segment.file.read_at(&mut bytes, 0);
    let read = read.map_err(failed("read", &segment::name(segment.number)))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn copied(number: u32, bytes: Vec<u8>, salt: Option<u32>) -> Copied {
    let damaged = match salt {
        None => bytes.len() as u64,
        Some(salt) => Walk::new(&bytes, salt, HEADER as usize)
            .map(|piece| match piece {
                Piece::Damaged(range) => range.len() as u64,
                Piece::Record(record) => match codec::read(record.kind, &bytes[record.body]) {
                    Ok(_) => 0,
                    Err(_) => 1,
                },
            })
            .sum(),
    };
    Copied {
        name: segment::name(number),
        damaged,
        bytes,
    }
}
