//! WebSocket: the handshake and the frames after it. However the bytes are split into reads, what
//! comes out is the same.

use cofferdam::config::WebSocket;
use cofferdam::net::websocket::{Decoder, End, Handshake, Pong, Progress};

use super::input::{Input, Lengths};

/// All that came of a connection.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The answer to the request, as far as there was one.
    response: Vec<u8>,
    /// Bytes that belonged to the request; `None` while it is not accepted.
    request_length: Option<usize>,
    forwarded_for: Option<Box<str>>,
    /// The MQTT bytes.
    data: Vec<u8>,
    /// The answer to the last ping.
    pong: Option<Pong>,
    end: Option<End>,
}

/// Byte 0: whether the request comes first, and the largest frame; bytes 1 and 2: how the others
/// are split.
pub fn websocket(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.u8();
    let splits = Lengths::new(input.u16(), 4096);
    let largest_frame = 1 << (how >> 4);
    let upgraded = how & 1 == 0;

    let whole = run(upgraded, largest_frame, [input.rest()].into_iter());
    let mut rest = input;
    let pieces = splits.map_while(|length| (!rest.is_empty()).then(|| rest.take(length)));
    assert_eq!(run(upgraded, largest_frame, pieces), whole);
    let mut rest = input;
    let single = std::iter::from_fn(|| (!rest.is_empty()).then(|| rest.take(1)));
    assert_eq!(run(upgraded, largest_frame, single), whole);
}

fn run<'a>(upgraded: bool, max: u64, reads: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let rules = WebSocket {
        paths: vec!["/".into(), "/mqtt".into()],
        allowed_origins: vec!["https://a.example".into()],
        listed_origins_only: false,
        max_frame_size: max,
    };
    let mut outcome = Outcome::default();
    let mut handshake = (!upgraded).then(Handshake::new);
    let mut decoder = Decoder::new(max);
    let mut before = 0;
    for read in reads {
        let mut frames = read;
        if let Some(open) = &mut handshake {
            match open.advance(read, &rules) {
                Progress::NeedMore => {
                    before += read.len();
                    continue;
                }
                Progress::Refuse(refused) => {
                    assert!((400..500).contains(&refused.status));
                    outcome.response = refused.response;
                    return outcome;
                }
                Progress::Accept(accepted) => {
                    frames = &read[accepted.consumed..];
                    outcome.request_length = Some(before + accepted.consumed);
                    outcome.response = accepted.response;
                    outcome.forwarded_for = accepted.forwarded_for;
                    handshake = None;
                }
            }
        }
        decode(&mut decoder, frames, &mut outcome);
    }
    outcome
}

fn decode(decoder: &mut Decoder, frames: &[u8], outcome: &mut Outcome) {
    let mut buffer = frames.to_vec();
    let decoded = decoder.decode(&mut buffer);
    assert!(outcome.end.is_none() || (decoded.data.is_empty() && decoded.end.is_none()));
    outcome.data.extend_from_slice(&buffer[decoded.data]);
    if let Some(pong) = decoded.pong {
        let mut frame = Vec::new();
        pong.append_to(&mut frame);
        assert!(frame.len() <= 127 && frame[0] == 0x8A && usize::from(frame[1]) == frame.len() - 2);
        outcome.pong = Some(pong);
    }
    if let Some(end) = decoded.end {
        let answer = end.answer();
        assert!(matches!(answer.as_ref(), [0x88, 0] | [0x88, 2, _, _]));
        outcome.end = Some(end);
    }
}
