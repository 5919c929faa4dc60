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

use compare::{Tally, compare};
use differences::{Difference, MOSQUITTO, RUMQTTD};
use peers::Peer;

/// As many as fit a minute.
const SEEDS: Range<u64> = 0..300;

/// Fewer: rumqttd leaves so much unanswered that most of the time goes by waiting in vain.
const SEEDS_FOR_RUMQTTD: Range<u64> = 0..40;

#[test]
fn one_shard_and_two_look_alike_to_clients() {
    let (one, two) = (Peer::cofferdam(1), Peer::cofferdam(2));
    let tally = against(&one, &two, &[], SEEDS);
    assert_eq!(tally.alike, tally.scripts);
}

#[test]
#[ignore = "needs mosquitto: make test"]
fn mosquitto_differs_only_where_it_is_known_to() {
    let tally = against(&Peer::cofferdam(2), &Peer::mosquitto(), MOSQUITTO, SEEDS);
    if tally.scripts > 1 {
        tally.every_difference_occurred(MOSQUITTO);
        // Else the scripts end too early to show anything.
        assert!(tally.alike * 2 > tally.scripts, "{tally}");
    }
}

#[test]
#[ignore = "needs rumqttd: make test"]
fn rumqttd_differs_only_where_it_is_known_to() {
    against(
        &Peer::cofferdam(2),
        &Peer::rumqttd(),
        RUMQTTD,
        SEEDS_FOR_RUMQTTD,
    );
}

/// Every script, or that of `SEED`. A difference that nothing in `known` explains fails.
fn against(ours: &Peer, theirs: &Peer, known: &'static [Difference], seeds: Range<u64>) -> Tally {
    let only = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(seeds, |seed: u64| seed..seed + 1);
    let mut tally = Tally::default();
    for seed in seeds {
        compare(seed, ours, theirs, known, &mut tally);
    }
    println!("cofferdam and {}: {tally}", theirs.name);
    let unknown = &tally.unknown;
    assert!(
        unknown.is_empty(),
        "{} not known, such as\n{}",
        unknown.len(),
        unknown[0]
    );
    tally
}
