//! Sections 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK.

use super::cluster::*;
use super::{NONE, VERSIONS, is_dismissed};
use cofferdam::wire::client::{Publish, ServerPacket, pubcomp, pubrec, unsubscribe};
use cofferdam::wire::{ReasonCode, Version};

const OK: ReasonCode = ReasonCode::Success;

/// Shows: MQTT-2.2.1-6, MQTT-3.10.4-4, MQTT-3.10.4-5 (5.0); MQTT-2.3.1-7, MQTT-3.10.4-4,
/// MQTT-3.10.4-5 (3.1.1)
#[test]
fn unsuback_comes_under_the_identifier_of_its_unsubscribe_though_nothing_ends() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        for id in [1, 0x1234, 0xFFFF, 1] {
            client.send(unsubscribe(version, id, &["none"], &[]));
            let [high, low] = id.to_be_bytes();
            let expected = match version {
                Version::V5 => vec![0xB0, 4, high, low, 0, 0x11],
                _ => vec![0xB0, 2, high, low],
            };
            assert_eq!(client.bytes(), expected);
        }
        client.disconnect();
    }
}

/// Shows: MQTT-3.10.3-2 (5.0); MQTT-3.10.3-2 (3.1.1)
#[test]
fn an_unsubscribe_without_a_filter_is_a_protocol_error() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.send(unsubscribe(version, 1, &[], &[]));
        is_dismissed(&client, 0x82);
    }
}

/// Shows: MQTT-3.10.4-1, MQTT-4.7.3-4 (5.0); MQTT-3.10.4-1, MQTT-4.7.3-4 (3.1.1)
#[test]
fn a_filter_is_ended_by_the_same_characters_and_no_others() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let client = cluster.connect(0, client("bob@alpha").version(version));
        client.subscribe("a/+/é", QOS_0);
        for other in [
            "a/b/é",
            "a/#",
            "#",
            "A/+/é",
            "a/+/e\u{301}",
            "a/+/é/",
            "/a/+/é",
        ] {
            client.unsubscribe(&[other]);
            publisher.publish("a/b/é", "1");
            assert_eq!(client.heard(), ["a/b/é 1"], "after {other}");
        }
        client.unsubscribe(&["a/+/é"]);
        publisher.publish("a/b/é", "2");
        assert_eq!(client.heard(), NONE);
        client.disconnect();
    }
}

/// Shows: MQTT-3.10.4-2, MQTT-3.10.4-3 (5.0); MQTT-3.10.4-2, MQTT-3.10.4-3 (3.1.1)
#[test]
fn what_was_begun_before_unsubscribe_is_completed_and_nothing_new_begins() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        cluster.connect(0, client("bob@alpha")).disconnect();
        let hello = client("bob@alpha").version(version).kept(100);
        let client = cluster.connect(0, hello.clone());
        client.subscribe("a", QOS_2);
        publisher.publish_at(QOS_1, "a", "1");
        publisher.publish_at(QOS_2, "a", "2");
        publisher.publish_at(QOS_2, "a", "3");
        assert_eq!(client.received().len(), 3);
        client.send(pubrec(version, 2, OK, &[]));
        client.received();
        client.unsubscribe(&["a"]);
        publisher.publish_at(QOS_2, "a", "never");
        client.send(pubrec(version, 3, OK, &[]));
        let release = |packet_id| ServerPacket::PubRel {
            packet_id,
            reason: OK,
            properties: vec![],
        };
        assert_eq!(client.received(), [release(3)]);
        client.send(pubcomp(version, 3, OK, &[]));
        client.cut();
        let back = cluster.dial(0, hello);
        let again = ServerPacket::Publish(Publish {
            dup: true,
            ..Publish::new("a", b"1").at(QOS_1, 1)
        });
        assert_eq!(back.received()[1..], [again, release(2)], "{version:?}");
        back.disconnect();
    }
}

/// Shows: MQTT-3.10.4-6, MQTT-3.11.3-1, MQTT-3.11.3-2 (5.0); MQTT-3.10.4-6 (3.1.1)
#[test]
fn one_unsubscribe_of_many_filters_has_one_answer_in_their_order() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.subscribe("a", QOS_0);
        client.subscribe("b/#", QOS_0);
        client.send(unsubscribe(
            version,
            5,
            &["none", "b/#", "a", "a", "a/#/b"],
            &[],
        ));
        let expected: &[u8] = match version {
            Version::V5 => &[0xB0, 8, 0, 5, 0, 0x11, 0, 0, 0x11, 0x8F],
            _ => &[0xB0, 2, 0, 5],
        };
        assert_eq!(client.bytes(), expected);
        assert_eq!(cluster.team("alpha").subscriptions(), 0);
        client.disconnect();
    }
}
