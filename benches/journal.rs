//! What it costs to keep a message, and how fast a journal is read back: the figures of
//! `docs/decisions/journal.md`. `make bench-journal`; `-- DIRECTORY` chooses the disk.
//!
//! - *short*: a thousand queues, each message acknowledged as the next thousand come; so many publishers
//!   wait for their acknowledgement before they send the next, and share a commit.
//! - *long*: one queue of a million filled, read back, and drained after two million short-lived messages
//!   have passed beside it.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use cofferdam::fact::{Delivery, Fact, Kept, Target, Terms};
use cofferdam::journal::{Commit, Journal, Settings, Told};
use cofferdam::policy::{KnownBy, Principal};
use cofferdam::team::{Message, MessageNumber, MessageView, SessionAddress, SessionNumber};
use cofferdam::time::{Span, Time};
use cofferdam::wire::QoS;

const QUEUES: u64 = 1_000;
/// Messages that are there before the first is acknowledged.
const LAG: u64 = 1_000;
const LONG: u64 = 1_000_000;
const LONG_QUEUE: u64 = QUEUES + 1;
const PAYLOAD: usize = 180;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let argument = std::env::args().skip(1).find(|it| !it.starts_with("--"));
    let root = argument.map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("cofferdam-bench-{}", std::process::id()));
    println!("{QUEUES} queues, payloads of {PAYLOAD} bytes; CPU of the whole process per message");
    for sync in [true, false] {
        for batch in [1, 10, 100, 1_000] {
            let count = if sync { batch * 500 } else { 300_000 };
            short(&root.join("short"), batch, count.clamp(500, 300_000), sync);
        }
    }
    long(&root.join("long"));
    let _ = std::fs::remove_dir_all(&root);
}

/// A running journal, driven as one shard drives it.
struct Driven {
    journal: Journal,
    told: Receiver<Told>,
    number: u64,
}

impl Driven {
    fn open(path: &Path) -> Self {
        let opened = Journal::open(path, Settings::default(), &mut |_| {}).expect("a journal");
        let (tell, told) = mpsc::channel();
        let tell = move |_, what| {
            let _ = tell.send(what);
        };
        let journal = opened.log.start(1, Box::new(tell)).expect("a thread");
        Self {
            journal,
            told,
            number: 0,
        }
    }

    fn hand_over(&mut self, sync: bool, facts: Vec<Fact>) {
        self.number += 1;
        self.journal.commit(Commit {
            shard: 0,
            number: self.number,
            sync,
            hasty: false,
            facts,
        });
    }

    fn await_all(&self) {
        let is_last = |told| told == Told::Committed(self.number);
        while !is_last(self.told.recv_timeout(PATIENCE).expect("told")) {}
    }

    fn keep(&mut self, sync: bool, facts: Vec<Fact>) {
        self.hand_over(sync, facts);
        self.await_all();
    }

    fn finish(self) {
        self.journal.finish(PATIENCE).expect("a disk");
    }
}

fn short(path: &Path, batch: u64, count: u64, sync: bool) {
    let _ = std::fs::remove_dir_all(path);
    let mut driven = Driven::open(path);
    driven.keep(sync, (1..=QUEUES).map(begun).collect());
    let mut message = 0;
    let mut next = |facts: &mut Vec<Fact>| {
        message += 1;
        facts.push(kept(message, message % QUEUES + 1));
        if let Some(old) = message.checked_sub(LAG).filter(|old| *old > 0) {
            facts.push(done(old, old % QUEUES + 1));
        }
    };
    let mut before = Vec::new();
    (0..LAG).for_each(|_| next(&mut before));
    driven.keep(sync, before);
    // Made in advance: what shards spend on a message is theirs.
    let batches: Vec<Vec<Fact>> = (0..count / batch)
        .map(|_| {
            let mut facts = Vec::new();
            (0..batch).for_each(|_| next(&mut facts));
            facts
        })
        .collect();
    let before = Used::now();
    let mut commits = Vec::new();
    for facts in batches {
        let begun = Instant::now();
        driven.keep(sync, facts);
        commits.push(begun.elapsed());
    }
    println!(
        "short, {}, {batch} waiting: {}; commit {}",
        if sync { "disk" } else { "os" },
        before.since(count),
        spread(commits)
    );
    driven.finish();
}

fn long(path: &Path) {
    const BATCH: u64 = 1_000;
    let mut driven = Driven::open(path);
    driven.keep(false, (1..=QUEUES + 1).map(begun).collect());
    let mut most = 0;
    let mut phase = |driven: &mut Driven, what: &str, count: u64, facts: fn(u64) -> Vec<Fact>| {
        let (before, mut commits) = (Used::now(), Vec::new());
        for first in (1..=count).step_by(BATCH as usize) {
            let facts = (first..first + BATCH).flat_map(facts).collect();
            let begun = Instant::now();
            driven.keep(false, facts);
            commits.push(begun.elapsed());
            if first % 50_000 == 1 {
                most = most.max(disk_use(path));
            }
        }
        println!(
            "long, {what}: {}; {BATCH} {}; {} MiB on disk",
            before.since(count),
            spread(commits),
            disk_use(path) >> 20
        );
    };
    phase(&mut driven, "filled", LONG, |it| vec![kept(it, LONG_QUEUE)]);
    driven.finish();
    let (begun, rss) = (Instant::now(), resident_kib());
    let opened = open_again(path);
    let took = begun.elapsed();
    let messages = opened.state.messages.len();
    println!(
        "read back: {messages} messages in {took:?}, {:.0} a second, {} bytes of memory each",
        messages as f64 / took.as_secs_f64(),
        (resident_kib().saturating_sub(rss) << 10) / messages as u64
    );
    drop(opened);
    let mut driven = Driven::open(path);
    phase(&mut driven, "beside short ones", 2 * LONG, |it| {
        let mut facts = vec![kept(LONG + it, it % QUEUES + 1)];
        facts.extend(
            it.checked_sub(LAG)
                .map(|old| done(LONG + old, old % QUEUES + 1)),
        );
        facts
    });
    phase(&mut driven, "drained", LONG, |it| {
        vec![done(it, LONG_QUEUE)]
    });
    println!("long: at most {} MiB on disk", most >> 20);
    driven.finish();
}

/// What the process had used at a moment.
struct Used {
    at: Instant,
    cpu_us: u64,
    written: u64,
}

impl Used {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            cpu_us: cpu_us(),
            written: written(),
        }
    }

    /// For each of so many messages since.
    fn since(&self, count: u64) -> String {
        let (took, cpu, bytes) = (
            self.at.elapsed().as_secs_f64(),
            (cpu_us() - self.cpu_us) as f64 / count as f64,
            (written() - self.written) / count,
        );
        let rate = count as f64 / took;
        format!("{cpu:.2} us of CPU, {bytes} bytes written, {rate:.0} messages/s")
    }
}

fn spread(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    format!("p50 {:?} p99 {:?} slowest {:?}", at(50), at(99), at(100))
}

/// The thread of the journal before lets go of the directory when it ends.
fn open_again(path: &Path) -> cofferdam::journal::Opened {
    loop {
        match Journal::open(path, Settings::default(), &mut |_| {}) {
            Ok(opened) => return opened,
            Err(cofferdam::journal::JournalError::Folder(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn begun(number: u64) -> Fact {
    let terms = Terms {
        client_id: format!("client-{number}").into(),
        principal: Principal {
            username: format!("instance:{number}@team").into(),
            role: "instance".into(),
            team: None,
            bindings: Vec::new(),
            patterns: Vec::new(),
        },
        expiry: Span::from_secs(3_600),
        listener: "tls".into(),
        address: ([127, 0, 0, 1], 1).into(),
        known_by: KnownBy::Record,
    };
    Fact::Session(session(number), Box::new(terms))
}

fn kept(number: u64, queue: u64) -> Fact {
    let view = MessageView {
        topic: "ff/v1/team/p/instance/out/a",
        passed_on: &[],
        response_topic: None,
        payload: &[7; PAYLOAD],
        qos: QoS::AtLeastOnce,
        retain: false,
        expires: Time::NEVER,
        publisher: SessionAddress::NOBODY,
    };
    let message: Arc<Message> = Arc::new(view.keep(MessageNumber(number)));
    let target = Target {
        session: session(queue),
        copy: 0,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_id: 0,
        share: 0,
    };
    Fact::Kept(Box::new(Kept {
        number: MessageNumber(number),
        message,
        targets: vec![target],
        retained: None,
        receipt: None,
    }))
}

fn done(number: u64, queue: u64) -> Fact {
    Fact::Done(Delivery {
        session: session(queue),
        message: MessageNumber(number),
        copy: 0,
    })
}

fn session(number: u64) -> SessionNumber {
    SessionNumber(NonZeroU64::new(number).expect("counts from 1"))
}

/// Microseconds of CPU that this process has used, in steps of 10 ms.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may have blanks in it.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = rest.split(' ').map(|it| it.parse().unwrap_or(0)).collect();
    fields.get(11..13).map_or(0, |it| it.iter().sum::<u64>()) * 10_000
}

/// Bytes that this process has handed to the system to be written.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|it| it.strip_prefix("wchar: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let number = line.and_then(|it| it.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn disk_use(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|it| it.metadata().ok());
    sizes.map(|it| it.blocks() * 512).sum()
}
