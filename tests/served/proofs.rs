//! SCRAM-SHA-256 over real sockets: a client proves its password and never sends it.
//!
//! The client's half is written out here (RFC 5802, section 3), so that broker and test do not
//! share a mistake of one library.

use std::num::NonZeroU32;

use crate::running::{Broker, Bystander, Client, Login, Record, World};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam::wire::client::{Connect, Property, Publish, ServerPacket, auth};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::json;

const METHOD: &str = "SCRAM-SHA-256";

/// A client's side of one exchange.
struct Prover {
    username: String,
    password: String,
    nonce: String,
    /// What the server must sign with.
    server_key: hmac::Tag,
    auth_message: String,
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

impl Prover {
    fn new(login: &Login, nonce: &str) -> Self {
        Self {
            username: login.username.clone(),
            password: login.password.clone(),
            nonce: nonce.to_owned(),
            server_key: sign(b"", ""),
            auth_message: String::new(),
        }
    }

    fn first(&self) -> String {
        format!("n,,n={},r={}", self.username, self.nonce)
    }

    /// The proof, in answer to a challenge.
    fn answer(&mut self, challenge: &[u8]) -> String {
        let challenge = std::str::from_utf8(challenge).expect("text");
        let parts: Vec<&str> = challenge.split(',').collect();
        let nonce = parts[0].strip_prefix("r=").expect("a nonce");
        assert!(nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len() + 16);
        let salt = BASE64_STANDARD
            .decode(&parts[1]["s=".len()..])
            .expect("a salt");
        let iterations = parts[2]["i=".len()..].parse().expect("iterations");
        assert!(NonZeroU32::get(iterations) >= 4096);
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let client_key = sign(&salted, "Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        self.server_key = sign(&salted, "Server Key");
        let bare = format!("c=biws,r={nonce}");
        self.auth_message = format!("n={},r={},{challenge},{bare}", self.username, self.nonce);
        let signature = sign(stored_key.as_ref(), &self.auth_message);
        let pairs = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        format!("{bare},p={}", BASE64_STANDARD.encode(proof))
    }

    /// The server knows the password too.
    fn check(&self, last_word: &[u8]) {
        let signature = sign(self.server_key.as_ref(), &self.auth_message);
        let expected = format!("v={}", BASE64_STANDARD.encode(signature));
        assert_eq!(String::from_utf8_lossy(last_word), expected);
    }
}

fn connect(login: &Login, method: &str, data: &str) -> Connect {
    Connect {
        client_id: login.username.clone(),
        properties: said(method, data),
        ..Connect::new(Version::V5)
    }
}

fn said(method: &str, data: &str) -> Vec<Property> {
    vec![
        Property::AuthenticationMethod(method.to_owned()),
        Property::AuthenticationData(data.as_bytes().to_owned()),
    ]
}

/// The data among properties that must name the method.
fn data(properties: &[Property]) -> Vec<u8> {
    assert!(properties.contains(&Property::AuthenticationMethod(METHOD.to_owned())));
    let data = properties.iter().find_map(|property| match property {
        Property::AuthenticationData(data) => Some(data.clone()),
        _ => None,
    });
    data.expect("authentication data")
}

/// Reads AUTH with this reason.
#[track_caller]
fn told(client: &mut Client, wanted: ReasonCode) -> Vec<u8> {
    match client.packet() {
        ServerPacket::Auth { reason, properties } if reason == wanted => data(&properties),
        other => panic!("not AUTH with {wanted:?}: {other:?}"),
    }
}

/// Connects and answers the challenge; what comes next is the broker's decision.
fn prove(broker: &Broker, listener: &str, prover: &mut Prover, login: &Login) -> Client {
    let mut client = Client::dial(broker, listener, Version::V5);
    client.send(&connect(login, METHOD, &prover.first()).encode());
    let challenge = told(&mut client, ReasonCode::ContinueAuthentication);
    let answer = prover.answer(&challenge);
    client.send(&auth(
        ReasonCode::ContinueAuthentication,
        &said(METHOD, &answer),
    ));
    client
}

fn come_in(broker: &Broker, listener: &str, login: &Login) -> Client {
    let mut prover = Prover::new(login, "fyko+d2lbbFgONRv9qkxdawL");
    let mut client = prove(broker, listener, &mut prover, login);
    match client.packet() {
        ServerPacket::ConnAck(connack) if connack.code == 0 => {
            prover.check(&data(&connack.properties));
        }
        other => panic!("not let in: {other:?}"),
    }
    client
}

#[test]
fn a_client_comes_in_by_its_proof_and_renews_it_until_it_cannot() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let mut others = Vec::new();
    for (listener, login) in [
        ("tcp", World::lena()),
        ("tls", World::instance()),
        ("wss", World::anna()),
    ] {
        let client = come_in(&broker, listener, &login);
        let fields = json!({ "actor": login.username, "listener": listener });
        record.row("by proof", "connect", &client.own_address(), fields);
        others.push(client);
    }

    let alice = World::alice();
    let mut client = come_in(&broker, "tls", &alice);
    let remote = client.own_address();
    client.subscribe("news", QoS::AtLeastOnce);
    let mut prover = Prover::new(&alice, "another-nonce");
    client.send(&auth(
        ReasonCode::ReAuthenticate,
        &said(METHOD, &prover.first()),
    ));
    let challenge = told(&mut client, ReasonCode::ContinueAuthentication);
    client.send_publish(Publish::new("news", b"meanwhile"));
    assert_eq!(client.receive().payload, b"meanwhile");
    let answer = prover.answer(&challenge);
    client.send(&auth(
        ReasonCode::ContinueAuthentication,
        &said(METHOD, &answer),
    ));
    prover.check(&told(&mut client, ReasonCode::Success));
    let fields = json!({ "actor": "alice@red", "team": "red" });
    record.row("renewed", "reauthenticate", &remote, fields);
    record.count(
        "cofferdam_reauthentications_total",
        &[("listener", "tls"), ("result", "ok")],
    );

    let wrong = Login {
        password: World::bob().password,
        ..World::alice()
    };
    let mut prover = Prover::new(&wrong, "a-third-nonce");
    client.send(&auth(
        ReasonCode::ReAuthenticate,
        &said(METHOD, &prover.first()),
    ));
    let challenge = told(&mut client, ReasonCode::ContinueAuthentication);
    let answer = prover.answer(&challenge);
    client.send(&auth(
        ReasonCode::ContinueAuthentication,
        &said(METHOD, &answer),
    ));
    let goodbye = ServerPacket::Disconnect {
        reason: ReasonCode::NotAuthorized,
        properties: vec![],
    };
    assert_eq!(client.rest(), [goodbye]);
    let fields = json!({
        "actor": "alice@red", "reason": "wrong_password", "told": "NotAuthorized", "told_code": 0x87,
    });
    record.row("not renewed", "reauthenticate_refused", &remote, fields);
    record.count(
        "cofferdam_reauthentications_total",
        &[("listener", "tls"), ("result", "wrong_password")],
    );
    let fields = json!({ "actor": "alice@red", "cause": "server", "reason": "NotAuthorized" });
    record.row("cut", "disconnect", &remote, fields);
    let fields = json!({ "actor": "alice@red", "listener": "tls" });
    record.row("by proof", "connect", &remote, fields);
    record.check(&broker);
    bystander.was_left_alone();
}

#[test]
fn a_proof_that_is_refused_looks_alike_whatever_the_reason_and_the_reason_is_on_record() {
    let broker = Broker::start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let other_password = |login: Login| Login {
        password: World::bob().password,
        ..login
    };
    for (reason, login) in [
        ("wrong_password", other_password(World::alice())),
        ("wrong_password", other_password(World::instance())),
        ("unknown_user", Login::of("nobody@red")),
        ("unknown_user", Login::of("project:red:nobody")),
        ("no_credential", World::mute()),
        ("team_suspended", World::sam()),
        ("wrong_password", other_password(World::sam())),
    ] {
        let mut prover = Prover::new(&login, "fyko+d2lbbFgONRv9qkxdawL");
        let mut client = prove(&broker, "tcp", &mut prover, &login);
        let remote = client.own_address();
        match &client.rest()[..] {
            [ServerPacket::ConnAck(connack)] => {
                assert_eq!((connack.code, &connack.properties[..]), (0x86, &[][..]));
            }
            other => panic!("{reason}: {other:?}"),
        }
        let fields = json!({
            "actor": login.username, "reason": reason, "told_code": 0x86,
        });
        record.row(reason, "connect_refused", &remote, fields);
        record.count(
            "cofferdam_connects_refused_total",
            &[("listener", "tcp"), ("reason", reason)],
        );
    }
    for (what, method, data, reason, code) in [
        (
            "a method not known",
            "SCRAM-SHA-1",
            "n,,n=alice@red,r=x",
            "method",
            0x8C,
        ),
        (
            "a binding not offered",
            METHOD,
            "p=tls-exporter,,n=alice@red,r=x",
            "exchange",
            0x86,
        ),
        ("a message cut short", METHOD, "n,,n", "exchange", 0x86),
    ] {
        let mut client = Client::dial(&broker, "tcp", Version::V5);
        client.send(&connect(&World::alice(), method, data).encode());
        let remote = client.own_address();
        match &client.rest()[..] {
            [ServerPacket::ConnAck(connack)] => assert_eq!(connack.code, code, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        let fields = json!({ "reason": reason, "told_code": code, "actor": null });
        record.row(what, "connect_refused", &remote, fields);
    }
    record.check(&broker);
    bystander.was_left_alone();
}
