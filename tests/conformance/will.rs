//! Section 3.1.2.5: the will.

use super::cluster::*;
use super::{NONE, VERSIONS};
use cofferdam::wire::client::{Property, Publish};
use cofferdam::wire::{ReasonCode, Version};

/// Shows: MQTT-3.1.2-12 (3.1.1)
#[test]
fn a_connection_without_a_will_ends_without_one() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_2);
    for version in VERSIONS {
        let hello = client("bob@alpha").version(version).kept(100);
        cluster.connect(0, hello.clone().will("will", "gone")).cut();
        assert_eq!(watcher.heard(), ["will gone"], "the control");
        cluster.connect(0, hello).cut();
        assert_eq!(watcher.heard(), NONE, "the one before is no more");
    }
}

/// Shows: MQTT-3.1.2-14 (5.0); MQTT-3.1.2-16 (3.1.1)
#[test]
fn a_will_that_is_not_to_be_retained_is_not() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        watcher.retain("will", "before");
        let hello = client("bob@alpha").version(version).will("will", "gone");
        cluster.connect(0, hello).cut();
        watcher.subscribe("will", QOS_0);
        let kept = Publish {
            retain: true,
            ..Publish::new("will", b"before")
        };
        assert_eq!(watcher.messages(), [kept]);
        watcher.unsubscribe(&["will"]);
    }
}

/// Shows: MQTT-3.1.2-10, MQTT-3.14.4-3 (5.0); MQTT-3.1.2-10, MQTT-3.14.4-3 (3.1.1)
#[test]
fn a_will_is_gone_once_it_was_published_or_taken_back() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_2);
    for version in VERSIONS {
        let hello = client("bob@alpha").version(version).kept(50);
        for taken_back in [false, true] {
            let client = cluster.connect(0, hello.clone().will("will", "gone"));
            if taken_back {
                client.disconnect();
            } else {
                client.cut();
                assert_eq!(watcher.heard(), ["will gone"]);
            }
            // Neither the end of the session nor another connection brings it back.
            cluster.connect(0, hello.clone()).cut();
            cluster.pass_secs(1_000_000);
            assert_eq!((watcher.heard(), cluster.sessions()), (vec![], 1));
        }
    }
}

/// Shows: MQTT-3.1.2-8 (5.0)
#[test]
fn a_will_with_a_delay_goes_out_for_every_end_but_a_normal_disconnect() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_2);
    let delay = vec![Property::WillDelay(10)];
    let hello = client("bob@alpha")
        .with_will("will", "gone", QOS_1, false, delay)
        .keep_alive(4)
        .kept(100);
    let ends: [(&str, &dyn Fn(&Client), usize); 5] = [
        ("the network", &Client::cut, 1),
        ("keep alive", &|_| cluster.pass_secs(6), 1),
        ("a broken packet", &|client| client.send([0, 0]), 1),
        (
            "DISCONNECT 0x04",
            &|client| client.disconnect_with(ReasonCode::DisconnectWithWill, &[]),
            1,
        ),
        ("DISCONNECT 0x00", &Client::disconnect, 0),
    ];
    for (how, end, expected) in ends {
        let client = cluster.connect(0, hello.clone());
        end(&client);
        assert!(!client.is_open());
        cluster.pass_secs(9);
        assert_eq!(watcher.heard(), NONE, "{how}");
        cluster.pass_secs(1);
        assert_eq!(watcher.heard().len(), expected, "{how}");
    }
}

/// Shows: MQTT-3.1.2-7 (3.1.1)
#[test]
fn retained_messages_outlive_the_session_that_sent_them() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let sender = cluster.connect(0, client("alice@alpha").version(version));
        sender.retain("a", &format!("{version:?}"));
        sender.disconnect();
        cluster.pass_secs(1_000_000);
        assert_eq!(cluster.sessions(), 0);
        let later = cluster.connect(0, client("bob@alpha").version(Version::V311));
        later.subscribe("a", QOS_0);
        assert_eq!(later.heard(), [format!("a {version:?}")]);
        later.disconnect();
    }
}

/// Shows: MQTT-3.1.2-15 (5.0); MQTT-3.1.2-17 (3.1.1)
#[test]
fn a_will_that_is_to_be_retained_is() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    for version in VERSIONS {
        watcher.retain("will", "before");
        let hello = client("bob@alpha").version(version);
        let with_will = hello.with_will("will", "gone", QOS_1, true, vec![]);
        cluster.connect(0, with_will).cut();
        watcher.subscribe("will", QOS_1);
        let [kept] = &watcher.messages()[..] else {
            panic!("one message");
        };
        assert_eq!(
            (kept.retain, kept.qos, &kept.payload[..]),
            (true, QOS_1, &b"gone"[..])
        );
        watcher.unsubscribe(&["will"]);
    }
}
