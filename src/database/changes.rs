//! The log of changes that a running broker must act on.
//!
//! `provision` writes it in the transaction of each change; `identity` reads it on. Revisions are
//! made one at a time, so a reader that remembers where it was misses nothing: not while the database
//! was away, and not what was committed out of order, for nothing is. Only what is very old is
//! deleted, and a reader that was away for that long is told so.

use sqlx::Row as _;

use super::{Database, DatabaseError, Transaction};
use crate::broker::ChangeKind;
use crate::time::{Span, Time};

/// How long a broker may be cut off from the database and still learn of every change.
pub const KEPT: Span = Span::from_secs(7 * 24 * 60 * 60);

/// Most changes that are read at a time.
const READ_AT_ONCE: i64 = 1000;

/// Whom a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concerned {
    /// What was changed.
    pub kind: ChangeKind,
    /// The team; `None` for principals that span teams.
    pub team: Option<String>,
    /// The principal; `None`: the whole team.
    pub username: Option<String>,
}

/// Where a reader is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The revision that was read last.
    pub revision: i64,
    /// What was read last of it; [`i64::MAX`]: all.
    seq: i64,
}

/// What a reader finds.
#[derive(Debug)]
pub enum News {
    /// Nothing since.
    None,
    /// These changes, each with its revision; and where to go on. There may be more.
    Changes(Vec<(i64, Concerned)>, Place),
    /// Changes have been missed: what was known is not to be relied upon. Go on here.
    Missed(Place),
}

impl Place {
    const fn behind(revision: i64) -> Self {
        let seq = i64::MAX;
        Self { revision, seq }
    }

    /// The end of the log, as it is now.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn end(database: &Database) -> Result<Self, DatabaseError> {
        let revision = sqlx::query_scalar("SELECT value FROM revision")
            .fetch_one(database.pool())
            .await?;
        Ok(Self::behind(revision))
    }

    /// What stands in the log behind this place.
    ///
    /// # Errors
    /// [`DatabaseError`]; the place is still good then.
    pub async fn news(self, database: &Database) -> Result<News, DatabaseError> {
        let row = sqlx::query("SELECT value, pruned FROM revision")
            .fetch_one(database.pool())
            .await?;
        let (end, pruned): (i64, i64) = (row.try_get("value")?, row.try_get("pruned")?);
        if self == Self::behind(end) {
            return Ok(News::None);
        }
        // A smaller revision than before: an older copy of the database was put in place.
        let is_whole = self == Self::behind(self.revision);
        let missed = pruned > self.revision || pruned == self.revision && !is_whole;
        if missed || end < self.revision {
            return Ok(News::Missed(Self::behind(end)));
        }
        let rows = sqlx::query(
            "SELECT revision, seq, what, team, username FROM change \
             WHERE revision > $1 OR (revision = $1 AND seq > $2) \
             ORDER BY revision, seq LIMIT $3",
        )
        .bind(self.revision)
        .bind(self.seq)
        .bind(READ_AT_ONCE)
        .fetch_all(database.pool())
        .await?;
        let mut found = Vec::with_capacity(rows.len());
        let mut place = self;
        for row in &rows {
            let (revision, seq) = (row.try_get("revision")?, row.try_get("seq")?);
            place = Self { revision, seq };
            let what: String = row.try_get("what")?;
            let concerned = Concerned {
                // A newer cofferdam's word: whatever it is about, who it is about logs in again.
                kind: ChangeKind::from_word(&what).unwrap_or(ChangeKind::Unknown),
                team: row.try_get("team")?,
                username: row.try_get("username")?,
            };
            found.push((revision, concerned));
        }
        if (found.len() as i64) < READ_AT_ONCE {
            // Rows that came since `end` was read are newer than it.
            place = place.max(Self::behind(end));
        }
        Ok(News::Changes(found, place))
    }
}

impl Database {
    /// Makes a new revision that concerns these, within the transaction of the change: brokers that
    /// keep teams or principals in memory read on. Returns its number.
    pub(crate) async fn bump_revision(
        transaction: &mut Transaction,
        concerned: &[Concerned],
        now: Time,
    ) -> Result<i64, sqlx::Error> {
        let revision: i64 =
            sqlx::query_scalar("UPDATE revision SET value = value + 1 RETURNING value")
                .fetch_one(&mut **transaction)
                .await?;
        let at_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        for (seq, concerned) in (0_i64..).zip(concerned) {
            sqlx::query(
                "INSERT INTO change (revision, seq, what, team, username, at_us) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(revision)
            .bind(seq)
            .bind(concerned.kind.as_str())
            .bind(&concerned.team)
            .bind(&concerned.username)
            .bind(at_us)
            .execute(&mut **transaction)
            .await?;
        }
        let kept_us = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        prune(transaction, at_us.saturating_sub(kept_us)).await?;
        Ok(revision)
    }
}

/// Deletes what is older, and notes that it did.
async fn prune(transaction: &mut Transaction, before_us: i64) -> Result<(), sqlx::Error> {
    // The first row is the oldest: it is all that is looked at where nothing is old enough.
    let oldest: Option<i64> =
        sqlx::query_scalar("SELECT at_us FROM change ORDER BY revision, seq LIMIT 1")
            .fetch_optional(&mut **transaction)
            .await?;
    if oldest.is_none_or(|oldest| oldest >= before_us) {
        return Ok(());
    }
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(revision) FROM change WHERE at_us < $1")
        .bind(before_us)
        .fetch_one(&mut **transaction)
        .await?;
    let Some(last) = last else { return Ok(()) };
    for sql in [
        "DELETE FROM change WHERE revision <= $1",
        "UPDATE revision SET pruned = $1",
    ] {
        sqlx::query(sql)
            .bind(last)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
