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

pub use config::config;
pub use connection::connection;
pub use packets::{packet_first, packet_later, packet_server};
pub use policy::policy;
pub use provision::provision;
pub use proxy::proxy;
pub use topics::topics;
pub use trie::trie;
pub use websocket::websocket;

/// A target: its name, which is also its corpus', and what it does with its bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
#[allow(dead_code)] // libFuzzer's mains name theirs
pub const TARGETS: [Target; 11] = [
    ("packet_first", packet_first),
    ("packet_later", packet_later),
    ("packet_server", packet_server),
    ("websocket", websocket),
    ("topics", topics),
    ("trie", trie),
    ("policy", policy),
    ("config", config),
    ("provision", provision),
    ("connection", connection),
    ("proxy", proxy),
];
