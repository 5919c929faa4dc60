//! The wire codec, seen from outside.
//!
//! Random tests print what failed; proptest keeps the seeds in `tests/proptest-regressions/`, which
//! are committed so that a case once found is tried first ever after.

#[path = "../packets/mod.rs"]
mod packets;

mod answers;
mod as_sent;
mod harm;
mod random;
mod round_trip;
mod summary;
mod table;
