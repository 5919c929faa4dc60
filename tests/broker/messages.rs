//! Messages at QoS 0, 1 and 2, from and to clients of 3.1, 3.1.1 and 5.0: packet by packet.

use crate::cluster::*;
use cofferdam::broker::{DisconnectCause, EventKind};
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubcomp, pubrec, pubrel};
use cofferdam::wire::{QoS, ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const LEVELS: [QoS; 3] = [QOS_0, QOS_1, QOS_2];

/// PUBLISH as a subscriber sees it.
fn message(topic: &str, payload: &str, qos: QoS, packet_id: Option<u16>) -> Publish {
    Publish {
        qos,
        packet_id,
        ..Publish::new(topic, payload.as_bytes())
    }
}

fn release(packet_id: u16, reason: ReasonCode) -> ServerPacket {
    ServerPacket::PubRel {
        packet_id,
        reason,
        properties: vec![],
    }
}

fn completed(packet_id: u16, reason: ReasonCode) -> ServerPacket {
    ServerPacket::PubComp {
        packet_id,
        reason,
        properties: vec![],
    }
}

fn received(packet_id: u16, reason: ReasonCode) -> ServerPacket {
    ServerPacket::PubRec {
        packet_id,
        reason,
        properties: vec![],
    }
}

/// Shows: MQTT-3.8.4-8 (5.0); MQTT-3.8.4-6 (3.1.1)
#[test]
fn a_message_is_delivered_at_the_lower_of_both_qos_between_any_two_versions() {
    for shards in [1, 2] {
        let cluster = Cluster::new(shards);
        for from in VERSIONS {
            for to in VERSIONS {
                let publisher = cluster.connect(0, client("alice@alpha").version(from));
                let subscriber = cluster.connect(shards - 1, client("bob@alpha").version(to));
                for granted in LEVELS {
                    subscriber.subscribe("a/b", granted);
                    for sent in LEVELS {
                        let answer = publisher.publish_at(sent, "a/b", "hi");
                        assert_eq!(answer, ReasonCode::Success);
                        let got = subscriber.messages();
                        let id = got.first().and_then(|publish| publish.packet_id);
                        let qos = sent.min(granted);
                        assert_eq!(got, [message("a/b", "hi", qos, id)]);
                        assert_eq!(publisher.received(), []);
                    }
                }
                publisher.disconnect();
                subscriber.disconnect();
            }
        }
    }
}

/// Shows: MQTT-2.2.1-2, MQTT-2.2.2-1, MQTT-3.3.1-2, MQTT-3.3.2-1, MQTT-4.3.1-1, MQTT-4.3.2-2 (5.0);
/// MQTT-2.3.1-5, MQTT-3.3.1-2, MQTT-3.3.2-1, MQTT-4.3.1-1 (3.1.1)
#[test]
fn the_bytes_of_a_delivery_are_those_of_the_standard() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for (version, at_0, at_1) in [
        (
            Version::V311,
            &b"\x30\x07\x00\x03a/bhi"[..],
            &b"\x32\x09\x00\x03a/b\x00\x01hi"[..],
        ),
        (
            Version::V5,
            b"\x30\x08\x00\x03a/b\x00hi",
            b"\x32\x0A\x00\x03a/b\x00\x01\x00hi",
        ),
    ] {
        let subscriber = cluster.connect(0, client("bob@alpha").version(version));
        subscriber.subscribe("a/b", QOS_1);
        publisher.publish("a/b", "hi");
        assert_eq!(subscriber.bytes(), at_0);
        publisher.publish_at(QOS_1, "a/b", "hi");
        assert_eq!(subscriber.bytes(), at_1);
        subscriber.disconnect();
    }
}

/// Shows: MQTT-2.2.1-5, MQTT-3.3.4-1, MQTT-4.3.2-4 (5.0); MQTT-2.3.1-6, MQTT-3.3.4-1,
/// MQTT-4.3.2-2 (3.1.1)
#[test]
fn qos_1_is_answered_with_puback_and_nothing_else() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_0);
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        publisher.put(Publish::new("a", b"1").at(QOS_1, 0x1234));
        assert_eq!(publisher.bytes(), [0x40, 2, 0x12, 0x34]);
        publisher.disconnect();
    }
}

/// Shows: MQTT-4.3.3-8, MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.3.3-12 (5.0); MQTT-4.3.3-2 (3.1.1)
#[test]
fn qos_2_is_forwarded_once_however_often_it_is_sent_before_its_release() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_2);
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        let first = Publish::new("a", b"1").at(QOS_2, 7);
        publisher.put(first.clone());
        assert_eq!(publisher.bytes(), [0x50, 2, 0, 7]);
        publisher.put(Publish { dup: true, ..first });
        assert_eq!(publisher.bytes(), [0x50, 2, 0, 7]);
        assert_eq!(watcher.heard(), ["a 1"]);
        publisher.send(pubrel(version, 7, ReasonCode::Success, &[]));
        assert_eq!(publisher.bytes(), [0x70, 2, 0, 7]);
        // Released: the identifier now stands for another message, DUP or not.
        let second = Publish::new("a", b"2").at(QOS_2, 7);
        publisher.put(Publish {
            dup: true,
            ..second
        });
        assert_eq!(publisher.bytes(), [0x50, 2, 0, 7]);
        assert_eq!(watcher.heard(), ["a 2"]);
        publisher.disconnect();
    }
}

/// Shows: MQTT-4.3.3-11 (5.0); MQTT-4.3.3-2 (3.1.1); PEER-4
#[test]
fn a_release_of_nothing_is_completed_and_said_to_be_unknown() {
    let cluster = Cluster::new(1);
    let client_5 = cluster.connect(0, client("alice@alpha").v5());
    client_5.send(pubrel(Version::V5, 9, ReasonCode::Success, &[]));
    assert_eq!(
        client_5.received(),
        [completed(9, ReasonCode::PacketIdentifierNotFound)]
    );
    let client_3 = cluster.connect(0, client("bob@alpha").v311());
    client_3.send(pubrel(Version::V311, 9, ReasonCode::Success, &[]));
    assert_eq!(client_3.bytes(), [0x70, 2, 0, 9]);
}

/// Shows: MQTT-2.2.1-5, MQTT-4.3.3-2, MQTT-4.3.3-4 (5.0); MQTT-2.3.1-6, MQTT-4.3.3-1 (3.1.1)
#[test]
fn qos_2_to_a_client_goes_step_by_step() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let subscriber = cluster.connect(0, client("bob@alpha").version(version));
        subscriber.subscribe("a", QOS_2);
        publisher.publish_at(QOS_2, "a", "1");
        let sent = ServerPacket::Publish(message("a", "1", QOS_2, Some(1)));
        assert_eq!(subscriber.received(), [sent]);
        let ok = ReasonCode::Success;
        subscriber.send(pubrec(version, 1, ok, &[]));
        assert_eq!(subscriber.received(), [release(1, ok)]);
        subscriber.send(pubrec(version, 1, ok, &[]));
        assert_eq!(subscriber.received(), [release(1, ok)], "PUBREC sent again");
        subscriber.send(pubcomp(version, 1, ok, &[]));
        assert_eq!(subscriber.received(), []);
        subscriber.send(pubrec(version, 1, ok, &[]));
        let unknown = match version {
            Version::V5 => ReasonCode::PacketIdentifierNotFound,
            _ => ok,
        };
        assert_eq!(subscriber.received(), [release(1, unknown)]);
        subscriber.disconnect();
    }
}

/// Shows: MQTT-4.3.2-3, MQTT-4.3.3-3 (5.0)
#[test]
fn acknowledgements_of_the_wrong_kind_or_of_nothing_change_nothing() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha").with(Property::ReceiveMaximum(1)));
    subscriber.subscribe("a", QOS_2);
    publisher.publish_at(QOS_1, "a", "1");
    publisher.publish_at(QOS_2, "a", "2");
    assert_eq!(subscriber.received().len(), 1);
    let ok = ReasonCode::Success;
    for bytes in [
        puback(Version::V5, 2, ok, &[]),
        puback(Version::V5, 999, ok, &[]),
        pubcomp(Version::V5, 1, ok, &[]),
        pubcomp(Version::V5, 999, ok, &[]),
        pubrec(Version::V5, 999, ReasonCode::UnspecifiedError, &[]),
    ] {
        subscriber.send(bytes);
        assert_eq!(subscriber.received(), []);
    }
    subscriber.send(pubrec(Version::V5, 1, ok, &[])); // for a message at QoS 1
    assert_eq!(
        subscriber.received(),
        [release(1, ReasonCode::PacketIdentifierNotFound)]
    );
    subscriber.send(puback(Version::V5, 1, ok, &[]));
    assert_eq!(subscriber.heard(), ["a 2"]);
}

/// Shows: MQTT-4.3.3-4, MQTT-4.4.0-2 (5.0)
#[test]
fn a_client_that_refuses_a_qos_2_message_ends_its_flow() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha").with(Property::ReceiveMaximum(1)));
    subscriber.subscribe("a", QOS_2);
    publisher.publish_at(QOS_2, "a", "1");
    publisher.publish_at(QOS_2, "a", "2");
    assert_eq!(subscriber.received().len(), 1);
    subscriber.send(pubrec(Version::V5, 1, ReasonCode::QuotaExceeded, &[]));
    let next = ServerPacket::Publish(message("a", "2", QOS_2, Some(2)));
    assert_eq!(
        subscriber.received(),
        [next],
        "no PUBREL, and room for the next"
    );
}

#[test]
fn a_publisher_of_5_0_is_told_that_nobody_listens() {
    let cluster = Cluster::new(1);
    let nobody = ReasonCode::NoMatchingSubscribers;
    let publisher = cluster.connect(0, client("alice@alpha"));
    assert_eq!(publisher.publish_at(QOS_1, "a", "1"), nobody);
    assert_eq!(publisher.publish_at(QOS_2, "a", "1"), nobody);
    let old = cluster.connect(0, client("bob@alpha").v311());
    old.put(Publish::new("a", b"1").at(QOS_1, 5));
    assert_eq!(old.bytes(), [0x40, 2, 0, 5]);
}

/// Shows: MQTT-4.6.0-5, MQTT-4.6.0-6 (5.0)
#[test]
fn messages_of_one_publisher_arrive_in_order_at_each_qos_and_across_shards() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for (shard, name) in [(0, "bob@alpha"), (1, "carol@alpha")] {
        let hello = client(name).with(Property::ReceiveMaximum(3));
        let subscriber = cluster.connect(shard, hello);
        for qos in LEVELS {
            subscriber.subscribe("n", qos);
            let sent: Vec<String> = (0..50).map(|n| format!("n {n}")).collect();
            for n in 0..50 {
                publisher.publish_at(qos, "n", &n.to_string());
            }
            assert_eq!(subscriber.heard(), sent);
        }
        subscriber.disconnect();
    }
}

#[test]
fn messages_sent_in_one_piece_arrive_in_order_on_other_shards() {
    let cluster = Cluster::new(3);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let others = [(1, "bob@alpha"), (2, "carol@alpha"), (0, "dave@alpha")].map(|(shard, name)| {
        let other = cluster.connect(shard, client(name));
        other.subscribe("n/#", QOS_0);
        other.subscribe("n/2", QOS_0);
        other
    });
    let topics = ["n/1", "n/2"];
    let all: Vec<u8> = (0..20)
        .flat_map(|n| Publish::new(topics[n % 2], n.to_string().as_bytes()).encode(Version::V5))
        .collect();
    publisher.send(all);
    for other in others {
        let mut heard = other.heard();
        heard.dedup(); // two subscriptions match every other message
        let sent: Vec<String> = (0..20).map(|n| format!("{} {n}", topics[n % 2])).collect();
        assert_eq!(heard, sent);
    }
}

/// Shows: MQTT-3.3.4-9, MQTT-4.9.0-1, MQTT-4.9.0-2 (5.0); PEER-6
#[test]
fn no_more_is_under_way_to_a_client_than_its_receive_maximum() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = client("bob@alpha").with(Property::ReceiveMaximum(2));
    let subscriber = cluster.connect(0, hello);
    subscriber.subscribe("a", QOS_2);
    for qos in [QOS_1, QOS_2, QOS_1, QOS_2] {
        publisher.publish_at(qos, "a", "x");
    }
    let sent = |qos, id| ServerPacket::Publish(message("a", "x", qos, Some(id)));
    assert_eq!(subscriber.received(), [sent(QOS_1, 1), sent(QOS_2, 2)]);
    publisher.publish("a", "qos 0 has no part in it");
    assert_eq!(subscriber.received().len(), 1);
    let ok = ReasonCode::Success;
    subscriber.send(pubrec(Version::V5, 2, ok, &[]));
    assert_eq!(
        subscriber.received(),
        [release(2, ok)],
        "PUBREC makes no room"
    );
    subscriber.send(puback(Version::V5, 1, ok, &[]));
    assert_eq!(subscriber.received(), [sent(QOS_1, 3)]);
    subscriber.send(pubcomp(Version::V5, 2, ok, &[]));
    assert_eq!(subscriber.received(), [sent(QOS_2, 4)]);
}

#[test]
fn no_more_is_under_way_to_a_client_than_the_brokers_own_limit() {
    let limits = Limits {
        max_inflight: 3,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let subscriber = cluster.connect(0, client("bob@alpha").version(version));
        subscriber.subscribe("a", QOS_1);
        for n in 0..5 {
            publisher.publish_at(QOS_1, "a", &n.to_string());
        }
        assert_eq!(subscriber.received().len(), 3);
        for (acknowledged, following) in [(2, 1), (1, 1), (3, 0)] {
            subscriber.send(puback(version, acknowledged, ReasonCode::Success, &[]));
            assert_eq!(subscriber.received().len(), following);
        }
        subscriber.disconnect();
    }
}

/// Shows: MQTT-3.3.4-7 (5.0); PEER-16
#[test]
fn a_client_that_exceeds_our_receive_maximum_is_told_so_and_closed() {
    let limits = Limits {
        receive_maximum: 2,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_0);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let put = |id| publisher.put(Publish::new("a", &[b'0' + id as u8]).at(QOS_2, id));
    put(1);
    put(2);
    put(2);
    let ok = ReasonCode::Success;
    assert_eq!(
        publisher.received(),
        [received(1, ok), received(2, ok), received(2, ok)]
    );
    publisher.send(pubrel(Version::V5, 1, ok, &[]));
    put(3);
    assert_eq!(publisher.received(), [completed(1, ok), received(3, ok)]);
    cluster.events();
    put(4);
    assert_eq!(publisher.bytes(), [0xE0, 1, 0x93]);
    assert!(!publisher.is_open());
    assert_eq!(watcher.heard(), ["a 1", "a 2", "a 3"]);
    let record = cluster.record();
    let reason = ReasonCode::ReceiveMaximumExceeded;
    assert!(
        matches!(record[..], [EventKind::Disconnected { cause: DisconnectCause::Protocol(told), .. }] if told == reason),
        "{record:?}"
    );
}

#[test]
fn a_large_payload_arrives_whole_between_small_ones() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let near = cluster.connect(0, client("bob@alpha").v311());
    let far = cluster.connect(1, client("carol@alpha"));
    let large: String = (0..300_000)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    let edge = &large[..4096]; // from here on payloads are shared
    for qos in LEVELS {
        near.subscribe("a", qos);
        far.subscribe("a", qos);
        let payloads = [
            "before",
            large.as_str(),
            "between",
            edge,
            &large[..4095],
            "after",
            "",
        ];
        for payload in payloads {
            publisher.publish_at(qos, "a", payload);
        }
        let expected = payloads.map(|payload| format!("a {payload}"));
        assert!(near.heard() == expected, "{qos:?} on the same shard");
        assert!(far.heard() == expected, "{qos:?} on another shard");
    }
}

#[test]
fn a_large_payload_reaches_a_client_that_reads_a_few_bytes_at_a_time() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let slow = cluster.connect(0, client("bob@alpha"));
    slow.subscribe("a", QOS_1);
    slow.stop_reading();
    let payload = "0123456789".repeat(1_000);
    for _ in 0..3 {
        publisher.publish_at(QOS_1, "a", &payload);
        publisher.publish("a", "small");
    }
    while slow.outbox() > 0 {
        slow.read_some(777);
    }
    slow.read_on();
    let large = format!("a {payload}");
    assert_eq!(
        slow.heard(),
        [&*large, "a small", &large, "a small", &large, "a small"]
    );
}

#[test]
fn a_client_that_does_not_read_loses_messages_at_qos_0_and_none_above() {
    let limits = Limits {
        max_outbox_bytes: 10_000,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let slow = cluster.connect(0, client("bob@alpha"));
    slow.subscribe("a/0", QOS_0);
    slow.subscribe("a/1", QOS_1);
    slow.stop_reading();
    let payload = "x".repeat(1_000);
    for _ in 0..50 {
        publisher.publish_at(QOS_1, "a/1", &payload);
        publisher.publish("a/0", &payload);
    }
    assert!(slow.outbox() < 12_500, "{} bytes wait", slow.outbox());
    let dropped = cluster.dropped(cofferdam::broker::Drop::SlowConsumer);
    slow.read_on();
    let heard = slow.heard();
    let at_1 = heard.iter().filter(|told| told.starts_with("a/1")).count();
    assert_eq!(at_1, 50);
    assert_eq!(heard.len() - at_1, 50 - dropped as usize);
    assert!(dropped > 40, "only {dropped} were dropped");
    publisher.publish("a/0", "again");
    assert_eq!(slow.heard(), ["a/0 again"]);
}

#[test]
fn of_qos_0_a_client_that_does_not_read_gets_the_newest_and_in_order() {
    let limits = Limits {
        max_outbox_bytes: 20_000,
        ..Limits::default()
    };
    for shard in [0, 1] {
        let cluster = Cluster::limited(2, limits.clone());
        let publisher = cluster.connect(0, client("alice@alpha"));
        let slow = cluster.connect(shard, client("bob@alpha"));
        let other = cluster.connect(0, client("carol@alpha"));
        slow.subscribe("#", QOS_0);
        other.subscribe("#", QOS_0);
        slow.stop_reading();
        for number in 0..100 {
            publisher.publish("a", &format!("{number:01000}"));
            assert_eq!(other.messages().len(), 1, "its team is not delayed");
        }
        assert!(slow.outbox() <= 10_000 + 1_010, "{} bytes", slow.outbox());
        let dropped = cluster.dropped(cofferdam::broker::Drop::SlowConsumer);
        slow.read_on();
        let heard = slow.heard().into_iter();
        let heard: Vec<u64> = heard
            .map(|told| told[2..].parse().expect("a number"))
            .collect();
        assert_eq!(heard.len() as u64, 100 - dropped);
        // Those that were encoded already, and the last: 1,015 bytes and 64 each.
        let first = heard.iter().zip(0..).take_while(|(a, b)| *a == b).count();
        let last: Vec<u64> = (100 - (10_000 / 1_079)..100).collect();
        assert_eq!(heard[first..], last, "shard {shard}");
        assert!((9..=11).contains(&first), "{heard:?}");
        publisher.publish("a", "1");
        assert_eq!(slow.heard(), ["a 1"], "and it is behind no more");
    }
}

#[test]
fn a_client_that_does_not_take_its_answers_is_not_read() {
    let limits = Limits {
        max_outbox_bytes: 1_000,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let client = cluster.connect(0, client("alice@alpha"));
    client.stop_reading();
    let pings = cofferdam::wire::client::pingreq().repeat(1_000);
    client.send(&pings);
    client.send(&pings);
    client.send(&pings);
    assert!(client.unread() > 0, "all was read");
    assert!(client.outbox() < 1_000 + 4_000);
    client.read_on();
    assert_eq!(client.unread(), 0);
    assert_eq!(client.received().len(), 3_000);
}

/// Shows: MQTT-3.12.4-1 (5.0); MQTT-3.12.4-1 (3.1.1)
#[test]
fn ping_is_answered() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.send([0xC0, 0]);
        assert_eq!(client.bytes(), [0xD0, 0]);
        client.disconnect();
    }
}

/// Shows: MQTT-1.5.4-1, MQTT-3.3.1-4, MQTT-3.3.2-2, MQTT-4.13.1-1 (5.0); MQTT-1.5.3-1,
/// MQTT-3.3.1-4, MQTT-3.3.2-2, MQTT-4.8.0-1 (3.1.1)
#[test]
fn a_broken_packet_ends_the_connection_with_its_reason_and_harms_nobody_else() {
    let cluster = Cluster::new(1);
    let other = cluster.connect(0, client("bob@alpha"));
    other.subscribe("a", QOS_0);
    for version in VERSIONS {
        for (bytes, code) in [
            (&b"\x30\x05\x00\x03a/+"[..], 0x90), // a wildcard in a topic name
            (b"\x32\x05\x00\x01a\x00\x00", 0x82), // packet identifier 0
            (b"\x36\x05\x00\x01a\x00\x01", 0x81), // QoS 3
            (b"\x30\x05\x00\x03a\xFFb", 0x81),   // not UTF-8
            (b"\x20\x02\x00\x00", 0x82),         // only a server sends CONNACK
            (b"\x00\x00", 0x81),
            (b"\x30\xFF\xFF\xFF\x7F", 0x95),
            (b"\x30\xFF\xFF\xFF\xFF", 0x81),
        ] {
            let broken = cluster.connect(0, client("alice@alpha").version(version));
            broken.send(bytes);
            let goodbye: &[u8] = match version {
                Version::V5 => &[0xE0, 1, code],
                _ => &[],
            };
            assert_eq!(broken.bytes(), goodbye, "{version:?} {bytes:02x?}");
            assert!(!broken.is_open());
        }
    }
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.publish("a", "still here");
    assert_eq!(other.heard(), ["a still here"]);
}

#[test]
fn what_follows_a_broken_packet_is_not_looked_at() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("#", QOS_0);
    let broken = cluster.connect(0, client("alice@alpha"));
    let mut bytes = Publish::new("a", b"before").encode(Version::V5);
    bytes.extend([0x00, 0x00]);
    bytes.extend(Publish::new("a", b"behind").encode(Version::V5));
    broken.send(bytes);
    broken.put(Publish::new("a", b"later"));
    assert_eq!(watcher.heard(), ["a before"]);
}

#[test]
fn the_end_of_a_connection_is_on_record_with_what_went_through() {
    let cluster = Cluster::new(1);
    let hello = client("alice@alpha").v311();
    let connect = hello.connect.encode().len() as u64;
    let alice = cluster.connect(0, hello);
    alice.subscribe("a", QOS_0);
    alice.publish("a", "1");
    alice.publish("b", "2");
    assert_eq!(alice.heard(), ["a 1"]);
    cluster.events();
    // The listener's bytes are counted while they flow.
    let [bytes] = &cluster.counters(0).listeners[..] else {
        panic!("one listener");
    };
    let flowed = (bytes.received, bytes.sent);
    assert_eq!(flowed, (connect + 8 + 6 + 6, 4 + 5 + 6));
    cluster.pass_secs(17);
    alice.disconnect();
    let [event] = &cluster.events()[..] else {
        panic!("one event");
    };
    let expected = EventKind::Disconnected {
        cause: DisconnectCause::Client(ReasonCode::Success),
        duration: cofferdam::time::Span::from_secs(17),
        messages_in: 2,
        messages_out: 1,
        bytes_in: connect + 8 + 6 + 6 + 2,
        bytes_out: 4 + 5 + 6,
    };
    assert_eq!(event.kind, expected);
    assert_eq!(event.who.team.as_ref().map(|id| id.as_str()), Some("alpha"));
}

#[test]
fn messages_and_payload_bytes_are_counted_by_qos() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha"));
    subscriber.subscribe("a", QOS_1);
    publisher.publish("a", "1");
    publisher.publish_at(QOS_1, "a", "22");
    publisher.publish_at(QOS_2, "a", "333");
    publisher.publish_at(QOS_2, "nobody", "4444");
    let counters = cluster.counters(0);
    assert_eq!(counters.messages_in, [1, 1, 2]);
    assert_eq!(counters.bytes_in, [1, 2, 7]);
    assert_eq!(counters.messages_out, [1, 2, 0]);
    assert_eq!(counters.bytes_out, [1, 5, 0]);
    assert_eq!(counters.dropped.iter().sum::<u64>(), 0);
}
