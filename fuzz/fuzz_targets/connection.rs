//! What it does: `cofferdam_fuzz::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::connection(bytes));
