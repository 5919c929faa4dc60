//! The bytes of a segment: a header, then one frame a record. Pure; `disk` and `cursor` call it.
//!
//! ```text
//! header  "cofaudit"  version u32  run i64  sum u32
//! frame   length u32  sum u32  number i64  payload (length bytes)
//! ```
//! Little-endian; sums are CRC-32C, of what stands before it in the header, and of number and
//! payload in a frame.

use crc::{CRC_32_ISCSI, Crc};

const MAGIC: &[u8; 8] = b"cofaudit";
const VERSION: u32 = 1;
/// Bytes of a segment before its first frame.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes of a frame beside its payload.
pub(super) const FRAME_BYTES: usize = 16;
/// Longest payload: many times what a record can be.
pub(super) const PAYLOAD_MAX: usize = 1 << 20;

const SUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why the start of a file is no segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Too short, or not ours.
    NotASegment,
    /// Of a newer cofferdam.
    Newer(u32),
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A record that is whole, and where the next one begins.
    Record {
        number: i64,
        payload: &'a [u8],
        length: usize,
    },
    /// The bytes end here, or within a frame.
    End,
    /// No frame that anybody wrote.
    Damaged,
}

pub(super) fn header(run: i64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&run.to_le_bytes());
    let sum = SUM.checksum(&bytes[..20]);
    bytes[20..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The run that a header names.
pub(super) fn run_of(bytes: &[u8]) -> Result<i64, HeaderFault> {
    let header = bytes.first_chunk::<HEADER_BYTES>();
    let header = header.ok_or(HeaderFault::NotASegment)?;
    if &header[..8] != MAGIC || SUM.checksum(&header[..20]) != u32_at(header, 20) {
        return Err(HeaderFault::NotASegment);
    }
    match u32_at(header, 8) {
        VERSION => Ok(i64_at(header, 12)),
        newer => Err(HeaderFault::Newer(newer)),
    }
}

pub(super) fn put(into: &mut Vec<u8>, number: i64, payload: &[u8]) {
    let number = number.to_le_bytes();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&sum(&number, payload).to_le_bytes());
    into.extend_from_slice(&number);
    into.extend_from_slice(payload);
}

/// The frame at the beginning of `bytes`.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    if bytes.len() < FRAME_BYTES {
        return Next::End;
    }
    let length = u32_at(bytes, 0) as usize;
    if length > PAYLOAD_MAX {
        return Next::Damaged;
    }
    let Some(payload) = bytes.get(FRAME_BYTES..FRAME_BYTES + length) else {
        return Next::End;
    };
    if sum(&bytes[8..16], payload) != u32_at(bytes, 4) {
        return Next::Damaged;
    }
    Next::Record {
        number: i64_at(bytes, 8),
        payload,
        length: FRAME_BYTES + length,
    }
}

fn sum(number: &[u8], payload: &[u8]) -> u32 {
    let mut digest = SUM.digest();
    digest.update(number);
    digest.update(payload);
    digest.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_cut_anywhere_is_an_end_and_one_that_is_altered_is_damaged() {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, b"what happened");
        let whole = Next::Record {
            number: 7,
            payload: b"what happened",
            length: bytes.len(),
        };
        assert_eq!(next(&bytes), whole);
        for end in 0..bytes.len() {
            assert_eq!(next(&bytes[..end]), Next::End, "cut at {end}");
        }
        for at in 4..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert_eq!(next(&altered), Next::Damaged, "altered at {at}");
        }
    }

    #[test]
    fn a_header_names_its_run_and_refuses_what_is_newer_or_altered() {
        let mut bytes = header(-5);
        assert_eq!(run_of(&bytes), Ok(-5));
        for at in 0..HEADER_BYTES {
            let mut altered = bytes;
            altered[at] ^= 1;
            assert_eq!(run_of(&altered), Err(HeaderFault::NotASegment), "{at}");
        }
        bytes[8] = 2;
        let sum = SUM.checksum(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(run_of(&bytes), Err(HeaderFault::Newer(2)));
        assert_eq!(run_of(&bytes[..23]), Err(HeaderFault::NotASegment));
    }
}
