//! The committer's thread, and the journal on a real disk.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::journal::disk::{Disk, DiskFile, Folder, FolderError};
use crate::journal::{Commit, Told};

/// Long enough for any machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(disk: Box<dyn Disk>, shards: u16) -> (Journal, Receiver<(u16, Told)>) {
    let settings = Settings {
        segment_bytes: 64 << 10,
    };
    let opened = Journal::open_on(disk, settings, SALT, &mut |_| {}).expect("a journal");
    let (told, tells) = mpsc::channel();
    let tell = move |shard, what| {
        let _ = told.send((shard, what));
    };
    let journal = opened.log.start(shards, Box::new(tell)).expect("a thread");
    (journal, tells)
}

fn commit(shard: u16, number: u64, sync: bool, facts: Vec<Fact>) -> Commit {
    Commit {
        shard,
        number,
        sync,
        hasty: false,
        facts,
    }
}

/// Waits until each shard was told of its commits up to here.
fn wait_for(tells: &Receiver<(u16, Told)>, shards: u16, last: u64) {
    let mut told = vec![0; usize::from(shards)];
    while told.iter().any(|it| *it < last) {
        let (shard, what) = tells.recv_timeout(PATIENCE).expect("told in time");
        let Told::Committed(number) = what else {
            panic!("{what:?}");
        };
        let before = &mut told[usize::from(shard)];
        assert!(number > *before, "in order");
        *before = number;
    }
}

/// A disk whose syncs wait until they may.
#[derive(Clone)]
struct Gated {
    disk: Memory,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

struct GatedFile(Box<dyn DiskFile>, Arc<(Mutex<bool>, Condvar)>);

impl Gated {
    fn open(&self) {
        *self.gate.0.lock() = true;
        self.gate.1.notify_all();
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(GatedFile(file, Arc::clone(&self.gate)))
    }
}

impl Disk for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name, bytes).map(|it| self.file(it))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Disk::open(&self.disk, name).map(|it| self.file(it))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

impl DiskFile for GatedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        let mut is_open = self.1.0.lock();
        while !*is_open {
            self.1.1.wait(&mut is_open);
        }
        drop(is_open);
        self.0.sync()
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
}

#[test]
fn all_that_waits_shares_one_sync_and_nobody_is_told_before_it() {
    let disk = Memory::default();
    let gated = Gated {
        disk: disk.clone(),
        gate: Arc::default(),
    };
    let (journal, tells) = start(Box::new(gated.clone()), 4);
    for number in 1..=250 {
        for shard in 0..4 {
            let message = u64::from(shard) * 1_000 + number;
            let facts = vec![begun(1), kept(message, &[1], 100)];
            journal.commit(commit(shard, number, true, facts));
        }
    }
    assert!(tells.try_recv().is_err(), "told before it is on disk");
    gated.open();
    wait_for(&tells, 4, 250);
    // The header's; what had come until then; all the rest, in as many as a segment's end makes.
    assert!(
        disk.syncs() < 12,
        "{} syncs for 1,000 commits",
        disk.syncs()
    );
    disk.crash(1);
    let (_, state, _) = open(&disk, 64 << 10);
    assert_eq!(state.messages.len(), 1_000);
}

#[test]
fn a_commit_that_wants_no_sync_is_told_without_one() {
    let disk = Memory::default();
    let (journal, tells) = start(Box::new(disk.clone()), 1);
    journal.commit(commit(0, 1, true, vec![begun(1)]));
    wait_for(&tells, 1, 1);
    let before = disk.syncs();
    for number in 2..=50 {
        journal.commit(commit(0, number, false, vec![kept(number, &[1], 10)]));
    }
    wait_for(&tells, 1, 50);
    assert_eq!(disk.syncs(), before);
    // The process may be killed: the system has it all.
    let (_, state, _) = open(&disk, 64 << 10);
    assert_eq!(state.messages.len(), 49);
}

#[test]
fn shards_are_told_that_it_is_full_and_that_it_is_not_any_more() {
    let disk = Memory::default();
    disk.set_capacity(Some(100 << 10));
    let (journal, tells) = start(Box::new(disk.clone()), 2);
    let next = || tells.recv_timeout(PATIENCE).expect("told in time");
    assert_eq!([next(), next()], [(0, Told::Full), (1, Told::Full)]);
    // There is one segment still.
    journal.commit(commit(1, 1, true, vec![begun(1), kept(1, &[1], 10)]));
    assert_eq!(next(), (1, Told::Committed(1)));
    disk.set_capacity(None);
    assert_eq!([next(), next()], [(0, Told::Roomy), (1, Told::Roomy)]);
    journal.finish(PATIENCE).expect("a disk");
}

#[test]
fn an_end_in_order_leaves_nothing_behind_or_says_what() {
    let disk = Memory::default();
    let (journal, tells) = start(Box::new(disk.clone()), 1);
    for number in 1..=100 {
        journal.commit(commit(0, number, false, vec![begun(number)]));
    }
    journal.finish(PATIENCE).expect("a disk");
    wait_for(&tells, 1, 100);
    disk.crash(5);
    let (_, state, report) = open(&disk, 64 << 10);
    assert_eq!((state.sessions.len(), report.torn), (100, None));

    disk.set_capacity(Some(0));
    let (journal, _tells) = start(Box::new(disk.clone()), 1);
    for number in 1..=3 {
        journal.commit(commit(0, number, true, vec![begun(number)]));
    }
    let unfinished = journal.finish(Duration::from_millis(1)).expect_err("full");
    assert_eq!(unfinished.commits, 3);
}

#[test]
fn a_real_directory_is_one_journals_and_gives_back_what_it_was_given() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("data/journal");
    let open = || Journal::open(&path, Settings::default(), &mut |_| {});
    let opened = open().expect("a journal");
    assert_eq!(opened.report, Recovery::default());
    let (told, tells) = mpsc::channel();
    let tell = move |shard, what| {
        let _ = told.send((shard, what));
    };
    let journal = opened.log.start(1, Box::new(tell)).expect("a thread");
    for number in 1..=200 {
        let facts = vec![begun(1), kept(number, &[1], 1_000)];
        journal.commit(commit(0, number, true, facts));
    }
    wait_for(&tells, 1, 200);
    let Err(JournalError::Folder(FolderError::InUse { .. })) = open() else {
        panic!("two have it");
    };
    journal.finish(PATIENCE).expect("a disk");
    drop(journal);
    // The thread lets go of the directory when it ends.
    let opened = loop {
        match open() {
            Err(JournalError::Folder(FolderError::InUse { .. })) => std::thread::yield_now(),
            opened => break opened.expect("a journal"),
        }
    };
    assert_eq!(numbers(&opened.state), (1..=200).collect::<Vec<_>>());
    assert_eq!((opened.report.torn, opened.report.sessions), (None, 1));
    let used = std::fs::metadata(path.join("00000001.log"))
        .expect("a file")
        .len();
    assert!(
        used < 300_000,
        "what was preallocated is given back: {used}"
    );
    drop(opened.log);
    drop(Folder::claim(&path).expect("free again"));
}
