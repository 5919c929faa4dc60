//! What keeping costs: the rate and the latency of acknowledgements at each level of durability, and how
//! long a start takes with much that is kept. The figures of `docs/benchmarks.md`.
//!
//! - *cost*: publishers of 64 bytes that wait for each acknowledgement before they send the next, to
//!   sessions that are kept; nobody is connected to them (offline), or their clients are (live). Beside
//!   mosquitto with persistence, where it is installed.
//! - *start*: a million messages queued for one session, and for 10,000; the broker is killed and started.
//!
//! - *slow*: the first again at QoS 1, with a disk whose every sync takes 2 ms more (needs `cc`).
//!
//! `cargo bench --bench durability [-- cost|slow|start --seconds 2 --rounds 2 --publishers
//! 1,10,100,1000 --slow-ms 2 --broker PATH]`

#[path = "../load/mod.rs"]
mod load;

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use load::broker::{Broker, slow_sync};
use load::mosquitto::Mosquitto;
use load::packets::{self, Came};
use load::spread::{Spread, median};
use load::waiters::{Shape, Until, Waiters, store_sessions};

struct Arguments {
    what: String,
    seconds: f64,
    rounds: usize,
    publishers: Vec<usize>,
    broker: PathBuf,
    slow: Duration,
}

/// Who is measured.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    Cofferdam(&'static str),
    /// At `disk`, with a disk that is slower.
    Slow,
    Mosquitto,
}

enum Running {
    Cofferdam(Broker),
    Mosquitto(Mosquitto),
}

/// What the rounds of one cell came to.
#[derive(Default)]
struct Cell {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
    latency: Spread,
}

/// Sessions that get the messages, at most.
const SESSIONS: usize = 100;

/// Queues are not to be full: what counts is the keeping.
const LIMITS: &str = "max_queued_messages = 100000000\nmax_queued_bytes = \"64 GiB\"\n";

fn main() -> io::Result<()> {
    let arguments = Arguments::read();
    let is_wanted = |what: &str| arguments.what.is_empty() || arguments.what == what;
    if is_wanted("cost") {
        heading();
        let mut peers = vec![
            Peer::Cofferdam("disk"),
            Peer::Cofferdam("os"),
            Peer::Cofferdam("memory"),
        ];
        peers.extend(Mosquitto::is_installed().then_some(Peer::Mosquitto));
        for (is_live, qos) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
            cost(&arguments, &peers, is_live, qos)?;
        }
    }
    if is_wanted("slow") {
        heading();
        cost(&arguments, &[Peer::Slow], false, 1)?;
    }
    if is_wanted("start") {
        start(&arguments, 1)?;
        start(&arguments, 10_000)?;
    }
    Ok(())
}

fn heading() {
    println!(
        "| subscribers | QoS | broker | publishers | messages/s | p50 | p99 | CPU of the broker |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
}

fn cost(arguments: &Arguments, peers: &[Peer], is_live: bool, qos: u8) -> io::Result<()> {
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    cells.resize_with(peers.len(), || {
        let cells = arguments.publishers.iter().map(|_| Cell::default());
        cells.collect()
    });
    // Rounds take turns, so that what else the machine does falls on all alike.
    for _ in 0..arguments.rounds {
        for (peer, cells) in peers.iter().zip(&mut cells) {
            for (publishers, cell) in arguments.publishers.iter().zip(cells) {
                measure(arguments, *peer, *publishers, qos, is_live, cell)?;
            }
        }
    }
    let whose = if is_live { "live" } else { "offline" };
    for (peer, cells) in peers.iter().zip(&cells) {
        for (publishers, cell) in arguments.publishers.iter().zip(cells) {
            let us = |part| cell.latency.quantile(part).as_secs_f64() * 1e6;
            println!(
                "| {whose} | {qos} | {} | {publishers} | {:.0} | {:.0} µs | {:.0} µs | {:.1} µs a message |",
                peer.name(),
                median(&cell.rates),
                us(0.5),
                us(0.99),
                median(&cell.cpu_us),
            );
        }
    }
    Ok(())
}

fn measure(
    arguments: &Arguments,
    peer: Peer,
    publishers: usize,
    qos: u8,
    is_live: bool,
    cell: &mut Cell,
) -> io::Result<()> {
    let running = peer.start(arguments)?;
    let shape = Shape {
        publishers,
        topics: publishers.min(SESSIONS),
        qos,
        payload: 64,
        window: 1,
    };
    let address = running.address()?;
    if !is_live {
        store_sessions(address, shape)?;
    }
    let mut waiters = Waiters::connect(address, shape, is_live)?;
    waiters.run(Until::Over(Duration::from_millis(200)))?; // warm
    let before = running.cpu()?;
    let sum = waiters.run(Until::Over(Duration::from_secs_f64(arguments.seconds)))?;
    let used = running.cpu()? - before;
    cell.rates
        .push(sum.acknowledged as f64 / sum.took.as_secs_f64());
    cell.cpu_us
        .push(used.as_secs_f64() * 1e6 / sum.acknowledged as f64);
    cell.latency.join(&sum.latency);
    Ok(())
}

fn start(arguments: &Arguments, sessions: usize) -> io::Result<()> {
    const MESSAGES: u64 = 1_000_000;
    let limits = format!("[limits]\n{LIMITS}");
    let config = format!("{limits}[journal]\ndurability = \"os\"\n");
    let mut broker = Broker::start(&arguments.broker, &["start"], &config)?;
    let address = address_of(&broker, "start")?;
    let shape = Shape {
        publishers: 100.min(sessions),
        topics: sessions,
        qos: 1,
        payload: 64,
        window: 100,
    };
    store_sessions(address, shape)?;
    // Each publisher has one topic: many take turns until every session has had its part.
    let batches = sessions.div_ceil(shape.publishers);
    for batch in 0..batches {
        let mut waiters = Waiters::connect_from(address, shape, batch * shape.publishers)?;
        waiters.run(Until::Acknowledged(MESSAGES / batches as u64))?;
    }
    let took: Vec<f64> = (0..arguments.rounds.max(3))
        .map(|_| broker.restart(&arguments.broker).map(|it| it.as_secs_f64()))
        .collect::<io::Result<_>>()?;
    // They are there.
    let mut reader = packets::open_kept(address, "w-sub-0", None)?;
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    while !matches!(packets::next(&came), Some((Came::Publish { .. }, _))) {
        match reader.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => came.extend_from_slice(&buffer[..length]),
        }
    }
    println!(
        "start: {MESSAGES} messages for {sessions} sessions: ready after {:.2} s ({took:.2?}), {:.0} messages a second, \
         {} MiB of memory, CPU {:.2?}",
        median(&took),
        MESSAGES as f64 / median(&took),
        broker.peak_memory()? >> 20,
        broker.cpu()?,
    );
    Ok(())
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Cofferdam(durability) => durability,
            Self::Slow => "disk, slower",
            Self::Mosquitto => "mosquitto",
        }
    }

    fn start(self, arguments: &Arguments) -> io::Result<Running> {
        Ok(match self {
            Self::Cofferdam(durability) => {
                let config =
                    format!("[limits]\n{LIMITS}[journal]\ndurability = \"{durability}\"\n");
                Running::Cofferdam(Broker::start(&arguments.broker, &["cost"], &config)?)
            }
            Self::Slow => {
                let place = tempfile::tempdir()?;
                let variables = slow_sync(arguments.slow, place.path())?;
                let config = format!("[limits]\n{LIMITS}");
                let binary = &arguments.broker;
                Running::Cofferdam(Broker::start_with(binary, &["cost"], &config, &variables)?)
            }
            Self::Mosquitto => Running::Mosquitto(Mosquitto::start()?),
        })
    }
}

impl Running {
    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Cofferdam(broker) => address_of(broker, "cost"),
            Self::Mosquitto(broker) => Ok(broker.address()),
        }
    }

    fn cpu(&self) -> io::Result<Duration> {
        match self {
            Self::Cofferdam(broker) => broker.cpu(),
            Self::Mosquitto(broker) => broker.cpu(),
        }
    }
}

fn address_of(broker: &Broker, team: &str) -> io::Result<SocketAddr> {
    let address = broker.address(team);
    address.ok_or_else(|| io::Error::other("no such listener"))
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            what: String::new(),
            seconds: 2.0,
            rounds: 2,
            publishers: vec![1, 10, 100, 1_000],
            broker: PathBuf::from(env!("CARGO_BIN_EXE_cofferdam")),
            slow: Duration::from_millis(2),
        };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            if name == "--bench" {
                continue; // cargo says so
            }
            if matches!(&*name, "cost" | "slow" | "start") {
                arguments.what = name;
                continue;
            }
            let value = given.next().unwrap_or_default();
            let number = || {
                let parsed = value.parse();
                parsed.unwrap_or_else(|_| panic!("{name} takes a number, not {value:?}"))
            };
            match &*name {
                "--rounds" => arguments.rounds = number() as usize,
                "--seconds" => arguments.seconds = number(),
                "--slow-ms" => arguments.slow = Duration::from_secs_f64(number() / 1e3),
                "--publishers" => {
                    let counts = value.split(',').map(str::parse);
                    arguments.publishers = counts.collect::<Result<_, _>>().expect("numbers");
                }
                "--broker" => arguments.broker = PathBuf::from(&value),
                _ => panic!("unknown: {name}"),
            }
        }
        arguments
    }
}
