//! What the decoder makes of frames, whole, split, masked, and wrong.

use proptest::prelude::*;

use super::*;
use crate::net::websocket::binary_head;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMIT: u64 = 1 << 20;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = Head::new(first & 0x0F, payload.len()).as_ref().to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend(mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// What a whole conversation amounts to.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    data: Vec<u8>,
    pongs: Vec<u8>,
    end: Option<End>,
}

/// Decodes `bytes`, cut into reads at `cuts`.
fn hear(bytes: &[u8], cuts: &[usize]) -> Heard {
    let mut decoder = Decoder::new(LIMIT);
    let mut heard = Heard::default();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        let mut read = bytes[pair[0]..pair[1]].to_vec();
        let decoded = decoder.decode(&mut read);
        heard.data.extend_from_slice(&read[decoded.data]);
        if let Some(pong) = decoded.pong {
            pong.append_to(&mut heard.pongs);
        }
        heard.end = heard.end.or(decoded.end);
        assert!(
            decoder.held.len() <= 130,
            "{} bytes held",
            decoder.held.len()
        );
    }
    heard
}

/// What one wrong frame ends in.
fn failure(bytes: &[u8]) -> Option<CloseCode> {
    let whole = hear(bytes, &[]);
    let split: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(whole, hear(bytes, &split), "byte by byte");
    match whole.end {
        Some(End::Failed(code)) => Some(code),
        _ => None,
    }
}

#[test]
fn the_examples_of_the_rfc_decode_to_what_it_says() {
    // Section 5.7, as binary instead of text.
    let hello = [
        0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    assert_eq!(hear(&hello, &[]).data, b"Hello");
    let mut fragmented = frame(0x02, b"Hel", MASK);
    fragmented.extend(frame(0x89, b"Hello", MASK));
    fragmented.extend(frame(0x80, b"lo", MASK));
    let heard = hear(&fragmented, &[]);
    assert_eq!(heard.data, b"Hello");
    assert_eq!(heard.pongs, [0x8A, 5, b'H', b'e', b'l', b'l', b'o']);
    assert_eq!(heard.end, None);
}

#[test]
fn packets_joined_in_one_read_come_out_in_one_piece() {
    let mut read = frame(0x82, b"one", MASK);
    read.extend(frame(0x8A, b"unasked", MASK));
    read.extend(frame(0x82, b"", MASK));
    read.extend(frame(0x82, b"two", [0; 4]));
    let decoded = Decoder::new(LIMIT).decode(&mut read);
    assert_eq!(&read[decoded.data], b"onetwo");
    assert_eq!((decoded.pong, decoded.end), (None, None));
}

#[test]
fn a_payload_is_handed_on_before_its_frame_is_whole() {
    let bytes = frame(0x82, &[7; 1000], MASK);
    let mut decoder = Decoder::new(LIMIT);
    let mut read = bytes[..100].to_vec();
    let decoded = decoder.decode(&mut read);
    assert_eq!(&read[decoded.data], [7; 92]);
    assert_eq!(decoder.held.capacity(), 0);
}

#[test]
fn only_the_last_ping_of_a_read_is_answered() {
    let mut bytes = frame(0x89, b"first", MASK);
    bytes.extend(frame(0x89, b"last", MASK));
    assert_eq!(hear(&bytes, &[]).pongs, [0x8A, 4, b'l', b'a', b's', b't']);
}

#[test]
fn what_breaks_the_rfc_ends_with_its_close_code() {
    use CloseCode::{NotUtf8, Protocol, TooBig, Unsupported};
    let start = frame(0x02, b"a", MASK);
    let after_start = |next: Vec<u8>| [start.clone(), next].concat();
    let unmasked = |bytes: &[u8]| bytes.to_vec();
    let close = |payload: &[u8]| frame(0x88, payload, MASK);
    let cases = [
        ("text", frame(0x81, b"a", MASK), Unsupported),
        ("text in fragments", frame(0x01, b"a", MASK), Unsupported),
        ("unmasked", unmasked(&[0x82, 1, 0]), Protocol),
        ("RSV1", frame(0xC2, b"a", MASK), Protocol),
        ("RSV2", frame(0xA2, b"a", MASK), Protocol),
        ("RSV3", frame(0x92, b"a", MASK), Protocol),
        ("RSV1 on text", frame(0xC1, b"a", MASK), Protocol),
        ("RSV1 on a ping", frame(0xC9, b"a", MASK), Protocol),
        ("opcode 3", frame(0x83, b"a", MASK), Protocol),
        ("opcode 7", frame(0x87, b"a", MASK), Protocol),
        ("opcode 11", frame(0x8B, b"a", MASK), Protocol),
        ("opcode 15", frame(0x8F, b"a", MASK), Protocol),
        ("a ping in fragments", frame(0x09, b"a", MASK), Protocol),
        ("a close in fragments", frame(0x08, b"", MASK), Protocol),
        (
            "a ping of 126 bytes",
            frame(0x89, &[0; 126], MASK),
            Protocol,
        ),
        (
            "a continuation of nothing",
            frame(0x80, b"a", MASK),
            Protocol,
        ),
        (
            "a message within a message",
            after_start(frame(0x82, b"b", MASK)),
            Protocol,
        ),
        (
            "text within a message",
            after_start(frame(0x81, b"b", MASK)),
            Protocol,
        ),
        (
            "a continuation after the end",
            after_start([frame(0x80, b"", MASK), frame(0x80, b"", MASK)].concat()),
            Protocol,
        ),
        (
            "a length in too many bytes",
            unmasked(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0]),
            Protocol,
        ),
        (
            "a length in far too many",
            unmasked(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
            Protocol,
        ),
        (
            "a length with its high bit",
            unmasked(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Protocol,
        ),
        (
            "one byte over the limit",
            unmasked(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 1]),
            TooBig,
        ),
        ("a close of one byte", close(&[3]), Protocol),
        ("a close with 999", close(&999_u16.to_be_bytes()), Protocol),
        (
            "a close with 1004",
            close(&1004_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with 1005",
            close(&1005_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with 1006",
            close(&1006_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with 1015",
            close(&1015_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with 2999",
            close(&2999_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with 5000",
            close(&5000_u16.to_be_bytes()),
            Protocol,
        ),
        (
            "a close with a bad reason",
            close(&[3, 0xE8, 0xFF]),
            NotUtf8,
        ),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(failure(&bytes), Some(code), "{name}");
    }
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let payload = vec![9; LIMIT as usize];
    let heard = hear(&frame(0x82, &payload, MASK), &[]);
    assert!(heard.data == payload && heard.end.is_none());
}

#[test]
fn a_close_is_answered_with_its_own_code() {
    let end = |payload: &[u8]| hear(&frame(0x88, payload, MASK), &[]).end;
    for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend("bis bald".bytes());
        let answer = end(&payload).map(End::answer).expect("an end");
        assert_eq!(answer, close_frame(Some(code)));
    }
    let bare = end(b"").map(End::answer).expect("an end");
    assert_eq!(bare.as_ref(), [0x88, 0]);
    assert_eq!(
        End::Failed(CloseCode::TooBig).answer().as_ref(),
        [0x88, 2, 0x03, 0xF1]
    );
}

#[test]
fn data_before_the_end_counts_and_after_it_does_not() {
    let mut bytes = frame(0x82, b"before", MASK);
    bytes.extend(frame(0x88, &[3, 0xE8], MASK));
    bytes.extend(frame(0x82, b"after", MASK));
    bytes.extend(frame(0x89, b"after", MASK));
    for cuts in [vec![], (0..bytes.len()).collect()] {
        let heard = hear(&bytes, &cuts);
        assert_eq!(heard.data, b"before");
        assert_eq!(heard.pongs, b"");
        assert_eq!(heard.end, Some(End::Closed(Some(1000))));
    }
}

#[test]
fn what_the_server_frames_is_what_the_head_says() {
    let head = binary_head(300);
    assert_eq!(head.as_ref(), [0x82, 126, 1, 44]);
}

/// Part of a conversation.
#[derive(Clone, Debug)]
enum Piece {
    /// A message in so many fragments, pings between them or not.
    Message(Vec<(Vec<u8>, [u8; 4], bool)>),
    Ping(Vec<u8>, [u8; 4]),
    Pong(Vec<u8>, [u8; 4]),
}

fn payload(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..most.min(40)),
        2 => prop::collection::vec(any::<u8>(), 0..most),
        1 => prop::collection::vec(any::<u8>(), most.min(65_500)..most.min(65_600) + 1),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let part = (payload(70_000), any::<[u8; 4]>(), any::<bool>());
    prop_oneof![
        4 => prop::collection::vec(part, 1..5).prop_map(Piece::Message),
        1 => (payload(124), any::<[u8; 4]>()).prop_map(|(p, m)| Piece::Ping(p, m)),
        1 => (payload(124), any::<[u8; 4]>()).prop_map(|(p, m)| Piece::Pong(p, m)),
    ]
}

/// The bytes of a conversation and the MQTT in it.
fn written(pieces: &[Piece]) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut mqtt) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Ping(payload, mask) => bytes.extend(frame(0x89, payload, *mask)),
            Piece::Pong(payload, mask) => bytes.extend(frame(0x8A, payload, *mask)),
            Piece::Message(parts) => {
                for (index, (payload, mask, ping)) in parts.iter().enumerate() {
                    let opcode = if index == 0 { 0x02 } else { 0x00 };
                    let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
                    bytes.extend(frame(opcode | fin, payload, *mask));
                    mqtt.extend(payload);
                    if *ping {
                        bytes.extend(frame(0x89, b"", *mask));
                    }
                }
            }
        }
    }
    (bytes, mqtt)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn fragments_and_reads_may_be_cut_anywhere(
        pieces in prop::collection::vec(piece(), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
    ) {
        let (bytes, mqtt) = written(&pieces);
        let heard = hear(&bytes, &cuts);
        prop_assert!(heard.data == mqtt, "{} bytes for {}", heard.data.len(), mqtt.len());
        prop_assert_eq!(heard.end, None);
    }

    #[test]
    fn garbage_ends_alike_however_it_is_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        valid in prop::collection::vec(piece(), 0..2),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let (mut all, _) = written(&valid);
        all.extend(bytes);
        let (whole, split) = (hear(&all, &[]), hear(&all, &cuts));
        prop_assert!(whole.data == split.data);
        prop_assert_eq!(whole.end, split.end);
    }

    #[test]
    fn unmasking_twice_changes_nothing_and_keeps_its_place(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        mask in any::<[u8; 4]>(),
        cut in any::<usize>(),
    ) {
        let simple: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
        let mut fast = bytes.clone();
        let (front, back) = fast.split_at_mut(cut % (bytes.len() + 1));
        let mut turning = mask;
        unmask(front, &mut turning);
        unmask(back, &mut turning);
        prop_assert_eq!(&fast, &simple);
        unmask(&mut fast, &mut { mask });
        prop_assert_eq!(fast, bytes);
    }
}
