//! Tokens as passwords, over real sockets: who comes in, until when, and how the broker says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::running::issuer::{AUDIENCE, ISSUER, Issuer};
use crate::running::{
    Broker, Bystander, Client, Record, Setup, World, eventually, lasting, while_it_lasts,
};
use cofferdam::wire::client::{Connect, Property, Publish, ServerPacket, auth};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::json;

const METHOD: &str = "OAUTH2-JWT";
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn in_secs(secs: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
        .as_secs()
        .saturating_add_signed(secs)
}

/// A broker that takes this issuer's tokens, and has its keys in `keys.pem`.
fn broker(issuer: &Issuer) -> Broker {
    let more = format!(
        "[identity.jwt]\nkeys = [\"keys.pem\"]\nissuer = \"{ISSUER}\"\n\
         audience = [\"{AUDIENCE}\"]\nusername = \"{{sub}}@{{team}}\"\npatterns = \"topics\"\n\
         leeway = \"0 s\"\n"
    );
    // The file is there before anything reads the configuration.
    let setup = Setup::new().file("keys.pem", &issuer.pems());
    setup.and_config(&more).start()
}

fn token(issuer: &Issuer, algorithm: &str, name: &str, team: &str, secs: i64) -> String {
    let topics = json!([{ "action": "both", "effect": "allow", "pattern": "#" }]);
    let claims = json!({ "sub": name, "team": team, "topics": topics });
    issuer.token(algorithm, in_secs(secs), claims)
}

fn connect(client_id: &str, username: &str, token: &str, version: Version) -> Connect {
    Connect {
        client_id: client_id.to_owned(),
        username: Some(username.to_owned()),
        password: Some(token.as_bytes().to_vec()),
        ..Connect::new(version)
    }
}

fn said(token: &str) -> Vec<Property> {
    vec![
        Property::AuthenticationMethod(METHOD.to_owned()),
        Property::AuthenticationData(token.as_bytes().to_vec()),
    ]
}

fn is_let_in(client: &mut Client) -> bool {
    match client.packet() {
        ServerPacket::ConnAck(connack) => connack.code == 0,
        other => panic!("no CONNACK: {other:?}"),
    }
}

#[test]
fn a_token_is_a_login_in_its_team_in_every_version_over_every_transport() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let bystander = Bystander::join(&broker);
    let pairs = ["tcp", "tls", "ws", "wss"]
        .into_iter()
        .zip(["RS256", "ES256", "EdDSA"].into_iter().cycle());
    for (listener, algorithm) in pairs {
        for version in VERSIONS {
            let token = token(&issuer, algorithm, "zoe", "red", 3600);
            let mut zoe = Client::dial(&broker, listener, version);
            zoe.connect(&connect("zoe@red", "jwt", &token, version));
            zoe.subscribe("a", QoS::AtLeastOnce);
            zoe.publish(Publish::new("a", b"x"));
            assert_eq!(zoe.receive().payload, b"x");
        }
    }
    let row = broker.audited(|row| row["event"] == "connect" && row["actor"] == "zoe@red");
    assert_eq!(row["team"], "red");
    bystander.was_left_alone();
}

#[test]
fn a_token_that_is_not_good_looks_like_a_wrong_password_and_the_reason_is_on_record() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let bystander = Bystander::join(&broker);
    let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": in_secs(3600), "sub": "alice", "team": "red" });
    let good = token(&issuer, "ES256", "alice", "red", 3600);
    let other = Issuer::new();
    let mut record = Record::default();
    let mut clients = Vec::new();
    for (reason, username, token) in [
        (
            "token_expired",
            "jwt",
            token(&issuer, "ES256", "alice", "red", -5),
        ),
        (
            "token_signature",
            "jwt",
            token(&other, "ES256", "alice", "red", 3600),
        ),
        (
            "token_algorithm",
            "jwt",
            issuer.sign("RS256", &json!({ "alg": "none" }), &claims),
        ),
        (
            "token_algorithm",
            "jwt",
            issuer.sign("RS256", &json!({ "alg": "HS256" }), &claims),
        ),
        ("token_username", "bob@blue", good.clone()),
        (
            "token_claims",
            "jwt",
            token(&issuer, "ES256", "alice@blue", "red", 3600),
        ),
        (
            "team_suspended",
            "jwt",
            token(&issuer, "ES256", "alice", "grey", 3600),
        ),
        (
            "client_id",
            "jwt",
            token(&issuer, "ES256", "anna", "red", 3600),
        ),
    ] {
        let version = Version::V5;
        let mut client = Client::dial(&broker, "tcp", version);
        client.send(&connect("alice@red", username, &token, version).encode());
        let fields = json!({ "reason": reason, "actor": username, "told_code": 0x86 });
        record.row(reason, "connect_refused", &client.own_address(), fields);
        let labels = [("listener", "tcp"), ("reason", reason)];
        record.count("cofferdam_connects_refused_total", &labels);
        clients.push((reason, client));
    }
    for (reason, mut client) in clients {
        match &client.rest()[..] {
            [ServerPacket::ConnAck(connack)] => assert_eq!(connack.code, 0x86, "{reason}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn the_connection_ends_when_the_token_does() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let bystander = Bystander::join(&broker);
    for version in VERSIONS {
        let (mut zoe, over) = while_it_lasts(|secs| {
            let over = in_secs(secs);
            let topics = json!({ "sub": "zoe", "team": "red", "topics": [] });
            let token = issuer.token("EdDSA", over, topics);
            let mut zoe = Client::dial(&broker, "tls", version);
            zoe.send(&connect("zoe@red", "", &token, version).encode());
            is_let_in(&mut zoe).then_some((zoe, over))
        });
        let remote = zoe.own_address();
        let told = zoe.rest();
        assert!(in_secs(0) >= over, "too early");
        match (version, &told[..]) {
            (Version::V5, [ServerPacket::Disconnect { reason, .. }]) => {
                assert_eq!(*reason, ReasonCode::MaximumConnectTime);
            }
            (Version::V31 | Version::V311, []) => {}
            (_, other) => panic!("{other:?}"),
        }
        let row = broker.audited(|row| row["event"] == "disconnect" && row["remote"] == *remote);
        assert_eq!(row["detail"]["cause"], "expired");
    }
    broker.wait_for_numbers(|numbers| {
        let labels = [("listener", "tls"), ("cause", "expired")];
        numbers.check("cofferdam_disconnects_total", &labels, 3)
    });
    bystander.was_left_alone();
}

#[test]
fn a_fresh_token_by_auth_keeps_the_connection_and_somebody_elses_ends_it() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let bystander = Bystander::join(&broker);
    // Nobody, where the token is over before she is in.
    let enter = |secs| {
        let mut zoe = Client::dial(&broker, "tls", Version::V5);
        let connect = Connect {
            client_id: "zoe@red".to_owned(),
            properties: said(&token(&issuer, "ES256", "zoe", "red", secs)),
            ..Connect::new(Version::V5)
        };
        zoe.send(&connect.encode());
        let ServerPacket::ConnAck(connack) = zoe.packet() else {
            panic!("no CONNACK");
        };
        let method = Property::AuthenticationMethod(METHOD.to_owned());
        assert!(connack.code != 0 || connack.properties.contains(&method));
        (connack.code == 0).then_some(zoe)
    };
    let again = |name: &str, secs| {
        let fresh = said(&token(&issuer, "ES256", name, "red", secs));
        auth(ReasonCode::ReAuthenticate, &fresh)
    };
    let (mut zoe, until) = while_it_lasts(|secs| {
        let mut zoe = enter(secs)?;
        zoe.send(&again("zoe", 3600));
        match zoe.packet() {
            ServerPacket::Auth { reason, .. } => assert_eq!(reason, ReasonCode::Success),
            ServerPacket::Disconnect { .. } => return None,
            other => panic!("{other:?}"),
        }
        Some((zoe, in_secs(secs + 1)))
    });
    while in_secs(0) < until {
        std::thread::sleep(Duration::from_millis(100));
        zoe.assert_quiet();
    }
    zoe.send(&again("yan", 3600));
    match &zoe.rest()[..] {
        [ServerPacket::Disconnect { reason, .. }] => {
            assert_eq!(*reason, ReasonCode::NotAuthorized);
        }
        other => panic!("{other:?}"),
    }
    broker.audited(|row| {
        // Her client id is that of the other's role.
        row["event"] == "reauthenticate_refused" && row["detail"]["reason"] == "client_id"
    });
    let mut zoe = enter(3600).expect("she is let in");
    zoe.send(&again("zoe", -5));
    assert!(matches!(zoe.rest()[..], [ServerPacket::Disconnect { .. }]));
    broker.audited(|row| {
        row["event"] == "reauthenticate_refused" && row["detail"]["reason"] == "token_expired"
    });
    bystander.was_left_alone();
}

#[test]
fn keys_are_taken_up_when_their_file_changes_and_rubbish_is_not() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let broker = broker(&old);
    let enters = |issuer: &Issuer| {
        let token = token(issuer, "EdDSA", "zoe", "red", 3600);
        let mut zoe = Client::dial(&broker, "tcp", Version::V5);
        zoe.send(&connect("zoe@red", "", &token, Version::V5).encode());
        matches!(zoe.packet(), ServerPacket::ConnAck(it) if it.code == 0)
    };
    assert!(enters(&old) && !enters(&new));
    broker.place().write("keys.pem", "rubbish");
    broker
        .process()
        .wait_for_log("what was known before stays in force");
    assert!(enters(&old));
    broker.place().write("keys.pem", &new.pems());
    eventually("the new keys", || {
        enters(&new).then_some(()).ok_or("not yet")
    });
    assert!(!enters(&old));
}

fn token_for(issuer: &Issuer, topics: serde_json::Value) -> String {
    let claims = json!({ "sub": "alice", "team": "red", "topics": topics });
    issuer.token("ES256", in_secs(3600), claims)
}

/// `alice@red` is on record too, and may do everything there.
#[test]
fn a_change_on_record_does_not_widen_what_a_token_gave() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let narrow = json!([{ "action": "subscribe", "effect": "allow", "pattern": "in/#" }]);
    let token = token_for(&issuer, narrow);
    let connect = connect("alice@red", "jwt", &token, Version::V5);
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    alice.connect(&connect);
    let refused = ReasonCode::NotAuthorized as u8;
    assert_eq!(alice.try_subscribe("out/#", QoS::AtMostOnce), refused);

    let lines = World::alice().client("#").replace("both", "publish");
    broker.place().write("change.toml", &lines);
    broker.place().run_well(&["apply", "change.toml"]);
    // It has to show its token again, and has what that gives.
    let ended = alice.rest();
    assert!(
        matches!(ended.last(), Some(ServerPacket::Disconnect { .. })),
        "{ended:?}"
    );
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    alice.connect(&connect);
    assert_eq!(alice.try_subscribe("out/#", QoS::AtMostOnce), refused);
    alice.subscribe("in/a", QoS::AtMostOnce);
}

#[test]
fn each_session_has_after_a_restart_what_its_own_token_gave() {
    let issuer = Issuer::new();
    let broker = broker(&issuer);
    let wide = json!([{ "action": "both", "effect": "allow", "pattern": "#" }]);
    let token = token_for(&issuer, wide);
    let connect = lasting(connect("alice@red", "jwt", &token, Version::V5), 3600);
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    alice.connect(&connect);
    alice.subscribe("out", QoS::AtLeastOnce);
    drop(alice);
    let lines = World::alice().client("in").replace("both", "publish");
    broker.place().write("change.toml", &lines);
    broker.place().run_well(&["apply", "change.toml"]);

    let (place, _) = broker.stop();
    let broker = place.start();
    let mut anna = Client::login(&broker, "tcp", &World::anna(), Version::V5);
    anna.publish(Publish::new("out", b"x").at(QoS::AtLeastOnce, 1));
    let mut alice = Client::dial(&broker, "tcp", Version::V5);
    assert!(alice.connect(&connect).session_present);
    assert_eq!(alice.receive().payload, b"x");
}
