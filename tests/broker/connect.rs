//! From the first byte to CONNACK: who comes in, who does not, and what each is told.

use crate::cluster::*;
use cofferdam::broker::{DisconnectCause, EventKind, Refusal, Verdict};
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::client::{ConnAck, Property, ServerPacket};
use cofferdam::wire::{ReasonCode, Version, client as packets};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A team's client in each version.
fn alice(version: Version) -> Hello {
    client("alice@alpha").version(version)
}

fn refused(reason: Refusal, told: Option<ReasonCode>) -> EventKind {
    EventKind::ConnectRefused { reason, told }
}

/// Shows: MQTT-3.1.4-5, MQTT-3.2.2-1 (5.0); MQTT-3.1.4-4 (3.1.1)
#[test]
fn a_good_login_is_answered_with_success_and_with_every_limit_that_differs_from_the_default() {
    let limits = Limits {
        max_packet_size: 70_000,
        receive_maximum: 20,
        topic_alias_maximum: 7,
        max_session_expiry: Span::from_secs(3600),
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    for version in [Version::V31, Version::V311] {
        let client = cluster.dial(0, alice(version));
        assert_eq!(client.bytes(), [0x20, 2, 0, 0]);
        client.disconnect();
    }
    let client = cluster.dial(0, alice(Version::V5).kept(7200));
    let expected = ConnAck {
        session_present: false,
        code: 0,
        properties: vec![
            Property::SessionExpiry(3600),
            Property::ReceiveMaximum(20),
            Property::TopicAliasMaximum(7),
            Property::MaximumPacketSize(70_000),
        ],
    };
    assert_eq!(client.connack(), expected);
}

#[test]
fn every_admission_goes_on_record() {
    let cluster = Cluster::new(1);
    let hello = alice(Version::V5).kept(60).keep_alive(30);
    cluster.connect(0, hello.clone()).cut();
    cluster.events();
    cluster.connect(0, hello);
    let [event] = &cluster.events()[..] else {
        panic!("one event");
    };
    assert_eq!(event.at, cluster.now());
    assert_eq!(event.who.team.as_ref().map(|id| id.as_str()), Some("alpha"));
    assert_eq!(event.who.username.as_deref(), Some("alice@alpha"));
    assert_eq!(event.who.client_id.as_deref(), Some("alice@alpha"));
    assert_eq!(&*event.who.peer.listener, "main");
    let connected = EventKind::Connected {
        version: Version::V5,
        clean_start: false,
        session_present: true,
        keep_alive: 30,
        session_expiry: Span::from_secs(60),
    };
    assert_eq!(event.kind, connected);
}

/// Shows: MQTT-3.1.4-2, MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-3.2.2-8, MQTT-4.13.2-1 (5.0);
/// MQTT-3.2.2-4, MQTT-3.2.2-5 (3.1.1)
#[test]
fn every_refused_login_sees_the_same_bytes_and_the_true_reason_is_on_record() {
    let cluster = Cluster::new(1);
    cluster.directory().suspend("beta");
    let told = ReasonCode::BadUserNameOrPassword;
    for version in VERSIONS {
        let at = |hello: Hello| hello.version(version);
        let cases = [
            (at(client("nobody@alpha")), Refusal::UnknownUser),
            (at(client("alice@gamma")), Refusal::UnknownUser),
            (
                at(client("alice@alpha")).password("wrong"),
                Refusal::WrongPassword,
            ),
            (at(client("alice@beta")), Refusal::TeamSuspended),
            (at(client("alice@alpha")).id("bob@alpha"), Refusal::ClientId),
            (at(anonymous("x")).on("main"), Refusal::Anonymous),
        ];
        for (hello, reason) in cases {
            let client = cluster.dial(0, hello);
            let bytes: &[u8] = match version {
                Version::V5 => &[0x20, 3, 0, 0x86, 0],
                _ => &[0x20, 2, 0, 4],
            };
            assert_eq!(client.bytes(), bytes, "{version:?} {reason:?}");
            assert!(!client.is_open());
            assert_eq!(cluster.record(), [refused(reason, Some(told))]);
        }
    }
    assert_eq!((cluster.connections(), cluster.sessions()), (0, 0));
}

#[test]
fn a_refusal_is_recorded_with_what_the_client_said_of_itself() {
    let cluster = Cluster::new(1);
    cluster.dial(0, alice(Version::V5).password("wrong"));
    let event = cluster.events().remove(0);
    assert_eq!(event.who.team, None);
    assert_eq!(event.who.username.as_deref(), Some("alice@alpha"));
    assert_eq!(event.who.client_id.as_deref(), Some("alice@alpha"));
}

/// Shows: MQTT-4.8.0-2 (3.1.1)
#[test]
fn where_nothing_could_be_judged_the_connection_closes_without_a_byte() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    for version in VERSIONS {
        for reason in [Refusal::Unavailable, Refusal::Busy] {
            let client = cluster.dial(0, alice(version));
            let login = cluster.next_login().expect("a login");
            assert!(client.is_open());
            cluster.answer(&login, Verdict::Undecided(reason));
            assert_eq!(client.bytes(), NOTHING);
            assert!(!client.is_open());
            assert_eq!(cluster.record(), [refused(reason, None)]);
        }
    }
}

#[test]
fn a_connect_that_never_comes_is_waited_for_ten_seconds_and_not_longer() {
    let cluster = Cluster::new(1);
    let silent = cluster.open(0, &alice(Version::V5));
    let slow = cluster.open(0, &alice(Version::V5));
    let hello = alice(Version::V5).connect.encode();
    cluster.pass(Span::from_millis(9_000));
    slow.send(&hello[..hello.len() - 1]);
    cluster.pass(Span::from_micros(999_999));
    assert!(silent.is_open() && slow.is_open());
    cluster.pass(Span::from_micros(1));
    assert!(!silent.is_open() && !slow.is_open());
    assert_eq!(
        (silent.bytes(), slow.bytes()),
        (NOTHING.to_vec(), NOTHING.to_vec())
    );
    let timeout = || refused(Refusal::ConnectTimeout, None);
    assert_eq!(cluster.record(), [timeout(), timeout()]);
}

#[test]
fn a_connect_in_single_bytes_is_a_connect() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.open(0, &alice(version));
        for byte in alice(version).connect.encode() {
            assert_eq!(client.received(), []);
            client.send([byte]);
        }
        assert_eq!(client.connack().code, 0);
    }
}

#[test]
fn a_verdict_that_never_comes_is_waited_for_until_the_login_timeout() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let client = cluster.open(0, &alice(Version::V5));
    cluster.pass_secs(4);
    client.send(alice(Version::V5).connect.encode());
    let login = cluster.next_login().expect("a login");
    cluster.pass(Span::from_micros(9_999_999));
    assert!(
        client.is_open(),
        "ten seconds from CONNECT, not from the socket"
    );
    cluster.pass(Span::from_micros(1));
    assert!(!client.is_open());
    assert_eq!(client.bytes(), NOTHING);
    assert_eq!(cluster.record(), [refused(Refusal::Unavailable, None)]);
    let verdict = cluster.judge(&login);
    cluster.answer(&login, verdict);
    assert_eq!(
        (cluster.record(), cluster.sessions()),
        (vec![], 0),
        "a late verdict counts for nothing"
    );
}

#[test]
fn a_client_that_leaves_while_it_is_judged_is_on_record_and_leaves_nothing_behind() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let client = cluster.dial(0, alice(Version::V5).kept(100));
    let login = cluster.next_login().expect("a login");
    client.cut();
    assert_eq!(cluster.record(), [refused(Refusal::Gone, None)]);
    // Another connection now has the same place in the shard's table.
    let other = cluster.dial(0, client_in_the_same_place());
    let verdict = cluster.judge(&login);
    cluster.answer(&login, verdict);
    assert_eq!(other.bytes(), NOTHING, "the verdict on another's login");
    assert_eq!((cluster.sessions(), cluster.connections()), (0, 1));
}

fn client_in_the_same_place() -> Hello {
    client("bob@alpha")
}

#[test]
fn a_probe_that_says_nothing_is_not_on_record() {
    let cluster = Cluster::new(1);
    cluster.open(0, &alice(Version::V5)).cut();
    assert_eq!(cluster.record(), []);
    let client = cluster.open(0, &alice(Version::V5));
    client.send([0x10]);
    client.cut();
    assert_eq!(cluster.record(), [refused(Refusal::Gone, None)]);
    assert_eq!(cluster.connections(), 0);
}

#[test]
fn a_keep_alive_begins_with_connack_and_not_while_the_login_is_judged() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let client = cluster.dial(0, alice(Version::V5).keep_alive(2));
    cluster.pass_secs(9);
    let login = cluster.next_login().expect("a login");
    let verdict = cluster.judge(&login);
    cluster.answer(&login, verdict);
    assert_eq!(client.connack().code, 0);
    cluster.pass(Span::from_micros(2_999_999));
    assert!(client.is_open());
    cluster.pass(Span::from_micros(1));
    assert!(!client.is_open());
}

/// Shows: MQTT-3.1.0-2, MQTT-3.2.0-2 (5.0); MQTT-3.1.0-2 (3.1.1)
#[test]
fn a_second_connect_ends_the_connection() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, alice(version));
        cluster.events();
        client.send(alice(version).connect.encode());
        let expected: &[u8] = match version {
            Version::V5 => &[0xE0, 1, 0x82],
            _ => &[],
        };
        assert_eq!(client.bytes(), expected);
        assert!(!client.is_open());
        let causes: Vec<_> = cluster.record().into_iter().map(cause).collect();
        assert_eq!(
            causes,
            [DisconnectCause::Protocol(ReasonCode::ProtocolError)]
        );
    }
}

#[test]
fn a_second_connect_in_another_version_ends_the_connection_with_a_reason_that_disconnect_can_say() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, alice(Version::V5));
    let mut connect = alice(Version::V5).connect.encode();
    let level = connect
        .windows(4)
        .position(|four| four == b"MQTT")
        .expect("the name")
        + 4;
    connect[level] = 6;
    client.send(connect);
    let goodbye = ServerPacket::Disconnect {
        reason: ReasonCode::ProtocolError,
        properties: vec![],
    };
    assert_eq!(client.received(), [goodbye]);
    assert!(!client.is_open());
}

fn cause(kind: EventKind) -> DisconnectCause {
    match kind {
        EventKind::Disconnected { cause, .. } => cause,
        other => panic!("not the end of a connection: {other:?}"),
    }
}

/// Shows: MQTT-3.1.0-1 (5.0); MQTT-3.1.0-1 (3.1.1)
#[test]
fn what_comes_before_connect_closes_the_connection_without_a_word() {
    let cluster = Cluster::new(1);
    let first = [
        packets::pingreq(),
        packets::disconnect(Version::V311, ReasonCode::Success, &[]),
        packets::subscribe(Version::V311, 1, &[("a", options(QOS_0))], &[]),
        packets::Publish::new("a", b"b").encode(Version::V311),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
    ];
    for bytes in first {
        let client = cluster.open(0, &alice(Version::V311));
        client.send(&bytes);
        assert_eq!(client.bytes(), NOTHING, "{bytes:02x?}");
        assert!(!client.is_open(), "{bytes:02x?}");
        let record = cluster.record();
        assert!(
            matches!(
                record[..],
                [EventKind::ConnectRefused {
                    reason: Refusal::Malformed(_),
                    told: None
                }]
            ),
            "{record:?}"
        );
    }
}

/// Shows: MQTT-3.1.2-2 (5.0); MQTT-3.1.2-2 (3.1.1)
#[test]
fn a_version_that_is_not_served_is_told_so_in_the_nearest_version() {
    let cluster = Cluster::new(1);
    let code = ReasonCode::UnsupportedProtocolVersion;
    let cases: [(Version, u8, &[u8]); 3] = [
        (Version::V311, 2, &[0x20, 2, 0, 1]),
        (Version::V5, 6, &[0x20, 3, 0, 0x84, 0]),
        (Version::V31, 9, &[0x20, 2, 0, 1]),
    ];
    for (version, level, answer) in cases {
        let mut connect = alice(version).connect.encode();
        let name = if version == Version::V31 { 8 } else { 6 };
        let place = connect.len() - alice(version).connect.encode().len() + 2 + name;
        connect[place] = level;
        let client = cluster.open(0, &alice(version));
        client.send(&connect);
        assert_eq!(client.bytes(), answer, "{version:?} as {level}");
        assert!(!client.is_open());
        assert_eq!(
            cluster.record(),
            [refused(Refusal::Malformed(code), Some(code))]
        );
    }
}

#[test]
fn a_connect_that_is_too_large_before_login_is_closed_at_its_header() {
    let cluster = Cluster::new(1);
    let client = cluster.open(0, &alice(Version::V5));
    client.send([0x10, 0x80, 0x80, 0x04]); // a remaining length of 65,536
    assert_eq!(client.bytes(), NOTHING);
    assert!(!client.is_open());
    let reason = Refusal::Malformed(ReasonCode::PacketTooLarge);
    assert_eq!(cluster.record(), [refused(reason, None)]);
}

#[test]
fn what_a_client_can_make_the_broker_hold_before_login_is_bounded() {
    const BOUND: usize = 64 << 10;
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let hello = alice(Version::V5).with_will("a", &"x".repeat(30_000), QOS_0, false, vec![]);
    let connect = hello.connect.encode();
    let client = cluster.open(0, &hello);
    client.send(&connect);
    client.send(vec![0xC0; 200_000]);
    let held = 30_000 + 200_000 - client.unread(); // the will's payload, and what follows CONNECT
    assert!(held <= BOUND, "{held} bytes are held");
    assert!(held > BOUND - 1_000, "only {held} bytes are held");
}

/// Shows: MQTT-3.2.0-1 (5.0); MQTT-3.2.0-1 (3.1.1)
#[test]
fn what_a_client_sends_without_waiting_for_connack_is_done_after_it_and_in_order() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    for version in VERSIONS {
        let hello = alice(version);
        let client = cluster.open(0, &hello);
        let mut bytes = hello.connect.encode();
        bytes.extend(packets::subscribe(
            version,
            7,
            &[("a/b", options(QOS_0))],
            &[],
        ));
        bytes.extend(packets::Publish::new("a/b", b"early").encode(version));
        let (now, later) = bytes.split_at(bytes.len() - 3);
        client.send(now);
        let login = cluster.next_login().expect("a login");
        assert_eq!(client.bytes(), NOTHING);
        client.send(later);
        let verdict = cluster.judge(&login);
        cluster.answer(&login, verdict);
        let received = client.received();
        assert!(
            matches!(
                &received[..],
                [ServerPacket::ConnAck(_), ServerPacket::SubAck { packet_id: 7, .. }, ServerPacket::Publish(publish)]
                    if publish.payload == b"early"
            ),
            "{received:?}"
        );
        client.disconnect();
    }
}

/// Shows: MQTT-3.1.4-6 (5.0); MQTT-3.1.4-5 (3.1.1)
#[test]
fn what_a_refused_client_sent_ahead_is_never_looked_at() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("#", QOS_0);
    let hello = alice(Version::V5).password("wrong");
    let mut bytes = hello.connect.encode();
    bytes.extend(packets::Publish::new("a", b"early").encode(Version::V5));
    cluster.open(0, &hello).send(bytes);
    assert_eq!(watcher.heard(), [""; 0]);
}

/// Shows: MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16 (5.0); MQTT-3.1.3-6 (3.1.1)
#[test]
fn a_client_without_an_id_is_given_one_that_no_one_else_has() {
    let cluster = Cluster::new(2);
    let mut seen = std::collections::HashSet::new();
    for shard in [0, 1, 0, 1] {
        let client = cluster.dial(shard, anonymous("").v5());
        let connack = client.connack();
        let assigned = connack
            .properties
            .into_iter()
            .find_map(|property| match property {
                Property::AssignedClientId(id) => Some(id),
                _ => None,
            });
        assert!(seen.insert(assigned.expect("an assigned client id")));
        client.cut();
    }
    let client = cluster.dial(0, anonymous("mine").v5());
    let connack = client.connack();
    let assigned = |property: &Property| matches!(property, Property::AssignedClientId(_));
    assert!(
        !connack.properties.iter().any(assigned),
        "an id of its own needs none"
    );
    let client = cluster.dial(0, anonymous("").v311());
    assert_eq!(
        client.bytes(),
        [0x20, 2, 0, 0],
        "3.1.1 with a clean session"
    );
    assert_eq!(cluster.sessions(), 2);
}

/// Shows: MQTT-3.1.3-7, MQTT-3.1.3-8 (3.1.1)
#[test]
fn an_empty_client_id_is_refused_where_the_version_asks_for_one() {
    let cluster = Cluster::new(1);
    for hello in [
        anonymous("").v311().kept(0),
        anonymous("").v31(),
        anonymous("").v31().kept(0),
    ] {
        let client = cluster.dial(0, hello);
        assert_eq!(client.bytes(), [0x20, 2, 0, 2]);
        assert!(!client.is_open());
        let code = ReasonCode::ClientIdentifierNotValid;
        assert_eq!(
            cluster.record(),
            [refused(Refusal::Malformed(code), Some(code))]
        );
    }
}

/// Shows: MQTT-3.1.3-8 (5.0)
#[test]
fn a_client_id_beyond_the_limit_is_refused() {
    let cluster = Cluster::new(1);
    let longest = "x".repeat(256);
    cluster.connect(0, anonymous(&longest));
    let client = cluster.dial(0, anonymous(&"x".repeat(257)));
    assert_eq!(client.bytes(), [0x20, 3, 0, 0x85, 0]);
}

/// Shows: MQTT-3.1.2-3, MQTT-3.1.4-1 (5.0); MQTT-3.1.2-3, MQTT-3.1.4-1 (3.1.1)
#[test]
fn a_malformed_connect_of_5_0_is_told_what_is_wrong_and_of_3_x_is_closed_without_a_word() {
    let cluster = Cluster::new(1);
    for version in [Version::V311, Version::V5] {
        let mut connect = alice(version).connect.encode();
        assert_eq!(connect[9], 0xC2);
        connect[9] |= 1; // the reserved flag
        let client = cluster.open(0, &alice(version));
        client.send(connect);
        let code = ReasonCode::MalformedPacket;
        let (bytes, told): (&[u8], _) = match version {
            Version::V5 => (&[0x20, 3, 0, 0x81, 0], Some(code)),
            _ => (&[], None),
        };
        assert_eq!(client.bytes(), bytes);
        assert!(!client.is_open());
        assert_eq!(cluster.record(), [refused(Refusal::Malformed(code), told)]);
    }
}

/// Shows: MQTT-3.2.2-6 (3.1.1)
#[test]
fn a_will_whose_topic_is_beyond_the_limits_is_refused_and_what_was_told_is_on_record_truly() {
    let limits = Limits {
        max_topic_levels: 6, // four of them are the mount's
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    cluster.connect(0, alice(Version::V5).will("a/b", "gone"));
    cluster.events();
    let code = ReasonCode::TopicNameInvalid;
    for version in VERSIONS {
        let client = cluster.dial(
            0,
            client("bob@alpha").version(version).will("a/b/c", "gone"),
        );
        let (bytes, told): (&[u8], _) = match version {
            Version::V5 => (&[0x20, 3, 0, 0x90, 0], Some(code)),
            _ => (&[], None), // 3.x has no word for it
        };
        assert_eq!(client.bytes(), bytes);
        assert!(!client.is_open());
        assert_eq!(cluster.record(), [refused(Refusal::Malformed(code), told)]);
    }
}

#[test]
fn a_connection_beyond_the_limit_is_turned_away_unheard() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let first = cluster.connect(0, alice(Version::V5));
    cluster.connect(0, client("bob@alpha"));
    cluster.events();
    assert!(!cluster.has_room(0, &alice(Version::V5)));
    assert_eq!(cluster.counters(0).turned_away, 1);
    first.disconnect();
    let events = cluster.events();
    let event = events.first().expect("events");
    let expected = EventKind::ConnectRefused {
        reason: Refusal::TooManyConnections,
        told: None,
    };
    assert_eq!(event.kind, expected);
    let who = &event.who;
    assert_eq!(
        (&who.team, &who.username, &who.client_id),
        (&None, &None, &None)
    );
    assert!(cluster.has_room(0, &alice(Version::V5)));
}

#[test]
fn a_login_waits_on_its_own_and_holds_up_nobody_else() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let first = cluster.dial(0, alice(Version::V5));
    let second = cluster.dial(0, client("bob@alpha"));
    let (one, two) = (
        cluster.next_login().expect("a login"),
        cluster.next_login().expect("a login"),
    );
    let verdict = cluster.judge(&two);
    cluster.answer(&two, verdict);
    assert_eq!(second.connack().code, 0);
    assert_eq!(first.bytes(), NOTHING);
    cluster.answer(&one, Verdict::Refuse(Refusal::WrongPassword));
    assert_eq!(first.bytes(), [0x20, 3, 0, 0x86, 0]);
    assert!(second.is_open());
}

#[test]
fn a_broker_that_stops_says_so_and_closes_everyone() {
    let cluster = Cluster::new(2);
    let new = cluster.connect(0, alice(Version::V5));
    let old = cluster.connect(1, client("bob@alpha").v311());
    cluster.hold_logins();
    let waiting = cluster.dial(0, client("carol@alpha"));
    let silent = cluster.open(1, &alice(Version::V5));
    cluster.events();
    cluster.stop();
    assert_eq!(new.bytes(), [0xE0, 1, 0x8B]);
    for client in [&old, &waiting, &silent] {
        assert_eq!(client.bytes(), NOTHING);
        assert!(!client.is_open());
    }
    let reasons: Vec<&str> = cluster
        .record()
        .iter()
        .map(|kind| match kind {
            EventKind::Disconnected { cause, .. } => cause.as_str(),
            EventKind::ConnectRefused { reason, .. } => reason.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, ["server", "stopping", "server"]);
    assert_eq!(cluster.connections(), 0);
}
