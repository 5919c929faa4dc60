//! Logins that are refused, and what is no login: the client sees the protocol's own answer and no
//! more, the true reason is on record, the metrics count it, and nobody else notices.

use std::io::Write as _;

use crate::running::{Broker, Bystander, Client, Login, Record, Setup, Stream, World};
use cofferdam::wire::Version;
use cofferdam::wire::client::{Connect, Publish, ServerPacket, pingreq};
use serde_json::{Value, json};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// CONNACK that refuses a user name or password: the same for all reasons.
fn not_let_in(version: Version) -> &'static [u8] {
    match version {
        Version::V5 => &[0x20, 3, 0, 0x86, 0],
        _ => &[0x20, 2, 0, 4],
    }
}

#[test]
fn a_login_that_is_refused_looks_alike_whatever_the_reason_and_the_reason_is_on_record() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let of = |username: &str, password: &str, version| Connect {
        username: Some(username.to_owned()),
        password: Some(password.to_owned().into_bytes()),
        client_id: username.to_owned(),
        ..Connect::new(version)
    };
    let token = World::bob().password;
    let mut record = Record::default();
    let mut clients = Vec::new();
    for version in VERSIONS {
        let refused = [
            ("wrong_password", of("alice@red", &token, version)),
            (
                "wrong_password",
                of("alice@red", "chosen by a person", version),
            ),
            ("unknown_user", of("nobody@red", &token, version)),
            (
                "unknown_user",
                of("nobody@red", "chosen by a person", version),
            ),
            ("unknown_user", of("alice@nowhere", &token, version)),
            (
                "no_credential",
                of("mute@red", &World::mute().password, version),
            ),
            ("team_suspended", World::sam().connect(version)),
            ("wrong_password", of("sam@grey", &token, version)),
            (
                "client_id",
                Connect {
                    client_id: "alice".to_owned(),
                    ..World::alice().connect(version)
                },
            ),
            (
                "anonymous",
                Connect {
                    client_id: "me".to_owned(),
                    ..Connect::new(version)
                },
            ),
        ];
        for (place, (reason, connect)) in refused.into_iter().enumerate() {
            let listener = ["tcp", "tls"][place % 2];
            let mut stream = broker.dial(listener);
            stream.write_all(&connect.encode()).expect("sent");
            let fields = json!({
                "reason": reason,
                "actor": connect.username,
                "client_id": connect.client_id,
                "listener": listener,
                "told": "BadUserNameOrPassword",
                "told_code": 0x86,
            });
            let what = format!("{reason} in {version:?}");
            record.row(&what, "connect_refused", &stream.own_address(), fields);
            record.count(
                "cofferdam_connects_refused_total",
                &[("listener", listener), ("reason", reason)],
            );
            clients.push((what, stream, version));
        }
    }
    for (what, mut stream, version) in clients {
        assert_eq!(stream.read_to_close(), not_let_in(version), "{what}");
    }
    record.check(&broker);
    bystander.was_left_alone();
}

/// What is sent before any login, what comes back, and what goes on record.
type Early = (&'static str, Vec<u8>, &'static [u8], Value);

fn early() -> Vec<Early> {
    let row = |malformed: &str, told: Option<u8>| json!({ "reason": "malformed", "malformed": malformed, "told_code": told, "actor": null });
    let connect = |version| World::alice().connect(version);
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(|byte| *byte != b' ').collect();
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("hex")
        };
        digits.chunks(2).map(byte).collect()
    };
    let long = Connect {
        username: Some("u".repeat(60_000)),
        password: Some(vec![b'p'; 60_000]),
        ..connect(Version::V5)
    };
    vec![
        (
            "a web page asked for",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"",
            row("ProtocolError", None),
        ),
        (
            "a TLS greeting",
            hex("16 03 01 02 00 01 00 01 fc 03 03"),
            b"",
            row("MalformedPacket", None),
        ),
        (
            "bytes of all ones",
            vec![0xFF; 100],
            b"",
            row("ProtocolError", None),
        ),
        ("zeros", vec![0; 100], b"", row("ProtocolError", None)),
        (
            "a PUBLISH first",
            Publish::new("a", b"b").encode(Version::V5),
            b"",
            row("ProtocolError", None),
        ),
        ("a ping first", pingreq(), b"", row("ProtocolError", None)),
        (
            "a CONNECT of 120 kB",
            long.encode(),
            b"",
            row("PacketTooLarge", None),
        ),
        (
            "a client id that is no UTF-8, 3.1.1",
            hex("10 0e 0004 4d515454 04 02 003c 0002 c328"),
            b"",
            row("MalformedPacket", None),
        ),
        (
            "a client id that is no UTF-8, 5.0",
            hex("10 0f 0004 4d515454 05 02 003c 00 0002 c328"),
            &[0x20, 3, 0, 0x81, 0],
            row("MalformedPacket", Some(0x81)),
        ),
        (
            "an unknown property",
            hex("10 10 0004 4d515454 05 02 003c 02 7f00 0001 63"),
            &[0x20, 3, 0, 0x81, 0],
            row("MalformedPacket", Some(0x81)),
        ),
        (
            "a version to come",
            hex("10 0d 0004 4d515454 06 02 003c 0001 63"),
            &[0x20, 3, 0, 0x84, 0],
            row("UnsupportedProtocolVersion", Some(0x84)),
        ),
        (
            "a version never made",
            hex("10 0d 0004 4d515454 02 02 003c 0001 63"),
            &[0x20, 2, 0, 1],
            row("UnsupportedProtocolVersion", Some(0x84)),
        ),
    ]
}

#[test]
fn what_is_no_login_is_answered_with_the_protocols_own_words_or_none() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    for listener in ["tcp", "tls"] {
        let mut record = Record::default();
        for (what, sent, seen, row) in early() {
            let mut stream = broker.dial(listener);
            // The broker may have had enough before all of it is sent.
            let _ = stream.write_all(&sent);
            assert_eq!(stream.read_to_close(), seen, "{what} over {listener}");
            record.row(what, "connect_refused", &stream.own_address(), row);
            record.count(
                "cofferdam_connects_refused_total",
                &[("listener", listener), ("reason", "malformed")],
            );
        }
        record.check(&broker);
    }
    bystander.was_left_alone();
}

#[test]
fn who_does_not_log_in_within_the_limit_is_closed_without_a_word() {
    let broker = Setup::new()
        .variable("COFFERDAM__LIMITS__CONNECT_TIMEOUT", "1 s")
        .start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let connect = World::alice().connect(Version::V5).encode();
    let half = &connect[..connect.len() / 2];
    let upgrade = b"GET / HTTP/1.1\r\nHost: x\r\n";
    let mut open = Vec::new();
    for (what, listener, greeted, sent) in [
        ("nothing", "tcp", true, &b""[..]),
        ("half a CONNECT", "tcp", true, half),
        ("nothing in TLS", "tls", true, b""),
        ("half a CONNECT in TLS", "tls", true, half),
        ("no TLS greeting", "tls", false, b""),
        ("half a TLS greeting", "tls", false, &[0x16, 3, 1, 2, 0]),
        ("no upgrade", "ws", true, b""),
        ("half an upgrade", "ws", true, upgrade),
        ("half an upgrade in TLS", "wss", true, upgrade),
    ] {
        let mut stream = match greeted {
            true => broker.dial(listener),
            false => Stream::tcp(broker.address(listener)),
        };
        stream.write_all(sent).expect("sent");
        let fields = json!({ "reason": "connect_timeout", "told": null, "listener": listener });
        record.row(what, "connect_refused", &stream.own_address(), fields);
        record.count(
            "cofferdam_connects_refused_total",
            &[("listener", listener), ("reason", "connect_timeout")],
        );
        if !greeted {
            let labels = [("listener", listener), ("result", "timeout")];
            record.count("cofferdam_tls_handshakes_total", &labels);
        }
        open.push((what, !greeted, stream));
    }
    for (what, in_tls, mut stream) in open {
        // Where no TLS stands yet, its own goodbye is in the open.
        let seen: &[u8] = if in_tls {
            &[0x15, 3, 3, 0, 2, 1, 0]
        } else {
            b""
        };
        assert_eq!(stream.read_to_close(), seen, "{what}");
    }
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    for listener in ["tls", "wss"] {
        let plain = World::alice().connect(Version::V5).encode();
        for (what, sent) in [
            ("MQTT without TLS", &plain[..]),
            ("a web page asked for", b"GET / HTTP/1.1\r\n\r\n"),
            ("bytes of all ones", &[0xFF; 100]),
        ] {
            let mut stream = Stream::tcp(broker.address(listener));
            let _ = stream.write_all(sent);
            let seen = stream.read_to_close();
            // A record of the kind alert, of two bytes, of which the first is 2: fatal.
            assert!(
                matches!(seen[..], [0x15, 3, _, 0, 2, 2, _]),
                "{what}: {seen:02x?}"
            );
            let fields = json!({ "reason": "tls", "told": null, "listener": listener });
            record.row(what, "connect_refused", &stream.own_address(), fields);
            record.count(
                "cofferdam_connects_refused_total",
                &[("listener", listener), ("reason", "tls")],
            );
            record.count(
                "cofferdam_tls_handshakes_total",
                &[("listener", listener), ("result", "failed")],
            );
        }
    }
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn a_login_is_asked_for_by_name_only() {
    // The other side of the refusals: with the right name, password and client id it works.
    let broker = Broker::start();
    for version in VERSIONS {
        for login in [World::alice(), World::lena(), World::bob()] {
            Client::login(&broker, "tcp", &login, version).assert_quiet();
        }
        let mut nameless = Client::dial(&broker, "open", version);
        let connect = Connect {
            client_id: "me".to_owned(),
            ..Connect::new(version)
        };
        nameless.connect(&connect);
        nameless.assert_quiet();
        let unknown: Login = Login::of("anonymous@open");
        let mut named = Client::dial(&broker, "open", version);
        named.send(&unknown.connect(version).encode());
        assert!(matches!(&named.rest()[..], [ServerPacket::ConnAck(it)] if it.code != 0));
    }
}
