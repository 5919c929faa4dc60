//! Which requests become WebSockets, and what the others are told.

use super::*;

/// The request of RFC 6455 section 1.3, with MQTT's subprotocol.
const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn rules(origins: &[&str]) -> WebSocket {
    WebSocket {
        paths: vec!["/".to_owned(), "/mqtt".to_owned()],
        allowed_origins: origins.iter().map(ToString::to_string).collect(),
        listed_origins_only: false,
        max_frame_size: 1 << 20,
    }
}

fn judge(request: &str) -> Progress {
    Handshake::new().advance(request.as_bytes(), &rules(&[]))
}

fn accepted(request: &str) -> Accepted {
    match judge(request) {
        Progress::Accept(accepted) => accepted,
        other => panic!("{request}: {other:?}"),
    }
}

fn refused(request: &str, rules: &WebSocket) -> Refused {
    match Handshake::new().advance(request.as_bytes(), rules) {
        Progress::Refuse(refused) => refused,
        other => panic!("{request}: {other:?}"),
    }
}

/// The request with one piece of it replaced.
fn but(old: &str, new: &str) -> String {
    assert!(REQUEST.contains(old), "{old}");
    REQUEST.replace(old, new)
}

/// The request with one more field.
fn with(field: &str) -> String {
    but("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

#[test]
fn the_example_of_the_rfc_is_answered_as_it_says() {
    let accepted = accepted(REQUEST);
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&accepted.response), response);
    assert_eq!(accepted.consumed, REQUEST.len());
    assert_eq!(accepted.subprotocol, "mqtt");
    assert_eq!(accepted.forwarded_for, None);
}

#[test]
fn real_clients_requests_are_accepted() {
    let cases = [
        (but("/mqtt ", "/ "), "mqtt"),
        (but("/mqtt ", "/mqtt?token=x "), "mqtt"),
        (
            but("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
            "mqtt",
        ),
        (but("Upgrade: websocket", "upgrade: WebSocket"), "mqtt"),
        (but("Protocol: mqtt", "Protocol: mqttv3.1"), "mqttv3.1"),
        (
            but("Protocol: mqtt", "Protocol: chat, mqttv3.1, mqtt"),
            "mqttv3.1",
        ),
        (with("Sec-WebSocket-Protocol: mqttv3.1"), "mqtt"),
        (
            with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
            "mqtt",
        ),
        (with("Content-Length: 0"), "mqtt"),
        (with("Origin: https://anywhere.example"), "mqtt"),
    ];
    for (request, subprotocol) in cases {
        let accepted = accepted(&request);
        assert_eq!(accepted.subprotocol, subprotocol, "{request}");
        let response = String::from_utf8_lossy(&accepted.response).into_owned();
        assert!(response.contains(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")));
        assert!(
            !response.contains("Extensions"),
            "compression was never asked for"
        );
    }
}

#[test]
fn every_refusal_has_the_status_that_says_why() {
    let cases = [
        (but("GET", "POST"), 405, "Allow: GET"),
        (but("/mqtt ", "/other "), 404, ""),
        (but("/mqtt ", "/mqtt/ "), 404, ""),
        (but("Upgrade: websocket\r\n", ""), 426, "Upgrade: websocket"),
        (but("websocket", "h2c"), 426, "Upgrade: websocket"),
        (
            but("Version: 13", "Version: 8"),
            426,
            "Sec-WebSocket-Version: 13",
        ),
        (
            but("Sec-WebSocket-Version: 13\r\n", ""),
            426,
            "Sec-WebSocket-Version: 13",
        ),
        (but("HTTP/1.1", "HTTP/1.0"), 400, ""),
        (but("HTTP/1.1", "HTTP/2.0"), 400, ""),
        (but("Connection: Upgrade\r\n", ""), 400, ""),
        (but("Host: server.example.com\r\n", ""), 400, ""),
        (with("Host: other.example.com"), 400, ""),
        (but("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400, ""),
        (but("dGhlIHNhbXBsZSBub25jZQ==", "!"), 400, ""),
        (with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, ""),
        (but("Sec-WebSocket-Protocol: mqtt\r\n", ""), 400, ""),
        (but("Protocol: mqtt", "Protocol: MQTT"), 400, ""),
        (but("Protocol: mqtt", "Protocol: chat, amqp"), 400, ""),
        (with("Content-Length: 5"), 400, ""),
        (with("Transfer-Encoding: chunked"), 400, ""),
        (with("no colon"), 400, ""),
        (REQUEST.replace("\r\n", "\n") + "\r\n\r\n", 400, ""),
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            426,
            "Upgrade: websocket",
        ),
        ("\u{10}\u{10}\0\u{4}MQTT".to_owned(), 400, ""),
        ("\u{16}\u{3}\u{1}".to_owned(), 400, ""),
    ];
    for (request, status, field) in cases {
        let refused = refused(&request, &rules(&[]));
        assert_eq!(refused.status, status, "{request}");
        let response = String::from_utf8(refused.response).expect("text");
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
        assert!(response.contains(&format!("\r\n{field}")), "{response}");
        let (_, body) = response.split_once("\r\n\r\n").expect("a body");
        assert_eq!(body, format!("{}\n", refused.why));
        assert!(response.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}

#[test]
fn an_origin_that_is_not_listed_is_refused() {
    let rules = rules(&["https://app.example.com"]);
    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "null",
        "https://app.example.com.evil",
    ] {
        assert_eq!(
            refused(&with(&format!("Origin: {origin}")), &rules).status,
            403,
            "{origin}"
        );
    }
    let twice = with("Origin: https://app.example.com\r\nOrigin: https://evil.example");
    assert_eq!(refused(&twice, &rules).status, 403);
    for request in [with("Origin: https://APP.example.com"), REQUEST.to_owned()] {
        let progress = Handshake::new().advance(request.as_bytes(), &rules);
        assert!(matches!(progress, Progress::Accept(_)), "{request}");
    }
}

#[test]
fn a_request_may_arrive_in_any_pieces_with_frames_behind_it() {
    let early = b"\x82\x80";
    let bytes = [REQUEST.as_bytes(), early].concat();
    for first in 1..bytes.len() {
        let mut handshake = Handshake::new();
        let mut progress = handshake.advance(&bytes[..first], &rules(&[]));
        let mut given = 0;
        if progress == Progress::NeedMore {
            given = first;
            progress = handshake.advance(&bytes[first..], &rules(&[]));
        }
        let Progress::Accept(accepted) = progress else {
            panic!("cut at {first}: {progress:?}");
        };
        assert_eq!(given + accepted.consumed, REQUEST.len(), "cut at {first}");
    }
    let mut handshake = Handshake::new();
    let last = REQUEST.len() - 1;
    for byte in REQUEST.as_bytes()[..last].chunks(1) {
        assert_eq!(handshake.advance(byte, &rules(&[])), Progress::NeedMore);
    }
    let progress = handshake.advance(&bytes[last..], &rules(&[]));
    assert!(matches!(
        progress,
        Progress::Accept(Accepted { consumed: 1, .. })
    ));
}

#[test]
fn a_request_that_is_none_is_refused_alike_in_any_pieces() {
    for request in [
        "get / HTTP/1.1\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\n",
    ] {
        let whole = judge(request);
        assert!(
            matches!(&whole, Progress::Refuse(no) if no.status == 400),
            "{request:?}"
        );
        let first = judge(&request[..1]);
        assert_eq!(first, whole, "{request:?}");
    }
}

#[test]
fn a_request_without_end_is_refused_at_eight_kibibytes() {
    let mut handshake = Handshake::new();
    let mut given = 0;
    let endless = "GET / HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(20_000);
    for piece in endless.as_bytes().chunks(1000) {
        given += piece.len();
        match handshake.advance(piece, &rules(&[])) {
            Progress::NeedMore => assert!(handshake.held.capacity() <= 2 * HEAD_MAX),
            Progress::Refuse(refused) => {
                assert_eq!((refused.status, given), (431, 9000));
                return;
            }
            Progress::Accept(_) => panic!("accepted"),
        }
    }
    panic!("never refused");
}

#[test]
fn too_many_fields_are_refused() {
    let fields = (0..FIELDS_MAX)
        .map(|n| format!("X-{n}: y\r\n"))
        .collect::<String>();
    assert_eq!(refused(&with(fields.trim_end()), &rules(&[])).status, 431);
}

#[test]
fn the_address_that_a_proxy_told_is_kept() {
    let request = with("X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nx-forwarded-for: 10.0.0.2");
    let forwarded = accepted(&request).forwarded_for;
    assert_eq!(
        forwarded.as_deref(),
        Some("203.0.113.7, 10.0.0.1, 10.0.0.2")
    );
}

#[test]
fn what_a_proxy_told_is_kept_beside_what_is_no_text_and_of_a_request_that_is_refused() {
    let mut request = with("X-Forwarded-For: ?, 203.0.113.7").into_bytes();
    let mark = request.iter().rposition(|byte| *byte == b'?');
    request[mark.expect("it is there")] = 0xFF;
    match Handshake::new().advance(&request, &rules(&[])) {
        Progress::Accept(accepted) => assert_eq!(
            accepted.forwarded_for.as_deref(),
            Some("\u{fffd}, 203.0.113.7")
        ),
        other => panic!("{other:?}"),
    }
    let elsewhere = with("X-Forwarded-For: 203.0.113.7").replace("/mqtt ", "/elsewhere ");
    let refused = refused(&elsewhere, &rules(&[]));
    assert_eq!(refused.status, 404);
    assert_eq!(refused.forwarded_for.as_deref(), Some("203.0.113.7"));
}

#[test]
fn nothing_that_a_client_sent_is_repeated_in_a_refusal() {
    let request = but("/mqtt ", "/<script>secret</script> ");
    let response = refused(&request, &rules(&[])).response;
    assert!(!String::from_utf8_lossy(&response).contains("secret"));
}

#[test]
fn where_nobody_logs_in_a_web_page_must_be_listed() {
    let request = |origin: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n{origin}\r\n"
        )
    };
    for (listed, origin, accepted) in [
        (&[][..], "Origin: https://evil.example\r\n", false),
        (&[], "Origin: http://localhost\r\n", false),
        (&[], "", true),
        (
            &["https://app.example"],
            "Origin: https://app.example\r\n",
            true,
        ),
        (
            &["https://app.example"],
            "Origin: https://evil.example\r\n",
            false,
        ),
    ] {
        let mut rules = rules(listed);
        rules.listed_origins_only = true;
        let progress = Handshake::new().advance(request(origin).as_bytes(), &rules);
        let found = matches!(progress, Progress::Accept(_));
        assert_eq!(found, accepted, "{listed:?} {origin:?}: {progress:?}");
    }
}
