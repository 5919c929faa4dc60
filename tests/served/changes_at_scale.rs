//! What changes cost a broker with many connections: measured, not asserted but for what was
//! promised. `docs/live-changes.md` has the figures.
//!
//! ```text
//! cargo test --release --locked --test served -- --ignored --nocapture changes_at_scale
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::running::{Broker, Client, Login, Setup, World, allow_sockets};
use cofferdam::wire::{QoS, Version};
use serde_json::Value;

const SESSIONS: usize = 10_000;

/// One of the many.
fn member(number: usize) -> Login {
    Login::of(&format!("c{number}@red"))
}

/// Somebody of another team who asks for an answer again and again, and the slowest ones in
/// microseconds, in order.
struct Other {
    stop: Arc<AtomicBool>,
    took: Arc<Mutex<Vec<u128>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Other {
    fn start(broker: &Broker) -> Self {
        let mut client = Client::login(broker, "tcp", &World::bob(), Version::V5);
        let (stop, took) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, taken) = (Arc::clone(&stop), Arc::clone(&took));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.assert_quiet();
                let taken: &Mutex<Vec<u128>> = &taken;
                taken
                    .lock()
                    .expect("no panic")
                    .push(began.elapsed().as_micros());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, took, thread }
    }

    /// Median and slowest since the last look, in milliseconds.
    fn waited(&self) -> String {
        let mut took = std::mem::take(&mut *self.took.lock().expect("no panic"));
        took.sort_unstable();
        let at =
            |part: usize| took.get(took.len() * part / 1000).copied().unwrap_or(0) as f64 / 1e3;
        let slowest = took.last().copied().unwrap_or(0) as f64 / 1e3;
        format!(
            "another team's PINGRESP: median {:.2} ms, p99 {:.2} ms, slowest {slowest:.2} ms of {}",
            at(500),
            at(990),
            took.len()
        )
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it is served to the end");
    }
}

/// From when the change was made, before its transaction, to the last of so many rows that it
/// caused.
fn until_the_last(
    broker: &Broker,
    made: &str,
    caused: &str,
    change: &str,
    count: usize,
) -> Duration {
    let time = |row: &Value| row["time_us"].as_u64().expect("a time");
    let rows = crate::running::eventually("the rows", || {
        let rows = broker.place().audit();
        let of = |row: &&Value| row["event"] == caused && row["detail"]["change"] == change;
        let found = rows.iter().filter(of).count();
        (found == count)
            .then_some(rows)
            .ok_or_else(|| format!("{found} of {count}"))
    });
    let of = |row: &&Value| row["event"] == caused && row["detail"]["change"] == change;
    let last = rows.iter().filter(of).map(time).max().expect("a row");
    let first = rows
        .iter()
        .filter(|row| row["event"] == made)
        .map(time)
        .max();
    Duration::from_micros(last - first.expect("the change"))
}

#[test]
#[ignore = "measures; needs 20,000 open files and half a minute"]
fn ten_thousand_live_sessions_of_one_team_are_judged_anew_and_cut() {
    allow_sockets(3 * SESSIONS);
    let everything: String = (0..SESSIONS).map(|n| member(n).client("#")).collect();
    let broker = Setup::new().and(&everything).start();
    let mut clients: Vec<Client> = (0..SESSIONS)
        .map(|number| {
            let mut client = Client::login(&broker, "tcp", &member(number), Version::V5);
            for filter in ["a/+", "b/#", "c"] {
                client.subscribe(filter, QoS::AtLeastOnce);
            }
            client
        })
        .collect();
    let other = Other::start(&broker);
    std::thread::sleep(Duration::from_secs(2));
    println!("at rest: {}", other.waited());

    // One subscription of three ends, of everybody's, each by a change of its own.
    let allow = ["a/#", "b/#"].map(|filter| {
        format!("{{ action = \"both\", effect = \"allow\", pattern = \"{filter}\" }}")
    });
    let narrowed = |number| {
        let own = member(number).client("#");
        let (head, _) = own.split_once("acl = ").expect("an acl");
        format!("{head}acl = [{}]\n", allow.join(", "))
    };
    let all: String = (0..SESSIONS).map(narrowed).collect();
    broker.place().write("narrowed.toml", &all);
    other.waited();
    broker.place().run_well(&["apply", "narrowed.toml"]);
    let took = until_the_last(
        &broker,
        "client_change",
        "subscription_ended",
        "rights",
        SESSIONS,
    );
    println!(
        "{SESSIONS} clients lost a right: {took:?} with the transaction; {}",
        other.waited()
    );

    broker.place().run_well(&["team", "suspend", "red"]);
    let suspended = Instant::now();
    for client in &mut clients {
        client.rest();
    }
    let closed = suspended.elapsed();
    println!(
        "all of them were cut {closed:?} after `team suspend` ended; {}",
        other.waited()
    );
    let took = until_the_last(
        &broker,
        "team_suspend",
        "disconnect",
        "team_suspended",
        SESSIONS,
    );
    println!("and {took:?} after it was made");
    // The promise is that of the program as it is shipped, on a machine that has nothing else to do.
    let promised = Duration::from_secs(1);
    let most = promised * if cfg!(debug_assertions) { 10 } else { 1 };
    assert!(closed < most, "{closed:?}");
    other.end();
}
