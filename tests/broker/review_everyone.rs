//! A policy that takes the place of another while clients are connected.

use std::sync::Arc;

use crate::cluster::*;
use crate::review::{change, ended, goodbye};
use cofferdam::broker::{ChangeKind, DisconnectCause, EventKind, Judge, Refusal, Review, Standing};
use cofferdam::limits::Limits;
use cofferdam::policy::Policy;
use cofferdam::wire::ReasonCode;

const HEAD: &str = "[namespace]\nteam = \"ff/v1/{team}/\"\n";
const CLIENTS: &str = "[role.client]\nusername = [\"{client}@{team}\"]\n\
    [[role.client.rules]]\nallow = \"both\"\ntopics = [\"ff/v1/{team}/a/#\"]\n";
const MORE: &str = "[[role.client.rules]]\nallow = \"both\"\ntopics = [\"ff/v1/{team}/b/#\"]\n";
const DEVICES: &str = "[role.device]\nusername = [\"device:{team}:{device}\"]\nbindings = [\"owner\"]\n\
    [[role.device.rules]]\nallow = \"both\"\ntopics = [\"ff/v1/{team}/o/{owner}/{device}\"]\n";

fn policy(parts: &[&str]) -> Policy {
    let text = format!("{HEAD}{}", parts.concat());
    Policy::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}"))
}

/// Everyone is judged by another policy.
fn by(policy: Policy) -> Review {
    let judge: Judge = Arc::new(move |grant| match policy.renew(grant) {
        Ok(grant) => Standing::Granted(Arc::new(grant)),
        Err(_) => Standing::Gone,
    });
    let mut review = Review::default();
    review.everyone(judge, change(ChangeKind::Policy));
    review
}

#[test]
fn a_new_policy_ends_what_it_does_not_grant_and_leaves_the_rest_alone() {
    let before = policy(&[CLIENTS, MORE, DEVICES]);
    let cluster = Cluster::with_policy(2, Limits::default(), before);
    let [bob, carol] = [(0, "bob@alpha"), (1, "carol@beta")].map(|(shard, username)| {
        let bob = cluster.connect(shard, client(username));
        let team = username.split('@').nth(1).expect("a team");
        for topic in ["a/x", "b/x"] {
            bob.subscribe(&format!("ff/v1/{team}/{topic}"), QOS_0);
        }
        bob
    });
    let stored = cluster.connect(1, client("dave@beta").kept(1000));
    stored.subscribe("ff/v1/beta/b/x", QOS_1);
    stored.cut();
    let device = cluster.connect(1, device("alpha", "ad"));
    device.subscribe("ff/v1/alpha/o/a1/ad", QOS_0);
    cluster.events();

    cluster.review(by(policy(&[CLIENTS, DEVICES])));
    let mut lost: Vec<_> = cluster
        .events()
        .into_iter()
        .map(|event| match event.kind {
            EventKind::SubscriptionEnded { filter, change, .. } => {
                assert_eq!(change.kind, ChangeKind::Policy);
                (
                    event.who.username.expect("a name").to_string(),
                    filter.to_string(),
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    lost.sort();
    let lost: Vec<_> = lost.iter().map(|(who, what)| (&**who, &**what)).collect();
    assert_eq!(
        lost,
        [
            ("bob@alpha", "ff/v1/alpha/b/x"),
            ("carol@beta", "ff/v1/beta/b/x"),
            ("dave@beta", "ff/v1/beta/b/x"),
        ]
    );
    assert!(
        [&bob, &carol, &device]
            .iter()
            .all(|client| client.is_open())
    );
    bob.publish("ff/v1/alpha/a/x", "1");
    assert_eq!(bob.heard(), ["ff/v1/alpha/a/x 1"]);
    // What was on record about it, its owner, is known still.
    device.publish("ff/v1/alpha/o/a1/ad", "1");
    assert_eq!(device.heard(), ["ff/v1/alpha/o/a1/ad 1"]);
}

#[test]
fn whom_the_new_policy_does_not_know_is_told_that_it_is_not_authorized() {
    let cluster = Cluster::with_policy(2, Limits::default(), policy(&[CLIENTS, DEVICES]));
    let bob = cluster.connect(0, client("bob@alpha"));
    let device = cluster.connect(1, device("alpha", "ad").kept(1000));
    cluster.review(by(policy(&[CLIENTS])));
    assert_eq!(device.answer(), goodbye(ReasonCode::NotAuthorized));
    let cause = DisconnectCause::Review(change(ChangeKind::Policy));
    assert_eq!(ended(&cluster), [("device:alpha:ad".to_owned(), cause)]);
    assert_eq!(cluster.sessions(), 1, "its session has ended");
    assert!(bob.is_open());
}

#[test]
fn whoever_must_have_another_client_id_now_is_cut() {
    let strict = CLIENTS.replace("username =", "client_id = [\"{client}\"]\nusername =");
    let cluster = Cluster::with_policy(1, Limits::default(), policy(&[CLIENTS]));
    let fits = cluster.connect(0, client("bob@alpha").id("bob"));
    let not = cluster.connect(0, client("bob@alpha").id("another"));
    let assigned = cluster.connect(0, client("bob@alpha").id(""));
    cluster.review(by(policy(&[&strict])));
    assert!(fits.is_open());
    for cut in [not, assigned] {
        assert_eq!(cut.answer(), goodbye(ReasonCode::NotAuthorized));
    }
}

#[test]
fn a_login_judged_by_the_old_policy_comes_in_under_the_new_one() {
    let before = policy(&[CLIENTS, MORE, DEVICES]);
    let cluster = Cluster::with_policy(1, Limits::default(), before);
    cluster.hold_logins();
    let bob = cluster.dial(0, client("bob@alpha"));
    let device = cluster.dial(0, device("alpha", "ad"));
    let logins = [(); 2].map(|()| cluster.next_login().expect("a login"));
    let verdicts = [0, 1].map(|place| cluster.judge(&logins[place]));
    cluster.review(by(policy(&[CLIENTS])));
    for (login, verdict) in logins.iter().zip(verdicts) {
        cluster.answer(login, verdict);
    }
    assert_eq!(bob.connack().code, 0);
    let codes = bob.try_subscribe(&[("ff/v1/alpha/b/x", options(QOS_0))], &[]);
    assert_eq!(codes, [ReasonCode::NotAuthorized]);
    assert_eq!(device.bytes(), NOTHING);
    assert!(!device.is_open());
    let refused = EventKind::ConnectRefused {
        reason: Refusal::Changed,
        told: None,
    };
    assert!(cluster.record().contains(&refused));
}

#[test]
fn the_will_of_a_client_that_the_new_policy_has_no_place_for_goes_to_nobody() {
    let sees = MORE.replace("/b/", "/o/");
    let before = policy(&[CLIENTS, &sees, DEVICES]);
    let cluster = Cluster::with_policy(2, Limits::default(), before);
    let watcher = cluster.connect(0, client("alice@alpha"));
    watcher.subscribe("ff/v1/alpha/o/#", QOS_1);
    let topic = "ff/v1/alpha/o/a1/ad";
    let connected = device("alpha", "ad").will(topic, "gone");
    let connected = cluster.connect(1, connected);
    connected.publish(topic, "here");
    assert_eq!(watcher.heard(), ["ff/v1/alpha/o/a1/ad here"]);
    cluster.events();
    cluster.review(by(policy(&[CLIENTS, &sees])));
    assert!(!connected.is_open());
    assert_eq!(watcher.heard(), [] as [&str; 0]);
    let withdrawn = EventKind::PublishRefused {
        topic: topic.into(),
        reason: ReasonCode::NotAuthorized,
        why: "policy",
        will: true,
    };
    assert!(cluster.record().contains(&withdrawn));
}
