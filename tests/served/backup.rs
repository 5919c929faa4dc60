//! A backup of a broker that runs under load is all that it had acknowledged, elsewhere.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cofferdam::wire::client::{Property, Publish, ServerPacket, Will, puback, pubcomp, pubrec};
use cofferdam::wire::{QoS, ReasonCode, Version};

use crate::running::{Broker, Client, Login, Place, Setup, World, eventually, lasting};

const V5: Version = Version::V5;
const OK: ReasonCode = ReasonCode::Success;

/// A place of its own for the same broker, where a backup of `from` lies as `saved`.
fn elsewhere(from: &Place) -> Place {
    let place = Setup::new().empty().place();
    copy(&from.path("saved"), &place.path("saved"));
    place
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, to).expect("copied")),
        }
    }
}

/// A login to a session that is kept; whether there was one.
fn lasting_login(broker: &Broker, login: &Login) -> (Client, bool) {
    let mut client = Client::dial(broker, "tcp", V5);
    let connack = client.connect(&lasting(login.connect(V5), 3600));
    assert_eq!(connack.code, 0);
    (client, connack.session_present)
}

/// Stops the publishers, also where the test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Publishes 1, 2, 3 … to a topic and counts what was acknowledged.
fn keep_publishing(
    broker: &Broker,
    name: &str,
    topic: &str,
    qos: QoS,
    retain: bool,
    acknowledged: &AtomicU64,
    stop: &AtomicBool,
) {
    let mut client = Client::login(broker, "tcp", &Login::of(name), V5);
    for number in 1_u64.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let payload = number.to_string();
        let publish = Publish {
            retain,
            ..Publish::new(topic, payload.as_bytes()).at(qos, (number % 60_000) as u16 + 1)
        };
        client.publish(publish);
        acknowledged.store(number, Ordering::Release);
    }
}

fn number(publish: &Publish) -> u64 {
    let text = String::from_utf8_lossy(&publish.payload);
    text.parse().expect("a number")
}

/// What comes until a number, and that they are 1, 2, 3 …
fn receive_in_order(client: &mut Client, upto: u64) {
    let mut last = 0;
    while last < upto {
        match client.packet() {
            ServerPacket::Publish(publish) => {
                last += 1;
                assert_eq!(number(&publish), last);
                let id = publish.packet_id.expect("an identifier");
                client.send(&match publish.qos {
                    QoS::ExactlyOnce => pubrec(V5, id, OK, &[]),
                    _ => puback(V5, id, OK, &[]),
                });
            }
            ServerPacket::PubRel { packet_id, .. } => {
                client.send(&pubcomp(V5, packet_id, OK, &[]));
            }
            other => panic!("not for a subscriber: {other:?}"),
        }
    }
}

#[test]
fn everything_acknowledged_before_a_backup_under_load_is_there_when_it_is_restored_elsewhere() {
    let names = ["p1@red", "p2@red", "p3@red", "s1@red", "s2@red", "w@red"];
    let provisions: String = names.map(|name| Login::of(name).client("#")).concat();
    let broker = Setup::new().and(&provisions).start();
    for (name, topic, qos) in [
        ("s1@red", "one", QoS::AtLeastOnce),
        ("s2@red", "two", QoS::ExactlyOnce),
        ("w@red", "wills", QoS::AtLeastOnce),
    ] {
        let (mut client, was_there) = lasting_login(&broker, &Login::of(name));
        assert!(!was_there);
        client.subscribe(topic, qos);
    }
    // A will in its delay, which ends only after all of this.
    let mut dying = Client::dial(&broker, "tcp", V5);
    let mut connect = lasting(World::anna().connect(V5), 3600);
    connect.will = Some(Will {
        topic: "wills".to_owned(),
        payload: b"gone".to_vec(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: vec![Property::WillDelay(10)],
    });
    assert_eq!(dying.connect(&connect).code, 0);
    drop(dying);
    broker.audited(|row| row["event"] == "disconnect" && row["actor"] == "anna@red");

    let counts: [AtomicU64; 3] = Default::default();
    let stop = AtomicBool::new(false);
    let [one, two, kept] = std::thread::scope(|scope| {
        let [one, two, kept] = &counts;
        let (broker, stop) = (&broker, &stop);
        let stopping = Stopping(stop);
        let (once, exactly) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
        scope.spawn(move || keep_publishing(broker, "p1@red", "one", once, false, one, stop));
        scope.spawn(move || keep_publishing(broker, "p2@red", "two", exactly, false, two, stop));
        scope.spawn(move || keep_publishing(broker, "p3@red", "kept", once, true, kept, stop));
        eventually("some load", || {
            let so_far = [one, two, kept].map(|it| it.load(Ordering::Acquire));
            let enough = so_far.iter().all(|it| *it >= 50);
            enough.then_some(()).ok_or(format!("{so_far:?}"))
        });
        let before = [one, two, kept].map(|it| it.load(Ordering::Acquire));
        let printed = broker.place().run_well(&["backup", "saved"]);
        assert!(printed.contains("is whole"), "{printed}");
        drop(stopping);
        before
    });
    let (old, _) = broker.stop();

    let place = elsewhere(&old);
    place.run_well(&["restore", "saved"]);
    for key in ["audit.key", "token.key", "tls/ca.pem"] {
        let [ours, theirs] = [&place, &old].map(|it| std::fs::read(it.path("data").join(key)));
        assert_eq!(ours.expect("restored"), theirs.expect("made"), "{key}");
    }
    let verdict = place.run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    let broker = place.start();
    for (name, upto) in [("s1@red", one), ("s2@red", two)] {
        let (mut client, was_there) = lasting_login(&broker, &Login::of(name));
        assert!(was_there, "{name}");
        receive_in_order(&mut client, upto);
    }
    let mut reader = Client::login(&broker, "tcp", &World::alice(), V5);
    reader.subscribe("kept", QoS::AtMostOnce);
    let retained = number(&reader.receive());
    assert!(retained >= kept, "{retained} is older than {kept}");
    let (mut heir, was_there) = lasting_login(&broker, &Login::of("w@red"));
    assert!(was_there);
    assert_eq!(heir.receive().payload, b"gone");
    // What it goes on to record links to what was restored.
    broker.audited(|row| row["event"] == "broker_started" && row["detail"]["after"] == "stop");
    let verdict = broker.place().run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
}

/// A small backup of a broker that has ended.
fn saved() -> Place {
    let broker = Broker::start();
    let (mut client, _) = lasting_login(&broker, &World::anna());
    client.subscribe("one", QoS::AtLeastOnce);
    let mut other = Client::login(&broker, "tcp", &World::alice(), V5);
    other.publish(Publish::new("one", b"1").at(QoS::AtLeastOnce, 1));
    assert!(matches!(client.packet(), ServerPacket::Publish(_)));
    broker.place().run_well(&["backup", "saved"]);
    broker.stop().0
}

/// A restore that must be refused: what it says. Nothing is made in the data directory.
fn refused(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for made in ["journal", "audit", "audit.key", ".restoring"] {
        assert!(!place.path("data").join(made).exists(), "{made} was made");
    }
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_backup_that_is_damaged_unfinished_or_newer_is_refused_as_a_whole() {
    let old = saved();
    let list = std::fs::read_to_string(old.path("saved/backup.json")).expect("a list");
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let files = list["files"].as_array().expect("files");
    let names: Vec<_> = files
        .iter()
        .map(|it| it["name"].as_str().expect("a name"))
        .collect();
    let of = |part: &str| names.iter().any(|it| it.starts_with(part));
    assert!(
        of("data/journal/") && of("data/audit/") && of("database.jsonl"),
        "{names:?}"
    );
    for name in &names {
        let place = elsewhere(&old);
        let path = place.path("saved").join(name);
        let mut bytes = std::fs::read(&path).expect("there");
        let Some(last) = bytes.last_mut() else {
            continue;
        };
        *last ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        let said = refused(&place, &["restore", "saved"]);
        assert!(
            said.contains(&format!("the backup is damaged: {name}")),
            "{said}"
        );
        std::fs::remove_file(&path).expect("removed");
        let said = refused(&place, &["restore", "saved"]);
        assert!(
            said.contains(&format!("the backup is damaged: {name}")),
            "{said}"
        );
    }
    let place = elsewhere(&old);
    let mut newer = list.clone();
    newer["cofferdam_backup"] = 2.into();
    newer["cofferdam"] = "9.1".into();
    place.write("saved/backup.json", &newer.to_string());
    let said = refused(&place, &["restore", "saved"]);
    assert!(said.contains("newer cofferdam (9.1)"), "{said}");
    let mut outside = list.clone();
    outside["files"][0]["name"] = "data/../../outside".into();
    place.write("saved/backup.json", &outside.to_string());
    refused(&place, &["restore", "saved"]);
    std::fs::remove_file(place.path("saved/backup.json")).expect("removed");
    let said = refused(&place, &["restore", "saved"]);
    assert!(said.contains("no whole backup"), "{said}");
}

#[test]
fn a_place_that_is_in_use_is_refused_and_stays_as_it_is() {
    let old = saved();
    let said = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // Where it was taken from.
    let over = said(&old.run(&["restore", "saved"]));
    assert!(over.contains("it has journal"), "{over}");
    // The database alone is in use: what was laid ready of the data directory goes again.
    let mut place = elsewhere(&old);
    place.set("COFFERDAM__DATABASE__URL", "sqlite://other.db");
    place.run_well(&["restore", "saved", "--only", "database"]);
    let rows = refused(&place, &["restore", "saved"]);
    assert!(rows.contains("restore into an empty one"), "{rows}");
    // A broker runs in it.
    let broker = place.start();
    let running = said(&broker.place().run(&["restore", "saved"]));
    assert!(
        running.contains("in use by another running broker"),
        "{running}"
    );
    // A restore that was broken off is not taken for a broker's data.
    let place = elsewhere(&old);
    std::fs::create_dir_all(place.path("data/.restoring")).expect("a folder");
    let half = said(&place.run(&["serve"]));
    assert!(half.contains("was broken off"), "{half}");
}

#[test]
fn a_restore_never_loses_the_keys_without_a_word() {
    let old = saved();
    old.run_well(&["backup", "bare", "--without-keys"]);
    std::fs::remove_dir_all(old.path("saved")).expect("removed");
    std::fs::rename(old.path("bare"), old.path("saved")).expect("renamed");
    let key = std::fs::read_to_string(old.path("data/audit.key")).expect("a key");
    let tokens = std::fs::read_to_string(old.path("data/token.key")).expect("a key");

    let place = elsewhere(&old);
    assert!(!place.path("saved/data/audit.key").exists());
    let said = refused(&place, &["restore", "saved"]);
    assert!(said.contains("audit.key ("), "{said}");
    assert!(said.contains("cannot be told from a forger's"), "{said}");
    // Another key is not the key.
    let mut other = elsewhere(&old);
    other.set("COFFERDAM_AUDIT_KEY", tokens.trim());
    other.set("COFFERDAM_TOKEN_KEY", tokens.trim());
    refused(&other, &["restore", "saved"]);
    // The keys are: in the environment, or put there before.
    let mut given = elsewhere(&old);
    given.set("COFFERDAM_AUDIT_KEY", key.trim());
    std::fs::create_dir(given.path("data")).expect("a folder");
    given.write("data/token.key", &tokens);
    given.run_well(&["restore", "saved"]);
    let verdict = given.run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    // Or they are given up, with what was said to come of it.
    place.run_well(&["restore", "saved", "--without-keys"]);
    let broker = place.start();
    let mut client = Client::dial(&broker, "tcp", V5);
    client.send(&World::anna().connect(V5).encode());
    let answer = client.packet();
    assert!(
        matches!(&answer, ServerPacket::ConnAck(it) if it.code == 0x86),
        "{answer:?}"
    );
}
