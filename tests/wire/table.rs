//! The decoder against the shared table of packets.

use std::collections::BTreeSet;

use cofferdam::wire::decode::{self, DecodeError, Frame, Framing};
use cofferdam::wire::{Packet, Version};

use super::packets::{Case, MAX_PACKET_SIZE, cases};
use super::summary;

/// The version in force when the packet comes; none before CONNECT.
fn version(case: &Case) -> Option<Version> {
    let version = match case.version {
        "3.1" => Version::V31,
        "3.1.1" => Version::V311,
        "5" => Version::V5,
        other => panic!("no version: {other}"),
    };
    (!case.first).then_some(version)
}

fn read<'a>(bytes: &'a [u8], version: Option<Version>) -> Result<Packet<'a>, Outcome> {
    match decode::frame(bytes, MAX_PACKET_SIZE)? {
        Framing::Partial(total) => Err(Outcome::Partial(total)),
        Framing::Whole(frame) => Ok(decode::packet(frame, version)?),
    }
}

enum Outcome {
    Partial(Option<usize>),
    Refused(DecodeError),
}

impl From<DecodeError> for Outcome {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error)
    }
}

fn said(outcome: Result<Packet<'_>, Outcome>) -> String {
    match outcome {
        Ok(packet) => summary::of(&packet),
        Err(Outcome::Partial(None)) => "partial".into(),
        Err(Outcome::Partial(Some(total))) => format!("partial {total}"),
        Err(Outcome::Refused(error)) => {
            format!("0x{:02X} {}", error.code.as_byte(), error.statement)
        }
    }
}

#[test]
fn every_packet_of_the_table_is_what_the_table_says() {
    let wrong: Vec<_> = cases()
        .iter()
        .filter_map(|case| {
            let found = said(read(&case.bytes, version(case)));
            (found != case.expected).then(|| {
                format!(
                    "{} ({}): {}\n  expected {}\n  found    {found}",
                    case.name,
                    case.version,
                    hex(&case.bytes),
                    case.expected
                )
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), wrong.len());
}

#[test]
fn the_table_breaks_every_rule() {
    let broken: BTreeSet<_> = cases()
        .iter()
        .filter_map(|case| match read(&case.bytes, version(case)) {
            Err(Outcome::Refused(error)) => Some(error.what),
            _ => None,
        })
        .collect();
    let rules: BTreeSet<_> = decode::RULES.iter().map(|rule| rule.what).collect();
    assert_eq!(rules.len(), decode::RULES.len(), "two rules say the same");
    assert_eq!(broken, rules);
}

#[test]
fn the_table_names_each_case_once() {
    let cases = cases();
    let names: BTreeSet<_> = cases
        .iter()
        .map(|case| (case.name, case.version, case.first))
        .collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn every_refusal_is_an_error_code_with_plain_words_and_a_source() {
    for rule in decode::RULES {
        assert!(rule.code.is_error(), "{rule:?}");
        let source = ["MQTT-", "section ", "3.1.1: MQTT-"]
            .iter()
            .any(|start| rule.statement.starts_with(start));
        assert!(source, "{rule:?}");
        assert!(
            !rule.what.is_empty() && !rule.what.ends_with('.'),
            "{rule:?}"
        );
    }
}

#[test]
fn the_front_of_a_packet_waits_for_the_whole_of_it() {
    for case in cases().iter().filter(|case| case.is_valid()) {
        let header = 1 + case.bytes[1..]
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .map_or(0, |place| place + 1);
        for cut in 0..case.bytes.len() {
            let known = (cut >= header).then_some(case.bytes.len());
            assert_eq!(
                decode::frame(&case.bytes[..cut], MAX_PACKET_SIZE),
                Ok(Framing::Partial(known)),
                "{} cut at {cut}",
                case.name
            );
        }
    }
}

#[test]
fn what_follows_a_packet_is_left_alone() {
    for case in cases().iter().filter(|case| case.is_valid()) {
        let mut bytes = case.bytes.clone();
        bytes.extend([0xFF; 9]);
        let Ok(Framing::Whole(frame)) = decode::frame(&bytes, MAX_PACKET_SIZE) else {
            panic!("{}: no whole packet", case.name);
        };
        assert_eq!(frame.length, case.bytes.len(), "{}", case.name);
        let found = summary::of(&decode::packet(frame, version(case)).expect(case.name));
        assert_eq!(found, case.expected, "{}", case.name);
    }
}

#[test]
fn a_packet_as_large_as_the_limit_is_taken_and_one_byte_more_is_not() {
    let packet = [0x30, 3, 0, 1, b'a'];
    assert_eq!(
        decode::frame(&packet, 5),
        Ok(Framing::Whole(Frame {
            first: 0x30,
            body: &[0, 1, b'a'],
            length: 5
        }))
    );
    let error = decode::frame(&packet, 4).expect_err("larger than the limit");
    assert_eq!(error.code.as_byte(), 0x95);
    // And that before the body has come.
    assert_eq!(decode::frame(&packet[..2], 4), Err(error));
}

#[test]
fn every_shorter_body_is_read_or_refused_but_never_read_beyond() {
    for case in cases() {
        let Ok(Framing::Whole(frame)) = decode::frame(&case.bytes, MAX_PACKET_SIZE) else {
            continue;
        };
        for cut in 0..frame.body.len() {
            let shorter = Frame {
                body: &frame.body[..cut],
                length: frame.length - (frame.body.len() - cut),
                ..frame
            };
            // Read in all three versions, whatever it was made for: nothing may panic.
            for version in [
                None,
                Some(Version::V31),
                Some(Version::V311),
                Some(Version::V5),
            ] {
                let _ = decode::packet(shorter, version);
            }
        }
    }
}

#[test]
fn a_refused_connect_is_answered_in_its_own_version() {
    for case in cases().iter().filter(|case| case.first) {
        let Ok(Framing::Whole(frame)) = decode::frame(&case.bytes, MAX_PACKET_SIZE) else {
            continue;
        };
        if let Ok(Packet::Connect(connect)) = decode::packet(frame, None) {
            assert_eq!(decode::answer_version(frame), Some(connect.version));
        }
    }
    let answered_in = |first, body: &'static [u8]| {
        decode::answer_version(Frame {
            first,
            body,
            length: body.len() + 2,
        })
    };
    assert_eq!(answered_in(0x10, b"\0\x04MQTT\x06"), Some(Version::V5));
    assert_eq!(answered_in(0x10, b"\0\x04MQTT\x85"), Some(Version::V5));
    assert_eq!(answered_in(0x10, b"\0\x04MQTT\x03"), Some(Version::V311));
    assert_eq!(answered_in(0x10, b"\0\x06MQIsdp\x09"), Some(Version::V31));
    assert_eq!(answered_in(0x10, b"\0\x04HTTP\x04"), None);
    assert_eq!(answered_in(0x10, b"\0\x04MQTT"), None);
    assert_eq!(answered_in(0x11, b"\0\x04MQTT\x05"), None);
    assert_eq!(answered_in(0x30, b"\0\x04MQTT\x05"), None);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
