//! A policy that is observed: what it would have decided otherwise is counted and on record, and
//! nothing else comes of it.

use crate::cluster::*;
use cofferdam::broker::{Act, EventKind, Observed};
use cofferdam::limits::Limits;
use cofferdam::policy::Policy;
use cofferdam::wire::ReasonCode;

const PROFILE: &str = include_str!("../../config/policy/flowfuse.toml");
/// Comes after the table of `[role.client]`.
const NEXT_ROLE: &str = "[role.hosted-nodes]";

/// The built-in profile with one more rule for clients of a team.
fn with_rule(rule: &str) -> Policy {
    let rule = format!("[[role.client.rules]]\n{rule}\n\n{NEXT_ROLE}");
    let text = PROFILE.replacen(NEXT_ROLE, &rule, 1);
    Policy::parse("new.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// Clients may not have anything to do with `secret/#`.
fn no_secrets() -> Policy {
    with_rule("deny = \"both\"\ntopics = [\"ff/v1/{team}/c/secret/#\"]")
}

fn profile() -> Policy {
    Policy::flowfuse().unwrap_or_else(|error| panic!("{error}"))
}

/// What was observed since the last call, as `username: act, what would be, topic`.
fn told(cluster: &Cluster) -> Vec<String> {
    let events = cluster.events().into_iter();
    let told = events.filter_map(|event| match event.kind {
        EventKind::Observed {
            act,
            would_allow,
            topic,
        } => {
            let would = if would_allow { "allow" } else { "deny" };
            let who = event.who.username.expect("somebody");
            Some(format!("{who}: {} {would} {topic}", act.as_str()))
        }
        _ => None,
    });
    told.collect()
}

fn observed(cluster: &Cluster) -> Observed {
    cluster.counters(0).observed
}

#[test]
fn what_would_be_denied_is_carried_out_all_the_same_and_counted_and_told() {
    let cluster = Cluster::new(1);
    cluster.observe(Some(no_secrets()));
    let alice = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("#", QOS_0);
    bob.subscribe("secret/#", QOS_0);
    bob.unsubscribe(&["secret/#"]);
    assert_eq!(
        told(&cluster),
        ["bob@alpha: subscribe deny ff/v1/alpha/c/secret/#"]
    );
    for topic in ["secret/a", "open/a", "secret/a", "secret/a"] {
        let code = alice.publish_at(QOS_1, topic, "x");
        assert_eq!(code, ReasonCode::Success);
    }
    assert_eq!(
        bob.heard(),
        ["secret/a x", "open/a x", "secret/a x", "secret/a x"]
    );
    // Three messages were counted, and each of the two differences told once.
    assert_eq!(
        observed(&cluster),
        Observed {
            subscribe_denied: 1,
            publish_denied: 3,
            deliver_denied: 3,
            ..Observed::default()
        }
    );
    assert_eq!(
        told(&cluster),
        [
            "alice@alpha: publish deny ff/v1/alpha/c/secret/a",
            "bob@alpha: deliver deny ff/v1/alpha/c/secret/a",
        ]
    );
}

#[test]
fn what_would_be_allowed_stays_denied_and_is_counted_and_told() {
    let cluster = Cluster::with_policy(1, Limits::default(), no_secrets());
    cluster.observe(Some(profile()));
    let alice = cluster.connect(0, client("alice@alpha"));
    let full = cluster.connect(0, instance("alpha", "a1"));
    alice.subscribe("#", QOS_0);
    let refused = alice.try_subscribe(&[("secret/#", options(QOS_0))], &[]);
    assert_eq!(refused, [ReasonCode::NotAuthorized]);
    for _ in 0..2 {
        let code = alice.publish_at(QOS_1, "secret/a", "x");
        assert_eq!(code, ReasonCode::NotAuthorized);
        full.publish("ff/v1/alpha/c/secret/b", "left out");
    }
    full.publish("ff/v1/alpha/c/open", "delivered");
    assert_eq!(alice.heard(), ["open delivered"]);
    assert_eq!(
        observed(&cluster),
        Observed {
            subscribe_allowed: 1,
            publish_allowed: 2,
            deliver_allowed: 2,
            ..Observed::default()
        }
    );
    assert_eq!(
        told(&cluster),
        [
            "alice@alpha: subscribe allow ff/v1/alpha/c/secret/#",
            "alice@alpha: publish allow ff/v1/alpha/c/secret/a",
            "alice@alpha: deliver allow ff/v1/alpha/c/secret/b",
        ]
    );
}

#[test]
fn subscriptions_that_stand_are_told_when_the_session_next_has_to_do_with_the_policy() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, client("alice@alpha"));
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("secret/a", QOS_0);
    bob.subscribe("open/a", QOS_0);
    cluster.observe(Some(no_secrets()));
    assert_eq!(told(&cluster), [""; 0]);
    alice.publish("open/a", "1");
    alice.publish("open/a", "2");
    assert_eq!(bob.heard(), ["open/a 1", "open/a 2"]);
    assert_eq!(
        told(&cluster),
        ["bob@alpha: subscribe deny ff/v1/alpha/c/secret/a"]
    );
    assert_eq!(observed(&cluster).subscribe_denied, 1);
}

#[test]
fn a_topic_that_was_remembered_is_asked_about_again_when_observing_begins_changes_and_ends() {
    let cluster = Cluster::new(1);
    let alice = cluster.connect(0, client("alice@alpha"));
    let denied = || observed(&cluster).publish_denied;
    alice.publish("secret/a", "before");
    cluster.observe(Some(no_secrets()));
    alice.publish("secret/a", "under the first");
    assert_eq!(denied(), 1);
    cluster.observe(Some(profile()));
    alice.publish("secret/a", "under the second, which is as the one in force");
    assert_eq!(denied(), 1);
    cluster.observe(Some(no_secrets()));
    alice.publish("secret/a", "under the first again");
    assert_eq!(denied(), 2);
    cluster.observe(None);
    alice.publish("secret/a", "under none");
    assert_eq!(denied(), 2);
    assert_eq!(told(&cluster).len(), 2);
}

#[test]
fn a_principal_that_could_not_log_in_would_be_denied_everything() {
    let cluster = Cluster::new(1);
    let text = PROFILE.replacen(
        "username = [\"{client}@{team}\"]",
        "username = [\"c:{client}@{team}\"]",
        1,
    );
    let policy = Policy::parse("new.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    cluster.observe(Some(policy));
    let alice = cluster.connect(0, client("alice@alpha"));
    let nodes = cluster.connect(0, anonymous("open"));
    alice.subscribe("a", QOS_0);
    alice.publish("a", "x");
    nodes.publish("a", "y");
    assert_eq!(alice.heard(), ["a x", "a y"]);
    let all = told(&cluster);
    assert_eq!(
        all,
        [
            "alice@alpha: subscribe deny ff/v1/alpha/c/a",
            "alice@alpha: publish deny ff/v1/alpha/c/a",
        ],
        "who needs no username is who it was"
    );
}

#[test]
fn a_will_is_observed_as_any_publish() {
    let cluster = Cluster::new(1);
    let bob = cluster.connect(0, client("bob@alpha"));
    bob.subscribe("#", QOS_0);
    let hello = client("alice@alpha").will("secret/gone", "bye");
    let alice = cluster.connect(0, hello);
    cluster.observe(Some(no_secrets()));
    alice.cut();
    assert_eq!(bob.heard(), ["secret/gone bye"]);
    let mut all = told(&cluster);
    all.sort();
    assert_eq!(
        all,
        [
            "alice@alpha: publish deny ff/v1/alpha/c/secret/gone",
            "bob@alpha: deliver deny ff/v1/alpha/c/secret/gone",
        ]
    );
    assert_eq!(observed(&cluster).publish_denied, 1);
}

#[test]
fn the_words_on_record_are_fixed() {
    let words = [Act::Publish, Act::Subscribe, Act::Deliver].map(Act::as_str);
    assert_eq!(words, ["publish", "subscribe", "deliver"]);
}
