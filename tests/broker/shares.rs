//! Shared subscriptions when a member goes (MQTT 5.0 section 4.8.2): what it was to have goes to
//! another.

use crate::cluster::*;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Publish, ServerPacket, puback, pubrec};
use cofferdam::wire::{QoS, ReasonCode, Version};

const FILTER: &str = "$share/g/a/#";

/// A world in which each client has one message in flight at a time.
fn narrow(shards: u16) -> Cluster {
    let limits = Limits {
        max_inflight: 1,
        ..Limits::default()
    };
    Cluster::limited(shards, limits)
}

/// The payloads of the messages received, not acknowledged.
fn unacknowledged(client: &Client) -> Vec<String> {
    let packets = client.received().into_iter();
    let payload = |packet| match packet {
        ServerPacket::Publish(Publish { payload, .. }) => {
            Some(String::from_utf8(payload.to_vec()).expect("text"))
        }
        _ => None,
    };
    packets.filter_map(payload).collect()
}

/// Sends the numbers from 1 on.
fn publish(publisher: &Client, count: usize, qos: QoS) {
    for number in 1..=count {
        let answer = publisher.publish_at(qos, "a/b", &number.to_string());
        assert_eq!(answer, ReasonCode::Success);
    }
}

#[test]
fn what_waits_for_a_member_whose_connection_is_lost_goes_to_one_that_is_connected() {
    for shards in [1, 2] {
        let cluster = narrow(shards);
        let publisher = cluster.connect(0, client("alice@alpha"));
        let lost = cluster.connect(0, client("bob@alpha").kept(120));
        lost.subscribe(FILTER, QOS_1);
        publish(&publisher, 4, QOS_1);
        assert_eq!(unacknowledged(&lost), ["1"], "one in flight, three wait");
        let stays = cluster.connect(shards - 1, client("carol@alpha"));
        stays.subscribe(FILTER, QOS_1);

        lost.cut();
        assert_eq!(stays.heard(), ["a/b 2", "a/b 3", "a/b 4"]);
        // What was sent to it is still its own.
        let back = cluster.dial(0, client("bob@alpha").kept(120));
        assert_eq!(unacknowledged(&back), ["1"]);
    }
}

#[test]
fn what_waits_stays_where_nobody_else_is_connected() {
    let cluster = narrow(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let lost = cluster.connect(0, client("bob@alpha").kept(120));
    let gone = cluster.connect(0, client("carol@alpha").kept(120));
    gone.subscribe(FILTER, QOS_1);
    gone.cut();
    lost.subscribe(FILTER, QOS_1);
    publish(&publisher, 3, QOS_1);
    lost.cut();
    let back = cluster.dial(0, client("bob@alpha").kept(120));
    assert!(matches!(
        back.received().first(),
        Some(ServerPacket::ConnAck(_))
    ));
    let gone = cluster.connect(0, client("carol@alpha").kept(120));
    assert_eq!(gone.heard(), [] as [&str; 0]);
    back.cut();
    assert_eq!(gone.heard(), ["a/b 2", "a/b 3"], "now it is");
}

#[test]
fn what_an_ended_session_had_not_acknowledged_goes_to_another_member() {
    for shards in [1, 2] {
        let cluster = narrow(shards);
        let publisher = cluster.connect(0, client("alice@alpha"));
        let ends = cluster.connect(0, client("bob@alpha"));
        ends.subscribe(FILTER, QOS_1);
        publish(&publisher, 3, QOS_1);
        // Stored, not connected: better than nobody.
        let stored = cluster.connect(shards - 1, client("carol@alpha").kept(120));
        stored.subscribe(FILTER, QOS_1);
        stored.cut();

        ends.cut();
        let back = cluster.dial(0, client("carol@alpha").kept(120));
        let packets = back.received();
        let [ServerPacket::ConnAck(_), ServerPacket::Publish(first)] = packets.as_slice() else {
            panic!("{packets:?}");
        };
        assert_eq!(&*first.payload, b"1", "{shards} shards");
        let id = first.packet_id.expect("QoS 1");
        back.send(puback(Version::V5, id, ReasonCode::Success, &[]));
        assert_eq!(back.heard(), ["a/b 2", "a/b 3"], "{shards} shards");
    }
}

/// Shows: MQTT-4.8.2-5 (5.0)
#[test]
fn a_qos_2_message_that_was_sent_is_for_its_member_alone() {
    let cluster = narrow(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let ends = cluster.connect(0, client("bob@alpha"));
    ends.subscribe(FILTER, QOS_2);
    publish(&publisher, 3, QOS_2);
    let stays = cluster.connect(0, client("carol@alpha"));
    stays.subscribe(FILTER, QOS_2);
    let ServerPacket::Publish(first) = ends.answer() else {
        panic!("no PUBLISH");
    };
    let id = first.packet_id.expect("QoS 2");
    ends.send(pubrec(Version::V5, id, ReasonCode::Success, &[]));
    ends.cut();
    assert_eq!(stays.heard(), ["a/b 2", "a/b 3"]);
}

#[test]
fn a_message_that_came_by_another_subscription_stays_with_its_session() {
    let cluster = narrow(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let lost = cluster.connect(0, client("bob@alpha").kept(120));
    lost.subscribe("a/b", QOS_1);
    let stays = cluster.connect(0, client("carol@alpha"));
    stays.subscribe(FILTER, QOS_1);
    publish(&publisher, 3, QOS_1);
    assert_eq!(stays.heard(), ["a/b 1", "a/b 2", "a/b 3"]);
    lost.subscribe(FILTER, QOS_1);
    lost.cut();
    assert_eq!(stays.heard(), [] as [&str; 0]);
}

#[test]
fn what_came_by_one_group_never_goes_to_the_members_of_another() {
    let cluster = narrow(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let stranger = ["allow both b/#"];
    cluster.directory().client("carol@alpha", &stranger);
    let carol = cluster.connect(0, client("carol@alpha"));
    carol.subscribe("$share/h/b/#", QOS_1);
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    bob.subscribe(FILTER, QOS_1);
    publish(&publisher, 3, QOS_1);
    assert_eq!(bob.unsubscribe(&[FILTER]), [ReasonCode::Success]);
    bob.subscribe("$share/h/b/#", QOS_1);
    bob.cut();
    assert_eq!(carol.heard(), [] as [&str; 0]);
    publisher.publish_at(QOS_1, "b/x", "hers");
    assert_eq!(carol.heard(), ["b/x hers"]);
}
