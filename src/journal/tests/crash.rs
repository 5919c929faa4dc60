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

/// What became of a journal.
#[derive(Default)]
struct Lived {
    /// Starts that found a torn tail.
    torn: usize,
    /// Bytes that were carried forward.
    carried: u64,
    /// Writes and syncs that failed.
    failures: u64,
}

/// Lives of one journal, each ended by the power's failing at some change of the disk.
fn live_through(seed: u64, segment_bytes: u64, faults: Faults) -> Lived {
    let mut random = Random(seed ^ 0xC0FF_EE00);
    let mut stating = Stating::new(seed);
    let disk = Memory::default();
    // What was read back last, and the commits since; of those, how many were told.
    let mut base = State::default();
    let mut commits: Vec<Vec<Fact>> = Vec::new();
    let mut told = 0;
    let mut lived = Lived::default();
    for life in 0..6 {
        let (mut log, state, report) = open(&disk, segment_bytes);
        let found = lines(&state);
        add(&mut base, &commits[..told]);
        let least = lines(&settled(&base));
        let mut read = told;
        while lines(&settled(&base)) != found {
            assert!(
                read < commits.len(),
                "seed {seed}, life {life}: {told} of {} commits were told, and this is no beginning \
                 of them:\n{}",
                commits.len(),
                difference(&least, &found),
            );
            add(&mut base, &commits[read..=read]);
            read += 1;
        }
        assert_eq!(report.damaged, [], "seed {seed}, life {life}");
        assert_eq!(report.missing, [""; 0], "seed {seed}, life {life}");
        base = settled(&base);
        commits.clear();
        told = 0;
        stating.restart(&state);
        lived.torn += usize::from(report.torn.is_some());
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
        log.index.check();
        lived.carried += log.counts.carried;
        lived.failures += log.counts.failures;
        disk.crash(random.next());
    }
    lived
}

/// So many seeds, or as many as `COFFERDAM_JOURNAL_SEEDS` says, from this one on.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("COFFERDAM_JOURNAL_SEEDS").ok();
    first..first + wanted.and_then(|it| it.parse().ok()).unwrap_or(80)
}

fn difference(least: &[String], found: &[String]) -> String {
    let lacking = least.iter().filter(|line| !found.contains(line));
    let lacking = lacking.map(|line| format!("- {line}\n"));
    let further = found.iter().filter(|line| !least.contains(line));
    let further = further.map(|line| format!("+ {line}\n"));
    let mut all: Vec<String> = lacking.chain(further).collect();
    let places = least.iter().zip(found).filter(|(a, b)| a != b);
    all.extend(places.map(|(a, b)| format!("{a}\n  is in the place of\n{b}\n")));
    all.truncate(12);
    all.concat()
}

#[test]
fn what_was_told_is_there_after_any_crash_and_no_half_commit_is() {
    let lived = seeds(0).map(|seed| live_through(seed, 256 << 10, NO_FAULTS));
    let torn: usize = lived.map(|it| it.torn).sum();
    assert!(torn > 20, "the disk hardly ever tore anything: {torn}");
}

/// A message that nobody had any more was kept again, and what had ended it is not in the log any more.
const CAME_AGAIN: u64 = 101_910;

#[test]
fn cleaning_changes_nothing_of_what_is_read_back() {
    live_through(CAME_AGAIN, 4 << 10, NO_FAULTS);
    let lived = seeds(100_000).map(|seed| live_through(seed, 4 << 10, NO_FAULTS));
    let carried: u64 = lived.map(|it| it.carried).sum();
    assert!(carried > 100_000, "hardly anything was carried: {carried}");
}

#[test]
fn failing_syncs_and_writes_cost_nothing_that_was_told() {
    let faults = Faults {
        failing_syncs: 10,
        failing_writes: 10,
    };
    let lived = seeds(200_000).map(|seed| live_through(seed, 16 << 10, faults));
    let failures: u64 = lived.map(|it| it.failures).sum();
    assert!(failures > 100, "hardly anything failed: {failures}");
}
