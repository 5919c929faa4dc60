//! Sections 4.3 and 4.4: the flows of QoS 1 and 2, expiry within them, and what is sent again.

use super::VERSIONS;
use super::cluster::*;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubcomp, pubrec, pubrel};
use cofferdam::wire::{QoS, ReasonCode, Version};

const V5: Version = Version::V5;
const OK: ReasonCode = ReasonCode::Success;

/// What comes with a connection after its CONNACK.
#[track_caller]
fn behind_connack(client: &Client) -> Vec<ServerPacket> {
    let mut packets = client.received();
    assert!(matches!(packets.remove(0), ServerPacket::ConnAck(connack) if connack.code == 0));
    packets
}

fn expiring(qos: QoS, secs: u32) -> Publish {
    Publish {
        qos,
        properties: vec![Property::MessageExpiry(secs)],
        ..Publish::new("a", b"x")
    }
}

/// Shows: MQTT-4.3.2-5 (5.0); MQTT-4.3.2-2 (3.1.1)
#[test]
fn a_publish_under_an_identifier_that_was_acknowledged_is_another_message() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_1);
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        for dup in [false, false, true] {
            publisher.put(Publish {
                dup,
                ..Publish::new("a", b"x").at(QOS_1, 5)
            });
            assert_eq!(publisher.bytes(), [0x40, 2, 0, 5]);
            assert_eq!(watcher.heard(), ["a x"]);
        }
        publisher.disconnect();
    }
}

/// Shows: MQTT-4.3.3-7, MQTT-4.4.0-1 (5.0)
#[test]
fn what_was_sent_before_it_expired_is_sent_again_after_it() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for qos in [QOS_1, QOS_2] {
        let hello = client("bob@alpha").kept(1_000);
        let first = cluster.connect(0, hello.clone());
        first.subscribe("a", QOS_2);
        publisher.complete(expiring(qos, 10));
        let [ServerPacket::Publish(sent)] = &first.received()[..] else {
            panic!("PUBLISH");
        };
        first.cut();
        cluster.pass_secs(60);
        let back = cluster.dial(0, hello);
        let again = ServerPacket::Publish(Publish {
            dup: true,
            properties: vec![Property::MessageExpiry(0)],
            ..sent.clone()
        });
        assert_eq!(behind_connack(&back), [again], "{qos:?}");
        back.disconnect_with(OK, &[Property::SessionExpiry(0)]);
    }
}

/// Shows: MQTT-4.3.3-13, MQTT-4.3.3-4, MQTT-4.3.3-5, MQTT-4.3.3-11 (5.0)
#[test]
fn the_qos_2_flow_goes_on_though_its_message_has_expired() {
    let cluster = Cluster::new(1);
    let subscriber = cluster.connect(0, client("bob@alpha").kept(100));
    subscriber.subscribe("a", QOS_2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.put(Publish {
        packet_id: Some(3),
        ..expiring(QOS_2, 5)
    });
    assert_eq!(publisher.bytes(), [0x50, 2, 0, 3]);
    let [ServerPacket::Publish(sent)] = &subscriber.received()[..] else {
        panic!("PUBLISH");
    };
    let id = sent.packet_id.expect("an identifier");
    cluster.pass_secs(20);
    // From the publisher: sent again, released.
    publisher.put(Publish {
        dup: true,
        packet_id: Some(3),
        ..expiring(QOS_2, 5)
    });
    assert_eq!(publisher.bytes(), [0x50, 2, 0, 3]);
    publisher.send(pubrel(V5, 3, OK, &[]));
    assert_eq!(publisher.bytes(), [0x70, 2, 0, 3]);
    // To the subscriber: received, released, also on another connection.
    subscriber.send(pubrec(V5, id, OK, &[]));
    let release = ServerPacket::PubRel {
        packet_id: id,
        reason: OK,
        properties: vec![],
    };
    assert_eq!(subscriber.received(), std::slice::from_ref(&release));
    subscriber.cut();
    let back = cluster.dial(0, client("bob@alpha").kept(100));
    assert_eq!(behind_connack(&back), [release]);
    back.send(pubcomp(V5, id, OK, &[]));
    back.cut();
    let back = cluster.dial(0, client("bob@alpha").kept(100));
    assert_eq!(behind_connack(&back), []);
}

/// Shows: MQTT-4.4.0-2 (5.0)
#[test]
fn a_message_that_the_client_refused_is_not_sent_again() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = client("bob@alpha").kept(100);
    let refuses = cluster.connect(0, hello.clone());
    refuses.subscribe("a", QOS_2);
    for qos in [QOS_1, QOS_2, QOS_1] {
        publisher.publish_at(qos, "a", "x");
    }
    assert_eq!(refuses.received().len(), 3);
    refuses.send(puback(V5, 1, ReasonCode::QuotaExceeded, &[]));
    refuses.send(pubrec(V5, 2, ReasonCode::NotAuthorized, &[]));
    assert_eq!(refuses.received(), [], "no PUBREL");
    refuses.cut();
    let back = cluster.dial(0, hello);
    let unanswered = ServerPacket::Publish(Publish {
        dup: true,
        ..Publish::new("a", b"x").at(QOS_1, 3)
    });
    assert_eq!(behind_connack(&back), [unanswered]);
}

/// Shows: MQTT-4.3.2-3, MQTT-4.3.3-3, MQTT-4.3.3-6, MQTT-4.4.0-1 (5.0); MQTT-4.3.2-1,
/// MQTT-4.3.3-1, MQTT-4.4.0-1, MQTT-4.6.0-1 (3.1.1)
#[test]
fn what_is_unacknowledged_is_sent_again_as_often_as_the_client_comes_back() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        cluster.connect(0, client("bob@alpha")).disconnect();
        let hello = client("bob@alpha").version(version).kept(1_000);
        let first = cluster.connect(0, hello.clone());
        first.subscribe("a", QOS_2);
        for (qos, payload) in [(QOS_1, "1"), (QOS_2, "2"), (QOS_2, "3")] {
            publisher.publish_at(qos, "a", payload);
        }
        first.send(pubrec(version, 2, OK, &[]));
        first.cut();
        let publish = |payload: &[u8], qos, id| {
            ServerPacket::Publish(Publish {
                dup: true,
                ..Publish::new("a", payload).at(qos, id)
            })
        };
        let expected = [
            publish(b"1", QOS_1, 1),
            ServerPacket::PubRel {
                packet_id: 2,
                reason: OK,
                properties: vec![],
            },
            publish(b"3", QOS_2, 3),
        ];
        for _ in 0..3 {
            let back = cluster.dial(0, hello.clone());
            assert_eq!(behind_connack(&back), expected, "{version:?}");
            back.cut();
        }
    }
}

/// Shows: MQTT-4.5.0-1, MQTT-4.6.0-5, MQTT-4.6.0-6 (5.0); MQTT-4.5.0-1, MQTT-4.6.0-5,
/// MQTT-4.6.0-6 (3.1.1)
#[test]
fn messages_of_one_client_arrive_in_order_at_each_qos_between_all_versions() {
    let cluster = Cluster::new(2);
    for from in VERSIONS {
        for to in VERSIONS {
            for qos in [QOS_0, QOS_1, QOS_2] {
                let publisher = cluster.connect(0, client("alice@alpha").version(from));
                let listener = cluster.connect(1, client("bob@alpha").version(to));
                listener.subscribe("a", qos);
                let all: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
                let packets: Vec<u8> = (1..=40)
                    .flat_map(|id: u16| {
                        let publish = Publish::new("a", id.to_string().as_bytes());
                        match qos {
                            QoS::AtMostOnce => publish.encode(from),
                            _ => publish.at(qos, id).encode(from),
                        }
                    })
                    .collect();
                publisher.send(packets);
                let heard: Vec<String> = listener
                    .messages()
                    .into_iter()
                    .map(|publish| String::from_utf8(publish.payload).expect("a number"))
                    .collect();
                assert_eq!(heard, all);
                publisher.disconnect();
                listener.disconnect();
            }
        }
    }
}
