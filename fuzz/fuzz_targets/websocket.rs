//! What it does: `cofferdam_fuzz::websocket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cofferdam_fuzz::websocket(bytes));
