//! Retained messages: kept, replaced, cleared, and handed to new subscriptions.

use crate::cluster::*;
use cofferdam::broker::{Drop, EventKind};
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn retained(topic: &str, payload: &str) -> Publish {
    Publish {
        retain: true,
        ..Publish::new(topic, payload.as_bytes())
    }
}

fn handling(retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions {
        retain_handling,
        ..options(QOS_1)
    }
}

/// The team's retained messages: number and bytes.
fn kept(cluster: &Cluster, team: &str) -> (usize, u64) {
    let team = cluster.team(team);
    team.with_retained(|retained| (retained.len(), retained.bytes()))
}

/// Shows: MQTT-3.3.1-5, MQTT-3.3.1-9 (5.0); MQTT-3.3.1-6, MQTT-3.3.1-8 (3.1.1)
#[test]
fn a_retained_message_is_handed_to_later_subscribers_with_its_flag() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.retain("a/b", "1");
    for (shard, version) in VERSIONS.into_iter().enumerate() {
        let late = cluster.connect(shard as u16 % 2, client("bob@alpha").version(version));
        for filter in ["a/b", "a/+", "#", "a/b/#"] {
            late.subscribe(filter, QOS_0);
            assert_eq!(late.messages(), [retained("a/b", "1")], "{filter}");
            late.unsubscribe(&[filter]);
        }
        late.subscribe("a/b/+", QOS_0);
        assert_eq!(late.messages(), []);
        late.disconnect();
    }
}

#[test]
fn suback_comes_before_the_retained_messages() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    client.retain("a", "1");
    let subscribe = cofferdam::wire::client::subscribe(
        Version::V5,
        3,
        &[("a", options(QOS_0)), ("b", options(QOS_0))],
        &[],
    );
    client.send(subscribe);
    let suback = ServerPacket::SubAck {
        packet_id: 3,
        codes: vec![ReasonCode::Success; 2],
        properties: vec![],
    };
    assert_eq!(
        client.received(),
        [suback, ServerPacket::Publish(retained("a", "1"))]
    );
}

/// Shows: MQTT-3.3.1-12 (5.0); MQTT-3.3.1-9 (3.1.1)
#[test]
fn those_who_listen_already_get_it_as_an_ordinary_message() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for (shard, version) in VERSIONS.into_iter().enumerate() {
        let listener = cluster.connect(shard as u16 % 2, client("bob@alpha").version(version));
        listener.subscribe("a", QOS_0);
        listener.messages();
        publisher.retain("a", "1");
        assert_eq!(listener.messages(), [Publish::new("a", b"1")]);
        listener.disconnect();
    }
}

/// Shows: MQTT-3.3.1-13 (5.0)
#[test]
fn retain_as_published_keeps_the_flag_as_it_was() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for shard in [0, 1] {
        let listener = cluster.connect(shard, client("bob@alpha"));
        let as_published = SubscriptionOptions {
            retain_as_published: true,
            ..options(QOS_0)
        };
        listener.try_subscribe(&[("a", as_published)], &[]);
        listener.messages();
        publisher.retain("a", "1");
        publisher.publish("a", "2");
        assert_eq!(
            listener.messages(),
            [retained("a", "1"), Publish::new("a", b"2")]
        );
        listener.disconnect();
    }
}

/// Shows: MQTT-3.3.1-5, MQTT-3.3.1-8 (5.0)
#[test]
fn a_later_retained_message_takes_the_place_of_an_earlier_one() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.retain("a", "1");
    publisher.retain("a", "22");
    publisher.publish("a", "not retained");
    let late = cluster.connect(0, client("bob@alpha"));
    late.subscribe("a", QOS_0);
    assert_eq!(late.heard(), ["a 22"]);
    let full = "ff/v1/alpha/c/a".len() as u64;
    assert_eq!(kept(&cluster, "alpha"), (1, full + 2));
}

/// Shows: MQTT-3.3.1-6, MQTT-3.3.1-7 (5.0)
#[test]
fn an_empty_payload_clears_and_is_delivered_like_any_message() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("a", QOS_0);
    publisher.retain("a", "1");
    publisher.retain("a", "");
    assert_eq!(
        listener.messages(),
        [Publish::new("a", b"1"), Publish::new("a", b"")]
    );
    assert_eq!(kept(&cluster, "alpha"), (0, 0));
    listener.subscribe("a", QOS_0);
    assert_eq!(listener.messages(), []);
    publisher.retain("b", "");
    assert_eq!(
        kept(&cluster, "alpha"),
        (0, 0),
        "clearing nothing keeps nothing"
    );
}

#[test]
fn retained_messages_have_the_lower_of_both_qos_and_their_subscriptions_identifier() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for qos in [QOS_0, QOS_1, QOS_2] {
        publisher.complete(Publish {
            qos,
            ..retained(&format!("q/{}", qos as u8), "x")
        });
    }
    let late = cluster.connect(0, client("bob@alpha"));
    for granted in [QOS_0, QOS_1, QOS_2] {
        late.subscribe_as("q/+", granted, 5);
        let messages = late.messages();
        let got: Vec<QoS> = messages.iter().map(|publish| publish.qos).collect();
        assert_eq!(got, [QOS_0, QOS_1, QOS_2].map(|qos| qos.min(granted)));
        for publish in messages {
            assert_eq!(publish.properties, [Property::SubscriptionId(5)]);
            assert!(publish.retain && !publish.dup);
        }
    }
}

/// Shows: MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11 (5.0)
#[test]
fn retain_handling_says_when_they_are_sent() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    client.complete(Publish {
        qos: QOS_1,
        ..retained("a", "1")
    });
    let sent = |how| {
        client.try_subscribe(&[("a", handling(how))], &[]);
        client.heard().len()
    };
    assert_eq!(sent(RetainHandling::DoNotSend), 0);
    assert_eq!(sent(RetainHandling::SendIfNew), 0, "it is not new");
    assert_eq!(sent(RetainHandling::Send), 1);
    assert_eq!(sent(RetainHandling::Send), 1, "each time");
    client.unsubscribe(&["a"]);
    assert_eq!(sent(RetainHandling::SendIfNew), 1);
    assert_eq!(sent(RetainHandling::SendIfNew), 0);
}

/// Shows: MQTT-3.3.1-10 (5.0)
#[test]
fn a_resumed_subscription_is_not_new() {
    let cluster = Cluster::new(1);
    let hello = client("alice@alpha").kept(100);
    let first = cluster.connect(0, hello.clone());
    first.try_subscribe(&[("a", handling(RetainHandling::SendIfNew))], &[]);
    first.retain("a", "1");
    assert_eq!(first.heard().len(), 1);
    first.cut();
    let back = cluster.connect(0, hello);
    back.try_subscribe(&[("a", handling(RetainHandling::SendIfNew))], &[]);
    assert_eq!(back.heard(), [""; 0]);
}

#[test]
fn a_shared_subscription_gets_no_retained_messages() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    client.retain("a", "1");
    client.subscribe("$share/g/a", QOS_0);
    assert_eq!(client.messages(), []);
    client.publish("a", "2");
    assert_eq!(client.heard(), ["a 2"]);
}

/// Shows: MQTT-3.8.3-3 (5.0); PEER-7
#[test]
fn a_client_that_wants_nothing_of_its_own_gets_none_of_its_own_retained_messages() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha"));
    alice.retain("a", "mine");
    bob.retain("b", "another's");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(QOS_0)
    };
    alice.try_subscribe(&[("#", no_local)], &[]);
    assert_eq!(alice.heard(), ["b another's"]);
}

/// Shows: MQTT-3.3.2-5, MQTT-3.3.2-6 (5.0)
#[test]
fn a_retained_message_expires_and_tells_what_is_left() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    client.put(Publish {
        properties: vec![Property::MessageExpiry(30)],
        ..retained("a", "1")
    });
    cluster.pass_secs(10);
    client.subscribe("a", QOS_0);
    assert_eq!(
        client.messages()[0].properties,
        [Property::MessageExpiry(20)]
    );
    cluster.pass_secs(20);
    client.subscribe("a", QOS_0);
    assert_eq!(client.messages(), []);
    assert_eq!(kept(&cluster, "alpha"), (0, 0), "and is forgotten");
}

/// Shows: MQTT-3.3.2-15 (5.0)
#[test]
fn retained_messages_keep_their_properties() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    let properties = vec![
        Property::ResponseTopic("answers/here".to_owned()),
        Property::PayloadFormat(true),
        Property::ContentType("text/plain".to_owned()),
        Property::CorrelationData(vec![0, 1, 2]),
        Property::User("k".to_owned(), "v".to_owned()),
    ];
    let publish = Publish {
        properties,
        ..retained("a", "1")
    };
    client.put(publish.clone());
    client.subscribe("a", QOS_0);
    assert_eq!(client.messages(), [publish]);
}

#[test]
fn a_large_set_reaches_a_slow_reader_whole_and_is_never_queued_whole() {
    const COUNT: usize = 5_000;
    for qos in [QOS_0, QOS_1] {
        let cluster = Cluster::new(1);
        let publisher = cluster.connect(0, client("alice@alpha"));
        let payload = "x".repeat(100);
        for n in 0..COUNT {
            publisher.complete(Publish {
                qos,
                ..retained(&format!("set/{n:04}"), &payload)
            });
        }
        let slow = cluster.connect(0, client("bob@alpha"));
        slow.stop_reading();
        let subscribe =
            cofferdam::wire::client::subscribe(Version::V5, 1, &[("set/+", options(qos))], &[]);
        slow.send(subscribe);
        let mut most = 0;
        let mut topics: Vec<String> = Vec::new();
        for _ in 0..1_000_000 {
            most = most.max(slow.outbox());
            slow.read_some(5_000);
            let received = slow.received();
            if received.is_empty() && slow.outbox() == 0 {
                break;
            }
            for packet in received {
                if let ServerPacket::Publish(publish) = packet {
                    if let Some(id) = publish.packet_id {
                        slow.send(puback(Version::V5, id, ReasonCode::Success, &[]));
                    }
                    topics.push(publish.topic);
                }
            }
        }
        let expected: Vec<String> = (0..COUNT).map(|n| format!("set/{n:04}")).collect();
        assert!(topics == expected, "{} of {COUNT} came", topics.len());
        assert!(most < 70_000, "{most} bytes waited at once");
        assert_eq!(cluster.counters(0).dropped.iter().sum::<u64>(), 0);
    }
}

#[test]
fn a_small_outbox_holds_retained_messages_back_and_drops_none() {
    let limits = Limits {
        max_packet_size: 1024,
        max_outbox_bytes: 1024,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let alice = cluster.connect(0, client("alice@alpha"));
    for number in 0..100 {
        alice.retain(&format!("a/{number:02}"), &"x".repeat(100));
    }
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.stop_reading();
    let wanted = [("a/#", options(QOS_0))];
    bob.send(cofferdam::wire::client::subscribe(
        bob.version(),
        1,
        &wanted,
        &[],
    ));
    assert!(bob.outbox() <= 2 * 1024, "{}", bob.outbox());
    bob.read_on();
    assert_eq!(cluster.dropped(Drop::SlowConsumer), 0);
    let packets = bob.received();
    assert_eq!(packets.len(), 1 + 100, "SUBACK and every message");
}

#[test]
fn retained_messages_stop_when_their_subscription_ends() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for n in 0..2_000 {
        publisher.retain(&format!("set/{n}"), &"x".repeat(100));
    }
    let slow = cluster.connect(0, client("bob@alpha"));
    slow.subscribe("other", QOS_0);
    slow.stop_reading();
    slow.send(cofferdam::wire::client::subscribe(
        Version::V5,
        1,
        &[("set/#", options(QOS_0))],
        &[],
    ));
    slow.send(cofferdam::wire::client::unsubscribe(
        Version::V5,
        2,
        &["set/#"],
        &[],
    ));
    slow.read_on();
    let got = slow.received().len();
    assert!(got < 1_000, "{got} packets came");
    publisher.publish("other", "still here");
    assert_eq!(slow.heard(), ["other still here"]);
}

#[test]
fn what_arrives_in_the_midst_of_a_replay_is_delivered_too() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for n in 0..2_000 {
        publisher.retain(&format!("set/{n:04}"), &"old".repeat(30));
    }
    let slow = cluster.connect(0, client("bob@alpha"));
    slow.stop_reading();
    slow.send(cofferdam::wire::client::subscribe(
        Version::V5,
        1,
        &[("set/#", options(QOS_0))],
        &[],
    ));
    publisher.retain("set/1999", "new");
    slow.read_on();
    let last: Vec<Publish> = slow
        .received()
        .into_iter()
        .filter_map(|packet| match packet {
            ServerPacket::Publish(publish) if publish.topic == "set/1999" => Some(publish),
            _ => None,
        })
        .collect();
    assert!(
        last.iter().all(|publish| publish.payload == b"new"),
        "{last:?}"
    );
    assert!(!last.is_empty());
}

#[test]
fn beyond_the_teams_limit_a_message_is_refused_and_what_was_kept_stays() {
    for (limits, why) in [
        (
            Limits {
                max_retained_messages: 2,
                ..Limits::default()
            },
            "by number",
        ),
        (
            Limits {
                max_retained_bytes: 2 * ("ff/v1/alpha/c/a".len() as u64 + 1),
                ..Limits::default()
            },
            "by bytes",
        ),
    ] {
        let cluster = Cluster::limited(1, limits);
        let client = cluster.connect(0, client("alice@alpha"));
        let retain = |topic: &str, payload: &str| {
            client.complete(Publish {
                qos: QOS_1,
                ..retained(topic, payload)
            })
        };
        retain("a", "1");
        retain("b", "1");
        cluster.events();
        assert_eq!(retain("c", "1"), ReasonCode::QuotaExceeded, "{why}");
        assert!(client.is_open());
        let expected = EventKind::PublishRefused {
            topic: "ff/v1/alpha/c/c".into(),
            reason: ReasonCode::QuotaExceeded,
            why: "the team's retained messages are at their limit",
            will: false,
        };
        assert_eq!(cluster.record(), [expected]);
        assert_eq!(cluster.dropped(Drop::RetainedFull), 1);
        assert_ne!(
            retain("a", "2"),
            ReasonCode::QuotaExceeded,
            "replacing is no growth"
        );
        retain("b", "");
        assert_ne!(retain("c", "1"), ReasonCode::QuotaExceeded);
        client.subscribe("#", QOS_0);
        assert_eq!(client.heard(), ["a 2", "c 1"]);
        // Another team has its own limit.
        let other = cluster.connect(0, crate::cluster::client("alice@beta"));
        other.retain("a", "1");
        assert_eq!(kept(&cluster, "beta").0, 1);
    }
}

#[test]
fn what_expired_makes_room_for_other_retained_messages() {
    let limits = Limits {
        max_retained_messages: 2,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let client = cluster.connect(0, client("alice@alpha"));
    let expiring = |topic: &str| Publish {
        properties: vec![Property::MessageExpiry(30)],
        ..retained(topic, "1")
    };
    let answer = |publish: Publish| client.complete(publish.at(QOS_1, 0));
    assert!(!answer(expiring("a")).is_error());
    assert!(!answer(retained("b", "1")).is_error());
    assert_eq!(answer(retained("c", "1")), ReasonCode::QuotaExceeded);
    cluster.pass_secs(30);
    assert!(!answer(retained("c", "1")).is_error());
    assert_eq!(answer(expiring("d")), ReasonCode::QuotaExceeded);
    client.subscribe("#", QOS_0);
    assert_eq!(client.heard(), ["b 1", "c 1"]);
}

#[test]
fn a_small_outbox_delays_retained_messages_and_loses_none() {
    let limits = Limits {
        max_outbox_bytes: 100,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let topics: Vec<String> = (0..50).map(|n| format!("topic/{n:02}")).collect();
    for topic in &topics {
        publisher.retain(topic, "kept");
    }
    let reader = cluster.connect(0, client("bob@alpha"));
    reader.subscribe("#", QOS_0);
    let expected: Vec<String> = topics.iter().map(|topic| format!("{topic} kept")).collect();
    assert_eq!(reader.heard(), expected);
    assert_eq!(cluster.dropped(Drop::SlowConsumer), 0);
}

#[test]
fn unsubscribing_ends_the_retained_messages_that_are_still_to_come() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for topic in ["a", "b", "c"] {
        publisher.put(retained(topic, "kept").at(QOS_1, 1));
    }
    let hello = client("bob@alpha").with(Property::ReceiveMaximum(1));
    let reader = cluster.connect(0, hello);
    reader.subscribe("#", QOS_1);
    reader.unsubscribe(&["#"]);
    let none = SubscriptionOptions {
        qos: QOS_1,
        ..handling(RetainHandling::DoNotSend)
    };
    reader.try_subscribe(&[("#", none)], &[]);
    assert_eq!(reader.heard(), ["a kept"], "the one already in flight");
}
