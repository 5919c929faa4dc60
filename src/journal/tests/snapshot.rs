//! A copy of a journal that is written to and cleaned meanwhile is what it was at one moment.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::facts::Stating;
use super::random::Random;
use super::*;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::{JournalError, Snapshot};

/// Each a journal.
const SEEDS: u64 = 300;

/// A running journal, and everything that it was.
struct Life {
    log: Log,
    stating: Stating,
    random: Random,
    disk: Memory,
    state: State<Arc<Message>>,
    /// Digests of what would be read back, after each commit since somebody looks on.
    moments: Vec<u64>,
    is_watched: bool,
    /// It fails now and then.
    is_failing: bool,
}

impl Life {
    fn new(seed: u64, segment_bytes: u64) -> Self {
        let disk = Memory::default();
        let (log, _, _) = open(&disk, segment_bytes);
        Self {
            log,
            stating: Stating::new(seed),
            random: Random(seed),
            disk,
            state: State::default(),
            moments: Vec::new(),
            is_watched: false,
            is_failing: seed % 2 == 1,
        }
    }

    /// A turn of the committer's.
    fn turn(&mut self) {
        if self.is_failing && self.random.percent(40) {
            self.disk.fail_syncs(1);
        }
        for _ in 0..1 + self.random.below(3) {
            let commit = self.stating.commit();
            add(&mut self.state, [&commit]);
            if self.is_watched {
                self.moments.push(digest(&lines(&settled(&self.state))));
            }
            self.log.append(commit);
        }
        let sync = self.random.percent(40);
        while self.log.flush(sync).is_err() {}
        let budget = self.random.below(8_000);
        self.log.clean(budget).expect("nothing is damaged");
        self.log.provide();
    }
}

fn digest(lines: &[String]) -> u64 {
    let mut digest = DefaultHasher::new();
    lines.hash(&mut digest);
    digest.finish()
}

/// The disk of a journal that goes on at looks at it, so many turns in all.
struct Busy<'a> {
    life: &'a Mutex<Life>,
    disk: Memory,
    turns: Mutex<u64>,
    /// Or, at each list of its files, until there is another segment.
    always_rolls: bool,
}

impl Busy<'_> {
    fn go_on(&self) {
        let (mut life, mut left) = (self.life.lock(), self.turns.lock());
        for _ in 0..life.random.below(3).min(*left) {
            life.turn();
            *left -= 1;
        }
    }
}

impl Disk for Busy<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.go_on();
        let mut life = self.life.lock();
        let head = life.log.head.number;
        while self.always_rolls && life.log.head.number == head {
            life.turn();
        }
        // It is not there before something is written to it.
        life.turn();
        drop(life);
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.go_on();
        self.disk.open(name)
    }

    fn create(&self, name: &str, _: u64) -> io::Result<Box<dyn DiskFile>> {
        panic!("{name} is made by a reader")
    }

    fn rename(&self, name: &str, _: &str) -> io::Result<()> {
        panic!("{name} is renamed by a reader")
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        panic!("{name} is removed by a reader")
    }

    fn sync_names(&self) -> io::Result<()> {
        panic!("synced by a reader")
    }
}

/// What a snapshot has, read back as a journal.
fn read_back(snapshot: Snapshot) -> (Vec<String>, Recovery) {
    let disk = Memory::default();
    for copied in snapshot.segments() {
        let copied = copied.expect("read");
        assert_eq!(copied.damaged, 0, "{}", copied.name);
        disk.set_content(&copied.name, copied.bytes);
    }
    let (_, state, report) = open(&disk, 1 << 20);
    (lines(&state), report)
}

#[test]
fn a_copy_is_what_the_journal_was_at_one_moment_while_it_was_taken() {
    let (mut between, mut cleaned) = (0, 0);
    for seed in 0..SEEDS {
        let life = Life::new(seed, if seed % 3 == 0 { 1 << 20 } else { 6 << 10 });
        let disk = life.disk.clone();
        let life = Mutex::new(life);
        for _ in 0..60 {
            life.lock().turn();
        }
        let first = {
            let mut life = life.lock();
            life.is_watched = true;
            let now = digest(&lines(&settled(&life.state)));
            life.moments.push(now);
            life.log.ends.first_key_value().map(|it| *it.0)
        };
        let busy = Busy {
            life: &life,
            disk,
            turns: Mutex::new(seed % 30),
            always_rolls: false,
        };
        let snapshot = Snapshot::take_on(&busy).expect("a copy");
        life.lock().is_watched = false;
        // What is removed from here on is in the copy all the same.
        for _ in 0..60 {
            life.lock().turn();
        }
        let (found, report) = read_back(snapshot);
        assert_eq!(report.torn, None, "seed {seed}: it was cut");
        assert_eq!((report.damaged, report.missing), (vec![], vec![]));
        let life = life.lock();
        assert!(
            life.moments.contains(&digest(&found)),
            "seed {seed}: it is nothing that was meanwhile"
        );
        between += usize::from(life.moments.len() > 1);
        cleaned += usize::from(life.log.ends.first_key_value().map(|it| *it.0) > first);
    }
    assert!(
        between > 50,
        "hardly anything happened meanwhile: {between}"
    );
    assert!(cleaned > 20, "hardly anything was removed: {cleaned}");
}

#[test]
fn a_journal_that_never_holds_still_is_not_copied() {
    let mut life = Life::new(2, 4 << 10);
    life.stating.ending = 90;
    let disk = life.disk.clone();
    let busy = Busy {
        life: &Mutex::new(life),
        disk,
        turns: Mutex::new(0),
        always_rolls: true,
    };
    let refused = Snapshot::take_on(&busy).err();
    assert!(
        matches!(refused, Some(JournalError::Restless { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_is_damaged_is_copied_as_it_is_and_counted() {
    let mut life = Life::new(1, 6 << 10);
    life.is_failing = false;
    for _ in 0..60 {
        life.turn();
    }
    let name = life.disk.list().expect("names").into_iter();
    let name = name.filter(|it| it.ends_with(".log")).min().expect("one");
    let mut bytes = life.disk.content(&name).expect("there");
    bytes[100] ^= 1;
    life.disk.set_content(&name, bytes.clone());
    let snapshot = Snapshot::take_on(&life.disk).expect("a copy");
    let copied: Vec<_> = snapshot.segments().map(|it| it.expect("read")).collect();
    assert_eq!(copied[0].name, name);
    assert!(copied[0].damaged > 0);
    assert!(bytes.starts_with(&copied[0].bytes));
    assert!(copied[1..].iter().all(|it| it.damaged == 0));
}
