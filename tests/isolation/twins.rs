//! Two teams that use the same names for everything.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::wire::client::Property;
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions};

const NONE: [&str; 0] = [];

#[test]
fn the_same_names_in_two_teams_are_different_things() {
    let cluster = Cluster::new(2);
    let pairs = ["alpha", "beta"].map(|team| {
        let hears = cluster.connect(0, client(&format!("alice@{team}")));
        hears.subscribe("x", QOS_1);
        hears.subscribe("$share/group/y", QOS_1);
        let says = cluster.connect(1, client(&format!("bob@{team}")));
        (hears, says)
    });
    let [(alpha, says_in_alpha), (beta, says_in_beta)] = &pairs;
    says_in_alpha.retain("x", "alpha's");
    for _ in 0..4 {
        says_in_alpha.publish_at(QOS_1, "y", "alpha's");
    }
    assert_eq!(beta.heard(), NONE);
    assert_eq!(alpha.heard().len(), 5);
    beta.subscribe("#", QOS_1);
    assert_eq!(beta.heard(), NONE, "nothing is retained in beta");
    // Clearing and overwriting touch only one's own.
    says_in_beta.retain("x", "");
    says_in_beta.retain("x", "beta's");
    beta.messages();
    let late = |team: &str| {
        let late = cluster.connect(1, client(&format!("carol@{team}")));
        late.subscribe("x", QOS_0);
        late.heard()
    };
    assert_eq!(late("alpha"), ["x alpha's"]);
    assert_eq!(late("beta"), ["x beta's"]);
    // Unsubscribing, too.
    beta.unsubscribe(&["x", "$share/group/y"]);
    let answer = says_in_alpha.publish_at(QOS_1, "x", "still");
    assert_eq!(answer, ReasonCode::Success);
    assert_eq!(alpha.heard(), ["x still"]);
}

#[test]
fn a_share_group_of_the_same_name_takes_nothing_from_another_team() {
    unnoticed(|attacker| {
        let names = ["alice@beta", "bob@beta", "carol@beta"];
        let spies = names.map(|name| {
            let spy = attacker.login(name);
            let filters = [
                "$share/g/#",
                "$share/g/x",
                "$share/a1/ff/v1/alpha/p/a1/in/#",
                "$share/g/../../alpha/c/x",
            ];
            for filter in filters {
                spy.try_subscribe(&[(filter, options(QOS_1))], &[]);
            }
            spy
        });
        let home = attacker.login("dave@beta");
        home.publish_at(QOS_1, "y", "beta's");
        let heard: usize = spies.iter().map(|spy| spy.heard().len()).sum();
        assert_eq!(heard, 1, "the control: one of the group at home");
        // They stay while alpha goes about its work, in the attacker's next strikes.
        for spy in &spies {
            assert!(spy.is_open());
        }
    });
}

#[test]
fn spies_that_stay_in_groups_of_alphas_names_get_nothing_of_its_work() {
    let cluster = Cluster::new(2);
    let spies = ["alice@beta", "bob@beta", "mq:hosted:beta:b1"].map(|name| {
        let spy = cluster.connect(1, client(name).kept(1_000));
        spy.subscribe("$share/g/work", QOS_1);
        spy
    });
    let alpha = cluster.connect(0, client("alice@alpha"));
    alpha.subscribe("$share/g/work", QOS_1);
    let publisher = cluster.connect(1, client("bob@alpha"));
    for _ in 0..8 {
        publisher.publish_at(QOS_1, "work", SECRET);
    }
    assert_eq!(alpha.heard().len(), 8);
    // What waits for a member that is away goes to nobody of another team either.
    alpha.cut();
    publisher.publish_at(QOS_1, "work", SECRET);
    assert!(spies.iter().all(|spy| spy.heard() == NONE));
    let home = cluster.connect(0, client("dave@beta"));
    home.publish_at(QOS_1, "work", "beta's");
    let heard: usize = spies.iter().map(|spy| spy.heard().len()).sum();
    assert_eq!(heard, 1, "the control");
}

#[test]
fn qos_and_options_make_no_difference_to_the_boundary() {
    let cluster = Cluster::new(2);
    let alpha = cluster.connect(0, instance("alpha", "a1"));
    let spy = cluster.connect(0, instance("beta", "b1"));
    let ways = [
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ];
    alpha.retain("ff/v1/alpha/c/kept", SECRET);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for retain_handling in ways {
            for flags in 0..4 {
                let options = SubscriptionOptions {
                    qos,
                    no_local: flags & 1 > 0,
                    retain_as_published: flags & 2 > 0,
                    retain_handling,
                };
                let filters = [("ff/v1/alpha/c/#", options), ("ff/v1/beta/c/#", options)];
                let codes = spy.try_subscribe(&filters, &[Property::SubscriptionId(1)]);
                assert_eq!(codes[0], ReasonCode::NotAuthorized);
                assert_eq!(codes[1].as_byte(), qos as u8, "the control");
                alpha.publish_at(qos, "ff/v1/alpha/c/x", SECRET);
                assert_eq!(spy.heard(), NONE);
            }
        }
    }
}
