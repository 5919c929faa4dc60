//! Disk use stays within twice what is live and a few segments, and no step of cleaning is long.

use super::*;

const SEGMENT: u64 = 32 << 10;

/// Those that are being made and emptied, what may be dead beside what is live, and spare ones.
const FEW: u64 = 6;

/// Bytes of a message of 100 that is live, as it stands on disk; a few more where numbers are large.
const RECORD: u64 = 132;

/// A log that is driven as the committer drives it, with what is live by a count of its own.
struct Driven {
    disk: Memory,
    log: Log,
    /// Messages.
    live: u64,
}

impl Driven {
    fn new() -> Self {
        let disk = Memory::default();
        let (mut log, _, _) = open(&disk, SEGMENT);
        log.provide();
        log.append((1..=3).map(begun).collect());
        Self { disk, log, live: 0 }
    }

    /// Keeps these in one batch, and cleans as much as follows a batch.
    fn keep(&mut self, facts: Vec<Fact>) {
        let before = self.log.end();
        self.log.append(facts);
        let batch = self.log.end() - before;
        self.log.flush(true).expect("a disk");
        let carried = self.log.counts.carried;
        let budget = (batch * 4).max(2_000);
        self.log.clean(budget).expect("a disk");
        let carried = self.log.counts.carried - carried;
        assert!(
            carried <= budget + SEGMENT / 8,
            "{carried} bytes in a step of {budget}"
        );
        let live = self.live * RECORD;
        let counted = self.log.index.live();
        let sessions = 4_000;
        assert!(
            (live..live + live / 10 + sessions).contains(&counted),
            "{counted} for {live}"
        );
        let used = self.disk.used();
        assert!(
            used <= 2 * live + FEW * SEGMENT,
            "{used} bytes for {live} that are live"
        );
    }
}

#[test]
fn while_a_long_queue_fills_and_drains() {
    let mut driven = Driven::new();
    for number in 1..=20_000 {
        driven.live += 1;
        driven.keep(vec![kept(number, &[1], 100)]);
    }
    for number in 1..=20_000 {
        driven.live -= 1;
        driven.keep(vec![done(number, 1)]);
    }
    assert_eq!(driven.live, 0);
}

#[test]
fn while_one_queue_drains_that_lies_between_those_of_another() {
    let mut driven = Driven::new();
    for number in 1..=20_000 {
        driven.live += 1;
        driven.keep(vec![kept(number, &[1 + number % 10 / 9], 100)]);
    }
    for number in (1..=20_000).filter(|it| it % 10 != 9) {
        driven.live -= 1;
        driven.keep(vec![done(number, 1)]);
    }
    let (_, state, _) = open(&driven.disk, SEGMENT);
    let expected: Vec<_> = (1..=20_000).filter(|it| it % 10 == 9).collect();
    assert_eq!(numbers(&state), expected);
}

#[test]
fn while_one_message_outlives_a_multitude() {
    let mut driven = Driven::new();
    driven.live += 1;
    driven.keep(vec![kept(1, &[1], 100)]);
    for number in 2..=50_000 {
        driven.keep(vec![kept(number, &[1], 100), done(number, 1)]);
    }
    let (_, state, _) = open(&driven.disk, SEGMENT);
    assert_eq!(numbers(&state), [1]);
}

#[test]
fn while_much_is_kept_for_ever_and_more_comes_and_goes() {
    let mut driven = Driven::new();
    for number in 1..=20_000 {
        driven.live += 1;
        driven.keep(vec![kept(number, &[1], 100)]);
    }
    for number in 20_001..=80_000 {
        driven.keep(vec![kept(number, &[2], 100), done(number, 2)]);
    }
    let carried = driven.log.counts.carried;
    let written = driven.log.counts.written;
    assert!(
        carried > 0 && carried < written / 2,
        "{carried} of {written}"
    );
    let (_, state, _) = open(&driven.disk, SEGMENT);
    assert_eq!(numbers(&state), (1..=20_000).collect::<Vec<_>>());
}

#[test]
fn while_sessions_change_for_ever() {
    let mut driven = Driven::new();
    let id = |number: u64| crate::wire::PacketId::new(number as u16 % 50 + 1).expect("not 0");
    for number in 1..=50_000 {
        driven.keep(vec![
            Fact::Received(session(1), id(number)),
            Fact::Freed(session(1), id(number)),
            begun(2),
            Fact::Will(session(2), None),
        ]);
    }
    let (_, state, _) = open(&driven.disk, SEGMENT);
    assert_eq!(state.sessions.len(), 3);
}

#[test]
fn when_nothing_is_live_nothing_is_left_but_the_newest() {
    let mut driven = Driven::new();
    for number in 1..=5_000 {
        driven.live += 1;
        driven.keep(vec![kept(number, &[1], 100)]);
    }
    driven.live = 0;
    driven
        .log
        .append((1..=3).map(|it| Fact::Ended(session(it))).collect());
    driven.log.flush(true).expect("a disk");
    while driven.log.clean(2_000).expect("a disk") {}
    assert!(driven.log.size() <= SEGMENT, "{}", driven.log.size());
}
