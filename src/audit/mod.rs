//! Events on record.
//!
//! Shards hand their events to an [`AuditSink`], which never waits: refusals of one kind are folded
//! into one row a second, the ring is bounded as a whole, for refusals and for each team, and what
//! finds no room is counted, which goes on record too. The *spool's* thread writes what waits to disk
//! and syncs it; from then on it is on record. One [`AuditWriter`] takes it from there into the
//! database, in order, in batches, exactly once, and tries again while the database is away.
//! Administrative changes write their records in the transaction of the change itself ([`insert`]).
//!
//! Records are linked to *chains* (one a team, one for the platform) so that what is removed or
//! altered shows: [`verify`]. [`page`] and [`Export`] read them. `docs/decisions/audit-chain.md` has
//! the reasons, `docs/audit.md` what an operator needs.
//!
//! Two layers: what concerns one team's own members is of level `team`, everything else (teams
//! themselves, principals that span teams, logins under no known name, gaps) of level `platform`.

mod address;
mod budget;
mod carrier;
mod chain;
mod check;
mod export;
mod fold;
mod list;
mod moment;
mod pseudonym;
mod queue;
mod record;
mod regions;
mod sink;
mod spool;
mod spooler;
mod store;
mod upkeep;
mod writer;

pub use address::Range;
pub use chain::{AuditKey, AuditKeyError, Linked, PLATFORM, Problem, PublicKey, Tally};
pub use check::{ExportError, Verdict, verify, verify_export};
pub use export::{Export, Format};
pub use list::{Cursor, Filter, PAGE_MAX, Page, Scope, Way, latest, page};
pub use moment::{parse_time, rfc3339};
pub use pseudonym::{Personal, Pseudonyms};
pub use record::{Level, Record};
pub use regions::{Regions, Store};
pub use sink::{AuditSink, Kept, Spooled};
pub use spool::SpoolError;
pub use store::insert;
pub use writer::{
    AuditWriter, Cause, Finished, Settings, StartError, files_to_back_up, start, witness_of,
};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;
