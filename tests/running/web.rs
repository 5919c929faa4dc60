//! A WebSocket by hand, frame by frame, for what no library would send.

use std::io::{Read as _, Write as _};

use super::Stream;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The request that every broker accepts, without its first line's path and its last lines.
const UPGRADE: &str = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The answer to that key (RFC 6455 section 1.3).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// What a handshake was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
}

/// An upgrade request for `path`, with `fields` (each with its line end) beside the usual ones.
pub fn request(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{UPGRADE}{fields}\r\n").into_bytes()
}

/// Sends a request and reads the head of its answer.
pub fn ask(stream: &mut Stream, request: &[u8]) -> Answer {
    stream.write_all(request).expect("sent");
    answer(stream)
}

/// Reads the head of an answer, and no byte more.
pub fn answer(stream: &mut Stream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status"),
        head,
    }
}

/// An accepted WebSocket.
pub fn open(mut stream: Stream) -> Stream {
    let fields = "Sec-WebSocket-Protocol: mqtt\r\n";
    let answer = ask(&mut stream, &request("/", fields));
    assert_eq!(answer.status, 101, "{}", answer.head);
    stream
}

/// A whole frame from a client, masked.
pub fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | u8::from(last) << 7];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// The next frame, which must be whole and not masked, as a server's are; `None`: closed.
pub fn next(stream: &mut Stream) -> Option<Frame> {
    let mut first = [0];
    if stream.read(&mut first).expect("a frame") == 0 {
        return None;
    }
    let mut second = [0];
    stream.read_exact(&mut second).expect("a head");
    assert_eq!(first[0] & 0xF0, 0x80, "one fragment, no extension");
    let length = match second[0] {
        126 => u64::from(u16::from_be_bytes(take(stream))),
        127 => u64::from_be_bytes(take(stream)),
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut payload).expect("a payload");
    let opcode = first[0] & 0x0F;
    Some(Frame { opcode, payload })
}

/// Every frame until the broker closes.
pub fn rest(stream: &mut Stream) -> Vec<Frame> {
    std::iter::from_fn(|| next(stream)).collect()
}

/// A close frame with a code.
pub fn closing(code: u16) -> Frame {
    Frame {
        opcode: CLOSE,
        payload: code.to_be_bytes().to_vec(),
    }
}

fn take<const N: usize>(stream: &mut Stream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("a length");
    bytes
}
