//! Frames from the client, in place: what was read becomes plain MQTT (RFC 6455 section 5).
//!
//! Nothing waits for a frame to be whole. A payload is unmasked as it arrives and handed on; only
//! an incomplete head, or an incomplete control frame, is kept: at most 130 bytes.

use std::ops::Range;

use super::encode::{CloseCode, Head, PONG, close_frame};

/// The longest payload of a control frame (section 5.5).
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// The state between two reads of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// The front of a head or control frame whose rest has not come; empty most of the time, and
    /// then it owns no memory.
    held: Vec<u8>,
    /// Bytes of the data frame under way that have not come.
    remaining: u64,
    /// The mask for those bytes, turned so that its first byte is for the next of them.
    mask: [u8; 4],
    /// A fragmented message is open.
    in_message: bool,
    /// Nothing counts any more: the peer closed, or broke the protocol.
    ended: bool,
    max_frame_size: u64,
}

/// What one read amounts to. All of it was consumed.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where in the buffer the MQTT bytes now lie, in one piece.
    pub data: Range<usize>,
    /// The answer to the last ping of this read; the others need none (section 5.5.3).
    pub pong: Option<Pong>,
    /// This was the end. What `data` names came before it and still counts.
    pub end: Option<End>,
}

/// The end of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent a close frame, with this code.
    Closed(Option<u16>),
    /// The peer broke RFC 6455, or sent what is not MQTT.
    Failed(CloseCode),
}

/// A pong that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong(Control);

/// A control frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Control {
    bytes: [u8; CONTROL_MAX],
    length: u8,
}

/// A frame's head.
#[derive(Clone, Copy)]
struct Header {
    fin: bool,
    opcode: u8,
    payload: u64,
    mask: [u8; 4],
    /// Bytes that the head itself takes.
    length: usize,
}

impl Decoder {
    /// For a connection that was just accepted. `max_frame_size`: the largest payload of a data
    /// frame, in bytes.
    pub const fn new(max_frame_size: u64) -> Self {
        Self {
            held: Vec::new(),
            remaining: 0,
            mask: [0; 4],
            in_message: false,
            ended: false,
            max_frame_size,
        }
    }

    /// Takes all of `buffer`, as read from the socket, and leaves its MQTT bytes in one piece
    /// within it. After an [`End`], everything is passed over.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Decoded {
        let mut decoded = Decoded {
            data: 0..0,
            pong: None,
            end: None,
        };
        let mut at = 0;
        while at < buffer.len() && !self.ended {
            if self.remaining > 0 {
                at += self.take_payload(buffer, at, &mut decoded.data);
                continue;
            }
            match self.take_head(&buffer[at..], &mut decoded.pong) {
                Ok(taken) => at += taken,
                Err(end) => {
                    self.ended = true;
                    self.held = Vec::new();
                    decoded.end = Some(end);
                }
            }
        }
        decoded
    }

    /// Unmasks what has come of the frame under way and moves it behind the data before it.
    /// Returns how many bytes that was.
    fn take_payload(&mut self, buffer: &mut [u8], at: usize, data: &mut Range<usize>) -> usize {
        let left = buffer.len() - at;
        let count = usize::try_from(self.remaining).map_or(left, |remaining| remaining.min(left));
        let payload = at..at + count;
        unmask(&mut buffer[payload.clone()], &mut self.mask);
        self.remaining -= count as u64;
        if data.start == data.end {
            *data = payload; // the common case: one frame a read, nothing is moved
        } else {
            buffer.copy_within(payload, data.end);
            data.end += count;
        }
        count
    }

    /// Takes a head, and the whole frame if it is a control frame, or as much of it as has come.
    /// Returns how many of `bytes` that was.
    fn take_head(&mut self, bytes: &[u8], pong: &mut Option<Pong>) -> Result<usize, End> {
        if self.held.is_empty() {
            return match self.unit(bytes)? {
                Ok(header) => self.enter(header, bytes, pong),
                Err(_) => {
                    self.held.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            };
        }
        let mut held = std::mem::take(&mut self.held);
        let mut taken = 0;
        loop {
            match self.unit(&held)? {
                Ok(header) => {
                    self.enter(header, &held, pong)?;
                    return Ok(taken);
                }
                Err(missing) => {
                    let more = &bytes[taken..bytes.len().min(taken + missing)];
                    held.extend_from_slice(more);
                    taken += more.len();
                    if more.len() < missing {
                        self.held = held;
                        return Ok(taken);
                    }
                }
            }
        }
    }

    /// The head at the front of `bytes` once it is there, and with a control frame once all of it
    /// is there; else how many bytes are missing at least. What is wrong is known from the first
    /// byte that shows it.
    fn unit(&self, bytes: &[u8]) -> Result<Result<Header, usize>, End> {
        let &[first, ref rest @ ..] = bytes else {
            return Ok(Err(1));
        };
        self.check_first(first)?;
        let &[second, ref rest @ ..] = rest else {
            return Ok(Err(1));
        };
        let control = first & 0x08 != 0;
        let (short, masked) = (second & 0x7F, second & 0x80 != 0);
        if !masked || (control && usize::from(short) > CONTROL_MAX) {
            return Err(End::Failed(CloseCode::Protocol));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, rest)) = rest.split_at_checked(extended) else {
            return Ok(Err(extended - rest.len()));
        };
        let payload = match length {
            [] => u64::from(short),
            bytes => bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.check_length(extended, payload)?;
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(Err(4 - rest.len()));
        };
        if control && rest.len() < usize::from(short) {
            return Ok(Err(usize::from(short) - rest.len()));
        }
        Ok(Ok(Header {
            fin: first & 0x80 != 0,
            opcode: first & 0x0F,
            payload,
            mask: *mask,
            length: 2 + extended + 4,
        }))
    }

    fn check_first(&self, first: u8) -> Result<(), End> {
        let (fin, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0F);
        let fine = match opcode {
            CONTINUATION => self.in_message,
            BINARY => !self.in_message,
            TEXT if reserved == 0 && !self.in_message => {
                return Err(End::Failed(CloseCode::Unsupported));
            }
            CLOSE | PING | PONG => fin,
            _ => false,
        };
        if fine && reserved == 0 {
            Ok(())
        } else {
            Err(End::Failed(CloseCode::Protocol))
        }
    }

    /// A length is written in the fewest bytes that hold it (section 5.2), and within the limit.
    fn check_length(&self, extended: usize, payload: u64) -> Result<(), End> {
        let shortest = match extended {
            2 => payload > 125,
            8 => payload > 0xFFFF && payload >> 63 == 0,
            _ => true,
        };
        if !shortest {
            Err(End::Failed(CloseCode::Protocol))
        } else if payload > self.max_frame_size.max(CONTROL_MAX as u64) {
            Err(End::Failed(CloseCode::TooBig))
        } else {
            Ok(())
        }
    }

    /// Acts on a head. Returns how many of `bytes` it and, with a control frame, its payload took.
    fn enter(
        &mut self,
        header: Header,
        bytes: &[u8],
        pong: &mut Option<Pong>,
    ) -> Result<usize, End> {
        if header.opcode & 0x08 == 0 {
            self.in_message = !header.fin;
            self.remaining = header.payload;
            self.mask = header.mask;
            return Ok(header.length);
        }
        let control = Control::unmasked(header, bytes);
        match header.opcode {
            PING => *pong = Some(Pong(control.clone())),
            CLOSE => return Err(closed(control.as_slice())),
            _ => {} // a pong that nobody asked for (section 5.5.3)
        }
        Ok(header.length + control.as_slice().len())
    }
}

impl Control {
    fn unmasked(mut header: Header, bytes: &[u8]) -> Self {
        let mut control = Self {
            bytes: [0; CONTROL_MAX],
            length: header.payload as u8, // at most 125: `unit` saw to that
        };
        let end = header.length + usize::from(control.length);
        let payload = &mut control.bytes[..usize::from(control.length)];
        payload.copy_from_slice(&bytes[header.length..end]);
        unmask(payload, &mut header.mask);
        control
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Pong {
    /// Appends the whole frame.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let payload = self.0.as_slice();
        out.extend_from_slice(Head::new(PONG, payload.len()).as_ref());
        out.extend_from_slice(payload);
    }
}

impl End {
    /// The close frame that answers it: an echo of the peer's code, or the reason why not to go on.
    pub fn answer(self) -> Head {
        match self {
            Self::Closed(code) => close_frame(code),
            Self::Failed(code) => close_frame(Some(code.code())),
        }
    }
}

/// What a close frame's payload says (section 5.5.1).
fn closed(payload: &[u8]) -> End {
    let (code, reason) = match payload {
        [] => return End::Closed(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return End::Failed(CloseCode::Protocol),
    };
    // Section 7.4: 1004 to 1006 and 1015 never appear in a frame; 1016 to 2999 are not given out.
    let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !known {
        End::Failed(CloseCode::Protocol)
    } else if std::str::from_utf8(reason).is_err() {
        End::Failed(CloseCode::NotUtf8)
    } else {
        End::Closed(Some(code))
    }
}

/// Unmasks `bytes` (section 5.3) and turns `mask` to where they end. The loop over whole words is
/// one that the compiler makes vector instructions of.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let turn = bytes.len() % 4;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(turn);
}

#[cfg(test)]
mod tests;
