//! What it does: `cofferdam_fuzz::provision`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::provision(bytes));
