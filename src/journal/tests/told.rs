//! What shards are told, and when: those who need no sync do not wait for the sync of others.

use std::sync::mpsc;
use std::time::Duration;

use super::facts::Stating;
use super::*;
use crate::journal::{Commit, Told};

/// One commit on a journal of its own: what is told of it, and how often the disk synced meanwhile.
fn told(sync: bool, hasty: bool) -> (Vec<Told>, u64) {
    let disk = Memory::default();
    let settings = Settings::default();
    let opened = Journal::open_on(Box::new(disk.clone()), settings, SALT, &mut |_| {});
    let (tell, told) = mpsc::channel();
    let seen = disk.clone();
    let tell = Box::new(move |_, what| {
        let _ = tell.send((what, seen.syncs()));
    });
    let journal = opened.expect("a journal").log.start(1, tell);
    let journal = journal.expect("a thread");
    let commit = |number, sync, hasty| Commit {
        shard: 0,
        number,
        sync,
        hasty,
        facts: Stating::new(number).commit(),
    };
    // The head's own file is synced when it is made.
    journal.commit(commit(1, true, false));
    let (first, before) = told.recv().expect("told");
    assert_eq!(first, Told::Committed(1));
    journal.commit(commit(2, sync, hasty));
    let mut all = Vec::new();
    loop {
        let (what, syncs) = told.recv().expect("told");
        all.push(what);
        if let Told::Written(_) = what {
            assert_eq!(syncs, before, "told when it was synced, and not before");
        }
        if what == Told::Committed(2) {
            journal.finish(Duration::from_secs(20)).expect("written");
            return (all, syncs - before);
        }
    }
}

#[test]
fn whoever_needs_no_sync_is_told_before_it_and_nobody_is_told_twice_without_need() {
    let (written, committed) = (Told::Written(2), Told::Committed(2));
    assert_eq!(told(true, true), (vec![written, committed], 1));
    assert_eq!(told(true, false), (vec![committed], 1));
    assert_eq!(told(false, true), (vec![committed], 0));
    assert_eq!(told(false, false), (vec![committed], 0));
}
