//! How records stand in a segment: what goes before each, and how they are found again.
//!
//! | bytes | |
//! | --- | --- |
//! | 4 | length of the body |
//! | 1 | kind |
//! | 1 | flags; 1: the last of its commit |
//! | 2 | check of the six bytes before: the lower half of their CRC-32C |
//! | 4 | CRC-32C of those eight and the body |
//! | … | body |
//!
//! Little-endian. The lengths have a check of their own, so that one damaged body costs one record.
//! Both start from the segment's salt: where a record has to be looked for, the bytes of a payload
//! that look like one are not taken for one, for no client knows the salt.

use std::ops::Range;

/// Bytes before each body.
pub(super) const HEAD: usize = 12;

/// The last record of a commit.
pub(super) const ENDS_COMMIT: u8 = 1;

/// A record in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it begins in the bytes that were walked through.
    pub start: usize,
    /// What it is; see [`codec`](super::codec).
    pub kind: u8,
    /// Whether a commit ends with it.
    pub ends_commit: bool,
    /// Where its body is.
    pub body: Range<usize>,
}

/// What a walk comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A record.
    Record(Record),
    /// Bytes that are none.
    Damaged(Range<usize>),
}

/// Appends a record whose body `write` appends; its length with all.
pub(super) fn append(
    out: &mut Vec<u8>,
    salt: u32,
    kind: u8,
    ends_commit: bool,
    write: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    write(out);
    let length = (out.len() - start - HEAD) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4] = kind;
    seal(
        &mut out[start..],
        salt,
        if ends_commit { ENDS_COMMIT } else { 0 },
    );
    HEAD as u32 + length
}

/// The same where the kind is known only when the body is written.
pub(super) fn append_as(
    out: &mut Vec<u8>,
    salt: u32,
    write: impl FnOnce(&mut Vec<u8>) -> u8,
) -> u32 {
    let start = out.len();
    let mut kind = 0;
    let length = append(out, salt, 0, false, |out| kind = write(out));
    out[start + 4] = kind;
    seal(&mut out[start..], salt, 0);
    length
}

/// Makes the last record that was appended, which begins at `start`, the last of its commit.
pub(super) fn end_commit(out: &mut [u8], salt: u32, start: usize) {
    seal(&mut out[start..], salt, ENDS_COMMIT);
}

fn seal(record: &mut [u8], salt: u32, flags: u8) {
    record[5] = flags;
    let check = check(record, salt);
    record[6..8].copy_from_slice(&check.to_le_bytes());
    let sum = sum(record, salt);
    record[8..12].copy_from_slice(&sum.to_le_bytes());
}

fn check(head: &[u8], salt: u32) -> u16 {
    crc32c::crc32c_append(salt, &head[..6]) as u16
}

fn sum(record: &[u8], salt: u32) -> u32 {
    let head = crc32c::crc32c_append(salt, &record[..8]);
    crc32c::crc32c_append(head, &record[HEAD..])
}

/// What the head at the beginning of `bytes` says: the length of the whole record, and whether its
/// sum is right. `None`: there is no head, or the record does not end within `bytes`.
fn read(bytes: &[u8], salt: u32) -> Option<(usize, bool)> {
    let length = whole_length(bytes, salt)?;
    let record = bytes.get(..length)?;
    let stated = u32::from_le_bytes([record[8], record[9], record[10], record[11]]);
    Some((length, stated == sum(record, salt)))
}

/// The length of the record that begins with these bytes, whether it is all there or not.
pub(super) fn whole_length(bytes: &[u8], salt: u32) -> Option<usize> {
    let head = bytes.get(..HEAD)?;
    let stated = u16::from_le_bytes([head[6], head[7]]);
    // Kinds count from 1: space that was never written to has no record, whatever the salt.
    if head[4] == 0 || stated != check(head, salt) {
        return None;
    }
    let body = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    Some(HEAD + body as usize)
}

/// A walk from record to record.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    salt: u32,
    at: usize,
}

impl<'a> Walk<'a> {
    /// Through `bytes`, from `at` on.
    pub(super) const fn new(bytes: &'a [u8], salt: u32, at: usize) -> Self {
        Self { bytes, salt, at }
    }

    /// Where the next piece begins.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    fn record(&self, start: usize, length: usize) -> Piece {
        Piece::Record(Record {
            start,
            kind: self.bytes[start + 4],
            ends_commit: self.bytes[start + 5] & ENDS_COMMIT != 0,
            body: start + HEAD..start + length,
        })
    }

    /// Where the next whole record begins, or the bytes end.
    fn resume(&self, from: usize) -> usize {
        let is_whole = |at: &usize| matches!(read(&self.bytes[*at..], self.salt), Some((_, true)));
        (from..self.bytes.len())
            .find(is_whole)
            .unwrap_or(self.bytes.len())
    }
}

impl Iterator for Walk<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        match read(rest, self.salt) {
            Some((length, is_right)) => {
                self.at = start + length;
                Some(match is_right {
                    true => self.record(start, length),
                    false => Piece::Damaged(start..self.at),
                })
            }
            // Preallocated space follows the last record: nothing is looked for in it.
            None if rest.iter().all(|byte| *byte == 0) => {
                self.at = self.bytes.len();
                None
            }
            None => {
                self.at = self.resume(start + 1);
                Some(Piece::Damaged(start..self.at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u32 = 0x5EED_CAFE;

    fn three() -> (Vec<u8>, Vec<usize>) {
        let mut out = Vec::new();
        let mut starts = Vec::new();
        for (kind, body) in [(1, &b"first"[..]), (2, b""), (3, b"the third")] {
            starts.push(out.len());
            append(&mut out, SALT, kind, kind == 3, |out| out.extend(body));
        }
        starts.push(out.len());
        (out, starts)
    }

    fn record(starts: &[usize], place: usize) -> Piece {
        Piece::Record(Record {
            start: starts[place],
            kind: place as u8 + 1,
            ends_commit: place == 2,
            body: starts[place] + HEAD..starts[place + 1],
        })
    }

    #[test]
    fn what_was_appended_is_walked_through_and_empty_space_ends_the_walk() {
        let (mut out, starts) = three();
        out.extend([0; 1000]);
        let walked: Vec<_> = Walk::new(&out, SALT, 0).collect();
        assert_eq!(walked, [0, 1, 2].map(|it| record(&starts, it)));
    }

    #[test]
    fn every_flipped_bit_costs_one_record_and_no_other() {
        let (whole, starts) = three();
        for bit in 0..whole.len() * 8 {
            let mut out = whole.clone();
            out[bit / 8] ^= 1 << (bit % 8);
            let hit = starts.iter().rposition(|start| *start <= bit / 8);
            let hit = hit.expect("the first begins at 0");
            let mut expected: Vec<_> = [0, 1, 2].map(|it| record(&starts, it)).into();
            expected[hit] = Piece::Damaged(starts[hit]..starts[hit + 1]);
            let walked: Vec<_> = Walk::new(&out, SALT, 0).collect();
            assert_eq!(walked, expected, "bit {bit}");
        }
    }

    #[test]
    fn a_record_within_a_damaged_one_is_not_taken_for_one_without_the_salt() {
        let mut forged = Vec::new();
        append(&mut forged, SALT ^ 1, 1, true, |out| out.extend(b"forged"));
        let mut out = Vec::new();
        append(&mut out, SALT, 7, true, |out| out.extend(&forged));
        let end = out.len();
        append(&mut out, SALT, 2, true, |_| {});
        out[0] ^= 1;
        let walked: Vec<_> = Walk::new(&out, SALT, 0).collect();
        assert_eq!(walked[0], Piece::Damaged(0..end));
        assert_eq!(walked.len(), 2);
    }
}
