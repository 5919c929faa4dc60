//! A backup of the whole database as text, and its way back: into an empty database of either kind.
//!
//! One JSON object a line: a head, then the rows of every table, then an end with their count. Taken in
//! one transaction that sees one moment, and read back in one, so that nobody ever sees a part.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

use super::copy::{self, ALL, Rows, Table};
use super::{Database, DatabaseError, MIGRATIONS};

/// The form of the file.
const FORMAT: u64 = 1;
/// Rows that are written back at a time.
const ROWS: usize = 500;

/// Why a backup could not be taken or read back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file.
    #[error("the backup cannot be read or written: {0}")]
    File(#[from] std::io::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A line that is none of a backup's.
    #[error("line {line} is no line of a backup: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// What about it.
        why: String,
    },
    /// The file ends before its end.
    #[error("the backup is not whole: it has {rows} rows and no end")]
    Torn {
        /// That were read.
        rows: u64,
    },
    /// It was taken by a newer cofferdam.
    #[error("the backup is of a newer cofferdam (tables {theirs}, ours are {ours}): use that one")]
    Newer {
        /// Its last migration.
        theirs: i64,
        /// Our last migration.
        ours: i64,
    },
    /// The database has rows already.
    #[error(
        "the database is in use: its table {table} has rows; restore into an empty one, and set \
         [database] url to it"
    )]
    NotEmpty {
        /// Which.
        table: &'static str,
    },
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

fn version() -> i64 {
    MIGRATIONS.iter().map(|it| it.version).max().unwrap_or(0)
}

impl Database {
    /// Writes everything. Returns the number of rows. The broker may run meanwhile.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn back_up(&self, to: &mut impl Write) -> Result<u64, BackupError> {
        let mut transaction = self.begin_snapshot().await?;
        writeln!(
            to,
            "{}",
            json!({ "cofferdam_backup": FORMAT, "tables": version() })
        )?;
        let mut count = 0;
        for table in ALL {
            let mut rows = Rows::of(table);
            loop {
                let some = rows.next(&mut transaction).await?;
                if some.is_empty() {
                    break;
                }
                count += some.len() as u64;
                for row in some {
                    writeln!(to, "{}", json!({ "table": table.name, "row": row }))?;
                }
            }
        }
        transaction.rollback().await?;
        writeln!(to, "{}", json!({ "end": count }))?;
        to.flush()?;
        Ok(count)
    }

    /// Reads a backup into this database, which must be empty. Returns the number of rows.
    ///
    /// # Errors
    /// [`BackupError`]; then nothing is changed.
    pub async fn restore(&self, from: impl BufRead) -> Result<u64, BackupError> {
        let mut transaction = self.begin_administration().await?;
        for table in ALL {
            if copy::is_used(&mut transaction, table).await? {
                return Err(BackupError::NotEmpty { table: table.name });
            }
            copy::clear(&mut transaction, table).await?;
        }
        let (mut count, mut pending, mut of) = (0_u64, Vec::new(), ALL[0]);
        for (line, text) in (1..).zip(from.lines()) {
            let wrong = |why: &str| BackupError::Line {
                line,
                why: why.to_owned(),
            };
            let json: Value = serde_json::from_str(&text?).map_err(|_| wrong("no JSON"))?;
            if line == 1 {
                check_head(&json).map_err(|why| why.unwrap_or_else(|| wrong("no head")))?;
                continue;
            }
            if let Some(end) = json.get("end") {
                copy::write(&mut transaction, of, &pending).await?;
                if end.as_u64() != Some(count) {
                    return Err(wrong("another number of rows was written"));
                }
                transaction.commit().await?;
                return Ok(count);
            }
            let (table, row) = row(json).ok_or_else(|| wrong("no row of a table"))?;
            if table != of || pending.len() >= ROWS {
                copy::write(&mut transaction, of, &pending).await?;
                pending.clear();
                of = table;
            }
            pending.push(row);
            count += 1;
        }
        Err(BackupError::Torn { rows: count })
    }
}

/// `Err(None)`: no head at all.
fn check_head(json: &Value) -> Result<(), Option<BackupError>> {
    if json.get("cofferdam_backup").and_then(Value::as_u64) != Some(FORMAT) {
        return Err(None);
    }
    let (theirs, ours) = (json.get("tables").and_then(Value::as_i64), version());
    match theirs {
        Some(theirs) if theirs > ours => Err(Some(BackupError::Newer { theirs, ours })),
        Some(_) => Ok(()),
        None => Err(None),
    }
}

fn row(mut json: Value) -> Option<(Table, serde_json::Map<String, Value>)> {
    let name = json.get("table")?.as_str()?;
    let table = ALL.into_iter().find(|table| table.name == name)?;
    match json.get_mut("row")?.take() {
        Value::Object(row) => Some((table, row)),
        _ => None,
    }
}
