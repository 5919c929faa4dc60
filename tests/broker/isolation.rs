//! Nothing crosses from one team to another. Written as an attacker who has valid credentials of
//! `beta` in every role and knows all there is to know of `alpha`.
//!
//! Each attack ends in nothing that anyone in `alpha` could see, and in an answer that says nothing
//! of `alpha`; each has a control that shows that the same deed works at home.

use crate::cluster::*;
use cofferdam::broker::EventKind;
use cofferdam::wire::client::{Property, Publish, ServerPacket, subscribe};
use cofferdam::wire::{QoS, ReasonCode, SubscriptionOptions, Version};

const NONE: [&str; 0] = [];

/// Usernames of every role that the attacker has.
const ATTACKERS: [&str; 9] = [
    "alice@beta",
    "project:beta:b1",
    "device:beta:bd",
    "frontend:beta:bd",
    "fe-team:u:beta:s",
    "mq:hosted:beta:b1",
    "agent:watch@beta",
    "expert-client:u:s",
    "expert-agent:u:s",
];

/// Topics that somebody in `alpha` listens to.
const TARGETS: [&str; 8] = [
    "ff/v1/alpha/c/x",
    "ff/v1/alpha/p/a1/in/x",
    "ff/v1/alpha/p/a1/out/x",
    "ff/v1/alpha/p/a2/res/x",
    "ff/v1/alpha/l/a1/command",
    "ff/v1/alpha/d/ad/command",
    "ff/v1/alpha/d/ad/logs",
    "ff/v1/alpha/t/updated",
];

/// Everyone in `alpha`, each subscribed to all that its role may have.
struct Alpha {
    everyone: Vec<(&'static str, Client)>,
}

impl Alpha {
    fn moves_in(cluster: &Cluster) -> Self {
        let subscriptions: [(&str, &[&str]); 6] = [
            ("alice@alpha", &["#", "$share/g/#"]),
            (
                "project:alpha:a1",
                &[
                    "ff/v1/alpha/c/#",
                    "ff/v1/alpha/p/+/out/#",
                    "ff/v1/alpha/p/a1/in/#",
                    "ff/v1/alpha/l/a1/command",
                ],
            ),
            (
                "project:alpha:a2",
                &["ff/v1/alpha/p/a2/in/#", "ff/v1/alpha/p/a2/res/#"],
            ),
            (
                "device:alpha:ad",
                &["ff/v1/alpha/d/ad/command", "ff/v1/alpha/c/#"],
            ),
            ("frontend:alpha:ad", &["ff/v1/alpha/d/+/logs"]),
            ("fe-team:u:alpha:s", &["ff/v1/alpha/t/updated"]),
        ];
        let everyone = subscriptions.map(|(username, filters)| {
            let member = cluster.connect(username.len() as u16 % 2, client(username));
            for filter in filters {
                member.subscribe(filter, QOS_2);
            }
            (username, member)
        });
        Self {
            everyone: everyone.into(),
        }
    }

    /// What each of them got, by name.
    #[track_caller]
    fn heard(&self) -> Vec<(&'static str, String)> {
        let everyone = self.everyone.iter();
        let heard = everyone.flat_map(|(name, member)| {
            assert!(member.is_open(), "{name} was cut");
            member.heard().into_iter().map(|told| (*name, told))
        });
        heard.collect()
    }

    #[track_caller]
    fn heard_nothing(&self) {
        assert_eq!(self.heard(), []);
    }
}

/// Routes, retained messages and sessions of `alpha`.
fn inventory(cluster: &Cluster) -> (usize, usize, usize) {
    let team = cluster.team("alpha");
    (
        team.subscriptions(),
        team.with_retained(|retained| retained.len()),
        team.registry.len(),
    )
}

#[test]
fn no_role_of_another_team_can_publish_into_a_team() {
    let cluster = Cluster::new(2);
    let alpha = Alpha::moves_in(&cluster);
    let before = inventory(&cluster);
    for username in ATTACKERS {
        for version in [Version::V311, Version::V5] {
            let attacker = cluster.connect(0, client(username).version(version));
            for target in TARGETS {
                for qos in [QOS_0, QOS_1, QOS_2] {
                    for retain in [false, true] {
                        let answer = attacker.complete(Publish {
                            qos,
                            retain,
                            ..Publish::new(target, b"attack")
                        });
                        // A mounted client's names are its own: it publishes at home.
                        let at_home = username.ends_with("@beta") || username.starts_with("mq:");
                        if !at_home && qos > QOS_0 && version == Version::V5 {
                            assert_eq!(answer, ReasonCode::NotAuthorized, "{username} {target}");
                        }
                    }
                }
            }
            assert!(attacker.is_open(), "{username}");
            attacker.disconnect();
        }
    }
    alpha.heard_nothing();
    assert_eq!(inventory(&cluster), before);
    let refused = cluster.record().into_iter().filter(|kind| {
        matches!(kind, EventKind::PublishRefused { topic, why: "outside the team", .. }
            if topic.starts_with("ff/v1/alpha/"))
    });
    assert_eq!(
        refused.count(),
        6 * 2 * TARGETS.len() * 6,
        "each on record, for the six not mounted"
    );
    // The control: the same from inside.
    let insider = cluster.connect(0, client("bob@alpha"));
    insider.publish("x", "inside");
    assert!(
        alpha
            .heard()
            .contains(&("alice@alpha", "x inside".to_owned()))
    );
    let insider = cluster.connect(1, instance("alpha", "a2").id("n:1"));
    insider.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "inside");
    assert_eq!(
        alpha.heard(),
        [(
            "project:alpha:a1",
            "ff/v1/alpha/p/a1/in/x inside".to_owned()
        )]
    );
}

#[test]
fn no_role_of_another_team_can_subscribe_into_a_team() {
    let cluster = Cluster::new(2);
    let filters: Vec<String> = TARGETS
        .iter()
        .flat_map(|target| {
            [
                (*target).to_owned(),
                format!("$share/g/{target}"),
                format!("{target}/#"),
            ]
        })
        .chain(
            [
                "#",
                "+/#",
                "ff/#",
                "ff/v1/#",
                "ff/v1/+/#",
                "ff/v1/+/c/#",
                "ff/v1/alpha/#",
                "+/v1/alpha/c/x",
                "ff/+/alpha/c/x",
                "$share/g/#",
                "$share/platform/ff/v1/+/l/+/status",
                "$SYS/#",
            ]
            .map(str::to_owned),
        )
        .collect();
    let inside = cluster.connect(0, instance("alpha", "a1"));
    let mounted = cluster.connect(1, client("alice@alpha"));
    mounted.retain("kept", "alpha's");
    let before = inventory(&cluster);
    for username in ATTACKERS {
        let spy = cluster.connect(1, client(username));
        cluster.events();
        for filter in &filters {
            spy.try_subscribe(&[(filter, options(QOS_2))], &[]);
        }
        let refused = cluster.record().into_iter().filter(|kind| {
            matches!(
                kind,
                EventKind::SubscribeRefused {
                    why: "outside the team",
                    ..
                }
            )
        });
        // A mounted client's filters are its own: they find what is at home.
        let at_home = username.ends_with("@beta") || username.starts_with("mq:");
        let expected = if at_home { 0 } else { filters.len() };
        assert_eq!(refused.count(), expected, "{username}");
        assert_eq!(
            inventory(&cluster).0,
            before.0,
            "{username} stands in alpha's routes"
        );
        mounted.publish_at(QOS_2, "x", "secret");
        mounted.retain("kept", "alpha's");
        for target in TARGETS {
            inside.publish_at(QOS_1, target, "secret");
        }
        assert_eq!(spy.heard(), NONE, "{username}");
        assert!(spy.is_open());
        spy.disconnect();
    }
    // The control: with the same filters at home, alpha's own hear it.
    let insider = cluster.connect(1, client("bob@alpha"));
    insider.subscribe("#", QOS_2);
    assert_eq!(insider.heard(), ["kept alpha's"]);
    mounted.publish_at(QOS_2, "x", "secret");
    assert_eq!(insider.heard(), ["x secret"]);
}

#[test]
fn no_will_of_another_team_goes_out_in_a_team() {
    let cluster = Cluster::new(2);
    let alpha = Alpha::moves_in(&cluster);
    let before = inventory(&cluster);
    for username in ATTACKERS {
        for target in TARGETS {
            let delay = vec![Property::WillDelay(1)];
            for (retain, properties) in [(false, vec![]), (true, delay)] {
                let hello = client(username).kept(10).clean();
                cluster
                    .connect(
                        0,
                        hello.with_will(target, "attack", QOS_2, retain, properties),
                    )
                    .cut();
                cluster.pass_secs(20);
            }
        }
    }
    alpha.heard_nothing();
    assert_eq!(inventory(&cluster), before);
    let refused = cluster.record().into_iter().filter(|kind| {
        matches!(kind, EventKind::PublishRefused { topic, why: "outside the team", will: true, .. }
            if topic.starts_with("ff/v1/alpha/"))
    });
    assert_eq!(
        refused.count(),
        6 * TARGETS.len() * 2,
        "each on record, for the six not mounted"
    );
    let insider = client("bob@alpha").will("x", "inside");
    cluster.connect(0, insider).cut();
    assert!(
        alpha
            .heard()
            .contains(&("alice@alpha", "x inside".to_owned())),
        "the control"
    );
}

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
    assert_eq!(
        says_in_alpha.publish_at(QOS_1, "x", "still"),
        ReasonCode::Success
    );
    assert_eq!(alpha.heard(), ["x still"]);
}

#[test]
fn a_share_group_of_the_same_name_takes_nothing_from_another_team() {
    let cluster = Cluster::new(2);
    let alpha = cluster.connect(0, client("alice@alpha"));
    alpha.subscribe("$share/g/work", QOS_1);
    let spies: Vec<Client> = ["alice@beta", "bob@beta", "carol@beta"]
        .iter()
        .map(|name| {
            let spy = cluster.connect(1, client(name));
            spy.subscribe("$share/g/work", QOS_1);
            for filter in ["$share/g/ff/v1/alpha/c/work", "$share/g/../../alpha/c/work"] {
                spy.try_subscribe(&[(filter, options(QOS_1))], &[]);
            }
            spy
        })
        .collect();
    let publisher = cluster.connect(0, client("bob@alpha"));
    for _ in 0..8 {
        publisher.publish_at(QOS_1, "work", "alpha's");
    }
    assert_eq!(alpha.heard().len(), 8);
    assert!(spies.iter().all(|spy| spy.heard() == NONE));
    cluster
        .connect(0, client("dave@beta"))
        .publish_at(QOS_1, "work", "beta's");
    assert_eq!(
        spies.iter().map(|spy| spy.heard().len()).sum::<usize>(),
        1,
        "the control"
    );
}

#[test]
fn no_client_id_takes_or_resumes_another_teams_session() {
    let cluster = Cluster::new(2);
    let victim = instance("alpha", "a1").id("project:alpha:a1").kept(1_000);
    let first = cluster.connect(0, victim.clone());
    first.subscribe("ff/v1/alpha/p/a1/in/#", QOS_2);
    let sender = cluster.connect(0, instance("alpha", "a2"));
    let forge = |username: &str| client(username).id("project:alpha:a1").kept(1_000);
    // Those whose role lets them choose a client id; the others are refused at the door.
    let attack = |present: bool| {
        for username in ATTACKERS
            .into_iter()
            .chain(["project:alpha:a2", "device:alpha:ad"])
        {
            for shard in [0, 1] {
                let attacker = cluster.dial(shard, forge(username));
                for packet in attacker.received() {
                    match packet {
                        ServerPacket::ConnAck(connack) => assert!(!connack.session_present),
                        other => panic!("{username} got {other:?}"),
                    }
                }
                if attacker.is_open() {
                    let end = [Property::SessionExpiry(0)];
                    attacker.disconnect_with(ReasonCode::Success, &end);
                }
            }
        }
        assert_eq!(first.is_open(), present);
    };
    attack(true);
    sender.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "1");
    assert_eq!(first.heard().len(), 1);
    first.cut();
    sender.publish_at(QOS_2, "ff/v1/alpha/p/a1/in/x", "2");
    attack(false);
    let back = cluster.dial(1, victim.clone());
    let packets = back.received();
    assert!(
        matches!(&packets[..], [ServerPacket::ConnAck(connack), ServerPacket::Publish(publish)]
            if connack.session_present && publish.payload == b"2"),
        "{packets:?}"
    );
    // The control: the principal itself takes its session.
    cluster.connect(0, victim.clean());
    assert!(!back.is_open());
}

#[test]
fn a_topic_alias_is_no_way_around_the_check() {
    let cluster = Cluster::new(2);
    let alpha = Alpha::moves_in(&cluster);
    let attacker = cluster.connect(0, instance("beta", "b1"));
    let aliased = |topic: &str| Publish {
        qos: QOS_1,
        properties: vec![Property::TopicAlias(1)],
        ..Publish::new(topic, b"attack")
    };
    assert_eq!(
        attacker.complete(aliased("ff/v1/alpha/p/a1/in/x")),
        ReasonCode::NotAuthorized
    );
    assert_eq!(attacker.complete(aliased("")), ReasonCode::NotAuthorized);
    assert_eq!(
        attacker.complete(aliased("ff/v1/beta/p/b1/in/x")),
        ReasonCode::NoMatchingSubscribers
    );
    assert_eq!(
        attacker.complete(aliased("")),
        ReasonCode::NoMatchingSubscribers
    );
    assert_eq!(
        attacker.complete(aliased("ff/v1/alpha/p/a1/in/x")),
        ReasonCode::NotAuthorized
    );
    assert_eq!(attacker.complete(aliased("")), ReasonCode::NotAuthorized);
    alpha.heard_nothing();
    let insider = cluster.connect(0, instance("alpha", "a2").id("n"));
    insider.complete(aliased("ff/v1/alpha/p/a1/in/x"));
    insider.complete(aliased(""));
    assert_eq!(alpha.heard().len(), 2, "the control");
}

#[test]
fn a_response_topic_leads_nobody_out_of_a_team() {
    let cluster = Cluster::new(2);
    let alpha = Alpha::moves_in(&cluster);
    let lures = [
        "ff/v1/alpha/c/x",
        "../../alpha/c/x",
        "/ff/v1/alpha/c/x",
        "x",
    ];
    let mounted = cluster.connect(0, client("alice@beta"));
    let dupe = cluster.connect(0, instance("beta", "b1"));
    dupe.subscribe("ff/v1/beta/c/ask", QOS_1);
    for lure in lures {
        let ask = |topic: &str| Publish {
            properties: vec![Property::ResponseTopic(lure.to_owned())],
            ..Publish::new(topic, b"?")
        };
        mounted.put(ask("ask"));
        let asked = dupe.messages().remove(0);
        let full = Property::ResponseTopic(format!("ff/v1/beta/c/{lure}"));
        assert_eq!(asked.properties, [full], "it stays below the mount");
        // An instance writes full names, and may write what it likes; answering there is refused.
        dupe.put(ask("ff/v1/beta/c/ask"));
        let asked = dupe.messages().remove(0);
        assert_eq!(asked.properties, [Property::ResponseTopic(lure.to_owned())]);
        assert_eq!(dupe.publish_at(QOS_1, lure, "!"), ReasonCode::NotAuthorized);
    }
    alpha.heard_nothing();
}

#[test]
fn no_name_leads_out_of_a_mount() {
    let cluster = Cluster::new(2);
    let alpha = Alpha::moves_in(&cluster);
    let before = inventory(&cluster);
    let home = cluster.connect(1, instance("beta", "b1"));
    home.subscribe("ff/v1/beta/c/#", QOS_0);
    let attacker = cluster.connect(0, client("alice@beta"));
    let names = [
        "../../alpha/c/x",
        "../alpha/c/x",
        "/ff/v1/alpha/c/x",
        "//ff/v1/alpha/c/x",
        "ff/v1/alpha/c/x",
        "/",
        "//",
        "/../../../ff/v1/alpha/c/x",
        "%2e%2e/alpha/c/x",
        "..\\..\\alpha\\c\\x",
        "\u{202E}x/c/ahpla/1v/ff",
        "\u{FF0F}ff/v1/alpha/c/x",
        "$share/g/ff/v1/alpha/c/x",
        "$SYS/x",
        "x\u{200B}",
        "\u{FEFF}x",
    ];
    for name in names {
        attacker.publish(name, "attack");
        assert_eq!(
            home.heard(),
            [format!("ff/v1/beta/c/{name} attack")],
            "it stays at home"
        );
        attacker.retain(name, "attack");
        home.messages();
        attacker.retain(name, "");
        home.messages();
        for filter in [
            name.to_owned(),
            format!("{name}/#"),
            format!("$share/g/{name}"),
        ] {
            attacker.try_subscribe(&[(&filter, options(QOS_0))], &[]);
        }
    }
    alpha.heard_nothing();
    attacker.messages();
    let insider = cluster.connect(0, client("bob@alpha"));
    for name in names {
        insider.publish(name, "alpha's own");
    }
    assert_eq!(attacker.heard(), NONE);
    assert_eq!(inventory(&cluster).0, before.0);
    assert!(!alpha.heard().is_empty(), "the control");
}

#[test]
fn a_team_whose_name_begins_another_teams_name_is_not_in_it() {
    let cluster = Cluster::new(2);
    for team in ["alph", "alphabet", "ALPHA", "\u{0430}lpha", "alpha\u{0301}"] {
        cluster
            .directory()
            .client(&format!("eve@{team}"), &["allow both #"]);
        cluster.directory().instance(team, "a1");
    }
    let alpha = Alpha::moves_in(&cluster);
    for team in ["alph", "alphabet", "ALPHA", "\u{0430}lpha", "alpha\u{0301}"] {
        let mounted = cluster.connect(0, client(&format!("eve@{team}")));
        let instance = cluster.connect(0, instance(team, "a1"));
        for name in ["a/c/x", "bet/c/x", "x", "/c/x"] {
            mounted.publish(name, "attack");
        }
        for target in TARGETS {
            let full = instance.publish_at(QOS_1, target, "attack");
            assert_eq!(full, ReasonCode::NotAuthorized);
            let codes = instance.try_subscribe(&[(target, options(QOS_0))], &[]);
            assert_eq!(codes, [ReasonCode::NotAuthorized]);
        }
    }
    alpha.heard_nothing();
    cluster
        .connect(0, client("bob@alpha"))
        .publish("x", "inside");
    assert!(!alpha.heard().is_empty(), "the control");
}

#[test]
fn no_answer_tells_whether_a_team_a_client_or_a_topic_exists() {
    let cluster = Cluster::new(2);
    let _alpha = Alpha::moves_in(&cluster);
    cluster.connect(0, client("bob@alpha")).retain("x", "kept");
    let attacker = cluster.connect(0, instance("beta", "b1"));
    let probe = |bytes: Vec<u8>| {
        attacker.send(bytes);
        attacker.bytes()
    };
    let (there, nowhere) = ("ff/v1/alpha/c/x", "ff/v1/gamma/c/x");
    for qos in [QOS_1, QOS_2] {
        for (id, retain) in [(1, false), (2, true)] {
            let put = |topic: &str| Publish {
                retain,
                ..Publish::new(topic, b"?").at(qos, id)
            };
            assert_eq!(
                probe(put(there).encode(Version::V5)),
                probe(put(nowhere).encode(Version::V5))
            );
        }
    }
    for filter in ["", "/#", "/+"] {
        let ask = |root: &str| {
            let filter = format!("{root}{filter}");
            subscribe(Version::V5, 9, &[(&filter, options(QOS_1))], &[])
        };
        assert_eq!(probe(ask(there)), probe(ask(nowhere)));
    }
    let answers = [
        "alice@alpha",
        "nobody@alpha",
        "alice@gamma",
        "project:alpha:a1",
        "project:gamma:g1",
    ]
    .map(|username| cluster.dial(0, client(username).password("guess")).bytes());
    assert!(
        answers
            .iter()
            .all(|answer| *answer == answers[0] && !answer.is_empty())
    );
    // At home the difference is told.
    let own = ["ff/v1/beta/p/b1/in/x", "ff/v1/beta/p/b2/in/x"];
    attacker.subscribe("ff/v1/beta/p/b1/in/#", QOS_0);
    assert_ne!(
        attacker.publish_at(QOS_1, own[0], "?"),
        attacker.publish_at(QOS_1, own[1], "?"),
        "the control"
    );
}

#[test]
fn what_the_platform_may_crosses_and_nothing_else_does() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_1);
    let alpha = Alpha::moves_in(&cluster);
    let spy = cluster.connect(1, device("beta", "bd"));
    spy.subscribe("ff/v1/beta/d/bd/command", QOS_1);
    cluster.events();
    // Out of each team to the platform, live.
    let device = cluster.connect(1, crate::cluster::device("alpha", "ad").id("second"));
    device.publish_at(QOS_1, "ff/v1/alpha/d/ad/logs", "from alpha");
    spy.publish_at(QOS_1, "ff/v1/beta/d/bd/logs", "from beta");
    assert_eq!(
        platform.heard(),
        [
            "ff/v1/alpha/d/ad/logs from alpha",
            "ff/v1/beta/d/bd/logs from beta"
        ]
    );
    assert_eq!(
        alpha.heard(),
        [(
            "frontend:alpha:ad",
            "ff/v1/alpha/d/ad/logs from alpha".to_owned()
        )]
    );
    // Into one team, and into that one only.
    assert_eq!(
        platform.publish_at(QOS_1, "ff/v1/alpha/d/ad/command", "restart"),
        ReasonCode::Success
    );
    assert_eq!(
        alpha.heard(),
        [(
            "device:alpha:ad",
            "ff/v1/alpha/d/ad/command restart".to_owned()
        )]
    );
    assert_eq!(spy.heard(), NONE);
    // What no rule names does not cross, in either direction.
    for topic in ["ff/v1/alpha/c/x", "ff/v1/alpha/p/a1/in/x"] {
        assert_eq!(
            platform.publish_at(QOS_1, topic, "x"),
            ReasonCode::NotAuthorized
        );
        let codes = platform.try_subscribe(&[(topic, options(QOS_0))], &[]);
        assert_eq!(codes, [ReasonCode::NotAuthorized]);
    }
    alpha.heard_nothing();
    // And who spans teams is seen to: its events name no team.
    let events = cluster.events();
    let of_platform =
        |event: &&cofferdam::broker::Event| event.who.username.as_deref() == Some("forge_platform");
    assert_eq!(events.iter().filter(of_platform).count(), 4);
    assert!(
        events
            .iter()
            .filter(of_platform)
            .all(|event| event.who.team.is_none())
    );
}

#[test]
fn the_platform_gets_what_each_team_retained_and_a_team_only_its_own() {
    let cluster = Cluster::new(2);
    for (team, id) in [("alpha", "ad"), ("beta", "bd")] {
        let device = cluster.connect(0, device(team, id));
        device.retain(&format!("ff/v1/{team}/d/{id}/logs"), team);
    }
    let platform = cluster.connect(1, platform());
    platform.subscribe("ff/v1/+/d/+/logs", QOS_0);
    let mut heard = platform.heard();
    heard.sort_unstable();
    assert_eq!(
        heard,
        ["ff/v1/alpha/d/ad/logs alpha", "ff/v1/beta/d/bd/logs beta"]
    );
    let tab = cluster.connect(1, client("frontend:beta:bd"));
    tab.subscribe("ff/v1/beta/d/+/logs", QOS_0);
    assert_eq!(tab.heard(), ["ff/v1/beta/d/bd/logs beta"]);
}

#[test]
fn what_lies_in_the_commons_is_seen_by_those_alone_whom_a_rule_names() {
    let cluster = Cluster::new(2);
    let platform = cluster.connect(0, platform());
    platform.subscribe("ff/v1/browser/tab-presence/+/+/+", QOS_1);
    let tabs =
        ["alpha", "beta"].map(|team| cluster.connect(1, client(&format!("fe-team:u:{team}:s"))));
    let presence = "ff/v1/browser/tab-presence/u/s/heartbeat";
    for tab in &tabs {
        let codes = tab.try_subscribe(&[(presence, options(QOS_0))], &[]);
        assert_eq!(codes, [ReasonCode::NotAuthorized]);
    }
    assert_eq!(
        tabs[0].publish_at(QOS_1, presence, "here"),
        ReasonCode::Success
    );
    assert_eq!(platform.heard(), [format!("{presence} here")]);
    assert_eq!(tabs[1].heard(), NONE);
}

#[test]
fn one_team_at_its_limits_leaves_another_untouched() {
    let limits = cofferdam::limits::Limits {
        max_sessions_per_team: 12,
        max_retained_messages: 3,
        max_subscriptions: 5,
        ..Default::default()
    };
    let cluster = Cluster::limited(2, limits);
    let greedy: Vec<Client> = (0..12)
        .map(|n| cluster.connect(0, instance("beta", "b1").id(&n.to_string()).kept(1_000)))
        .collect();
    for client in &greedy {
        for n in 0..8 {
            let filter = format!("ff/v1/beta/c/{n}");
            client.try_subscribe(&[(&filter, options(QOS_1))], &[]);
            client.retain(&filter, "x");
        }
    }
    assert_eq!(
        cluster.dial(0, client("alice@beta")).bytes()[3],
        0x97,
        "beta is full"
    );
    let alpha = Alpha::moves_in(&cluster);
    let client = cluster.connect(0, client("bob@alpha"));
    for n in 0..3 {
        let answer = client.complete(Publish {
            qos: QOS_1,
            retain: true,
            ..Publish::new(&n.to_string(), b"x")
        });
        assert_eq!(answer, ReasonCode::Success);
    }
    assert!(!alpha.heard().is_empty());
}

#[test]
fn qos_and_options_make_no_difference_to_the_boundary() {
    let cluster = Cluster::new(2);
    let alpha = cluster.connect(0, instance("alpha", "a1"));
    let spy = cluster.connect(0, instance("beta", "b1"));
    let handling = cofferdam::wire::RetainHandling::SendIfNew;
    for qos in [QOS_0, QOS_1, QOS_2] {
        let options = SubscriptionOptions {
            qos,
            no_local: true,
            retain_as_published: true,
            retain_handling: handling,
        };
        let filters = [("ff/v1/alpha/c/#", options), ("ff/v1/beta/c/#", options)];
        let codes = spy.try_subscribe(&filters, &[Property::SubscriptionId(1)]);
        let granted = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]
            .iter()
            .position(|level| *level == qos)
            .expect("one of three") as u8;
        assert_eq!(codes[0], ReasonCode::NotAuthorized);
        assert_eq!(codes[1].as_byte(), granted, "the control");
        alpha.publish_at(qos, "ff/v1/alpha/c/x", "secret");
        assert_eq!(spy.heard(), NONE);
    }
}
