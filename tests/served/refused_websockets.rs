//! WebSockets that are refused, by HTTP status before the upgrade and by close code after it.

use std::io::{Read as _, Write as _};

use crate::running::web::{self, BINARY, CONTINUATION, PING, TEXT, closing, frame, request};
use crate::running::{Broker, Bystander, Record, Stream, World};
use cofferdam::wire::Version;
use serde_json::json;

const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

#[test]
fn a_request_that_is_no_websocket_for_mqtt_is_refused_by_its_status() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let upgrade = |path: &str, fields: &str| request(path, fields);
    let origin = |origin: &str| format!("{MQTT}Origin: {origin}\r\n");
    let plain = |first: &str| format!("{first}\r\nHost: localhost\r\n\r\n").into_bytes();
    let replaced = |from: &str, to: &str| {
        let request = String::from_utf8(request("/", MQTT)).expect("text");
        assert!(request.contains(from));
        request.replace(from, to).into_bytes()
    };
    let large = format!("{MQTT}X-Large: {}\r\n", "x".repeat(9000));
    for (what, listener, sent, status) in [
        ("a wrong path", "ws", upgrade("/elsewhere", MQTT), 404),
        ("a path below", "wss", upgrade("/mqtt/", MQTT), 404),
        ("no subprotocol", "ws", upgrade("/", ""), 400),
        (
            "another subprotocol",
            "wss",
            upgrade("/", "Sec-WebSocket-Protocol: chat\r\n"),
            400,
        ),
        (
            "the subprotocol in capitals",
            "ws",
            upgrade("/", "Sec-WebSocket-Protocol: MQTT\r\n"),
            400,
        ),
        (
            "an Origin that is not listed",
            "origins",
            upgrade("/", &origin("https://evil.example")),
            403,
        ),
        (
            "the listed Origin without TLS",
            "origins",
            upgrade("/", &origin("http://app.example.com")),
            403,
        ),
        (
            "two Origins",
            "origins",
            upgrade(
                "/",
                &[
                    origin("https://app.example.com"),
                    "Origin: https://evil.example\r\n".to_owned(),
                ]
                .concat(),
            ),
            403,
        ),
        ("an ordinary request", "ws", plain("GET / HTTP/1.1"), 426),
        (
            "an ordinary request in TLS",
            "wss",
            plain("GET /mqtt HTTP/1.1"),
            426,
        ),
        ("another method", "ws", plain("POST / HTTP/1.1"), 405),
        (
            "an older WebSocket",
            "ws",
            replaced("Version: 13", "Version: 8"),
            426,
        ),
        (
            "a key that is none",
            "ws",
            replaced("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            400,
        ),
        ("HTTP/1.0", "ws", replaced("HTTP/1.1", "HTTP/1.0"), 400),
        (
            "a request that is too large",
            "ws",
            upgrade("/", &large),
            431,
        ),
        (
            "MQTT",
            "ws",
            World::alice().connect(Version::V5).encode(),
            400,
        ),
        ("bytes of all ones", "wss", vec![0xFF; 100], 400),
    ] {
        let mut stream = broker.dial(listener);
        let _ = stream.write_all(&sent);
        let answer = web::answer(&mut stream);
        assert_eq!(answer.status, status, "{what}: {}", answer.head);
        assert!(
            answer.head.contains("\r\nConnection: close\r\n"),
            "{what}: {}",
            answer.head
        );
        let mut said = String::new();
        stream
            .read_to_string(&mut said)
            .expect("a sentence, then the end");
        assert!(
            said.ends_with(".\n") && !said.contains("example"),
            "{what}: {said}"
        );
        let fields = json!({
            "reason": "websocket", "websocket_code": status, "told": null, "listener": listener, "team": null,
        });
        record.row(what, "connect_refused", &stream.own_address(), fields);
        record.count(
            "cofferdam_connects_refused_total",
            &[("listener", listener), ("reason", "websocket")],
        );
        record.count(
            "cofferdam_websocket_refused_total",
            &[("listener", listener), ("status", &status.to_string())],
        );
    }
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn a_listed_origin_is_let_in_and_so_is_who_sends_none() {
    let broker = Broker::start();
    for fields in [
        MQTT.to_owned(),
        format!("{MQTT}Origin: https://app.example.com\r\n"),
    ] {
        let mut stream = broker.dial("origins");
        let answer = web::ask(&mut stream, &request("/", &fields));
        assert_eq!(answer.status, 101, "{}", answer.head);
    }
}

/// What no MQTT client sends after the upgrade, and the code it is closed with.
fn frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let masked = frame(BINARY, true, b"x");
    let unmasked = vec![0x82, 1, b'x'];
    let mut reserved = masked.clone();
    reserved[0] |= 0x40;
    let mut long_ping = frame(PING, true, &[0; 126]);
    long_ping.truncate(8);
    let twice = [frame(BINARY, false, b"\x10"), frame(BINARY, true, b"\x10")].concat();
    // A head alone, which promises 17 MiB.
    let large = vec![0x82, 0xFF, 0, 0, 0, 0, 1, 0x10, 0, 0, 1, 2, 3, 4];
    vec![
        ("a text frame", frame(TEXT, true, b"hello"), 1003),
        ("a frame without a mask", unmasked, 1002),
        ("a reserved bit", reserved, 1002),
        ("a reserved opcode", frame(0x3, true, b"x"), 1002),
        (
            "a continuation of nothing",
            frame(CONTINUATION, true, b"x"),
            1002,
        ),
        ("a message within a message", twice, 1002),
        ("a ping in fragments", frame(PING, false, b"x"), 1002),
        ("a ping of 126 bytes", long_ping, 1002),
        ("a frame over the limit", large, 1009),
        (
            "a close code that nobody may send",
            frame(web::CLOSE, true, &1005_u16.to_be_bytes()),
            1002,
        ),
        (
            "a reason that is no UTF-8",
            frame(web::CLOSE, true, b"\x03\xE8\xC3\x28"),
            1007,
        ),
    ]
}

/// A WebSocket on which alice is logged in, CONNACK read.
fn logged_in(broker: &Broker, listener: &str) -> Stream {
    let mut stream = web::open(broker.dial(listener));
    let connect = World::alice().connect(Version::V311).encode();
    stream
        .write_all(&frame(BINARY, true, &connect))
        .expect("sent");
    assert_eq!(
        web::next(&mut stream).expect("CONNACK").payload,
        [0x20, 2, 0, 0]
    );
    stream
}

/// Shows: MQTT-6.0.0-1 (5.0); MQTT-6.0.0-1 (3.1.1)
#[test]
fn a_frame_that_no_mqtt_client_sends_ends_the_websocket_with_its_code() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    for listener in ["ws", "wss"] {
        for (what, sent, code) in frames() {
            for early in [true, false] {
                let mut stream = match early {
                    true => web::open(broker.dial(listener)),
                    false => logged_in(&broker, listener),
                };
                stream.write_all(&sent).expect("sent");
                assert_eq!(web::rest(&mut stream), [closing(code)], "{what}");
                let (event, key) = match early {
                    true => ("connect_refused", "reason"),
                    false => ("disconnect", "cause"),
                };
                let fields =
                    json!({ key: "websocket", "websocket_code": code, "listener": listener });
                record.row(what, event, &stream.own_address(), fields);
                record.count(
                    "cofferdam_websocket_closed_total",
                    &[("listener", listener), ("code", &code.to_string())],
                );
            }
        }
    }
    record.check(&broker);
    bystander.was_left_alone();
}
