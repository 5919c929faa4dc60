//! Frames that the server sends (RFC 6455 section 5.2): never masked, never fragmented.

const FIN: u8 = 0x80;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
pub(super) const PONG: u8 = 0xA;

/// The longest payload whose length fits the second byte.
const LENGTH_7_BITS: usize = 125;

/// At most ten bytes, held inline: the head of a data frame, or a whole close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 10],
    length: u8,
}

/// Why the server closes (RFC 6455 section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// All is said.
    Normal = 1000,
    /// The broker is stopping.
    GoingAway = 1001,
    /// Against RFC 6455.
    Protocol = 1002,
    /// A text frame: MQTT is sent in binary frames `[MQTT-6.0.0-1]`.
    Unsupported = 1003,
    /// Not UTF-8 where it must be.
    NotUtf8 = 1007,
    /// Not allowed.
    Policy = 1008,
    /// The frame is larger than the limit.
    TooBig = 1009,
    /// The broker is at fault.
    Internal = 1011,
}

impl Head {
    pub(super) fn new(opcode: u8, length: usize) -> Self {
        let mut head = Self {
            bytes: [0; 10],
            length: 0,
        };
        head.push(&[FIN | opcode]);
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if length <= LENGTH_7_BITS => head.push(&[short]),
            (_, Ok(medium)) => {
                head.push(&[126]);
                head.push(&medium.to_be_bytes());
            }
            _ => {
                head.push(&[127]);
                head.push(&(length as u64).to_be_bytes());
            }
        }
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        let end = start + bytes.len();
        self.bytes[start..end].copy_from_slice(bytes);
        self.length = end as u8;
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl CloseCode {
    /// As on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

/// What goes before `length` bytes of MQTT, however many packets they are.
pub fn binary_head(length: usize) -> Head {
    Head::new(BINARY, length)
}

/// A whole close frame; without a code where the peer's had none (section 5.5.1).
pub fn close_frame(code: Option<u16>) -> Head {
    match code {
        Some(code) => {
            let mut frame = Head::new(CLOSE, 2);
            frame.push(&code.to_be_bytes());
            frame
        }
        None => Head::new(CLOSE, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_fewest_bytes_that_hold_it() {
        let cases: [(usize, &[u8]); 7] = [
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 20, &[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]),
            (1 << 32, &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
        ];
        for (length, head) in cases {
            assert_eq!(binary_head(length).as_ref(), head, "{length}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code_or_nothing() {
        assert_eq!(close_frame(Some(1002)).as_ref(), [0x88, 2, 0x03, 0xEA]);
        assert_eq!(close_frame(None).as_ref(), [0x88, 0]);
    }
}
