//! Retained messages that a subscription asked for are owed to it, whatever crashes meanwhile: each
//! comes once, and none is forgotten.

use crate::cluster::*;
use cofferdam::wire::client::{Property, Publish, ServerPacket, puback, pubcomp, pubrec};
use cofferdam::wire::{QoS, ReasonCode};

const OK: ReasonCode = ReasonCode::Success;

/// Retains `count` messages below `a/`.
fn retain(cluster: &Cluster, count: usize) {
    let alice = cluster.connect(0, client("alice@alpha"));
    for n in 0..count {
        let publish = Publish {
            retain: true,
            ..Publish::new(&format!("a/{n:03}"), n.to_string().as_bytes()).at(QOS_2, 1)
        };
        assert!(!alice.complete(publish).is_error());
    }
}

/// Takes so few at once.
fn slow(hello: Hello, at_once: u16) -> Hello {
    hello.kept(1000).with(Property::ReceiveMaximum(at_once))
}

/// Answers everything until nothing comes any more, or so many messages have come; the payloads.
fn take(client: &Client, most: usize) -> Vec<String> {
    let mut payloads = Vec::new();
    let version = client.version();
    while payloads.len() < most {
        let packets = client.received();
        if packets.is_empty() {
            break;
        }
        for packet in packets {
            match packet {
                ServerPacket::ConnAck(it) => assert!(it.session_present),
                ServerPacket::Publish(it) => {
                    payloads.push(String::from_utf8_lossy(&it.payload).into_owned());
                    if payloads.len() > most {
                        continue; // it stays in flight
                    }
                    let id = it.packet_id.expect("an identifier");
                    client.send(match it.qos {
                        QoS::ExactlyOnce => pubrec(version, id, OK, &[]),
                        _ => puback(version, id, OK, &[]),
                    });
                }
                ServerPacket::PubRel { packet_id, .. } => {
                    client.send(pubcomp(version, packet_id, OK, &[]));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    payloads
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|it| it.to_string()).collect()
}

#[test]
fn retained_messages_that_a_new_subscription_was_not_sent_come_after_the_crash_and_each_once() {
    for (qos, shards) in [(QOS_1, 1), (QOS_2, 3)] {
        let cluster = Cluster::new(2);
        retain(&cluster, 40);
        let bob = slow(client("bob@alpha"), 3);
        let first = cluster.connect(0, bob.clone());
        first.subscribe("a/+", qos);
        let before = take(&first, 10);
        assert!(before.len() < 20, "it is in the middle: {before:?}");
        let done = before.len().min(10);
        // Again and again, without and with somebody who takes some of it.
        cluster.crash(shards);
        cluster.crash(1);
        let again = cluster.dial(0, bob.clone());
        let between = take(&again, 10);
        cluster.crash(2);
        let last = cluster.dial(1, bob);
        let rest = take(&last, usize::MAX);
        // What was in flight comes again; it was not acknowledged.
        let mut all = before[..done].to_vec();
        all.extend(between[..between.len().min(10)].iter().cloned());
        all.extend(rest);
        let each: std::collections::BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(each, numbers(0, 40).into_iter().collect(), "{qos:?}");
        assert_eq!(all.len(), 40, "{qos:?}: each once of {all:?}");
    }
}

/// SUBACK was not kept, so nothing was promised.
#[test]
fn a_subscription_that_was_not_acknowledged_is_owed_nothing() {
    let cluster = Cluster::new(1);
    retain(&cluster, 5);
    let bob = slow(client("bob@alpha"), 3);
    let client = cluster.connect(0, bob.clone());
    cluster.hold_journal();
    let filter = [("a/+", options(QOS_1))];
    client.send(cofferdam::wire::client::subscribe(
        client.version(),
        1,
        &filter,
        &[],
    ));
    cluster.crash(1);
    let client = cluster.dial(0, bob);
    assert_eq!(take(&client, 9), [] as [String; 0]);
}

#[test]
fn what_was_all_sent_or_is_not_wanted_any_more_does_not_begin_anew() {
    let cluster = Cluster::new(1);
    retain(&cluster, 8);
    let bob = slow(client("bob@alpha"), 3);
    let client = cluster.connect(0, bob.clone());
    client.subscribe("a/+", QOS_1);
    assert_eq!(take(&client, 99), numbers(0, 8));
    cluster.crash(1);
    let client = cluster.dial(0, bob.clone());
    assert_eq!(take(&client, 99), [] as [String; 0]);
    client.subscribe("a/#", QOS_1);
    let before = take(&client, 2);
    assert_eq!(client.unsubscribe(&["a/#"]), [OK]);
    cluster.crash(1);
    let client = cluster.dial(0, bob);
    let after = take(&client, 99);
    assert!(before.len() + after.len() <= 6, "{before:?}, {after:?}");
}

/// Over one team after the other, in an order that is the same after a restart.
#[test]
fn who_spans_teams_goes_on_in_the_team_where_it_was() {
    let cluster = Cluster::new(1);
    let places = [
        ("alpha", "a1"),
        ("alpha", "a2"),
        ("beta", "b1"),
        ("beta", "b2"),
    ];
    for (team, id) in places {
        let launcher = cluster.connect(0, instance(team, id));
        let topic = format!("ff/v1/{team}/l/{id}/status");
        let publish = Publish {
            retain: true,
            ..Publish::new(&topic, id.as_bytes()).at(QOS_1, 1)
        };
        assert!(!launcher.complete(publish).is_error());
    }
    let watcher = slow(platform(), 1);
    let mut came = Vec::new();
    let first = cluster.connect(0, watcher.clone());
    first.subscribe("ff/v1/+/l/+/status", QOS_1);
    let packets = first.received();
    let [ServerPacket::Publish(one)] = &packets[..] else {
        panic!("{packets:?}");
    };
    came.push(String::from_utf8_lossy(&one.payload).into_owned());
    first.send(puback(
        first.version(),
        one.packet_id.expect("one"),
        OK,
        &[],
    ));
    for _ in 0..4 {
        cluster.crash(1);
        let again = cluster.dial(0, watcher.clone());
        came.extend(take(&again, 1).into_iter().take(1));
    }
    assert_eq!(came, ["a1", "a2", "b1", "b2"]);
}
