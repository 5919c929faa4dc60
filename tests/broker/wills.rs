//! Wills: when they go out, when they do not, and what is checked before.

use crate::cluster::*;
use cofferdam::broker::{EventKind, Verdict};
use cofferdam::time::Span;
use cofferdam::wire::client::{Property, Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

/// Something that ends a client's connection.
type End<'a> = &'a dyn Fn(&Client);

/// A cluster of two shards with someone who hears everything in `alpha`'s team broker.
fn watched() -> (Cluster, Client) {
    let cluster = Cluster::new(2);
    let watcher = cluster.connect(1, client("alice@alpha"));
    watcher.subscribe("#", QOS_2);
    (cluster, watcher)
}

fn bob() -> Hello {
    client("bob@alpha").will("will", "gone")
}

/// With a will that is delayed.
fn delayed(secs: u32) -> Hello {
    let delay = vec![Property::WillDelay(secs)];
    client("bob@alpha").with_will("will", "gone", QOS_0, false, delay)
}

/// Shows: MQTT-3.1.2-7, MQTT-3.1.2-8 (5.0); MQTT-3.1.2-8 (3.1.1)
#[test]
fn a_will_goes_out_when_the_connection_is_lost_and_not_before() {
    let (cluster, watcher) = watched();
    for version in VERSIONS {
        let client = cluster.connect(0, bob().version(version));
        client.publish("a", "1");
        assert_eq!(watcher.heard(), ["a 1"]);
        client.cut();
        assert_eq!(watcher.heard(), ["will gone"], "{version:?}");
    }
}

/// Shows: MQTT-3.1.2-8, MQTT-3.14.4-3 (5.0); MQTT-3.1.2-8, MQTT-3.14.4-3 (3.1.1)
#[test]
fn a_will_goes_out_for_whatever_ends_the_connection_but_a_normal_disconnect() {
    let (cluster, watcher) = watched();
    let ends: [(&str, End); 4] = [
        ("keep alive", &|_| cluster.pass_secs(15)),
        ("a broken packet", &|client| client.send([0, 0])),
        ("a second CONNECT", &|client| {
            client.send(bob().connect.encode())
        }),
        ("takeover", &|_| {
            cluster.connect(0, client("bob@alpha")).disconnect();
        }),
    ];
    for (how, end) in ends {
        let client = cluster.connect(0, bob().keep_alive(10));
        end(&client);
        assert!(!client.is_open());
        assert_eq!(watcher.heard(), ["will gone"], "{how}");
    }
    for version in VERSIONS {
        cluster.connect(0, bob().version(version)).disconnect();
        assert_eq!(watcher.heard(), NONE, "a normal DISCONNECT takes it back");
    }
}

#[test]
fn disconnect_with_a_reason_other_than_success_leaves_the_will() {
    let (cluster, watcher) = watched();
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
        cluster.connect(0, bob()).disconnect_with(reason, &[]);
        assert_eq!(watcher.heard(), ["will gone"]);
    }
}

/// Shows: MQTT-3.1.3-10 (5.0)
#[test]
fn a_will_has_its_qos_properties_and_expiry() {
    let (cluster, watcher) = watched();
    let properties = vec![
        Property::MessageExpiry(60),
        Property::ResponseTopic("answers".to_owned()),
        Property::PayloadFormat(true),
        Property::ContentType("text/plain".to_owned()),
        Property::CorrelationData(vec![7, 0]),
        Property::User("b".to_owned(), "2".to_owned()),
        Property::User("a".to_owned(), "1".to_owned()),
        Property::User("b".to_owned(), "2".to_owned()),
    ];
    for qos in [QOS_0, QOS_1, QOS_2] {
        let mut with_delay = properties.clone();
        with_delay.insert(0, Property::WillDelay(0));
        let hello = client("bob@alpha").with_will("will", "gone", qos, false, with_delay);
        let client = cluster.connect(0, hello);
        cluster.pass_secs(1_000); // its expiry begins when it is published
        client.cut();
        let messages = watcher.messages();
        let expected = Publish {
            qos,
            packet_id: messages[0].packet_id,
            properties: properties.clone(),
            ..Publish::new("will", b"gone")
        };
        assert_eq!(messages, [expected]);
    }
}

/// Shows: MQTT-3.1.2-15 (5.0)
#[test]
fn a_retained_will_is_retained() {
    let (cluster, watcher) = watched();
    let hello = client("bob@alpha").with_will("status", "offline", QOS_1, true, vec![]);
    cluster.connect(0, hello).cut();
    assert!(watcher.messages().iter().all(|publish| !publish.retain));
    let late = cluster.connect(0, client("carol@alpha"));
    late.subscribe("status", QOS_0);
    let expected = Publish {
        retain: true,
        ..Publish::new("status", b"offline")
    };
    assert_eq!(late.messages(), [expected]);
    // An empty one clears.
    let hello = client("bob@alpha").with_will("status", "", QOS_0, true, vec![]);
    cluster.connect(0, hello).cut();
    late.subscribe("status", QOS_0);
    assert_eq!(
        late.messages()
            .iter()
            .filter(|publish| publish.retain)
            .count(),
        0
    );
}

/// Shows: MQTT-3.1.2-8, MQTT-3.1.2-10 (5.0); PEER-17
#[test]
fn a_delayed_will_waits_to_the_microsecond() {
    let (cluster, watcher) = watched();
    let client = cluster.connect(0, delayed(30).kept(100));
    client.cut();
    cluster.pass(Span::from_micros(29_999_999));
    assert_eq!(watcher.heard(), NONE);
    cluster.pass(Span::from_micros(1));
    assert_eq!(watcher.heard(), ["will gone"]);
    cluster.pass_secs(1_000);
    assert_eq!(watcher.heard(), NONE, "once");
}

/// Shows: MQTT-3.1.3-9 (5.0)
#[test]
fn coming_back_in_time_cancels_a_delayed_will() {
    let (cluster, watcher) = watched();
    for shard in [0, 1] {
        cluster.connect(0, delayed(30).kept(100)).cut();
        cluster.pass_secs(29);
        let back = cluster.connect(shard, client("bob@alpha").kept(100));
        cluster.pass_secs(1_000);
        assert_eq!(watcher.heard(), NONE);
        back.cut();
        assert_eq!(watcher.heard(), NONE, "its own CONNECT had no will");
        cluster.pass_secs(100);
        assert_eq!(watcher.heard(), NONE);
    }
}

#[test]
fn the_will_of_the_last_connect_is_the_one_that_counts() {
    let (cluster, watcher) = watched();
    cluster.connect(0, delayed(30).kept(100)).cut();
    cluster.pass_secs(5);
    let other = client("bob@alpha").kept(100).will("will", "another");
    cluster.connect(0, other).cut();
    assert_eq!(watcher.heard(), ["will another"]);
    cluster.pass_secs(1_000);
    assert_eq!(watcher.heard(), NONE);
}

/// Shows: MQTT-3.1.2-7, MQTT-3.1.2-8 (5.0)
#[test]
fn a_delayed_will_does_not_outlast_its_session() {
    let (cluster, watcher) = watched();
    cluster.connect(0, delayed(300).kept(20)).cut();
    cluster.pass_secs(19);
    assert_eq!(watcher.heard(), NONE);
    cluster.pass_secs(1);
    assert_eq!(watcher.heard(), ["will gone"], "the session's time is over");

    cluster.connect(0, delayed(300)).cut();
    assert_eq!(
        watcher.heard(),
        ["will gone"],
        "the session ended with the connection"
    );

    cluster.connect(0, delayed(300).kept(1_000)).cut();
    cluster.pass_secs(1);
    let anew = cluster.connect(1, client("bob@alpha").kept(1_000).clean());
    assert_eq!(
        watcher.heard(),
        ["will gone"],
        "a clean start ended the session"
    );
    anew.disconnect();

    let change = [Property::SessionExpiry(0)];
    let client = cluster.connect(0, delayed(300).kept(1_000).clean());
    client.disconnect_with(ReasonCode::DisconnectWithWill, &change);
    assert_eq!(
        watcher.heard(),
        ["will gone"],
        "DISCONNECT ended the session"
    );
}

/// Shows: MQTT-3.1.3-9 (5.0)
#[test]
fn taking_over_a_session_whose_will_is_delayed_cancels_it() {
    let (cluster, watcher) = watched();
    for shard in [0, 1] {
        let old = cluster.connect(0, delayed(30).kept(100));
        let new = cluster.connect(shard, client("bob@alpha").kept(100));
        assert!(!old.is_open());
        cluster.pass_secs(1_000);
        assert_eq!(watcher.heard(), NONE);
        new.disconnect_with(ReasonCode::Success, &[Property::SessionExpiry(0)]);
    }
}

#[test]
fn a_will_that_the_policy_refuses_goes_on_record_and_nowhere_else() {
    let (cluster, watcher) = watched();
    cluster
        .directory()
        .client("bob@alpha", &["allow both ok/#"]);
    let client = cluster.connect(0, bob());
    cluster.events();
    client.cut();
    assert_eq!(watcher.heard(), NONE);
    let refused = EventKind::PublishRefused {
        topic: "ff/v1/alpha/c/will".into(),
        reason: ReasonCode::NotAuthorized,
        why: "policy",
        will: true,
    };
    assert!(cluster.record().contains(&refused));
    // The control: what is allowed goes out.
    cluster
        .connect(
            0,
            crate::cluster::client("bob@alpha").will("ok/will", "gone"),
        )
        .cut();
    assert_eq!(watcher.heard(), ["ok/will gone"]);
}

#[test]
fn a_will_that_goes_out_is_on_its_clients_record_and_so_is_the_end_of_a_session() {
    let (cluster, watcher) = watched();
    let client = cluster.connect(0, delayed(30).kept(100));
    cluster.events();
    client.cut();
    cluster.pass_secs(29);
    let kinds = || -> Vec<_> { cluster.record().iter().map(EventKind::as_str).collect() };
    assert_eq!(kinds(), ["disconnect"]);
    cluster.pass_secs(1);
    assert_eq!(watcher.heard(), ["will gone"]);
    let events = cluster.events();
    let topic = "ff/v1/alpha/c/will".into();
    let [sent] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        sent.kind,
        EventKind::WillSent {
            topic,
            retain: false
        }
    );
    assert_eq!(sent.who.username.as_deref(), Some("bob@alpha"));
    assert_eq!(
        sent.who.team.as_ref().map(|team| team.as_str()),
        Some("alpha")
    );
    cluster.pass_secs(70);
    let after = Span::from_secs(100);
    assert_eq!(cluster.record(), [EventKind::SessionExpired { after }]);
}

#[test]
fn the_will_of_a_connection_that_was_never_admitted_never_goes_out() {
    let (cluster, watcher) = watched();
    cluster.dial(0, bob().password("wrong"));
    cluster.hold_logins();
    let client = cluster.dial(0, bob());
    client.cut();
    let login = cluster.next_login().expect("a login");
    cluster.answer(&login, Verdict::Undecided(cofferdam::broker::Refusal::Busy));
    cluster.pass_secs(100);
    assert_eq!(watcher.heard(), NONE);
}

#[test]
fn a_broker_that_stops_publishes_no_wills() {
    let (cluster, watcher) = watched();
    cluster.connect(0, bob());
    cluster.connect(1, client("carol@alpha").will("will", "gone"));
    cluster.stop();
    assert_eq!(watcher.bytes(), [0xE0, 1, 0x8B]);
}

#[test]
fn a_will_goes_out_when_its_own_client_listens_elsewhere() {
    let (cluster, _) = watched();
    let hello = |id: &str| instance("alpha", "a1").id(id);
    let own = cluster.connect(0, hello("two"));
    own.subscribe("ff/v1/alpha/c/#", QOS_0);
    let will = hello("one").will("ff/v1/alpha/c/x", "gone");
    cluster.connect(0, will).cut();
    assert_eq!(own.heard(), ["ff/v1/alpha/c/x gone"]);
}

#[test]
fn a_share_group_does_not_hand_a_will_to_the_member_that_it_is_of() {
    let cluster = Cluster::new(1);
    let kept = |name: &str| client(name).kept(100);
    for round in 0..4 {
        let will = format!("{round}");
        let hello = client("bob@alpha").with_will("gone", &will, QOS_1, false, vec![]);
        let leaving = cluster.connect(0, hello);
        leaving.subscribe("$share/g/gone", QOS_1);
        // Behind the one who leaves, so that it would be the other's turn.
        let other = cluster.dial(0, kept("carol@alpha"));
        other.subscribe("$share/g/gone", QOS_1);
        other.cut();
        leaving.cut();
    }
    let other = cluster.dial(0, kept("carol@alpha"));
    let mut wills = Vec::new();
    for packet in other.received() {
        if let ServerPacket::Publish(publish) = packet {
            wills.push(String::from_utf8_lossy(&publish.payload).into_owned());
        }
    }
    assert_eq!(wills, ["0", "1", "2", "3"]);
}
