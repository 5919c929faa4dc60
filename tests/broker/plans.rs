//! What a team and its clients may have and do: each limit is answered in the protocol's words,
//! counted, on record where it should be, and no other team notices.

use std::sync::Arc;

use crate::cluster::*;
use cofferdam::broker::{Drop, EventKind, Refusal};
use cofferdam::limits::{Limit, Limits, OverRate, Rate, TeamLimits};
use cofferdam::policy::Policy;
use cofferdam::team::Entitlements;
use cofferdam::time::Span;
use cofferdam::wire::client::{Property, Publish, ServerPacket, pingreq, puback};
use cofferdam::wire::{ReasonCode, Version};

/// A shard where these limits hold for `alpha`, and none for `beta`.
fn limited(change: impl FnOnce(&mut TeamLimits)) -> Cluster {
    let cluster = Cluster::new(1);
    entitle(&cluster, change);
    cluster
}

fn entitle(cluster: &Cluster, change: impl FnOnce(&mut TeamLimits)) {
    let mut limits = TeamLimits::default();
    change(&mut limits);
    let alpha = cluster.team("alpha").id().cloned().expect("a team");
    cluster.world().entitle(Entitlements {
        teams: [(alpha, Arc::new(limits))].into(),
        ..Entitlements::default()
    });
}

fn hits(cluster: &Cluster, team: &str) -> Vec<(Limit, u64)> {
    cluster.team(team).bounds.hits().collect()
}

fn assert_refused(cluster: &Cluster, hello: Hello, code: ReasonCode, limit: Limit) {
    cluster.events();
    let dialled = cluster.dial(0, hello);
    let told = match dialled.version() {
        Version::V5 => code as u8,
        _ => 3,
    };
    assert_eq!(dialled.connack().code, told);
    assert!(!dialled.is_open());
    let refused = EventKind::ConnectRefused {
        reason: Refusal::Limit(limit),
        told: Some(code),
    };
    assert_eq!(cluster.record(), [refused]);
}

#[test]
fn a_team_has_no_more_connections_than_its_plan_and_who_comes_back_takes_its_own_place() {
    let cluster = limited(|limits| limits.max_connections = 2);
    let alice = client("alice@alpha").kept(100);
    let first = cluster.connect(0, alice.clone());
    let _second = cluster.connect(0, client("bob@alpha"));
    for version in [Version::V5, Version::V311, Version::V31] {
        let third = client("carol@alpha").version(version);
        assert_refused(
            &cluster,
            third,
            ReasonCode::QuotaExceeded,
            Limit::Connections,
        );
    }
    assert_eq!(hits(&cluster, "alpha"), [(Limit::Connections, 3)]);
    for name in ["alice@beta", "bob@beta", "carol@beta"] {
        cluster.connect(0, client(name));
    }
    // Takeover: the old connection makes room for the new.
    let again = cluster.connect(0, alice.clone());
    assert!(!first.is_open());
    again.cut();
    cluster.connect(0, client("carol@alpha"));
    let back = cluster.dial(0, alice);
    assert_eq!(back.connack().code, 0x97, "a session alone is no place");
    assert_eq!(hits(&cluster, "beta"), []);
}

#[test]
fn a_username_has_no_more_connections_than_its_plan() {
    let cluster = limited(|limits| limits.client.max_connections = 1);
    let only = cluster.connect(0, anonymous("one"));
    let second = anonymous("two");
    assert_refused(
        &cluster,
        second.clone(),
        ReasonCode::QuotaExceeded,
        Limit::ClientConnections,
    );
    cluster.connect(0, client("alice@alpha"));
    only.disconnect();
    cluster.connect(0, second);
}

#[test]
fn logins_beyond_the_rate_are_refused_and_counted_once_wherever_their_session_is() {
    let cluster = Cluster::new(2);
    entitle(&cluster, |limits| {
        limits.connect_rate = Some(Rate {
            per_second: 1,
            burst: 3,
        });
    });
    let alice = client("alice@alpha").kept(100);
    cluster.connect(0, alice.clone()).cut();
    cluster.connect(1, alice.clone()).cut(); // moves to the other shard, and counts once
    cluster.connect(1, alice.clone()).cut();
    assert_refused(
        &cluster,
        alice.clone(),
        ReasonCode::ConnectionRateExceeded,
        Limit::ConnectRate,
    );
    cluster.connect(0, client("alice@beta"));
    cluster.pass_secs(1);
    cluster.connect(0, alice);
    assert_eq!(hits(&cluster, "alpha"), [(Limit::ConnectRate, 1)]);
}

#[test]
fn logins_of_one_username_have_a_rate_of_their_own() {
    let cluster = limited(|limits| limits.client.connect_rate = Some(Rate::per_second(1)));
    cluster.connect(0, client("alice@alpha"));
    assert_refused(
        &cluster,
        client("alice@alpha"),
        ReasonCode::ConnectionRateExceeded,
        Limit::ClientConnectRate,
    );
    cluster.connect(0, client("bob@alpha"));
    cluster.pass_secs(1);
    cluster.connect(0, client("alice@alpha"));
}

/// What is heard after each of so many tenths of a second.
fn tenths(cluster: &Cluster, hearer: &Client, count: usize) -> Vec<usize> {
    let tenth = |_| {
        cluster.pass(Span::from_millis(100));
        hearer.messages().len()
    };
    (0..count).map(tenth).collect()
}

#[test]
fn a_client_over_its_rate_is_slowed_to_it_exactly_and_loses_nothing() {
    for (qos, version) in [
        (QOS_0, Version::V5),
        (QOS_1, Version::V311),
        (QOS_2, Version::V5),
    ] {
        let cluster = limited(|limits| {
            limits.client.message_rate = Some(Rate {
                per_second: 100,
                burst: 20,
            });
        });
        let hearer = cluster.connect(0, client("bob@alpha"));
        hearer.subscribe("#", QOS_0);
        let hasty = cluster.connect(0, client("alice@alpha").version(version).keep_alive(1));
        let other = cluster.connect(0, client("carol@alpha"));
        cluster.events();
        for number in 0..100_u16 {
            hasty.send(
                Publish {
                    qos,
                    packet_id: (qos > QOS_0).then_some(number + 1),
                    ..Publish::new("x", number.to_string().as_bytes())
                }
                .encode(version),
            );
        }
        // The burst; and the one beyond it, which has to be paid for.
        assert_eq!(hearer.messages().len(), 21, "{qos:?}");
        other.publish("x", "at once");
        assert_eq!(
            hearer.heard(),
            ["x at once"],
            "another client is not slowed"
        );
        assert_eq!(
            tenths(&cluster, &hearer, 8),
            [10, 10, 10, 10, 10, 10, 10, 9]
        );
        assert!(hasty.is_open(), "it was not silent");
        assert_eq!(tenths(&cluster, &hearer, 3), [0, 0, 0], "{qos:?}");
        let told = cluster.record().into_iter().filter_map(|kind| match kind {
            EventKind::LimitHit { limit, count } => Some((limit, count)),
            _ => None,
        });
        // At once, and no more than once a second.
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(Limit::ClientMessageRate, 1)], "{qos:?}");
        let turned = [(Limit::ClientMessageRate, 80)];
        assert_eq!(
            cluster.team("alpha").bounds.hits().collect::<Vec<_>>(),
            turned
        );
        // And now it is silent for one and a half seconds.
        cluster.pass_secs(2);
        assert!(!hasty.is_open());
    }
}

#[test]
fn a_teams_rate_is_shared_by_its_clients_and_by_all_shards() {
    let cluster = Cluster::new(2);
    entitle(&cluster, |limits| {
        limits.message_rate = Some(Rate {
            per_second: 100,
            burst: 10,
        });
    });
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    let crowd: Vec<_> = (0..10)
        .map(|place| cluster.connect(place % 2, anonymous(&format!("c{place}"))))
        .collect();
    for one in &crowd {
        one.send(Publish::new("x", b"m").encode(Version::V5).repeat(50));
    }
    let at_once = hearer.messages().len();
    assert!(
        (10..=20).contains(&at_once),
        "the burst, and one each: {at_once}"
    );
    let heard = tenths(&cluster, &hearer, 60);
    assert_eq!(
        at_once + heard.iter().sum::<usize>(),
        500,
        "nothing is lost"
    );
    for tenth in &heard[2..40] {
        assert!((8..=12).contains(tenth), "{heard:?}");
    }
}

#[test]
fn bytes_have_a_rate_and_a_large_message_pays_for_its_size() {
    let cluster = limited(|limits| limits.byte_rate = Some(Rate::per_second(1_000)));
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    let hasty = cluster.connect(0, client("alice@alpha"));
    // With its fixed header, its topic and the length of its properties 3,000 bytes.
    hasty.publish("x", &"b".repeat(2_993));
    hasty.publish("x", "later");
    assert_eq!(hearer.messages().len(), 1);
    cluster.pass(Span::from_millis(1_990));
    assert_eq!(hearer.messages().len(), 0);
    cluster.pass(Span::from_millis(20));
    assert_eq!(hearer.heard(), ["x later"]);
    assert_eq!(hits(&cluster, "alpha"), [(Limit::ByteRate, 2)]);
}

#[test]
fn the_properties_of_a_message_are_paid_for_as_its_payload_is() {
    let cluster = limited(|limits| limits.byte_rate = Some(Rate::per_second(1_000)));
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    let hasty = cluster.connect(0, client("alice@alpha"));
    let alias = |topic: &str, value: usize| {
        let mut properties = vec![Property::TopicAlias(1)];
        if value > 0 {
            properties.push(Property::User("k".to_owned(), "v".repeat(value)));
        }
        let publish = Publish {
            properties,
            ..Publish::new(topic, b"x")
        };
        hasty.send(publish.encode(Version::V5));
    };
    alias("x", 0);
    alias("", 2_980); // a byte of payload, and no topic
    alias("", 0);
    assert_eq!(hearer.messages().len(), 2);
    cluster.pass(Span::from_millis(1_990));
    assert_eq!(hearer.messages().len(), 0);
    cluster.pass(Span::from_millis(50));
    assert_eq!(hearer.heard(), ["x x"]);
}

#[test]
fn who_comes_back_on_another_connection_waits_until_what_was_sent_before_is_paid() {
    for expiry in [0, 100] {
        let cluster = limited(|limits| limits.byte_rate = Some(Rate::per_second(1_000)));
        let hearer = cluster.connect(0, client("bob@alpha"));
        hearer.subscribe("#", QOS_0);
        let other_team = cluster.connect(0, client("bob@beta"));
        other_team.subscribe("#", QOS_0);
        for _ in 0..10 {
            let hasty = cluster.connect(0, client("alice@alpha").kept(expiry));
            hasty.publish("x", &"b".repeat(2_993)); // three seconds' worth
            hasty.cut();
        }
        let another = cluster.connect(0, client("carol@alpha"));
        another.subscribe("y", QOS_0); // but for its messages it is served
        another.publish("x", "later");
        assert_eq!(hearer.messages().len(), 1, "{expiry}");
        let unbound = cluster.connect(0, client("alice@beta"));
        unbound.publish("x", "at once");
        assert_eq!(other_team.heard(), ["x at once"]);
        cluster.pass(Span::from_millis(1_990));
        assert_eq!(hearer.messages().len(), 0);
        cluster.pass(Span::from_millis(20));
        let heard = hearer.heard();
        assert!(heard.iter().any(|it| it == "x later"), "{heard:?}");
        assert!(heard.len() <= 2, "of one client one more: {heard:?}");
    }
}

#[test]
fn another_session_of_the_same_client_is_no_way_round_its_rate() {
    let cluster = limited(|limits| {
        limits.client.message_rate = Some(Rate {
            per_second: 10,
            burst: 5,
        });
    });
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    for number in 0..10 {
        let hasty = cluster.connect(0, anonymous(&format!("c{number}")));
        hasty.send(Publish::new("x", b"m").encode(Version::V5).repeat(5));
        hasty.cut();
    }
    // The burst, and the one beyond it, which has to be paid for.
    assert_eq!(hearer.messages().len(), 6);
    let other = cluster.connect(0, client("carol@alpha"));
    other.publish("x", "at once");
    assert_eq!(hearer.heard(), ["x at once"]);
    cluster.pass_secs(10);
    assert_eq!(hearer.messages().len(), 44, "nothing is lost");
    // All is paid: as a new one.
    let back = cluster.connect(0, anonymous("c10"));
    back.send(Publish::new("x", b"m").encode(Version::V5).repeat(5));
    assert_eq!(hearer.messages().len(), 5);
}

#[test]
fn where_the_plan_says_so_a_client_over_its_rate_is_cut_with_the_reason() {
    let cluster = limited(|limits| {
        limits.client.message_rate = Some(Rate::per_second(5));
        limits.over_rate = OverRate::Disconnect;
    });
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    for version in [Version::V5, Version::V311] {
        let hasty = cluster.connect(0, client("alice@alpha").version(version));
        hasty.send(Publish::new("x", b"m").encode(version).repeat(20));
        assert_eq!(hearer.messages().len(), 5);
        let told: &[u8] = match version {
            Version::V5 => &[0xE0, 1, 0x96],
            _ => &[],
        };
        assert_eq!(hasty.bytes(), told);
        assert!(!hasty.is_open());
        // To come back is no way round the rate.
        let back = cluster.connect(0, client("alice@alpha").version(version));
        back.publish("x", "m");
        assert_eq!((back.is_open(), hearer.messages().len()), (false, 0));
        cluster.pass_secs(2);
    }
}

#[test]
fn a_slowed_client_that_leaves_is_served_to_the_end_first() {
    let cluster = limited(|limits| limits.client.message_rate = Some(Rate::per_second(10)));
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    let hasty = cluster.connect(0, client("alice@alpha").will("will", "gone"));
    hasty.send(Publish::new("x", b"m").encode(Version::V5).repeat(30));
    hasty.cut();
    assert_eq!(hearer.messages().len(), 11);
    cluster.pass_secs(3);
    let heard = hearer.heard();
    assert_eq!(
        (heard.len(), heard.last().map(String::as_str)),
        (20, Some("will gone"))
    );
    assert_eq!(cluster.connections(), 1);
}

#[test]
fn a_slowed_client_is_answered_when_its_turn_comes_and_no_timer_is_left_behind() {
    let cluster = limited(|limits| limits.client.message_rate = Some(Rate::per_second(10)));
    let hasty = cluster.connect(0, client("alice@alpha"));
    let mut sent = Publish::new("x", b"m").encode(Version::V5).repeat(15);
    sent.extend(pingreq());
    hasty.send(sent);
    assert_eq!(hasty.received(), []);
    cluster.pass(Span::from_millis(490));
    assert_eq!(hasty.received(), []);
    cluster.pass(Span::from_millis(20));
    assert_eq!(hasty.answer(), ServerPacket::PingResp);
}

#[test]
fn another_plan_holds_at_once_for_those_who_are_there() {
    let cluster = limited(|limits| limits.client.message_rate = Some(Rate::per_second(1)));
    let hearer = cluster.connect(0, client("bob@alpha"));
    hearer.subscribe("#", QOS_0);
    let hasty = cluster.connect(0, client("alice@alpha"));
    hasty.send(Publish::new("x", b"m").encode(Version::V5).repeat(500));
    assert_eq!(hearer.messages().len(), 2);
    entitle(&cluster, |_| {});
    cluster.pass_secs(1); // those who wait look once a second
    assert_eq!(hearer.messages().len(), 498);
    hasty.send(Publish::new("x", b"m").encode(Version::V5).repeat(500));
    assert_eq!(hearer.messages().len(), 500);
    entitle(&cluster, |limits| {
        limits.client.message_rate = Some(Rate::per_second(10));
        limits.client.max_subscriptions = 1;
    });
    hasty.send(Publish::new("x", b"m").encode(Version::V5).repeat(500));
    assert_eq!(hearer.messages().len(), 11);
    let codes = hearer.try_subscribe(&[("y", options(QOS_0))], &[]);
    assert_eq!(codes, [ReasonCode::QuotaExceeded]);
}

#[test]
fn subscriptions_have_a_limit_for_a_client_and_one_for_its_team() {
    let cluster = limited(|limits| {
        limits.max_subscriptions = 3;
        limits.client.max_subscriptions = 2;
    });
    let [first, second] = ["alice@alpha", "bob@alpha"].map(|name| cluster.connect(0, client(name)));
    let ask =
        |client: &Client, filter: &str| client.try_subscribe(&[(filter, options(QOS_0))], &[]);
    first.subscribe("a", QOS_0);
    first.subscribe("b", QOS_0);
    cluster.events();
    assert_eq!(ask(&first, "c"), [ReasonCode::QuotaExceeded]);
    first.subscribe("b", QOS_0); // replaces
    second.subscribe("a", QOS_0);
    assert_eq!(ask(&second, "b"), [ReasonCode::QuotaExceeded]);
    let limits = [(Limit::Subscriptions, 1), (Limit::ClientSubscriptions, 1)];
    assert_eq!(hits(&cluster, "alpha"), limits);
    assert_eq!(cluster.record().len(), 2);
    first.unsubscribe(&["a"]);
    second.subscribe("b", QOS_0);
}

#[test]
fn subscriptions_among_topics_of_no_team_count_for_the_team_of_who_has_them() {
    let text = "[namespace]\nteam = \"ff/v1/{team}/\"\ncommons = [\"all\"]\n\
        [role.client]\nusername = [\"{client}@{team}\"]\n\
        [[role.client.rules]]\nallow = \"both\"\n\
        topics = [\"ff/v1/{team}/#\", \"ff/v1/all/#\"]\n";
    let policy = Policy::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let cluster = Cluster::with_policy(1, Limits::default(), policy);
    let alice = cluster.connect(0, client("alice@alpha"));
    entitle(&cluster, |limits| limits.max_subscriptions = 3);
    let bob = cluster.connect(0, client("bob@alpha"));
    let foreign = cluster.connect(0, client("alice@beta"));
    let ask =
        |client: &Client, filter: &str| client.try_subscribe(&[(filter, options(QOS_0))], &[]);
    let granted = [ReasonCode::Success];
    for filter in ["ff/v1/all/1", "ff/v1/all/2", "ff/v1/alpha/3", "ff/v1/all/2"] {
        assert_eq!(ask(&alice, filter), granted, "{filter}");
    }
    for filter in ["ff/v1/all/4", "ff/v1/alpha/4"] {
        assert_eq!(ask(&bob, filter), [ReasonCode::QuotaExceeded], "{filter}");
    }
    for number in 0..5 {
        assert_eq!(ask(&foreign, &format!("ff/v1/all/{number}")), granted);
    }
    assert_eq!(hits(&cluster, "alpha"), [(Limit::Subscriptions, 2)]);
    alice.unsubscribe(&["ff/v1/all/1"]);
    assert_eq!(ask(&bob, "ff/v1/all/5"), granted);
    assert_eq!(ask(&bob, "ff/v1/all/6"), [ReasonCode::QuotaExceeded]);
    alice.disconnect(); // and its session ends
    for filter in ["ff/v1/all/6", "ff/v1/all/7"] {
        assert_eq!(ask(&bob, filter), granted, "{filter}");
    }
    assert_eq!(ask(&bob, "ff/v1/all/8"), [ReasonCode::QuotaExceeded]);
}

#[test]
fn sessions_have_the_stricter_of_both_limits() {
    let cluster = Cluster::limited(
        1,
        Limits {
            max_sessions_per_team: 5,
            ..Limits::default()
        },
    );
    entitle(&cluster, |limits| limits.max_sessions = 1);
    cluster.connect(0, client("alice@alpha").kept(100)).cut();
    assert_eq!(cluster.dial(0, client("bob@alpha")).connack().code, 0x97);
    for name in ["alice", "bob", "carol", "dave", "erin"] {
        cluster.connect(0, client(&format!("{name}@beta")).kept(100));
    }
    assert_eq!(
        cluster.dial(0, client("agent:watch@beta")).connack().code,
        0x97
    );
    assert_eq!(hits(&cluster, "alpha"), [(Limit::Sessions, 1)]);
}

#[test]
fn a_username_has_no_more_sessions_than_its_plan_whatever_its_client_ids() {
    let cluster = limited(|limits| limits.client.max_sessions = 2);
    let session = |id: &str| anonymous(id).kept(100);
    cluster.connect(0, session("one")).cut();
    let second = cluster.connect(0, session("two"));
    for version in [Version::V5, Version::V311] {
        let third = session("three").version(version);
        assert_refused(
            &cluster,
            third,
            ReasonCode::QuotaExceeded,
            Limit::ClientSessions,
        );
    }
    assert_eq!(hits(&cluster, "alpha"), [(Limit::ClientSessions, 2)]);
    cluster.connect(0, client("alice@alpha").kept(100));
    cluster.connect(0, session("one")); // its own
    second.cut();
    cluster.connect(0, anonymous("two")).disconnect(); // and ends it
    cluster.connect(0, session("three"));
}

#[test]
fn retained_messages_have_the_teams_limit_and_beyond_it_the_publisher_is_told() {
    let cluster = limited(|limits| limits.max_retained_messages = 2);
    let keeper = cluster.connect(0, client("alice@alpha"));
    let retain = |topic: &str| {
        keeper.complete(Publish {
            qos: QOS_1,
            retain: true,
            ..Publish::new(topic, b"x")
        })
    };
    assert!(!retain("a").is_error() && !retain("b").is_error());
    assert_eq!(retain("c"), ReasonCode::QuotaExceeded);
    assert!(!retain("a").is_error(), "in its own place");
    assert_eq!(hits(&cluster, "alpha"), [(Limit::Retained, 1)]);
    assert_eq!(cluster.dropped(Drop::RetainedFull), 1);
}

#[test]
fn all_queues_of_a_team_have_a_common_bound_and_what_leaves_one_makes_room_in_another() {
    let size = "ff/v1/alpha/c/q".len() as u64 + 10;
    let cluster = limited(|limits| limits.max_queued_bytes = 4 * size);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let away = ["bob@alpha", "carol@alpha"].map(|name| client(name).kept(100));
    for hello in &away {
        let absent = cluster.connect(0, hello.clone());
        absent.subscribe("q", QOS_1);
        absent.cut();
    }
    let publish = |number: u32| publisher.publish_at(QOS_1, "q", &format!("{number:010}"));
    assert_eq!(
        (publish(1), publish(2)),
        (ReasonCode::Success, ReasonCode::Success)
    );
    let queued = || cluster.team("alpha").bounds.queued.bytes();
    assert_eq!(queued(), 4 * size);
    assert_eq!(publish(3), ReasonCode::QuotaExceeded, "nobody has it");
    assert_eq!(cluster.dropped(Drop::QueueFull), 2);
    assert_eq!(hits(&cluster, "alpha"), [(Limit::Queued, 2)]);

    let back = cluster.dial(0, away[0].clone());
    let came = back.received();
    let ids = came.iter().filter_map(|packet| match packet {
        ServerPacket::Publish(publish) => publish.packet_id,
        _ => None,
    });
    let ids: Vec<u16> = ids.collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        back.send(puback(Version::V5, id, ReasonCode::Success, &[]));
    }
    assert_eq!(queued(), 2 * size);
    assert_eq!(
        publish(4),
        ReasonCode::Success,
        "one has it at once, the other in its queue"
    );
    assert_eq!(queued(), 3 * size);
    assert_eq!(back.messages().len(), 1);
    cluster.pass_secs(100);
    assert_eq!(queued(), 0, "the session that ended had the rest");
    // Another team has a bound of its own.
    let other = cluster.connect(0, client("alice@beta"));
    let absent = cluster.connect(0, client("bob@beta").kept(100));
    absent.subscribe("q", QOS_1);
    absent.cut();
    for _ in 0..10 {
        assert_eq!(
            other.publish_at(QOS_1, "q", "0123456789"),
            ReasonCode::Success
        );
    }
}

#[test]
fn who_cannot_be_told_is_acknowledged_and_the_message_is_gone() {
    let cluster = limited(|limits| limits.client.max_queued_messages = 1);
    let publisher = cluster.connect(0, client("alice@alpha").v311());
    let hello = client("bob@alpha").kept(100);
    let absent = cluster.connect(0, hello.clone());
    absent.subscribe("q", QOS_1);
    absent.cut();
    for _ in 0..3 {
        assert_eq!(publisher.publish_at(QOS_1, "q", "x"), ReasonCode::Success);
    }
    assert_eq!(cluster.dropped(Drop::QueueFull), 2);
    assert_eq!(hits(&cluster, "alpha"), [(Limit::ClientQueue, 2)]);
}

#[test]
fn the_packet_size_of_a_plan_is_told_and_held_and_a_connection_keeps_what_it_was_told() {
    let cluster = limited(|limits| limits.max_packet_size = 1_000);
    let told = |client: &Client| {
        client
            .connack()
            .properties
            .into_iter()
            .find_map(|it| match it {
                Property::MaximumPacketSize(size) => Some(size),
                _ => None,
            })
    };
    let first = cluster.dial(0, client("alice@alpha"));
    assert_eq!(told(&first), Some(1_000));
    entitle(&cluster, |limits| limits.max_packet_size = 500);
    first.publish("x", &"b".repeat(900));
    assert!(first.is_open());
    let second = cluster.dial(0, client("bob@alpha"));
    assert_eq!(told(&second), Some(500));
    second.send(Publish::new("x", &[b'b'; 600]).encode(Version::V5));
    assert_eq!(second.bytes(), [0xE0, 1, 0x95]);
    first.send(Publish::new("x", &[b'b'; 1_100]).encode(Version::V5));
    assert_eq!(first.bytes(), [0xE0, 1, 0x95]);
}
