//! What a team's plan promises: `disk`, `os` or `memory`, each team its own.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::*;
use cofferdam::limits::{Durability, TeamLimits};
use cofferdam::policy::TeamId;
use cofferdam::team::{Entitlements, World};
use cofferdam::wire::client::{Publish, ServerPacket};

/// What everybody is promised who is not named, and then each team by name.
fn entitle(world: &World, default: Durability, teams: &[(&str, Durability)]) {
    let limits = |durability| {
        Arc::new(TeamLimits {
            durability,
            ..TeamLimits::default()
        })
    };
    let teams = teams.iter().map(|(team, level)| {
        let team = TeamId::new(team).expect("a team");
        (team, limits(*level))
    });
    world.entitle(Entitlements {
        default: limits(default),
        teams: HashMap::from_iter(teams),
    });
}

/// Where `alpha` is promised this, and everybody else that it is on disk.
fn alpha_has(shards: u16, level: Durability) -> Cluster {
    let cluster = Cluster::new(shards);
    entitle(&cluster.world(), Durability::Disk, &[("alpha", level)]);
    cluster
}

fn kept(username: &str) -> Hello {
    client(username).kept(100)
}

/// A session that is not there now and is to have `a`.
fn absent(cluster: &Cluster, username: &str) {
    let client = cluster.connect(0, kept(username));
    client.subscribe("a", QOS_2);
    client.cut();
}

fn message(id: u16) -> Publish {
    Publish::new("a", b"x").at(QOS_1, id)
}

fn is_puback(packets: &[ServerPacket]) -> bool {
    matches!(packets, [ServerPacket::PubAck { .. }])
}

/// Both share a shard, a turn and so a commit.
#[test]
fn in_one_commit_each_waits_for_what_it_was_promised_and_no_longer() {
    let cluster = alpha_has(1, Durability::Os);
    absent(&cluster, "bob@alpha");
    absent(&cluster, "bob@beta");
    let [quick, sure] = ["alice@alpha", "alice@beta"].map(|it| cluster.connect(0, client(it)));
    cluster.hold_journal();
    for client in [&quick, &sure] {
        client.send_later(message(1).encode(client.version()));
    }
    cluster.run();
    assert_eq!(
        cluster.waiting_syncs(),
        [(true, true)],
        "one commit, for both"
    );
    assert_eq!((quick.received(), sure.received()), (vec![], vec![]));
    cluster.write_waiting();
    assert!(
        is_puback(&quick.received()),
        "the system has it: alpha is told"
    );
    assert_eq!(sure.received(), [], "beta was promised more");
    cluster.release_journal();
    assert!(is_puback(&sure.received()));
    assert_eq!(quick.received(), []);
}

#[test]
fn a_commit_is_synced_only_if_somebody_was_promised_that() {
    let cluster = alpha_has(2, Durability::Os);
    absent(&cluster, "bob@alpha");
    let quick = cluster.connect(1, client("alice@alpha"));
    cluster.hold_journal();
    quick.put(message(1));
    assert_eq!(cluster.waiting_syncs(), [(false, true)]);
    cluster.release_journal();
    assert!(is_puback(&quick.received()));
    // A session of its own, and what it says.
    cluster.hold_journal();
    let dave = cluster.dial(0, kept("dave@alpha"));
    assert_eq!(cluster.waiting_syncs(), [(false, true)], "CONNACK");
    cluster.write_waiting();
    assert_eq!(dave.connack().code, 0);
    let beta = cluster.dial(0, kept("dave@beta"));
    assert_eq!(cluster.waiting_syncs()[1..], [(true, false)]);
    cluster.write_waiting();
    assert_eq!(beta.received(), [], "CONNACK of the other team waits on");
    cluster.release_journal();
    assert_eq!(beta.connack().code, 0);
}

/// The stricter of those who are concerned counts, whoever of them publishes.
#[test]
fn what_crosses_into_a_stricter_compartment_is_as_sure_as_that() {
    let cluster = alpha_has(2, Durability::Os);
    let watcher = cluster.connect(0, platform().kept(100));
    watcher.subscribe("ff/v1/+/l/+/status", QOS_1);
    let quick = cluster.connect(1, instance("alpha", "a1"));
    cluster.hold_journal();
    let topic = "ff/v1/alpha/l/a1/status";
    quick.put(Publish::new(topic, b"x").at(QOS_1, 1));
    let syncs = cluster.waiting_syncs();
    assert_eq!(syncs.first(), Some(&(true, false)), "for the platform");
    cluster.write_waiting();
    assert_eq!(quick.received(), [], "PUBACK waits for the platform's sake");
    cluster.release_journal();
    assert!(is_puback(&quick.received()));

    // The other way round: the platform is promised less than the team that it writes to.
    entitle(
        &cluster.world(),
        Durability::Os,
        &[("beta", Durability::Disk)],
    );
    let bob = cluster.connect(0, instance("beta", "b1").kept(100));
    bob.subscribe("ff/v1/beta/l/b1/command", QOS_1);
    cluster.hold_journal();
    watcher.received();
    let platform = cluster.connect(1, platform().id("other"));
    platform.put(Publish::new("ff/v1/beta/l/b1/command", b"x").at(QOS_1, 1));
    let syncs = cluster.waiting_syncs();
    assert_eq!(syncs.first(), Some(&(true, false)), "{syncs:?}");
}

#[test]
fn a_team_that_is_promised_nothing_waits_for_nothing_and_has_nothing_after_a_crash() {
    let cluster = alpha_has(2, Durability::Memory);
    cluster.hold_journal();
    let bob = cluster.dial(0, kept("bob@alpha"));
    assert_eq!(bob.connack().code, 0);
    bob.subscribe("a", QOS_2);
    let alice = cluster.connect(1, kept("alice@alpha"));
    alice.put(message(1));
    assert!(is_puback(&alice.received()));
    assert_eq!(bob.heard(), ["a x"]);
    assert_eq!(cluster.waiting_syncs(), []);
    // That a topic has no retained message any more is stated: one may have been kept before.
    alice.put(Publish {
        retain: true,
        ..message(2)
    });
    assert!(is_puback(&alice.received()));
    assert_eq!(cluster.waiting_syncs(), [(false, false)]);
    cluster.release_journal();
    let other = cluster.connect(0, kept("bob@beta"));
    drop(other);
    cluster.set_full(true);
    alice.put(Publish {
        retain: true,
        ..message(3)
    });
    assert!(
        is_puback(&alice.received()),
        "a full disk is none of its business"
    );

    cluster.crash(1);
    assert!(!cluster.dial(0, kept("bob@alpha")).connack().session_present);
    assert!(cluster.dial(0, kept("bob@beta")).connack().session_present);
    let reader = cluster.connect(0, client("carol@alpha"));
    reader.subscribe("#", QOS_0);
    assert_eq!(reader.heard(), [] as [&str; 0]);
}

/// What was retained while more was promised must not come back in the place of what came after.
#[test]
fn what_was_retained_before_a_team_was_promised_nothing_does_not_come_back() {
    let cluster = alpha_has(1, Durability::Disk);
    let alice = cluster.connect(0, client("alice@alpha"));
    alice.retain("a", "old");
    alice.retain("b", "old");
    entitle(
        &cluster.world(),
        Durability::Disk,
        &[("alpha", Durability::Memory)],
    );
    alice.retain("a", "new");
    cluster.crash(1);
    let reader = cluster.connect(0, client("carol@alpha"));
    reader.subscribe("#", QOS_0);
    assert_eq!(reader.heard(), ["b old"]);
}

/// Another plan counts at once for how long an answer waits; whether a session is kept is settled
/// when it begins.
#[test]
fn another_plan_counts_for_sessions_that_begin_afterwards() {
    let cluster = alpha_has(1, Durability::Memory);
    for name in ["bob@alpha", "dave@alpha"] {
        absent(&cluster, name);
    }
    entitle(&cluster.world(), Durability::Disk, &[]);
    // Comes back to a session of before, with what was queued for it.
    cluster.connect(0, client("alice@alpha")).put(message(1));
    let bob = cluster.dial(0, kept("bob@alpha"));
    match &bob.received()[..] {
        [ServerPacket::ConnAck(it), ServerPacket::Publish(_)] => assert!(it.session_present),
        other => panic!("{other:?}"),
    }
    let dave = cluster.connect(0, kept("dave@alpha").clean());
    dave.subscribe("a", QOS_1);
    // And the other way round: one that was kept stays so until it ends.
    entitle(
        &cluster.world(),
        Durability::Disk,
        &[("alpha", Durability::Memory)],
    );
    dave.cut();
    assert!(
        cluster
            .dial(0, kept("dave@alpha"))
            .connack()
            .session_present
    );
    cluster.crash(1);
    assert!(!cluster.dial(0, kept("bob@alpha")).connack().session_present);
    assert!(
        cluster
            .dial(0, kept("dave@alpha"))
            .connack()
            .session_present
    );
}
