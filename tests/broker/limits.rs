//! Limits: what is beyond one is refused in the protocol's words, counted, and harms nobody.

use crate::cluster::*;
use cofferdam::broker::{Drop, EventKind, Refusal};
use cofferdam::limits::Limits;
use cofferdam::wire::client::Publish;
use cofferdam::wire::{ReasonCode, Version};

fn limited(change: impl FnOnce(&mut Limits)) -> Cluster {
    let mut limits = Limits::default();
    change(&mut limits);
    Cluster::limited(1, limits)
}

/// Somebody who waits for `a` and is away; gives how he comes back.
fn absent_bob(cluster: &Cluster) -> Hello {
    let hello = client("bob@alpha").kept(100);
    let absent = cluster.connect(0, hello.clone());
    absent.subscribe("a", QOS_1);
    absent.cut();
    hello
}

#[test]
fn a_queue_has_a_limit_in_messages() {
    let cluster = limited(|limits| limits.max_queued_messages = 3);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = absent_bob(&cluster);
    for n in 0..5 {
        let answer = publisher.publish_at(QOS_1, "a", &n.to_string());
        let expected = match n {
            0..3 => ReasonCode::Success,
            _ => ReasonCode::QuotaExceeded, // nobody has it
        };
        assert_eq!(answer, expected);
    }
    assert_eq!(cluster.dropped(Drop::QueueFull), 2);
    let back = cluster.dial(0, hello);
    assert_eq!(back.received().len(), 1 + 3);
    publisher.publish_at(QOS_1, "a", "room again");
    assert_eq!(back.received().len(), 1);
}

#[test]
fn a_queue_has_a_limit_in_bytes() {
    let size = "ff/v1/alpha/c/a".len() as u64 + 10;
    let cluster = limited(|limits| limits.max_queued_bytes = 3 * size);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = absent_bob(&cluster);
    for n in 0..5 {
        publisher.publish_at(QOS_1, "a", &format!("{n:010}"));
    }
    assert_eq!(cluster.dropped(Drop::QueueFull), 2);
    assert_eq!(cluster.dial(0, hello).received().len(), 1 + 3);
}

#[test]
fn what_expired_in_a_full_queue_makes_room() {
    let cluster = limited(|limits| limits.max_queued_messages = 2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let hello = absent_bob(&cluster);
    for _ in 0..2 {
        publisher.complete(Publish {
            qos: QOS_1,
            properties: vec![cofferdam::wire::client::Property::MessageExpiry(10)],
            ..Publish::new("a", b"short-lived")
        });
    }
    cluster.pass_secs(10);
    publisher.publish_at(QOS_1, "a", "1");
    publisher.publish_at(QOS_1, "a", "2");
    publisher.publish_at(QOS_1, "a", "3");
    assert_eq!(
        (
            cluster.dropped(Drop::Expired),
            cluster.dropped(Drop::QueueFull)
        ),
        (2, 1)
    );
    assert_eq!(cluster.dial(0, hello).received().len(), 1 + 2);
}

#[test]
fn a_topic_beyond_the_limits_is_refused_with_its_own_reason_and_the_connection_lives() {
    let mount = "ff/v1/alpha/c/".len() as u16;
    for change in [
        &|limits: &mut Limits| limits.max_topic_levels = 6,
        &|limits: &mut Limits| limits.max_topic_length = mount + 3,
    ] as [&dyn Fn(&mut Limits); 2]
    {
        let cluster = limited(|limits| change(limits));
        let client = cluster.connect(0, client("alice@alpha"));
        client.subscribe("a/b", QOS_1);
        assert_eq!(client.publish_at(QOS_1, "a/b", "x"), ReasonCode::Success);
        assert_eq!(client.heard(), ["a/b x"]);
        cluster.events();
        for qos in [QOS_1, QOS_2] {
            assert_eq!(
                client.publish_at(qos, "a/b/c", "x"),
                ReasonCode::TopicNameInvalid
            );
        }
        client.publish("a/b/c", "x");
        let refused = || EventKind::PublishRefused {
            topic: "ff/v1/alpha/c/a/b/c".into(),
            reason: ReasonCode::TopicNameInvalid,
            why: "not a topic name within the limits",
            will: false,
        };
        assert_eq!(cluster.record(), [refused(), refused(), refused()]);
        let codes = client.try_subscribe(&[("a/b/+", options(QOS_0))], &[]);
        assert_eq!(codes, [ReasonCode::TopicFilterInvalid]);
        assert!(client.is_open());
    }
}

/// Shows: MQTT-4.7.3-3 (5.0)
#[test]
fn a_topic_that_the_mount_makes_too_long_for_the_protocol_is_refused() {
    let cluster = limited(|limits| limits.max_topic_length = u16::MAX);
    let client = cluster.connect(0, client("alice@alpha"));
    let mount = "ff/v1/alpha/c/".len();
    let longest = "x".repeat(usize::from(u16::MAX) - mount);
    client.subscribe("#", QOS_1);
    assert_eq!(client.publish_at(QOS_1, &longest, "x"), ReasonCode::Success);
    assert_eq!(client.messages()[0].topic.len(), longest.len());
    let longer = format!("{longest}y");
    assert_eq!(
        client.publish_at(QOS_1, &longer, "x"),
        ReasonCode::TopicNameInvalid
    );
    // A response topic that would not fit is left out.
    client.put(Publish {
        properties: vec![cofferdam::wire::client::Property::ResponseTopic(longer)],
        ..Publish::new("a", b"x")
    });
    assert_eq!(client.messages()[0].properties, []);
}

#[test]
fn a_team_has_no_more_sessions_than_it_may_and_another_team_has_its_own() {
    let cluster = limited(|limits| limits.max_sessions_per_team = 2);
    let first = cluster.connect(0, client("alice@alpha").kept(100));
    cluster.connect(0, client("bob@alpha"));
    cluster.events();
    let told = ReasonCode::QuotaExceeded;
    for (version, bytes) in [
        (Version::V5, &[0x20, 3, 0, 0x97, 0][..]),
        (Version::V311, &[0x20, 2, 0, 3]),
        (Version::V31, &[0x20, 2, 0, 3]),
    ] {
        let third = cluster.dial(0, client("carol@alpha").version(version));
        assert_eq!(third.bytes(), bytes);
        assert!(!third.is_open());
        let refused = EventKind::ConnectRefused {
            reason: Refusal::Quota,
            told: Some(told),
        };
        assert_eq!(cluster.record(), [refused]);
    }
    cluster.connect(0, client("carol@beta"));
    first.cut();
    cluster
        .connect(0, client("alice@alpha").kept(100))
        .disconnect();
    assert_eq!(
        cluster.dial(0, client("carol@alpha")).bytes()[3],
        0x97,
        "a kept session counts"
    );
    cluster.pass_secs(100);
    cluster.connect(0, client("carol@alpha"));
}

/// Shows: MQTT-3.2.2-15 (5.0)
#[test]
fn a_packet_beyond_the_limit_is_refused_at_its_header() {
    let cluster = limited(|limits| limits.max_packet_size = 1_000);
    for version in [Version::V311, Version::V5] {
        let client = cluster.connect(0, client("alice@alpha").version(version));
        client.subscribe("a", QOS_0);
        let room = 1_000 - 3 - 3 - usize::from(version == Version::V5);
        client.publish("a", &"x".repeat(room));
        assert_eq!(client.messages()[0].payload.len(), room);
        let mut larger = Publish::new("a", &vec![b'x'; room + 1]).encode(version);
        larger.truncate(3);
        client.send(larger);
        let goodbye: &[u8] = match version {
            Version::V5 => &[0xE0, 1, 0x95],
            _ => &[],
        };
        assert_eq!(client.bytes(), goodbye);
        assert!(!client.is_open());
    }
}

#[test]
fn a_connection_takes_what_was_not_yet_allowed_before_its_login() {
    let cluster = limited(|_| {});
    let client = cluster.connect(0, client("alice@alpha"));
    client.subscribe("a", QOS_0);
    client.publish("a", &"x".repeat(500_000));
    assert_eq!(client.messages()[0].payload.len(), 500_000);
}
