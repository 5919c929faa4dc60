//! `audit verify`: the records of a database, or of an export, held against their chains.

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::address::Range;
use super::chain::{Checkpoint, Hash, Head, Linked, Problem, PublicKey, Tally, Verifier};
use super::list::linked;
use super::record::Record;
use super::store::head;
use super::upkeep::read_checkpoints;
use crate::database::{Database, DatabaseError, Transaction};
use crate::time::Time;

/// Rows that are read at a time.
const ROWS: i64 = 1_000;

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// How much was checked.
    pub tally: Tally,
    /// The first problem of each chain; none: everything is as it was written.
    pub problems: Vec<Problem>,
}

/// Why an export could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file.
    #[error("the export cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// A line that is neither a record nor a checkpoint.
    #[error("line {line} is no line of an export by `cofferdam audit export --format jsonl`")]
    Line {
        /// From 1.
        line: u64,
    },
}

/// Checks every chain of a database, against the checkpoints in it and those of `witness`, a file of
/// the broker's own, where there is one.
///
/// # Errors
/// [`DatabaseError`]; what is unreadable is no error, but the problem that is found.
pub async fn verify(
    database: &Database,
    trusted: Vec<PublicKey>,
    witness: Option<&Path>,
) -> Result<Verdict, DatabaseError> {
    // All of it as it is at one moment, whatever is written meanwhile.
    let mut transaction = database.begin_snapshot().await?;
    let heads = sqlx::query("SELECT chain, number, hash FROM audit_chain")
        .fetch_all(&mut *transaction)
        .await?;
    let mut verifier = Verifier::new(trusted);
    for checkpoint in witness
        .and_then(|path| read_checkpoints(path).ok())
        .unwrap_or_default()
    {
        verifier.checkpoint(&checkpoint);
    }
    let rows = sqlx::query("SELECT * FROM audit_checkpoint ORDER BY chain, number")
        .fetch_all(&mut *transaction)
        .await?;
    for row in &rows {
        match checkpoint(row)? {
            Ok(checkpoint) => verifier.checkpoint(&checkpoint),
            Err((chain, number)) => verifier.unreadable(&chain, number),
        }
    }
    for row in &heads {
        let name: String = row.try_get("chain")?;
        chain(&mut transaction, &mut verifier, &name).await?;
        verifier.head(&name, head(row)?);
    }
    // Records of chains that never were.
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT chain FROM audit \
         WHERE chain NOT IN (SELECT chain FROM audit_chain)",
    )
    .fetch_all(&mut *transaction)
    .await?;
    for name in names {
        chain(&mut transaction, &mut verifier, &name).await?;
        verifier.head(&name, Head::NONE);
    }
    transaction.rollback().await?;
    let (tally, problems) = verifier.finish();
    Ok(Verdict { tally, problems })
}

/// Reads a chain from its beginning to its end.
async fn chain(
    transaction: &mut Transaction,
    verifier: &mut Verifier,
    name: &str,
) -> Result<(), DatabaseError> {
    let (mut number, mut position, mut at_us) = (i64::MIN, i64::MIN, i64::MIN);
    loop {
        // Rows with the same number are one too many, and are read one after the other.
        let rows = sqlx::query(
            "SELECT * FROM audit WHERE chain = $1 \
             AND (number > $2 OR (number = $2 AND at_us > $3)) \
             ORDER BY number, at_us LIMIT $4",
        )
        .bind(name)
        .bind(number)
        .bind(at_us)
        .bind(ROWS)
        .fetch_all(&mut **transaction)
        .await?;
        for row in &rows {
            (number, at_us) = (row.try_get("number")?, row.try_get("at_us")?);
            let place: i64 = row.try_get("position")?;
            let shown = u64::try_from(number).unwrap_or(0);
            match linked(row) {
                Ok(found) => {
                    let key = found.record.remote.as_deref().and_then(Range::key_of);
                    let is_found_by = row.try_get::<Option<String>, _>("address")? == key;
                    verifier.record(found);
                    if !is_found_by {
                        verifier.unreadable(name, shown);
                    }
                }
                Err(DatabaseError::Corrupt { .. }) => verifier.unreadable(name, shown),
                Err(error) => return Err(error),
            }
            if place <= position {
                verifier.misplaced(name, shown);
            }
            position = place;
        }
        if (rows.len() as i64) < ROWS {
            return Ok(());
        }
    }
}

type Spoilt = (String, u64);

fn checkpoint(row: &AnyRow) -> Result<Result<Checkpoint, Spoilt>, DatabaseError> {
    let chain: String = row.try_get("chain")?;
    let number = u64::try_from(row.try_get::<i64, _>("number")?).unwrap_or(0);
    let (hash, signer): (String, String) = (row.try_get("hash")?, row.try_get("signer")?);
    let (Some(hash), Some(signer)) = (Hash::parse(&hash), PublicKey::parse(&signer)) else {
        return Ok(Err((chain, number)));
    };
    let at = u64::try_from(row.try_get::<i64, _>("at_us")?).unwrap_or(0);
    Ok(Ok(Checkpoint {
        chain,
        head: Head { number, hash },
        at: Time::from_micros(at),
        signer,
        signature: row.try_get("signature")?,
    }))
}

/// The checkpoints of a database, of one chain or of all: for exports.
pub(super) async fn checkpoints(
    database: &Database,
    only: Option<&str>,
) -> Result<Vec<Checkpoint>, DatabaseError> {
    let sql = match only {
        Some(_) => "SELECT * FROM audit_checkpoint WHERE chain = $1 ORDER BY chain, day",
        None => "SELECT * FROM audit_checkpoint ORDER BY chain, day",
    };
    let mut query = sqlx::query(sql);
    if let Some(chain) = only {
        query = query.bind(chain);
    }
    let mut found = Vec::new();
    for row in query.fetch_all(database.pool()).await? {
        found.extend(checkpoint(&row)?.ok());
    }
    Ok(found)
}

/// Checks an export. `is_part`: it was made with a filter, so that chains may begin anywhere.
///
/// # Errors
/// [`ExportError`].
pub fn verify_export(
    export: impl BufRead,
    trusted: Vec<PublicKey>,
    witness: Option<&Path>,
    is_part: bool,
) -> Result<Verdict, ExportError> {
    let mut verifier = Verifier::new(trusted);
    if is_part {
        verifier = verifier.of_a_part();
    }
    for checkpoint in witness
        .and_then(|path| read_checkpoints(path).ok())
        .unwrap_or_default()
    {
        verifier.checkpoint(&checkpoint);
    }
    for (line, text) in (1..).zip(export.lines()) {
        let json: Value = serde_json::from_str(&text?).map_err(|_| ExportError::Line { line })?;
        if let Some(json) = json.get("checkpoint") {
            let checkpoint = Checkpoint::from_json(json).ok_or(ExportError::Line { line })?;
            verifier.checkpoint(&checkpoint);
        } else {
            let linked = linked_from_json(&json).ok_or(ExportError::Line { line })?;
            verifier.record(linked);
        }
    }
    let (tally, problems) = verifier.finish();
    Ok(Verdict { tally, problems })
}

fn linked_from_json(json: &Value) -> Option<Linked> {
    Some(Linked {
        chain: json.get("chain")?.as_str()?.to_owned(),
        number: json.get("number")?.as_u64()?,
        hash: Hash::parse(json.get("hash")?.as_str()?)?,
        record: Record::from_json(json)?,
    })
}
