//! The normative statements of MQTT 3.1.1 and 5.0 that no other test shows: a file for each chapter
//! or packet of the standards, packet by packet. `docs/conformance.md` is the whole table, and
//! `tests/conformance_table.rs` keeps it honest.
//!
//! A test says which statements it shows in a line of its doc comment:
//! `/// Shows: MQTT-3.3.1-9, MQTT-3.3.1-10 (5.0); MQTT-3.3.1-6 (3.1.1)`.

#[path = "../cluster/mod.rs"]
mod cluster;

mod acknowledgements;
mod auth;
mod connect;
mod data;
mod disconnect;
mod peers_mistakes;
mod publish;
mod qos;
mod session;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod will;

use cluster::Client;
use cofferdam::wire::Version;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: [&str; 0] = [];

/// How the broker takes leave of a client with this reason code.
fn goodbye(version: Version, code: u8) -> Vec<u8> {
    match version {
        Version::V5 => vec![0xE0, 1, code],
        Version::V31 | Version::V311 => vec![],
    }
}

/// The broker told the client why, said nothing else, and closed.
#[track_caller]
fn is_dismissed(client: &Client, code: u8) {
    assert_eq!(client.bytes(), goodbye(client.version(), code));
    assert!(!client.is_open());
}
