//! What a change outside means for those who are in already: credentials, rights, whole teams, the
//! policy.

use std::sync::Arc;

use crate::cluster::*;
use cofferdam::broker::{
    Change, ChangeKind, DisconnectCause, Drop, EventKind, Review, Standing, TeamStanding,
};
use cofferdam::limits::Limits;
use cofferdam::policy::{Policy, TeamId};
use cofferdam::wire::client::{Property, Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

pub fn team_id(id: &str) -> TeamId {
    TeamId::new(id).expect("an id")
}

/// The change number 7 of this kind.
pub fn change(kind: ChangeKind) -> Change {
    Change { kind, number: 7 }
}

/// The MQTT nodes of an instance in `alpha`, one principal with as many client ids as it likes.
pub const NODES: &str = "mq:hosted:alpha:a1";

/// One of them.
pub fn node(number: usize) -> Hello {
    client(NODES).id(&format!("{NODES}:{number:05}"))
}

/// The team that stands in a username.
fn team_of(username: &str) -> TeamId {
    let mut words = username.split([':', '@']);
    team_id(
        words
            .find(|word| ["alpha", "beta"].contains(word))
            .expect("a team"),
    )
}

/// One principal's new standing.
pub fn principal(username: &str, standing: Standing, kind: ChangeKind) -> Review {
    let mut review = Review::default();
    let team = Some(team_of(username));
    review.principal(team, Arc::from(username), standing, change(kind));
    review
}

pub fn revoked(username: &str) -> Review {
    principal(username, Standing::Gone, ChangeKind::Revoked)
}

pub fn team(id: &str, standing: TeamStanding, kind: ChangeKind) -> Review {
    let mut review = Review::default();
    review.team(team_id(id), standing, change(kind));
    review
}

pub fn removed(id: &str) -> Review {
    team(id, TeamStanding::Removed, ChangeKind::TeamRemoved)
}

fn suspended(id: &str) -> Review {
    team(id, TeamStanding::Suspended, ChangeKind::TeamSuspended)
}

/// Gives a client other patterns, which count at once.
fn allow(cluster: &Cluster, username: &str, patterns: &[&str]) {
    cluster.directory().client(username, patterns);
    let grant = cluster.grant(username);
    let standing = Standing::Granted(grant);
    cluster.review(principal(username, standing, ChangeKind::Rights));
}

pub fn goodbye(reason: ReasonCode) -> ServerPacket {
    ServerPacket::Disconnect {
        reason,
        properties: Vec::new(),
    }
}

/// Why connections ended since the last look, and whose they were.
pub fn ended(cluster: &Cluster) -> Vec<(String, DisconnectCause)> {
    let events = cluster.events().into_iter();
    let ended = events.filter_map(|event| match event.kind {
        EventKind::Disconnected { cause, .. } => Some((event.who.username?.to_string(), cause)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_revoked_client_is_cut_and_its_session_ends_and_nobody_elses_does() {
    for version in VERSIONS {
        let cluster = Cluster::new(2);
        let revoked_ones = [0, 1].map(|shard| {
            let hello = node(usize::from(shard)).version(version).kept(120);
            let node = cluster.connect(shard, hello);
            node.subscribe("#", QOS_1);
            node
        });
        let others = [(0, "alice@alpha"), (1, "carol@alpha"), (0, "bob@beta")]
            .map(|(shard, username)| cluster.connect(shard, client(username)));
        cluster.events();

        cluster.directory().revoke(NODES);
        cluster.review(revoked(NODES));
        for bob in &revoked_ones {
            assert!(!bob.is_open());
            match version {
                Version::V5 => {
                    assert_eq!(bob.answer(), goodbye(ReasonCode::AdministrativeAction));
                }
                _ => assert_eq!(bob.bytes(), NOTHING, "3.x has no word for it"),
            }
        }
        let cause = DisconnectCause::Review(change(ChangeKind::Revoked));
        let who = || NODES.to_owned();
        assert_eq!(ended(&cluster), [(who(), cause), (who(), cause)]);
        assert!(others.iter().all(Client::is_open));
        assert_eq!(cluster.sessions(), 3, "the others'");
        assert_eq!(cluster.team("alpha").subscriptions(), 0);
        assert_eq!(cluster.team("alpha").registry.len(), 2);
    }
}

#[test]
fn a_stored_session_of_a_revoked_client_ends_with_all_that_waits_in_it() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(1, client("bob@alpha").kept(1000));
    bob.subscribe("#", QOS_1);
    bob.cut();
    publisher.publish_at(QOS_1, "a", "waits");
    cluster.review(revoked("bob@alpha"));
    assert_eq!(cluster.sessions(), 1);
    assert_eq!(cluster.team("alpha").subscriptions(), 0);
    // Somebody else gets the name.
    let namesake = cluster.connect(0, client("bob@alpha").kept(1000));
    publisher.publish_at(QOS_1, "a", "later");
    assert_eq!(namesake.heard(), NONE);
}

#[test]
fn a_rotated_credential_ends_connections_and_the_session_waits_for_who_has_the_new_one() {
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(1, client("bob@alpha").kept(1000));
    bob.subscribe("#", QOS_1);
    cluster.directory().password("bob@alpha", "another");
    let standing = Standing::Out(None);
    cluster.review(principal("bob@alpha", standing, ChangeKind::Credential));
    assert_eq!(bob.answer(), goodbye(ReasonCode::AdministrativeAction));
    assert!(!bob.is_open());
    publisher.publish_at(QOS_1, "a", "waits");
    let old = cluster.dial(0, client("bob@alpha").kept(1000));
    assert_ne!(
        old.connack().code,
        0,
        "the old password is good for nothing"
    );
    let back = cluster.dial(0, client("bob@alpha").kept(1000).password("another"));
    let [
        ServerPacket::ConnAck(connack),
        ServerPacket::Publish(waited),
    ] = &back.received()[..]
    else {
        panic!("not resumed");
    };
    assert!(connack.session_present);
    assert_eq!(waited.payload, b"waits");
}

#[test]
fn a_suspended_team_is_cut_off_as_a_whole_and_no_other() {
    let cluster = Cluster::new(2);
    let inside = [
        cluster.connect(0, client("alice@alpha").kept(1000)),
        cluster.connect(1, client("bob@alpha").v311()),
        cluster.connect(1, instance("alpha", "a1")),
        cluster.connect(0, device("alpha", "ad")),
        cluster.connect(1, anonymous("nobody")),
    ];
    let outside = [
        cluster.connect(0, client("alice@beta")),
        cluster.connect(1, instance("beta", "b1")),
        cluster.connect(0, platform()),
    ];
    cluster.events();
    cluster.directory().suspend("alpha");
    cluster.review(suspended("alpha"));
    assert!(inside.iter().all(|client| !client.is_open()));
    assert!(outside.iter().all(Client::is_open));
    let cause = DisconnectCause::Review(change(ChangeKind::TeamSuspended));
    let ended = ended(&cluster);
    assert_eq!(ended.len(), inside.len());
    assert!(ended.iter().all(|(_, why)| *why == cause), "{ended:?}");
    assert_eq!(
        cluster.team("alpha").registry.len(),
        1,
        "what was to be kept"
    );
    assert_eq!(cluster.connections(), outside.len() as u64);
}

#[test]
fn a_removed_team_leaves_nothing_to_a_later_one_of_its_name() {
    let cluster = Cluster::new(2);
    let spy = cluster.connect(0, platform());
    spy.subscribe("ff/v1/+/d/+/status", QOS_1);
    let old = [0, 1].map(|shard| {
        let hello = node(usize::from(shard)).kept(1000).will("will", "x");
        let old = cluster.connect(shard, hello);
        old.subscribe("#", QOS_1);
        old.subscribe("$share/g/#", QOS_1);
        old
    });
    let stored = cluster.connect(1, device("alpha", "ad").kept(1000));
    stored.cut();
    old[0].retain("kept", "secret");
    for client in &old {
        client.received();
    }
    let object = Arc::downgrade(&cluster.team("alpha"));
    cluster.events();

    cluster.review(removed("alpha"));
    for client in &old {
        assert_eq!(client.answer(), goodbye(ReasonCode::AdministrativeAction));
    }
    let wills = cluster.record().into_iter().filter(|kind| {
        matches!(kind, EventKind::PublishRefused { will: true, why, .. } if *why == "the team was removed")
    });
    assert_eq!(wills.count(), 2);
    assert_eq!(cluster.sessions(), 1, "the platform's");
    assert!(cluster.world().teams().is_empty());
    // A remembered match may hold on to it, but to nothing in it.
    if let Some(old) = object.upgrade() {
        assert!(old.registry.is_empty() && old.with_retained(|kept| kept.is_empty()));
        assert_eq!(old.subscriptions(), 0);
    }

    let new = cluster.connect(1, node(0).kept(1000));
    new.subscribe("#", QOS_1);
    assert_eq!(new.heard(), NONE);
    assert!(!cluster.team("alpha").is_closed());
    new.publish_at(QOS_1, "a", "1");
    assert_eq!(new.heard(), ["a 1"]);
    assert!(spy.is_open());
}

#[test]
fn a_client_that_loses_a_right_loses_its_subscription_and_what_waits_and_stays_connected() {
    let limits = Limits {
        max_inflight: 1,
        ..Limits::default()
    };
    let cluster = Cluster::limited(2, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(1, client("bob@alpha"));
    bob.subscribe("secret/#", QOS_1);
    bob.subscribe("open/#", QOS_1);
    for topic in ["secret/in-flight", "secret/queued", "open/queued"] {
        publisher.publish_at(QOS_1, topic, "x");
    }
    cluster.events();

    allow(&cluster, "bob@alpha", &["allow both open/#"]);
    let packets = bob.received();
    let topics: Vec<&str> = packets
        .iter()
        .filter_map(|packet| match packet {
            ServerPacket::Publish(publish) => Some(publish.topic.as_str()),
            _ => None,
        })
        .collect();
    // The first was sent before; the window it took is free again.
    assert_eq!(topics, ["secret/in-flight", "open/queued"]);
    assert_eq!(cluster.dropped(Drop::Denied), 2);
    assert_eq!(
        cluster.record(),
        [EventKind::SubscriptionEnded {
            filter: "ff/v1/alpha/c/secret/#".into(),
            why: "policy",
            change: change(ChangeKind::Rights),
        }]
    );
    assert!(bob.is_open());
    publisher.publish_at(QOS_1, "secret/later", "x");
    publisher.publish_at(QOS_0, "open/later", "x");
    assert_eq!(bob.heard(), ["open/later x"]);
}

#[test]
fn a_new_deny_rule_holds_for_what_is_delivered_from_then_on() {
    let cluster = Cluster::new(1);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha"));
    let shared = cluster.connect(0, client("carol@alpha"));
    bob.subscribe("#", QOS_1);
    shared.subscribe("$share/g/#", QOS_1);
    let patterns = ["allow both #", "deny subscribe secret/#"];
    for username in ["bob@alpha", "carol@alpha"] {
        allow(&cluster, username, &patterns);
    }
    for topic in ["secret/x", "open/x"] {
        publisher.publish_at(QOS_1, topic, "1");
    }
    assert_eq!(bob.heard(), ["open/x 1"]);
    assert_eq!(shared.heard(), ["open/x 1"]);
    allow(&cluster, "bob@alpha", &["allow both #"]);
    publisher.publish_at(QOS_1, "secret/x", "2");
    assert_eq!(bob.heard(), ["secret/x 2"], "and is lifted at once");
}

#[test]
fn what_a_revoked_member_of_a_share_group_held_goes_to_another() {
    let limits = Limits {
        max_inflight: 1,
        ..Limits::default()
    };
    let cluster = Cluster::limited(2, limits);
    let publisher = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha").kept(120));
    bob.subscribe("$share/g/a", QOS_1);
    for number in ["1", "2", "3"] {
        publisher.publish_at(QOS_1, "a", number);
    }
    let carol = cluster.connect(1, client("carol@alpha"));
    carol.subscribe("$share/g/a", QOS_1);
    cluster.review(revoked("bob@alpha"));
    let mut heard = carol.heard();
    heard.sort();
    assert_eq!(heard, ["a 1", "a 2", "a 3"]);
}

#[test]
fn what_waits_for_a_member_of_a_share_group_that_loses_the_right_goes_to_another() {
    let limits = Limits {
        max_inflight: 1,
        ..Limits::default()
    };
    for shards in [1, 2] {
        let cluster = Cluster::limited(shards, limits.clone());
        let publisher = cluster.connect(0, client("alice@alpha"));
        let bob = cluster.connect(0, client("bob@alpha").kept(120));
        bob.subscribe("$share/g/a/#", QOS_1);
        bob.subscribe("b", QOS_1);
        publisher.publish_at(QOS_1, "b", "in flight");
        for number in ["1", "2"] {
            publisher.publish_at(QOS_1, "a/x", number);
            publisher.publish_at(QOS_1, "b", number);
        }
        let carol = cluster.connect(shards - 1, client("carol@alpha"));
        carol.subscribe("$share/g/a/#", QOS_1);
        let other_group = cluster.connect(0, client("dave@alpha"));
        other_group.subscribe("$share/h/a/#", QOS_1);
        assert_eq!(carol.heard(), NONE);

        allow(&cluster, "bob@alpha", &["allow both b"]);
        assert_eq!(carol.heard(), ["a/x 1", "a/x 2"], "{shards} shards");
        assert_eq!(bob.heard(), ["b in flight", "b 1", "b 2"]);
        assert_eq!(other_group.heard(), NONE);
        assert_eq!(cluster.dropped(Drop::Denied), 0);
    }
}

#[test]
fn the_will_of_a_revoked_client_goes_out_as_far_as_it_might_publish() {
    let cluster = Cluster::new(2);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("#", QOS_1);
    let delay = vec![Property::WillDelay(1000)];
    let will = |name: &str, topic: &str| {
        let hello = client(name).kept(2000);
        hello.with_will(topic, "gone", QOS_1, false, delay.clone())
    };
    let revoked_one = cluster.connect(1, will("bob@alpha", "will/bob"));
    let narrowed = cluster.connect(1, will("carol@alpha", "will/carol"));
    cluster.review(revoked("bob@alpha"));
    assert!(!revoked_one.is_open());
    assert_eq!(watcher.heard(), ["will/bob gone"], "its session has ended");
    allow(&cluster, "carol@alpha", &["allow both other"]);
    narrowed.cut();
    cluster.pass_secs(1001);
    assert_eq!(watcher.heard(), NONE, "it may not publish there any more");
}

#[test]
fn members_that_change_count_for_subscriptions_that_are_there() {
    let text = "[namespace]\nteam = \"ff/v1/{team}/\"\n\
        [role.client]\nusername = [\"{client}@{team}\"]\n\
        [[role.client.rules]]\nallow = \"both\"\ntopics = [\"ff/v1/{team}/p/{instances}/#\"]\n";
    let policy = Policy::parse("test.toml", text).expect("a policy");
    let cluster = Cluster::with_policy(2, Limits::default(), policy);
    let bob = cluster.connect(0, client("bob@alpha"));
    for id in ["a1", "a2"] {
        bob.subscribe(&format!("ff/v1/alpha/p/{id}/x"), QOS_0);
    }
    let members = {
        use cofferdam::policy::Directory as _;
        cluster.directory().members(&team_id("alpha"))
    };
    members.remove_instance("a2");
    cluster.events();
    cluster.review(team("alpha", TeamStanding::Members, ChangeKind::Members));
    assert_eq!(
        cluster.record(),
        [EventKind::SubscriptionEnded {
            filter: "ff/v1/alpha/p/a2/x".into(),
            why: "policy",
            change: change(ChangeKind::Members),
        }]
    );
    assert!(bob.is_open());
    assert_eq!(cluster.team("alpha").subscriptions(), 1);
}

#[test]
fn a_client_whose_bytes_still_wait_to_be_read_is_cut_all_the_same() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, client("bob@alpha"));
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("late", QOS_0);
    // More than two turns are good for: the rest waits.
    let mut bytes = cofferdam::wire::client::pingreq().repeat(40_000);
    bytes.extend(Publish::new("late", b"x").encode(Version::V5));
    bob.send_later(bytes);
    cluster.turn();
    cluster.review(revoked("bob@alpha"));
    assert!(!bob.is_open());
    assert_eq!(watcher.heard(), NONE);
    assert_eq!(cluster.connections(), 1);
}

#[test]
fn a_topic_that_it_was_allowed_to_publish_to_a_moment_ago_is_decided_anew() {
    let cluster = Cluster::new(1);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("a", QOS_0);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.publish("a", "before");
    allow(&cluster, "bob@alpha", &["allow both b"]);
    bob.publish("a", "after");
    assert_eq!(watcher.heard(), ["a before"]);
}
