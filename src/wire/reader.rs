//! Bounds-checked reading of the data types of section 1.5. Called by the decoders only.

use std::str;

use super::packet::PacketId;
use super::rule::{self, Read};

/// What is left of a packet or of a property section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The packet must end here.
    pub(super) fn end(self) -> Read<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(&rule::TRAILING)
        }
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Read<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or(&rule::SHORT)?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Read<u16> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(&rule::SHORT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Read<u32> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(&rule::SHORT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(&rule::SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Section 1.5.5: at most four bytes, and not one more than the value needs.
    #[inline]
    pub(super) fn variable_byte_integer(&mut self) -> Read<u32> {
        // Nearly all are property lengths below 128.
        match self.rest {
            [byte @ 0..=0x7F, rest @ ..] => {
                self.rest = rest;
                Ok(u32::from(*byte))
            }
            _ => self.long_variable_byte_integer(),
        }
    }

    fn long_variable_byte_integer(&mut self) -> Read<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong {
                    Err(&rule::VARIABLE_BYTE_INTEGER)
                } else {
                    Ok(value)
                };
            }
        }
        Err(&rule::VARIABLE_BYTE_INTEGER)
    }

    /// Section 1.5.6.
    #[inline]
    pub(super) fn binary(&mut self) -> Read<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Section 1.5.4: UTF-8, without surrogates (Rust's check refuses them) and without U+0000.
    #[inline]
    pub(super) fn text(&mut self) -> Read<&'a str> {
        let bytes = self.binary()?;
        // No early exit: so the compiler compares many bytes at a time.
        if bytes.iter().fold(false, |nul, &byte| nul | (byte == 0)) {
            return Err(&rule::NUL);
        }
        str::from_utf8(bytes).map_err(|_| &rule::NOT_UTF8)
    }

    #[inline]
    pub(super) fn packet_id(&mut self) -> Read<PacketId> {
        PacketId::new(self.u16()?).ok_or(&rule::PACKET_ID_0)
    }

    /// A property section: its length, then itself.
    #[inline]
    pub(super) fn properties(&mut self) -> Read<&'a [u8]> {
        let length = self.variable_byte_integer()?;
        self.take(length as usize)
    }
}
