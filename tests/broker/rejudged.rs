//! A session that comes back with other rights than it left with.

use crate::cluster::*;
use cofferdam::broker::{Change, ChangeKind, Drop, EventKind};
use cofferdam::limits::Limits;
use cofferdam::wire::QoS;
use cofferdam::wire::client::ServerPacket;

#[test]
fn what_a_client_lost_the_right_to_is_not_delivered_and_its_subscription_ends_on_record() {
    let limits = Limits {
        max_inflight: 1,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    bob.subscribe("secret/#", QOS_1);
    bob.subscribe("open/#", QOS_1);
    for topic in ["secret/in-flight", "secret/queued", "open/queued"] {
        publisher.publish_at(QOS_1, topic, "x");
    }
    bob.cut();
    cluster
        .directory()
        .client("bob@alpha", &["allow both open/#"]);
    cluster.events();

    let back = cluster.dial(0, client("bob@alpha").kept(120));
    let packets = back.received();
    let topics: Vec<&str> = packets
        .iter()
        .filter_map(|packet| match packet {
            ServerPacket::Publish(publish) => Some(publish.topic.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(topics, ["open/queued"]);
    assert_eq!(cluster.dropped(Drop::Denied), 2);
    let ended: Vec<EventKind> = cluster
        .record()
        .into_iter()
        .filter(|kind| matches!(kind, EventKind::SubscriptionEnded { .. }))
        .collect();
    assert_eq!(
        ended,
        [EventKind::SubscriptionEnded {
            filter: "ff/v1/alpha/c/secret/#".into(),
            why: "policy",
            change: Change::of(ChangeKind::Login),
        }]
    );
    publisher.publish_at(QOS_1, "secret/later", "x");
    assert!(back.is_open());
    assert_eq!(cluster.team("alpha").subscriptions(), 1);
}

#[test]
fn a_new_deny_rule_holds_for_what_waited() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    bob.subscribe("#", QOS_1);
    bob.cut();
    for topic in ["secret/x", "open/x"] {
        publisher.publish_at(QoS::AtLeastOnce, topic, "x");
    }
    let patterns = ["allow both #", "deny subscribe secret/#"];
    cluster.directory().client("bob@alpha", &patterns);
    let back = cluster.dial(0, client("bob@alpha").kept(120)).received();
    let [ServerPacket::ConnAck(_), ServerPacket::Publish(publish)] = back.as_slice() else {
        panic!("{back:?}");
    };
    assert_eq!(publish.topic, "open/x");
}

/// Shows: MQTT-3.10.4-3 (5.0)
#[test]
fn what_was_under_way_when_the_client_unsubscribed_survives_a_reconnect() {
    let cluster = Cluster::new(1);
    let patterns = ["allow both #", "deny subscribe secret/#"];
    cluster.directory().client("bob@alpha", &patterns);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    bob.subscribe("+/x", QOS_1); // checked at each delivery, for some of it is secret
    bob.subscribe("open", QOS_1);
    publisher.publish_at(QOS_1, "open", "1");
    bob.unsubscribe(&["open"]);
    bob.cut();
    let back = cluster.dial(0, client("bob@alpha").kept(120)).received();
    let [ServerPacket::ConnAck(_), ServerPacket::Publish(publish)] = back.as_slice() else {
        panic!("{back:?}");
    };
    assert!(publish.dup && publish.topic == "open");
}

#[test]
fn what_came_by_a_subscription_that_the_client_ended_is_judged_like_the_rest() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    for topic in ["secret", "open"] {
        bob.subscribe(topic, QOS_1);
    }
    for topic in ["secret", "open"] {
        publisher.publish_at(QOS_1, topic, "x");
    }
    bob.unsubscribe(&["secret", "open"]);
    bob.cut();
    cluster
        .directory()
        .client("bob@alpha", &["allow both open"]);
    let back = cluster.dial(0, client("bob@alpha").kept(120)).received();
    let [ServerPacket::ConnAck(_), ServerPacket::Publish(publish)] = back.as_slice() else {
        panic!("{back:?}");
    };
    assert_eq!(publish.topic, "open");
}
