//! The running program, attacked over its sockets: what an attacker is told over every transport,
//! whose record it stands on, and what the metrics say.

use std::collections::BTreeSet;
use std::io::Write as _;

use crate::running::{Broker, Bystander, Client, Login, Record, Setup, World};
use cofferdam::wire::client::{
    Connect, Property, Publish, ServerPacket, Will, subscribe, unsubscribe,
};
use cofferdam::wire::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};
use serde_json::{Value, json};

const TRANSPORTS: [&str; 4] = ["tcp", "tls", "ws", "wss"];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const RED: &str = "00000000-0000-4000-8000-000000000001";
const OUTSIDE: &str = "outside the team";

/// An instance of team `blue`, whose topics are full names.
fn attacker() -> Login {
    Login::of("project:blue:00000000-0000-4000-8000-00000000000b")
}

fn platform() -> Login {
    Login::of("forge_platform")
}

fn broker() -> Broker {
    let provisions = format!(
        "[[instance]]\nid = \"00000000-0000-4000-8000-00000000000b\"\nteam = \"blue\"\n\
         password = \"{}\"\n[platform]\npassword = \"{}\"\n",
        attacker().password,
        platform().password
    );
    Setup::new().and(&provisions).start()
}

const OPTIONS: SubscriptionOptions = SubscriptionOptions {
    qos: QoS::ExactlyOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: RetainHandling::Send,
};

/// One attack on team `red`, over a connection of its own: what it leaves on record.
struct Attack {
    what: &'static str,
    event: &'static str,
    metric: &'static str,
    why: &'static str,
    v5: bool,
    deed: fn(&mut Client),
}

const fn attack(what: &'static str, event: &'static str, deed: fn(&mut Client)) -> Attack {
    let metric = match event.as_bytes()[0] {
        b'p' => "cofferdam_publishes_refused_total",
        b's' => "cofferdam_subscribes_refused_total",
        _ => "cofferdam_unsubscribes_refused_total",
    };
    Attack {
        what,
        event,
        metric,
        why: OUTSIDE,
        v5: false,
        deed,
    }
}

fn attacks() -> [Attack; 8] {
    [
        attack("a publish", "publish_refused", |client| {
            put(client, "ff/v1/red/c/talk", vec![]);
        }),
        attack("a publish to an instance", "publish_refused", |client| {
            put(client, &format!("ff/v1/red/p/{RED}/in/x"), vec![]);
        }),
        Attack {
            v5: true,
            ..attack("an alias", "publish_refused", |client| {
                put(client, "ff/v1/red/c/talk", vec![Property::TopicAlias(1)]);
            })
        },
        Attack {
            v5: true,
            why: "response topic outside the team",
            ..attack("a response topic", "publish_refused", |client| {
                let response = Property::ResponseTopic("ff/v1/red/c/talk".to_owned());
                put(client, "ff/v1/blue/c/talk", vec![response]);
            })
        },
        attack("a subscription", "subscribe_refused", |client| {
            client.send(&subscribe(
                client.version,
                1,
                &[("ff/v1/red/#", OPTIONS)],
                &[],
            ));
        }),
        attack("a share", "subscribe_refused", |client| {
            let filters = [("$share/g/ff/v1/red/c/#", OPTIONS)];
            client.send(&subscribe(client.version, 1, &filters, &[]));
        }),
        attack(
            "a subscription to all teams",
            "subscribe_refused",
            |client| {
                client.send(&subscribe(
                    client.version,
                    1,
                    &[("ff/v1/+/c/#", OPTIONS)],
                    &[],
                ));
            },
        ),
        attack("an unsubscription", "unsubscribe_refused", |client| {
            client.send(&unsubscribe(client.version, 1, &["ff/v1/red/c/#"], &[]));
        }),
    ]
}

fn put(client: &mut Client, topic: &str, properties: Vec<Property>) {
    client.send_publish(Publish {
        qos: QoS::AtLeastOnce,
        retain: true,
        properties,
        ..Publish::new(topic, b"attack")
    });
}

/// The rows of one team, as its own people would be shown them.
fn record_of(broker: &Broker, team: &str) -> Vec<Value> {
    let place = broker.place();
    let list = [
        "audit", "list", "--team", team, "--json", "--limit", "100000",
    ];
    let text = place.run_well(&list);
    let rows = text.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>().expect("JSON, a row a line")
}

#[test]
fn over_every_transport_an_attack_is_on_the_attackers_record_and_in_the_metrics_and_nowhere_else() {
    let broker = broker();
    let mut victim = Client::login(&broker, "wss", &World::anna(), Version::V5);
    victim.subscribe("#", QoS::ExactlyOnce);
    let mut instance = Client::login(&broker, "tcp", &World::instance(), Version::V5);
    instance.subscribe(&format!("ff/v1/red/p/{RED}/in/#"), QoS::ExactlyOnce);
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let mut connections = BTreeSet::new();
    for transport in TRANSPORTS {
        for version in VERSIONS {
            for attack in attacks() {
                if attack.v5 && version != Version::V5 {
                    continue;
                }
                let mut client = Client::login(&broker, transport, &attacker(), version);
                (attack.deed)(&mut client);
                let what = format!("{} over {transport} in {version:?}", attack.what);
                client
                    .ping()
                    .unwrap_or_else(|| panic!("{what}: it was cut"));
                let fields = json!({
                    "team": "blue", "level": "team", "actor": attacker().username,
                    "why": attack.why, "listener": transport,
                });
                record.row(&what, attack.event, &client.own_address(), fields);
                record.count(attack.metric, &[("reason", attack.why)]);
                connections.insert(client.own_address());
            }
            // A will: the connection is lost.
            let mut client = Client::dial(&broker, transport, version);
            let will = Will {
                topic: "ff/v1/red/c/talk".to_owned(),
                payload: b"attack".to_vec(),
                qos: QoS::AtLeastOnce,
                retain: true,
                properties: vec![],
            };
            client.connect(&Connect {
                will: Some(will),
                ..attacker().connect(version)
            });
            let fields = json!({ "team": "blue", "why": OUTSIDE, "will": true });
            record.row("a will", "publish_refused", &client.own_address(), fields);
            record.count("cofferdam_publishes_refused_total", &[("reason", OUTSIDE)]);
            connections.insert(client.own_address());
        }
    }
    record.check(&broker);
    // Nobody of red's heard or found anything.
    victim.assert_quiet();
    victim.subscribe("#", QoS::ExactlyOnce);
    victim.assert_quiet();
    instance.assert_quiet();
    bystander.was_left_alone();
    // What red is shown has its own two connections and no trace of the attacker.
    for row in record_of(&broker, "red") {
        let text = row.to_string();
        let remote = row["remote"].as_str().unwrap_or_default();
        assert!(!connections.contains(remote), "{text}");
        assert!(
            !text.contains("blue") && !text.contains("refused"),
            "{text}"
        );
    }
    let shown = record_of(&broker, "blue");
    assert!(
        shown
            .iter()
            .filter(|row| row["detail"]["why"] == OUTSIDE)
            .count()
            >= 12 * 7
    );
}

#[test]
fn over_every_transport_a_refused_login_is_the_same_whoever_it_was_for() {
    let broker = broker();
    let guess = |username: &str| Login {
        username: username.to_owned(),
        password: attacker().password,
    };
    let logins = [
        guess("anna@red"),
        guess("mute@red"),
        guess(&World::instance().username),
        guess("nobody@red"),
        guess("anna@omega"),
        guess("forge_platform"),
        guess("no form of a username"),
        World::sam(),
    ];
    // Who is there, and who is not: a session is kept under one of the names.
    let mut kept = Client::dial(&broker, "tcp", Version::V5);
    kept.connect(&crate::running::lasting(
        World::anna().connect(Version::V5),
        100,
    ));
    for transport in TRANSPORTS {
        for version in VERSIONS {
            // All at once: a refusal leaves at a multiple of a quarter of a second.
            let clients = logins.each_ref().map(|login| {
                let mut client = Client::dial(&broker, transport, version);
                client.send(&login.connect(version).encode());
                client
            });
            let answers = clients.map(|mut client| client.rest());
            assert_eq!(answers[0].len(), 1, "a CONNACK, and the end");
            for answer in &answers {
                assert_eq!(*answer, answers[0], "{transport} in {version:?}");
            }
        }
    }
    kept.assert_quiet();
}

#[test]
fn the_metrics_page_has_nothing_that_an_attacker_chose() {
    let broker = broker();
    let mark = "mallory";
    for username in [
        format!("{mark}@red"),
        format!("x@{mark}"),
        format!("project:{mark}:x"),
    ] {
        let mut client = Client::dial(&broker, "tcp", Version::V5);
        let connect = Connect {
            client_id: mark.to_owned(),
            ..Login::of(&username).connect(Version::V5)
        };
        client.send(&connect.encode());
        client.rest();
    }
    let mut client = Client::dial(&broker, "tcp", Version::V5);
    client.connect(&Connect {
        client_id: format!("{mark}'s id"),
        ..attacker().connect(Version::V5)
    });
    for topic in [
        format!("ff/v1/{mark}/c/x"),
        format!("ff/v1/blue/c/{mark}"),
        mark.to_owned(),
    ] {
        put(&mut client, &topic, vec![]);
        client.send(&subscribe(Version::V5, 1, &[(&topic, OPTIONS)], &[]));
    }
    client.ping().expect("it is not cut");
    broker.wait_for_numbers(|numbers| {
        let refused = [("reason", OUTSIDE)];
        numbers.check("cofferdam_publishes_refused_total", &refused, 2)
    });
    let mut stream = broker.dial("tcp");
    stream.write_all(mark.as_bytes()).expect("sent");
    let (status, page) = broker.get("/metrics");
    assert_eq!(status, 200);
    assert!(page.contains("team=\"blue\""), "the control");
    assert!(!page.contains(mark), "{page}");
}

#[test]
fn a_row_of_the_audit_is_one_line_whatever_the_attacker_is_called() {
    let broker = broker();
    let forged = "2026-11-23T10:00:00Z  team  red  connect  anna@red";
    let names = [
        format!("x\n{forged}"),
        format!("x\r{forged}"),
        "\u{1b}[2J\u{1b}[1;1H".to_owned(),
        "\u{9b}2J".to_owned(),
        "x\u{202E}der@anna".to_owned(),
        "x\u{2066}y\u{200B}\u{FEFF}".to_owned(),
        format!("x  {forged}"),
    ];
    let mut clients = Vec::new(); // who stay, so that no row comes later
    for name in &names {
        let mut client = Client::dial(&broker, "tcp", Version::V5);
        client.connect(&Connect {
            client_id: name.clone(),
            ..attacker().connect(Version::V5)
        });
        put(&mut client, name, vec![]);
        client.ping().expect("it is not cut");
        broker.audited(|row| row["event"] == "publish_refused" && row["client_id"] == **name);
        clients.push(client);
    }
    let place = broker.place();
    let listed = place.run_well(&["audit", "list", "--team", "blue", "--limit", "1000"]);
    let rows = record_of(&broker, "blue").len();
    assert!(rows >= 2 * names.len(), "{listed}");
    assert_eq!(listed.lines().count(), rows + 1, "a row a line: {listed}");
    for line in listed.lines() {
        assert!(
            !line.contains(forged) || line.contains('"'),
            "quoted: {line}"
        );
        let odd = |c: char| c.is_control() || "\u{202E}\u{2066}\u{200B}\u{FEFF}".contains(c);
        assert!(!line.contains(odd), "{line:?}");
    }
    let listed = place.run_well(&["audit", "list", "--team", "red"]);
    assert!(
        !listed.contains("  connect  "),
        "nobody of red was here: {listed}"
    );
}

#[test]
fn what_the_platform_reads_and_says_is_on_the_record_of_the_team_that_it_crossed() {
    let broker = broker();
    let mut over = Client::dial(&broker, "tls", Version::V5);
    over.connect(&Connect {
        client_id: "forge_platform:1".to_owned(),
        ..platform().connect(Version::V5)
    });
    over.subscribe("ff/v1/+/l/+/status", QoS::AtLeastOnce);
    let mut instance = Client::login(&broker, "ws", &World::instance(), Version::V5);
    let command = format!("ff/v1/red/l/{RED}/command");
    instance.subscribe(&command, QoS::AtLeastOnce);
    let status = format!("ff/v1/red/l/{RED}/status");
    for _ in 0..3 {
        instance.publish(Publish::new(&status, b"running").at(QoS::AtLeastOnce, 1));
        assert_eq!(over.receive().topic, status);
    }
    over.publish(Publish::new(&command, b"restart").at(QoS::AtLeastOnce, 1));
    assert_eq!(instance.receive().topic, command);
    broker.wait_for_numbers(|numbers| {
        let name = "cofferdam_crossings_total";
        numbers.check(name, &[("way", "out_of")], 3)?;
        numbers.check(name, &[("way", "into")], 1)
    });
    for (way, topic) in [("out_of", &status), ("into", &command)] {
        let row = broker.audited(|row| row["event"] == "crossing" && row["detail"]["way"] == way);
        assert_eq!(row["team"], "red");
        assert_eq!(row["level"], "team");
        assert_eq!(row["actor"], "forge_platform");
        assert_eq!(row["client_id"], "forge_platform:1");
        assert_eq!(row["detail"]["topic"], **topic);
        assert_eq!(row["detail"]["count"], 1, "the first is told at once");
        let rule = row["detail"]["rule"].as_str().unwrap_or_default();
        assert!(rule.starts_with("config/policy/flowfuse.toml:"), "{rule}");
    }
    assert!(
        record_of(&broker, "blue")
            .iter()
            .all(|row| row["event"] != "crossing")
    );
    // What came after the first is told when the broker stops, at the latest.
    let (place, _) = broker.stop();
    let rows = place.audit();
    let rest = rows.iter().find(|row| {
        row["event"] == "crossing"
            && row["detail"]["count"] == 2
            && row["detail"]["way"] == "out_of"
    });
    assert!(rest.is_some(), "{rows:#?}");
}

#[test]
fn bytes_that_are_no_text_end_the_attackers_connection_alone() {
    let broker = broker();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    for transport in TRANSPORTS {
        let mut client = Client::login(&broker, transport, &attacker(), Version::V5);
        // `/` in two bytes where one is the form.
        let mut packet = Publish::new("ff/v1/red/c@@talk", b"x").encode(Version::V5);
        let at = packet
            .iter()
            .position(|byte| *byte == b'@')
            .expect("the place");
        packet[at..at + 2].copy_from_slice(&[0xC0, 0xAF]);
        client.send(&packet);
        let rest = client.rest();
        assert!(
            matches!(rest[..], [ServerPacket::Disconnect { reason, .. }]
                if reason == ReasonCode::MalformedPacket),
            "{rest:?}"
        );
        let fields = json!({ "team": "blue", "cause": "protocol", "reason": "MalformedPacket" });
        record.row(transport, "disconnect", &client.own_address(), fields);
        record.count(
            "cofferdam_disconnects_total",
            &[("listener", transport), ("cause", "protocol")],
        );
    }
    record.check(&broker);
    bystander.was_left_alone();
}
