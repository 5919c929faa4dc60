//! Headers by the letter, in pieces, at random and against a second opinion; addresses in
//! `X-Forwarded-For`.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::client_of;
use super::header::{Header, HeaderError, LENGTH_MAX, Progress, parse};
use crate::config::Proxies;

const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn proxies(list: &[&str]) -> Proxies {
    let list: Vec<_> = list.iter().map(|it| (*it).to_owned()).collect();
    Proxies::parse(&list).expect("proxies")
}

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    [MARK, &[command, family], &length.to_be_bytes(), body].concat()
}

/// 192.0.2.1:4711 to 198.51.100.2:8883.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x22, 0xB3];

fn inet6() -> Vec<u8> {
    let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().expect("v6");
    let mut body = source.octets().to_vec();
    body.extend([0; 16]);
    body.extend([0x12, 0x67, 0x22, 0xB3]);
    body
}

fn whole(bytes: &[u8], client: Option<&str>) -> Result<Progress, HeaderError> {
    Ok(Progress::Whole(Header {
        length: bytes.len(),
        client: client.map(|text| text.parse().expect("an address")),
    }))
}

/// What is right: the header, and whom it speaks for.
fn right() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let line = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            line("PROXY TCP4 192.0.2.1 198.51.100.2 4711 8883\r\n"),
            Some("192.0.2.1:4711"),
        ),
        (
            line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            Some("255.255.255.255:65535"),
        ),
        (
            line("PROXY TCP6 2001:db8::7 ::1 0 8883\r\n"),
            Some("[2001:db8::7]:0"),
        ),
        // The longest there is, with addresses.
        (
            line(&format!(
                "PROXY TCP6 {0} {0} 65535 65535\r\n",
                "ffff:".repeat(8).trim_end_matches(':')
            )),
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        (
            line("PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 8883\r\n"),
            Some("192.0.2.1:4711"),
        ),
        (line("PROXY UNKNOWN\r\n"), None),
        (line("PROXY UNKNOWN any thing at all\r\n"), None),
        (binary(0x21, 0x11, &INET), Some("192.0.2.1:4711")),
        (binary(0x21, 0x21, &inet6()), Some("[2001:db8::7]:4711")),
        (
            binary(
                0x21,
                0x11,
                &[&INET[..], &[4, 0, 2, 9, 9, 0xEE, 0, 0]].concat(),
            ),
            Some("192.0.2.1:4711"),
        ),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x31, &[b'/'; 216]), None),
        // LOCAL is passed over with all that is in it.
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &INET), None),
        (binary(0x20, 0xFF, &[1, 2, 3]), None),
    ]
}

#[test]
fn every_form_of_header_gives_the_client_and_not_a_byte_of_its_own() {
    for (bytes, client) in right() {
        let shown = String::from_utf8_lossy(&bytes);
        assert_eq!(parse(&bytes), whole(&bytes, client), "{shown:?}");
        let behind = [&bytes[..], b"\x10\x0c\0\x04MQTT"].concat();
        assert_eq!(parse(&behind), whole(&bytes, client), "{shown:?}");
        for front in 0..bytes.len() {
            assert_eq!(parse(&bytes[..front]), Ok(Progress::Partial), "{shown:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused_as_early_as_it_shows() {
    for (what, bytes) in [
        ("an MQTT CONNECT", &b"\x10\x0c\0\x04MQTT"[..]),
        ("a TLS greeting", b"\x16\x03\x01\x02\0"),
        ("a web request", b"GET / HTTP/1.1\r\n"),
        ("small letters", b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"),
        ("no space", b"PROXYTCP4"),
        ("half of a mark", b"\r\n\r\n\0\r\nQUIX"),
    ] {
        assert_eq!(parse(bytes), Err(HeaderError::Missing), "{what}");
    }
}

#[test]
fn a_header_that_is_not_by_the_letter_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), 108);
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 8883\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 8883\r\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 4711 8883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 8883 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 8883 \r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 4711 8883\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 4711 8883\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 4711 8883\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 4711 8883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +471 8883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 04711 8883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 8883\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 4711 \r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN \rx\r\n",
        "PROXY \r\n",
        "PROXY TCP5 a b 1 2\r\n",
    ] {
        let parsed = parse(line.as_bytes());
        assert!(
            matches!(parsed, Err(HeaderError::Malformed(_))),
            "{line:?}: {parsed:?}"
        );
    }
    assert_eq!(parse(long.as_bytes()), Err(HeaderError::TooLong));
    assert_eq!(parse(&long.as_bytes()[..107]), Err(HeaderError::TooLong));
    for (what, bytes) in [
        ("a version to come", binary(0x31, 0x11, &INET)),
        ("an unknown command", binary(0x22, 0x11, &INET)),
        ("addresses cut short", binary(0x21, 0x11, &INET[..11])),
        ("IPv4 said to be IPv6", binary(0x21, 0x21, &INET)),
        ("a UNIX path cut short", binary(0x21, 0x31, &[0; 215])),
        ("datagrams", binary(0x21, 0x12, &INET)),
        ("an unknown family", binary(0x21, 0x41, &INET)),
        (
            "an extension cut short",
            binary(0x21, 0x11, &[&INET[..], &[4, 0, 2, 9]].concat()),
        ),
        (
            "half of an extension's head",
            binary(0x21, 0x11, &[&INET[..], &[4, 0]].concat()),
        ),
        (
            "a checksum of three bytes",
            binary(0x21, 0x11, &[&INET[..], &[3, 0, 3, 1, 2, 3]].concat()),
        ),
    ] {
        let parsed = parse(&bytes);
        assert!(
            matches!(parsed, Err(HeaderError::Malformed(_))),
            "{what}: {parsed:?}"
        );
    }
}

#[test]
fn a_header_longer_than_the_limit_is_refused_by_its_first_bytes() {
    let length = u16::try_from(LENGTH_MAX - 16 + 1).expect("short");
    let head = [MARK, &[0x20, 0], &length.to_be_bytes()].concat();
    assert_eq!(parse(&head), Err(HeaderError::TooLong));
    let full = binary(0x20, 0, &vec![0; LENGTH_MAX - 16]);
    assert_eq!(parse(&full), whole(&full, None));
}

#[test]
fn a_checksum_that_is_there_must_match() {
    // Made by hand: the sum of the header with zeros in the sum's place.
    let summed = |sum: [u8; 4]| {
        let extensions = [&[3, 0, 4][..], &sum, &[4, 0, 1, 0]].concat();
        binary(0x21, 0x11, &[&INET[..], &extensions].concat())
    };
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&summed([0; 4]));
    let right = summed(sum.to_be_bytes());
    assert_eq!(parse(&right), whole(&right, Some("192.0.2.1:4711")));
    for place in (16..right.len()).filter(|place| !(28..31).contains(place)) {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        let parsed = parse(&wrong);
        assert!(parsed.is_err(), "byte {place}: {parsed:?}");
    }
    // As RFC 3720 gives it, so that the sum is not only our own idea of it.
    let of_zeros = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&[0; 32]);
    assert_eq!(of_zeros, 0x8A91_36AA);
}

/// The client that another reader sees: `None` where it sees no whole header.
fn second_opinion(bytes: &[u8]) -> Option<Option<SocketAddr>> {
    use ppp::{HeaderResult, v1, v2};
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => Some(match header.ok()?.addresses {
            v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
            v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            let is_local = header.command == v2::Command::Local;
            Some(match header.addresses {
                _ if is_local => None,
                v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
                v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            })
        }
    }
}

/// Bytes that look like headers.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let right = proptest::sample::select(right()).prop_map(|(bytes, _)| bytes);
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let edited = (right, edits).prop_map(|(mut bytes, edits)| {
        for (place, byte) in edits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    let word = "(PROXY|TCP4|TCP6|UNKNOWN|192\\.0\\.2\\.1|::1|2001:db8::1|0|80|65536| |\r\n|\n)";
    let line = proptest::collection::vec(word, 0..14).prop_map(|words| words.concat().into_bytes());
    let line = (line, any::<bool>()).prop_map(|(line, is_begun)| match is_begun {
        true => [b"PROXY ", &line[..]].concat(),
        false => line,
    });
    prop_oneof![edited, line, proptest::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn whatever_comes_is_read_within_bounds_and_the_same_in_pieces(bytes in nearly()) {
        let at_once = parse(&bytes);
        if let Ok(Progress::Whole(header)) = at_once {
            prop_assert!(header.length <= bytes.len().min(LENGTH_MAX));
        }
        if at_once == Ok(Progress::Partial) {
            prop_assert!(bytes.len() < LENGTH_MAX);
        }
        // The first answer that is final is the answer.
        let first = (0..=bytes.len()).map(|front| parse(&bytes[..front]))
            .find(|answer| *answer != Ok(Progress::Partial));
        prop_assert_eq!(first.unwrap_or(Ok(Progress::Partial)), at_once);
    }

    #[test]
    fn what_is_taken_for_a_header_is_one_for_another_reader_too(bytes in nearly()) {
        if let Ok(Progress::Whole(header)) = parse(&bytes) {
            let is_local = bytes.get(12) == Some(&0x20) && bytes.starts_with(MARK);
            // What follows UNKNOWN is to be ignored (PROXY protocol, section 2.1); the other reader
            // wants addresses there.
            let is_unknown = bytes.starts_with(b"PROXY UNKNOWN ");
            prop_assert!(!is_unknown || header.client.is_none());
            if !is_local && !is_unknown {
                let other = second_opinion(&bytes).map(|client| client.map(super::canonical));
                prop_assert_eq!(other, Some(header.client));
            }
        }
    }

    #[test]
    fn a_client_cannot_choose_its_address_by_what_it_writes_itself(
        own in "[ -~]{0,60}",
        last in any::<[u8; 4]>(),
    ) {
        prop_assume!(last[0] != 10);
        let trusted = proxies(&["10.0.0.0/8"]);
        let peer = "10.0.0.1:9".parse().expect("an address");
        let last = std::net::Ipv4Addr::from(last);
        let seen = client_of(peer, &format!("{own}, {last}, 10.0.0.2"), &trusted);
        prop_assert_eq!(seen, (last, 0).into());
    }
}

#[test]
fn the_client_is_the_last_address_that_no_listed_proxy_has() {
    let trusted = proxies(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.9"]);
    for (peer, told, seen) in [
        ("10.0.0.1:9", "203.0.113.7", "203.0.113.7:0"),
        ("10.0.0.1:9", "6.6.6.6, 203.0.113.7", "203.0.113.7:0"),
        (
            "10.0.0.1:9",
            "6.6.6.6,203.0.113.7 , 10.1.1.1,192.0.2.9",
            "203.0.113.7:0",
        ),
        // From elsewhere: whatever it says.
        ("203.0.113.1:9", "203.0.113.7", "203.0.113.1:9"),
        // All are proxies: the farthest is who began.
        ("10.0.0.1:9", "10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
        // What is no address ends what is known.
        ("10.0.0.1:9", "203.0.113.7, unknown", "10.0.0.1:9"),
        ("10.0.0.1:9", "203.0.113.7, _x, 10.0.0.2", "10.0.0.2:0"),
        ("10.0.0.1:9", "", "10.0.0.1:9"),
        ("10.0.0.1:9", "203.0.113.7,", "10.0.0.1:9"),
        // With ports, with brackets, in guise.
        ("10.0.0.1:9", "203.0.113.7:4711", "203.0.113.7:4711"),
        ("10.0.0.1:9", "2a00::7", "[2a00::7]:0"),
        ("10.0.0.1:9", "[2a00::7]", "[2a00::7]:0"),
        ("[2001:db8::1]:9", "[2a00::7]:4711", "[2a00::7]:4711"),
        ("[::ffff:10.0.0.1]:9", "::ffff:203.0.113.7", "203.0.113.7:0"),
    ] {
        let peer = peer.parse().expect("an address");
        let seen: SocketAddr = seen.parse().expect("an address");
        assert_eq!(client_of(peer, told, &trusted), seen, "{told:?}");
    }
}
