//! Subscriptions: what they match, how often, and their answers.

use crate::cluster::*;
use cofferdam::broker::{Drop, EventKind};
use cofferdam::limits::Limits;
use cofferdam::policy::Policy;
use cofferdam::wire::client::{Property, Publish, ServerPacket, subscribe};
use cofferdam::wire::{QoS, ReasonCode, SubscriptionOptions, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

fn no_local() -> SubscriptionOptions {
    SubscriptionOptions {
        no_local: true,
        ..options(QOS_1)
    }
}

/// A way for a client to leave its share group.
type Leave<'a> = &'a dyn Fn(&Client);

/// Shows: MQTT-3.3.2-3, MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.2-1 (5.0)
#[test]
fn wildcards_match_as_the_standard_says() {
    let topics = [
        "sport",
        "sport/",
        "sport/tennis",
        "sport/tennis/",
        "sport/tennis/p1",
        "/finance",
        "/",
        "sport//p1",
        "a-b/c",
        "$own/x",
        "sport/$x",
    ];
    let cases: [(&str, &[&str]); 11] = [
        (
            "sport/#",
            &[
                "sport",
                "sport/",
                "sport/tennis",
                "sport/tennis/",
                "sport/tennis/p1",
                "sport//p1",
                "sport/$x",
            ],
        ),
        ("sport/+", &["sport/", "sport/tennis", "sport/$x"]),
        ("sport/tennis/+", &["sport/tennis/", "sport/tennis/p1"]),
        ("+", &["sport"]),
        (
            "+/+",
            &[
                "sport/",
                "sport/tennis",
                "/finance",
                "/",
                "a-b/c",
                "sport/$x",
            ],
        ),
        ("/+", &["/finance", "/"]),
        (
            "#",
            &[
                "sport",
                "sport/",
                "sport/tennis",
                "sport/tennis/",
                "sport/tennis/p1",
                "/finance",
                "/",
                "sport//p1",
                "a-b/c",
                "sport/$x",
            ],
        ),
        (
            "+/tennis/#",
            &["sport/tennis", "sport/tennis/", "sport/tennis/p1"],
        ),
        ("sport/+/p1", &["sport/tennis/p1", "sport//p1"]),
        ("$own/#", &["$own/x"]),
        ("$own/+", &["$own/x"]),
    ];
    for (filter, expected) in cases {
        for shard in [0, 1] {
            let cluster = Cluster::new(2);
            let publisher = cluster.connect(0, client("alice@alpha"));
            let listener = cluster.connect(shard, client("bob@alpha"));
            listener.subscribe(filter, QOS_0);
            for topic in topics {
                publisher.publish(topic, "live");
            }
            let live: Vec<String> = expected
                .iter()
                .map(|topic| format!("{topic} live"))
                .collect();
            assert_eq!(listener.heard(), live, "{filter}");
            listener.unsubscribe(&[filter]);
            // What was retained is found by the same rule.
            for topic in topics {
                publisher.retain(topic, "kept");
            }
            listener.subscribe(filter, QOS_0);
            let mut kept = listener.heard();
            kept.sort_unstable();
            let mut expected: Vec<String> = expected
                .iter()
                .map(|topic| format!("{topic} kept"))
                .collect();
            expected.sort_unstable();
            assert_eq!(kept, expected, "{filter}");
            listener.disconnect();
        }
    }
}

/// Shows: MQTT-3.3.4-2, MQTT-3.3.4-3, MQTT-3.3.4-5 (5.0)
#[test]
fn each_overlapping_subscription_delivers_the_message_under_its_own_identifier() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for shard in [0, 1] {
        let listener = cluster.connect(shard, client("bob@alpha"));
        listener.subscribe_as("a/#", QOS_0, 1);
        listener.subscribe_as("a/+", QOS_2, 268_435_455);
        listener.subscribe("a/b", QOS_1);
        publisher.publish_at(QOS_2, "a/b", "x");
        let mut got: Vec<(QoS, Vec<Property>)> = listener
            .messages()
            .into_iter()
            .map(|publish| (publish.qos, publish.properties))
            .collect();
        got.sort_by_key(|(qos, _)| *qos);
        let expected = [
            (QOS_0, vec![Property::SubscriptionId(1)]),
            (QOS_1, vec![]),
            (QOS_2, vec![Property::SubscriptionId(268_435_455)]),
        ];
        assert_eq!(got, expected);
        listener.disconnect();
    }
}

/// Shows: MQTT-3.8.4-3 (5.0)
#[test]
fn a_second_subscription_to_a_filter_takes_the_place_of_the_first() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for shard in [0, 1] {
        let listener = cluster.connect(shard, client("bob@alpha"));
        listener.subscribe_as("a", QOS_2, 1);
        listener.subscribe_as("a", QOS_1, 2);
        publisher.publish_at(QOS_2, "a", "x");
        let messages = listener.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].qos, QOS_1);
        assert_eq!(messages[0].properties, [Property::SubscriptionId(2)]);
        listener.subscribe("a", QOS_0);
        publisher.publish_at(QOS_2, "a", "x");
        assert_eq!(listener.messages(), [Publish::new("a", b"x")]);
        assert_eq!(cluster.team("alpha").subscriptions(), 1);
        listener.disconnect();
    }
}

/// Shows: MQTT-3.8.3-3 (5.0); PEER-7
#[test]
fn no_local_leaves_out_what_the_same_session_published() {
    let cluster = Cluster::new(2);
    let alice = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(1, client("bob@alpha"));
    for client in [&alice, &bob] {
        client.try_subscribe(&[("a", no_local())], &[]);
    }
    alice.publish("a", "from alice");
    bob.publish_at(QOS_1, "a", "from bob");
    assert_eq!(alice.heard(), ["a from bob"]);
    assert_eq!(bob.heard(), ["a from alice"]);
    alice.subscribe("a", QOS_1);
    alice.publish("a", "mine");
    assert_eq!(
        alice.heard(),
        ["a mine"],
        "without the option one hears oneself"
    );
}

/// Shows: MQTT-3.8.3-4 (5.0)
#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    let cluster = Cluster::new(1);
    let client = cluster.connect(0, client("alice@alpha"));
    client.send(subscribe(
        Version::V5,
        1,
        &[("$share/g/a", no_local())],
        &[],
    ));
    assert_eq!(client.bytes(), [0xE0, 1, 0x82]);
}

/// Shows: MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-3.9.3-1, MQTT-3.9.3-2, MQTT-4.8.2-1, MQTT-4.8.2-2 (5.0);
/// MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-3.9.3-2 (3.1.1)
#[test]
fn every_filter_of_a_subscribe_has_its_own_answer() {
    let limits = Limits {
        max_topic_levels: 10,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    cluster.directory().client(
        "bob@alpha",
        &["allow both a/#", "deny subscribe a/secret/#"],
    );
    let too_deep = "a/".repeat(8);
    let filters = [
        ("a/0", QOS_0, 0x00),
        ("a/1", QOS_1, 0x01),
        ("b", QOS_0, 0x87),
        ("a/2", QOS_2, 0x02),
        ("a/#/b", QOS_0, 0x8F),
        ("a+", QOS_0, 0x8F),
        ("$share/g", QOS_0, 0x8F),
        ("$share//a", QOS_0, 0x8F),
        ("$share/g/a", QOS_1, 0x01),
        (&too_deep, QOS_0, 0x8F),
        ("a/secret/x", QOS_0, 0x87),
        ("#", QOS_0, 0x87),
        ("a/+", QOS_1, 0x01),
    ];
    for version in VERSIONS {
        let client = cluster.connect(0, client("bob@alpha").version(version));
        cluster.events();
        let asked: Vec<_> = filters
            .iter()
            .map(|(filter, qos, _)| (*filter, options(*qos)))
            .collect();
        let codes = client.try_subscribe(&asked, &[]);
        let codes: Vec<u8> = codes.into_iter().map(ReasonCode::as_byte).collect();
        let expected: Vec<u8> = filters
            .iter()
            .map(|(_, _, code)| match version {
                Version::V5 => *code,
                Version::V311 => {
                    if *code >= 0x80 {
                        0x80
                    } else {
                        *code
                    }
                }
                Version::V31 => {
                    if *code >= 0x80 {
                        0
                    } else {
                        *code
                    }
                }
            })
            .collect();
        assert_eq!(codes, expected, "{version:?}");
        assert!(client.is_open());
        let refused = cluster.record();
        assert_eq!(refused.len(), 8, "each refusal is on record: {refused:?}");
        let first = EventKind::SubscribeRefused {
            filter: "ff/v1/alpha/c/b".into(),
            reason: ReasonCode::NotAuthorized,
            why: "policy",
        };
        assert_eq!(refused[0], first);
        assert_eq!(cluster.team("alpha").subscriptions(), 5);
        client.disconnect();
    }
}

/// Shows: MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-6, MQTT-3.11.3-1, MQTT-3.11.3-2 (5.0);
/// MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-6 (3.1.1); PEER-10
#[test]
fn unsubscribe_answers_each_filter_and_ends_what_it_names() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    for shard in [0, 1] {
        for version in VERSIONS {
            let client = cluster.connect(shard, client("bob@alpha").version(version));
            for filter in ["a", "a/+", "$share/g/a", "b/#"] {
                client.subscribe(filter, QOS_0);
            }
            let codes = client.unsubscribe(&["a", "none", "a/+", "$share/g/a", "$share/h/a", "a"]);
            let (gone, none) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
            match version {
                Version::V5 => assert_eq!(codes, [gone, none, gone, gone, none, none]),
                _ => assert_eq!(codes, []),
            }
            for topic in ["a", "a/x", "b", "b/x"] {
                publisher.publish(topic, "1");
            }
            assert_eq!(client.heard(), ["b 1", "b/x 1"]);
            assert_eq!(cluster.team("alpha").subscriptions(), 1);
            client.disconnect();
        }
    }
}

#[test]
fn unsubscribing_ends_nobody_elses_subscription() {
    let cluster = Cluster::new(1);
    let one = cluster.connect(0, client("alice@alpha"));
    let two = cluster.connect(0, client("bob@alpha"));
    one.subscribe("a", QOS_0);
    two.subscribe("a", QOS_0);
    one.unsubscribe(&["a"]);
    two.publish("a", "1");
    assert_eq!((one.heard(), two.heard()), (vec![], vec!["a 1".to_owned()]));
}

#[test]
fn a_session_has_no_more_subscriptions_than_it_may() {
    let limits = Limits {
        max_subscriptions: 2,
        ..Limits::default()
    };
    let cluster = Cluster::limited(1, limits);
    let client = cluster.connect(0, client("alice@alpha"));
    let ask = |filter: &str| client.try_subscribe(&[(filter, options(QOS_1))], &[])[0];
    assert_eq!(ask("a"), ReasonCode::GrantedQoS1);
    assert_eq!(ask("$share/g/a"), ReasonCode::GrantedQoS1);
    cluster.events();
    assert_eq!(ask("b"), ReasonCode::QuotaExceeded);
    assert_eq!(cluster.record().len(), 1);
    assert_eq!(ask("a"), ReasonCode::GrantedQoS1, "replacing is no growth");
    client.unsubscribe(&["a"]);
    assert_eq!(ask("b"), ReasonCode::GrantedQoS1);
}

#[test]
fn a_share_group_hands_each_message_to_one_member_in_turn() {
    let cluster = Cluster::new(3);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let members = ["bob", "carol", "dave"].map(|name| {
        let shard = name.len() as u16 % 3;
        let member = cluster.connect(shard, client(&format!("{name}@alpha")));
        member.subscribe("$share/g/a/+", QOS_1);
        member
    });
    let alone = cluster.connect(1, client("erin@alpha"));
    alone.subscribe("a/+", QOS_1);
    for qos in [QOS_0, QOS_1] {
        let mut all = Vec::new();
        for n in 0..30 {
            publisher.publish_at(qos, "a/b", &n.to_string());
            if n % 10 == 9 {
                for member in &members {
                    let heard = member.heard();
                    assert!((3..=4).contains(&heard.len()), "{heard:?}");
                    all.extend(heard);
                }
            }
        }
        let mut expected: Vec<String> = (0..30).map(|n| format!("a/b {n}")).collect();
        assert_eq!(
            alone.heard(),
            expected,
            "a subscription of its own gets them all"
        );
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected, "each once");
    }
}

#[test]
fn two_share_groups_on_one_filter_each_get_the_message() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let member = cluster.connect(0, client("bob@alpha"));
    member.subscribe_as("$share/g/a", QOS_0, 1);
    member.subscribe_as("$share/h/a", QOS_0, 2);
    member.subscribe_as("a", QOS_0, 3);
    publisher.publish("a", "x");
    let mut ids: Vec<Property> = member
        .messages()
        .into_iter()
        .flat_map(|m| m.properties)
        .collect();
    ids.sort_by_key(|id| format!("{id:?}"));
    assert_eq!(ids, [1, 2, 3].map(Property::SubscriptionId));
}

#[test]
fn a_share_group_prefers_members_that_are_connected() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let away = cluster.connect(0, client("bob@alpha").kept(1_000));
    let here = cluster.connect(1, client("carol@alpha").kept(1_000));
    for member in [&away, &here] {
        member.subscribe("$share/g/a", QOS_1);
    }
    away.cut();
    for n in 0..6 {
        publisher.publish_at(QOS_1, "a", &n.to_string());
    }
    assert_eq!(here.heard().len(), 6);
    here.cut();
    // Nobody is connected: sessions keep the messages, in turn.
    for n in 0..6 {
        publisher.publish_at(QOS_1, "a", &n.to_string());
    }
    let count = |name: &str, shard| {
        let back = cluster.dial(shard, client(name).kept(1_000));
        back.received().len() - 1
    };
    assert_eq!((count("bob@alpha", 0), count("carol@alpha", 1)), (3, 3));
}

#[test]
fn a_share_group_prefers_the_member_with_the_least_to_do() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let busy = cluster.connect(0, client("bob@alpha"));
    let free = cluster.connect(1, client("carol@alpha"));
    for member in [&busy, &free] {
        member.subscribe("$share/g/a", QOS_1);
    }
    busy.subscribe("own", QOS_1);
    for _ in 0..3 {
        publisher.publish_at(QOS_1, "own", "unacknowledged");
    }
    for n in 0..3 {
        publisher.publish_at(QOS_1, "a", &n.to_string());
        assert_eq!(free.heard(), [format!("a {n}")]);
    }
}

#[test]
fn a_member_that_leaves_its_group_gets_nothing_more() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let stays = cluster.connect(0, client("bob@alpha"));
    stays.subscribe("$share/g/a", QOS_0);
    let leave: [(&str, Leave); 3] = [
        ("unsubscribes", &|member| {
            member.unsubscribe(&["$share/g/a"]);
        }),
        ("disconnects", &Client::disconnect),
        ("is lost", &Client::cut),
    ];
    for (how, leave) in leave {
        let leaves = cluster.connect(1, client("carol@alpha"));
        leaves.subscribe("$share/g/a", QOS_0);
        publisher.publish("a", "1");
        publisher.publish("a", "2");
        assert_eq!((stays.heard().len(), leaves.heard().len()), (1, 1), "{how}");
        leave(&leaves);
        for _ in 0..4 {
            publisher.publish("a", "3");
        }
        assert_eq!(stays.heard().len(), 4, "{how}");
        assert_eq!(cluster.team("alpha").subscriptions(), 1);
        if leaves.is_open() {
            leaves.disconnect();
        }
    }
}

#[test]
fn a_share_group_passes_over_members_who_may_not_have_the_message() {
    let cluster = Cluster::new(2);
    cluster
        .directory()
        .client("bob@alpha", &["allow both #", "deny subscribe a/secret"]);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let barred = cluster.connect(0, client("bob@alpha"));
    let free = cluster.connect(1, client("carol@alpha"));
    for member in [&barred, &free] {
        member.subscribe("$share/g/a/+", QOS_1);
    }
    for _ in 0..4 {
        publisher.publish_at(QOS_1, "a/secret", "x");
    }
    assert_eq!((barred.heard().len(), free.heard().len()), (0, 4));
    for _ in 0..4 {
        publisher.publish_at(QOS_1, "a/open", "x");
    }
    assert_eq!(
        (barred.heard().len(), free.heard().len()),
        (2, 2),
        "the control"
    );
    free.disconnect();
    publisher.publish_at(QOS_1, "a/secret", "x");
    assert_eq!(barred.heard(), NONE);
    assert_eq!(cluster.dropped(Drop::Denied), 1);
}

#[test]
fn names_that_begin_with_a_dollar_are_seen_by_those_who_ask_for_them_also_under_a_deny_rule() {
    let cluster = Cluster::new(1);
    cluster
        .directory()
        .client("bob@alpha", &["allow both #", "deny subscribe +/secret"]);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let listener = cluster.connect(0, client("bob@alpha"));
    listener.subscribe("$own/#", QOS_0);
    listener.subscribe("+/x", QOS_0);
    publisher.publish("$own/x", "1");
    publisher.publish("$own/secret", "2");
    assert_eq!(listener.heard(), ["$own/x 1"]);
    assert_eq!(
        cluster.dropped(Drop::Denied),
        1,
        "what is hidden is not dropped"
    );
}

/// Shows: MQTT-4.7.2-1 (5.0)
#[test]
fn names_that_begin_with_a_dollar_are_hidden_from_leading_wildcards_without_a_mount_too() {
    let policy = Policy::parse(
        "test.toml",
        r##"
        [namespace]
        team = "t/{team}/"
        commons = ["none"]
        [role.all]
        about = "Everything"
        username = ["forge_platform"]
        reach = "all"
        [[role.all.rules]]
        allow = "both"
        topics = ["#", "$sys/#"]
        "##,
    );
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    let cluster = Cluster::with_policy(1, Limits::default(), policy);
    let all = cluster.connect(0, platform().id("1"));
    all.subscribe("#", QOS_0);
    let asks = cluster.connect(0, platform().id("2"));
    asks.subscribe("$sys/#", QOS_0);
    let publisher = cluster.connect(0, platform().id("3"));
    publisher.publish("$sys/x", "1");
    publisher.publish("x", "2");
    assert_eq!(all.heard(), ["x 2"]);
    assert_eq!(asks.heard(), ["$sys/x 1"]);
}

/// Shows: MQTT-3.8.3-2 (5.0); MQTT-3.8.3-3 (3.1.1)
#[test]
fn a_subscribe_without_a_filter_is_a_protocol_error() {
    let cluster = Cluster::new(1);
    for version in VERSIONS {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.send(subscribe(version, 1, &[], &[]));
        let goodbye: &[u8] = match version {
            Version::V5 => &[0xE0, 1, 0x82],
            _ => &[],
        };
        assert_eq!(client.bytes(), goodbye);
        assert!(!client.is_open());
    }
}

#[test]
fn a_subscription_counts_for_messages_from_the_moment_of_its_answer() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    publisher.publish("a", "too early"); // and remembered as matching nobody
    let near = cluster.connect(0, client("bob@alpha"));
    let far = cluster.connect(1, client("carol@alpha"));
    near.subscribe("a", QOS_0);
    publisher.publish("a", "1");
    far.subscribe("+", QOS_0);
    publisher.publish("a", "2");
    near.unsubscribe(&["a"]);
    publisher.publish("a", "3");
    assert_eq!(near.heard(), ["a 1", "a 2"]);
    assert_eq!(far.heard(), ["a 2", "a 3"]);
}

#[test]
fn packets_of_a_session_do_not_cross_with_those_of_the_next_in_its_place() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let first = cluster.connect(0, client("bob@alpha"));
    first.subscribe("a", QOS_0);
    publisher.publish("a", "1");
    first.cut();
    let second = cluster.connect(0, client("carol@alpha"));
    publisher.publish("a", "2");
    assert_eq!(second.received(), [] as [ServerPacket; 0]);
}
