//! The same scripts against Cofferdam and its peers: what each client observes is the same, but for
//! the differences that `differences` names and judges.
//!
//! A script is made from a seed; a failure prints the seed and the script, and
//! `SEED=n cargo test --test differential` runs that one alone. `make test` has the peers; `cargo
//! test` alone compares Cofferdam on one shard with Cofferdam on two.

#[path = "../running/mod.rs"]
mod running;

mod client;
mod compare;
mod differences;
mod peers;
mod play;
mod script;

use std::ops::Range;
use std::sync::Mutex;
use std::thread;

use compare::{Tally, compare};
use differences::{Difference, MOSQUITTO, RUMQTTD};
use peers::Peer;

const SEEDS: Range<u64> = 0..300;

/// Scripts under way at a time. Most of the time goes by waiting for what a peer leaves undone.
const AT_ONCE: usize = 12;

#[test]
fn one_shard_and_two_look_alike_to_clients() {
    let (one, two) = (Peer::cofferdam(1), Peer::cofferdam(2));
    let tally = against(&one, &two, &[]);
    assert_eq!(tally.alike, tally.scripts);
}

#[test]
#[ignore = "needs mosquitto: make test"]
fn mosquitto_differs_only_where_it_is_known_to() {
    let tally = against(&Peer::cofferdam(2), &Peer::mosquitto(), MOSQUITTO);
    if only().is_none() {
        tally.every_difference_occurred(MOSQUITTO);
        // Else the scripts end too early to show anything.
        assert!(tally.alike * 2 > tally.scripts, "{tally}");
    }
}

#[test]
#[ignore = "needs rumqttd: make test"]
fn rumqttd_differs_only_where_it_is_known_to() {
    let tally = against(&Peer::cofferdam(2), &Peer::rumqttd(), RUMQTTD);
    if only().is_none() {
        tally.every_difference_occurred(RUMQTTD);
        assert!(tally.steps > 4 * tally.scripts, "{tally}");
    }
}

/// The one script to play, by `SEED`.
fn only() -> Option<u64> {
    let seed = std::env::var("SEED").ok()?;
    Some(seed.parse().expect("SEED is a number"))
}

/// Every script, or that of `SEED`. A difference that nothing in `known` explains fails.
fn against(ours: &Peer, theirs: &Peer, known: &'static [Difference]) -> Tally {
    let seeds = Mutex::new(only().map_or(SEEDS, |seed| seed..seed + 1));
    let next = || seeds.lock().expect("nobody panics with it").next();
    let all = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let tally = compare(seed, ours, theirs, known);
                    all.lock().expect("nobody panics with it").add(tally);
                }
            });
        }
    });
    let tally = all.into_inner().expect("nobody panics with it");
    println!("cofferdam and {}: {tally}", theirs.name);
    let unknown = &tally.unknown;
    assert!(
        unknown.is_empty(),
        "{} not known:\n{}",
        unknown.len(),
        unknown.join("\n\n")
    );
    tally
}
