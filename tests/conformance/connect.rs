//! Sections 3.1 and 3.2: CONNECT and CONNACK.

use super::VERSIONS;
use super::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::wire::Version;
use cofferdam::wire::client::{ConnAck, Property};

const WILL: u8 = 0x04;
const RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// Which optional fields stand in the payload.
#[derive(Clone, Copy)]
struct Fields {
    will: bool,
    username: bool,
    password: bool,
}

impl Fields {
    /// Those that the flags announce.
    const fn of(flags: u8) -> Self {
        Self {
            will: flags & WILL != 0,
            username: flags & USERNAME != 0,
            password: flags & PASSWORD != 0,
        }
    }

    /// How many texts that is.
    const fn length(self) -> u8 {
        2 * self.will as u8 + self.username as u8 + self.password as u8
    }
}

/// CONNECT with these flags and these fields, whether they fit or not: anonymous, or as alice.
fn connect(version: Version, flags: u8, fields: Fields) -> Vec<u8> {
    let text = |text: &[u8]| [&[0, text.len() as u8], text].concat();
    let none: &[u8] = match version {
        Version::V5 => &[0],
        _ => &[],
    };
    let mut body = match version {
        Version::V31 => b"\x00\x06MQIsdp\x03".to_vec(),
        Version::V311 => b"\x00\x04MQTT\x04".to_vec(),
        Version::V5 => b"\x00\x04MQTT\x05".to_vec(),
    };
    body.extend([flags, 0, 0]);
    body.extend_from_slice(none);
    body.extend(text(b"alice@alpha"));
    if fields.will {
        body.extend_from_slice(none);
        body.extend(text(b"will"));
        body.extend(text(b"gone"));
    }
    if fields.username {
        body.extend(text(b"alice@alpha"));
    }
    if fields.password {
        body.extend(text(b"secret"));
    }
    [&[0x10, body.len() as u8], &body[..]].concat()
}

/// What came of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Welcome,
    /// The packet was read; the login was not good.
    BadLogin,
    Malformed,
}

fn answer(cluster: &Cluster, version: Version, connect: &[u8]) -> Answer {
    let client = cluster.open(0, &anonymous("").version(version));
    client.send(connect);
    if client.is_open() {
        assert_eq!(client.connack().code, 0);
        client.disconnect();
        return Answer::Welcome;
    }
    match (version, client.bytes().as_slice()) {
        (Version::V5, [0x20, 3, 0, 0x86, 0]) => Answer::BadLogin,
        (Version::V31 | Version::V311, [0x20, 2, 0, 4]) => Answer::BadLogin,
        (Version::V5, [0x20, 3, 0, 0x81, 0]) => Answer::Malformed,
        (Version::V31 | Version::V311, []) => Answer::Malformed,
        (_, other) => panic!("{other:02x?}"),
    }
}

/// Shows: MQTT-3.1.2-3, MQTT-3.1.2-11, MQTT-3.1.2-12, MQTT-3.1.2-13, MQTT-3.1.3-1, MQTT-3.1.3-3,
/// MQTT-3.1.4-1, MQTT-3.1.4-5 (5.0); MQTT-3.1.2-3, MQTT-3.1.2-13, MQTT-3.1.2-14, MQTT-3.1.2-15,
/// MQTT-3.1.2-22, MQTT-3.1.3-1, MQTT-3.1.3-3, MQTT-3.1.4-1, MQTT-3.1.4-4 (3.1.1)
#[test]
fn every_combination_of_connect_flags_is_admitted_or_refused_as_the_standard_says() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        for flags in 0..=u8::MAX {
            let will_qos = flags >> 3 & 3;
            let will = flags & WILL != 0;
            let login = (flags & USERNAME != 0, flags & PASSWORD != 0);
            let malformed = flags & 1 != 0 && version != Version::V31 // not reserved there
                || will_qos == 3
                || !will && (will_qos != 0 || flags & RETAIN != 0)
                || login == (false, true) && version != Version::V5;
            let expected = match login {
                _ if malformed => Answer::Malformed,
                (false, false) | (true, true) => Answer::Welcome,
                _ => Answer::BadLogin,
            };
            let found = answer(
                &cluster,
                version,
                &connect(version, flags, Fields::of(flags)),
            );
            assert_eq!(found, expected, "{version:?}, flags {flags:08b}");
        }
    }
}

/// Shows: MQTT-3.1.2-9, MQTT-3.1.2-16, MQTT-3.1.2-17, MQTT-3.1.2-18, MQTT-3.1.2-19 (5.0);
/// MQTT-3.1.2-9, MQTT-3.1.2-11, MQTT-3.1.2-18, MQTT-3.1.2-19, MQTT-3.1.2-20, MQTT-3.1.2-21 (3.1.1)
#[test]
fn a_field_stands_in_connect_exactly_where_its_flag_says_so() {
    let cluster = Cluster::new(1);
    for version in [Version::V311, Version::V5] {
        for flags in [
            0,
            WILL,
            USERNAME,
            USERNAME | PASSWORD,
            WILL | USERNAME | PASSWORD,
        ] {
            for (will, username, password) in (0..8).map(|n| (n & 1 != 0, n & 2 != 0, n & 4 != 0)) {
                let fields = Fields {
                    will,
                    username,
                    password,
                };
                let announced = Fields::of(flags);
                let fits = (announced.will, announced.username, announced.password)
                    == (will, username, password);
                if !fits && announced.length() == fields.length() {
                    continue; // as many texts, which then are what the flags say
                }
                let found = answer(&cluster, version, &connect(version, flags, fields));
                assert_eq!(
                    found != Answer::Malformed,
                    fits,
                    "{version:?}, flags {flags:08b}, fields {will} {username} {password}: {found:?}"
                );
            }
        }
    }
}

/// Shows: MQTT-3.1.3-5 (5.0); MQTT-3.1.3-5 (3.1.1)
#[test]
fn client_ids_of_1_to_23_letters_and_digits_are_taken() {
    let cluster = Cluster::new(1);
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in VERSIONS {
        for length in 1..=23 {
            cluster
                .connect(0, anonymous(&all[..length]).version(version))
                .disconnect();
        }
        for start in 0..=all.len() - 23 {
            let id = &all[start..start + 23];
            cluster
                .connect(0, anonymous(id).version(version))
                .disconnect();
        }
    }
}

/// Shows: MQTT-3.1.3-8 (5.0); MQTT-3.1.3-9, MQTT-3.2.2-4, MQTT-3.2.2-5 (3.1.1)
#[test]
fn a_client_id_that_is_not_taken_is_refused_by_its_own_code() {
    let limits = Limits {
        max_client_id_length: 30,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    for version in VERSIONS {
        cluster
            .connect(0, anonymous(&"x".repeat(30)).version(version))
            .disconnect();
        let client = cluster.dial(0, anonymous(&"x".repeat(31)).version(version));
        let expected: &[u8] = match version {
            Version::V5 => &[0x20, 3, 0, 0x85, 0],
            _ => &[0x20, 2, 0, 2],
        };
        assert_eq!(client.bytes(), expected);
        assert!(!client.is_open());
    }
}

/// Shows: MQTT-3.1.2-28, MQTT-3.2.2-1 (5.0)
#[test]
fn response_information_is_given_to_nobody() {
    let cluster = Cluster::new(1);
    let ask = |asked| client("alice@alpha").with(Property::RequestResponseInformation(asked));
    for hello in [client("alice@alpha"), ask(false), ask(true)] {
        let client = cluster.dial(0, hello);
        let limits = Limits::default();
        let expected = ConnAck {
            session_present: false,
            code: 0,
            properties: vec![
                Property::ReceiveMaximum(limits.receive_maximum),
                Property::TopicAliasMaximum(limits.topic_alias_maximum),
                Property::MaximumPacketSize(limits.max_packet_size),
            ],
        };
        assert_eq!(client.connack(), expected);
        client.disconnect();
    }
}

/// Shows: MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-4.13.2-1 (5.0); MQTT-3.2.2-4, MQTT-3.2.2-5 (3.1.1)
#[test]
fn a_refusal_tells_of_no_session_though_there_is_one_and_closes() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        cluster
            .connect(0, client("alice@alpha").version(version).kept(60))
            .cut();
        let hello = client("alice@alpha")
            .version(version)
            .kept(60)
            .password("wrong");
        let refused = cluster.dial(0, hello);
        let expected: &[u8] = match version {
            Version::V5 => &[0x20, 3, 0, 0x86, 0],
            _ => &[0x20, 2, 0, 4],
        };
        assert_eq!(refused.bytes(), expected);
        assert!(!refused.is_open());
        // It is still there for who may have it.
        let back = cluster.dial(0, client("alice@alpha").version(version).kept(60));
        assert_eq!(back.connack().session_present, version != Version::V31);
        back.disconnect();
    }
}
