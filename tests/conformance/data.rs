//! Chapters 1 and 2: how texts and numbers are written, and what frames a packet.

use super::cluster::*;
use super::{VERSIONS, is_dismissed};
use cofferdam::wire::Version;
use cofferdam::wire::client::{Property, Publish};

/// Shows: MQTT-1.5.4-3 (5.0); MQTT-1.5.3-3 (3.1.1)
#[test]
fn a_byte_order_mark_is_a_character_like_any_other() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha").v311());
    for version in VERSIONS {
        let listener = cluster.connect(0, client("bob@alpha").version(version));
        listener.subscribe("\u{FEFF}a", QOS_0);
        publisher.publish("a", "without");
        publisher.publish("\u{FEFF}a", "with");
        let expected = match version {
            Version::V5 => &b"\x30\x0B\x00\x04\xEF\xBB\xBFa\x00with"[..],
            _ => b"\x30\x0A\x00\x04\xEF\xBB\xBFawith",
        };
        assert_eq!(listener.bytes(), expected);
        listener.disconnect();
    }
}

/// Shows: MQTT-1.5.5-1 (5.0)
#[test]
fn a_remaining_length_longer_than_it_need_be_is_malformed_in_5_0_and_read_in_3_x() {
    let cluster = Cluster::new(1);
    for (long, body) in [
        (&[0xC0, 0x80, 0x00][..], &[][..]),
        (&[0xC0, 0x80, 0x80, 0x00], &[]),
        (&[0xC0, 0x80, 0x80, 0x80, 0x00], &[]),
        (&[0x40, 0x82, 0x00], &[0, 1]),
    ] {
        for version in VERSIONS {
            let client = cluster.connect(0, client("alice@alpha").version(version));
            client.send([long, body].concat());
            if version == Version::V5 {
                is_dismissed(&client, 0x81);
            } else {
                let answer: &[u8] = if long[0] == 0xC0 { &[0xD0, 0] } else { &[] };
                assert_eq!(client.bytes(), answer, "{version:?}");
                client.disconnect();
            }
        }
    }
    // CONNECT is held to it as well, in its own version.
    for version in VERSIONS {
        let mut connect = client("alice@alpha").version(version).connect.encode();
        connect[1] |= 0x80;
        connect.insert(2, 0);
        let client = cluster.open(0, &client("alice@alpha").version(version));
        client.send(connect);
        if version == Version::V5 {
            assert_eq!(client.bytes(), [0x20, 3, 0, 0x81, 0]);
            assert!(!client.is_open());
        } else {
            assert_eq!(client.connack().code, 0);
            client.disconnect();
        }
    }
}

/// Shows: MQTT-1.5.5-1 (5.0)
#[test]
fn lengths_are_written_in_as_few_bytes_as_hold_them() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("a", QOS_0);
    for (length, written) in [
        (127, &[0x7F][..]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
    ] {
        let head = 3 + 1; // topic, property length
        publisher.publish("a", &"x".repeat(length - head));
        let bytes = listener.bytes();
        assert_eq!(bytes[0], 0x30);
        assert_eq!(&bytes[1..=written.len()], written);
        assert_eq!(bytes.len(), 1 + written.len() + length);
    }
    // The length of the properties likewise: 3 + 2 bytes for each character of a pair's texts.
    for (length, written) in [(127, &[0x7F][..]), (128, &[0x80, 0x01])] {
        let pair = Property::User("n".repeat(length - 5), String::new());
        publisher.put(Publish {
            properties: vec![pair],
            ..Publish::new("a", b"")
        });
        let bytes = listener.bytes();
        let properties = bytes.len() - length - written.len();
        assert_eq!(&bytes[properties..properties + written.len()], written);
    }
}

/// A PUBLISH of 5.0 to `a` with these bytes as its properties.
fn publish_with(properties: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, b'a', properties.len() as u8];
    body.extend_from_slice(properties);
    [&[0x30, body.len() as u8], &body[..]].concat()
}

/// Shows: MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-1.5.7-1, MQTT-3.3.2-13, MQTT-3.3.2-19 (5.0)
#[test]
fn every_text_among_the_properties_is_held_to_be_text() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_0);
    let bad: [&[u8]; 5] = [
        b"\xFF",
        b"\xED\xA0\x80",     // U+D800
        b"\xED\xBF\xBF",     // U+DFFF
        b"\xF4\x90\x80\x80", // above U+10FFFF
        b"\x00",
    ];
    let text = |text: &[u8]| [&[0, text.len() as u8], text].concat();
    for bad in bad {
        let bad = text(bad);
        let good = text(b"ok");
        for properties in [
            [&[0x26], &bad[..], &good].concat(), // a pair's name
            [&[0x26], &good[..], &bad].concat(), // and its value
            [&[0x08], &bad[..]].concat(),        // response topic
            [&[0x03], &bad[..]].concat(),        // content type
        ] {
            let client = cluster.connect(0, client("alice@alpha"));
            client.send(publish_with(&properties));
            is_dismissed(&client, 0x81);
        }
    }
    assert_eq!(watcher.messages(), []);
    // The control.
    let client = cluster.connect(0, client("alice@alpha"));
    let good = text("ok \u{10FFFF}".as_bytes());
    client.send(publish_with(&[&[0x26], &good[..], &good].concat()));
    assert_eq!(watcher.messages().len(), 1);
}

/// Shows: MQTT-2.1.3-1, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1,
/// MQTT-4.13.1-1 (5.0); MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1,
/// MQTT-3.14.1-1 (3.1.1)
#[test]
fn reserved_flags_other_than_the_packets_own_end_the_connection() {
    let cluster = Cluster::new(1);
    // A client's packets with their right flags; PUBLISH has none that are reserved.
    let subscribe: [&[u8]; 2] = [b"\x00\x01\x00\x01a\x00", b"\x00\x01\x00\x00\x01a\x00"];
    let unsubscribe: [&[u8]; 2] = [b"\x00\x01\x00\x01a", b"\x00\x01\x00\x00\x01a"];
    let in_all = |body: &'static [u8]| [body, body];
    let packets: [(u8, [&[u8]; 2]); 9] = [
        (0x40, in_all(b"\x00\x01")),
        (0x50, in_all(b"\x00\x01")),
        (0x62, in_all(b"\x00\x01")),
        (0x70, in_all(b"\x00\x01")),
        (0x82, subscribe),
        (0xA2, unsubscribe),
        (0xC0, in_all(b"")),
        (0xE0, in_all(b"")),
        (0xF0, in_all(b"\x19\x04\x15\x00\x01m")),
    ];
    for version in [Version::V311, Version::V5] {
        for (right, bodies) in packets {
            if right == 0xF0 && version != Version::V5 {
                continue;
            }
            let body = bodies[usize::from(version == Version::V5)];
            for flags in (0..16).filter(|flags| *flags != right & 0x0F) {
                let client = cluster.connect(0, client("alice@alpha").version(version));
                let head = [right & 0xF0 | flags, body.len() as u8];
                client.send([&head, body].concat());
                is_dismissed(&client, 0x81);
            }
            // The control: with the right ones it is what it is.
            if right < 0xE0 {
                let client = cluster.connect(0, client("alice@alpha").version(version));
                client.send([&[right, body.len() as u8], body].concat());
                assert!(client.is_open(), "{version:?} {right:#04x}");
            }
        }
    }
}

/// Shows: MQTT-2.2.1-3 (5.0); MQTT-2.3.1-1 (3.1.1)
#[test]
fn the_packet_identifier_0_ends_the_connection() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_0);
    for version in VERSIONS {
        let none: &[u8] = match version {
            Version::V5 => &[0],
            _ => &[],
        };
        for (first, front, back) in [
            (0x32, &b"\x00\x01a\x00\x00"[..], &b"x"[..]),
            (0x34, b"\x00\x01a\x00\x00", b"x"),
            (0x82, b"\x00\x00", b"\x00\x01a\x00"),
            (0xA2, b"\x00\x00", b"\x00\x01a"),
        ] {
            let client = cluster.connect(0, client("alice@alpha").version(version));
            let body = [front, none, back].concat();
            client.send([&[first, body.len() as u8], &body[..]].concat());
            is_dismissed(&client, 0x82);
        }
    }
    assert_eq!(watcher.messages(), []);
}
