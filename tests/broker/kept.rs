//! What an acknowledgement is worth: it comes when what it promises is kept, and a crash afterwards
//! takes nothing back.

use crate::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::policy::Ask;
use cofferdam::time::Span;
use cofferdam::wire::ReasonCode;
use cofferdam::wire::client::{
    Property, Publish, ServerPacket, disconnect, puback, pubcomp, pubrec, pubrel, subscribe,
    unsubscribe,
};

fn bob() -> Hello {
    client("bob@alpha").kept(100)
}

fn alice() -> Hello {
    client("alice@alpha").kept(100)
}

/// Resumes a session that is there; what comes behind CONNACK.
#[track_caller]
fn resumed(cluster: &Cluster, shard: u16, hello: Hello) -> (Client, Vec<ServerPacket>) {
    let client = cluster.dial(shard, hello);
    let mut packets = client.received();
    match packets.remove(0) {
        ServerPacket::ConnAck(connack) => {
            assert!(connack.session_present && connack.code == 0, "{connack:?}");
        }
        other => panic!("not CONNACK: {other:?}"),
    }
    (client, packets)
}

fn message(qos: cofferdam::wire::QoS, id: u16, payload: &str) -> Publish {
    Publish::new("a", payload.as_bytes()).at(qos, id)
}

/// Every answer that promises something waits for its commit, and nothing else does.
#[test]
fn each_promise_waits_until_it_is_kept() {
    let cluster = Cluster::new(2);
    cluster.hold_journal();

    let bob = cluster.dial(0, bob());
    assert_eq!(bob.received(), [], "CONNACK with a session waits");
    cluster.keep_one();
    assert_eq!(bob.connack().code, 0);

    let filter = [("a", options(QOS_2))];
    bob.send(subscribe(bob.version(), 1, &filter, &[]));
    assert_eq!(bob.received(), [], "SUBACK waits");
    cluster.keep_one();
    assert!(matches!(
        bob.answer(),
        ServerPacket::SubAck { packet_id: 1, .. }
    ));

    // Whose session is not kept is not kept waiting for it.
    let carol = cluster.connect(1, client("carol@alpha"));
    carol.put(message(QOS_1, 7, "one"));
    assert_eq!(carol.received(), [], "PUBACK waits, for bob is to have it");
    let ServerPacket::Publish(one) = bob.answer() else {
        panic!("a live subscriber has a QoS 1 message at once");
    };
    cluster.release_journal();
    assert!(matches!(
        carol.answer(),
        ServerPacket::PubAck { packet_id: 7, .. }
    ));
    cluster.hold_journal();
    bob.send(puback(
        bob.version(),
        one.packet_id.unwrap(),
        ReasonCode::Success,
        &[],
    ));

    carol.put(message(QOS_2, 8, "two"));
    assert_eq!(carol.received(), [], "PUBREC waits");
    assert_eq!(bob.received(), [], "a QoS 2 message waits until it is kept");
    cluster.release_journal();
    cluster.hold_journal();
    assert!(matches!(
        carol.answer(),
        ServerPacket::PubRec { packet_id: 8, .. }
    ));
    let ServerPacket::Publish(two) = bob.answer() else {
        panic!("it comes then");
    };
    let id = two.packet_id.unwrap();
    bob.send(pubrec(bob.version(), id, ReasonCode::Success, &[]));
    assert_eq!(bob.received(), [], "PUBREL waits");
    cluster.release_journal();
    cluster.hold_journal();
    assert!(matches!(bob.answer(), ServerPacket::PubRel { .. }));
    bob.send(pubcomp(bob.version(), id, ReasonCode::Success, &[]));

    let alice = cluster.dial(0, alice());
    cluster.release_journal();
    cluster.hold_journal();
    assert_eq!(alice.connack().code, 0);
    alice.put(Publish::new("nobody", b"x").at(QOS_2, 9));
    assert_eq!(
        alice.received(),
        [],
        "a receipt waits, whoever is to have it"
    );
    cluster.keep_one();
    assert!(matches!(
        alice.answer(),
        ServerPacket::PubRec { packet_id: 9, .. }
    ));
    alice.send(pubrel(alice.version(), 9, ReasonCode::Success, &[]));
    assert_eq!(alice.received(), [], "PUBCOMP waits");
    cluster.keep_one();
    assert!(matches!(
        alice.answer(),
        ServerPacket::PubComp { packet_id: 9, .. }
    ));

    bob.send(unsubscribe(bob.version(), 2, &["a"], &[]));
    assert_eq!(bob.received(), [], "UNSUBACK waits");
    cluster.keep_one();
    assert!(matches!(
        bob.answer(),
        ServerPacket::UnsubAck { packet_id: 2, .. }
    ));
    assert_eq!(cluster.waiting_commits(), [] as [u16; 0]);
}

#[test]
fn nothing_waits_and_nothing_is_stated_where_nothing_is_kept() {
    let cluster = Cluster::new(2);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("a", QOS_2);
    let carol = cluster.connect(1, client("carol@alpha"));
    cluster.hold_journal();
    for qos in [QOS_0, QOS_1, QOS_2] {
        assert_eq!(carol.publish_at(qos, "a", "x"), ReasonCode::Success);
    }
    assert_eq!(bob.heard(), ["a x", "a x", "a x"]);
    assert_eq!(cluster.waiting_commits(), [] as [u16; 0]);
}

/// Nor does one that had to wait for something else first.
#[test]
fn a_qos_2_message_from_the_queue_waits_for_its_receipt_too() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, client("bob@alpha").with(Property::ReceiveMaximum(1)));
    bob.subscribe("a", QOS_2);
    let alice = cluster.connect(0, alice());
    alice.put(message(QOS_1, 1, "first"));
    let ServerPacket::Publish(first) = bob.answer() else {
        panic!("the first message");
    };
    cluster.hold_journal();
    alice.put(message(QOS_2, 2, "second"));
    let (id, success) = (first.packet_id.unwrap(), ReasonCode::Success);
    bob.send(puback(bob.version(), id, success, &[]));
    assert_eq!(bob.received(), []);
    cluster.release_journal();
    assert!(matches!(bob.answer(), ServerPacket::Publish(second) if second.payload == b"second"));
}

/// Nor does one that another member of a share group was to have: after a crash both would have it.
#[test]
fn a_qos_2_message_that_is_passed_on_waits_until_that_is_kept() {
    for shard in [0, 1] {
        let cluster = Cluster::new(2);
        let bob = cluster.connect(0, bob().with(Property::ReceiveMaximum(1)));
        bob.subscribe("$share/g/a", QOS_2);
        let carol = cluster.connect(0, client("carol@alpha"));
        carol.publish_at(QOS_2, "a", "sent to bob");
        carol.publish_at(QOS_2, "a", "passed on");
        let dave = cluster.connect(shard, client("dave@alpha"));
        dave.subscribe("$share/g/a", QOS_2);
        cluster.hold_journal();
        bob.cut();
        assert_eq!(dave.received(), []);
        cluster.release_journal();
        assert_eq!(dave.heard(), ["a passed on"]);
    }
}

/// Until it is kept that the old session is gone, a crash brings it back.
#[test]
fn who_begins_anew_is_told_so_when_the_old_session_is_gone_for_good() {
    for crashes in [false, true] {
        let cluster = Cluster::new(1);
        let old = cluster.connect(0, bob());
        old.subscribe("a", QOS_1);
        old.cut();
        cluster.hold_journal();
        let new = cluster.dial(0, client("bob@alpha"));
        assert_eq!(new.received(), []);
        if crashes {
            cluster.crash(1);
            cluster.release_journal();
            resumed(&cluster, 0, bob());
        } else {
            cluster.release_journal();
            assert!(!new.connack().session_present);
        }
    }
}

/// What leaves at once may not rest on an alias that is set by what waits.
#[test]
fn what_waits_to_be_kept_sets_no_topic_alias_and_uses_none() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob().with(Property::TopicAliasMaximum(1)));
    bob.subscribe("+", QOS_2);
    let carol = cluster.connect(0, client("carol@alpha"));
    cluster.hold_journal();
    let topics = |packets: Vec<ServerPacket>| -> Vec<(String, bool)> {
        let publishes = packets.into_iter().filter_map(|packet| match packet {
            ServerPacket::Publish(publish) => Some(publish),
            _ => None,
        });
        publishes
            .map(|publish| (publish.topic, publish.properties.is_empty()))
            .collect()
    };
    let topic = "a topic that is worth an alias";
    let waits = |id| Publish::new(topic, b"waits").at(QOS_2, id);
    carol.put(waits(1));
    carol.publish(topic, "first");
    carol.publish(topic, "second");
    let (in_full, by_alias) = (topic.to_owned(), String::new());
    let at_once = topics(bob.received());
    assert_eq!(at_once, [(in_full.clone(), false), (by_alias, false)]);
    carol.put(waits(2));
    cluster.release_journal();
    assert_eq!(
        topics(bob.received()),
        [(in_full.clone(), true), (in_full, true)]
    );
}

/// A QoS 2 message of the same publisher to the same subscriber does not overtake one that waits.
#[test]
fn qos_2_keeps_its_order_while_some_of_it_waits() {
    let cluster = Cluster::new(2);
    let live = cluster.connect(1, client("carol@alpha"));
    live.subscribe("a", QOS_2);
    let near = cluster.connect(0, client("dave@alpha"));
    near.subscribe("a", QOS_2);
    let kept = cluster.connect(0, bob());
    kept.subscribe("a", QOS_2);
    let alice = cluster.connect(0, client("alice@alpha"));
    cluster.hold_journal();
    alice.put(message(QOS_2, 1, "1"));
    kept.send(unsubscribe(kept.version(), 9, &["a"], &[]));
    // Nobody is to keep this one.
    alice.put(message(QOS_2, 2, "2"));
    cluster.release_journal();
    for client in [live, near] {
        assert_eq!(client.heard(), ["a 1", "a 2"]);
    }
}

#[test]
fn acknowledgements_keep_their_order_where_only_the_first_has_to_wait() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("kept", QOS_1);
    let alice = cluster.connect(0, client("alice@alpha").v5());
    cluster.hold_journal();
    for (id, topic) in [(1, "kept"), (2, "nobody's"), (3, "kept"), (4, "nobody's")] {
        alice.send(
            Publish::new(topic, b"x")
                .at(QOS_1, id)
                .encode(alice.version()),
        );
    }
    assert_eq!(alice.received(), [], "none before the first is kept");
    while !cluster.waiting_commits().is_empty() {
        cluster.keep_one();
    }
    let acknowledged: Vec<u16> = alice
        .received()
        .into_iter()
        .map(|packet| match packet {
            ServerPacket::PubAck { packet_id, .. } => packet_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(acknowledged, [1, 2, 3, 4]);
}

#[test]
fn what_waits_for_a_commit_without_a_fact_is_not_forgotten_over_an_acknowledgement_of_before() {
    let cluster = Cluster::new(2);
    let bob = cluster.connect(1, bob());
    bob.subscribe("kept", QOS_2);
    let carol = cluster.connect(0, client("carol@alpha").v5());
    carol.subscribe("live", QOS_2);
    let alice = cluster.connect(0, client("alice@alpha").v5());
    cluster.hold_journal();
    let publish = |topic, id| {
        let publish = Publish::new(topic, b"x").at(QOS_2, id);
        publish.encode(alice.version())
    };
    alice.send(publish("kept", 1));
    // It must not overtake the first, and states nothing; nor does its acknowledgement.
    alice.send(publish("live", 2));
    assert_eq!(carol.received(), []);
    cluster.release_journal();
    assert!(
        matches!(&carol.received()[..], [ServerPacket::Publish(_)]),
        "though nothing is stated any more"
    );
}

/// Shows: PEER-11
#[test]
fn what_was_acknowledged_for_an_absent_session_is_there_after_a_crash() {
    let cluster = Cluster::new(2);
    for (before, shards) in [(2, 1), (1, 3), (3, 2)] {
        let bob = cluster.connect(0, bob());
        bob.subscribe_as("a/+", QOS_2, 7);
        bob.cut();
        // On another shard than the session.
        let carol = cluster.connect(before - 1, client("carol@alpha"));
        for n in 0..20 {
            let qos = if n % 2 == 0 { QOS_1 } else { QOS_2 };
            assert_eq!(
                carol.publish_at(qos, &format!("a/{}", n % 2), &n.to_string()),
                ReasonCode::Success
            );
        }
        cluster.crash(shards);
        let (bob, packets) = resumed(&cluster, 0, self::bob());
        assert_eq!(packets.len(), 20);
        for (n, packet) in packets.into_iter().enumerate() {
            let ServerPacket::Publish(publish) = packet else {
                panic!("{packet:?}");
            };
            assert_eq!(publish.payload, n.to_string().as_bytes());
            assert_eq!(publish.topic, format!("a/{}", n % 2));
            assert_eq!(publish.properties, [Property::SubscriptionId(7)]);
            assert!(!publish.dup, "it was never sent");
            let (id, success) = (publish.packet_id.unwrap(), ReasonCode::Success);
            match n % 2 {
                0 => bob.send(puback(bob.version(), id, success, &[])),
                _ => {
                    bob.send(pubrec(bob.version(), id, success, &[]));
                    assert!(matches!(bob.answer(), ServerPacket::PubRel { .. }));
                    bob.send(pubcomp(bob.version(), id, success, &[]));
                }
            }
        }
        // The subscription is there as well, for those who publish now.
        let carol = cluster.connect(0, client("carol@alpha"));
        carol.publish("a/live", "x");
        assert_eq!(bob.heard(), ["a/live x"]);
        bob.disconnect();
        cluster.connect(0, client("bob@alpha")).disconnect();
    }
}

#[test]
fn a_flow_goes_on_where_it_was_under_the_same_identifiers() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_2);
    let carol = cluster.connect(0, client("carol@alpha"));
    for (n, qos) in [QOS_1, QOS_2, QOS_2, QOS_1, QOS_2].into_iter().enumerate() {
        carol.publish_at(qos, "a", &n.to_string());
    }
    let ids: Vec<u16> = bob
        .received()
        .into_iter()
        .map(|packet| match packet {
            ServerPacket::Publish(publish) => publish.packet_id.unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let success = ReasonCode::Success;
    // 0 is acknowledged, 1 is released, 2 completed, 3 and 4 are in flight.
    bob.send(puback(bob.version(), ids[0], success, &[]));
    bob.send(pubrec(bob.version(), ids[1], success, &[]));
    bob.send(pubrec(bob.version(), ids[2], success, &[]));
    bob.send(pubcomp(bob.version(), ids[2], success, &[]));
    cluster.crash(1);
    let (bob, packets) = resumed(&cluster, 0, self::bob());
    let again = |n: usize, qos| {
        let sent = message(qos, ids[n], &n.to_string());
        ServerPacket::Publish(Publish { dup: true, ..sent })
    };
    let released = ServerPacket::PubRel {
        packet_id: ids[1],
        reason: success,
        properties: vec![],
    };
    assert_eq!(packets, [released, again(3, QOS_1), again(4, QOS_2)]);
    bob.send(pubcomp(bob.version(), ids[1], success, &[]));
    bob.send(puback(bob.version(), ids[3], success, &[]));
    bob.send(pubrec(bob.version(), ids[4], success, &[]));
    bob.send(pubcomp(bob.version(), ids[4], success, &[]));
    cluster
        .connect(0, client("carol@alpha"))
        .publish_at(QOS_1, "a", "new");
    let news = bob.received();
    assert!(
        matches!(&news[1], ServerPacket::Publish(new) if new.packet_id > Some(ids[4])),
        "{news:?}"
    );
}

/// Shows: PEER-13
#[test]
fn a_qos_2_message_that_is_sent_again_after_a_crash_is_the_same_one() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_2);
    bob.cut();
    let alice = cluster.connect(0, alice());
    alice.put(message(QOS_2, 5, "once"));
    assert!(matches!(
        alice.answer(),
        ServerPacket::PubRec { packet_id: 5, .. }
    ));
    cluster.crash(1);
    let (alice, packets) = resumed(&cluster, 0, self::alice());
    assert_eq!(packets, []);
    alice.put(Publish {
        dup: true,
        ..message(QOS_2, 5, "once")
    });
    assert!(matches!(
        alice.answer(),
        ServerPacket::PubRec { packet_id: 5, .. }
    ));
    alice.send(pubrel(alice.version(), 5, ReasonCode::Success, &[]));
    assert!(matches!(
        alice.answer(),
        ServerPacket::PubComp { packet_id: 5, .. }
    ));
    cluster.crash(1);
    // The identifier is free, and the next message under it is another.
    let (alice, _) = resumed(&cluster, 0, self::alice());
    alice.put(message(QOS_2, 5, "twice"));
    let bob = cluster.dial(0, self::bob());
    let packets = bob.received();
    let payloads: Vec<_> = packets[1..]
        .iter()
        .map(|packet| match packet {
            ServerPacket::Publish(publish) => String::from_utf8_lossy(&publish.payload),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, ["once", "twice"]);
}

/// Also where the publisher's own session is not kept.
#[test]
fn a_message_that_is_sent_again_is_not_acknowledged_before_it_is_kept() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_2);
    bob.cut();
    let carol = cluster.connect(0, client("carol@alpha"));
    cluster.hold_journal();
    for dup in [false, true] {
        carol.put(Publish {
            dup,
            ..message(QOS_2, 5, "once")
        });
        assert_eq!(carol.received(), []);
    }
    cluster.release_journal();
    let answers = carol.received();
    let is_answer = |packet: &_| matches!(packet, ServerPacket::PubRec { packet_id: 5, .. });
    assert!(
        answers.len() == 2 && answers.iter().all(is_answer),
        "{answers:?}"
    );
}

/// Until it is kept that a session is kept no more, a crash brings it back as it was: a QoS 2 message
/// that it was sent by then would come twice.
#[test]
fn a_session_that_is_kept_no_more_is_told_nothing_before_that_is_kept() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_2);
    let carol = cluster.connect(0, client("carol@alpha"));
    cluster.hold_journal();
    carol.put(message(QOS_2, 5, "once"));
    bob.cut();
    let bob = cluster.dial(0, client("bob@alpha").kept(0));
    assert_eq!(bob.received(), []);
    cluster.release_journal();
    let packets = bob.received();
    assert!(
        matches!(&packets[..], [ServerPacket::ConnAck(_), ServerPacket::Publish(it)] if it.dup),
        "{packets:?}"
    );
}

/// Whether or not it had a connection when a client came that wants nothing of it.
#[test]
fn a_client_that_begins_anew_is_told_so_when_the_session_before_is_over_for_good() {
    for is_taken_over in [true, false] {
        let cluster = Cluster::new(1);
        let old = cluster.connect(0, bob());
        old.subscribe("a", QOS_1);
        if !is_taken_over {
            old.cut();
        }
        cluster.hold_journal();
        let new = cluster.dial(0, client("bob@alpha"));
        assert_eq!(new.received(), [], "CONNACK waits");
        cluster.release_journal();
        assert!(!new.connack().session_present);
        cluster.crash(1);
        assert_eq!(cluster.sessions(), 0);
    }
}

/// An answer that is repeated promises what the first did.
#[test]
fn what_is_answered_again_waits_as_the_first_answer_does() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, alice());
    alice.subscribe("a", QOS_1);
    alice.put(Publish::new("nobody", b"x").at(QOS_2, 5));
    assert!(matches!(alice.answer(), ServerPacket::PubRec { .. }));
    let version = alice.version();
    let release = pubrel(version, 5, ReasonCode::Success, &[]);
    let leave = unsubscribe(version, 6, &["a"], &[]);
    for packet in [release, leave] {
        cluster.hold_journal();
        alice.send(&packet);
        alice.send(&packet);
        assert_eq!(alice.received(), []);
        cluster.release_journal();
        assert_eq!(alice.received().len(), 2);
    }
}

/// DISCONNECT is the last word [MQTT-3.14.4-1]: an answer that waits then is not given any more.
#[test]
fn nothing_comes_after_disconnect_and_nobody_waits_for_it() {
    let ends: [fn(&Cluster); 3] = [
        |cluster| drop(cluster.dial(0, client("carol@alpha"))),
        |cluster| cluster.pass_secs(15),
        Cluster::stop,
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let cluster = Cluster::new(1);
        let bob = cluster.connect(0, bob());
        bob.subscribe("a", QOS_1);
        bob.cut();
        let carol = cluster.connect(0, client("carol@alpha").keep_alive(10));
        carol.subscribe("a", QOS_2);
        cluster.hold_journal();
        carol.put(message(QOS_2, 1, "x"));
        end(&cluster);
        assert!(!carol.is_open(), "{n}: it does not wait");
        cluster.release_journal();
        let packets = carol.received();
        assert!(
            matches!(packets[..], [ServerPacket::Disconnect { .. }]),
            "{n}: {packets:?}"
        );
    }
}

/// Who was not told yet that it is in is not told that it has to go either [MQTT-3.14.0-1].
#[test]
fn nobody_is_waited_for_when_the_broker_stops() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, alice());
    cluster.hold_journal();
    alice.put(message(QOS_2, 1, "x"));
    alice.send(disconnect(alice.version(), ReasonCode::Success, &[]));
    let bob = cluster.dial(0, bob());
    assert!(bob.is_open() && alice.is_open());
    cluster.stop();
    for client in [alice, bob] {
        assert!(!client.is_open());
        assert_eq!(client.received(), []);
    }
}

#[test]
fn a_qos_2_will_waits_until_it_is_kept_that_it_is_gone() {
    for shard in [0, 1] {
        let cluster = Cluster::new(2);
        let carol = cluster.connect(shard, client("carol@alpha"));
        carol.subscribe("w", QOS_2);
        // Its session outlives its will, or ends with it.
        for (expiry, delay) in [(100, 0), (5, 10)] {
            let delay = vec![Property::WillDelay(delay)];
            let hello = client("alice@alpha").kept(expiry);
            let alice = cluster.connect(0, hello.with_will("w", "bye", QOS_2, false, delay));
            cluster.hold_journal();
            alice.cut();
            cluster.pass_secs(5);
            assert_eq!(carol.received(), []);
            cluster.release_journal();
            assert_eq!(carol.heard(), ["w bye"]);
        }
    }
}

/// The questions about wills that wait; all others are answered with yes.
fn asked_wills(cluster: &Cluster) -> Vec<HeldQuestion> {
    let held = cluster.held_questions().into_iter();
    let (wills, others): (Vec<_>, Vec<_>) = held.partition(|it| is_publish(&it.question));
    others.iter().for_each(|it| cluster.reply(it, YES));
    wills
}

/// Whoever connects under its name meanwhile.
#[test]
fn a_will_that_is_asked_about_is_there_until_the_answer_comes() {
    let cluster = Cluster::new(1);
    cluster.ask(Ask::Always, |_| YES);
    let dave = || client("dave@alpha").kept(1000);
    cluster.connect(0, dave()).subscribe("w", QOS_1);
    let with_will = |payload| alice().with_will("w", payload, QOS_1, false, vec![]);
    cluster.hold_questions();
    cluster.connect(0, with_will("first")).cut();
    assert_eq!(asked_wills(&cluster).len(), 1);
    cluster.crash(1);
    let first = asked_wills(&cluster);
    assert_eq!(first.len(), 1, "it is asked about again");
    let (dave, packets) = resumed(&cluster, 0, dave());
    assert_eq!(packets, []);
    // The answer says nothing of the will that came meanwhile.
    let alice = cluster.connect(0, with_will("second"));
    cluster.reply(&first[0], YES);
    assert_eq!(dave.heard(), ["w first"]);
    alice.cut();
    let second = asked_wills(&cluster);
    cluster.connect(0, with_will("third")).cut();
    let third = asked_wills(&cluster);
    cluster.reply(&second[0], YES);
    assert_eq!(dave.heard(), ["w second"]);
    cluster.crash(1);
    let again = asked_wills(&cluster);
    assert_eq!((third.len(), again.len()), (1, 1));
    cluster.reply(&again[0], NO);
    cluster.crash(1);
    assert_eq!(asked_wills(&cluster).len(), 0, "it was refused");
}

#[test]
fn what_was_not_kept_was_not_acknowledged() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_1);
    bob.cut();
    let carol = cluster.connect(0, client("carol@alpha"));
    carol.put(message(QOS_1, 1, "kept"));
    assert!(matches!(carol.answer(), ServerPacket::PubAck { .. }));
    cluster.hold_journal();
    carol.put(message(QOS_1, 2, "lost"));
    assert_eq!(carol.received(), []);
    cluster.crash(1);
    cluster.release_journal();
    let (bob, packets) = resumed(&cluster, 0, self::bob());
    assert_eq!(packets.len(), 1);
    assert!(bob.is_open());
}

#[test]
fn retained_messages_and_their_absence_outlive_a_crash() {
    let cluster = Cluster::new(2);
    let [near, far] = [0, 1].map(|shard| {
        let name = ["alice@alpha", "carol@alpha"][usize::from(shard)];
        cluster.connect(shard, client(name))
    });
    near.retain("a", "first");
    far.retain("a", "second");
    near.retain("b", "gone");
    far.retain("b", "");
    near.put(Publish {
        retain: true,
        properties: vec![Property::MessageExpiry(10)],
        ..Publish::new("c", b"brief")
    });
    cluster.crash(1);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("#", QOS_0);
    assert_eq!(bob.heard(), ["a second", "c brief"]);
    cluster.crash(2);
    cluster.pass_secs(10);
    let bob = cluster.connect(1, client("bob@alpha"));
    bob.subscribe("#", QOS_0);
    assert_eq!(bob.heard(), ["a second"]);
    let other = cluster.connect(0, client("bob@beta"));
    other.subscribe("#", QOS_0);
    assert_eq!(other.heard(), [] as [&str; 0]);
}

/// What is not retained any more is kept no more, whoever finds that out: a publisher that needs its
/// room, a subscriber that would be sent it, the next start.
#[test]
fn a_retained_message_that_has_expired_leaves_the_journal() {
    let limits = Limits {
        max_retained_messages: 3,
        ..Limits::default()
    };
    let cluster = Cluster::limited(2, limits);
    let alice = cluster.connect(0, client("alice@alpha"));
    let brief = |topic: &str| {
        let expiry = vec![Property::MessageExpiry(1)];
        let publish = Publish {
            retain: true,
            properties: expiry,
            ..Publish::new(topic, b"brief")
        };
        let code = alice.complete(publish.at(QOS_1, alice.fresh_id()));
        assert!(!code.is_error(), "{topic}: {code:?}");
    };
    for second in 0..4 {
        for topic in ["a", "b", "c"] {
            brief(&format!("{topic}/{second}"));
        }
        assert_eq!(cluster.retained_in_journal().len(), 3, "{second}");
        cluster.pass_secs(1);
    }
    brief("d");
    assert_eq!(cluster.retained_in_journal(), ["ff/v1/alpha/c/d"]);

    cluster.pass_secs(1);
    let bob = cluster.connect(1, client("bob@alpha"));
    bob.subscribe("#", QOS_0);
    assert_eq!(bob.heard(), [] as [&str; 0]);
    assert_eq!(cluster.retained_in_journal(), [] as [&str; 0]);

    brief("a");
    alice.retain("b", "for ever");
    cluster.pass_secs(1);
    cluster.crash(1);
    assert_eq!(cluster.retained_in_journal(), ["ff/v1/alpha/c/b"]);
}

#[test]
fn a_will_in_delay_goes_out_in_its_time_and_a_lost_connections_will_from_the_restart_on() {
    let cluster = Cluster::new(2);
    let delay = |secs| vec![Property::WillDelay(secs)];
    let will = |hello: Hello, secs| hello.with_will("w", "bye", QOS_1, false, delay(secs));
    let bob = cluster.connect(0, will(bob(), 50));
    bob.cut();
    let _alice = cluster.connect(1, will(alice(), 20));
    cluster.pass_secs(40);
    cluster.crash(1);
    let dave = cluster.connect(0, client("dave@alpha"));
    dave.subscribe("w", QOS_1);
    assert_eq!(dave.heard(), [] as [&str; 0]);
    cluster.pass_secs(10);
    assert_eq!(dave.heard(), ["w bye"], "bob's, 50 seconds after it left");
    cluster.pass(Span::from_millis(9_999));
    assert_eq!(dave.heard(), [] as [&str; 0]);
    cluster.pass(Span::from_millis(1));
    assert_eq!(
        dave.heard(),
        ["w bye"],
        "alice's, 20 seconds after the crash"
    );
    cluster.crash(1);
    let dave = cluster.connect(0, client("dave@alpha"));
    dave.subscribe("w", QOS_1);
    cluster.pass_secs(60);
    assert_eq!(dave.heard(), [] as [&str; 0], "a will goes out once");
}

/// What is due when the broker starts again is due to sessions that are put back later, too.
#[test]
fn a_will_and_the_rest_of_a_share_group_find_those_who_come_back_after_them() {
    for shards in [1, 2] {
        let cluster = Cluster::new(2);
        let hello = alice().with_will("w", "bye", QOS_1, false, vec![]);
        let _alice = cluster.connect(0, hello);
        let dave = cluster.connect(1, client("dave@alpha").kept(10));
        dave.subscribe("$share/g/a", QOS_1);
        dave.cut();
        let carol = cluster.connect(0, client("carol@alpha"));
        carol.publish_at(QOS_1, "a", "left");
        let bob = cluster.connect(1, bob());
        bob.subscribe("w", QOS_1);
        bob.subscribe("$share/g/a", QOS_1);
        cluster.hold_journal();
        bob.cut();
        cluster.pass_secs(10); // dave's session ends, and nobody gets to know of it
        cluster.crash(shards);
        cluster.release_journal();
        cluster.pass_secs(0);
        let (_bob, packets) = resumed(&cluster, 0, self::bob());
        let payloads = packets.iter().map(|packet| match packet {
            ServerPacket::Publish(publish) => String::from_utf8_lossy(&publish.payload),
            other => panic!("{other:?}"),
        });
        let mut payloads: Vec<_> = payloads.collect();
        payloads.sort();
        assert_eq!(payloads, ["bye", "left"], "{shards} shards");
    }
}

#[test]
fn a_session_ends_at_its_time_whatever_crashed_meanwhile() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_1);
    bob.cut();
    cluster.pass_secs(60);
    cluster.crash(1);
    cluster.pass(Span::from_millis(39_999));
    assert_eq!(cluster.sessions(), 1);
    cluster.crash(1);
    cluster.pass(Span::from_millis(1));
    assert_eq!(
        (cluster.sessions(), cluster.team("alpha").subscriptions()),
        (0, 0)
    );
    cluster.crash(1);
    assert_eq!(cluster.sessions(), 0);
}

#[test]
fn a_right_that_is_gone_after_the_crash_is_gone() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("a", QOS_1);
    bob.subscribe("b", QOS_1);
    bob.cut();
    let carol = cluster.connect(0, client("carol@alpha"));
    carol.publish_at(QOS_1, "a", "1");
    carol.publish_at(QOS_1, "b", "2");
    cluster.directory().client("bob@alpha", &["allow both b"]);
    cluster.crash(1);
    let (bob, packets) = resumed(&cluster, 0, self::bob());
    assert!(
        matches!(&packets[..], [ServerPacket::Publish(only)] if only.topic == "b"),
        "{packets:?}"
    );
    assert_eq!(cluster.team("alpha").subscriptions(), 1);
    assert!(bob.is_open());
}

/// What came by a group that the session has left does not go to members of one that it joins after
/// the crash.
#[test]
fn the_number_of_a_shared_subscription_is_not_used_again_after_a_crash() {
    let cluster = Cluster::new(1);
    let bob = || bob().with(Property::ReceiveMaximum(1));
    let first = cluster.connect(0, bob());
    first.subscribe("$share/g/+", QOS_1);
    let carol = cluster.connect(0, client("carol@alpha"));
    carol.publish_at(QOS_1, "a", "1");
    carol.publish_at(QOS_1, "a", "2");
    first.send(unsubscribe(first.version(), 9, &["$share/g/+"], &[]));
    cluster.crash(1);
    let (second, _) = resumed(&cluster, 0, bob());
    second.subscribe("$share/h/+", QOS_1);
    let dave = cluster.connect(0, client("dave@alpha"));
    dave.subscribe("$share/h/+", QOS_1);
    second.cut();
    assert_eq!(dave.heard(), [] as [&str; 0]);
    let (third, packets) = resumed(&cluster, 0, bob());
    assert_eq!(packets.len(), 1);
    let success = ReasonCode::Success;
    third.send(puback(third.version(), 1, success, &[]));
    assert!(matches!(third.answer(), ServerPacket::Publish(last) if last.payload == b"2"));
}

/// Nor does a message come back that was on its way to somebody who does not see it.
#[test]
fn what_a_wildcard_hides_stays_hidden_after_a_crash() {
    let cluster = Cluster::new(2);
    let bob = cluster.connect(1, bob());
    bob.subscribe("#", QOS_1);
    let carol = cluster.connect(0, client("carol@alpha"));
    cluster.hold_between();
    carol.put(Publish::new("$x", b"hidden").at(QOS_1, 1));
    carol.put(Publish::new("x", b"seen").at(QOS_1, 2));
    cluster.crash(2);
    let (_bob, packets) = resumed(&cluster, 0, self::bob());
    assert!(
        matches!(&packets[..], [ServerPacket::Publish(only)] if only.topic == "x"),
        "{packets:?}"
    );
}

#[test]
fn what_another_member_of_a_group_got_is_not_there_twice_after_a_crash() {
    let cluster = Cluster::new(2);
    let bob = cluster.connect(0, bob());
    bob.subscribe("$share/g/a", QOS_1);
    bob.cut();
    let carol = cluster.connect(1, client("carol@alpha"));
    for n in 0..5 {
        carol.publish_at(QOS_1, "a", &n.to_string());
    }
    let dave = cluster.connect(1, client("dave@alpha").kept(100));
    dave.subscribe("$share/g/a", QOS_1);
    // Bob's session is gone: what it had goes to dave.
    cluster.connect(0, client("bob@alpha")).disconnect();
    assert_eq!(dave.received().len(), 5);
    cluster.crash(2);
    let (_dave, packets) = resumed(&cluster, 1, client("dave@alpha").kept(100));
    assert_eq!(packets.len(), 5);
    assert_eq!(cluster.sessions(), 1);
}

#[test]
fn a_full_journal_refuses_what_it_would_have_to_keep_and_nothing_else() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, bob());
    bob.subscribe("kept", QOS_1);
    let dave = cluster.connect(0, client("dave@alpha"));
    dave.subscribe("live", QOS_1);
    let carol = cluster.connect(0, client("carol@alpha"));
    cluster.set_full(true);
    assert_eq!(
        carol.publish_at(QOS_1, "kept", "x"),
        ReasonCode::QuotaExceeded
    );
    carol.publish("kept", "at most once");
    assert_eq!(bob.heard(), ["kept at most once"]);
    assert_eq!(carol.publish_at(QOS_1, "live", "y"), ReasonCode::Success);
    assert_eq!(dave.heard(), ["live y"]);
    carol.retain("kept", "not retained");
    // 3.x cannot say no: it is not told yes, and sends the message again.
    let old = cluster.connect(0, client("erin@alpha").v311());
    let messages = [message(QOS_1, 3, "x"), message(QOS_2, 4, "y")];
    let messages = messages.map(|it| Publish {
        topic: "kept".into(),
        ..it
    });
    messages.iter().for_each(|it| old.put(it.clone()));
    assert_eq!(old.received(), []);
    cluster.set_full(false);
    for message in messages {
        old.put(Publish {
            dup: true,
            ..message
        });
    }
    let answers = old.received();
    assert!(
        matches!(
            answers[..],
            [
                ServerPacket::PubAck { packet_id: 3, .. },
                ServerPacket::PubRec { packet_id: 4, .. }
            ]
        ),
        "{answers:?}"
    );
    assert_eq!(bob.heard(), ["kept x", "kept y"]);
    assert_eq!(carol.publish_at(QOS_1, "kept", "z"), ReasonCode::Success);
    assert_eq!(bob.heard(), ["kept z"]);
    let late = cluster.connect(0, client("alice@alpha"));
    late.subscribe("kept", QOS_0);
    assert_eq!(late.heard(), [] as [&str; 0]);
}
