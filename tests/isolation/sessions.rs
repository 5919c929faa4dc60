//! Client ids and what hangs on them: stored sessions, takeover, aliases, packet identifiers. Across
//! teams, and within one between principals.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::broker::EventKind;
use cofferdam::wire::client::{Property, Publish, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

/// Who tries for the session of `project:alpha:a1`: every role of another team, and of its own team
/// everybody whose role leaves the client id free.
const RIVALS: [&str; 6] = [
    "project:alpha:a2",
    "device:alpha:ad",
    "frontend:alpha:ad",
    "fe-team:u:alpha:s",
    "agent:watch@alpha",
    "anonymous",
];

const ID: &str = "project:alpha:a1";

#[test]
fn no_client_id_takes_resumes_or_ends_another_principals_session() {
    for version in VERSIONS {
        for rival_version in VERSIONS {
            for shard in [0, 1] {
                a_session_withstands(version, rival_version, shard);
            }
        }
    }
}

fn a_session_withstands(version: Version, rival_version: Version, shard: u16) {
    let cluster = Cluster::new(2);
    let victim = client(ID).kept(1_000).version(version);
    let first = cluster.connect(0, victim.clone());
    first.subscribe("ff/v1/alpha/p/a1/in/#", QOS_2);
    let sender = cluster.connect(0, instance("alpha", "a2").id("sender"));
    let attack = || {
        for username in ATTACKERS.into_iter().chain(RIVALS) {
            let hello = match username {
                "anonymous" => anonymous(ID),
                username => client(username).id(ID),
            };
            for hello in [hello.clone().kept(1_000), hello.clone().clean()] {
                cluster.events();
                let rival = cluster.dial(shard, hello.version(rival_version));
                let came = rival.received();
                let [ServerPacket::ConnAck(connack)] = &came[..] else {
                    panic!("{username} got {came:?}");
                };
                if rival.is_open() {
                    assert!(!connack.session_present, "{username}");
                    assert_eq!(rival.outbox(), 0);
                    rival.try_subscribe(&[("$share/a1/#", options(QOS_2))], &[]);
                    rival.cut();
                }
                let taken = |kind: &EventKind| matches!(kind, EventKind::TakenOver { .. });
                assert!(!cluster.record().iter().any(taken), "{username}");
                // It leaves nothing behind for the next one with this version.
                let hello = match username {
                    "anonymous" => anonymous(ID),
                    username => client(username).id(ID),
                };
                let ends = cluster.dial(shard, hello.v5().clean());
                if ends.is_open() {
                    ends.disconnect();
                }
            }
        }
    };
    attack();
    assert!(first.is_open());
    sender.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "1");
    assert_eq!(first.heard().len(), 1);
    first.cut();
    sender.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "2");
    attack();
    let back = cluster.dial(1, victim.clone());
    let packets = back.received();
    assert!(
        matches!(&packets[..], [ServerPacket::ConnAck(connack), ServerPacket::Publish(publish)]
            if (connack.session_present || version == Version::V31) && publish.payload == b"2"),
        "{packets:?}"
    );
    // The control: the principal itself takes its session.
    cluster.connect(0, victim.clean());
    assert!(!back.is_open());
}

#[test]
fn two_teams_with_the_same_client_ids_live_side_by_side() {
    unnoticed(|attacker| {
        let twins = CLIENT_IDS.map(|id| {
            let twin = client("project:beta:b1").id(id).kept(100).clean();
            let twin = attacker.connect(twin);
            twin.subscribe("ff/v1/beta/p/b1/in/#", QOS_1);
            twin
        });
        let sender = attacker.connect(instance("beta", "b2"));
        sender.publish_at(QOS_1, "ff/v1/beta/p/b1/in/x", "for all");
        for twin in &twins {
            assert_eq!(twin.heard(), ["ff/v1/beta/p/b1/in/x for all"]);
        }
        let connects = deeds(attacker, "project:beta:b1");
        let connects = connects.iter().filter(|deed| deed.0 == "connect");
        assert_eq!(connects.count(), CLIENT_IDS.len());
        twins[0].cut();
    });
}

#[test]
fn an_assigned_client_id_tells_nothing_of_others() {
    let cluster = Cluster::new(1);
    let assigned = |username: &str| {
        let client = cluster.dial(0, client(username).id(""));
        let properties = client.connack().properties;
        let id = properties.into_iter().find_map(|property| match property {
            Property::AssignedClientId(id) => Some(id),
            _ => None,
        });
        id.expect("an id")
    };
    let before = assigned("project:beta:b1");
    assigned("project:alpha:a1");
    let after = assigned("project:beta:b1");
    let digits = |id: &str| id.trim_start_matches("auto-").to_owned();
    let (before, after) = (digits(&before), digits(&after));
    assert_eq!((before.len(), after.len()), (32, 32), "128 bits");
    let alike = before.bytes().zip(after.bytes()).filter(|(a, b)| a == b);
    assert!(
        alike.count() < 16,
        "no count of who came in between: {before} {after}"
    );
}

#[test]
fn a_topic_alias_is_no_way_around_the_check() {
    let cluster = Cluster::new(2);
    let witness = cluster.connect(1, instance("alpha", "a1"));
    witness.subscribe("ff/v1/alpha/p/a1/in/#", QOS_1);
    let attacker = cluster.connect(0, instance("beta", "b1"));
    let aliased = |topic: &str| Publish {
        qos: QOS_1,
        properties: vec![Property::TopicAlias(1)],
        ..Publish::new(topic, MARK.as_bytes())
    };
    let (no, nobody) = (ReasonCode::NotAuthorized, ReasonCode::NoMatchingSubscribers);
    let foreign = "ff/v1/alpha/p/a1/in/x";
    // A refused publish sets its alias all the same, for 5.0 has it set by the packet; what it then
    // stands for is checked each time.
    for (topic, answer) in [
        (foreign, no),
        ("", no),
        ("ff/v1/beta/p/b1/in/x", nobody),
        ("", nobody),
        (foreign, no),
        ("", no),
    ] {
        assert_eq!(attacker.complete(aliased(topic)), answer, "{topic}");
    }
    assert_eq!(witness.heard().len(), 0);
    let refused = cluster.record();
    let refused = refused.iter().filter(|it| reason(it) == "outside the team");
    assert_eq!(refused.count(), 4);
    let insider = cluster.connect(0, instance("alpha", "a2"));
    insider.complete(aliased(foreign));
    insider.complete(aliased(""));
    assert_eq!(witness.heard().len(), 2, "the control");
}

#[test]
fn a_topic_alias_dies_with_its_connection() {
    let cluster = Cluster::new(2);
    let witness = cluster.connect(0, instance("alpha", "a1"));
    witness.subscribe("ff/v1/alpha/c/#", QOS_1);
    let aliased = |topic: &str| Publish {
        qos: QOS_1,
        properties: vec![Property::TopicAlias(1)],
        ..Publish::new(topic, b"by alias")
    };
    let hello = instance("alpha", "a2").kept(1_000);
    for (shard, again) in [(0, 0), (0, 1), (1, 0)] {
        let first = cluster.connect(shard, hello.clone());
        first.complete(aliased("ff/v1/alpha/c/x"));
        assert_eq!(witness.heard().len(), 1);
        // By takeover, and after the network failed; on the same shard and from another.
        let second = cluster.connect(again, hello.clone());
        assert!(!first.is_open());
        second.put(aliased("").at(QOS_1, 7));
        assert!(
            !second.is_open(),
            "the alias is not known: a protocol error"
        );
        let third = cluster.connect(again, hello.clone());
        third.cut();
        // Nor is it there for another principal on the place that became free.
        let other = cluster.connect(shard, instance("beta", "b1"));
        other.put(aliased("").at(QOS_1, 7));
        assert!(!other.is_open());
        assert_eq!(witness.heard().len(), 0);
        let why = cluster.record();
        let cut = why.iter().filter(|kind| reason(kind) == "protocol");
        assert_eq!(cut.count(), 2);
    }
}

#[test]
fn a_session_that_was_left_at_qos_2_is_completed_by_its_principal_alone() {
    let cluster = Cluster::new(2);
    let witness = cluster.connect(0, client("alice@alpha"));
    witness.subscribe("#", QOS_2);
    let hello = instance("alpha", "a1").kept(1_000);
    let publisher = cluster.connect(0, hello.clone());
    publisher.put(Publish::new("ff/v1/alpha/c/x", b"once").at(QOS_2, 9));
    publisher.cut();
    // Another principal with the same client id and packet identifier.
    let rival = cluster.connect(
        1,
        instance("alpha", "a2").id("project:alpha:a1").kept(1_000),
    );
    let release = |client: &Client| {
        let ok = ReasonCode::Success;
        client.send(cofferdam::wire::client::pubrel(Version::V5, 9, ok, &[]));
        let packets = client.received();
        let [ServerPacket::PubComp { reason, .. }] = &packets[..] else {
            panic!("{packets:?}");
        };
        *reason
    };
    assert_eq!(release(&rival), ReasonCode::PacketIdentifierNotFound);
    rival.put(Publish::new("ff/v1/alpha/c/x", b"another").at(QOS_2, 9));
    assert_eq!(witness.heard(), ["x once", "x another"]);
    let back = cluster.dial(0, hello);
    assert!(back.connack().session_present);
    let again = Publish {
        dup: true,
        ..Publish::new("ff/v1/alpha/c/x", b"once").at(QOS_2, 9)
    };
    back.put(again);
    assert!(matches!(
        back.answer(),
        ServerPacket::PubRec { packet_id: 9, .. }
    ));
    assert_eq!(release(&back), ReasonCode::Success);
    assert_eq!(witness.heard().len(), 0, "exactly once");
}
