//! Records into the database: the one door through which every record comes, be it from the spool or
//! from an administrative change. What comes through is linked to its chain.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use sqlx::Row as _;

use super::address::Range;
use super::chain::{Hash, Head, chain_of};
use super::pseudonym::Pseudonyms;
use super::record::{Level, Record};
use crate::database::{Database, Transaction};

/// Rows of one statement of few columns; both databases take far more parameters than this asks for.
const ROWS: usize = 100;
/// Records of one INSERT. The statement is prepared once for each number of them, and to bind its
/// parameters takes SQLite's driver time by the square of their number: with 100 records half of a
/// storm's cost was that.
const RECORDS: usize = 16;
const COLUMNS: [&str; 14] = [
    "position",
    "chain",
    "number",
    "hash",
    "at_us",
    "level",
    "team",
    "event",
    "actor",
    "client_id",
    "remote",
    "address",
    "listener",
    "detail",
];

/// A record out of the spool, with its key there.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) run: i64,
    pub(super) number: i64,
    pub(super) record: Record,
    /// It belongs here, and not to another region.
    pub(super) is_ours: bool,
}

/// Writes records within the transaction of the change that they tell of. From here until it ends
/// no other writer puts anything on record, so it should end soon.
///
/// # Errors
/// What sqlx has to say.
pub async fn insert(
    transaction: &mut Transaction,
    records: Vec<Record>,
) -> Result<(), sqlx::Error> {
    let records: Vec<_> = records.iter().collect();
    let first = claim(transaction, records.len()).await?;
    link(transaction, first, &records).await
}

/// Writes what of `spooled` is not there yet, and how far each run is taken now. Sent twice, it is
/// written once. Returns how many records of each run were new.
pub(super) async fn take(
    transaction: &mut Transaction,
    spooled: &[Keyed],
) -> Result<HashMap<i64, u64>, sqlx::Error> {
    let first = claim(transaction, spooled.len()).await?;
    let mut taken: HashMap<i64, i64> = HashMap::new();
    for run in spooled.iter().map(|it| it.run).collect::<HashSet<_>>() {
        let known: Option<i64> = sqlx::query_scalar("SELECT taken FROM audit_run WHERE run = $1")
            .bind(run)
            .fetch_optional(&mut **transaction)
            .await?;
        taken.insert(run, known.unwrap_or(-1));
    }
    let mut fresh = Vec::with_capacity(spooled.len());
    let mut counts = HashMap::new();
    for keyed in spooled {
        let taken = taken.entry(keyed.run).or_insert(-1);
        if keyed.number > *taken {
            *taken = keyed.number;
            if keyed.is_ours {
                *counts.entry(keyed.run).or_default() += 1;
                fresh.push(&keyed.record);
            }
        }
    }
    link(transaction, first, &fresh).await?;
    for (run, taken) in taken {
        sqlx::query(
            "INSERT INTO audit_run (run, taken) VALUES ($1, $2) \
             ON CONFLICT (run) DO UPDATE SET taken = excluded.taken",
        )
        .bind(run)
        .bind(taken)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(counts)
}

/// Waits until no other writer is under way, and returns the first of so many positions.
pub(super) async fn claim(transaction: &mut Transaction, count: usize) -> Result<i64, sqlx::Error> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 =
        sqlx::query_scalar("UPDATE audit_position SET value = value + $1 RETURNING value")
            .bind(count)
            .fetch_one(&mut **transaction)
            .await?;
    Ok(last - count + 1)
}

/// Links records to their chains and writes them. The writers' turn is the caller's.
async fn link(
    transaction: &mut Transaction,
    first: i64,
    records: &[&Record],
) -> Result<(), sqlx::Error> {
    let chains: HashSet<&str> = records.iter().map(|record| chain_of(record)).collect();
    let chains: Vec<_> = chains.into_iter().collect();
    let mut heads = heads(transaction, &chains).await?;
    let mut position = first;
    for rows in records.chunks(RECORDS) {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(insertion(rows.len())));
        for record in rows {
            let chain = chain_of(record);
            let head = heads.entry(chain.to_owned()).or_insert(Head::NONE);
            *head = head.follow(chain, record);
            query = query
                .bind(position)
                .bind(chain)
                .bind(i64::try_from(head.number).unwrap_or(i64::MAX))
                .bind(head.hash.to_string())
                .bind(i64::try_from(record.at.as_micros()).unwrap_or(i64::MAX))
                .bind(record.level.as_str())
                .bind(record.team.as_deref())
                .bind(&record.event)
                .bind(record.actor.as_deref())
                .bind(record.client_id.as_deref())
                .bind(record.remote.as_deref())
                .bind(record.remote.as_deref().and_then(Range::key_of))
                .bind(record.listener.as_deref())
                .bind(record.detail_text());
            position += 1;
        }
        query.execute(&mut **transaction).await?;
    }
    let heads: Vec<_> = heads.iter().collect();
    for heads in heads.chunks(ROWS) {
        let places: Vec<_> = (0..heads.len())
            .map(|at| format!("(${}, ${}, ${})", 3 * at + 1, 3 * at + 2, 3 * at + 3))
            .collect();
        let sql = format!(
            "INSERT INTO audit_chain (chain, number, hash) VALUES {} ON CONFLICT (chain) \
             DO UPDATE SET number = excluded.number, hash = excluded.hash",
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for (chain, head) in heads {
            query = query
                .bind(chain.as_str())
                .bind(i64::try_from(head.number).unwrap_or(i64::MAX))
                .bind(head.hash.to_string());
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Where these chains end.
pub(super) async fn heads(
    transaction: &mut Transaction,
    chains: &[&str],
) -> Result<BTreeMap<String, Head>, sqlx::Error> {
    let mut heads = BTreeMap::new();
    for chains in chains.chunks(ROWS) {
        let places: Vec<_> = (1..=chains.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT chain, number, hash FROM audit_chain WHERE chain IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for chain in chains {
            query = query.bind(*chain);
        }
        for row in query.fetch_all(&mut **transaction).await? {
            heads.insert(row.try_get("chain")?, head(&row)?);
        }
    }
    Ok(heads)
}

/// Number and hash of a row.
pub(super) fn head(row: &sqlx::any::AnyRow) -> Result<Head, sqlx::Error> {
    let (number, hash): (i64, String) = (row.try_get("number")?, row.try_get("hash")?);
    Ok(Head {
        number: u64::try_from(number).unwrap_or(0),
        // A head that somebody spoilt: what follows it does not fit, and verifying says so.
        hash: Hash::parse(&hash).unwrap_or(Hash::NONE),
    })
}

fn insertion(rows: usize) -> String {
    let mut sql = format!("INSERT INTO audit ({}) VALUES ", COLUMNS.join(", "));
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=COLUMNS.len() {
            let comma = if column == COLUMNS.len() { ")" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(sql, "${}{comma}", row * COLUMNS.len() + column);
        }
    }
    sql
}

/// Puts refused logins under the team that their username belongs to. The broker does not know it
/// (it was not told who would have come in); the team's own people want to see it.
pub(super) async fn find_teams(
    accounts: &Database,
    batch: &mut [Keyed],
    pseudonyms: Option<&Pseudonyms>,
    belongs_here: impl Fn(&str) -> bool,
) -> Result<(), sqlx::Error> {
    let homeless =
        |it: &Keyed| it.is_ours && it.record.team.is_none() && it.record.event == "connect_refused";
    let names: HashSet<String> = batch
        .iter()
        .filter(|it| homeless(it))
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
        for row in query.fetch_all(accounts.pool()).await? {
            teams.insert(row.try_get("username")?, row.try_get("team")?);
        }
    }
    if let Some(pseudonyms) = pseudonyms.filter(|it| it.hides_names()) {
        let homes = batch.iter().filter(|it| homeless(it));
        let homes: HashSet<String> = homes.filter_map(|it| it.record.home.clone()).collect();
        for home in homes {
            let sql = "SELECT username FROM principal WHERE team = $1";
            let rows = sqlx::query(sql).bind(&home).fetch_all(accounts.pool());
            for row in rows.await? {
                let username: String = row.try_get("username")?;
                teams.insert(pseudonyms.name(&username), home.clone());
            }
        }
    }
    for keyed in batch.iter_mut().filter(|it| homeless(it)) {
        let record = &mut keyed.record;
        let team = record.actor.as_ref().and_then(|actor| teams.get(actor));
        if let Some(team) = team.filter(|team| belongs_here(team)) {
            record.team = Some(team.clone());
            record.level = Level::Team;
        }
    }
    Ok(())
}
