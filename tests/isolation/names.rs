//! Names that are not what they seem: empty levels, look-alikes and normal forms of Unicode,
//! `$share` in odd places, paths that would resolve elsewhere, names as long as can be, and bytes
//! that are no text.

use crate::cluster::*;
use crate::stage::*;
use cofferdam::limits::Limits;
use cofferdam::wire::client::{self as packets, Property, Publish};
use cofferdam::wire::{ReasonCode, Version};

/// What a mounted client of `beta` writes in the hope of arriving in `alpha`.
const ESCAPES: [&str; 24] = [
    "../../alpha/c/x",
    "../alpha/c/x",
    "./../../alpha/c/./x",
    "x/../../../alpha/c/x",
    "/../../../ff/v1/alpha/c/x",
    "..\\..\\alpha\\c\\x",
    "/ff/v1/alpha/c/x",
    "//ff/v1/alpha/c/x",
    "ff/v1/alpha/c/x",
    "/",
    "//",
    "///",
    "%2e%2e/%2e%2e/alpha/c/x",
    "%2fff%2fv1%2falpha%2fc%2fx",
    "..%c0%af..%c0%afalpha/c/x",
    "\u{FF0E}\u{FF0E}\u{FF0F}alpha",
    "\u{2024}\u{2024}/\u{2024}\u{2024}/alpha/c/x",
    "\u{2215}ff\u{2215}v1\u{2215}alpha",
    "\u{202E}x/c/ahpla/1v/ff",
    "\u{FEFF}/ff/v1/alpha/c/x",
    "x\u{200B}",
    "$SYS/x",
    "$share/g/ff/v1/alpha/c/x",
    "$queue/ff/v1/alpha/c/x",
];

/// What somebody whose names are full names writes to the same end.
const LOOK_ALIKES: [&str; 22] = [
    "/ff/v1/alpha/c/x",
    "//ff/v1/alpha/c/x",
    "ff//v1/alpha/c/x",
    "ff/v1//alpha/c/x",
    "ff/v1/alpha//c/x",
    "ff/v1/alpha/c//x",
    "ff/v1/alpha/c/x/",
    "FF/V1/ALPHA/C/X",
    "ff/v1/Alpha/c/x",
    "ff/v1/alpha /c/x",
    "ff/v1/\u{0430}lpha/c/x",
    "ff/v1/alph\u{00E1}/c/x",
    "ff/v1/alpha\u{0301}/c/x",
    "ff/v1/alpha\u{200D}/c/x",
    "ff/v1/\u{FF41}\u{FF4C}\u{FF50}\u{FF48}\u{FF41}/c/x",
    "\u{FB00}/v1/alpha/c/x",
    "ff\u{2215}v1\u{2215}alpha\u{2215}c\u{2215}x",
    "ff%2fv1%2falpha%2fc%2fx",
    "ff/v1/%61lpha/c/x",
    "ff/v1/beta/../alpha/c/x",
    "ff/v1/./alpha/c/x",
    "$SYS/ff/v1/alpha/c/x",
];

/// Filters that no broker should read as anything but what they say.
const SHARES: [&str; 14] = [
    "$share",
    "$share/",
    "$share//",
    "$share//ff/v1/alpha/c/x",
    "$share/g",
    "$share/g/",
    "$share/g//",
    "$share/+/ff/v1/alpha/c/x",
    "$share/#",
    "$share/g#/ff/v1/alpha/c/x",
    "$share/g/$share/g/ff/v1/alpha/c/x",
    "$share/$share/g/ff/v1/alpha/c/x",
    "$SHARE/g/ff/v1/alpha/c/x",
    "$share/../ff/v1/alpha/c/x",
];

#[test]
fn no_name_leads_out_of_a_mount() {
    unnoticed(|attacker| {
        let home = attacker.connect(instance("beta", "b1"));
        home.subscribe("ff/v1/beta/c/#", QOS_0);
        let mounted = attacker.login("alice@beta");
        for name in ESCAPES {
            mounted.publish(name, MARK);
            assert_eq!(
                home.heard(),
                [format!("ff/v1/beta/c/{name} {MARK}")],
                "stays at home"
            );
            for payload in [MARK, ""] {
                mounted.retain(name, payload);
                home.messages();
            }
            for filter in [
                name.to_owned(),
                format!("{name}/#"),
                format!("$share/g/{name}"),
            ] {
                mounted.try_subscribe(&[(&filter, options(QOS_0))], &[]);
                mounted.unsubscribe(&[&filter]);
            }
        }
        let none: [(&str, String); 0] = [];
        let refused = |deed: &(&str, String)| deed.0.ends_with("_refused");
        let deeds: Vec<_> = deeds(attacker, "alice@beta")
            .into_iter()
            .filter(refused)
            .collect();
        assert_eq!(deeds, none, "each is an ordinary name of beta's own");
    });
}

#[test]
fn what_looks_like_a_name_of_another_team_is_refused_as_what_it_is() {
    unnoticed(|attacker| {
        for username in ["project:beta:b1", "device:beta:bd", "expert-agent:u:s"] {
            let client = attacker.login(username);
            for name in LOOK_ALIKES {
                deeds(attacker, username);
                for qos in [QOS_0, QOS_1, QOS_2] {
                    let answer = client.publish_at(qos, name, MARK);
                    let told = attacker.is_v5() && qos > QOS_0;
                    assert!(!told || answer == ReasonCode::NotAuthorized, "{name}");
                }
                let code = client.try_subscribe(&[(name, options(QOS_0))], &[])[0];
                // The standard gives 3.1 no way to say no.
                if attacker.arrangement.attacker != Version::V31 {
                    assert!(code.is_error(), "{name}");
                }
                let found = deeds(attacker, username);
                let count = |event| found.iter().filter(|deed| deed.0 == event).count();
                let counts = (count("publish_refused"), count("subscribe_refused"));
                assert_eq!(counts, (3, 1), "{username} {name}: {found:?}");
            }
        }
    });
}

#[test]
fn no_form_of_share_is_a_way_into_another_teams_groups() {
    unnoticed(|attacker| {
        for username in ["project:beta:b1", "alice@beta"] {
            let client = attacker.login(username);
            let ours = attacker.cluster.team("beta");
            for filter in SHARES {
                deeds(attacker, username);
                let code = client.try_subscribe(&[(filter, options(QOS_1))], &[])[0];
                assert!(client.is_open(), "{filter}");
                let told = attacker.arrangement.attacker != Version::V31;
                if told && code.is_error() {
                    let found = deeds(attacker, username);
                    assert!(
                        found.iter().any(|deed| deed.0 == "subscribe_refused"),
                        "{filter}"
                    );
                } else if told {
                    let well_formed = [
                        "$share/g//",
                        "$share/g/$share",
                        "$share/$share",
                        "$SHARE",
                        "$share/..",
                    ];
                    let granted = well_formed.iter().any(|form| filter.starts_with(form));
                    assert!(granted && is_mounted(username), "{username} {filter}");
                }
                client.unsubscribe(&[filter]);
            }
            client.disconnect();
            assert_eq!(ours.subscriptions(), 0);
        }
    });
}

#[test]
fn a_name_as_long_as_can_be_does_not_run_over_into_another_teams() {
    let make = || {
        Cluster::limited(
            2,
            Limits {
                max_topic_length: u16::MAX,
                max_unauthenticated_bytes: 1 << 20,
                ..Limits::default()
            },
        )
    };
    unnoticed_under(make, |attacker| {
        // With its mount before it, it is longer than a topic can be; cut off anywhere, it would be
        // another name.
        let long = format!("{}/ff/v1/alpha/c/x", "y".repeat(usize::from(u16::MAX) - 16));
        assert_eq!(long.len(), usize::from(u16::MAX));
        let mounted = attacker.login("alice@beta");
        for qos in [QOS_0, QOS_1, QOS_2] {
            let answer = mounted.publish_at(qos, &long, MARK);
            let told = attacker.is_v5() && qos > QOS_0;
            assert!(!told || answer == ReasonCode::TopicNameInvalid);
        }
        mounted.try_subscribe(&[(&long, options(QOS_0))], &[]);
        mounted.unsubscribe(&[&long]);
        if attacker.is_v5() {
            // The answer could not be named: the message goes without.
            let response = Property::ResponseTopic(long.clone());
            mounted.subscribe("ask", QOS_0);
            mounted.put(Publish {
                properties: vec![response],
                ..Publish::new("ask", MARK.as_bytes())
            });
            assert_eq!(mounted.messages()[0].properties, []);
        }
        assert!(mounted.is_open());
        let found = deeds(attacker, "alice@beta");
        let refused = |event| found.iter().filter(|deed| deed.0 == event).count();
        assert_eq!(
            (refused("publish_refused"), refused("subscribe_refused")),
            (3, 1)
        );
        // As a will it is refused with its CONNECT.
        let will = attacker.dial(client("bob@beta").will(&long, MARK));
        assert!(!will.is_open());
        assert_eq!(
            deeds(attacker, "bob@beta"),
            [("connect_refused", "malformed".to_owned())]
        );
        // Where names are full names, such a one is nobody's.
        let full = attacker.login("project:beta:b1");
        let reach = format!("ff/v1/alpha/c/{}", "x".repeat(usize::from(u16::MAX) - 14));
        full.publish_at(QOS_1, &reach, MARK);
        let found = deeds(attacker, "project:beta:b1");
        assert_eq!(found[1], ("publish_refused", "outside the team".to_owned()));
    });
}

/// What stands in a packet in place of a name's last bytes: none of it is text as section 1.5.4
/// has it.
const NO_TEXT: [&[u8]; 8] = [
    b"\0",
    b"\xC0\xAF",         // `/`, too long by a byte
    b"\xE0\x80\xAF",     // by two
    b"\xF0\x80\x80\xAF", // by three
    b"\xED\xA0\x80",     // half of a pair of surrogates
    b"\xF4\x90\x80\x80", // beyond the last character
    b"\xFF",
    b"\xC3", // cut off
];

#[test]
fn bytes_that_are_no_text_name_nothing() {
    unnoticed(|attacker| {
        let version = attacker.arrangement.attacker;
        for bytes in NO_TEXT {
            let place = "@".repeat(bytes.len());
            let name = format!("ff/v1/alpha/c/{place}");
            let raw = |packet: Vec<u8>| {
                let at = packet
                    .windows(name.len())
                    .position(|it| it == name.as_bytes());
                let end = at.expect("the name") + name.len();
                let mut packet = packet;
                packet[end - bytes.len()..end].copy_from_slice(bytes);
                packet
            };
            let publish = Publish::new(&name, MARK.as_bytes());
            let one = [(&*name, options(QOS_0))];
            for packet in [
                publish.encode(version),
                packets::subscribe(version, 1, &one, &[]),
                packets::unsubscribe(version, 1, &[&name], &[]),
            ] {
                let client = attacker.login("project:beta:b1");
                deeds(attacker, "project:beta:b1");
                client.send(raw(packet));
                assert!(!client.is_open(), "{bytes:02x?} in {version:?}");
                let found = deeds(attacker, "project:beta:b1");
                assert_eq!(found, [("disconnect", "protocol".to_owned())]);
            }
            // In CONNECT: as will topic, client id and user name.
            let hello = client("project:beta:b1").version(version);
            for hello in [
                hello.clone().will(&name, MARK),
                hello.clone().id(&name),
                client(&name).id("x").version(version),
            ] {
                let client = attacker.cluster.open(attacker.arrangement.shard, &hello);
                attacker.cluster.events();
                client.send(raw(hello.connect.encode()));
                assert!(!client.is_open(), "{bytes:02x?} in {version:?}");
                let left: Vec<_> = attacker.cluster.record();
                let left: Vec<_> = left.iter().map(|it| (it.as_str(), reason(it))).collect();
                assert_eq!(left, [("connect_refused", "malformed".to_owned())]);
            }
        }
    });
}

/// Names of teams that look like `alpha`'s, begin as it does or are it in another normal form.
const NEIGHBOURS: [&str; 8] = [
    "alph",
    "alphabet",
    "ALPHA",
    "alpha ",
    "\u{0430}lpha",
    "alpha\u{0301}",
    "alph\u{00E1}",
    "alpha\u{200B}",
];

#[test]
fn a_team_whose_name_is_almost_another_teams_is_not_in_it() {
    let make = || {
        let cluster = Cluster::new(2);
        for team in NEIGHBOURS {
            let mut directory = cluster.directory();
            directory.client(&format!("eve@{team}"), &["allow both #"]);
            directory.instance(team, "a1");
        }
        cluster
    };
    unnoticed_under(make, |attacker| {
        for team in NEIGHBOURS {
            let mounted = attacker.login(&format!("eve@{team}"));
            for name in ["a/c/x", "bet/c/x", "x", "/c/x"] {
                mounted.retain(name, MARK);
            }
            mounted.subscribe("#", QOS_0);
            // The two normal forms of a name are two teams.
            assert_eq!(mounted.heard().len(), 4, "its own four");
            mounted.retain("x", "");
            let instance = attacker.connect(instance(team, "a1"));
            for target in attacker.targets() {
                for qos in [QOS_0, QOS_1] {
                    let answer = instance.publish_at(qos, target, MARK);
                    let told = attacker.is_v5() && qos > QOS_0;
                    assert!(!told || answer == ReasonCode::NotAuthorized);
                }
                instance.try_subscribe(&[(target, options(QOS_0))], &[]);
            }
            let username = format!("project:{team}:a1");
            let events = attacker.cluster.events();
            let refused = events.iter().filter(|event| {
                event.who.username.as_deref() == Some(&username)
                    && event
                        .who
                        .team
                        .as_ref()
                        .is_some_and(|it| it.as_str() == team)
                    && reason(&event.kind) == "outside the team"
            });
            assert_eq!(refused.count(), 3 * attacker.targets().len(), "{team}");
            for name in ["a/c/x", "bet/c/x", "/c/x"] {
                mounted.retain(name, "");
            }
        }
    });
}

/// Within one team: somebody who writes full names can name the mount itself, for which those below
/// it have no name. They must not be handed an empty one, which would end their connections.
#[test]
fn the_mount_itself_is_nobodys_topic_and_nobodys_response_topic() {
    for version in VERSIONS {
        let cluster = wide();
        let mounted = cluster.connect(0, client("alice@alpha").version(version));
        for filter in ["#", "/#", "+", "+/#", "$share/g/#", "$share/g//#"] {
            mounted.subscribe(filter, QOS_1);
        }
        let full = cluster.connect(1, instance("alpha", "a1"));
        for topic in ["ff/v1/alpha/c/", "ff/v1/alpha/c"] {
            for retain in [false, true] {
                full.complete(Publish {
                    qos: QOS_1,
                    retain,
                    ..Publish::new(topic, b"?")
                });
            }
        }
        full.complete(Publish {
            qos: QOS_1,
            properties: vec![Property::ResponseTopic("ff/v1/alpha/c/".to_owned())],
            ..Publish::new("ff/v1/alpha/c/x", b"?")
        });
        let heard = mounted.messages();
        assert!(!heard.is_empty(), "the control");
        for message in heard {
            assert_eq!((&*message.topic, message.properties.len()), ("x", 0));
        }
        mounted.subscribe("/#", QOS_1);
        assert_eq!(mounted.messages(), [], "nor what is retained there");
        assert!(mounted.is_open());
    }
}

/// A cluster whose instances may do anything in their team.
fn wide() -> Cluster {
    let policy = "[namespace]\nteam = \"ff/v1/{team}/\"\n\
        [role.instance]\nusername = [\"project:{team}:{instance}\"]\n\
        [[role.instance.rules]]\nallow = \"both\"\ntopics = [\"ff/v1/{team}/#\"]\n\
        [role.client]\nusername = [\"{client}@{team}\"]\nmount = \"ff/v1/{team}/c/\"\n\
        patterns = { share = [\"{any}\"] }\n";
    let policy = cofferdam::policy::Policy::parse("wide.toml", policy).expect("a policy");
    Cluster::with_policy(2, Limits::default(), policy)
}
