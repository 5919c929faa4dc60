//! What it does: `cofferdam_fuzz::trie`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::trie(bytes));
