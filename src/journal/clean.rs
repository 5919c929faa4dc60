//! Space given back: the oldest segment is emptied by carrying forward what of it is live, and
//! removed. Strictly the oldest, for what a segment says is over must outlast what it speaks of.
//!
//! In small steps between commits, so that no commit waits for it long. A segment of which nothing is
//! live goes at once; for others it is begun when what is dead makes up most of what the log may have.

use std::io;

use super::codec::{self, Envelope, kind};
use super::disk::DiskFile;
use super::index::Place;
use super::log::Log;
use super::record::{self, HEAD, Piece, Walk};
use super::segment::{self, HEADER};
use crate::fact::Target;
use crate::team::MessageNumber;
use crate::wire::PacketId;

/// How far the log may grow beyond what is live before its oldest segment is emptied: so many
/// quarters of what is live, and so many segments. Carrying forward four times as fast as the log grows
/// reaches all that is dead before there is another quarter; see `docs/decisions/journal.md`.
const GARBAGE_QUARTERS: u64 = 3;
const GARBAGE_SEGMENTS: u64 = 2;

/// Bytes read at a time, at most, and for a segment's size.
const CHUNK: u64 = 256 << 10;
const CHUNKS: u64 = 16;

/// Reading costs so much less than writing.
const READ_DISCOUNT: u64 = 8;

/// Segments removed in one step: that takes the file system some milliseconds each.
const REMOVED_AT_A_TIME: usize = 1;

/// The segment that is being emptied, and how far.
pub(super) struct Cursor {
    segment: u32,
    file: Box<dyn DiskFile>,
    at: u64,
}

impl Log {
    /// Does so many bytes' worth of cleaning; whether there is more to do.
    ///
    /// # Errors
    /// The oldest segment cannot be read.
    pub(super) fn clean(&mut self, mut budget: u64) -> io::Result<bool> {
        loop {
            let oldest = self.ends.keys().find(|it| !self.doomed.contains(it));
            let Some(&segment) = oldest else {
                return Ok(false);
            };
            if self.index.is_dead(segment) {
                self.doom(segment);
                if self.doomed.len() >= REMOVED_AT_A_TIME {
                    return Ok(true);
                }
                continue;
            }
            if !self.is_crowded() {
                return Ok(false);
            }
            // The head is to be no larger than what was preallocated for it.
            if budget == 0 || self.end() >= self.settings.segment_bytes {
                return Ok(true);
            }
            let cost = match self.index.anchored(segment) {
                Some(session) => self.carry_session(session),
                None => self.carry_messages(segment)?,
            };
            budget = budget.saturating_sub(cost);
        }
    }

    fn is_crowded(&self) -> bool {
        let (size, live) = (self.size(), self.index.live());
        let segments = match self.is_full() {
            // Whatever can be had.
            true => return size.saturating_sub(live) > self.settings.segment_bytes,
            false => GARBAGE_SEGMENTS * self.settings.segment_bytes,
        };
        size > live + live / 4 * GARBAGE_QUARTERS + segments
    }

    fn doom(&mut self, segment: u32) {
        self.cursor = self.cursor.take().filter(|it| it.segment != segment);
        self.doomed.push(segment);
        if self.tail.is_empty() {
            self.remove_doomed();
        }
    }

    fn carry_session(&mut self, number: crate::team::SessionNumber) -> u64 {
        self.begin();
        let Some(session) = self.index.state.sessions.get(&number) else {
            // Anchored is only what is there.
            return 0;
        };
        let segment = self.head.number;
        let kind = codec::kind_of(session);
        let length = record::append(&mut self.tail, self.salt, kind, true, |out| {
            codec::put_carried(out, number, session);
        });
        self.index.anchor_again(number, segment, length);
        self.counts.carried += u64::from(length);
        u64::from(length)
    }

    /// Reads on in a segment and carries what is live; what that cost.
    fn carry_messages(&mut self, segment: u32) -> io::Result<u64> {
        let end = self.ends.get(&segment).copied().unwrap_or_default();
        let cursor = match self.cursor.take().filter(|it| it.segment == segment) {
            Some(cursor) => cursor,
            None => Cursor {
                segment,
                file: self.disk.open(&segment::name(segment))?,
                at: HEADER,
            },
        };
        if cursor.at >= end {
            self.abandon(segment);
            return Ok(0);
        }
        let chunk = CHUNK.min(self.settings.segment_bytes / CHUNKS);
        let mut bytes = vec![0; chunk.min(end - cursor.at) as usize];
        read(&*cursor.file, &mut bytes, cursor.at)?;
        if let Some(length) = record::whole_length(&bytes, self.salt)
            && length > bytes.len()
            && cursor.at + length as u64 <= end
        {
            bytes.resize(length, 0);
            read(&*cursor.file, &mut bytes, cursor.at)?;
        }
        let is_last = cursor.at + bytes.len() as u64 >= end;
        let walked = self.carry_from(segment, cursor.at, &bytes, is_last);
        let cost = walked.carried + bytes.len() as u64 / READ_DISCOUNT;
        self.cursor = Some(Cursor {
            at: cursor.at + walked.bytes as u64,
            ..cursor
        });
        Ok(cost)
    }

    fn carry_from(&mut self, segment: u32, at: u64, bytes: &[u8], is_last: bool) -> Walked {
        let mut carried = 0;
        let mut walk = Walk::new(bytes, self.salt, 0);
        loop {
            // The chunk's end cuts a record off; it is the next chunk's.
            let start = walk.at();
            let length = record::whole_length(&bytes[start..], self.salt);
            if !is_last && start > 0 && length.is_none_or(|length| start + length > bytes.len()) {
                return Walked {
                    bytes: start,
                    carried,
                };
            }
            let record = match walk.next() {
                Some(Piece::Record(record)) => record,
                Some(Piece::Damaged(_)) => continue,
                None => break,
            };
            if record.kind != kind::KEPT {
                continue;
            }
            let body = &bytes[record.body.clone()];
            let place = Place {
                segment,
                length: (HEAD + body.len()) as u32,
                offset: at + record.start as u64,
            };
            if let Ok(number) = codec::number_of(body)
                && let Some(kept) = self.index.state.messages.get(&number)
                && kept.message == place
                && let Ok(message) = codec::message_of(body)
            {
                carried += self.carry_message(number, message);
            }
        }
        Walked {
            bytes: bytes.len(),
            carried,
        }
    }

    fn carry_message(&mut self, number: MessageNumber, message: &[u8]) -> u64 {
        self.begin();
        let state = &self.index.state;
        let Some(kept) = state.messages.get(&number) else {
            return 0;
        };
        let holders = kept.holders.iter();
        let owed = holders.filter_map(|(session, copy)| {
            let session = state.sessions.get(session)?;
            session.owed.get(&(kept.order, *copy))
        });
        let (targets, sent): (Vec<Target>, Vec<Option<PacketId>>) =
            owed.map(|owed| (owed.target, owed.sent)).unzip();
        let envelope = Envelope {
            order: kept.order,
            number,
            targets: &targets,
            sent: &sent,
            retained: kept.retained.as_ref(),
            receipt: None,
        };
        let offset = self.end();
        let length = record::append(&mut self.tail, self.salt, kind::KEPT, true, |out| {
            codec::put_envelope(out, &envelope);
            out.extend_from_slice(message);
        });
        let place = Place {
            segment: self.head.number,
            length,
            offset,
        };
        self.index.replace(number, place);
        self.counts.carried += u64::from(length);
        u64::from(length)
    }

    /// The segment was read to its end; what of it is live and was not found is damaged. Its file stays,
    /// under another name.
    fn abandon(&mut self, segment: u32) {
        let lost = self.index.abandon(segment);
        if lost == 0 {
            return;
        }
        self.counts.lost += lost as u64;
        let (name, aside) = (
            segment::name(segment),
            format!("{}.damaged", segment::name(segment)),
        );
        let kept = self.disk.rename(&name, &aside);
        tracing::error!(
            messages = lost,
            file = name,
            kept_in = aside,
            kept = kept.is_ok(),
            "messages in the journal cannot be read any more: after a restart they will not be there"
        );
    }
}

/// What came of walking through a chunk.
struct Walked {
    /// So much of it was walked through.
    bytes: usize,
    /// So many bytes were carried.
    carried: u64,
}

fn read(file: &dyn DiskFile, into: &mut [u8], at: u64) -> io::Result<()> {
    match file.read_at(into, at)? {
        read if read == into.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
