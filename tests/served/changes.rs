//! Changes made by the command line while the broker runs: they count for those who are connected,
//! within a second, and the audit says why.

use std::time::{Duration, Instant};

use crate::running::{Broker, Bystander, Client, Login, Setup, World, lasting};
use cofferdam::wire::client::{Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::{Value, json};

const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

fn login(broker: &Broker, listener: &str, login: &Login) -> Client {
    Client::login(broker, listener, login, Version::V5)
}

/// Changes something with the command line.
fn run(broker: &Broker, arguments: &[&str]) {
    broker.place().run_well(arguments);
}

fn apply(broker: &Broker, lines: &str) {
    broker.place().write("change.toml", lines);
    run(broker, &["apply", "change.toml"]);
}

/// The connection ends with this, and with nothing before.
#[track_caller]
fn cut(client: &mut Client, reason: ReasonCode) {
    let goodbye = ServerPacket::Disconnect {
        reason,
        properties: Vec::new(),
    };
    assert_eq!(client.rest(), [goodbye]);
}

/// What a login is answered with; `None`: closed without CONNACK.
fn answered(broker: &Broker, login: &Login) -> Option<u8> {
    let mut client = Client::dial(broker, "tcp", Version::V5);
    client.send(&login.connect(Version::V5).encode());
    match client.next()? {
        ServerPacket::ConnAck(connack) => Some(connack.code),
        other => panic!("no CONNACK: {other:?}"),
    }
}

/// The audit's row of an event of somebody's.
fn row(broker: &Broker, event: &str, actor: &str) -> Value {
    broker.audited(|row| row["event"] == event && row["actor"] == actor)
}

/// The audit says that the connection ended by this change, and which record has it.
#[track_caller]
fn is_on_record(broker: &Broker, username: &str, change: &str, made: &str) {
    let ended = row(broker, "disconnect", username);
    let detail = &ended["detail"];
    assert_eq!(detail["cause"], "review");
    assert_eq!(detail["change"], change);
    let revision = &detail["revision"];
    assert!(revision.is_i64());
    broker.audited(|row| row["event"] == made && row["detail"]["revision"] == *revision);
}

fn instance(id: &str, team: &str) -> String {
    format!("[[instance]]\nid = \"{id}\"\nteam = \"{team}\"\npassword = \"test_{id:0>64}\"\n")
}

fn device(owner: Option<&str>) -> String {
    let owner = owner.map_or(String::new(), |owner| {
        format!("owner = {{ type = \"instance\", id = \"{owner}\" }}\n")
    });
    let password = Login::of("device:red:d1").password;
    format!("[[device]]\nid = \"d1\"\nteam = \"red\"\npassword = \"{password}\"\n{owner}")
}

#[test]
fn a_revoked_client_is_cut_within_a_second_and_stays_out() {
    let names = ["one@red", "two@red", "three@red"];
    let clients: String = names
        .iter()
        .map(|name| Login::of(name).client("#"))
        .collect();
    let broker = Setup::new().and(&clients).start();
    let mut anna = login(&broker, "tcp", &World::anna());
    let bystander = Bystander::join(&broker);
    let mut fastest = Duration::MAX;
    for name in names {
        let mut client = login(&broker, "tcp", &Login::of(name));
        run(&broker, &["client", "revoke", name]);
        let revoked = Instant::now();
        cut(&mut client, ReasonCode::AdministrativeAction);
        fastest = fastest.min(revoked.elapsed());
        assert_eq!(answered(&broker, &Login::of(name)), Some(0x86));
    }
    // The fastest of three: the machine may be busy with something else.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    is_on_record(&broker, names[0], "revoked", "client_revoke");
    anna.assert_quiet();
    bystander.was_left_alone();
    broker.wait_for_numbers(|numbers| {
        let ended = [("change", "revoked")];
        numbers.check("cofferdam_connections_ended_by_change_total", &ended, 3)?;
        numbers.check("cofferdam_changes_total", &ended, 3)
    });
}

#[test]
fn a_rotated_password_ends_the_connection_and_the_session_waits_for_the_new_one() {
    let broker = Broker::start();
    let alice = World::alice();
    let mut client = Client::dial(&broker, "tcp", Version::V5);
    client.connect(&lasting(alice.connect(Version::V5), 1000));
    client.subscribe("#", AT_LEAST_ONCE);
    let rotated = broker
        .place()
        .run_well(&["client", "rotate", &alice.username, "--json"]);
    cut(&mut client, ReasonCode::AdministrativeAction);
    is_on_record(&broker, &alice.username, "credential", "client_rotate");
    let mut anna = login(&broker, "tcp", &World::anna());
    anna.publish(Publish::new("a", b"waits").at(AT_LEAST_ONCE, 1));

    assert_eq!(answered(&broker, &alice), Some(0x86));
    let rotated: Value = serde_json::from_str(&rotated).expect("JSON");
    let renewed = Login {
        password: rotated["password"].as_str().expect("a password").to_owned(),
        ..alice
    };
    let mut client = Client::dial(&broker, "tcp", Version::V5);
    let connack = client.connect(&lasting(renewed.connect(Version::V5), 1000));
    assert!(connack.session_present);
    assert_eq!(client.receive().payload, b"waits");
}

#[test]
fn a_suspended_team_is_cut_on_every_listener_and_comes_back_when_it_is_resumed() {
    let broker = Setup::new().and(&Login::of("olga@red").client("#")).start();
    let bystander = Bystander::join(&broker);
    let listeners = ["tcp", "tls", "ws", "wss"];
    let logins = [
        World::alice(),
        World::anna(),
        World::lena(),
        World::instance(),
    ];
    let mut clients: Vec<_> = listeners
        .iter()
        .zip(&logins)
        .map(|(listener, who)| login(&broker, listener, who))
        .collect();
    let mut old = Client::login(&broker, "tcp", &Login::of("olga@red"), Version::V311);
    run(&broker, &["team", "suspend", "red"]);
    for client in &mut clients {
        cut(client, ReasonCode::AdministrativeAction);
    }
    assert_eq!(old.rest(), [], "3.1.1 has no word for it");
    is_on_record(
        &broker,
        &logins[0].username,
        "team_suspended",
        "team_suspend",
    );
    assert_eq!(answered(&broker, &logins[0]), Some(0x86));
    bystander.was_left_alone();
    run(&broker, &["team", "resume", "red"]);
    login(&broker, "tcp", &logins[0]).assert_quiet();
}

#[test]
fn a_removed_team_leaves_nothing_to_the_next_of_its_name() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    alice.connect(&lasting(World::alice().connect(Version::V5), 1000));
    alice.subscribe("#", AT_LEAST_ONCE);
    let mut anna = login(&broker, "tcp", &World::anna());
    anna.publish(Publish {
        retain: true,
        ..Publish::new("kept", b"secret")
    });
    assert_eq!(alice.receive().payload, b"secret");
    run(&broker, &["team", "remove", "red"]);
    cut(&mut alice, ReasonCode::AdministrativeAction);
    cut(&mut anna, ReasonCode::AdministrativeAction);
    is_on_record(&broker, "alice@red", "team_removed", "team_remove");
    broker.wait_for_numbers(|numbers| {
        let red = [("team", "red")];
        for metric in [
            "cofferdam_sessions",
            "cofferdam_subscriptions",
            "cofferdam_retained_messages",
        ] {
            numbers.check(metric, &red, 0)?;
        }
        Ok(())
    });

    let team = format!("[[team]]\nid = \"red\"\n{}", World::alice().client("#"));
    apply(&broker, &team);
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    let connack = alice.connect(&lasting(World::alice().connect(Version::V5), 1000));
    assert!(!connack.session_present);
    alice.subscribe("#", AT_LEAST_ONCE);
    alice.assert_quiet();
    bystander.was_left_alone();
}

#[test]
fn an_acl_that_is_narrowed_ends_the_subscription_and_not_the_connection() {
    let broker = Broker::start();
    let mut alice = login(&broker, "tcp", &World::alice());
    let mut anna = login(&broker, "tcp", &World::anna());
    for filter in ["open/#", "secret/#"] {
        alice.subscribe(filter, AT_LEAST_ONCE);
    }
    apply(&broker, &World::alice().client("open/#"));
    let ended = row(&broker, "subscription_ended", "alice@red");
    let made = row(&broker, "client_change", ended_by(&broker).as_str());
    assert_eq!(
        ended["detail"],
        json!({
            "filter": "ff/v1/red/c/secret/#",
            "why": "policy",
            "change": "rights",
            "revision": made["detail"]["revision"],
        })
    );
    for topic in ["secret/a", "open/a"] {
        anna.publish(Publish::new(topic, b"1"));
    }
    assert_eq!(alice.receive().topic, "open/a");
    alice.assert_quiet();
    let forbidden = Publish::new("secret/mine", b"1").at(AT_LEAST_ONCE, 1);
    alice.send(&forbidden.encode(Version::V5));
    let ServerPacket::PubAck { reason, .. } = alice.packet() else {
        panic!("no PUBACK");
    };
    assert_eq!(reason, ReasonCode::NotAuthorized);
    broker.wait_for_numbers(|numbers| {
        let rights = [("change", "rights")];
        numbers.check("cofferdam_subscriptions_ended_by_change_total", &rights, 1)
    });
}

/// Who the command line says it is.
fn ended_by(broker: &Broker) -> String {
    let row = broker.audited(|row| row["event"] == "client_change");
    row["actor"].as_str().expect("a name").to_owned()
}

#[test]
fn a_device_has_the_rights_of_its_owner_of_now() {
    let (old, new) = ("00000000-0000-4000-8000-000000000001", "i2");
    let others = instance(new, "red") + &device(Some(old));
    let broker = Setup::new().and(&others).start();
    let mut d1 = login(&broker, "tcp", &Login::of("device:red:d1"));
    d1.subscribe(&format!("ff/v1/red/p/{old}/command"), AT_LEAST_ONCE);
    d1.subscribe("ff/v1/red/d/d1/command", AT_LEAST_ONCE);
    apply(&broker, &device(Some(new)));
    let ended = row(&broker, "subscription_ended", "device:red:d1");
    assert_eq!(
        ended["detail"]["filter"],
        format!("ff/v1/red/p/{old}/command")
    );
    d1.subscribe(&format!("ff/v1/red/p/{new}/command"), AT_LEAST_ONCE);
    apply(&broker, &device(None));
    let filter = format!("ff/v1/red/p/{new}/command");
    broker.audited(|row| row["detail"]["filter"] == filter);
    d1.assert_quiet();
}

#[test]
fn an_instance_that_moves_to_another_team_is_cut_and_is_no_member_any_more() {
    let (red, moves) = ("00000000-0000-4000-8000-000000000001", "i2");
    let others = instance(moves, "red") + &device(Some(red));
    let broker = Setup::new().and(&others).start();
    let who = Login {
        username: format!("project:red:{moves}"),
        password: format!("test_{moves:0>64}"),
    };
    let mut client = login(&broker, "tcp", &who);
    let mut d1 = login(&broker, "tcp", &Login::of("device:red:d1"));
    let to_it = format!("ff/v1/red/p/{moves}/in/x");
    d1.subscribe(&to_it, AT_LEAST_ONCE);
    apply(&broker, &instance(moves, "blue"));
    cut(&mut client, ReasonCode::AdministrativeAction);
    is_on_record(&broker, &who.username, "moved", "instance_change");
    assert_eq!(answered(&broker, &who), Some(0x86));
    let ended = row(&broker, "subscription_ended", "device:red:d1");
    assert_eq!(ended["detail"]["filter"], to_it);
    assert_eq!(ended["detail"]["change"], "members");
    d1.assert_quiet();
}

#[test]
fn a_password_that_is_applied_counts_at_once_and_one_that_is_the_same_does_not() {
    let broker = Broker::start();
    let mut alice = login(&broker, "tcp", &World::alice());
    let mut lena = login(&broker, "tcp", &World::lena());
    let other = Login {
        password: Login::of("other").password,
        ..World::alice()
    };
    apply(
        &broker,
        &(other.client("#") + &World::lena().client("own/#")),
    );
    cut(&mut alice, ReasonCode::AdministrativeAction);
    lena.assert_quiet();
    // Without a password nobody logs in, and nobody stays.
    apply(
        &broker,
        "[[client]]\nname = \"lena\"\nteam = \"red\"\nacl = []\n",
    );
    cut(&mut lena, ReasonCode::AdministrativeAction);
    assert_eq!(answered(&broker, &World::lena()), Some(0x86));
}
