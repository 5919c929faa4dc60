//! Events on record.
//!
//! Shards hand their events to an [`AuditSink`], which never waits: refusals of one kind are folded
//! into one row a second, the queue is bounded as a whole, for refusals and for each team, and what
//! finds no room is counted, which goes on record too. One [`AuditWriter`] takes
//! them in order, batches them into the database and tries again while it is away. Administrative
//! changes write their records in the transaction of the change itself ([`insert`]). `list` reads
//! them for `cofferdam audit list`.
//!
//! Two layers: what concerns one team's own members is of level `team`, everything else (teams
//! themselves, principals that span teams, logins under no known name, gaps) of level `platform`.

mod budget;
mod fold;
mod list;
mod queue;
mod record;
mod sink;
mod store;
mod writer;

pub use list::{Filter, list, parse_time, rfc3339};
pub use record::{Level, Record};
pub use sink::AuditSink;
pub use store::insert;
pub use writer::{AuditWriter, Cause, Finished, Settings, start};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
