//! What cannot be read is cut where nobody was told of it, and set aside where somebody was; everything
//! else serves.

use super::*;
use crate::journal::Damage;

/// A journal with messages 1 to 40, each a commit of its own and synced, ended in order or not.
fn forty(segment_bytes: u64, is_closed: bool) -> Memory {
    let disk = Memory::default();
    let (mut log, _, _) = open(&disk, segment_bytes);
    log.append(vec![begun(1)]);
    for number in 1..=40 {
        log.append(vec![kept(number, &[1], 300)]);
        log.flush(true).expect("a disk");
    }
    if is_closed {
        log.close().expect("a disk");
    }
    disk
}

/// Flips a bit in the payload of a message; in which file, and where in it.
fn damage(disk: &Memory, number: u8) -> (String, usize) {
    let names = crate::journal::disk::Disk::list(disk).expect("a disk");
    for name in names.iter().filter(|name| name.ends_with(".log")) {
        let mut content = disk.content(name).expect("a file");
        let place = content.windows(300).position(|it| it == [number; 300]);
        if let Some(place) = place {
            content[place + 7] ^= 4;
            disk.set_content(name, content);
            return (name.clone(), place);
        }
    }
    panic!("message {number} is in no file");
}

fn all_but(number: u64) -> Vec<u64> {
    (1..=40).filter(|it| *it != number).collect()
}

#[test]
fn a_damaged_record_is_set_aside_and_everything_else_serves() {
    for (segment_bytes, number) in [(1 << 20, 17), (4 << 10, 17), (1 << 20, 40), (1 << 20, 1)] {
        let disk = forty(segment_bytes, true);
        let (file, place) = damage(&disk, number as u8);
        // Twice: the second start finds the same.
        for start in 1..=2 {
            let (mut log, state, report) = open(&disk, segment_bytes);
            assert_eq!(numbers(&state), all_but(number));
            let [found] = &report.damaged[..] else {
                panic!("message {number}, start {start}: {report:?}");
            };
            assert_eq!((&found.file, &report.torn), (&file, &None));
            let there = found.offset as usize..(found.offset + found.bytes) as usize;
            assert!(there.contains(&place) && there.len() < 400, "{found:?}");
            let aside = found.kept_in.as_ref().expect("set aside");
            assert_eq!(aside, &format!("{file}.damaged-{}", found.offset));
            let content = disk.content(&file).expect("a file");
            assert_eq!(disk.content(aside).expect("a file"), content[there]);
            log.append(vec![Fact::Ended(session(2))]);
            log.flush(true).expect("a disk");
        }
    }
}

#[test]
fn a_damaged_header_costs_nothing_but_itself() {
    let disk = forty(4 << 10, true);
    let name = "00000002.log";
    let mut content = disk.content(name).expect("a second file");
    content[30] ^= 1;
    disk.set_content(name, content);
    let (_, state, report) = open(&disk, 4 << 10);
    assert_eq!(numbers(&state), (1..=40).collect::<Vec<_>>());
    let expected = Damage {
        file: name.to_owned(),
        offset: 0,
        bytes: 72,
        kept_in: Some(format!("{name}.damaged-0")),
    };
    assert_eq!(report.damaged, [expected]);
}

#[test]
fn a_write_that_was_under_way_is_cut_and_reported_once() {
    let disk = forty(1 << 20, false);
    let (mut log, _, _) = open(&disk, 1 << 20);
    log.append(vec![kept(41, &[1], 300)]);
    log.flush(true).expect("a disk");
    let before = log.end() as usize;
    log.append(vec![kept(42, &[1], 300), kept(43, &[1], 300)]);
    log.append(vec![kept(44, &[1], 300)]);
    log.flush(false).expect("a disk");
    drop(log);
    // Of the last two commits the first was half written, the second not at all.
    let name = "00000002.log";
    let mut content = disk.content(name).expect("a file");
    content[before + 500..].fill(0);
    disk.set_content(name, content);
    let (_, state, report) = open(&disk, 1 << 20);
    assert_eq!(numbers(&state), (1..=41).collect::<Vec<_>>());
    let torn = report.torn.expect("a torn tail");
    assert_eq!(torn.file, name);
    // The mark that everything before was synced is whole.
    assert!((before as u64..before as u64 + 20).contains(&torn.offset));
    assert_eq!((torn.offset + torn.bytes) as usize, before + 500);
    // Nothing whole was among it that could be missed.
    assert_eq!((torn.kept_in, report.damaged), (None, Vec::new()));
    let (_, _, report) = open(&disk, 1 << 20);
    assert_eq!(report.torn, None);
}

#[test]
fn what_is_wrong_in_the_last_write_is_cut_but_what_follows_it_is_set_aside() {
    let disk = forty(1 << 20, false);
    let (mut log, _, _) = open(&disk, 1 << 20);
    for number in 41..=43 {
        log.append(vec![kept(number, &[1], 300)]);
    }
    log.flush(true).expect("a disk");
    drop(log);
    let (file, _) = damage(&disk, 42);
    let (_, state, report) = open(&disk, 1 << 20);
    assert_eq!(numbers(&state), (1..=41).collect::<Vec<_>>());
    let torn = report.torn.expect("a torn tail");
    let aside = torn.kept_in.expect("set aside");
    assert_eq!(aside, format!("{file}.damaged-{}", torn.offset));
    assert_eq!(
        disk.content(&aside).expect("a file").len() as u64,
        torn.bytes
    );
}

#[test]
fn a_later_version_is_refused_before_anything_is_touched() {
    let disk = forty(4 << 10, true);
    let name = "00000003.log";
    let mut content = disk.content(name).expect("a third file");
    content[8..12].copy_from_slice(&3_u32.to_le_bytes());
    let sum = crc32c::crc32c(&content[..12]);
    content[12..16].copy_from_slice(&sum.to_le_bytes());
    disk.set_content(name, content);
    let names = crate::journal::disk::Disk::list(&disk).expect("a disk");
    let settings = Settings::default();
    let refused = Journal::open_on(Box::new(disk.clone()), settings, SALT, &mut |_| {});
    let Err(error @ JournalError::Newer { .. }) = refused else {
        panic!("it was read");
    };
    assert_eq!(
        error.to_string(),
        "the journal's file 00000003.log has format 3, and this version of cofferdam reads 2 at \
         most: start the later version that wrote it"
    );
    let after = crate::journal::disk::Disk::list(&disk).expect("a disk");
    assert_eq!(names, after);
}

/// What an earlier version of the broker wrote is read as it was.
#[test]
fn an_earlier_version_is_read() {
    let disk = forty(4 << 10, true);
    let names = crate::journal::disk::Disk::list(&disk).expect("a disk");
    for name in names.iter().filter(|it| it.ends_with(".log")) {
        let mut content = disk.content(name).expect("a file");
        content[8..12].copy_from_slice(&1_u32.to_le_bytes());
        let sum = crc32c::crc32c(&content[..12]);
        content[12..16].copy_from_slice(&sum.to_le_bytes());
        let sum = crc32c::crc32c(&content[..64]);
        content[64..68].copy_from_slice(&sum.to_le_bytes());
        disk.set_content(name, content);
    }
    let (_, state, report) = open(&disk, 4 << 10);
    assert_eq!(report.damaged, []);
    assert_eq!(numbers(&state), (1..=40).collect::<Vec<_>>());
}

#[test]
fn a_missing_file_is_named_and_the_others_serve() {
    let disk = forty(4 << 10, true);
    crate::journal::disk::Disk::remove(&disk, "00000002.log").expect("a second file");
    let (_, state, report) = open(&disk, 4 << 10);
    assert_eq!(report.missing, ["00000002.log"]);
    let there = numbers(&state);
    assert!(there.starts_with(&[1, 2, 3]) && there.ends_with(&[38, 39, 40]));
    assert!((25..40).contains(&there.len()), "{there:?}");
}

#[test]
fn what_rots_while_it_runs_costs_its_own_message_and_its_file_stays() {
    let disk = forty(4 << 10, true);
    let (mut log, _, _) = open(&disk, 4 << 10);
    let (file, _) = damage(&disk, 2);
    // All but two are over, and their files are to go.
    for number in 3..=40 {
        log.append(vec![done(number, 1)]);
    }
    for number in 41..2_000 {
        log.append(vec![kept(number, &[1], 300), done(number, 1)]);
        log.flush(true).expect("a disk");
        log.clean(100_000).expect("a disk");
    }
    assert_eq!(log.counts.lost, 1);
    log.index.check();
    assert!(disk.content(&file).is_none());
    assert!(disk.content(&format!("{file}.damaged")).is_some());
    let (_, state, report) = open(&disk, 4 << 10);
    assert_eq!(numbers(&state), [1]);
    assert_eq!(report.damaged, []);
}
