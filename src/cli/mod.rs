//! One file a subcommand.

pub mod apply;
pub mod audit;
pub mod client;
pub mod output;
pub mod team;
