//! What it does: `cofferdam_fuzz::packet_server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::packet_server(bytes));
