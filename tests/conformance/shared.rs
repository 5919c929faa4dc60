//! Section 4.8.2: shared subscriptions.

use super::NONE;
use super::cluster::*;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubrec};
use cofferdam::wire::{ReasonCode, Version};

const V5: Version = Version::V5;
const FILTER: &str = "$share/g/a/#";

/// Shows: MQTT-4.8.2-1, MQTT-4.8.2-2 (5.0)
#[test]
fn a_shared_filter_has_a_name_without_wildcards_and_a_filter() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    for (filter, code) in [
        ("$share/g/a", 1),
        ("$share/g/+", 1),
        ("$share/g//", 1),
        ("$share/g w/#", 1),
        ("$share", 0x8F),
        ("$share/", 0x8F),
        ("$share//a", 0x8F),
        ("$share/g", 0x8F),
        ("$share/g/", 0x8F),
        ("$share/+/a", 0x8F),
        ("$share/#", 0x8F),
        ("$share/g+/a", 0x8F),
        ("$share/g#/a", 0x8F),
        ("$share/g/a#", 0x8F),
        ("$share/g/#/a", 0x8F),
    ] {
        let codes = client.try_subscribe(&[(filter, options(QOS_1))], &[]);
        assert_eq!(codes[0].as_byte(), code, "{filter}");
    }
}

/// Shows: MQTT-4.8.2-3 (5.0)
#[test]
fn each_member_of_a_group_gets_messages_at_the_qos_that_it_was_granted() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let members = [
        ("bob@alpha", QOS_0),
        ("carol@alpha", QOS_1),
        ("dave@alpha", QOS_2),
    ];
    let members = members.map(|(name, qos)| {
        let member = cluster.connect(1, client(name));
        member.subscribe(FILTER, qos);
        (member, qos)
    });
    let mut got = [0; 3];
    for n in 0..9 {
        publisher.publish_at(QOS_2, "a/b", &n.to_string());
        for (count, (member, qos)) in got.iter_mut().zip(&members) {
            for publish in member.messages() {
                assert_eq!(publish.qos, *qos);
                *count += 1;
            }
        }
    }
    assert_eq!(got, [3; 3], "in turn");
}

/// Shows: MQTT-4.8.2-4 (5.0)
#[test]
fn a_qos_2_message_begun_with_a_member_is_completed_with_it() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = client("bob@alpha").kept(100);
    let chosen = cluster.connect(0, hello.clone());
    chosen.subscribe(FILTER, QOS_2);
    publisher.publish_at(QOS_2, "a/1", "sent");
    publisher.publish_at(QOS_2, "a/2", "received");
    assert_eq!(chosen.received().len(), 2);
    chosen.send(pubrec(V5, 2, ReasonCode::Success, &[]));
    chosen.received();
    let other = cluster.connect(0, client("carol@alpha"));
    other.subscribe(FILTER, QOS_2);
    chosen.cut();
    assert_eq!(other.heard(), NONE);
    let back = cluster.dial(0, hello);
    let expected = [
        ServerPacket::Publish(Publish {
            dup: true,
            ..Publish::new("a/1", b"sent").at(QOS_2, 1)
        }),
        ServerPacket::PubRel {
            packet_id: 2,
            reason: ReasonCode::Success,
            properties: vec![],
        },
    ];
    assert_eq!(back.received()[1..], expected);
    assert_eq!(other.heard(), NONE);
}

/// Shows: MQTT-4.8.2-5 (5.0)
#[test]
fn a_qos_2_message_begun_with_a_member_ends_with_its_session() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let chosen = cluster.connect(0, client("bob@alpha").kept(100));
    chosen.subscribe(FILTER, QOS_2);
    publisher.publish_at(QOS_2, "a/1", "for bob alone");
    assert_eq!(chosen.received().len(), 1);
    let other = cluster.connect(0, client("carol@alpha"));
    other.subscribe(FILTER, QOS_2);
    chosen.cut();
    cluster.pass_secs(100);
    assert_eq!((cluster.sessions(), other.heard()), (2, vec![]));
    publisher.publish_at(QOS_2, "a/2", "the control");
    assert_eq!(other.heard(), ["a/2 the control"]);
}

/// Shows: MQTT-4.8.2-6 (5.0)
#[test]
fn a_message_that_its_member_refuses_goes_to_no_other() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let refuses = cluster.connect(0, client("bob@alpha").with(Property::SessionExpiry(0)));
    refuses.subscribe(FILTER, QOS_2);
    publisher.publish_at(QOS_1, "a/1", "x");
    publisher.publish_at(QOS_2, "a/2", "x");
    assert_eq!(refuses.received().len(), 2);
    let other = cluster.connect(0, client("carol@alpha"));
    other.subscribe(FILTER, QOS_2);
    refuses.send(puback(V5, 1, ReasonCode::QuotaExceeded, &[]));
    refuses.send(pubrec(V5, 2, ReasonCode::NotAuthorized, &[]));
    assert_eq!((refuses.received(), other.heard()), (vec![], vec![]));
    refuses.cut();
    assert_eq!(other.heard(), NONE, "nor when the session ends");
}
