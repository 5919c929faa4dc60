//! Topic aliases, both ways (MQTT 5.0 section 3.3.2.3.4).

use crate::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

/// What the client gets, alias and all, without acknowledging.
fn publishes(client: &Client) -> Vec<Publish> {
    let publishes = client.received().into_iter().map(|packet| match packet {
        ServerPacket::Publish(publish) => publish,
        other => panic!("{other:?}"),
    });
    publishes.collect()
}

fn alias(publish: &Publish) -> Option<u16> {
    publish
        .properties
        .iter()
        .find_map(|property| match property {
            Property::TopicAlias(alias) => Some(*alias),
            _ => None,
        })
}

#[test]
fn a_client_that_takes_aliases_is_sent_a_topic_once() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha").with(Property::TopicAliasMaximum(10)));
    subscriber.subscribe("#", QOS_1);
    for _ in 0..3 {
        publisher.publish_at(QOS_1, "sensors/1/temperature", "20");
    }
    let got = publishes(&subscriber);
    let topics: Vec<&str> = got.iter().map(|publish| publish.topic.as_str()).collect();
    assert_eq!(topics, ["sensors/1/temperature", "", ""]);
    let first = alias(&got[0]).expect("an alias");
    assert!((1..=10).contains(&first));
    assert!(
        got.iter().all(|publish| alias(publish) == Some(first)),
        "{got:?}"
    );
}

/// Shows: MQTT-3.1.2-26, MQTT-3.3.2-11 (5.0)
#[test]
fn every_topic_can_be_told_from_the_aliases_alone() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha").with(Property::TopicAliasMaximum(3)));
    subscriber.subscribe("#", QOS_0);
    let mut known: [Option<String>; 3] = [const { None }; 3];
    let mut shortened = 0;
    for round in 0..40 {
        let topic = format!("topic/number/{}", (round * round) % 7);
        publisher.publish(&topic, "x");
        let got = publishes(&subscriber);
        let [publish] = got.as_slice() else {
            panic!("{got:?}")
        };
        let place = usize::from(alias(publish).expect("an alias")) - 1;
        if publish.topic.is_empty() {
            shortened += 1;
        } else {
            known[place] = Some(publish.topic.clone());
        }
        assert_eq!(
            known[place].as_deref(),
            Some(topic.as_str()),
            "round {round}"
        );
    }
    assert!(shortened > 0, "no topic was ever shortened");
}

/// Shows: MQTT-3.1.2-27 (5.0)
#[test]
fn a_client_that_takes_no_aliases_is_sent_none() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for hello in [
        client("bob@alpha"),
        client("bob@alpha").version(Version::V311),
    ] {
        let subscriber = cluster.connect(0, hello);
        subscriber.subscribe("#", QOS_0);
        for _ in 0..2 {
            publisher.publish("sensors/1/temperature", "20");
        }
        for publish in publishes(&subscriber) {
            assert_eq!(
                (publish.topic.as_str(), alias(&publish)),
                ("sensors/1/temperature", None)
            );
        }
    }
}

/// Shows: MQTT-3.3.2-7 (5.0)
#[test]
fn aliases_end_with_their_connection() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = || {
        client("bob@alpha")
            .kept(60)
            .with(Property::TopicAliasMaximum(10))
    };
    let subscriber = cluster.connect(0, hello());
    subscriber.subscribe("#", QOS_1);
    publisher.publish_at(QOS_1, "sensors/1/temperature", "20");
    assert_eq!(publishes(&subscriber).len(), 1);
    subscriber.cut();
    let again = cluster.dial(0, hello()).received();
    let [ServerPacket::ConnAck(_), ServerPacket::Publish(publish)] = again.as_slice() else {
        panic!("{again:?}");
    };
    assert_eq!(publish.topic, "sensors/1/temperature", "sent again in full");
}

#[test]
fn a_message_too_large_for_the_client_sets_no_alias() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(
        0,
        client("bob@alpha")
            .with(Property::TopicAliasMaximum(10))
            .with(Property::MaximumPacketSize(100)),
    );
    subscriber.subscribe("#", QOS_0);
    publisher.publish("sensors/1/temperature", &"x".repeat(200));
    publisher.publish("sensors/1/temperature", "20");
    let got = publishes(&subscriber);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].topic, "sensors/1/temperature");
}

/// Shows: MQTT-3.2.2-17, MQTT-3.3.2-11 (5.0)
#[test]
fn the_brokers_own_bound_holds_where_a_client_takes_more() {
    let limits = Limits {
        topic_alias_maximum: 2,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(
        0,
        client("bob@alpha").with(Property::TopicAliasMaximum(u16::MAX)),
    );
    subscriber.subscribe("#", QOS_0);
    for topic in 0..20 {
        publisher.publish(&format!("topic/number/{topic}"), "x");
    }
    let got = publishes(&subscriber);
    assert_eq!(got.len(), 20);
    assert!(
        got.iter()
            .all(|publish| alias(publish).is_some_and(|alias| alias <= 2))
    );
    // And towards us: one above what CONNACK said ends the connection.
    let mut publish = Publish::new("topic/number/1", b"x");
    publish.properties.push(Property::TopicAlias(3));
    publisher.put(publish);
    let Some(ServerPacket::Disconnect { reason, .. }) = publisher.received().pop() else {
        panic!("no DISCONNECT");
    };
    assert_eq!(reason, ReasonCode::TopicAliasInvalid);
}

#[test]
fn an_alias_of_a_refused_topic_never_stands_for_the_one_before() {
    let limits = Limits {
        max_topic_length: 100,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha"));
    subscriber.subscribe("#", QOS_0);
    let publish = |topic: &str, payload: &str| {
        let mut publish = Publish::new(topic, payload.as_bytes());
        publish.qos = QOS_1;
        publish.properties.push(Property::TopicAlias(1));
        publisher.complete(publish)
    };
    let too_long = "l".repeat(200);
    for before in ["", "short"] {
        if !before.is_empty() {
            assert_eq!(publish(before, "1"), ReasonCode::Success);
        }
        assert_eq!(publish(&too_long, "2"), ReasonCode::TopicNameInvalid);
        assert_eq!(
            publish("", "meant for the long one"),
            ReasonCode::TopicNameInvalid
        );
    }
    assert_eq!(publish("other", "3"), ReasonCode::Success);
    assert_eq!(publish("", "4"), ReasonCode::Success);
    assert_eq!(subscriber.heard(), ["short 1", "other 3", "other 4"]);
}
