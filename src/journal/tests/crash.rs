//! Whatever happens, what is read back is what a beginning of the commits adds up to, and all are in
//! it that were told to be kept.

use super::facts::Stating;
use super::random::Random;
use super::*;

/// What else may happen to the disk, in a hundred turns.
#[derive(Clone, Copy)]
struct Faults {
    failing_syncs: u64,
    failing_writes: u64,
}

const NO_FAULTS: Faults = Faults {
    failing_syncs: 0,
    failing_writes: 0,
};

/// Lives of one journal, each ended by the power's failing at some change of the disk.
fn live_through(seed: u64, segment_bytes: u64, faults: Faults) -> Vec<Recovery> {
    let mut random = Random(seed ^ 0xC0FF_EE00);
    let mut stating = Stating::new(seed);
    let disk = Memory::default();
    let mut commits: Vec<Vec<Fact>> = Vec::new();
    // Of those, how many were told.
    let mut told = 0;
    let mut reports = Vec::new();
    for life in 0..6 {
        let (mut log, state, report) = open(&disk, segment_bytes);
        let found = lines(&state);
        let mut sums = sum(&commits[..told]);
        let mut read = told;
        while lines(&sums) != found {
            assert!(
                read < commits.len(),
                "seed {seed}, life {life}: {told} of {} commits were told, and this is no beginning \
                 of them:\n{}\nwhat was told is:\n{}",
                commits.len(),
                found.join("\n"),
                lines(&sum(&commits[..told])).join("\n"),
            );
            add(&mut sums, &commits[read..=read]);
            read += 1;
        }
        assert_eq!(report.damaged, [], "seed {seed}, life {life}");
        assert_eq!(report.missing, [""; 0], "seed {seed}, life {life}");
        commits.truncate(read);
        // What is read back is as good as told: shards build on it.
        told = read;
        reports.push(report);
        if !random.percent(20) {
            disk.lose_power_after(random.below(300) as usize);
        }
        stating.ending = 20 + random.below(60);
        for _ in 0..random.below(150) {
            if random.percent(faults.failing_syncs) {
                disk.fail_syncs(1 + random.below(2) as usize);
            }
            if random.percent(faults.failing_writes) {
                disk.fail_writes(1);
            }
            for _ in 0..random.below(4) {
                let commit = stating.commit();
                commits.push(commit.clone());
                log.append(commit);
            }
            let sync = random.percent(70);
            let tries = (0..4).map(|_| log.flush(sync)).find(Result::is_ok);
            match tries {
                Some(_) if sync => told = commits.len(),
                Some(_) => {}
                None => break,
            }
            let _ = log.clean(random.below(2_000));
            if random.percent(10) {
                log.provide();
            }
        }
        disk.crash(random.next());
    }
    reports
}

#[test]
fn what_was_told_is_there_after_any_crash_and_no_half_commit_is() {
    let mut torn = 0;
    for seed in 0..400 {
        let reports = live_through(seed, 1 << 20, NO_FAULTS);
        torn += reports.iter().filter(|it| it.torn.is_some()).count();
    }
    assert!(torn > 100, "the disk hardly ever tore anything: {torn}");
}

#[test]
fn cleaning_changes_nothing_of_what_is_read_back() {
    for seed in 1_000..1_400 {
        live_through(seed, 4 << 10, NO_FAULTS);
    }
}

#[test]
fn failing_syncs_and_writes_cost_nothing_that_was_told() {
    let faults = Faults {
        failing_syncs: 10,
        failing_writes: 10,
    };
    for seed in 2_000..2_400 {
        live_through(seed, 16 << 10, faults);
    }
}
