//! The disk is full, and then it is not any more.
//!
//! The broker runs in a mount namespace of its own, with a small file system where its journal is: it is
//! gone when the broker is.

use std::process::Command;

use crate::running::{Broker, Client, Login, Setup, World, lasting};
use crate::subscriber::Subscriber;
use cofferdam::wire::client::{Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};

/// Three files of the journal fit, and no fourth.
const SMALL: &str = "size=120m";
const LARGE: &str = "size=400m";

/// As large that some tens of them fill it.
const PAYLOAD: usize = 400_000;

fn start() -> Broker {
    let others = ["p1", "p2"].map(|name| Login::of(&format!("{name}@red")).client("#"));
    let place = Setup::new().and(&others.concat()).place();
    std::fs::create_dir_all(place.path("data/journal")).expect("a directory");
    let script = format!("mount -t tmpfs -o {SMALL} tmpfs data/journal && exec \"$0\" serve");
    let mut unshared = Command::new("unshare");
    unshared
        .args([
            "--mount",
            "sh",
            "-c",
            &script,
            env!("CARGO_BIN_EXE_cofferdam"),
        ])
        .current_dir(place.path("."));
    place.start_as(unshared)
}

fn make_room(broker: &Broker) {
    let options = format!("remount,{LARGE}");
    let folder = broker.place().path("data/journal");
    let done = Command::new("nsenter")
        .args(["--mount", "--target", &broker.process().id().to_string()])
        .args(["mount", "-o", &options])
        .arg(folder)
        .status();
    assert!(done.expect("nsenter").success());
}

fn large(number: u32) -> Publish {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(PAYLOAD, b'x');
    Publish::new("one", &payload)
}

fn number(publish: &Publish) -> u32 {
    u32::from_be_bytes(*publish.payload.first_chunk().expect("a number"))
}

#[test]
#[ignore = "mounts a file system, as root: make test"]
fn what_the_full_disk_cannot_keep_is_refused_and_all_goes_on_when_there_is_room() {
    let broker = start();
    Subscriber::new(World::anna(), Version::V5).subscribe(&broker);
    let [new, old] = ["p1", "p2"].map(|name| Login::of(&format!("{name}@red")));
    let mut live = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    live.subscribe("live", QoS::AtLeastOnce);
    let mut line = Client::login(&broker, "tcp", &new, Version::V5);
    let mut before = Client::dial(&broker, "tcp", Version::V311);
    before.connect(&lasting(old.connect(Version::V311), 0));

    let refused = (1..1_000).find(|number| {
        line.send_publish(large(*number).at(QoS::AtLeastOnce, 1));
        match line.packet() {
            ServerPacket::PubAck { reason, .. } if reason.is_error() => {
                assert_eq!(reason, ReasonCode::QuotaExceeded);
                true
            }
            ServerPacket::PubAck { .. } => false,
            other => panic!("no PUBACK: {other:?}"),
        }
    });
    let refused = refused.expect("it is full at some time");
    assert!(refused > 20, "{refused}");
    broker.wait_for_numbers(|it| it.check("cofferdam_journal_full", &[], 1));

    // What needs no disk passes; 3.x, which cannot be told no, is told nothing.
    live.publish(Publish::new("live", b"passes"));
    assert_eq!(live.receive().payload, b"passes");
    let untold = Publish {
        dup: false,
        ..large(2_000)
    }
    .at(QoS::AtLeastOnce, 7);
    before.send(&untold.encode(Version::V311));
    before.assert_quiet();
    line.assert_quiet();

    make_room(&broker);
    broker.wait_for_numbers(|it| it.check("cofferdam_journal_full", &[], 0));
    line.publish(large(3_000).at(QoS::AtLeastOnce, 1));
    // It comes back, and sends again what it was not told of.
    drop(before);
    let mut before = Client::dial(&broker, "tcp", Version::V311);
    let connack = before.connect(&lasting(old.connect(Version::V311), 0));
    assert!(connack.session_present);
    let again = Publish {
        dup: true,
        ..untold
    };
    before.send(&again.encode(Version::V311));
    before.see_through(QoS::AtLeastOnce, 7);

    let mut anna = Client::dial(&broker, "tcp", Version::V5);
    anna.connect(&lasting(World::anna().connect(Version::V5), 3600));
    let expected: Vec<u32> = (1..refused).chain([3_000, 2_000]).collect();
    let kept: Vec<u32> = expected.iter().map(|_| number(&anna.receive())).collect();
    assert_eq!(kept, expected);
    anna.assert_quiet();
    live.assert_quiet();
}
