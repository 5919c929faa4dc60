//! What the fuzz targets do with their bytes: one function each, which panics where something is
//! wrong. `fuzz_targets/` hands them to libFuzzer; `tests/fuzz_corpus.rs` takes this file in by
//! `#[path]` and runs them over the committed corpus, so that what was once found stays found
//! without cargo-fuzz.

mod config;
mod connection;
mod input;
mod packets;
mod policy;
mod provision;
mod proxy;
mod topics;
mod trie;
mod websocket;

#[path = "../../tests/wire/as_sent.rs"]
#[allow(dead_code)] // the codec's own tests need more of it
mod as_sent;

pub use connection::connection;
pub use packets::packets;
pub use policy::policy;
pub use proxy::proxy;
pub use websocket::websocket;

use input::Input;

/// A target: its name, which is also its corpus', and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
#[allow(dead_code)] // libFuzzer's mains name theirs
pub const TARGETS: [Target; 7] = [
    ("packets", packets),
    ("websocket", websocket),
    ("proxy", proxy),
    ("topics", topics),
    ("policy", policy),
    ("files", files),
    ("connection", connection),
];

/// Topic filters: by the first byte one against another, or many in a trie.
pub fn topics(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 2 {
        0 => topics::topics(input.rest()),
        _ => trie::trie(input.rest()),
    }
}

/// Files that an operator writes, other than policies: by the first byte the configuration, or what
/// `cofferdam apply` is given.
pub fn files(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 2 {
        0 => config::config(input.rest()),
        _ => provision::provision(input.rest()),
    }
}
