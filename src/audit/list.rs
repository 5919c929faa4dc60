//! Reading the audit store, page by page: for the command line, the API and exports.
//!
//! What a reader may see at all is its [`Scope`], which is not a filter: it is in every query, and a
//! team's reader pages by the numbers of its own chain, which tell nothing of anybody else.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::address::Range;
use super::chain::{Hash, Linked};
use super::pseudonym::Pseudonyms;
use super::record::{Level, Record};
use crate::database::{Database, DatabaseError};
use crate::time::Time;

/// Most records of one page.
pub const PAGE_MAX: u32 = 1_000;

/// What a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the operator.
    All,
    /// One team's chain and nothing else: a reader of that team.
    Team(String),
}

/// Which records; what is `None` filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this team.
    pub team: Option<String>,
    /// Of this level.
    pub level: Option<Level>,
    /// Of this name, such as `connect_refused`.
    pub event: Option<String>,
    /// Of this client identifier.
    pub client_id: Option<String>,
    /// By this username or person.
    pub actor: Option<String>,
    /// From an address of this network.
    pub address: Option<Range>,
    /// From exactly this far end, as it stands in the column: for addresses that are pseudonyms.
    pub remote: Option<String>,
    /// Not before.
    pub since: Option<Time>,
    /// Before.
    pub until: Option<Time>,
}

impl Filter {
    /// Only what came from this address or network. Where addresses are pseudonyms, networks cannot
    /// be told apart, and one address is looked for by its pseudonym.
    ///
    /// # Errors
    /// In words, when the text is neither.
    pub fn from(&mut self, text: &str, names: Option<&Pseudonyms>) -> Result<(), String> {
        match names.filter(|names| names.hides_addresses()) {
            None => self.address = Some(Range::parse(text)?),
            Some(names) if text.parse::<std::net::IpAddr>().is_ok() => {
                self.remote = Some(names.address(text));
            }
            Some(_) => {
                return Err(format!(
                    "{text:?} is no address; addresses are pseudonyms here, so that networks cannot be \
                     looked for"
                ));
            }
        }
        Ok(())
    }
}

/// Which way pages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first on.
    Forward,
    /// From the last back.
    Backward,
}

/// Where the next page begins. Its text is opaque to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(i64);

/// A page in the order of its way.
#[derive(Debug)]
pub struct Page {
    /// At most as many as were asked for.
    pub records: Vec<Linked>,
    /// Where there is more, perhaps.
    pub next: Option<Cursor>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('c').and_then(|it| it.parse().ok());
        let number = number.filter(|number| *number >= 0);
        number
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no cursor: give the `next` of the page before"))
    }
}

/// One page of at most `limit` records ([`PAGE_MAX`] at most), from `cursor` on or from the end that
/// `way` begins at.
///
/// # Errors
/// [`DatabaseError`].
pub async fn page(
    database: &Database,
    scope: &Scope,
    filter: &Filter,
    way: Way,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Page, DatabaseError> {
    let limit = limit.clamp(1, PAGE_MAX);
    let order = match scope {
        Scope::All => "position",
        Scope::Team(_) => "number",
    };
    let mut asked = Asked::new(scope, filter);
    if let Some(Cursor(last)) = cursor {
        let beyond = match way {
            Way::Forward => ">",
            Way::Backward => "<",
        };
        asked.number(format!("{order} {beyond}"), last);
    }
    let direction = match way {
        Way::Forward => "ASC",
        Way::Backward => "DESC",
    };
    asked.values.push(Asking::Number(i64::from(limit)));
    let sql = format!(
        "SELECT position, chain, number, hash, at_us, level, team, event, actor, client_id, \
         remote, listener, detail FROM audit{} ORDER BY {order} {direction} LIMIT ${}",
        asked.conditions(),
        asked.values.len()
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for value in asked.values {
        query = match value {
            Asking::Text(text) => query.bind(text),
            Asking::Number(number) => query.bind(number),
        };
    }
    let rows = query.fetch_all(database.pool()).await?;
    let is_full = rows.len() == limit as usize;
    let next = match rows.last() {
        Some(last) if is_full => Some(Cursor(last.try_get(order)?)),
        _ => None,
    };
    let records = rows.iter().map(linked).collect::<Result<_, _>>()?;
    Ok(Page { records, next })
}

/// The last `limit` records that `filter` lets through, newest last: for the operator.
///
/// # Errors
/// [`DatabaseError`].
pub async fn latest(
    database: &Database,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Linked>, DatabaseError> {
    let mut found = Vec::new();
    let mut cursor = None;
    while found.len() < limit as usize {
        let more = (limit as usize - found.len()).min(PAGE_MAX as usize);
        let more = u32::try_from(more).unwrap_or(PAGE_MAX);
        let page = page(database, &Scope::All, filter, Way::Backward, cursor, more).await?;
        found.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Conditions and what they are about, place by place.
struct Asked {
    conditions: Vec<String>,
    values: Vec<Asking>,
}

enum Asking {
    Text(String),
    Number(i64),
}

impl Asked {
    fn new(scope: &Scope, filter: &Filter) -> Self {
        let mut asked = Self {
            conditions: Vec::new(),
            values: Vec::new(),
        };
        if let Scope::Team(team) = scope {
            asked.text("chain =", team);
            asked.text("level =", Level::Team.as_str());
        }
        if let Some(level) = filter.level {
            asked.text("level =", level.as_str());
        }
        let texts = [
            ("team =", &filter.team),
            ("event =", &filter.event),
            ("client_id =", &filter.client_id),
            ("actor =", &filter.actor),
            ("remote =", &filter.remote),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                asked.text(condition, text);
            }
        }
        if let Some(range) = &filter.address {
            asked.text("address >=", &range.first);
            asked.text("address <=", &range.last);
        }
        for (condition, time) in [("at_us >=", filter.since), ("at_us <", filter.until)] {
            if let Some(time) = time {
                let at_us = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                asked.number(condition.to_owned(), at_us);
            }
        }
        asked
    }

    fn text(&mut self, condition: &str, text: &str) {
        // PostgreSQL takes no U+0000, and nothing on record has one.
        self.values
            .push(Asking::Text(text.replace('\0', "\u{fffd}")));
        let condition = format!("{condition} ${}", self.values.len());
        self.conditions.push(condition);
    }

    fn number(&mut self, condition: String, number: i64) {
        self.values.push(Asking::Number(number));
        let condition = format!("{condition} ${}", self.values.len());
        self.conditions.push(condition);
    }

    fn conditions(&self) -> String {
        match self.conditions.len() {
            0 => String::new(),
            _ => format!(" WHERE {}", self.conditions.join(" AND ")),
        }
    }
}

/// A row with its place in its chain.
pub(super) fn linked(row: &AnyRow) -> Result<Linked, DatabaseError> {
    let (number, hash): (i64, String) = (row.try_get("number")?, row.try_get("hash")?);
    let chain: String = row.try_get("chain")?;
    let place = |what: &str| DatabaseError::Corrupt {
        what: format!("{what} of the audit record {number} of chain {chain}"),
    };
    Ok(Linked {
        number: u64::try_from(number).map_err(|_| place("the number"))?,
        hash: Hash::parse(&hash).ok_or_else(|| place("the hash"))?,
        record: record_of(row)?,
        chain,
    })
}

/// What a row tells.
pub(super) fn record_of(row: &AnyRow) -> Result<Record, DatabaseError> {
    let at_us: i64 = row.try_get("at_us")?;
    let unreadable = |what: &str| DatabaseError::Corrupt {
        what: format!("{what} of the audit record at {at_us}"),
    };
    let level: String = row.try_get("level")?;
    let detail: String = row.try_get("detail")?;
    let Ok(Value::Object(detail)) = serde_json::from_str(&detail) else {
        return Err(unreadable("the detail"));
    };
    Ok(Record {
        at: Time::from_micros(u64::try_from(at_us).map_err(|_| unreadable("the time"))?),
        level: Level::from_word(&level).ok_or_else(|| unreadable("the level"))?,
        team: row.try_get("team")?,
        event: row.try_get("event")?,
        actor: row.try_get("actor")?,
        client_id: row.try_get("client_id")?,
        remote: row.try_get("remote")?,
        listener: row.try_get("listener")?,
        detail,
        home: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        assert_eq!(Cursor(7).to_string().parse(), Ok(Cursor(7)));
        for wrong in ["", "7", "c", "c-1", "c1 OR 1=1", "c99999999999999999999"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
