//! Changes that meet what is under way: logins that are being judged, connections between shards,
//! sessions that are just made or resumed, and shards that hear of them at different times.

use std::sync::Arc;

use crate::cluster::*;
use crate::review::{change, goodbye, node, principal, removed, revoked, team_id};
use cofferdam::broker::{ChangeKind, EventKind, Refusal, Review, Standing};
use cofferdam::limits::Limits;
use cofferdam::time::Span;
use cofferdam::wire::ReasonCode;
use cofferdam::wire::client::{Property, ServerPacket, auth};

const NONE: [&str; 0] = [];

/// Closed without a word, to try again.
#[track_caller]
fn turned_away(cluster: &Cluster, client: &Client) {
    assert_eq!(client.bytes(), NOTHING);
    assert!(!client.is_open());
    let refused = EventKind::ConnectRefused {
        reason: Refusal::Changed,
        told: None,
    };
    let record = cluster.record();
    assert!(record.contains(&refused), "{record:?}");
}

#[test]
fn a_login_that_is_being_judged_does_not_slip_past_a_revocation() {
    let cluster = Cluster::new(2);
    cluster.hold_logins();
    let bob = cluster.dial(0, client("bob@alpha"));
    let other = cluster.dial(0, client("carol@alpha"));
    let logins = [(); 2].map(|()| cluster.next_login().expect("a login"));
    let verdicts = [0, 1].map(|place| cluster.judge(&logins[place]));
    cluster.review(revoked("bob@alpha"));
    for (login, verdict) in logins.iter().zip(verdicts) {
        cluster.answer(login, verdict);
    }
    turned_away(&cluster, &bob);
    assert_eq!(other.connack().code, 0, "not its concern");
    assert_eq!(cluster.sessions(), 1);
}

#[test]
fn a_login_asked_after_the_change_is_not_held_to_it() {
    let cluster = Cluster::new(2);
    cluster.review(revoked("bob@alpha"));
    let again = cluster.connect(0, client("bob@alpha"));
    // Not even while others are still gone through.
    for shard in 0..2 {
        cluster.hand_review(shard, &Arc::new(revoked("carol@alpha")));
    }
    let carol = cluster.connect(1, client("carol@alpha"));
    assert!(again.is_open() && carol.is_open());
}

#[test]
fn rights_that_change_while_a_login_is_judged_are_in_force_when_it_comes_in() {
    let cluster = Cluster::new(1);
    cluster.hold_logins();
    let bob = cluster.dial(0, client("bob@alpha"));
    let login = cluster.next_login().expect("a login");
    let verdict = cluster.judge(&login);
    cluster
        .directory()
        .client("bob@alpha", &["allow both open"]);
    let standing = Standing::Granted(cluster.grant("bob@alpha"));
    cluster.review(principal("bob@alpha", standing, ChangeKind::Rights));
    cluster.answer(&login, verdict);
    assert_eq!(bob.connack().code, 0);
    let asked = ["open", "secret"].map(|filter| (filter, options(QOS_0)));
    let codes = bob.try_subscribe(&asked, &[]);
    assert_eq!(codes, [ReasonCode::Success, ReasonCode::NotAuthorized]);
}

#[test]
fn a_challenge_that_is_answered_after_the_change_is_judged_anew() {
    let riddle = |data: &str| {
        let properties = [
            Property::AuthenticationMethod(RIDDLE.to_owned()),
            Property::AuthenticationData(data.as_bytes().to_owned()),
        ];
        auth(ReasonCode::ContinueAuthentication, &properties)
    };
    let cluster = Cluster::new(1);
    let bob = cluster.dial(0, client("bob@alpha").riddle());
    assert!(matches!(bob.answer(), ServerPacket::Auth { .. }));
    // The change comes before the last question, so that the answer to it has regard to it …
    cluster.review(revoked("bob@alpha"));
    cluster.hold_logins();
    bob.send(riddle(PASSWORD));
    let login = cluster.next_login().expect("a login");
    let verdict = cluster.judge(&login);
    // … and this one comes after.
    cluster.review(revoked("bob@alpha"));
    cluster.answer(&login, verdict);
    turned_away(&cluster, &bob);
}

#[test]
fn a_proof_that_was_judged_before_a_change_does_not_bring_the_old_rights_back() {
    let data = |reason, data: &str| {
        let properties = [
            Property::AuthenticationMethod(RIDDLE.to_owned()),
            Property::AuthenticationData(data.as_bytes().to_owned()),
        ];
        auth(reason, &properties)
    };
    for revoke in [false, true] {
        let cluster = Cluster::new(1);
        let bob = cluster.dial(0, client("bob@alpha").riddle());
        bob.send(data(ReasonCode::ContinueAuthentication, PASSWORD));
        bob.send(data(ReasonCode::ReAuthenticate, "bob@alpha"));
        cluster.hold_logins();
        bob.send(data(ReasonCode::ContinueAuthentication, PASSWORD));
        bob.received();
        let login = cluster.next_login().expect("a login");
        let verdict = cluster.judge(&login);
        cluster
            .directory()
            .client("bob@alpha", &["allow both open"]);
        if revoke {
            cluster.review(revoked("bob@alpha"));
            assert_eq!(bob.answer(), goodbye(ReasonCode::AdministrativeAction));
        } else {
            let standing = Standing::Granted(cluster.grant("bob@alpha"));
            cluster.review(principal("bob@alpha", standing, ChangeKind::Rights));
        }
        cluster.answer(&login, verdict);
        if revoke {
            assert_eq!(bob.bytes(), NOTHING);
            assert_eq!(cluster.sessions(), 0);
        } else {
            assert!(matches!(bob.answer(), ServerPacket::Auth { .. }));
            let codes = bob.try_subscribe(&[("secret", options(QOS_0))], &[]);
            assert_eq!(codes, [ReasonCode::NotAuthorized]);
        }
    }
}

#[test]
fn a_connection_between_shards_does_not_slip_past_a_revocation() {
    // Whether the shard that it comes to hears of the change before it comes, or after.
    for before in [false, true] {
        let cluster = Cluster::new(2);
        let first = cluster.connect(1, client("bob@alpha").kept(1000));
        first.cut();
        cluster.hold_between();
        let bob = cluster.dial(0, client("bob@alpha").kept(1000));
        assert_eq!(cluster.waiting_between(), [(0, 1)]);
        let review = Arc::new(revoked("bob@alpha"));
        cluster.hand_review(0, &review);
        if before {
            cluster.hand_review(1, &review);
            cluster.run();
        }
        cluster.deliver_between(0, 1);
        if before {
            turned_away(&cluster, &bob);
        } else {
            assert_eq!(bob.connack().code, 0, "nobody told this shard yet");
            cluster.hand_review(1, &review);
            cluster.run();
            assert_eq!(bob.answer(), goodbye(ReasonCode::AdministrativeAction));
        }
        assert_eq!(cluster.sessions(), 0);
    }
}

#[test]
fn a_session_that_the_change_has_not_reached_is_not_resumed_by_a_namesake() {
    // Revoked and made again: the first shard has heard of it and lets the new one in, the second
    // one, where the old session is, has not.
    let cluster = Cluster::new(2);
    let publisher = cluster.connect(1, client("alice@alpha"));
    let old = cluster.connect(1, client("bob@alpha").kept(1000));
    old.subscribe("#", QOS_1);
    old.cut();
    publisher.publish_at(QOS_1, "a", "secret");
    let review = Arc::new(revoked("bob@alpha"));
    cluster.hand_review(0, &review);
    cluster.run();
    let new = cluster.dial(0, client("bob@alpha").kept(1000));
    turned_away(&cluster, &new);
    // It has heard of it, and has not come to that session yet.
    cluster.hand_review(1, &review);
    let new = cluster.connect(1, client("bob@alpha").kept(1000));
    assert_eq!(new.heard(), NONE);
    assert_eq!(cluster.sessions(), 2);
}

#[test]
fn a_team_that_is_removed_takes_nobody_in_before_every_shard_is_through() {
    for there_was_one in [false, true] {
        let cluster = Cluster::new(2);
        if there_was_one {
            cluster.connect(1, client("alice@alpha")).retain("a", "old");
        }
        let review = Arc::new(removed("alpha"));
        cluster.hand_review(0, &review);
        cluster.run();
        for shard in 0..2 {
            let early = cluster.dial(shard, client("bob@alpha"));
            turned_away(&cluster, &early);
        }
        cluster.hand_review(1, &review);
        cluster.run();
        assert_eq!(cluster.sessions(), 0);
        for shard in 0..2 {
            let bob = cluster.connect(shard, node(usize::from(shard)));
            bob.subscribe("#", QOS_0);
            assert_eq!(bob.heard(), NONE);
        }
    }
}

#[test]
fn a_team_that_is_removed_twice_in_a_row_is_open_only_after_the_second_time() {
    let cluster = Cluster::new(2);
    let [first, second] = [(); 2].map(|()| Arc::new(removed("alpha")));
    cluster.hand_review(0, &first);
    cluster.hand_review(0, &second);
    cluster.hand_review(1, &first);
    cluster.run();
    let early = cluster.dial(1, client("bob@alpha"));
    turned_away(&cluster, &early);
    cluster.hand_review(1, &second);
    cluster.run();
    let bob = cluster.connect(0, client("bob@alpha"));
    assert!(Arc::ptr_eq(
        &cluster.team("alpha"),
        &cluster.world().teams()[0]
    ));
    assert!(bob.is_open() && !cluster.team("alpha").is_closed());
}

#[test]
fn a_login_older_than_what_is_remembered_is_to_try_again() {
    let crowd = || {
        let mut review = Review::default();
        for number in 0..40_000 {
            let (team, username) = (Some(team_id("beta")), format!("c{number}@beta"));
            let change = change(ChangeKind::Revoked);
            review.principal(team, username.into(), Standing::Gone, change);
        }
        review
    };
    let forgets: [&dyn Fn(&Cluster); 3] = [
        &|cluster| (0..1025).for_each(|_| cluster.review(Review::default())),
        &|cluster| (0..2).for_each(|_| cluster.review(crowd())),
        &|cluster| {
            cluster.review(revoked("carol@alpha"));
            cluster.pass_secs(61);
            cluster.review(revoked("carol@alpha"));
        },
    ];
    for forget in forgets {
        let limits = Limits {
            login_timeout: Span::from_secs(1000),
            ..Limits::default()
        };
        let cluster = Cluster::limited(1, limits);
        cluster.hold_logins();
        let bob = cluster.dial(0, client("bob@alpha"));
        let login = cluster.next_login().expect("a login");
        let verdict = cluster.judge(&login);
        forget(&cluster);
        cluster.answer(&login, verdict);
        turned_away(&cluster, &bob);
    }
}

/// What another shard has routed before it heard of the change is looked at once more where it
/// arrives.
#[test]
fn a_message_on_its_way_does_not_reach_who_lost_the_right_to_it_meanwhile() {
    // The filter is not granted any more, or a deny rule overlaps it now.
    for patterns in [
        ["allow both b"].as_slice(),
        &["allow both #", "deny both a"],
    ] {
        let cluster = Cluster::new(2);
        let bob = cluster.connect(1, client("bob@alpha").kept(1000));
        for filter in ["#", "a", "b"] {
            let _ = bob.try_subscribe(&[(filter, options(QOS_1))], &[]);
        }
        bob.received();
        let alice = cluster.connect(0, client("alice@alpha"));
        cluster.hold_between();
        for qos in [QOS_0, QOS_1] {
            alice.publish_at(qos, "a", "secret");
        }
        alice.publish("b", "open");
        cluster.directory().client("bob@alpha", patterns);
        let standing = Standing::Granted(cluster.grant("bob@alpha"));
        cluster.review(principal("bob@alpha", standing, ChangeKind::Rights));
        cluster.release_between();
        let heard = bob.heard();
        assert!(
            !heard.is_empty() && heard.iter().all(|it| it == "b open"),
            "{heard:?}"
        );
        cluster.crash(1);
        cluster.directory().client("bob@alpha", &["allow both #"]);
        let bob = cluster.connect(0, client("bob@alpha").kept(1000));
        assert_eq!(bob.heard(), NONE);
    }
}
