//! The audit store as text, of any size: JSON Lines, which can be verified, and CSV for spreadsheets.

use serde_json::{Value, json};

use super::chain::{Checkpoint, Linked};
use super::check::checkpoints;
use super::list::{Cursor, Filter, PAGE_MAX, Page, Scope, Way, page};
use super::moment::rfc3339;
use crate::database::{Database, DatabaseError};

/// As what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; checkpoints first.
    JsonLines,
    /// RFC 4180, with a headline. Cells that a spreadsheet would calculate begin with `'`.
    Csv,
}

/// An export under way: a piece at a time, each of at most a page.
#[derive(Debug)]
pub struct Export {
    database: Database,
    scope: Scope,
    filter: Filter,
    format: Format,
    at: At,
}

#[derive(Debug)]
enum At {
    Begin,
    Page(Option<Cursor>),
    End,
}

const COLUMNS: [&str; 12] = [
    "chain",
    "number",
    "time",
    "level",
    "team",
    "event",
    "actor",
    "client_id",
    "remote",
    "listener",
    "detail",
    "hash",
];

impl Export {
    /// What `scope` may see and `filter` lets through, oldest first.
    pub fn new(database: Database, scope: Scope, filter: Filter, format: Format) -> Self {
        Self {
            database,
            scope,
            filter,
            format,
            at: At::Begin,
        }
    }

    /// The next piece; `None`: that was all.
    ///
    /// # Errors
    /// [`DatabaseError`]; asked again, it tries the same piece.
    pub async fn next(&mut self) -> Result<Option<String>, DatabaseError> {
        let cursor = match self.at {
            At::End => return Ok(None),
            At::Page(cursor) => cursor,
            At::Begin => {
                let head = self.head().await?;
                self.at = At::Page(None);
                return Ok(Some(head));
            }
        };
        let Page { records, next } = page(
            &self.database,
            &self.scope,
            &self.filter,
            Way::Forward,
            cursor,
            PAGE_MAX,
        )
        .await?;
        self.at = match next {
            Some(next) => At::Page(Some(next)),
            None => At::End,
        };
        let mut text = String::new();
        for record in &records {
            match self.format {
                Format::JsonLines => text.push_str(&record.to_json().to_string()),
                Format::Csv => text.push_str(&csv(record)),
            }
            text.push('\n');
        }
        Ok(Some(text))
    }

    async fn head(&self) -> Result<String, DatabaseError> {
        if self.format == Format::Csv {
            return Ok(format!("{}\n", COLUMNS.join(",")));
        }
        // Of what the filter leaves out nobody can say whether it is whole.
        if self.filter != Filter::default() {
            return Ok(String::new());
        }
        let chain = match &self.scope {
            Scope::All => None,
            Scope::Team(team) => Some(team.as_str()),
        };
        let signed = checkpoints(&self.database, chain).await?;
        let line = |it: &Checkpoint| format!("{}\n", json!({ "checkpoint": it.to_json() }));
        Ok(signed.iter().map(line).collect())
    }
}

impl Linked {
    /// The record with its place.
    pub fn to_json(&self) -> Value {
        let mut json = self.record.to_json();
        json["chain"] = self.chain.as_str().into();
        json["number"] = self.number.into();
        json["hash"] = self.hash.to_string().into();
        json
    }
}

fn csv(linked: &Linked) -> String {
    let record = &linked.record;
    let (number, hash) = (linked.number.to_string(), linked.hash.to_string());
    let (time, detail) = (rfc3339(record.at), record.detail_text());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        linked.chain.clone(),
        number,
        time,
        record.level.as_str().to_owned(),
        text(&record.team),
        record.event.clone(),
        text(&record.actor),
        text(&record.client_id),
        text(&record.remote),
        text(&record.listener),
        detail,
        hash,
    ];
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    cells.join(",")
}

/// What a client sent is never a formula.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if is_formula { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) || is_formula {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_never_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2", "\"'-2\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
