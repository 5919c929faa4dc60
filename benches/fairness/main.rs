//! The noisy neighbour: how much slower one team's messages are beside another team that publishes
//! at full speed.
//!
//! Starts the release build of the broker. Team `quiet` publishes 100 messages a second; team
//! `noisy` publishes from 200 connections as fast as it is read, each to a topic of its own that
//! another of them hears. Three phases take turns, so that what else the machine does falls on all
//! of them alike: quiet alone, both, noisy alone.
//!
//! `cargo bench --bench fairness [-- --rounds 5 --seconds 3 --connections 200 --config 'shards = 1'
//! --broker PATH]`

#[path = "../load/mod.rs"]
mod load;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use load::broker::Broker;
use load::flood::{Flood, Shape};
use load::probe::Probe;
use load::spread::{Spread, median};

struct Arguments {
    rounds: usize,
    seconds: u64,
    connections: usize,
    rate: u32,
    config: String,
    broker: PathBuf,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read();
    println!(
        "{} rounds of 3 × {} s; quiet: {} messages a second; noisy: {} connections",
        arguments.rounds, arguments.seconds, arguments.rate, arguments.connections
    );
    println!(
        "| QoS | quiet p50 | p99 | beside p50 | p99 | ratio of p99 | lost | noisy alone | noisy beside | broker |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for qos in [0, 1] {
        scenario(&arguments, qos)?;
    }
    Ok(())
}

fn scenario(arguments: &Arguments, qos: u8) -> io::Result<()> {
    let broker = Broker::start(&arguments.broker, &["quiet", "noisy"], &arguments.config)?;
    let missing = || io::Error::other("no such listener");
    let noisy = broker.address("noisy").ok_or_else(missing)?;
    let quiet = broker.address("quiet").ok_or_else(missing)?;
    let shape = Shape {
        connections: arguments.connections,
        qos,
        payload: 64,
        window: 64,
    };
    let flood = Flood::start(noisy, shape)?;
    let mut probe = Probe::start(quiet, qos)?;
    let time = Duration::from_secs(arguments.seconds);
    probe.run(arguments.rate, Duration::from_secs(1))?; // warm
    let (mut alone, mut beside, mut lost) = (Spread::default(), Spread::default(), 0);
    let (mut ratios, mut rates, mut rates_alone) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = Vec::new();
    for _ in 0..arguments.rounds {
        let heard = probe.run(arguments.rate, time)?;
        lost += heard.lost;
        let quiet_p99 = heard.latency.quantile(0.99);
        alone.join(&heard.latency);

        flood.open();
        std::thread::sleep(Duration::from_millis(300));
        let (before, began, used) = (flood.received(), Instant::now(), broker.cpu()?);
        let heard = probe.run(arguments.rate, time)?;
        let received = (flood.received() - before) as f64;
        rates.push(received / began.elapsed().as_secs_f64());
        cpu.push((broker.cpu()? - used).as_secs_f64() * 1e6 / received);
        lost += heard.lost;
        let p99 = heard.latency.quantile(0.99);
        ratios.push(p99.as_secs_f64() / quiet_p99.as_secs_f64());
        beside.join(&heard.latency);

        let (before, began) = (flood.received(), Instant::now());
        std::thread::sleep(time);
        rates_alone.push((flood.received() - before) as f64 / began.elapsed().as_secs_f64());
        flood.close();
        std::thread::sleep(Duration::from_millis(500)); // what is on its way arrives
    }
    let ms = |latency: Duration| format!("{:.2} ms", latency.as_secs_f64() * 1e3);
    println!(
        "| {qos} | {} | {} | {} | {} | {:.1} ({:.1} pooled) | {lost} | {:.0}/s | {:.0}/s | {:.2} µs a message |",
        ms(alone.quantile(0.5)),
        ms(alone.quantile(0.99)),
        ms(beside.quantile(0.5)),
        ms(beside.quantile(0.99)),
        median(&ratios),
        beside.quantile(0.99).as_secs_f64() / alone.quantile(0.99).as_secs_f64(),
        median(&rates_alone),
        median(&rates),
        median(&cpu),
    );
    Ok(())
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self {
            rounds: 5,
            seconds: 3,
            connections: 200,
            rate: 100,
            config: String::new(),
            broker: PathBuf::from(env!("CARGO_BIN_EXE_cofferdam")),
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
                "--seconds" => arguments.seconds = number() as u64,
                "--connections" => arguments.connections = number(),
                "--rate" => arguments.rate = number() as u32,
                "--config" => arguments.config.clone_from(&value),
                "--broker" => arguments.broker = PathBuf::from(&value),
                _ => panic!("unknown: {name}"),
            }
        }
        arguments
    }
}
