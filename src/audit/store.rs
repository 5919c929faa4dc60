//! Records into the database.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use sqlx::Row as _;

use super::record::{Level, Record};
use crate::database::Transaction;

/// Rows of one INSERT. The statement is prepared once for each number of rows; both databases take
/// far more parameters than this asks for.
const ROWS: usize = 100;
const COLUMNS: usize = 11;

/// Counts the records of one writer. The key of a record is fixed before it is sent, so that
/// sending it twice keeps it once.
#[derive(Debug)]
pub(super) struct Numbering {
    run: i64,
    next: i64,
}

/// A record with its key.
#[derive(Debug)]
pub(super) struct Numbered {
    run: i64,
    seq: i64,
    pub(super) record: Record,
}

impl Numbering {
    /// A run of its own, at random: 63 bits among the few runs that a database sees.
    pub(super) fn new() -> Result<Self, sqlx::Error> {
        let bits = getrandom::u64().map_err(|error| sqlx::Error::Io(error.into()))?;
        Ok(Self {
            run: i64::try_from(bits >> 1).unwrap_or_default(),
            next: 0,
        })
    }

    pub(super) fn number(&mut self, record: Record) -> Numbered {
        let seq = self.next;
        self.next += 1;
        Numbered {
            run: self.run,
            seq,
            record,
        }
    }
}

/// Writes records within the transaction of the change that they tell of.
///
/// # Errors
/// What sqlx has to say.
pub async fn insert(
    transaction: &mut Transaction,
    records: Vec<Record>,
) -> Result<(), sqlx::Error> {
    let mut numbering = Numbering::new()?;
    let numbered: Vec<_> = records.into_iter().map(|it| numbering.number(it)).collect();
    insert_numbered(transaction, &numbered).await
}

/// Writes records; those that are there already stay as they are.
pub(super) async fn insert_numbered(
    transaction: &mut Transaction,
    records: &[Numbered],
) -> Result<(), sqlx::Error> {
    for rows in records.chunks(ROWS) {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement(rows.len())));
        for Numbered { run, seq, record } in rows {
            query = query
                .bind(*run)
                .bind(*seq)
                .bind(i64::try_from(record.at.as_micros()).unwrap_or(i64::MAX))
                .bind(record.level.as_str())
                .bind(record.team.as_deref())
                .bind(&record.event)
                .bind(record.actor.as_deref())
                .bind(record.client_id.as_deref())
                .bind(record.remote.as_deref())
                .bind(record.listener.as_deref())
                .bind(serde_json::Value::from(record.detail.clone()).to_string());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

fn statement(rows: usize) -> String {
    let mut sql = String::from(
        "INSERT INTO audit (run, seq, at_us, level, team, event, actor, client_id, remote, \
         listener, detail) VALUES ",
    );
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=COLUMNS {
            let comma = if column == COLUMNS { ")" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(sql, "${}{comma}", row * COLUMNS + column);
        }
    }
    sql.push_str(" ON CONFLICT (run, seq) DO NOTHING");
    sql
}

/// Puts refused logins under the team that their username belongs to. The broker does not know it
/// (it was not told who would have come in); the team's own people want to see it.
pub(super) async fn find_teams(
    transaction: &mut Transaction,
    records: &mut [Numbered],
) -> Result<(), sqlx::Error> {
    let homeless = |record: &Record| record.team.is_none() && record.event == "connect_refused";
    let names: HashSet<String> = records
        .iter()
        .filter(|it| homeless(&it.record))
        .filter_map(|it| it.record.actor.clone())
        .collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut teams: HashMap<String, String> = HashMap::new();
    for names in names.chunks(ROWS) {
        let places: Vec<_> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT username, team FROM principal WHERE team IS NOT NULL AND username IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for name in names {
            query = query.bind(name);
        }
        for row in query.fetch_all(&mut **transaction).await? {
            teams.insert(row.try_get("username")?, row.try_get("team")?);
        }
    }
    for Numbered { record, .. } in records.iter_mut().filter(|it| homeless(&it.record)) {
        let team = record.actor.as_ref().and_then(|actor| teams.get(actor));
        if let Some(team) = team {
            record.team = Some(team.clone());
            record.level = Level::Team;
        }
    }
    Ok(())
}
