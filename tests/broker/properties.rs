//! What MQTT 5.0 lets a message carry, what it lets a client ask for, and that it arrives so.

use crate::cluster::*;
use cofferdam::broker::Drop;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, ServerPacket, subscribe};
use cofferdam::wire::{ReasonCode, Version};

const NONE: [&str; 0] = [];

fn with(topic: &str, payload: &str, properties: Vec<Property>) -> Publish {
    Publish {
        properties,
        ..Publish::new(topic, payload.as_bytes())
    }
}

fn user(name: &str, value: &str) -> Property {
    Property::User(name.to_owned(), value.to_owned())
}

fn alias(alias: u16) -> Vec<Property> {
    vec![Property::TopicAlias(alias)]
}

/// Shows: MQTT-3.3.2-4, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20 (5.0)
#[test]
fn properties_arrive_as_they_were_sent_and_in_their_order() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let properties = vec![
        user("z", "1"),
        Property::ContentType("application/json".to_owned()),
        user("a", "\u{1F600} and \u{FEFF}"),
        Property::CorrelationData((0..=255).collect()),
        user("z", "1"),
        user("", ""),
        Property::PayloadFormat(true),
        user("z", "0"),
    ];
    for shard in [0, 1] {
        let modern = cluster.connect(shard, client("bob@alpha"));
        let old = cluster.connect(shard, client("carol@alpha").v311());
        for qos in [QOS_0, QOS_1, QOS_2] {
            modern.subscribe("a", qos);
            old.subscribe("a", qos);
            publisher.complete(Publish {
                qos,
                ..with("a", "x", properties.clone())
            });
            assert_eq!(modern.messages()[0].properties, properties);
            assert_eq!(old.heard(), ["a x"]);
        }
        modern.disconnect();
        old.disconnect();
    }
}

/// Shows: MQTT-3.3.2-4, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-18, MQTT-3.3.2-20 (5.0)
#[test]
fn what_passes_through_is_the_same_bytes() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("a", QOS_0);
    let sent = with(
        "a",
        "payload",
        vec![
            Property::PayloadFormat(false),
            user("k", "v"),
            Property::CorrelationData(vec![0xFF, 0]),
            user("k", "v"),
            Property::ContentType(String::new()),
        ],
    );
    publisher.put(sent.clone());
    assert_eq!(listener.bytes(), sent.encode(Version::V5));
}

/// Shows: MQTT-3.3.2-6 (5.0)
#[test]
fn a_message_passed_on_at_once_keeps_its_expiry_and_later_it_is_counted_down() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha").with(Property::ReceiveMaximum(1)));
    listener.subscribe("a", QOS_1);
    for payload in ["1", "2"] {
        publisher.complete(Publish {
            qos: QOS_1,
            ..with("a", payload, vec![Property::MessageExpiry(100)])
        });
    }
    cluster.pass_secs(40);
    let left: Vec<_> = listener
        .messages()
        .into_iter()
        .map(|m| m.properties)
        .collect();
    assert_eq!(
        left,
        [
            [Property::MessageExpiry(100)],
            [Property::MessageExpiry(60)]
        ]
    );
}

#[test]
fn a_topic_alias_stands_for_the_topic_it_was_last_set_to() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("#", QOS_2);
    publisher.put(with("a", "1", alias(1)));
    publisher.put(with("b", "2", alias(64)));
    publisher.put(with("", "3", alias(1)));
    assert_eq!(
        publisher.complete(Publish {
            qos: QOS_2,
            ..with("", "4", alias(64))
        }),
        ReasonCode::Success
    );
    publisher.put(with("c", "5", alias(1)));
    publisher.put(with("", "6", alias(1)));
    publisher.put(with("", "7", alias(64)));
    let messages = listener.messages();
    assert!(
        messages.iter().all(|message| message.properties.is_empty()),
        "aliases stay here"
    );
    let told: Vec<String> = messages
        .iter()
        .map(|m| format!("{} {}", m.topic, String::from_utf8_lossy(&m.payload)))
        .collect();
    assert_eq!(told, ["a 1", "b 2", "a 3", "b 4", "c 5", "c 6", "b 7"]);
}

/// Shows: MQTT-3.2.2-17, MQTT-3.3.2-8, MQTT-3.3.2-9 (5.0)
#[test]
fn an_alias_that_was_never_set_or_is_too_high_ends_the_connection() {
    let limits = Limits {
        topic_alias_maximum: 3,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    for (publish, code) in [
        (with("", "x", alias(1)), 0x82),
        (with("a", "x", alias(4)), 0x94),
        (with("", "x", alias(u16::MAX)), 0x94),
        (with("a", "x", alias(0)), 0x94),
    ] {
        let publisher = cluster.connect(0, client("alice@alpha"));
        publisher.put(publish);
        assert_eq!(publisher.bytes(), [0xE0, 1, code]);
        assert!(!publisher.is_open());
    }
}

/// Shows: MQTT-3.2.2-18 (5.0)
#[test]
fn where_no_aliases_are_taken_none_are_offered_and_none_pass() {
    let limits = Limits {
        topic_alias_maximum: 0,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.dial(0, client("alice@alpha"));
    let offered = |property: &Property| matches!(property, Property::TopicAliasMaximum(_));
    assert!(!publisher.connack().properties.iter().any(offered));
    publisher.put(with("a", "x", alias(1)));
    assert_eq!(publisher.bytes(), [0xE0, 1, 0x94]);
}

/// Shows: MQTT-3.3.2-7 (5.0)
#[test]
fn aliases_end_with_the_connection_and_are_each_clients_own() {
    let cluster = Cluster::new(1);
    let hello = client("alice@alpha").kept(100);
    let first = cluster.connect(0, hello.clone());
    first.put(with("a", "x", alias(1)));
    let other = cluster.connect(0, client("bob@alpha"));
    other.put(with("", "x", alias(1)));
    assert_eq!(other.bytes(), [0xE0, 1, 0x82]);
    first.cut();
    let back = cluster.connect(0, hello);
    back.put(with("", "x", alias(1)));
    assert_eq!(back.bytes(), [0xE0, 1, 0x82]);
}

/// Shows: MQTT-3.1.2-24, MQTT-3.1.2-25 (5.0); PEER-5
#[test]
fn a_message_larger_than_the_client_takes_is_never_sent_and_counts_as_delivered() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(
        0,
        client("bob@alpha")
            .with(Property::MaximumPacketSize(100))
            .with(Property::ReceiveMaximum(1)),
    );
    listener.subscribe("a", QOS_1);
    for qos in [QOS_0, QOS_1] {
        let head = if qos == QOS_0 { 6 } else { 8 }; // fixed header, topic, identifier, properties
        let fits = "x".repeat(100 - head);
        let too_large = "x".repeat(101 - head);
        publisher.publish_at(qos, "a", &fits);
        publisher.publish_at(qos, "a", &too_large);
        publisher.publish_at(qos, "a", &"x".repeat(10_000));
        publisher.publish_at(qos, "a", "next");
        assert_eq!(
            listener.heard(),
            [format!("a {fits}"), "a next".to_owned()],
            "{qos:?}"
        );
    }
    assert_eq!(cluster.dropped(Drop::TooLarge), 4);
}

/// Shows: MQTT-3.1.2-24, MQTT-3.1.2-25 (5.0)
#[test]
fn a_waiting_message_that_a_smaller_client_comes_back_to_is_let_go() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = client("bob@alpha").kept(100);
    let first = cluster.connect(0, hello.clone());
    first.subscribe("a", QOS_2);
    publisher.publish_at(QOS_2, "a", &"x".repeat(200)); // in flight
    first.cut();
    publisher.publish_at(QOS_2, "a", &"y".repeat(200)); // queued
    publisher.publish_at(QOS_2, "a", "small");
    let small = hello.clone().with(Property::MaximumPacketSize(100));
    let back = cluster.dial(0, small);
    assert_eq!(back.received().len(), 2, "CONNACK and the small one");
    back.cut();
    let back = cluster.dial(0, hello);
    let packets = back.received();
    assert!(
        matches!(&packets[1..], [ServerPacket::Publish(publish)] if publish.payload == b"small" && publish.dup),
        "{packets:?}"
    );
    assert_eq!(cluster.dropped(Drop::TooLarge), 2);
}

/// Shows: MQTT-3.1.2-24 (5.0)
#[test]
fn a_retained_message_larger_than_the_client_takes_is_left_out() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.retain("a/1", &"x".repeat(200));
    publisher.retain("a/2", "small");
    let hello = client("bob@alpha").with(Property::MaximumPacketSize(100));
    let listener = cluster.connect(0, hello);
    listener.subscribe("a/+", QOS_0);
    assert_eq!(listener.heard(), ["a/2 small"]);
}

/// Shows: MQTT-3.1.2-24 (5.0)
#[test]
fn no_answer_is_larger_than_the_client_takes() {
    let cluster = Cluster::new(1);
    let size = |max| client("alice@alpha").with(Property::MaximumPacketSize(max));
    let whole = {
        let client = cluster.dial(0, size(1_000));
        let length = client.bytes().len() as u32;
        client.disconnect();
        length
    };
    cluster.connect(0, size(whole)).disconnect();
    let client = cluster.dial(0, size(whole - 1));
    assert_eq!(client.bytes(), [0x20, 3, 0, 0x95, 0]);
    assert!(!client.is_open());
    let client = cluster.dial(0, size(4));
    assert_eq!(client.bytes(), NOTHING);
    assert!(!client.is_open());
    assert_eq!(cluster.sessions(), 0);

    let client = cluster.connect(0, size(whole));
    let filters = vec![("a", options(QOS_0)); whole as usize];
    client.send(subscribe(Version::V5, 1, &filters, &[]));
    let bytes = client.bytes();
    assert!(bytes.len() <= whole as usize, "{bytes:02x?}");
}

#[test]
fn a_message_with_everything_on_it_reaches_clients_of_every_version() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let properties = vec![
        Property::MessageExpiry(9),
        Property::ResponseTopic("r".to_owned()),
        Property::PayloadFormat(true),
        user("k", "v"),
    ];
    for version in [Version::V31, Version::V311, Version::V5] {
        let listener = cluster.connect(1, client("bob@alpha").version(version));
        listener.subscribe_as("a", QOS_1, 77);
        let mut sent = with("a", "x", properties.clone());
        sent.properties.push(Property::TopicAlias(2));
        publisher.complete(Publish { qos: QOS_1, ..sent });
        let expected = match version {
            Version::V5 => vec![
                Property::MessageExpiry(9),
                Property::SubscriptionId(77),
                Property::ResponseTopic("r".to_owned()),
                Property::PayloadFormat(true),
                user("k", "v"),
            ],
            _ => vec![],
        };
        assert_eq!(listener.messages()[0].properties, expected);
        listener.disconnect();
    }
    assert_eq!(publisher.received(), []);
    assert_eq!(publisher.heard(), NONE);
}
