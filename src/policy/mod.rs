//! Roles and rules as data; from them, the grant of one connection.
//!
//! A policy is read from TOML (`config/policy/flowfuse.toml` is the built-in one), checked and
//! compiled once. At CONNECT it is instantiated for one principal: the [`Grant`] then decides every
//! publish and subscribe of that connection without I/O. All decisions are made on full topic
//! names, mount included. Called by `identity` (which makes principals and asks for grants) and
//! `broker` (which asks grants).

mod grant;
mod principal;

pub use grant::{Decision, Grant, Ruling};
pub use principal::{Pattern, PatternAction, Principal, TeamId};
