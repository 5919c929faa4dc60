//! A segment: a file of the journal, `00000001.log` and so on, and what stands at its beginning.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `cofferdm` |
//! | 4 | version of the format, 2 |
//! | 4 | CRC-32C of these twelve |
//! | 4 | number of the segment |
//! | 4 | salt of its records |
//! | 8 | where the segment before it ends; what stands there after that does not count |
//! | 8 | the place among all others of the last message before it |
//! | 24 | highest numbers before it: of a session, of a message, of a version of what is retained |
//! | 4 | CRC-32C of everything before |
//! | 4 | nothing |
//!
//! Little-endian. The first three are the same in every version that there will be. Records follow;
//! see [`record`](super::record).

use crate::fact::{Highest, Order};

/// Bytes before the first record.
pub(super) const HEADER: u64 = 72;

/// The version that is written, and the newest that is read.
/// 2: kinds 18 to 20 of [`codec`](super::codec).
pub(super) const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"cofferdm";

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub number: u32,
    pub salt: u32,
    /// 0: there was none.
    pub previous_end: u64,
    pub order: Order,
    pub highest: Highest,
}

/// Why a header could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A later version of the format.
    Newer(u32),
    /// It is no header, or damaged.
    Damaged,
}

/// The name of a segment's file.
pub(super) fn name(number: u32) -> String {
    format!("{number:08}.log")
}

/// The number of the segment that this is the file of.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (self::name(number) == name).then_some(number)
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER as usize] {
        let mut out = Vec::with_capacity(HEADER as usize);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        let sum = crc32c::crc32c(&out);
        out.extend(sum.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.salt.to_le_bytes());
        let highest = self.highest;
        for number in [
            self.previous_end,
            self.order.0,
            highest.session,
            highest.message,
            highest.version,
        ] {
            out.extend(number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&out);
        out.extend(sum.to_le_bytes());
        let mut header = [0; HEADER as usize];
        header[..out.len()].copy_from_slice(&out);
        header
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let bytes: &[u8; HEADER as usize] = bytes.first_chunk().ok_or(Unreadable::Damaged)?;
        let four = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|it| bytes[at + it]));
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        if &bytes[..8] != MAGIC || four(12) != crc32c::crc32c(&bytes[..12]) {
            return Err(Unreadable::Damaged);
        }
        match four(8) {
            1..=VERSION => {}
            version if version > VERSION => return Err(Unreadable::Newer(version)),
            _ => return Err(Unreadable::Damaged),
        }
        if four(64) != crc32c::crc32c(&bytes[..64]) {
            return Err(Unreadable::Damaged);
        }
        Ok(Self {
            number: four(16),
            salt: four(20),
            previous_end: eight(24),
            order: Order(eight(32)),
            highest: Highest {
                session: eight(40),
                message: eight(48),
                version: eight(56),
            },
        })
    }
}
