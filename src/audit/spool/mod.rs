//! The spool: records in files under `data_dir/audit`, from the moment that an event counts as
//! recorded until every database has it.
//!
//! One [`Appender`] writes (the spool's thread owns it), any number of cursors read, each for one
//! database. Both speak through [`Spool`], which knows the segments and how far each is synced: what
//! is not synced is never read. A segment that every cursor has behind it is deleted.
//!
//! After a crash the segments are there still. What was torn off at the end of one is cut; what is
//! damaged is set aside in a file of its own, and everything before it is good.

mod append;
mod frame;
mod open;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use frame::{FRAME_BYTES, HEADER_BYTES, Next, PAYLOAD_MAX};

pub(super) use append::{AppendError, Appender};
pub use open::SpoolError;
pub(super) use open::{Found, open};

/// Bytes that are read at a time: the longest frame fits.
const READ_BYTES: usize = PAYLOAD_MAX + FRAME_BYTES;

/// How large a spool may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of all segments together, in bytes.
    pub(super) total: u64,
    /// At which a segment is followed by the next.
    pub(super) segment: u64,
}

/// The segments, and who has read how far. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    segments: Mutex<Segments>,
    /// There is more to read, or no more will come.
    grown: watch::Sender<()>,
    /// There is room again.
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Segments {
    /// Oldest first.
    known: VecDeque<Segment>,
    /// By cursor.
    places: Vec<Place>,
    /// The appender is gone.
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    ordinal: u64,
    run: i64,
    /// Bytes that are synced.
    length: u64,
    /// The appender writes to it.
    open: bool,
}

/// How far a cursor has read: before a byte of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    ordinal: u64,
    offset: u64,
}

/// What a cursor reads.
#[derive(Debug)]
pub(super) struct Spooled {
    /// One start of a broker.
    pub(super) run: i64,
    /// Counts within the run.
    pub(super) number: i64,
    pub(super) payload: Vec<u8>,
}

/// Records in order, and where the next ones begin.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Spooled>,
    pub(super) end: Place,
}

impl Spool {
    /// A cursor before everything that is there.
    pub(super) fn cursor(&self) -> usize {
        let mut segments = self.0.segments.lock();
        segments.places.push(Place::default());
        segments.places.len() - 1
    }

    /// Up to `max` records from `place` on; none: there is nothing more now. Reads files.
    pub(super) fn read(&self, mut place: Place, max: usize) -> io::Result<Batch> {
        let mut records = Vec::new();
        while records.len() < max {
            let Some(segment) = self.segment_at(&mut place) else {
                break;
            };
            let path = self.path(segment.ordinal);
            let bytes = match read_part(&path, place.offset, segment.length) {
                // Somebody has been at the folder: what is gone must not hold up all that comes after.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::error!(segment = %path.display(), "a segment of the audit spool is gone");
                    place.offset = segment.length;
                    continue;
                }
                read => read?,
            };
            let mut at = 0;
            let damaged = loop {
                match frame::next(&bytes[at..]) {
                    Next::Record {
                        number,
                        payload,
                        length,
                    } if records.len() < max => {
                        let (run, payload) = (segment.run, payload.to_vec());
                        records.push(Spooled {
                            run,
                            number,
                            payload,
                        });
                        at += length;
                    }
                    Next::Record { .. } => break false,
                    // Where nothing at all was whole, more bytes would not help.
                    Next::End => break at == 0,
                    Next::Damaged => break true,
                }
            };
            place.offset += at as u64;
            if damaged {
                tracing::error!(
                    segment = %self.path(segment.ordinal).display(), offset = place.offset,
                    "the audit spool was damaged while it was in use; what follows in this segment \
                     is lost, and the file is kept"
                );
                set_aside(&self.path(segment.ordinal), place.offset)?;
                place.offset = segment.length;
            }
        }
        Ok(Batch {
            records,
            end: place,
        })
    }

    /// The segment that has something at `place`, which moves on to it.
    fn segment_at(&self, place: &mut Place) -> Option<Segment> {
        let segments = self.0.segments.lock();
        for segment in &segments.known {
            if segment.ordinal < place.ordinal {
                continue;
            }
            if segment.ordinal > place.ordinal {
                *place = Place {
                    ordinal: segment.ordinal,
                    offset: 0,
                };
            }
            place.offset = place.offset.max(HEADER_BYTES as u64);
            if place.offset < segment.length {
                return Some(*segment);
            }
        }
        None
    }

    /// What lies before `place` is in this cursor's database. Deletes the segments that nobody needs.
    pub(super) fn taken(&self, cursor: usize, place: Place) {
        let mut segments = self.0.segments.lock();
        if let Some(known) = segments.places.get_mut(cursor) {
            *known = place;
        }
        self.drop_read(&mut segments);
    }

    fn drop_read(&self, segments: &mut Segments) {
        let Some(slowest) = segments.places.iter().min().copied() else {
            return;
        };
        while let Some(first) = segments.known.front() {
            let is_behind = slowest.ordinal > first.ordinal
                || (slowest.ordinal == first.ordinal && slowest.offset >= first.length);
            if first.open || !is_behind {
                break;
            }
            let path = self.path(first.ordinal);
            if let Err(error) = std::fs::remove_file(&path) {
                // It is read again after the next start, and nothing comes of that.
                tracing::warn!(%error, path = %path.display(), "a spool segment stays behind");
            }
            segments.known.pop_front();
            self.0.freed.notify_all();
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.0.segments.lock();
        segments.known.iter().map(|segment| segment.length).sum()
    }

    /// Hears of it when there may be more to read.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.grown.subscribe()
    }

    /// Whether nothing will be appended any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.segments.lock().closed
    }

    fn path(&self, ordinal: u64) -> PathBuf {
        path(&self.0.directory, ordinal)
    }
}

fn path(directory: &Path, ordinal: u64) -> PathBuf {
    directory.join(format!("{ordinal:020}.{EXTENSION}"))
}

/// Whether a file is a segment, by its name.
pub(super) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == EXTENSION)
}

/// What segments are called.
const EXTENSION: &str = "spool";

fn read_part(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let most = to.saturating_sub(from).min(READ_BYTES as u64);
    let mut bytes = Vec::with_capacity(usize::try_from(most).unwrap_or(READ_BYTES));
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Keeps what stands behind `offset` in a file beside the segment.
fn set_aside(segment: &Path, offset: u64) -> io::Result<()> {
    let mut from = File::open(segment)?;
    from.seek(SeekFrom::Start(offset))?;
    let mut to = File::create(segment.with_extension("damaged"))?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}
