//! Sections 3.8 and 3.9: SUBSCRIBE and SUBACK.

use super::cluster::*;
use super::{VERSIONS, goodbye};
use cofferdam::wire::client::{Property, Publish, ServerPacket, subscribe};
use cofferdam::wire::{RetainHandling, SubscriptionOptions, Version};

/// Shows: MQTT-2.2.1-6, MQTT-2.2.2-1, MQTT-3.8.4-1, MQTT-3.8.4-2 (5.0); MQTT-2.3.1-7,
/// MQTT-3.8.4-1, MQTT-3.8.4-2 (3.1.1)
#[test]
fn suback_comes_under_the_identifier_of_its_subscribe() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        for id in [1, 0x1234, 0xFFFF, 1] {
            client.send(subscribe(version, id, &[("a", options(QOS_1))], &[]));
            let [high, low] = id.to_be_bytes();
            let expected = match version {
                Version::V5 => vec![0x90, 4, high, low, 0, 1],
                _ => vec![0x90, 3, high, low, 1],
            };
            assert_eq!(client.bytes(), expected);
        }
        client.disconnect();
    }
}

/// Shows: MQTT-3.8.3-5 (5.0); MQTT-3.8.3-4 (3.1.1)
#[test]
fn every_byte_of_subscription_options_is_taken_or_refused_as_the_standard_says() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        for byte in 0..=u8::MAX {
            let client = cluster.connect(0, client("alice@alpha").version(version));
            let packet = match version {
                Version::V5 => vec![0x82, 7, 0, 1, 0, 0, 1, b'a', byte],
                _ => vec![0x82, 6, 0, 1, 0, 1, b'a', byte],
            };
            client.send(packet);
            let (qos, handling) = (byte & 3, byte >> 4 & 3);
            let code = match version {
                Version::V5 if byte & 0xC0 != 0 => Some(0x81),
                Version::V5 if qos == 3 || handling == 3 => Some(0x82),
                Version::V31 | Version::V311 if byte > 2 => Some(0x81),
                _ => None,
            };
            let expected = match (code, version) {
                (Some(code), _) => goodbye(version, code),
                (None, Version::V5) => vec![0x90, 4, 0, 1, 0, qos],
                (None, _) => vec![0x90, 3, 0, 1, qos],
            };
            assert_eq!(client.bytes(), expected, "{version:?}, options {byte:08b}");
            assert_eq!(client.is_open(), code.is_none());
        }
    }
}

/// Shows: MQTT-3.8.4-3, MQTT-3.8.4-4 (5.0); MQTT-3.8.4-3 (3.1.1)
#[test]
fn replacing_a_subscription_sends_what_is_retained_again_and_loses_no_message() {
    let cluster = Cluster::new(2);
    for version in VERSIONS {
        let publisher = cluster.connect(1, client("alice@alpha"));
        publisher.retain("a/kept", "kept");
        let listener = cluster.connect(0, client("bob@alpha").version(version).keep_alive(0));
        listener.subscribe("a/#", QOS_1);
        assert_eq!(listener.heard(), ["a/kept kept"]);
        let mut heard = Vec::new();
        for n in 0..20 {
            publisher.publish_at(QOS_1, "a/n", &n.to_string());
            // In one piece with what else is under way.
            let again = [("a/#", options(QOS_1))];
            listener.send(subscribe(version, 100 + n, &again, &[]));
        }
        for packet in listener.received() {
            match packet {
                ServerPacket::Publish(publish) => {
                    heard.push(String::from_utf8(publish.payload).expect("text"));
                }
                ServerPacket::SubAck { .. } => heard.push("suback".to_owned()),
                other => panic!("{other:?}"),
            }
        }
        let expected: Vec<String> = (0..20)
            .flat_map(|n| [n.to_string(), "suback".to_owned(), "kept".to_owned()])
            .collect();
        assert_eq!(heard, expected, "{version:?}");
        assert_eq!(cluster.team("alpha").subscriptions(), 1);
        publisher.retain("a/kept", "");
        listener.disconnect();
        publisher.disconnect();
    }
}

/// Shows: MQTT-3.8.4-5, MQTT-3.8.4-6, MQTT-3.9.3-1 (5.0); MQTT-3.8.4-4, MQTT-3.8.4-5,
/// MQTT-3.9.3-1 (3.1.1)
#[test]
fn one_subscribe_of_many_filters_is_as_many_of_one_with_one_answer() {
    let filters = [
        ("a/+", QOS_0),
        ("a/b", QOS_2),
        ("a/+", QOS_1),
        ("#/a", QOS_0),
        ("c", QOS_1),
    ];
    for version in VERSIONS {
        let outcome = |together: bool| {
            let cluster = Cluster::new(1);
            let publisher = cluster.connect(0, client("alice@alpha"));
            publisher.retain("a/b", "kept");
            publisher.retain("c", "kept");
            let listener = cluster.connect(0, client("bob@alpha").version(version));
            let asked = filters.map(|(filter, qos)| (filter, options(qos)));
            let mut codes = Vec::new();
            if together {
                codes = listener.try_subscribe(&asked, &[]);
            } else {
                for one in asked {
                    codes.extend(listener.try_subscribe(&[one], &[]));
                }
            }
            publisher.publish_at(QOS_2, "a/b", "live");
            let mut heard = listener.messages();
            for publish in &mut heard {
                publish.packet_id = None;
            }
            heard.sort_by_key(|publish| (publish.retain, publish.topic.clone(), publish.qos));
            (codes, heard)
        };
        let (codes, heard) = outcome(true);
        let (one_by_one, heard_one_by_one) = outcome(false);
        assert_eq!(codes, one_by_one);
        assert_eq!(codes.len(), filters.len());
        let live = heard.iter().filter(|publish| !publish.retain).count();
        assert_eq!(live, 2, "a/b and the a/+ that came last: {heard:?}");
        let kept = |heard: &[Publish]| {
            let mut topics: Vec<_> = heard.iter().map(|p| (p.topic.clone(), p.qos)).collect();
            topics.dedup();
            topics
        };
        assert_eq!(kept(&heard), kept(&heard_one_by_one));
    }
}

/// Shows: MQTT-3.3.4-3, MQTT-3.3.4-5 (5.0)
#[test]
fn a_subscription_made_anew_without_an_identifier_has_none() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe_as("a", QOS_0, 5);
    publisher.publish("a", "1");
    listener.subscribe("a", QOS_0);
    publisher.publish("a", "2");
    let identifiers: Vec<Vec<Property>> = listener
        .messages()
        .into_iter()
        .map(|publish| publish.properties)
        .collect();
    assert_eq!(identifiers, [vec![Property::SubscriptionId(5)], vec![]]);
}

/// Shows: MQTT-3.8.3-3, MQTT-3.3.1-13 (5.0)
#[test]
fn a_bridge_of_3_x_hears_nothing_of_its_own_and_sees_retained_flags_as_they_were() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in [Version::V31, Version::V311] {
        let mut hello = client("bob@alpha").version(version);
        hello.connect.bridge = true;
        let bridge = cluster.connect(0, hello);
        bridge.subscribe("a", QOS_0);
        bridge.publish("a", "its own");
        bridge.retain("a", "its own");
        publisher.retain("a", "kept");
        publisher.publish("a", "live");
        let kept = Publish {
            retain: true,
            ..Publish::new("a", b"kept")
        };
        assert_eq!(bridge.messages(), [kept, Publish::new("a", b"live")]);
        publisher.retain("a", "");
        bridge.disconnect();
    }
    // One of 5.0 says for each subscription what it wants.
    let mut hello = client("bob@alpha");
    hello.connect.bridge = true;
    let bridge = cluster.connect(0, hello);
    let as_asked = SubscriptionOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..options(QOS_0)
    };
    bridge.try_subscribe(&[("a", as_asked)], &[]);
    bridge.publish("a", "its own");
    assert_eq!(bridge.heard(), ["a its own"]);
}

/// Shows: MQTT-3.3.4-2 (5.0); MQTT-3.3.5-1 (3.1.1)
#[test]
fn overlapping_subscriptions_bring_a_message_at_the_highest_of_their_qos() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let listener = cluster.connect(1, client("bob@alpha").version(version));
        listener.subscribe("a/#", QOS_0);
        listener.subscribe("+/b", QOS_2);
        listener.subscribe("a/b", QOS_1);
        for sent in [QOS_0, QOS_1, QOS_2] {
            publisher.publish_at(sent, "a/b", "x");
            let mut got: Vec<_> = listener.messages().into_iter().map(|p| p.qos).collect();
            got.sort_unstable();
            let expected = [QOS_0, QOS_1, QOS_2].map(|granted| granted.min(sent));
            assert_eq!(got, expected, "one for each subscription, at its own");
        }
        listener.disconnect();
    }
}
