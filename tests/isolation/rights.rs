//! What was allowed once: subscriptions, messages that wait, retained messages and wills, after the
//! right to them is gone.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::broker::{Change, ChangeKind, Drop, EventKind, Review, Standing};
use cofferdam::wire::ReasonCode;
use cofferdam::wire::client::Property;

const NONE: [&str; 0] = [];

#[test]
fn a_retained_message_is_handed_to_nobody_who_has_lost_the_right_to_it() {
    let cluster = Cluster::new(2);
    cluster
        .connect(0, client("alice@alpha"))
        .retain("secret/x", SECRET);
    let hello = client("bob@alpha").kept(1_000);
    let bob = cluster.connect(1, hello.clone());
    bob.subscribe("#", QOS_1);
    assert_eq!(bob.heard().len(), 1, "the control");
    let patterns = ["allow both #", "deny both secret/#"];
    cluster.directory().client("bob@alpha", &patterns);
    let bob = cluster.connect(1, hello);
    bob.subscribe("#", QOS_1);
    assert_eq!(bob.heard(), NONE, "left out of a wider filter");
    let codes = bob.try_subscribe(&[("secret/x", options(QOS_1))], &[]);
    assert_eq!(codes, [ReasonCode::NotAuthorized]);
    // Nor can it be overwritten or cleared.
    let clear = cofferdam::wire::client::Publish {
        retain: true,
        qos: QOS_1,
        ..cofferdam::wire::client::Publish::new("secret/x", b"")
    };
    assert_eq!(bob.complete(clear), ReasonCode::NotAuthorized);
    let late = cluster.connect(0, client("carol@alpha"));
    late.subscribe("#", QOS_0);
    assert_eq!(late.heard(), [format!("secret/x {SECRET}")]);
    let refused = cluster.record();
    let refused: Vec<_> = refused.iter().map(|it| (it.as_str(), reason(it))).collect();
    for event in ["subscribe_refused", "publish_refused"] {
        assert!(
            refused.contains(&(event, "policy".to_owned())),
            "{refused:?}"
        );
    }
}

#[test]
fn a_will_that_is_no_longer_allowed_is_not_sent() {
    let cluster = Cluster::new(2);
    let witness = cluster.connect(0, client("alice@alpha"));
    witness.subscribe("#", QOS_1);
    for (patterns, heard) in [(&["allow both #"][..], 1), (&["allow both own/#"], 0)] {
        cluster.directory().client("bob@alpha", &["allow both #"]);
        let delay = vec![Property::WillDelay(60)];
        let hello = client("bob@alpha").kept(1_000);
        let will = hello
            .clone()
            .with_will("x", "bob's will", QOS_1, true, delay);
        let bob = cluster.connect(1, will);
        bob.cut();
        // It comes back with the rights of now, and leaves the same will.
        cluster.directory().client("bob@alpha", patterns);
        let will = hello.with_will("x", "bob's will", QOS_1, true, vec![]);
        cluster.connect(1, will).cut();
        assert_eq!(witness.heard().len(), heard, "{patterns:?}");
        cluster.pass_secs(100);
        assert_eq!(witness.heard(), NONE);
    }
    let refused = cluster.record().into_iter().any(|kind| {
        matches!(kind, EventKind::PublishRefused { will: true, why: "policy", topic, .. }
            if &*topic == "ff/v1/alpha/c/x")
    });
    assert!(refused, "on record");
}

#[test]
fn a_device_that_went_to_another_owner_keeps_nothing_of_the_first_ones() {
    let cluster = Cluster::new(2);
    let hello = device("alpha", "ad").kept(1_000);
    let device = cluster.connect(0, hello.clone());
    let old = "ff/v1/alpha/p/a1/command";
    device.subscribe(old, QOS_1);
    device.cut();
    let platform = cluster.connect(1, platform());
    platform.publish_at(QOS_1, old, "for a1's devices");
    cluster
        .directory()
        .device("alpha", "ad", ("instance", "a2"));
    let back = cluster.dial(0, hello);
    assert!(back.connack().session_present);
    assert_eq!(back.heard(), NONE, "what waited is let go");
    assert_eq!(cluster.dropped(Drop::Denied), 1);
    let codes = back.try_subscribe(&[(old, options(QOS_1))], &[]);
    assert_eq!(codes, [ReasonCode::NotAuthorized]);
    back.subscribe("ff/v1/alpha/p/a2/command", QOS_1);
    platform.publish_at(QOS_1, old, "for a1's devices");
    platform.publish_at(QOS_1, "ff/v1/alpha/p/a2/command", "for a2's");
    assert_eq!(back.heard(), ["ff/v1/alpha/p/a2/command for a2's"]);
}

#[test]
fn who_moves_to_another_team_under_the_same_name_finds_nothing_and_leaves_everything() {
    unnoticed(|attacker| {
        // The same user, device id and client id, in a team of the attacker's making.
        for team in ["beta", "gamma"] {
            for id in ["ad", "a1"] {
                let mut directory = attacker.cluster.directory();
                directory.device(team, id, ("instance", "a1"));
                directory.instance(team, id);
            }
            for (username, id) in [
                (format!("device:{team}:ad"), "device:alpha:ad"),
                (format!("project:{team}:a1"), "project:alpha:a1"),
            ] {
                let mover = attacker.connect(client(&username).id(id).kept(60));
                let own = format!("ff/v1/{team}/c/#");
                mover.subscribe(&own, QOS_1);
                assert_eq!(mover.heard(), NONE);
                let old = "ff/v1/alpha/c/#";
                mover.try_subscribe(&[(old, options(QOS_1))], &[]);
                let deeds = deeds_of_team(attacker, &username, team);
                assert!(deeds.contains(&"subscribe_refused"), "{deeds:?}");
            }
        }
        // The demo's device belongs to its own instance again.
        let mut directory = attacker.cluster.directory();
        directory.device("alpha", "ad", ("instance", "a1"));
    });
}

fn deeds_of_team(attacker: &Attacker<'_>, username: &str, team: &str) -> Vec<&'static str> {
    let events = attacker.cluster.events();
    let own = events.iter().filter(|event| {
        event.who.username.as_deref() == Some(username)
            && event
                .who
                .team
                .as_ref()
                .is_some_and(|it| it.as_str() == team)
    });
    own.map(|event| event.kind.as_str()).collect()
}

#[test]
fn a_change_that_is_told_holds_for_wills_and_retained_messages_at_once() {
    let cluster = Cluster::new(2);
    let witness = cluster.connect(0, client("alice@alpha"));
    witness.subscribe("#", QOS_1);
    let delay = vec![Property::WillDelay(60)];
    let wills = [("bob@alpha", vec![]), ("carol@alpha", delay)].map(|(name, properties)| {
        let hello = client(name).kept(1_000);
        let client = cluster.connect(1, hello.with_will("x", "a will", QOS_1, true, properties));
        client.subscribe("#", QOS_1);
        client
    });
    // One of them is away already, and its will is to come.
    wills[1].cut();
    let mut review = Review::default();
    for name in ["bob@alpha", "carol@alpha"] {
        cluster.directory().client(name, &["allow both own/#"]);
        let grant = cluster.grant(name);
        let (team, change) = (grant.team().cloned(), Change::of(ChangeKind::Rights));
        review.principal(team, name.into(), Standing::Granted(grant), change);
    }
    cluster.review(review);
    witness.retain("secret", SECRET);
    witness.messages();
    wills[0].cut();
    cluster.pass_secs(100);
    assert_eq!(witness.heard(), NONE, "no will goes out");
    assert_eq!(
        cluster.team("alpha").with_retained(|kept| kept.len()),
        1,
        "nor is one kept"
    );
    let refused = cluster.record();
    let refused = refused.iter().filter(|kind| {
        matches!(
            kind,
            EventKind::PublishRefused {
                will: true,
                why: "policy",
                ..
            }
        )
    });
    assert_eq!(refused.count(), 2);
    let back = cluster.connect(1, client("bob@alpha").kept(1_000));
    assert_eq!(back.heard(), NONE, "the subscription ended with the right");
}
