//! Client certificates over real sockets: who comes in, who does not and why, and what becomes of
//! those who are in when their certificate is taken back.

use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::running::authority::{Authority, Badge, Wanted};
use crate::running::{
    Broker, Bystander, Client, Link, Record, Setup, Stream, World, eventually, while_it_lasts,
    within,
};
use cofferdam::wire::client::{Connect, Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::json;

/// The listeners that clients show certificates to.
const LISTENERS: [&str; 3] = ["m-tls", "m-wss", "m-maybe"];

struct Yard {
    broker: Broker,
    authority: Authority,
}

impl Yard {
    /// With what the authority has taken back before.
    fn open(revoked: impl Fn(&Authority) -> Vec<Badge>, more: &str) -> Self {
        let authority = Authority::new("Client CA");
        let mut config = more.to_owned();
        for (name, transport, how) in [
            (LISTENERS[0], "tls", "required"),
            (LISTENERS[1], "wss", "required"),
            (LISTENERS[2], "tls", "optional"),
        ] {
            config += &format!(
                "[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\n\
                 bind = \"127.0.0.1:0\"\nclient_ca = \"clients.pem\"\n\
                 client_crl = \"revoked.pem\"\nclient_certificate = \"{how}\"\n"
            );
        }
        let revoked = revoked(&authority);
        let revoked: Vec<_> = revoked.iter().collect();
        let broker = Setup::new()
            .file("clients.pem", authority.pem())
            .file("revoked.pem", &authority.crl(&revoked, 3600))
            .and_config(&config)
            .start();
        Self { broker, authority }
    }

    fn new() -> Self {
        Self::open(
            |_| Vec::new(),
            "[identity.certificate]\nusername = \"{cn}\"\n",
        )
    }

    /// What a client trusts and shows, and whether it wants to resume.
    fn config(&self, badge: Option<&Badge>) -> Arc<ClientConfig> {
        let ca = self.broker.place().path("data/tls/ca.pem");
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(ca).expect("the CA"))
            .expect("a CA");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match badge {
            None => builder.with_no_client_auth(),
            Some(badge) => {
                let chain = CertificateDer::from_pem_slice(badge.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(badge.key.as_bytes());
                builder
                    .with_client_auth_cert(vec![chain.expect("PEM")], key.expect("PEM"))
                    .expect("a pair")
            }
        };
        Arc::new(config)
    }

    fn dial(&self, listener: &str, badge: Option<&Badge>) -> Client {
        let stream = Stream::tls(self.broker.address(listener), &self.config(badge));
        let link = Link::open(listener.trim_start_matches("m-"), "/mqtt", stream);
        Client::over(link, Version::V5)
    }

    /// A client that is in by its certificate, which names it `name`.
    fn enter(&self, listener: &str, badge: &Badge, name: &str) -> Client {
        let mut client = self.dial(listener, Some(badge));
        client.connect(&nameless(name));
        client
    }

    /// What is answered to a CONNECT over TLS alone; `None` where the certificate does not open the
    /// listener.
    fn answered(&self, badge: &Badge) -> Option<(Client, Vec<u8>)> {
        let mut client = self.dial("m-tls", Some(badge));
        client.send(&nameless("alice@red").encode());
        let mut answer = vec![0; 64];
        let Link::Bare(stream) = &mut client.link else {
            unreachable!("TLS alone");
        };
        let length = stream.read(&mut answer).ok().filter(|length| *length > 0)?;
        answer.truncate(length);
        Some((client, answer))
    }

    /// Whether a certificate opens a listener, by TLS alone.
    fn opens(&self, badge: &Badge) -> bool {
        self.answered(badge).is_some()
    }
}

/// CONNECT without username and password.
fn nameless(client_id: &str) -> Connect {
    Connect {
        client_id: client_id.to_owned(),
        ..Connect::new(Version::V5)
    }
}

#[test]
fn a_certificate_is_a_login_and_needs_no_password() {
    let yard = Yard::new();
    let bystander = Bystander::join(&yard.broker);
    let badge = yard.authority.badge(&Wanted::cn(1, "alice@red"));
    for listener in LISTENERS {
        let mut alice = yard.enter(listener, &badge, "alice@red");
        alice.subscribe("a", QoS::AtLeastOnce);
        alice.publish(Publish::new("a", b"x"));
        assert_eq!(alice.receive().payload, b"x");
        let row = yard
            .broker
            .audited(|row| row["event"] == "connect" && row["listener"] == listener);
        assert_eq!(
            (&row["actor"], &row["team"]),
            (&json!("alice@red"), &json!("red"))
        );
    }
    // Where none must be shown, others log in as ever.
    let mut anna = yard.dial("m-maybe", None);
    anna.connect(&World::anna().connect(Version::V5));
    anna.assert_quiet();
    bystander.was_left_alone();
}

#[test]
fn a_certificate_is_of_one_principal_whatever_comes_with_it() {
    let yard = Yard::new();
    let badge = |serial, name| yard.authority.badge(&Wanted::cn(serial, name));
    let mut wanted = Wanted::cn(3, "");
    wanted.subject = vec![("o", "red".to_owned())];
    let nobody = yard.authority.badge(&wanted);
    let mut record = Record::default();
    let mut clients = Vec::new();
    for (reason, badge, connect) in [
        (
            "certificate_username",
            badge(1, "alice@red"),
            World::bob().connect(Version::V5),
        ),
        (
            "certificate_username",
            badge(1, "alice@red"),
            World::anna().connect(Version::V5),
        ),
        ("unknown_user", badge(2, "zoe@red"), nameless("zoe@red")),
        ("certificate_names", nobody, nameless("x")),
        ("team_suspended", badge(4, "sam@grey"), nameless("sam@grey")),
        ("client_id", badge(1, "alice@red"), nameless("anna@red")),
    ] {
        let mut client = yard.dial("m-tls", Some(&badge));
        client.send(&connect.encode());
        let fields = json!({ "reason": reason, "told_code": 0x86, "listener": "m-tls" });
        record.row(reason, "connect_refused", &client.own_address(), fields);
        let labels = [("listener", "m-tls"), ("reason", reason)];
        record.count("cofferdam_connects_refused_total", &labels);
        clients.push((reason, client));
    }
    for (reason, mut client) in clients {
        match &client.rest()[..] {
            [ServerPacket::ConnAck(connack)] => assert_eq!(connack.code, 0x86, "{reason}"),
            other => panic!("{reason}: {other:?}"),
        }
    }
    record.check(&yard.broker);
}

#[test]
fn a_handshake_that_fails_for_its_certificate_is_on_record_with_the_reason() {
    let revoked = Wanted::cn(9, "alice@red");
    let yard = Yard::open(|authority| vec![authority.badge(&revoked)], "");
    let bystander = Bystander::join(&yard.broker);
    let revoked = yard.authority.badge(&revoked);
    let of = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = Wanted::cn(1, "alice@red");
        change(&mut wanted);
        yard.authority.badge(&wanted)
    };
    let stranger = Authority::new("Client CA").badge(&Wanted::cn(1, "alice@red"));
    let mut record = Record::default();
    let mut streams = Vec::new();
    for listener in ["m-tls", "m-wss"] {
        for (reason, badge) in [
            ("certificate_revoked", Some(&revoked)),
            (
                "certificate_expired",
                Some(&of(&|it| it.good = (-7200, -3600))),
            ),
            (
                "certificate_expired",
                Some(&of(&|it| it.good = (3600, 7200))),
            ),
            ("certificate_bad", Some(&of(&|it| it.for_clients = false))),
            ("certificate_missing", None),
        ] {
            let stream = shake(&yard, listener, badge);
            let fields = json!({ "reason": reason, "told": null, "listener": listener });
            record.row(reason, "connect_refused", &stream.own_address(), fields);
            for (metric, label, value) in [
                ("cofferdam_connects_refused_total", "reason", reason),
                ("cofferdam_tls_handshakes_total", "result", "failed"),
            ] {
                record.count(metric, &[("listener", listener), (label, value)]);
            }
            streams.push(stream);
        }
    }
    record.check(&yard.broker);
    // One of another authority, of the same name or not: its signature is nobody's here.
    let stream = shake(&yard, "m-tls", Some(&stranger));
    let remote = stream.own_address();
    let row = yard.broker.audited(|row| row["remote"] == *remote);
    let reason = row["detail"]["reason"].as_str().unwrap_or_default();
    assert!(
        matches!(reason, "certificate_bad" | "certificate_unknown_ca"),
        "{row}"
    );
    let other = Authority::new("Another CA").badge(&Wanted::cn(1, "alice@red"));
    let stream = shake(&yard, "m-tls", Some(&other));
    let remote = stream.own_address();
    let row = yard.broker.audited(|row| row["remote"] == *remote);
    assert_eq!(row["detail"]["reason"], "certificate_unknown_ca");
    bystander.was_left_alone();
}

/// A handshake that must end in an alert.
fn shake(yard: &Yard, listener: &str, badge: Option<&Badge>) -> Stream {
    let stream = Stream::tcp(yard.broker.address(listener));
    let mut socket = stream.socket().try_clone().expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(yard.config(badge), name).expect("a client");
    let mut ended = None;
    while ended.is_none() {
        ended = tls.complete_io(&mut socket).err();
        if !tls.is_handshaking() && ended.is_none() {
            // In 1.3 the client has said its last word before it is judged.
            let mut byte = [0];
            ended = rustls::Stream::new(&mut tls, &mut socket)
                .read_exact(&mut byte)
                .err();
        }
    }
    let ended = ended.expect("an end").to_string();
    assert!(ended.contains("fatal alert"), "{ended}");
    stream
}

#[test]
fn what_is_revoked_is_refused_within_a_second_and_who_is_in_by_it_is_closed() {
    within(Duration::from_secs(1), || revoke(&Yard::new()));
}

/// Has the authority take back who is in; gives how long it was until the last of them was out.
fn revoke(yard: &Yard) -> Duration {
    let bystander = Bystander::join(&yard.broker);
    let names = ["alice@red", "anna@red", "lena@red"];
    let badges = [1, 2, 3].map(|serial| {
        let name = names[serial as usize - 1];
        yard.authority.badge(&Wanted::cn(serial, name))
    });
    let mut clients: Vec<_> = (LISTENERS.into_iter().zip(names).zip(&badges))
        .map(|((listener, name), badge)| (listener, name, yard.enter(listener, badge, name)))
        .collect();
    let mute = yard.authority.badge(&Wanted::cn(4, "mute@red"));
    let mut other = yard.enter("m-tls", &mute, "mute@red");
    let revoked: Vec<_> = badges.iter().collect();
    let crl = yard.authority.crl(&revoked, 3600);
    let began = Instant::now();
    yard.broker.place().write("revoked.pem", &crl);
    for (listener, _, client) in &mut clients {
        match &client.rest()[..] {
            [ServerPacket::Disconnect { reason, .. }] => {
                assert_eq!(*reason, ReasonCode::AdministrativeAction, "{listener}");
            }
            other => panic!("{listener}: {other:?}"),
        }
    }
    let took = began.elapsed();
    for (listener, name, _) in clients {
        let row = yard
            .broker
            .audited(|row| row["event"] == "disconnect" && row["listener"] == listener);
        assert_eq!(row["actor"], name);
        assert_eq!(row["detail"]["cause"], "certificate_revoked");
    }
    assert!(badges.iter().all(|badge| !yard.opens(badge)));
    assert!(yard.opens(&mute));
    other.assert_quiet();
    bystander.was_left_alone();
    took
}

#[test]
fn a_list_that_is_out_of_date_or_rubbish_lets_nobody_in_that_it_should_not() {
    let yard = Yard::new();
    let alice = yard.authority.badge(&Wanted::cn(1, "alice@red"));
    let write = |name: &str, text: &str| yard.broker.place().write(name, text);
    write("revoked.pem", "rubbish");
    yard.broker
        .process()
        .wait_for_log("what was known before stays in force");
    assert!(yard.opens(&alice));
    write("revoked.pem", &yard.authority.crl(&[], -60));
    eventually("the list of yesterday", || {
        (!yard.opens(&alice)).then_some(()).ok_or("still let in")
    });
    write("revoked.pem", &yard.authority.crl(&[], 3600));
    eventually("the list of today", || {
        yard.opens(&alice).then_some(()).ok_or("not yet")
    });
    // Another authority instead of the first.
    let other = Authority::new("Another CA");
    write("revoked.pem", &other.crl(&[], 3600));
    write("clients.pem", other.pem());
    eventually("the other authority", || {
        (!yard.opens(&alice)).then_some(()).ok_or("still let in")
    });
    assert!(yard.opens(&other.badge(&Wanted::cn(1, "alice@red"))));
}

#[test]
fn nothing_is_resumed_past_the_list() {
    let yard = Yard::new();
    let alice = yard.authority.badge(&Wanted::cn(1, "alice@red"));
    // One configuration, so that what can be kept is kept between connections.
    let config = yard.config(Some(&alice));
    for _ in 0..3 {
        let stream = Stream::tls(yard.broker.address("m-tls"), &config);
        let Stream::Tls(tls) = &stream else {
            unreachable!("it is TLS");
        };
        assert_eq!(tls.conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
        let mut client = Client::over(Link::Bare(stream), Version::V5);
        client.connect(&nameless("alice@red"));
        client.assert_quiet();
    }
}

#[test]
fn the_connection_ends_when_the_certificate_does() {
    let yard = Yard::new();
    let mut alice = while_it_lasts(|secs| {
        let mut wanted = Wanted::cn(1, "alice@red");
        wanted.good.1 = secs;
        let badge = yard.authority.badge(&wanted);
        let (alice, answer) = yard.answered(&badge)?;
        matches!(answer[..], [0x20, _, _, 0, ..]).then_some(alice) // CONNACK that says yes
    });
    match &alice.rest()[..] {
        [ServerPacket::Disconnect { reason, .. }] => {
            assert_eq!(*reason, ReasonCode::MaximumConnectTime);
        }
        other => panic!("{other:?}"),
    }
    yard.broker
        .audited(|row| row["event"] == "disconnect" && row["detail"]["cause"] == "expired");
}
