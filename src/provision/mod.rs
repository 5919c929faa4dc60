//! Teams and their members made, changed and removed: what stands behind `cofferdam apply`,
//! `team`, `client` and the first start.
//!
//! Every operation is one transaction that holds the change, its audit records and the new
//! revision: all of it happens or nothing. No two of them run at once on one database.
//!
//! `apply` **declares**: what a file names is made or changed to be as the file says, and what it
//! does not name stays as it is; nothing is ever removed by `apply` (that is what `team remove` and
//! `client revoke` are for). What a file leaves out of an entry counts as said: no password means
//! that nobody can log in, no `acl` that nothing is allowed, no `owner` that there is none. An
//! instance or device is one thing by its id: declared in another team, it moves there, and its old
//! username is gone.

mod apply;
mod change;
mod clients;
mod document;
mod first_start;
mod member;
mod names;
mod readers;
mod teams;

use crate::config::{ConfigErrors, Plans, UnknownPlan};
use crate::database::{Concerned, Database, DatabaseError, Transaction};
use crate::identity::{SecretError, Secrets};
use crate::policy::Policy;
use crate::time::Time;

pub use apply::Applied;
pub use change::{Change, Verb};
pub use clients::ClientEntry;
pub use first_start::{DemoClient, FirstStart};
pub use names::NameError;
pub use readers::Reader;
pub use teams::TeamEntry;

/// Who changes what, with all that it takes. Made for one command.
#[derive(Clone, Copy, Debug)]
pub struct Provisioner<'a> {
    /// Where.
    pub database: &'a Database,
    /// Hashes new secrets.
    pub secrets: &'a Secrets,
    /// Says which names can be: a username that no role takes is refused.
    pub policy: &'a Policy,
    /// Those that a team can refer to.
    pub plans: &'a Plans,
    /// Who: stands on record.
    pub actor: &'a str,
    /// When.
    pub now: Time,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The file of `apply`.
    #[error("{0}\nnothing was changed")]
    File(#[from] ConfigErrors),
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A plan that the configuration does not have.
    #[error(transparent)]
    Plan(#[from] UnknownPlan),
    /// It is there already.
    #[error("{what} {name} exists already{}", hint(.what))]
    Exists {
        /// `team` or `client`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It is not there.
    #[error("there is no {what} {name}; `cofferdam {what} list` shows what there is")]
    Missing {
        /// `team` or `client`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A pattern of a client that is no filter.
    #[error("{text:?} is no pattern: {why}")]
    Pattern {
        /// As given.
        text: String,
        /// Why.
        why: String,
    },
    /// A reader of a team's audit that there is not.
    #[error("team {team} has no reader {name}; `cofferdam audit reader list` shows what there is")]
    NoReader {
        /// Whose.
        team: String,
        /// Its name.
        name: String,
    },
    /// A name of a reader that cannot be.
    #[error("a reader's name has 1 to 128 bytes and no control characters")]
    ReaderName,
    /// A secret that cannot be stored.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for ProvisionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Reads a file of `cofferdam apply` without applying it: what is said here needs no database.
///
/// # Errors
/// Every problem that was found; see [`ConfigErrors`].
pub fn check(
    file: &str,
    text: &str,
    policy: &Policy,
    plans: &Plans,
    secrets: &Secrets,
) -> Result<(), ConfigErrors> {
    document::Document::parse(file, text, policy, plans, secrets).map(drop)
}

fn hint(what: &str) -> &'static str {
    match what {
        "client" => "; `cofferdam client rotate` gives it a new password",
        _ => "",
    }
}

impl Provisioner<'_> {
    /// Writes the records of the changes, and for running brokers whom they concern, and ends the
    /// transaction; without changes nothing is written at all.
    async fn commit(
        &self,
        transaction: Transaction,
        changes: &[Change],
        via: &str,
    ) -> Result<(), ProvisionError> {
        let concerned: Vec<_> = changes.iter().flat_map(Change::concerned).collect();
        self.commit_with(transaction, changes, &concerned, via)
            .await
    }

    async fn commit_with(
        &self,
        mut transaction: Transaction,
        changes: &[Change],
        concerned: &[Concerned],
        via: &str,
    ) -> Result<(), ProvisionError> {
        if changes.is_empty() {
            transaction.rollback().await?;
            return Ok(());
        }
        let revision = Database::bump_revision(&mut transaction, concerned, self.now).await?;
        let records = changes
            .iter()
            .map(|change| change.record(self.now, self.actor, via, revision))
            .collect();
        crate::audit::insert(&mut transaction, records).await?;
        Ok(transaction.commit().await?)
    }

    fn now_us(&self) -> i64 {
        i64::try_from(self.now.as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests;
