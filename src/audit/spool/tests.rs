//! The spool on a real disk: what was appended is read once and in order, whatever happens to it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::*;

const SMALL: Bounds = Bounds {
    total: 4_096,
    segment: 512,
};

fn payloads(range: std::ops::Range<u8>) -> Vec<Vec<u8>> {
    range.map(|it| vec![it; 20]).collect()
}

/// All that a cursor finds, and where it ends.
fn read_all(spool: &Spool, mut place: Place) -> (Vec<Vec<u8>>, Place) {
    let mut found = Vec::new();
    loop {
        let batch = spool.read(place, 3).unwrap();
        place = batch.end;
        if batch.records.is_empty() {
            return (found, place);
        }
        found.extend(batch.records.into_iter().map(|it| it.payload));
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == EXTENSION))
        .collect();
    found.sort();
    found
}

#[test]
fn what_is_appended_is_read_in_order_over_segments_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, found) = open(folder.path(), SMALL).unwrap();
    assert_eq!(found, Found::default());
    let cursor = spool.cursor();
    let mut place = Place::default();
    for round in 0..40 {
        appender.append(&payloads(round..round + 5)).unwrap();
        let (found, end) = read_all(&spool, place);
        assert_eq!(found, payloads(round..round + 5));
        place = end;
        spool.taken(cursor, place);
        assert!(segments(folder.path()).len() <= 2);
    }
    drop(appender);
    assert!(spool.is_closed());
    assert_eq!(segments(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_segment_stays_until_the_slowest_cursor_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, _) = open(folder.path(), SMALL).unwrap();
    let (fast, slow) = (spool.cursor(), spool.cursor());
    for _ in 0..3 {
        appender.append(&payloads(0..20)).unwrap(); // a segment each
    }
    let (_, end) = read_all(&spool, Place::default());
    spool.taken(fast, end);
    assert_eq!(segments(folder.path()).len(), 3);
    spool.taken(slow, end);
    assert_eq!(segments(folder.path()).len(), 0);
}

#[test]
fn a_full_spool_takes_nothing_and_takes_it_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, _) = open(folder.path(), SMALL).unwrap();
    let cursor = spool.cursor();
    let mut kept = 0;
    while appender.append(&payloads(0..10)).is_ok() {
        kept += 10;
    }
    assert!(spool.bytes() <= SMALL.total, "{}", spool.bytes());
    let number = appender.next_number();
    assert_eq!(number, kept);
    let (found, end) = read_all(&spool, Place::default());
    assert_eq!(found.len() as i64, kept);
    spool.taken(cursor, end);
    appender.append(&payloads(10..12)).unwrap();
    let batch = spool.read(end, 10).unwrap();
    let numbers: Vec<_> = batch.records.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [kept, kept + 1]);
}

#[test]
fn a_disk_that_fails_and_recovers_leaves_every_record_once_under_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, _) = open(folder.path(), SMALL).unwrap();
    appender.append(&payloads(0..3)).unwrap();
    appender.broken.store(true, Ordering::Release);
    for _ in 0..3 {
        assert!(appender.append(&payloads(3..6)).is_err());
    }
    appender.broken.store(false, Ordering::Release);
    appender.append(&payloads(3..6)).unwrap();
    let batch = spool.read(Place::default(), 100).unwrap();
    let numbers: Vec<_> = batch.records.iter().map(|it| it.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn after_a_crash_a_torn_tail_is_cut_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let (_, mut appender, _) = open(folder.path(), SMALL).unwrap();
        appender.append(&payloads(0..4)).unwrap();
        fs::read(&segments(folder.path())[0]).unwrap()
    };
    let path = segments(folder.path())[0].clone();
    let length = (whole.len() - HEADER_BYTES) / 4;
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let (spool, _appender, found) = open(folder.path(), SMALL).unwrap();
        let records = end.saturating_sub(HEADER_BYTES) / length;
        assert_eq!(found.records, records as u64, "torn at {end}");
        let good = match end {
            0..HEADER_BYTES => 0,
            _ => HEADER_BYTES + records * length,
        };
        assert_eq!(found.cut_bytes, (end - good) as u64, "torn at {end}");
        assert_eq!(found.damaged, 0);
        let (read, _) = read_all(&spool, Place::default());
        assert_eq!(read, payloads(0..records as u8), "torn at {end}");
    }
}

#[test]
fn what_another_run_left_comes_first_under_its_own_run() {
    let folder = tempfile::tempdir().unwrap();
    let first = {
        let (_, mut appender, _) = open(folder.path(), SMALL).unwrap();
        appender.append(&payloads(0..2)).unwrap();
        appender.run()
    };
    let (spool, mut appender, found) = open(folder.path(), SMALL).unwrap();
    assert_eq!(found.records, 2);
    appender.append(&payloads(2..4)).unwrap();
    let second = appender.run();
    assert_ne!(first, second);
    let batch = spool.read(Place::default(), 100).unwrap();
    let keys: Vec<_> = batch.records.iter().map(|it| (it.run, it.number)).collect();
    assert_eq!(keys, [(first, 0), (first, 1), (second, 0), (second, 1)]);
}

#[test]
fn damage_is_set_aside_and_what_stands_before_and_after_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (_, mut appender, _) = open(folder.path(), SMALL).unwrap();
        appender.append(&payloads(0..20)).unwrap();
        appender.append(&payloads(20..22)).unwrap();
    }
    let path = segments(folder.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let record = 36;
    bytes[HEADER_BYTES + 5 * record + 30] ^= 1; // in the sixth
    fs::write(&path, &bytes).unwrap();
    let (spool, _appender, found) = open(folder.path(), SMALL).unwrap();
    assert_eq!((found.records, found.damaged), (7, 1));
    let (read, _) = read_all(&spool, Place::default());
    assert_eq!(read, [payloads(0..5), payloads(20..22)].concat());
    let aside = fs::read(path.with_extension("damaged")).unwrap();
    assert_eq!(aside, &bytes[HEADER_BYTES + 5 * record..]);
}

#[test]
fn a_segment_of_a_newer_cofferdam_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(folder.path(), 7);
    let mut header = frame::header(1).to_vec();
    header[8] = 9;
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&header[..20]);
    header[20..].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &header).unwrap();
    let error = open(folder.path(), SMALL).unwrap_err();
    assert!(
        matches!(error, SpoolError::Newer { version: 9, .. }),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), header);
}

#[test]
fn what_is_not_ours_in_the_folder_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["notes.txt", "1.spool.old", "x.spool"] {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let (spool, _appender, found) = open(folder.path(), SMALL).unwrap();
    assert_eq!((found.records, spool.bytes()), (0, 0));
    assert_eq!(fs::read(folder.path().join("x.spool")).unwrap(), b"mine");
}

#[test]
fn damage_while_it_runs_costs_its_segment_only() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, _) = open(folder.path(), SMALL).unwrap();
    appender.append(&payloads(0..20)).unwrap();
    appender.append(&payloads(20..22)).unwrap();
    let path = segments(folder.path())[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES + 30] ^= 1;
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&bytes).unwrap();
    let (read, _) = read_all(&spool, Place::default());
    assert_eq!(read, payloads(20..22));
    assert!(path.with_extension("damaged").exists());
}

#[test]
fn a_segment_that_somebody_removed_costs_what_was_in_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, mut appender, _) = open(folder.path(), SMALL).unwrap();
    appender.append(&payloads(0..20)).unwrap();
    appender.append(&payloads(20..22)).unwrap();
    fs::remove_file(&segments(folder.path())[0]).unwrap();
    let (read, end) = read_all(&spool, Place::default());
    assert_eq!(read, payloads(20..22));
    spool.taken(spool.cursor(), end);
}
