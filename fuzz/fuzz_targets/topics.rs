//! What it does: `cofferdam_fuzz::topics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::topics(bytes));
