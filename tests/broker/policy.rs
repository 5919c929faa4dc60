//! The mount and the rules at work: names as each side sees them, refusals that never cut a
//! connection, deny rules on delivery.

use crate::cluster::*;
use cofferdam::broker::{Drop, EventKind};
use cofferdam::policy::{Directory as _, TeamId};
use cofferdam::wire::client::{Property, Publish, pubrel};
use cofferdam::wire::{ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

fn asking(topic: &str, response: &str) -> Publish {
    Publish {
        properties: vec![Property::ResponseTopic(response.to_owned())],
        ..Publish::new(topic, b"?")
    }
}

#[test]
fn a_mounted_client_sees_short_names_and_an_instance_of_its_team_the_full_ones() {
    let cluster = Cluster::new(2);
    let mounted = cluster.connect(0, client("alice@alpha"));
    let other = cluster.connect(1, client("bob@alpha"));
    let full = cluster.connect(1, instance("alpha", "a1"));
    for client in [&mounted, &other] {
        client.subscribe("x/+", QOS_0);
    }
    full.subscribe("ff/v1/alpha/c/x/#", QOS_0);
    mounted.publish("x/1", "from a client");
    full.publish("ff/v1/alpha/c/x/2", "from an instance");
    for client in [&mounted, &other] {
        assert_eq!(
            client.heard(),
            ["x/1 from a client", "x/2 from an instance"]
        );
    }
    assert_eq!(
        full.heard(),
        [
            "ff/v1/alpha/c/x/1 from a client",
            "ff/v1/alpha/c/x/2 from an instance"
        ]
    );
}

#[test]
fn a_response_topic_is_mounted_and_unmounted_like_the_topic() {
    let cluster = Cluster::new(2);
    let mounted = cluster.connect(0, client("alice@alpha"));
    let full = cluster.connect(1, instance("alpha", "a1"));
    mounted.subscribe("ask", QOS_1);
    full.subscribe("ff/v1/alpha/c/ask", QOS_1);
    mounted.put(asking("ask", "answers/1"));
    full.put(asking("ff/v1/alpha/c/ask", "ff/v1/alpha/c/answers/2"));
    full.put(asking("ff/v1/alpha/c/ask", "ff/v1/alpha/p/a1/res/3"));
    let response = |publish: Publish| match publish.properties.as_slice() {
        [Property::ResponseTopic(topic)] => topic.clone(),
        [] => "none".to_owned(),
        other => panic!("{other:?}"),
    };
    let seen: Vec<String> = mounted.messages().into_iter().map(response).collect();
    assert_eq!(
        seen,
        ["answers/1", "answers/2", "none"],
        "outside the mount there is no name"
    );
    let seen: Vec<String> = full.messages().into_iter().map(response).collect();
    assert_eq!(
        seen,
        [
            "ff/v1/alpha/c/answers/1",
            "ff/v1/alpha/c/answers/2",
            "ff/v1/alpha/p/a1/res/3"
        ]
    );
}

#[test]
fn a_call_and_its_answer_pass_between_a_mounted_client_and_an_instance() {
    let cluster = Cluster::new(2);
    let caller = cluster.connect(0, client("alice@alpha"));
    let callee = cluster.connect(1, instance("alpha", "a1"));
    caller.subscribe("answers/#", QOS_2);
    callee.subscribe("ff/v1/alpha/c/calls", QOS_2);
    let mut call = asking("calls", "answers/7");
    call.properties
        .push(Property::CorrelationData(vec![1, 2, 3]));
    caller.complete(Publish { qos: QOS_2, ..call });
    let call = callee.messages().remove(0);
    let [Property::ResponseTopic(to), Property::CorrelationData(data)] = &call.properties[..]
    else {
        panic!("{call:?}");
    };
    let answer = Publish {
        qos: QOS_2,
        properties: vec![Property::CorrelationData(data.clone())],
        ..Publish::new(to, b"!")
    };
    assert_eq!(callee.complete(answer), ReasonCode::Success);
    let answer = caller.messages().remove(0);
    assert_eq!(answer.topic, "answers/7");
    assert_eq!(
        answer.properties,
        [Property::CorrelationData(vec![1, 2, 3])]
    );
}

/// Shows: MQTT-4.7.2-1 (5.0)
#[test]
fn names_that_begin_with_a_dollar_below_a_mount_are_hidden_from_leading_wildcards() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let mounted = cluster.connect(1, client("bob@alpha"));
    let shared = cluster.connect(1, client("carol@alpha"));
    let full = cluster.connect(1, instance("alpha", "a1"));
    mounted.subscribe("#", QOS_0);
    mounted.subscribe("+/x", QOS_0);
    shared.subscribe("$share/g/#", QOS_0);
    full.subscribe("ff/v1/alpha/c/#", QOS_0);
    publisher.publish("$hidden/x", "1");
    publisher.retain("$hidden/x", "2");
    assert_eq!((mounted.heard().len(), shared.heard().len()), (0, 0));
    assert_eq!(
        full.heard().len(),
        2,
        "for an instance the wildcard does not lead"
    );
    mounted.subscribe("#", QOS_0);
    assert_eq!(mounted.heard(), NONE);
    publisher.publish("plain/x", "3");
    assert_eq!(
        (mounted.heard().len(), shared.heard().len()),
        (2, 1),
        "the control"
    );
    assert_eq!(
        cluster.dropped(Drop::Denied),
        0,
        "what is hidden is not dropped"
    );
}

/// Shows: MQTT-3.3.5-2 (3.1.1)
#[test]
fn a_refused_publish_is_answered_recorded_and_never_cuts_the_connection() {
    let cluster = Cluster::new(1);
    cluster
        .directory()
        .client("bob@alpha", &["allow both ok/#"]);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_0);
    for version in VERSIONS {
        for qos in [QOS_0, QOS_1, QOS_2] {
            for retain in [false, true] {
                let client = cluster.connect(0, client("bob@alpha").version(version));
                cluster.events();
                let publish = |topic: &str| {
                    let publish = Publish {
                        retain,
                        ..Publish::new(topic, b"x")
                    };
                    client.put(if qos == QOS_0 {
                        publish
                    } else {
                        publish.at(qos, 5)
                    });
                };
                publish("no");
                let v5 = version == Version::V5;
                let answer: &[u8] = match (qos, v5) {
                    (QOS_0, _) => &[],
                    (QOS_1, true) => &[0x40, 3, 0, 5, 0x87],
                    (QOS_1, false) => &[0x40, 2, 0, 5],
                    (_, true) => &[0x50, 3, 0, 5, 0x87],
                    (_, false) => &[0x50, 2, 0, 5],
                };
                assert_eq!(client.bytes(), answer);
                if qos == QOS_2 && !v5 {
                    client.send(pubrel(version, 5, ReasonCode::Success, &[]));
                    assert_eq!(client.bytes(), [0x70, 2, 0, 5]);
                }
                let refused = EventKind::PublishRefused {
                    topic: "ff/v1/alpha/c/no".into(),
                    reason: ReasonCode::NotAuthorized,
                    why: "policy",
                    will: false,
                };
                assert_eq!(cluster.record(), [refused]);
                assert_eq!(watcher.heard(), NONE);
                // The connection and the identifier live on.
                publish("ok/then");
                assert_eq!(watcher.heard(), ["ok/then x"]);
                assert!(client.is_open());
                client.disconnect();
            }
        }
    }
    let team = cluster.team("alpha");
    team.with_retained(|retained| assert_eq!(retained.len(), 1, "only what was allowed"));
}

/// Shows: MQTT-4.3.3-9 (5.0)
#[test]
fn a_qos_2_publish_that_is_refused_in_5_0_leaves_its_identifier_free() {
    let cluster = Cluster::new(1);
    cluster.directory().client("bob@alpha", &["allow both ok"]);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_0);
    let client = cluster.connect(0, client("bob@alpha"));
    client.put(Publish::new("no", b"1").at(QOS_2, 1));
    client.put(Publish::new("ok", b"2").at(QOS_2, 1));
    client.put(Publish::new("ok", b"3").at(QOS_2, 1));
    assert_eq!(
        watcher.heard(),
        ["ok 2"],
        "the third is the second sent again"
    );
}

#[test]
fn a_deny_pattern_is_heeded_on_delivery_where_it_only_overlaps_the_subscription() {
    let cluster = Cluster::new(2);
    cluster.directory().client(
        "bob@alpha",
        &[
            "allow both #",
            "deny subscribe a/secret/#",
            "deny both b/+/private",
            "deny publish c",
        ],
    );
    let publisher = cluster.connect(0, client("alice@alpha"));
    for topic in ["a/secret/old", "a/old"] {
        publisher.retain(topic, "kept");
    }
    for shard in [0, 1] {
        let barred = cluster.connect(shard, client("bob@alpha").kept(100));
        let free = cluster.connect(shard, client("carol@alpha").kept(100));
        for client in [&barred, &free] {
            client.subscribe("#", QOS_1);
        }
        assert_eq!(barred.heard(), ["a/old kept"]);
        assert_eq!(free.heard(), ["a/old kept", "a/secret/old kept"]);
        let topics = [
            "a/secret",
            "a/secret/x",
            "a/x",
            "b/1/private",
            "b/private",
            "c",
        ];
        for topic in topics {
            publisher.publish_at(QOS_1, topic, "live");
        }
        assert_eq!(barred.heard(), ["a/x live", "b/private live", "c live"]);
        assert_eq!(free.heard().len(), 6);
        for client in [&barred, &free] {
            client.cut();
        }
        for topic in topics {
            publisher.publish_at(QOS_1, topic, "queued");
        }
        let waiting = |name: &str| {
            let back = cluster.dial(shard, client(name).kept(100));
            let waiting = back.received().len() - 1;
            back.disconnect_with(ReasonCode::Success, &[Property::SessionExpiry(0)]);
            waiting
        };
        assert_eq!((waiting("bob@alpha"), waiting("carol@alpha")), (3, 6));
    }
    assert_eq!(cluster.dropped(Drop::Denied), 2 * (1 + 3 + 3));
}

#[test]
fn a_new_instance_counts_for_connections_that_are_already_there() {
    let cluster = Cluster::new(1);
    let device = cluster.connect(0, device("alpha", "ad"));
    let topic = "ff/v1/alpha/p/a9/in/x";
    let publish = || device.publish_at(QOS_1, topic, "x");
    assert_eq!(publish(), ReasonCode::NotAuthorized);
    cluster.directory().instance("alpha", "a9");
    assert_eq!(publish(), ReasonCode::NoMatchingSubscribers);
    let instance = cluster.connect(0, instance("alpha", "a9"));
    instance.subscribe("ff/v1/alpha/p/a9/in/#", QOS_0);
    assert_eq!(publish(), ReasonCode::Success);
    let team = TeamId::new("alpha").expect("a team id");
    let members = cluster.directory().members(&team);
    members.remove_instance("a9");
    assert_eq!(
        publish(),
        ReasonCode::NotAuthorized,
        "though it was remembered"
    );
    assert_eq!(instance.heard().len(), 1);
}

#[test]
fn instances_talk_to_one_another_as_link_nodes_do() {
    let cluster = Cluster::new(2);
    let link = |id: &str, name: &str| {
        let hello = instance("alpha", id).id(&format!("project:alpha:{id}:{name}"));
        hello.kept(120).keep_alive(45)
    };
    let one = cluster.connect(0, link("a1", "n"));
    let two = cluster.connect(1, link("a2", "n"));
    two.subscribe_as("ff/v1/alpha/p/a2/in/#", QOS_2, 1);
    two.subscribe_as("ff/v1/alpha/p/+/out/#", QOS_2, 2);
    assert_eq!(
        one.publish_at(QOS_2, "ff/v1/alpha/p/a2/in/hello", "direct"),
        ReasonCode::Success
    );
    assert_eq!(
        one.publish_at(QOS_2, "ff/v1/alpha/p/a1/out/news", "broadcast"),
        ReasonCode::Success
    );
    assert_eq!(
        one.publish_at(QOS_2, "ff/v1/alpha/p/a2/out/news", "forged"),
        ReasonCode::NotAuthorized
    );
    let seen: Vec<_> = two
        .messages()
        .into_iter()
        .map(|m| (m.payload, m.properties))
        .collect();
    let expected = [
        (b"direct".to_vec(), vec![Property::SubscriptionId(1)]),
        (b"broadcast".to_vec(), vec![Property::SubscriptionId(2)]),
    ];
    assert_eq!(seen, expected);
    // Replicas share what comes in.
    let replicas = ["r1", "r2"].map(|name| {
        let replica = cluster.connect(1, link("a2", name));
        replica.subscribe("$share/a2/ff/v1/alpha/p/a2/in/#", QOS_2);
        replica
    });
    for _ in 0..6 {
        one.publish_at(QOS_2, "ff/v1/alpha/p/a2/in/work", "x");
    }
    assert_eq!(replicas.map(|replica| replica.heard().len()), [3, 3]);
    let other = two.try_subscribe(&[("$share/a1/ff/v1/alpha/p/a2/in/#", options(QOS_2))], &[]);
    assert_eq!(other, [ReasonCode::NotAuthorized], "another's group");
}

#[test]
fn the_platforms_nine_filters_are_answered_each_for_itself() {
    let cluster = Cluster::new(1);
    let platform = cluster.connect(0, platform());
    let filters = [
        ("$share/platform/ff/v1/+/l/+/status", 1),
        ("$share/platform/ff/v1/+/d/+/status", 1),
        ("ff/v1/+/d/+/logs", 1),
        ("ff/v1/#", 0x87),
        ("ff/v1/platform/sync", 1),
    ];
    let asked = filters.map(|(filter, _)| (filter, options(QOS_1)));
    let codes = platform.try_subscribe(&asked, &[]);
    let codes: Vec<u8> = codes.into_iter().map(ReasonCode::as_byte).collect();
    assert_eq!(codes, filters.map(|(_, code)| code));
    assert!(platform.is_open());
}
