//! The power fails under the broker: what was not synced is lost, or half of it is, and nothing that was
//! acknowledged is.
//!
//! `power_cut.c`, loaded into the broker, notes what is done to the journal's folder until it is synced.
//! The broker is killed, and what was noted is undone: all of it, or some of the names and any sectors.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::line::Line;
use crate::publisher::Publisher;
use crate::running::{Login, Place, Setup, World};
use crate::subscriber::Subscriber;
use cofferdam::wire::client::{ServerPacket, puback};
use cofferdam::wire::{QoS, ReasonCode, Version};

const SECTOR: u64 = 512;

/// A note of the shim's: what it is of, from where, how many bytes of before follow, and how long the
/// file was.
const NOTE: usize = 32;
const CUT: u64 = 2;

/// A folder whose power can be cut.
struct Power {
    folder: PathBuf,
    notes: TempDir,
}

/// What a cut takes.
enum Lost {
    /// All that was not synced.
    All,
    /// Any sectors of it, and any last names.
    Some(Random),
}

struct Random(u64);

impl Random {
    /// Splitmix64 (Steele, Lea and Flood 2014).
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % count
    }
}

impl Power {
    /// All brokers that are started here from now on have their journal on this power.
    fn of(place: &mut Place) -> Self {
        let notes = tempfile::tempdir().expect("a directory");
        let library = notes.path().join("power_cut.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/power_cut.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler (cc) is needed for what cuts the power; Debian has it in gcc");
        assert!(built.status.success(), "{built:?}");
        let folder = place.path("data/journal");
        let folder = match folder.parent().expect("has one").canonicalize() {
            Ok(data) => data.join("journal"),
            Err(error) => panic!("the data directory: {error}"),
        };
        place.set("LD_PRELOAD", library.display().to_string());
        place.set("POWER_CUT_FOLDER", folder.display().to_string());
        place.set("POWER_CUT_UNDO", notes.path().display().to_string());
        Self { folder, notes }
    }

    /// Cuts it, after the broker's kill; how many bytes that took.
    fn cut(&self, mut lost: Lost) -> u64 {
        let notes = self.notes.path();
        assert!(notes.join("loaded").exists(), "the broker runs without it");
        self.undo_names(&mut lost);
        let files = self.folder.read_dir().expect("the journal");
        let mut taken = 0;
        for file in files {
            let file = file.expect("a file");
            let inode = file.metadata().expect("a file's").ino();
            match std::fs::read(notes.join(inode.to_string())) {
                Ok(noted) => taken += undo_writes(&file.path(), &noted, &mut lost),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
        }
        let is_note = |path: &PathBuf| path.extension().is_none();
        let left = notes.read_dir().expect("notes");
        for path in left.map(|it| it.expect("a note").path()).filter(is_note) {
            std::fs::remove_file(path).expect("removed");
        }
        taken
    }

    fn undo_names(&self, lost: &mut Lost) {
        let names = std::fs::read_to_string(self.notes.path().join("names"));
        let names = names.unwrap_or_default();
        let lines: Vec<&str> = names.lines().collect();
        let first = match lost {
            Lost::All => 0,
            Lost::Some(random) => random.below(lines.len() as u64 + 1) as usize,
        };
        for line in lines[first..].iter().rev() {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let (what, name, other) = (word(), self.folder.join(word()), word());
            let undone = match what {
                "made" => std::fs::remove_file(name),
                "renamed" => std::fs::rename(self.folder.join(other), name),
                "removed" => {
                    let kept = format!("kept-{other}");
                    std::fs::rename(self.notes.path().join(kept), name)
                }
                other => panic!("not noted so: {other}"),
            };
            // Killed between the note and what it is of.
            if let Err(error) = undone {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{line}");
            }
        }
    }
}

fn undo_writes(path: &Path, mut noted: &[u8], lost: &mut Lost) -> u64 {
    let mut notes = Vec::new();
    while let Some(head) = noted.first_chunk::<NOTE>() {
        let number = |at: usize| {
            let bytes = head[at * 8..][..8].try_into();
            u64::from_le_bytes(bytes.expect("eight"))
        };
        let [kind, offset, length, file_length] = [0, 1, 2, 3].map(number);
        let Some(bytes) = noted[NOTE..].get(..length as usize) else {
            break; // killed while it was noted
        };
        notes.push((kind, offset, bytes, file_length));
        noted = &noted[NOTE + length as usize..];
    }
    let file: File = OpenOptions::new().write(true).open(path).expect("a file");
    // Sectors that are on disk as something later left them, and all before that with them.
    let mut is_kept = HashSet::new();
    let mut taken = 0;
    for (kind, offset, bytes, file_length) in notes.into_iter().rev() {
        match lost {
            Lost::All => file.set_len(file_length).expect("its length"),
            Lost::Some(random) if kind == CUT => {
                if random.below(2) == 0 {
                    continue;
                }
                file.set_len(file_length).expect("its length");
            }
            Lost::Some(_) => {}
        }
        let end = offset + bytes.len() as u64;
        let mut at = offset;
        while at < end {
            let next = end.min((at / SECTOR + 1) * SECTOR);
            let is_lost = match lost {
                Lost::All => true,
                Lost::Some(_) if is_kept.contains(&(at / SECTOR)) => false,
                Lost::Some(random) => kind == CUT || random.below(2) == 0,
            };
            if is_lost {
                let before = &bytes[(at - offset) as usize..(next - offset) as usize];
                file.write_all_at(before, at).expect("written");
                taken += next - at;
            } else {
                is_kept.insert(at / SECTOR);
            }
            at = next;
        }
    }
    taken
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails_at_any_moment() {
    let seed = getrandom::u64().expect("a seed");
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut power = None;
    crate::killed_while_messages_pass(crate::kills(), |place, round| {
        let power = power.get_or_insert_with(|| Power::of(place));
        let Some(round) = round else { return };
        let lost = match round % 2 {
            0 => Lost::Some(Random(random.below(u64::MAX))),
            _ => Lost::All,
        };
        println!("round {round}: {} bytes were lost", power.cut(lost));
    });
}

/// Messages that were acknowledged before a cut of the power, and those of them that came after it.
fn acknowledged_and_kept(durability: &str) -> (u64, u64) {
    let login = Login::of("p1@red");
    let mut place = Setup::new()
        .and(&login.client("#"))
        .and_config(&format!("[journal]\ndurability = \"{durability}\"\n"))
        .place();
    let power = Power::of(&mut place);
    let broker = place.start();
    Subscriber::new(World::anna(), Version::V5).subscribe(&broker);
    let (place, _) = broker.stop(); // in order: the session is on disk
    let broker = place.start();
    let mut publisher = Publisher::new(login.clone(), Version::V5, "one", QoS::AtLeastOnce);
    publisher.run_until(&broker, 50);
    let acknowledged = publisher.acknowledged();
    broker.process().signal("KILL");
    broker.process().wait();
    power.cut(Lost::All);

    let broker = broker.into_place().start();
    let (mut line, present) = Line::open(&broker, &World::anna(), Version::V5).expect("a session");
    assert!(present, "it was there before");
    publisher.run_until(&broker, acknowledged + 1);
    let mut kept = 0;
    loop {
        match line.packet().expect("a message") {
            ServerPacket::Publish(publish) if *publish.payload == *b"51" => break,
            ServerPacket::Publish(publish) => {
                kept += 1;
                let id = publish.packet_id.expect("an identifier");
                line.send(&puback(Version::V5, id, ReasonCode::Success, &[]))
                    .expect("sent");
            }
            other => panic!("not for a subscriber: {other:?}"),
        }
    }
    (acknowledged, kept)
}

/// That such a cut takes something: else the test above would show nothing.
#[test]
fn at_durability_os_the_same_cut_loses_what_was_acknowledged_and_at_disk_it_does_not() {
    assert_eq!(acknowledged_and_kept("disk"), (50, 50));
    assert_eq!(acknowledged_and_kept("os"), (50, 0));
}
