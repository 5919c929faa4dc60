//! No room: what is there stays, what ends something is still kept, and all goes on when there is room.

use super::*;

const SEGMENT: u64 = 16 << 10;

/// Fills a disk with a session's messages until the journal says that it is full; the last of them.
fn fill(log: &mut Log) -> u64 {
    log.append(vec![begun(1)]);
    for number in 1.. {
        log.append(vec![kept(number, &[1], 1_000)]);
        log.flush(true)
            .expect("it says that it is full before it is");
        log.clean(100_000).expect("a disk");
        if log.is_full() {
            return number;
        }
    }
    0
}

#[test]
fn it_says_that_it_is_full_before_it_is_and_what_ends_messages_is_still_kept() {
    let disk = Memory::default();
    disk.set_capacity(Some(20 * SEGMENT));
    let (mut log, _, _) = open(&disk, SEGMENT);
    assert!(log.provide());
    let last = fill(&mut log);
    assert!((150..300).contains(&last), "{last}");
    // Acknowledged one by one, from the newest on: the oldest segments go last.
    for number in (1..=last).rev() {
        log.append(vec![done(number, 1)]);
        log.flush(true)
            .expect("there is room for what ends something");
        while log.clean(10_000).expect("a disk") {
            log.flush(true).expect("there is room for cleaning");
        }
        if log.provide() {
            // As many again, from here on.
            let (_, state, _) = open(&disk, SEGMENT);
            assert_eq!(numbers(&state), (1..number).collect::<Vec<_>>());
            assert!(number > last / 4, "it took long: {number} of {last}");
            return;
        }
    }
    panic!("there was never room again");
}

#[test]
fn what_finds_no_room_is_written_when_there_is() {
    let disk = Memory::default();
    disk.set_capacity(Some(8 * SEGMENT));
    let (mut log, _, _) = open(&disk, SEGMENT);
    log.provide();
    let last = fill(&mut log);
    // Nobody heeds it.
    let mut number = last;
    let refused = loop {
        number += 1;
        log.append(vec![kept(number, &[1], 1_000)]);
        if let Err(error) = log.flush(true) {
            break error;
        }
    };
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    assert!(log.is_full());
    for _ in 0..3 {
        log.flush(true).expect_err("there is still no room");
    }
    disk.set_capacity(None);
    log.flush(true).expect("there is room");
    assert!(log.provide());
    disk.crash(1);
    let (_, state, report) = open(&disk, SEGMENT);
    assert_eq!(numbers(&state), (1..=number).collect::<Vec<_>>());
    assert_eq!(report.damaged, []);
}

#[test]
fn it_starts_on_a_full_disk_with_all_it_has() {
    let disk = Memory::default();
    disk.set_capacity(Some(8 * SEGMENT));
    let (mut log, _, _) = open(&disk, SEGMENT);
    log.provide();
    let last = fill(&mut log);
    drop(log);
    disk.set_capacity(Some(0));
    let (mut log, state, _) = open(&disk, SEGMENT);
    assert_eq!(numbers(&state), (1..=last).collect::<Vec<_>>());
    assert!(!log.provide());
    assert!(log.is_full());
    log.append(vec![done(1, 1)]);
    log.flush(true).expect_err("there is no room");
    disk.set_capacity(None);
    log.flush(true).expect("there is room");
    assert!(log.provide() && !log.is_full());
}

#[test]
fn a_commit_larger_than_a_segment_is_kept() {
    let disk = Memory::default();
    let (mut log, _, _) = open(&disk, SEGMENT);
    log.provide();
    let large = 5 * SEGMENT as usize;
    log.append(vec![begun(1), kept(1, &[1], large), kept(2, &[1], 10)]);
    log.flush(true).expect("a disk");
    log.append(vec![kept(3, &[1], large), done(2, 1)]);
    log.flush(true).expect("a disk");
    disk.crash(3);
    let (_, state, report) = open(&disk, SEGMENT);
    assert_eq!(numbers(&state), [1, 3]);
    assert_eq!(report.damaged, []);
}

#[test]
fn after_a_failed_sync_nothing_is_believed_until_it_is_written_anew() {
    for failures in 1..4 {
        let disk = Memory::default();
        let (mut log, _, _) = open(&disk, SEGMENT);
        log.append(vec![begun(1), kept(1, &[1], 100)]);
        log.flush(true).expect("a disk");
        log.append(vec![kept(2, &[1], 100)]);
        disk.fail_syncs(failures);
        for _ in 0..failures {
            log.flush(true).expect_err("the sync fails");
        }
        // Were the same file synced again, this would be believed and be gone after the crash.
        log.flush(true).expect("a disk");
        assert_eq!(log.counts.failures, failures as u64);
        disk.crash(failures as u64);
        let (_, state, report) = open(&disk, SEGMENT);
        assert_eq!(numbers(&state), [1, 2], "{failures} failures");
        assert_eq!(report.damaged, []);
    }
}
