//! Section 3.3: PUBLISH.

use super::cluster::*;
use super::{VERSIONS, is_dismissed};
use cofferdam::limits::Limits;
use cofferdam::wire::client::{
    Property, Publish, ServerPacket, pingreq, pubrel, subscribe, unsubscribe,
};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// Shows: MQTT-3.3.1-3, MQTT-4.3.2-2, MQTT-4.3.3-2 (5.0); MQTT-3.3.1-3, MQTT-4.3.2-1,
/// MQTT-4.3.3-1 (3.1.1)
#[test]
fn the_dup_flag_of_a_publisher_goes_no_further() {
    let cluster = Cluster::new(2);
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        for shard in [0, 1] {
            let listener = cluster.connect(shard, client("bob@alpha").version(version));
            listener.subscribe("a", QOS_2);
            for (id, qos) in [(1, QOS_1), (2, QOS_2)] {
                publisher.complete(Publish {
                    dup: true,
                    ..Publish::new("a", b"x").at(qos, 0)
                });
                let first = Publish::new("a", b"x").at(qos, id);
                assert_eq!(listener.messages(), [first]);
            }
            listener.disconnect();
        }
        publisher.disconnect();
    }
}

/// Shows: MQTT-3.3.1-8 (5.0); MQTT-3.3.1-12 (3.1.1)
#[test]
fn a_message_that_is_not_to_be_retained_changes_nothing_that_is() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.retain("kept", "as it is");
        for qos in [QOS_0, QOS_1, QOS_2] {
            for payload in ["other", ""] {
                client.publish_at(qos, "kept", payload);
                client.publish_at(qos, "new", payload);
            }
        }
        client.subscribe("+", QOS_0);
        let kept = Publish {
            retain: true,
            ..Publish::new("kept", b"as it is")
        };
        assert_eq!(client.messages(), [kept]);
        client.disconnect();
    }
}

/// Shows: MQTT-3.3.1-5 (5.0); MQTT-3.3.1-5, MQTT-3.3.1-7 (3.1.1)
#[test]
fn a_retained_message_is_kept_with_its_qos_in_place_of_the_one_before() {
    let cluster = Cluster::new(1);
    let late = cluster.connect(0, client("bob@alpha"));
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        for (n, qos) in [QOS_2, QOS_1, QOS_0, QOS_1].into_iter().enumerate() {
            publisher.complete(Publish {
                qos,
                retain: true,
                ..Publish::new("a", &[b'0' + n as u8])
            });
            late.subscribe("a", QOS_2);
            let [kept] = &late.messages()[..] else {
                panic!("one message is kept")
            };
            assert_eq!((kept.qos, &kept.payload[..]), (qos, &[b'0' + n as u8][..]));
            late.unsubscribe(&["a"]);
        }
        publisher.disconnect();
    }
}

/// Shows: MQTT-3.3.2-12 (5.0)
#[test]
fn every_alias_up_to_the_maximum_told_is_taken() {
    let limits = Limits {
        topic_alias_maximum: 300,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("#", QOS_0);
    let aliased = |topic: &str, alias| Publish {
        properties: vec![Property::TopicAlias(alias)],
        ..Publish::new(topic, b"x")
    };
    let topics: Vec<String> = (1..=300).map(|alias| format!("topic/{alias}")).collect();
    for (alias, topic) in (1..).zip(&topics) {
        publisher.put(aliased(topic, alias));
    }
    for alias in 1..=300 {
        publisher.put(aliased("", alias));
    }
    let heard: Vec<String> = listener.messages().into_iter().map(|m| m.topic).collect();
    assert_eq!(heard, [&topics[..], &topics].concat());
    publisher.put(aliased("", 301));
    is_dismissed(&publisher, 0x94);
}

/// Shows: MQTT-3.3.4-9, MQTT-3.3.4-10, MQTT-4.9.0-1, MQTT-4.9.0-2, MQTT-4.9.0-3 (5.0)
#[test]
fn while_the_window_is_full_everything_but_messages_above_qos_0_is_sent() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("bob@alpha"));
    let subscriber = cluster.connect(0, client("alice@alpha").with(Property::ReceiveMaximum(2)));
    subscriber.subscribe("a", QOS_2);
    for n in 0..5 {
        publisher.publish_at(QOS_2, "a", &n.to_string());
    }
    assert_eq!(subscriber.received().len(), 2, "the window is full");
    let v5 = Version::V5;
    let (ok, nobody) = (ReasonCode::Success, ReasonCode::NoMatchingSubscribers);
    let send = |bytes: Vec<u8>| {
        subscriber.send(bytes);
        subscriber.answer()
    };
    assert_eq!(send(pingreq()), ServerPacket::PingResp);
    let properties = vec![];
    assert_eq!(
        send(subscribe(v5, 7, &[("b", options(QOS_0))], &[])),
        ServerPacket::SubAck {
            packet_id: 7,
            codes: vec![ok],
            properties
        }
    );
    let properties = vec![];
    assert_eq!(
        send(unsubscribe(v5, 8, &["b"], &[])),
        ServerPacket::UnsubAck {
            packet_id: 8,
            codes: vec![ok],
            properties
        }
    );
    let properties = vec![];
    assert_eq!(
        send(Publish::new("n", b"").at(QOS_1, 9).encode(v5)),
        ServerPacket::PubAck {
            packet_id: 9,
            reason: nobody,
            properties
        }
    );
    let properties = vec![];
    assert_eq!(
        send(Publish::new("n", b"").at(QOS_2, 10).encode(v5)),
        ServerPacket::PubRec {
            packet_id: 10,
            reason: nobody,
            properties
        }
    );
    let properties = vec![];
    assert_eq!(
        send(pubrel(v5, 10, ok, &[])),
        ServerPacket::PubComp {
            packet_id: 10,
            reason: ok,
            properties
        }
    );
    publisher.publish("a", "at QoS 0");
    let at_0 = ServerPacket::Publish(Publish::new("a", b"at QoS 0"));
    assert_eq!(subscriber.received(), [at_0]);
    publisher.publish_at(QOS_1, "a", "at QoS 1");
    assert_eq!(subscriber.received(), [], "it waits");
}

/// Shows: MQTT-3.3.4-1, MQTT-2.2.1-5, MQTT-4.3.2-4, MQTT-4.3.3-8 (5.0); MQTT-3.3.4-1,
/// MQTT-2.3.1-6 (3.1.1)
#[test]
fn each_qos_has_its_answer_under_its_own_identifier() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("a", QOS_0);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        let answer = |qos: QoS, id: u16| {
            client.put(Publish::new("a", b"x").at(qos, id));
            client.bytes()
        };
        client.put(Publish::new("a", b"x"));
        assert_eq!(client.bytes(), NOTHING);
        for id in [1_u16, 0x1234, 0xFFFF] {
            let [high, low] = id.to_be_bytes();
            assert_eq!(answer(QOS_1, id), [0x40, 2, high, low]);
            assert_eq!(answer(QOS_2, id), [0x50, 2, high, low]);
            client.send(pubrel(version, id, ReasonCode::Success, &[]));
            assert_eq!(client.bytes(), [0x70, 2, high, low]);
        }
        client.disconnect();
    }
}

/// Shows: MQTT-3.3.1-6, MQTT-3.3.1-7 (5.0); MQTT-3.3.1-10, MQTT-3.3.1-11 (3.1.1)
#[test]
fn an_empty_retained_message_clears_and_goes_out_like_any_other() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let publisher = cluster.connect(0, client("alice@alpha").version(version));
        let listener = cluster.connect(0, client("bob@alpha").version(version));
        let empty = |qos| Publish {
            qos,
            retain: true,
            ..Publish::new("a", b"")
        };
        for qos in [QOS_0, QOS_1, QOS_2] {
            publisher.retain("a", "kept");
            listener.subscribe("a", QOS_0);
            assert_eq!(listener.heard(), ["a kept"], "the control");
            publisher.complete(empty(qos));
            assert_eq!(listener.messages(), [Publish::new("a", b"")]);
            publisher.complete(empty(qos));
            assert_eq!(listener.messages(), [Publish::new("a", b"")]);
            listener.subscribe("a", QOS_0);
            assert_eq!(listener.messages(), []);
            listener.unsubscribe(&["a"]);
        }
        publisher.disconnect();
        listener.disconnect();
    }
    assert_eq!(cluster.team("alpha").with_retained(|kept| kept.len()), 0);
}
