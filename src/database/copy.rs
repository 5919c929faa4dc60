//! Rows as they are, table by table: for the broker's own copy of who may log in, and for backups, which
//! may be read back into the other kind of database.

use serde_json::{Map, Value};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{Column as _, Row as _, ValueRef as _};

use super::{DatabaseError, Transaction};

/// A table, and the columns that tell its rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    key: &'static [&'static str],
}

/// What logins are judged by.
pub(crate) const ACCOUNTS: [Table; 3] = [
    table("team", &["id"]),
    table("principal", &["username"]),
    table("revision", &["one"]),
];

/// Every table, those first that others refer to.
pub(crate) const ALL: [Table; 10] = [
    ACCOUNTS[0],
    ACCOUNTS[1],
    ACCOUNTS[2],
    table("change", &["revision", "seq"]),
    table("audit", &["position"]),
    table("audit_chain", &["chain"]),
    table("audit_position", &["one"]),
    table("audit_run", &["run"]),
    table("audit_checkpoint", &["chain", "day"]),
    table("audit_reader", &["team", "name"]),
];

/// Tables that have a row from the start, which is written over.
const COUNTERS: [&str; 2] = ["revision", "audit_position"];

/// Rows that are read at a time.
const ROWS: usize = 1_000;

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key }
}

/// A table's rows in the order of its key, a thousand at a time.
#[derive(Debug)]
pub(crate) struct Rows {
    table: Table,
    last: Option<Vec<Value>>,
    is_over: bool,
}

impl Rows {
    pub(crate) fn of(table: Table) -> Self {
        Self {
            table,
            last: None,
            is_over: false,
        }
    }

    /// The next rows, each an object by column; none: that was all.
    pub(crate) async fn next(
        &mut self,
        transaction: &mut Transaction,
    ) -> Result<Vec<Map<String, Value>>, DatabaseError> {
        if self.is_over {
            return Ok(Vec::new());
        }
        let Table { name, key } = self.table;
        let columns = key.join(", ");
        let beyond = match &self.last {
            None => String::new(),
            Some(last) => {
                let places: Vec<_> = (1..=last.len()).map(|n| format!("${n}")).collect();
                format!(" WHERE ({columns}) > ({})", places.join(", "))
            }
        };
        let sql = format!("SELECT * FROM {name}{beyond} ORDER BY {columns} LIMIT {ROWS}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for value in self.last.iter().flatten() {
            query = match value {
                Value::Number(number) => query.bind(number.as_i64()),
                other => query.bind(other.as_str().map(str::to_owned)),
            };
        }
        let rows = query.fetch_all(&mut **transaction).await?;
        self.is_over = rows.len() < ROWS;
        let rows = rows.iter().map(object).collect::<Result<Vec<_>, _>>()?;
        if let Some(row) = rows.last() {
            let value = |column: &&str| row.get(*column).cloned().unwrap_or(Value::Null);
            self.last = Some(key.iter().map(value).collect());
        }
        Ok(rows)
    }
}

fn object(row: &AnyRow) -> Result<Map<String, Value>, DatabaseError> {
    let mut object = Map::new();
    for (place, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(place)?;
        let value = if raw.is_null() {
            Value::Null
        } else {
            match raw.type_info().kind() {
                AnyTypeInfoKind::Text => row.try_get::<String, _>(place)?.into(),
                _ => row.try_get::<i64, _>(place)?.into(),
            }
        };
        object.insert(column.name().to_owned(), value);
    }
    Ok(object)
}

/// Removes every row of a table.
pub(crate) async fn clear(transaction: &mut Transaction, table: Table) -> Result<(), sqlx::Error> {
    let sql = format!("DELETE FROM {}", table.name);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql));
    query.execute(&mut **transaction).await.map(drop)
}

/// Whether a table has rows that somebody put there.
pub(crate) async fn is_used(
    transaction: &mut Transaction,
    table: Table,
) -> Result<bool, sqlx::Error> {
    if COUNTERS.contains(&table.name) {
        return Ok(false);
    }
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS one",
        table.name
    );
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(&mut **transaction)
        .await?;
    Ok(count > 0)
}

/// Writes rows as [`Rows`] gave them. Columns that the table does not have are an error, and those that
/// the rows do not have get their default.
pub(crate) async fn write(
    transaction: &mut Transaction,
    table: Table,
    rows: &[Map<String, Value>],
) -> Result<(), DatabaseError> {
    for row in rows {
        // Names come from the schema or from a file: nothing but a name is put into the statement.
        let is_name = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if let Some(other) = row.keys().find(|name| name.is_empty() || !is_name(name)) {
            return Err(DatabaseError::Corrupt {
                what: format!("{other:?} as the name of a column of {}", table.name),
            });
        }
        let columns: Vec<_> = row.keys().map(String::as_str).collect();
        let places: Vec<_> = row
            .values()
            .enumerate()
            .map(|(at, value)| match value {
                Value::Null => "NULL".to_owned(),
                _ => format!("${}", at + 1 - nulls_before(row, at)),
            })
            .collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            columns.join(", "),
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for value in row.values() {
            query = match value {
                Value::Null => query,
                Value::Number(number) => query.bind(number.as_i64()),
                Value::String(text) => query.bind(text.clone()),
                other => {
                    return Err(DatabaseError::Corrupt {
                        what: format!("{other} in a row of {}", table.name),
                    });
                }
            };
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Statements have no place for what is NULL: its type is nobody's to say.
fn nulls_before(row: &Map<String, Value>, at: usize) -> usize {
    row.values()
        .take(at)
        .filter(|value| value.is_null())
        .count()
}
