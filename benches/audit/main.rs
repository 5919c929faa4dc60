//! What the audit costs the data path: how long messages take while 20,000 clients connect and
//! disconnect, with everything on record and with nothing.
//!
//! Two brokers run: the release build, and one built with the feature `unaudited`, which drops connection
//! events and is otherwise the same. Their storms take turns, so that what else the machine does falls on
//! both alike; they have the same pace, so that it is not the storm that differs.
//!
//! `make bench-audit`, which builds both; or `cargo bench --bench audit -- --without PATH
//! [--rounds 3 --connects 20000 --at-once 16 --pace 1000 --rate 200 --config '...']`

#[path = "../load/mod.rs"]
mod load;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use load::broker::Broker;
use load::packets;
use load::probe::Probe;
use load::spread::{Spread, median};

/// DISCONNECT of MQTT 3.1.1.
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// The probe publishes for so long before it looks whether the storm is over.
const SLICE: Duration = Duration::from_millis(500);

struct Arguments {
    rounds: usize,
    connects: usize,
    at_once: usize,
    /// Connects a second at most; 0: as fast as they are let in.
    pace: usize,
    rate: u32,
    config: String,
    broker: PathBuf,
    without: PathBuf,
}

/// What one broker's storms came to.
struct Side {
    name: &'static str,
    broker: Broker,
    probe: Probe,
    latency: Spread,
    p99s: Vec<f64>,
    connects_per_second: Vec<f64>,
    cpu_us: Vec<f64>,
    lost: u64,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read();
    println!(
        "{} rounds of {} connects and disconnects, {} at once and {} a second; {} messages a second \
         meanwhile",
        arguments.rounds, arguments.connects, arguments.at_once, arguments.pace, arguments.rate
    );
    let mut on = Side::start("on", &arguments.broker, &arguments.config)?;
    let mut off = Side::start("off", &arguments.without, &arguments.config)?;
    for round in 0..arguments.rounds {
        // Who is first takes turns too.
        let mut sides = [&mut on, &mut off];
        if round % 2 == 1 {
            sides.reverse();
        }
        for side in sides {
            side.storm(&arguments)?;
        }
    }
    println!("| audit | p50 | p99 | connects | CPU of the broker | lost |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for side in [&on, &off] {
        side.print();
    }
    let ratios: Vec<f64> = on
        .p99s
        .iter()
        .zip(&off.p99s)
        .map(|(on, off)| on / off)
        .collect();
    let pooled = on.latency.quantile(0.99).as_secs_f64() / off.latency.quantile(0.99).as_secs_f64();
    println!(
        "p99 with the audit is {:.2} times that without (median of the rounds), {pooled:.2} pooled; \
         the target is 1.10 at most",
        median(&ratios)
    );
    Ok(())
}

impl Side {
    fn start(name: &'static str, binary: &Path, config: &str) -> io::Result<Self> {
        let broker = Broker::start(binary, &["storm", "data"], config)?;
        let address = |team| {
            let found = broker.address(team);
            found.ok_or_else(|| io::Error::other("no such listener"))
        };
        let mut probe = Probe::start(address("data")?, 1)?;
        probe.run(100, Duration::from_secs(1))?; // warm
        Ok(Self {
            name,
            broker,
            probe,
            latency: Spread::default(),
            p99s: Vec::new(),
            connects_per_second: Vec::new(),
            cpu_us: Vec::new(),
            lost: 0,
        })
    }

    fn storm(&mut self, arguments: &Arguments) -> io::Result<()> {
        let missing = || io::Error::other("no such listener");
        let address = self.broker.address("storm").ok_or_else(missing)?;
        let (began, used) = (Instant::now(), self.broker.cpu()?);
        let next = AtomicUsize::new(0);
        let mut latency = Spread::default();
        let lasted = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..arguments.at_once)
                .map(|_| scope.spawn(|| come_and_go(address, &next, began, arguments)))
                .collect();
            while clients.iter().any(|client| !client.is_finished()) {
                let heard = self.probe.run(arguments.rate, SLICE)?;
                self.lost += heard.lost;
                latency.join(&heard.latency);
            }
            let lasted = began.elapsed();
            for client in clients {
                let done = client.join();
                done.map_err(|_| io::Error::other("a client's thread panicked"))??;
            }
            Ok::<_, io::Error>(lasted)
        })?;
        let connects = arguments.connects as f64;
        self.p99s.push(latency.quantile(0.99).as_secs_f64());
        self.latency.join(&latency);
        self.connects_per_second
            .push(connects / lasted.as_secs_f64());
        let cpu = self.broker.cpu()?.saturating_sub(used);
        self.cpu_us.push(cpu.as_secs_f64() * 1e6 / connects);
        Ok(())
    }

    fn print(&self) {
        let ms = |latency: Duration| format!("{:.2} ms", latency.as_secs_f64() * 1e3);
        println!(
            "| {} | {} | {} | {:.0}/s | {:.0} µs a connect | {} |",
            self.name,
            ms(self.latency.quantile(0.5)),
            ms(self.latency.quantile(0.99)),
            median(&self.connects_per_second),
            median(&self.cpu_us),
            self.lost,
        );
    }
}

/// Connects, waits for CONNACK and disconnects, until there were so many of all threads together.
fn come_and_go(
    address: SocketAddr,
    next: &AtomicUsize,
    began: Instant,
    arguments: &Arguments,
) -> io::Result<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= arguments.connects {
            return Ok(());
        }
        if arguments.pace > 0 {
            let due = Duration::from_secs_f64(number as f64 / arguments.pace as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let mut client = packets::open(address, &format!("storm-{number}"), None)?;
        client.write_all(&DISCONNECT)?;
    }
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            rounds: 3,
            connects: 20_000,
            at_once: 16,
            pace: 1_000,
            rate: 200,
            config: String::new(),
            broker: PathBuf::from(env!("CARGO_BIN_EXE_cofferdam")),
            without: PathBuf::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            if name == "--bench" {
                continue; // cargo says so
            }
            let value = given.next().unwrap_or_default();
            let number = || {
                let parsed = value.parse();
                parsed.unwrap_or_else(|_| panic!("{name} takes a number, not {value:?}"))
            };
            match &*name {
                "--rounds" => arguments.rounds = number(),
                "--connects" => arguments.connects = number(),
                "--at-once" => arguments.at_once = number(),
                "--pace" => arguments.pace = number(),
                "--rate" => arguments.rate = number() as u32,
                "--config" => arguments.config.clone_from(&value),
                "--broker" => arguments.broker = PathBuf::from(&value),
                "--without" => arguments.without = PathBuf::from(&value),
                _ => panic!("unknown: {name}"),
            }
        }
        assert!(
            arguments.without.is_file(),
            "--without takes the broker built with --features unaudited; make bench-audit builds it"
        );
        arguments
    }
}
