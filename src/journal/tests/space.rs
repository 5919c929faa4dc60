//! Disk use stays within twice what is live and a few segments, and no step of cleaning is long.

use super::*;

const SEGMENT: u64 = 32 << 10;

/// Those that are being made and emptied, what may be dead beside what is live, and spare ones.
const FEW: u64 = 6;

/// A log that is driven as the committer drives it, with what is live by a count of its own.
struct Driven {
    disk: Memory,
    log: Log,
    live: u64,
    most: f64,
}

impl Driven {
    fn new() -> Self {
        let disk = Memory::default();
        let (mut log, _, _) = open(&disk, SEGMENT);
        log.provide();
        log.append((1..=3).map(begun).collect());
        Self {
            disk,
            log,
            live: 0,
            most: 0.0,
        }
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
            carried <= budget + SEGMENT,
            "{carried} bytes in a step of {budget}"
        );
        let used = self.disk.used();
        assert!(
            used <= 2 * self.live + FEW * SEGMENT,
            "{used} bytes for {} that are live",
            self.live
        );
        let over = used.saturating_sub(FEW * SEGMENT) as f64;
        self.most = self.most.max(over / (self.live.max(1)) as f64);
    }

    /// A message of `payload` bytes begins or ends to be live.
    fn add(&mut self, payload: i64) {
        self.live = self
            .live
            .checked_add_signed(payload)
            .expect("what ends had begun");
    }
}

#[test]
fn while_a_long_queue_fills_and_drains() {
    let mut driven = Driven::new();
    for number in 1..=20_000 {
        driven.add(100);
        driven.keep(vec![kept(number, &[1], 100)]);
    }
    for number in 1..=20_000 {
        driven.add(-100);
        driven.keep(vec![done(number, 1)]);
    }
    assert_eq!(driven.live, 0);
}

#[test]
fn while_one_queue_drains_that_lies_between_those_of_another() {
    let mut driven = Driven::new();
    for number in 1..=20_000 {
        driven.add(100);
        driven.keep(vec![kept(number, &[1 + number % 10 / 9], 100)]);
    }
    for number in (1..=20_000).filter(|it| it % 10 != 9) {
        driven.add(-100);
        driven.keep(vec![done(number, 1)]);
    }
    let (_, state, _) = open(&driven.disk, SEGMENT);
    let expected: Vec<_> = (1..=20_000).filter(|it| it % 10 == 9).collect();
    assert_eq!(numbers(&state), expected);
}

#[test]
fn while_one_message_outlives_a_multitude() {
    let mut driven = Driven::new();
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
        driven.add(100);
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
        driven.add(100);
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
