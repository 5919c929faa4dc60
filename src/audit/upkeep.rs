//! What the writer does to its database at intervals: signs the heads of chains, removes what is older
//! than is to be kept, and links what was on record before there were chains.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sqlx::Row as _;

use super::chain::{AuditKey, Checkpoint, Head, PLATFORM, Trim};
use super::list::record_of;
use super::record::Record;
use super::store::{self, claim, head};
use crate::database::{Database, DatabaseError};
use crate::time::{Span, Time};

/// Chains that are signed in one transaction.
const SIGNED_AT_ONCE: i64 = 500;
/// Old records that are linked in one transaction.
const LINKED_AT_ONCE: i64 = 1_000;
/// Microseconds of a day.
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

/// The last checkpoint of each chain, in a file of the broker's own.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    last: BTreeMap<String, Checkpoint>,
}

impl Witness {
    /// Reads the file. What is not there or cannot be read is begun anew.
    pub(super) fn open(path: PathBuf) -> Self {
        let last = read_checkpoints(&path).unwrap_or_default();
        let last = last.into_iter().map(|it| (it.chain.clone(), it)).collect();
        Self { path, last }
    }

    fn keep(&mut self, checkpoints: Vec<Checkpoint>) -> std::io::Result<()> {
        for checkpoint in checkpoints {
            self.last.insert(checkpoint.chain.clone(), checkpoint);
        }
        let draft = draft_of(&self.path);
        let mut file = fs::File::create(&draft)?;
        let mut text = String::new();
        for checkpoint in self.last.values() {
            text.push_str(&checkpoint.to_json().to_string());
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(draft, &self.path)
    }
}

/// Where a file is written before it takes its place. Each has its own: the stores of a broker sign at
/// the same time.
fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    PathBuf::from(name)
}

/// The checkpoints in a file, one a line.
///
/// # Errors
/// The file.
pub fn read_checkpoints(path: &Path) -> std::io::Result<Vec<Checkpoint>> {
    let text = fs::read_to_string(path)?;
    let parsed = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter_map(|json| Checkpoint::from_json(&json));
    Ok(parsed.collect())
}

/// Signs the head of every chain that has grown since its last checkpoint. Returns how many.
pub(super) async fn sign_heads(
    database: &Database,
    key: &AuditKey,
    witness: &mut Witness,
    now: Time,
) -> Result<usize, DatabaseError> {
    let mut signed = 0;
    loop {
        let mut transaction = database.begin().await?;
        claim(&mut transaction, 0).await?;
        let rows = sqlx::query(
            "SELECT chain, number, hash FROM audit_chain WHERE number > signed \
             ORDER BY chain LIMIT $1",
        )
        .bind(SIGNED_AT_ONCE)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            return Ok(signed);
        }
        let mut checkpoints = Vec::with_capacity(rows.len());
        for row in &rows {
            let chain: String = row.try_get("chain")?;
            let checkpoint = Checkpoint::sign(key, &chain, head(row)?, now);
            write(&mut transaction, &checkpoint).await?;
            checkpoints.push(checkpoint);
        }
        transaction.commit().await?;
        signed += checkpoints.len();
        for it in &checkpoints {
            tracing::debug!(chain = it.chain, number = it.head.number, hash = %it.head.hash,
                signature = it.signature, "checkpoint");
        }
        if let Err(error) = witness.keep(checkpoints) {
            tracing::warn!(%error, "the broker's own copy of the last checkpoints is old");
        }
    }
}

async fn write(
    transaction: &mut crate::database::Transaction,
    checkpoint: &Checkpoint,
) -> Result<(), sqlx::Error> {
    let at_us = checkpoint.at.as_micros();
    let number = i64::try_from(checkpoint.head.number).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO audit_checkpoint (chain, day, number, hash, at_us, signer, signature) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (chain, day) DO UPDATE SET \
         number = excluded.number, hash = excluded.hash, at_us = excluded.at_us, \
         signer = excluded.signer, signature = excluded.signature",
    )
    .bind(&checkpoint.chain)
    .bind(i64::try_from(at_us / DAY_US).unwrap_or(i64::MAX))
    .bind(number)
    .bind(checkpoint.head.hash.to_string())
    .bind(i64::try_from(at_us).unwrap_or(i64::MAX))
    .bind(checkpoint.signer.to_string())
    .bind(&checkpoint.signature)
    .execute(&mut **transaction)
    .await?;
    sqlx::query("UPDATE audit_chain SET signed = $1 WHERE chain = $2")
        .bind(number)
        .bind(&checkpoint.chain)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Removes what is older than `kept`, chain by chain from its beginning on, and leaves a signed record
/// of it in each. The last record of a chain stays. Returns how many were removed.
pub(super) async fn remove_old(
    database: &Database,
    key: &AuditKey,
    kept: Span,
    now: Time,
) -> Result<u64, DatabaseError> {
    let before = now.as_micros().saturating_sub(kept.as_micros());
    let before_us = i64::try_from(before).unwrap_or(i64::MAX);
    let chains: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT chain FROM audit WHERE at_us < $1")
            .bind(before_us)
            .fetch_all(database.pool())
            .await?;
    let mut removed = 0;
    for chain in &chains {
        removed += trim(database, key, chain, before_us, now).await?;
    }
    database.drop_old_parts(before_us).await?;
    Ok(removed)
}

async fn trim(
    database: &Database,
    key: &AuditKey,
    chain: &str,
    before_us: i64,
    now: Time,
) -> Result<u64, DatabaseError> {
    let mut transaction = database.begin().await?;
    claim(&mut transaction, 0).await?;
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(number) FROM audit WHERE chain = $1")
        .bind(chain)
        .fetch_one(&mut *transaction)
        .await?;
    // Times of one chain may stand out of order; what stands behind something young stays.
    let young: Option<i64> =
        sqlx::query_scalar("SELECT MIN(number) FROM audit WHERE chain = $1 AND at_us >= $2")
            .bind(chain)
            .bind(before_us)
            .fetch_one(&mut *transaction)
            .await?;
    let Some(keep) = young.or(last) else {
        return Ok(0);
    };
    let row = sqlx::query("SELECT number, hash FROM audit WHERE chain = $1 AND number = $2")
        .bind(chain)
        .bind(keep - 1)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(upto) = row.as_ref().map(head).transpose()? else {
        return Ok(0);
    };
    let removed = sqlx::query("DELETE FROM audit WHERE chain = $1 AND number < $2")
        .bind(chain)
        .bind(keep)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    sqlx::query("DELETE FROM audit_checkpoint WHERE chain = $1 AND number < $2")
        .bind(chain)
        .bind(keep)
        .execute(&mut *transaction)
        .await?;
    let record = retention_record(key, chain, upto, removed, now);
    store::insert(&mut transaction, vec![record]).await?;
    transaction.commit().await?;
    Ok(removed)
}

fn retention_record(key: &AuditKey, chain: &str, upto: Head, removed: u64, now: Time) -> Record {
    let team = (chain != PLATFORM).then_some(chain);
    let detail = Trim::sign(key, chain, upto).to_detail(removed);
    let mut record = Record::administration(now, Trim::EVENT, team, "cofferdam", detail);
    record.actor = None;
    record
}

/// Links what was on record before there were chains, oldest first, and removes the old table.
pub(super) async fn link_old(database: &Database) -> Result<(), DatabaseError> {
    loop {
        let mut transaction = database.begin_administration().await?;
        if !database
            .has_table(&mut transaction, "audit_unlinked")
            .await?
        {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT run, seq, at_us, level, team, event, actor, client_id, remote, listener, \
             detail FROM audit_unlinked ORDER BY at_us, run, seq LIMIT $1",
        )
        .bind(LINKED_AT_ONCE)
        .fetch_all(&mut *transaction)
        .await?;
        if rows.is_empty() {
            sqlx::query("DROP TABLE audit_unlinked")
                .execute(&mut *transaction)
                .await?;
            return Ok(transaction.commit().await?);
        }
        let records = rows.iter().map(record_of).collect::<Result<Vec<_>, _>>()?;
        store::insert(&mut transaction, records).await?;
        for row in &rows {
            sqlx::query("DELETE FROM audit_unlinked WHERE run = $1 AND seq = $2")
                .bind(row.try_get::<i64, _>("run")?)
                .bind(row.try_get::<i64, _>("seq")?)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::draft_of;
    use crate::audit::witness_of;
    use std::collections::HashSet;

    #[test]
    fn what_each_store_signs_is_drafted_in_a_file_of_its_own() {
        let data = std::path::Path::new("data");
        let stores = [None, Some("eu"), Some("us"), Some("draft")];
        let files: HashSet<_> = stores
            .into_iter()
            .map(|region| witness_of(data, region))
            .flat_map(|path| [draft_of(&path), path])
            .collect();
        assert_eq!(files.len(), 2 * stores.len());
    }
}
