//! What the database has on a username.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::secret;
use super::token_key::TokenKey;
use crate::database::{Database, DatabaseError};
use crate::policy::{Pattern, PatternAction, Principal, TeamId};

/// What kind of member a username is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The platform's own connection.
    Platform,
    /// A Node-RED instance.
    Instance,
    /// A device.
    Device,
    /// A client of a team's broker.
    Client,
}

impl Kind {
    /// As stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Instance => "instance",
            Self::Device => "device",
            Self::Client => "client",
        }
    }

    /// The username of a member with this `id` in `team`.
    pub fn username(self, team: &str, id: &str) -> String {
        match self {
            Self::Platform => "forge_platform".to_owned(),
            Self::Instance => format!("project:{team}:{id}"),
            Self::Device => format!("device:{team}:{id}"),
            Self::Client => format!("{id}@{team}"),
        }
    }

    /// What a username is by its form, whether it exists or not.
    pub(super) fn of(username: &str) -> Self {
        match username.split_once(':') {
            Some(("project", _)) => Self::Instance,
            Some(("device", _)) => Self::Device,
            _ if username == Self::Platform.username("", "") => Self::Platform,
            _ => Self::Client,
        }
    }
}

/// What the database has on a username, as far as a login asks.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) team: Option<TeamId>,
    pub(super) suspended: bool,
    pub(super) secret: Option<String>,
    pub(super) scram: Option<String>,
    pub(super) record: OnRecord,
}

impl Account {
    /// Whether its secret is a machine's token, which cannot be guessed.
    pub(super) fn has_token(&self) -> bool {
        self.secret.as_deref().is_some_and(secret::is_of_token)
    }

    fn from_row(row: &AnyRow) -> Result<Self, DatabaseError> {
        let team: Option<String> = row.try_get("team")?;
        Ok(Self {
            team: team.map(|team| team_id(&team)).transpose()?,
            suspended: row.try_get::<Option<i64>, _>("suspended")? == Some(1),
            secret: row.try_get("secret")?,
            scram: row.try_get("scram")?,
            record: OnRecord::from_row(row)?,
        })
    }
}

/// What a username alone does not say about its principal.
#[derive(Clone, Debug, Default)]
pub(super) struct OnRecord {
    owner: Option<(String, String)>,
    patterns: Vec<Pattern>,
}

impl OnRecord {
    /// Adds it to a principal made from the username.
    pub(super) fn complete(&self, principal: &mut Principal) {
        if let Some((owner_type, owner)) = &self.owner {
            for (name, value) in [("owner_type", owner_type), ("owner", owner)] {
                principal
                    .bindings
                    .push((Arc::from(name), Arc::from(value.as_str())));
            }
        }
        principal.patterns.clone_from(&self.patterns);
    }

    pub(super) fn from_row(row: &AnyRow) -> Result<Self, DatabaseError> {
        let owner_type: Option<String> = row.try_get("owner_type")?;
        let patterns: String = row.try_get("patterns")?;
        Ok(Self {
            owner: owner_type.zip(row.try_get("owner")?),
            patterns: read_patterns(&patterns)?,
        })
    }
}

/// Looks a username up. Also returns the revision of the tables, in the same query: whoever lets
/// somebody in by this answer must know the team's members as of then.
pub(super) async fn find(
    database: &Database,
    username: &str,
) -> Result<(Option<Account>, i64), DatabaseError> {
    let row = sqlx::query(
        "SELECT r.value AS revision, p.username, p.team, p.owner_type, p.owner, p.patterns, \
                p.secret, p.scram, t.suspended \
         FROM revision r \
         LEFT JOIN principal p ON p.username = $1 \
         LEFT JOIN team t ON t.id = p.team",
    )
    .bind(username)
    .fetch_one(database.pool())
    .await?;
    let revision = row.try_get("revision")?;
    if row.try_get::<Option<String>, _>("username")?.is_none() {
        return Ok((None, revision));
    }
    Ok((Some(Account::from_row(&row)?), revision))
}

/// Usernames that are looked up with one query.
const FOUND_AT_ONCE: usize = 500;

/// Looks many usernames up; who is not on record is not in the answer. A row that cannot be read is
/// an error of that one alone.
pub(super) async fn find_all(
    database: &Database,
    usernames: &[&str],
) -> Result<HashMap<String, Result<Account, DatabaseError>>, DatabaseError> {
    let mut found = HashMap::with_capacity(usernames.len());
    for usernames in usernames.chunks(FOUND_AT_ONCE) {
        let places: Vec<_> = (1..=usernames.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT p.username, p.team, p.owner_type, p.owner, p.patterns, p.secret, p.scram, \
                    t.suspended \
             FROM principal p LEFT JOIN team t ON t.id = p.team WHERE p.username IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for username in usernames {
            query = query.bind(*username);
        }
        for row in query.fetch_all(database.pool()).await? {
            found.insert(row.try_get("username")?, Account::from_row(&row));
        }
    }
    Ok(found)
}

/// Whether a team is suspended; one that is not on record is not.
pub(super) async fn is_suspended(
    database: &Database,
    team: &TeamId,
) -> Result<bool, DatabaseError> {
    let suspended: Option<i64> = sqlx::query_scalar("SELECT suspended FROM team WHERE id = $1")
        .bind(team.as_str())
        .fetch_optional(database.pool())
        .await?;
    Ok(suspended == Some(1))
}

/// How many members have a token that was hashed under another key than ours: none of them can log
/// in. Not zero means that `token.key` was lost or is another broker's; worth a word at the start.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tokens_under_another_key(
    database: &Database,
    key: &TokenKey,
) -> Result<i64, DatabaseError> {
    let ours = format!("$blake3${}$%", key.id());
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM principal WHERE secret LIKE '$blake3$%' AND secret NOT LIKE $1",
    )
    .bind(ours)
    .fetch_one(database.pool())
    .await?;
    Ok(count)
}

/// A team's id from the database.
pub(super) fn team_id(text: &str) -> Result<TeamId, DatabaseError> {
    TeamId::new(text).ok_or_else(|| DatabaseError::Corrupt {
        what: format!("{text:?} as a team's id"),
    })
}

/// A pattern as it is stored and printed: with the keys of `apply`'s files.
#[derive(Deserialize, Serialize)]
struct StoredPattern {
    action: PatternAction,
    effect: Effect,
    pattern: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Allow,
    Deny,
}

/// Patterns as JSON, with the keys of `apply`'s files.
pub(crate) fn write_patterns(patterns: &[Pattern]) -> String {
    let stored: Vec<_> = patterns
        .iter()
        .map(|pattern| StoredPattern {
            action: pattern.action,
            effect: if pattern.allow {
                Effect::Allow
            } else {
                Effect::Deny
            },
            pattern: pattern.filter.to_string(),
        })
        .collect();
    // Text and words only: there is nothing in it that JSON could not hold.
    serde_json::to_string(&stored).unwrap_or_else(|_| "[]".to_owned())
}

/// What [`write_patterns`] wrote.
pub(crate) fn read_patterns(text: &str) -> Result<Vec<Pattern>, DatabaseError> {
    let read = serde_json::from_str(text).and_then(patterns_of);
    read.map_err(|error| DatabaseError::Corrupt {
        what: format!("a list of patterns ({error})"),
    })
}

/// A list of patterns in JSON.
pub(super) fn patterns_of(json: serde_json::Value) -> Result<Vec<Pattern>, serde_json::Error> {
    let stored: Vec<StoredPattern> = serde_json::from_value(json)?;
    let patterns = stored.into_iter().map(|stored| Pattern {
        action: stored.action,
        allow: matches!(stored.effect, Effect::Allow),
        filter: Arc::from(stored.pattern),
    });
    Ok(patterns.collect())
}
