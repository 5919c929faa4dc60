//! Sessions: what outlives a connection, for how long, and who may come back to it.

use crate::cluster::*;
use cofferdam::broker::{DisconnectCause, Drop, EventKind};
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubcomp, pubrec, pubrel};
use cofferdam::wire::{QoS, ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// `bob@alpha`, whose session is kept for 100 seconds.
fn bob(version: Version) -> Hello {
    client("bob@alpha").version(version).kept(100)
}

#[track_caller]
fn comes_back(cluster: &Cluster, shard: u16, hello: Hello, present: bool) -> Client {
    let version = hello.connect.version;
    let client = cluster.dial(shard, hello);
    let mut packets = client.received();
    match packets.remove(0) {
        ServerPacket::ConnAck(connack) => {
            // 3.1 has no such flag.
            assert_eq!(connack.session_present, present && version != Version::V31);
            assert_eq!(connack.code, 0);
        }
        other => panic!("not CONNACK: {other:?}"),
    }
    assert_eq!(packets, [], "use `dial` where more than CONNACK comes");
    client
}

/// A session of bob's with nothing in it, whatever was before.
#[track_caller]
fn anew(cluster: &Cluster, version: Version) -> Client {
    cluster.connect(0, client("bob@alpha")).disconnect();
    comes_back(cluster, 0, bob(version), false)
}

fn sent(topic: &str, payload: &str, qos: QoS, id: u16, dup: bool) -> ServerPacket {
    ServerPacket::Publish(Publish {
        dup,
        ..Publish::new(topic, payload.as_bytes()).at(qos, id)
    })
}

/// All but the CONNACK at the front.
#[track_caller]
fn after_connack(client: &Client) -> Vec<ServerPacket> {
    let mut packets = client.received();
    assert!(matches!(&packets[0], ServerPacket::ConnAck(connack) if connack.code == 0));
    packets.remove(0);
    packets
}

/// Shows: MQTT-4.1.0-2 (5.0); MQTT-3.1.2-6 (3.1.1)
#[test]
fn a_session_without_expiry_ends_with_its_connection() {
    let cluster = Cluster::new(1);
    for hello in [
        client("bob@alpha").v311(),
        client("bob@alpha").v5(),
        bob(Version::V5).kept(0),
    ] {
        let hello = match hello.connect.version {
            Version::V5 => Hello {
                connect: cofferdam::wire::client::Connect {
                    properties: vec![Property::SessionExpiry(0)],
                    ..hello.connect
                },
                ..hello
            },
            _ => hello,
        };
        let client = cluster.connect(0, hello.clone());
        client.subscribe("a", QOS_1);
        client.cut();
        assert_eq!(cluster.sessions(), 0);
        assert_eq!(cluster.team("alpha").subscriptions(), 0);
        assert_eq!(cluster.team("alpha").registry.len(), 0);
        comes_back(&cluster, 0, hello, false).disconnect();
    }
}

/// Shows: MQTT-3.1.2-5, MQTT-3.1.2-23, MQTT-3.2.2-3, MQTT-4.1.0-2 (5.0); MQTT-3.1.2-4,
/// MQTT-3.2.2-2, MQTT-3.2.2-3, MQTT-4.1.0-1 (3.1.1); PEER-8
#[test]
fn a_session_waits_for_its_client_until_its_expiry_to_the_microsecond() {
    let cluster = Cluster::new(1);
    for version in [Version::V311, Version::V5] {
        let client = comes_back(&cluster, 0, bob(version), false);
        client.subscribe("a", QOS_1);
        client.cut();
        let expiry = match version {
            Version::V5 => Span::from_secs(100),
            _ => Limits::default().max_session_expiry, // 3.x does not say how long
        };
        cluster.pass(Span::from_micros(expiry.as_micros() - 1));
        let client = comes_back(&cluster, 0, bob(version), true);
        client.disconnect();
        cluster.pass(Span::from_micros(expiry.as_micros() - 1));
        assert_eq!(cluster.sessions(), 1);
        cluster.pass(Span::from_micros(1));
        assert_eq!(cluster.sessions(), 0);
        assert_eq!(cluster.team("alpha").subscriptions(), 0);
        assert!(cluster.team("alpha").registry.is_empty());
    }
    assert_eq!(cluster.counters(0).sessions_expired, 2);
}

#[test]
fn a_longer_expiry_than_the_limit_is_cut_to_it_and_told() {
    let limits = Limits {
        max_session_expiry: Span::from_secs(50),
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    for asked in [51, u32::MAX] {
        let client = cluster.dial(0, client("bob@alpha").kept(asked));
        let connack = client.connack();
        assert!(connack.properties.contains(&Property::SessionExpiry(50)));
        client.cut();
        cluster.pass_secs(49);
        assert_eq!(cluster.sessions(), 1);
        cluster.pass_secs(1);
        assert_eq!(cluster.sessions(), 0);
    }
    let client = cluster.dial(0, client("bob@alpha").kept(50));
    let told = |property: &Property| matches!(property, Property::SessionExpiry(_));
    assert!(
        !client.connack().properties.iter().any(told),
        "what holds is not told"
    );
}

/// Shows: MQTT-3.1.2-4, MQTT-3.1.4-4, MQTT-3.2.2-2 (5.0); MQTT-3.1.2-6, MQTT-3.1.4-3,
/// MQTT-3.2.2-1 (3.1.1)
#[test]
fn a_clean_start_discards_the_session_and_all_that_waited_in_it() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let client = comes_back(&cluster, 0, bob(version), false);
        client.subscribe("a", QOS_1);
        client.cut();
        publisher.publish_at(QOS_1, "a", "waits");
        let client = comes_back(&cluster, 0, bob(version).clean(), false);
        publisher.publish_at(QOS_1, "a", "now");
        assert_eq!(client.heard(), [""; 0], "the subscription is gone");
        client.cut();
        comes_back(&cluster, 0, bob(version).clean(), false).disconnect();
        cluster.pass(Limits::default().max_session_expiry);
        assert_eq!(cluster.sessions(), 1, "alice's");
    }
}

#[test]
fn expiry_can_be_changed_at_disconnect_but_not_from_nothing() {
    let cluster = Cluster::new(1);
    let change = |secs| [Property::SessionExpiry(secs)];
    let normal = ReasonCode::Success;

    comes_back(&cluster, 0, bob(Version::V5), false).disconnect_with(normal, &change(0));
    assert_eq!(cluster.sessions(), 0);

    comes_back(&cluster, 0, bob(Version::V5), false).disconnect_with(normal, &change(300));
    cluster.pass_secs(299);
    comes_back(&cluster, 0, bob(Version::V5), true).disconnect_with(normal, &change(10));
    cluster.pass_secs(10);
    assert_eq!(cluster.sessions(), 0);

    comes_back(&cluster, 0, bob(Version::V5), false).disconnect_with(normal, &change(u32::MAX));
    cluster.pass(Limits::default().max_session_expiry);
    assert_eq!(cluster.sessions(), 0, "no longer than the limit");

    let short = cluster.connect(0, client("bob@alpha"));
    let bytes = cofferdam::wire::client::disconnect(Version::V5, normal, &change(10));
    cluster.events();
    short.send(bytes);
    assert_eq!(short.bytes(), [0xE0, 1, 0x82]);
    assert!(!short.is_open());
    assert_eq!(cluster.sessions(), 0);
    let record = cluster.record();
    let cause = DisconnectCause::Protocol(ReasonCode::ProtocolError);
    assert!(
        matches!(record[..], [EventKind::Disconnected { cause: found, .. }] if found == cause),
        "{record:?}"
    );
}

/// Shows: MQTT-3.1.2-5, MQTT-3.3.1-1, MQTT-4.5.0-1 (5.0); MQTT-3.1.2-4, MQTT-3.1.2-5,
/// MQTT-4.5.0-1 (3.1.1); PEER-3
#[test]
fn messages_above_qos_0_wait_for_an_absent_client_in_order() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(1, client("alice@alpha"));
    for version in VERSIONS {
        let client = anew(&cluster, version);
        client.subscribe("q/0", QOS_0);
        client.subscribe("q/2", QOS_2);
        client.cut();
        publisher.publish_at(QOS_2, "q/0", "never");
        publisher.publish("q/2", "never");
        publisher.publish_at(QOS_1, "q/2", "1");
        publisher.publish_at(QOS_2, "q/2", "2");
        publisher.publish_at(QOS_1, "q/2", "3");
        let back = cluster.dial(0, bob(version));
        let expected = [
            sent("q/2", "1", QOS_1, 1, false),
            sent("q/2", "2", QOS_2, 2, false),
            sent("q/2", "3", QOS_1, 3, false),
        ];
        assert_eq!(
            after_connack(&back),
            expected,
            "sent for the first time: no DUP"
        );
        back.cut();
    }
}

/// Shows: MQTT-3.3.1-1, MQTT-4.3.2-3, MQTT-4.3.3-3, MQTT-4.3.3-5, MQTT-4.3.3-6, MQTT-4.4.0-1 (5.0);
/// MQTT-2.3.1-4, MQTT-3.3.1-1, MQTT-4.3.2-1, MQTT-4.3.3-1, MQTT-4.4.0-1, MQTT-4.6.0-1 (3.1.1);
/// PEER-2
#[test]
fn what_was_not_acknowledged_is_sent_again_on_return_with_dup_and_only_then() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        let client = anew(&cluster, version);
        client.subscribe("a", QOS_2);
        for (qos, payload) in [
            (QOS_1, "1"),
            (QOS_2, "2"),
            (QOS_2, "3"),
            (QOS_1, "4"),
            (QOS_1, "5"),
        ] {
            publisher.publish_at(qos, "a", payload);
        }
        assert_eq!(client.received().len(), 5);
        let ok = ReasonCode::Success;
        client.send(puback(version, 4, ok, &[]));
        client.send(pubrec(version, 3, ok, &[]));
        assert_eq!(client.received().len(), 1, "PUBREL");
        cluster.pass_secs(50);
        assert_eq!(
            client.received(),
            [],
            "nothing is sent again while the connection lasts"
        );
        client.cut();
        publisher.publish_at(QOS_1, "a", "6");

        let back = cluster.dial(0, bob(version));
        let release = ServerPacket::PubRel {
            packet_id: 3,
            reason: ok,
            properties: vec![],
        };
        let expected = [
            sent("a", "1", QOS_1, 1, true),
            sent("a", "2", QOS_2, 2, true),
            release.clone(),
            sent("a", "5", QOS_1, 5, true),
            sent("a", "6", QOS_1, 6, false),
        ];
        assert_eq!(after_connack(&back), expected);
        back.send(pubrec(version, 2, ok, &[]));
        assert_eq!(back.received().len(), 1);
        for id in [1, 5, 6] {
            back.send(puback(version, id, ok, &[]));
        }
        back.send(pubcomp(version, 3, ok, &[]));
        back.cut();

        let back = cluster.dial(0, bob(version));
        let release = ServerPacket::PubRel {
            packet_id: 2,
            reason: ok,
            properties: vec![],
        };
        assert_eq!(after_connack(&back), [release]);
        back.send(pubcomp(version, 2, ok, &[]));
        back.cut();
        comes_back(&cluster, 0, bob(version), true).cut();
    }
}

/// Shows: MQTT-3.3.4-9, MQTT-4.9.0-1 (5.0); PEER-6
#[test]
fn what_is_sent_again_stays_within_the_receive_maximum_of_the_new_connection() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let first = cluster.connect(0, bob(Version::V5));
    first.subscribe("a", QOS_1);
    for n in 1..=5 {
        publisher.publish_at(QOS_1, "a", &n.to_string());
    }
    assert_eq!(first.received().len(), 5);
    first.cut();
    publisher.publish_at(QOS_1, "a", "6");
    let back = cluster.dial(0, bob(Version::V5).with(Property::ReceiveMaximum(2)));
    let dup = |n: u16| sent("a", &n.to_string(), QOS_1, n, true);
    assert_eq!(after_connack(&back), [dup(1), dup(2)]);
    let ack = |id| puback(Version::V5, id, ReasonCode::Success, &[]);
    back.send(ack(1));
    assert_eq!(back.received(), [dup(3)]);
    back.send(ack(2));
    back.send(ack(3));
    assert_eq!(back.received(), [dup(4), dup(5)]);
    back.send(ack(4));
    assert_eq!(back.received(), [sent("a", "6", QOS_1, 6, false)]);
}

/// Shows: MQTT-4.3.3-10, MQTT-4.4.0-1 (5.0); MQTT-4.3.3-2 (3.1.1); PEER-4
#[test]
fn a_half_done_qos_2_from_the_client_is_finished_after_its_return_and_forwarded_once() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("a", QOS_0);
    for version in VERSIONS {
        let client = anew(&cluster, version);
        let publish = Publish::new("a", b"once").at(QOS_2, 3);
        client.put(publish.clone());
        assert_eq!(client.bytes(), [0x50, 2, 0, 3]);
        client.cut();
        let back = comes_back(&cluster, 0, bob(version), true);
        back.put(Publish {
            dup: true,
            ..publish
        });
        assert_eq!(back.bytes(), [0x50, 2, 0, 3]);
        back.send(pubrel(version, 3, ReasonCode::Success, &[]));
        assert_eq!(back.bytes(), [0x70, 2, 0, 3]);
        assert_eq!(watcher.heard(), ["a once"]);
        back.cut();
    }
}

/// Shows: MQTT-3.1.4-3 (5.0); MQTT-3.1.4-2 (3.1.1)
#[test]
fn another_connection_of_the_same_principal_and_client_id_takes_the_session() {
    for shards in [1, 2] {
        let cluster = Cluster::new(shards);
        let publisher = cluster.connect(0, client("alice@alpha"));
        for version in VERSIONS {
            let old = anew(&cluster, version);
            old.subscribe("a", QOS_1);
            publisher.publish_at(QOS_1, "a", "1");
            old.received();
            cluster.events();
            let new = cluster.dial(shards - 1, bob(version));
            assert_eq!(after_connack(&new), [sent("a", "1", QOS_1, 1, true)]);
            assert_eq!(new.shard(), Some(0), "the session stays where it is");
            let goodbye: &[u8] = match version {
                Version::V5 => &[0xE0, 1, 0x8E],
                _ => &[],
            };
            assert_eq!(old.bytes(), goodbye);
            assert!(!old.is_open());
            let events = cluster.events();
            let [taken, gone, came] = &events[..] else {
                panic!("{events:?}");
            };
            assert!(
                matches!(&taken.kind, EventKind::TakenOver { by } if *by == came.who.peer.address)
            );
            assert_eq!(taken.who, gone.who, "recorded for the one that lost it");
            assert_ne!(taken.who.peer, came.who.peer);
            assert!(matches!(
                gone.kind,
                EventKind::Disconnected {
                    cause: DisconnectCause::TakenOver,
                    ..
                }
            ));
            assert!(matches!(
                came.kind,
                EventKind::Connected {
                    session_present: true,
                    ..
                }
            ));
            new.send(puback(version, 1, ReasonCode::Success, &[]));
            publisher.publish_at(QOS_1, "a", "2");
            assert_eq!(new.heard(), ["a 2"]);
            new.cut();
        }
        assert_eq!(cluster.connections(), 1);
    }
}

#[test]
fn a_session_without_expiry_that_is_taken_over_is_not_resumed() {
    for shards in [1, 2] {
        let cluster = Cluster::new(shards);
        let old = cluster.connect(0, client("bob@alpha"));
        old.subscribe("a", QOS_1);
        let new = comes_back(&cluster, shards - 1, bob(Version::V5), false);
        assert!(!old.is_open());
        assert_eq!(cluster.team("alpha").subscriptions(), 0);
        assert_eq!(cluster.sessions(), 1);
        new.subscribe("a", QOS_0);
        new.publish("a", "works");
        assert_eq!(new.heard(), ["a works"]);
    }
}

#[test]
fn a_client_that_comes_back_on_another_shard_goes_to_its_session() {
    let cluster = Cluster::new(3);
    let publisher = cluster.connect(2, client("alice@alpha"));
    let first = cluster.connect(0, bob(Version::V5));
    first.subscribe("a", QOS_1);
    first.cut();
    publisher.publish_at(QOS_1, "a", "1");
    let back = cluster.open(1, &bob(Version::V5));
    let mut bytes = bob(Version::V5).connect.encode();
    bytes.extend(
        Publish::new("a", b"sent ahead")
            .at(QOS_1, 9)
            .encode(Version::V5),
    );
    back.send(bytes);
    let packets = after_connack(&back);
    assert_eq!(back.shard(), Some(0));
    assert_eq!(packets[0], sent("a", "1", QOS_1, 1, false));
    assert!(packets[1..].contains(&sent("a", "sent ahead", QOS_1, 2, false)));
    assert_eq!(packets.len(), 3, "and PUBACK: {packets:?}");
    assert_eq!(
        (
            cluster.counters(0).connections,
            cluster.counters(1).connections
        ),
        (1, 0)
    );
}

#[test]
fn a_client_that_vanishes_on_its_way_between_shards_leaves_its_session_as_it_was() {
    let cluster = Cluster::new(2);
    let first = cluster.connect(0, bob(Version::V5));
    first.subscribe("a", QOS_1);
    first.cut();
    cluster.hold_between();
    let back = cluster.dial(1, bob(Version::V5));
    assert_eq!(back.bytes(), NOTHING);
    assert_eq!(cluster.waiting_between(), [(1, 0)]);
    back.cut();
    cluster.release_between();
    assert_eq!((cluster.connections(), cluster.sessions()), (0, 1));
    assert_eq!(
        cluster
            .team("alpha")
            .connections
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    comes_back(&cluster, 0, bob(Version::V5), true);
}

#[test]
fn a_session_that_ends_while_its_client_is_on_the_way_is_made_anew() {
    let cluster = Cluster::new(2);
    cluster.connect(0, bob(Version::V5)).cut();
    cluster.hold_between();
    let back = cluster.dial(1, bob(Version::V5));
    cluster.pass_secs(100);
    assert_eq!(cluster.sessions(), 0);
    cluster.release_between();
    assert!(!back.connack().session_present);
    assert_eq!(cluster.sessions(), 1);
}

#[test]
fn two_connections_that_race_for_one_session_end_with_one_of_them() {
    let cluster = Cluster::new(3);
    cluster.connect(0, bob(Version::V5)).cut();
    cluster.hold_between();
    let one = cluster.dial(1, bob(Version::V5));
    let two = cluster.dial(2, bob(Version::V5));
    cluster.deliver_between(2, 0);
    assert!(two.connack().session_present);
    cluster.deliver_between(1, 0);
    assert!(one.connack().session_present);
    assert_eq!(two.bytes(), [0xE0, 1, 0x8E]);
    assert!(one.is_open() && !two.is_open());
    assert_eq!((cluster.connections(), cluster.sessions()), (1, 1));
}

/// Shows: MQTT-3.1.3-2 (5.0)
#[test]
fn the_same_client_id_of_another_principal_or_another_team_is_another_session() {
    let cluster = Cluster::new(2);
    let hellos = [
        instance("alpha", "a1").id("same"),
        instance("alpha", "a2").id("same"),
        instance("beta", "b1").id("same"),
        device("alpha", "ad").id("same"),
        anonymous("same"),
        platform().id("same"),
    ];
    let clients: Vec<Client> = hellos
        .iter()
        .enumerate()
        .map(|(n, hello)| comes_back(&cluster, n as u16 % 2, hello.clone().kept(60), false))
        .collect();
    assert!(clients.iter().all(Client::is_open));
    assert!(clients.iter().all(|client| client.bytes() == NOTHING));
    clients.iter().for_each(Client::cut);
    assert_eq!(cluster.sessions(), 6);
    let taken = |kind: &EventKind| matches!(kind, EventKind::TakenOver { .. });
    assert!(!cluster.record().iter().any(taken));
    // The control: each comes back to its own.
    for hello in hellos {
        comes_back(&cluster, 0, hello.kept(60), true);
    }
    assert_eq!(cluster.sessions(), 6);
}

/// Shows: MQTT-3.1.3-2 (5.0)
#[test]
fn one_principal_has_a_session_for_each_of_its_client_ids() {
    let cluster = Cluster::new(1);
    let hello = |id: &str| instance("alpha", "a1").id(id).kept(60);
    let one = comes_back(&cluster, 0, hello("n:1"), false);
    let two = comes_back(&cluster, 0, hello("n:2"), false);
    one.subscribe("ff/v1/alpha/p/a1/in/#", QOS_1);
    assert!(one.is_open() && two.is_open());
    one.cut();
    two.publish_at(QOS_1, "ff/v1/alpha/p/a1/in/x", "waits");
    assert_eq!(two.heard(), [""; 0]);
    let back = cluster.dial(0, hello("n:1"));
    assert_eq!(after_connack(&back).len(), 1);
}

/// Shows: MQTT-3.3.2-5, MQTT-3.3.2-6 (5.0)
#[test]
fn a_message_expires_while_it_waits_and_is_told_what_is_left() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let client = cluster.connect(0, bob(Version::V5));
    client.subscribe("a", QOS_1);
    client.cut();
    let expiring = |payload: &str, secs| Publish {
        qos: QOS_1,
        properties: vec![Property::MessageExpiry(secs)],
        ..Publish::new("a", payload.as_bytes())
    };
    publisher.complete(expiring("short", 10));
    publisher.complete(expiring("long", 60));
    publisher.publish_at(QOS_1, "a", "for ever");
    cluster.pass_secs(10);
    let back = cluster.dial(0, bob(Version::V5));
    let left = ServerPacket::Publish(Publish {
        properties: vec![Property::MessageExpiry(50)],
        ..Publish::new("a", b"long").at(QOS_1, 1)
    });
    assert_eq!(
        after_connack(&back),
        [left, sent("a", "for ever", QOS_1, 2, false)]
    );
    assert_eq!(cluster.dropped(Drop::Expired), 1);
}

/// Shows: MQTT-3.3.2-5 (5.0)
#[test]
fn a_message_that_expires_behind_a_full_window_is_not_sent() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(0, client("bob@alpha").with(Property::ReceiveMaximum(1)));
    subscriber.subscribe("a", QOS_1);
    publisher.publish_at(QOS_1, "a", "1");
    publisher.complete(Publish {
        qos: QOS_1,
        properties: vec![Property::MessageExpiry(5)],
        ..Publish::new("a", b"2")
    });
    publisher.publish_at(QOS_1, "a", "3");
    cluster.pass_secs(5);
    assert_eq!(subscriber.heard(), ["a 1", "a 3"]);
    assert_eq!(cluster.dropped(Drop::Expired), 1);
}

/// Shows: MQTT-3.3.2-5 (5.0)
#[test]
fn a_message_that_expires_between_two_shards_is_not_delivered() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(1, client("bob@alpha"));
    subscriber.subscribe("a", QOS_0);
    cluster.hold_between();
    for secs in [5, 6] {
        publisher.complete(Publish {
            properties: vec![Property::MessageExpiry(secs)],
            ..Publish::new("a", secs.to_string().as_bytes())
        });
    }
    cluster.pass(Span::from_micros(5_000_001));
    cluster.release_between();
    assert_eq!(subscriber.heard(), ["a 6"]);
    assert_eq!(cluster.dropped(Drop::Expired), 1);
}

#[test]
fn a_message_for_a_session_that_ended_on_the_way_is_counted_and_gone() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let subscriber = cluster.connect(1, client("bob@alpha"));
    subscriber.subscribe("a", QOS_1);
    cluster.hold_between();
    publisher.publish_at(QOS_1, "a", "late");
    subscriber.cut();
    // Another session now has the same place in the shard's table.
    let other = cluster.connect(1, client("carol@alpha"));
    cluster.release_between();
    assert_eq!(other.heard(), [""; 0]);
    assert_eq!(cluster.dropped(Drop::Gone), 1);
}

/// Shows: MQTT-3.1.2-22, MQTT-3.2.2-22 (5.0); MQTT-3.1.2-24 (3.1.1); PEER-15
#[test]
fn a_silent_client_is_closed_at_one_and_a_half_times_its_keep_alive_and_not_before() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("bob@alpha").version(version).keep_alive(5));
        cluster.pass_secs(7);
        client.send([0xC0, 0]);
        assert_eq!(client.bytes(), [0xD0, 0]);
        cluster.events();
        cluster.pass(Span::from_micros(7_499_999));
        assert!(client.is_open());
        cluster.pass(Span::from_micros(1));
        assert!(!client.is_open());
        let goodbye: &[u8] = match version {
            Version::V5 => &[0xE0, 1, 0x8D],
            _ => &[],
        };
        assert_eq!(client.bytes(), goodbye);
        let record = cluster.record();
        assert!(
            matches!(
                record[..],
                [EventKind::Disconnected {
                    cause: DisconnectCause::KeepAlive,
                    ..
                }]
            ),
            "{record:?}"
        );
    }
}

/// Shows: MQTT-3.1.2-22 (5.0)
#[test]
fn what_the_client_receives_does_not_keep_it_alive() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let client = cluster.connect(0, client("bob@alpha").keep_alive(2));
    client.subscribe("a", QOS_0);
    cluster.pass_secs(2);
    publisher.publish("a", "1");
    cluster.pass_secs(1);
    assert!(!client.is_open());
}

/// Shows: MQTT-3.2.2-22 (5.0); PEER-9
#[test]
fn a_client_without_keep_alive_may_be_silent_for_ever() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("bob@alpha"));
    cluster.pass_secs(10_000_000);
    assert!(client.is_open());
}

#[test]
fn the_brokers_longest_keep_alive_is_told_to_those_who_can_be_told() {
    let limits = Limits {
        max_keep_alive_s: Some(60),
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    for asked in [0, 61, u16::MAX] {
        let new = cluster.dial(0, client("bob@alpha").keep_alive(asked));
        assert!(
            new.connack()
                .properties
                .contains(&Property::ServerKeepAlive(60))
        );
        cluster.pass_secs(90);
        assert!(!new.is_open(), "asked for {asked}");
        let old = cluster.connect(0, client("bob@alpha").v311().keep_alive(asked));
        cluster.pass_secs(90);
        assert!(old.is_open(), "3.1.1 asked for {asked}");
        old.disconnect();
    }
    let short = cluster.dial(0, client("bob@alpha").keep_alive(60));
    let told = |property: &Property| matches!(property, Property::ServerKeepAlive(_));
    assert!(!short.connack().properties.iter().any(told));
}

#[test]
fn a_session_is_judged_anew_under_the_rights_of_its_new_connection() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let client = cluster.connect(0, bob(Version::V5));
    for filter in ["a/#", "b/#", "$share/g/b/#"] {
        client.subscribe(filter, QOS_1);
    }
    client.cut();
    cluster
        .directory()
        .client("bob@alpha", &["allow both a/#", "deny subscribe a/secret"]);
    let back = comes_back(&cluster, 0, bob(Version::V5), true);
    for topic in ["a/x", "a/secret", "b/x"] {
        publisher.publish_at(QOS_1, topic, "1");
    }
    assert_eq!(back.heard(), ["a/x 1"]);
    assert_eq!(cluster.team("alpha").subscriptions(), 1);
    assert_eq!(cluster.dropped(Drop::Denied), 1);
}

#[test]
fn the_rights_of_a_publisher_are_those_of_its_last_connection() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_0);
    let first = cluster.connect(0, bob(Version::V5));
    assert_eq!(first.publish_at(QOS_1, "b", "1"), ReasonCode::Success);
    cluster.directory().client("bob@alpha", &["allow both a/#"]);
    let second = comes_back(&cluster, 0, bob(Version::V5), true);
    assert_eq!(
        second.publish_at(QOS_1, "b", "2"),
        ReasonCode::NotAuthorized
    );
    assert_eq!(watcher.heard(), ["b 1"]);
}

#[test]
fn a_session_that_was_asked_for_and_capped_to_nothing_may_still_be_spoken_of_at_the_end() {
    let limits = Limits {
        max_session_expiry: Span::ZERO,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let witness = cluster.connect(0, client("alice@alpha"));
    witness.subscribe("will", QOS_0);
    let bob = cluster.connect(0, client("bob@alpha").kept(60).will("will", "gone"));
    bob.disconnect_with(ReasonCode::Success, &[Property::SessionExpiry(30)]);
    assert_eq!(bob.received(), [], "no protocol error");
    assert_eq!(witness.heard(), [] as [&str; 0], "and no will");
}
