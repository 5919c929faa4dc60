//! Sections 3.14 and 4.13: DISCONNECT, and the end of connections.

use super::cluster::*;
use super::{NONE, VERSIONS, goodbye};
use cofferdam::limits::Limits;
use cofferdam::wire::client::{Property, Publish, disconnect};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// Shows: MQTT-3.14.0-1 (5.0)
#[test]
fn no_disconnect_comes_before_connack() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let v5 = || client("alice@alpha");
    let silent = cluster.open(0, &v5());
    let broken = cluster.open(0, &v5());
    broken.send([0xF0, 0]);
    let waiting = cluster.dial(0, v5());
    cluster.pass_secs(11);
    for client in [&silent, &broken, &waiting] {
        assert_eq!(client.bytes(), NOTHING);
        assert!(!client.is_open());
    }
    let (judged, unheard) = (cluster.dial(0, v5()), cluster.open(0, &v5()));
    cluster.stop();
    for client in [&judged, &unheard] {
        assert_eq!(client.bytes(), NOTHING);
        assert!(!client.is_open());
    }
}

/// Everything that makes the broker end a connection: one code, no properties, and after it nothing
/// but the end.
///
/// Shows: MQTT-3.14.2-1, MQTT-3.14.2-2, MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-4.13.1-1,
/// MQTT-4.13.2-1 (5.0); MQTT-4.8.0-1 (3.1.1)
#[test]
fn the_broker_says_why_it_leaves_and_then_leaves() {
    type Act<'a> = &'a dyn Fn(&Cluster, &Client);
    let put = |client: &Client, publish: Publish| client.put(publish);
    let acts: [(u8, Act<'_>); 13] = [
        (0x81, &|_, client| client.send([0x36, 5, 0, 1, b'a', 0, 1])),
        (0x81, &|_, client| {
            client.send([0x30, 0xFF, 0xFF, 0xFF, 0xFF])
        }),
        (0x82, &|_, client| client.send([0x20, 2, 0, 0])),
        (0x82, &|_, client| client.send([0x82, 3, 0, 1, 0])),
        (0x8B, &|cluster, _| cluster.stop()),
        (0x8D, &|cluster, _| cluster.pass_secs(15)),
        (0x8E, &|cluster, other| {
            cluster.dial(0, client("alice@alpha").version(other.version()));
        }),
        (0x90, &|_, client| client.send([0x30, 4, 0, 2, b'a', b'+'])),
        (0x93, &|_, client| {
            put(client, Publish::new("a", b"").at(QoS::ExactlyOnce, 3));
        }),
        (0x94, &|_, client| {
            put(
                client,
                Publish {
                    properties: vec![Property::TopicAlias(500)],
                    ..Publish::new("a", b"")
                },
            );
        }),
        (0x95, &|_, client| client.send([0x30, 0xFF, 0xFF, 0x7F])),
        (0x9A, &|_, client| client.retain("a", "")),
        (0x9B, &|_, client| {
            put(client, Publish::new("a", b"").at(QOS_2, 1))
        }),
    ];
    for version in VERSIONS {
        for (code, act) in acts {
            if version != Version::V5 && matches!(code, 0x93 | 0x94) {
                continue; // 3.x knows neither
            }
            let mut limits = Limits {
                receive_maximum: 2,
                ..Limits::default()
            };
            limits.retain_available = code != 0x9A;
            if code == 0x9B {
                limits.max_qos = QoS::AtLeastOnce;
            }
            let cluster = Cluster::limited(1, limits);
            let watcher = cluster.connect(0, client("bob@alpha"));
            watcher.subscribe("later", QOS_0);
            let hello = client("alice@alpha").version(version).keep_alive(10);
            let leaving = cluster.connect(0, hello);
            if code == 0x93 {
                put(&leaving, Publish::new("a", b"").at(QOS_2, 1));
                put(&leaving, Publish::new("a", b"").at(QOS_2, 2));
                leaving.received();
            }
            act(&cluster, &leaving);
            assert_eq!(
                leaving.bytes(),
                goodbye(version, code),
                "{version:?} {code:#04x}"
            );
            assert!(!leaving.is_open());
            leaving.publish("later", "x");
            if code != 0x8B {
                assert_eq!(watcher.heard(), NONE);
            }
        }
    }
}

/// Shows: MQTT-3.14.4-3 (5.0); MQTT-3.14.4-3 (3.1.1)
#[test]
fn what_a_client_sends_behind_its_disconnect_is_not_looked_at() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("bob@alpha"));
    watcher.subscribe("#", QOS_0);
    for version in VERSIONS {
        let hello = client("alice@alpha").version(version).will("will", "gone");
        let leaving = cluster.connect(0, hello);
        let goodbye = disconnect(version, ReasonCode::Success, &[]);
        let behind = Publish::new("a", b"behind").encode(version);
        leaving.send([goodbye, behind].concat());
        assert_eq!(leaving.bytes(), NOTHING, "the broker closes without a word");
        assert!(!leaving.is_open());
        assert_eq!(watcher.heard(), NONE);
    }
}
