//! Random worlds of teams, roles, patterns and live changes, decided by the broker and by a reference
//! that reads the text of the policy and tries every name there is.
//!
//! `universe` has the names, `world` makes up policies and records, `reference` decides; `grants`
//! compares decisions, `lives` what a whole cluster does. Each run prints its seed where it fails;
//! `COFFERDAM_MODEL_SEED` takes one, `COFFERDAM_MODEL_WORLDS` says how many worlds to try.

mod grants;
mod lives;
mod reference;
mod universe;
mod world;

/// The seed to begin with, and how many worlds.
fn plan(worlds: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("COFFERDAM_MODEL_SEED").unwrap_or(1);
    let worlds = number("COFFERDAM_MODEL_WORLDS").unwrap_or(worlds);
    first..first + worlds
}
