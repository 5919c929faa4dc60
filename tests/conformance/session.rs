//! Section 4.1: how long session state is kept.

use super::VERSIONS;
use super::cluster::*;
use cofferdam::wire::ReasonCode;
use cofferdam::wire::Version;
use cofferdam::wire::client::{Property, Publish, pubrel};

/// Shows: MQTT-4.1.0-1 (5.0); MQTT-4.1.0-1, MQTT-4.1.0-2 (3.1.1)
#[test]
fn a_session_lasts_at_least_as_long_as_its_connection() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("bob@alpha"));
    for version in VERSIONS {
        for hello in [client("alice@alpha"), client("alice@alpha").kept(5)] {
            let client = cluster.connect(0, hello.version(version).clean());
            client.subscribe("a", QOS_2);
            client.put(Publish::new("nobody", b"").at(QOS_2, 7));
            client.received();
            publisher.publish_at(QOS_2, "a", "in flight");
            let sent = client.received();
            assert_eq!(sent.len(), 1);
            cluster.pass_secs(100_000_000);
            // The subscription, the identifier received, and the message in flight are there.
            client.send(pubrel(version, 7, ReasonCode::Success, &[]));
            assert_eq!(client.bytes(), [0x70, 2, 0, 7]);
            client.send([0x50, 2, 0, 1]);
            assert_eq!(client.bytes(), [0x62, 2, 0, 1]);
            client.send([0x70, 2, 0, 1]);
            publisher.publish("a", "more");
            assert_eq!(client.heard(), ["a more"]);
            client.disconnect();
        }
    }
}

/// Shows: MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.2-23, MQTT-4.1.0-2 (5.0)
#[test]
fn a_session_is_resumed_whole_or_made_anew() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("bob@alpha"));
    let hello = client("alice@alpha").kept(60);
    let first = cluster.dial(0, hello.clone());
    assert!(!first.connack().session_present, "there was none");
    first.subscribe_as("a", QOS_2, 9);
    first.put(Publish::new("nobody", b"").at(QOS_2, 7));
    first.cut();
    cluster.pass_secs(59);
    publisher.publish_at(QOS_2, "a", "waited");
    let second = cluster.dial(0, hello.clone());
    let bytes = second.bytes();
    assert_eq!(bytes[..4], [0x20, 14, 1, 0], "session present");
    let waited = Publish {
        properties: vec![Property::SubscriptionId(9)],
        ..Publish::new("a", b"waited").at(QOS_2, 1)
    };
    assert_eq!(bytes[16..], waited.encode(Version::V5));
    second.send(pubrel(Version::V5, 7, ReasonCode::Success, &[]));
    assert_eq!(second.bytes(), [0x70, 2, 0, 7]);
    second.cut();
    cluster.pass_secs(60);
    let third = cluster.dial(0, hello);
    assert!(!third.connack().session_present, "its time was over");
    publisher.publish_at(QOS_2, "a", "to nobody");
    assert_eq!(third.bytes(), NOTHING);
}

/// Shows: MQTT-3.1.3-2 (5.0); MQTT-3.1.3-2 (3.1.1)
#[test]
fn the_client_id_tells_whose_session_it_is() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, instance("alpha", "a2"));
    for version in VERSIONS {
        let hello = |id: &str| instance("alpha", "a1").version(version).id(id).kept(100);
        let topic = "ff/v1/alpha/c/a";
        let (one, two) = (
            cluster.connect(0, hello("one")),
            cluster.connect(0, hello("two")),
        );
        one.subscribe(topic, QOS_1);
        one.cut();
        two.cut();
        publisher.publish_at(QOS_1, topic, "for one");
        let waits = |id: &str| {
            let back = cluster.dial(0, hello(id));
            let waiting = back.received().len() - 1;
            back.cut();
            waiting
        };
        assert_eq!((waits("two"), waits("one"), waits("One")), (0, 1, 0));
        for id in ["one", "two", "One"] {
            cluster.connect(0, hello(id).clean()).disconnect();
        }
        cluster.pass_secs(1_000_000);
    }
}
