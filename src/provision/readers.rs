//! `cofferdam audit reader …`: who may read one team's audit over the API, by a token.

use serde_json::{Value, json};
use sqlx::Row as _;

use super::teams::created;
use super::{ProvisionError, Provisioner, member};
use crate::audit::{self, Record};
use crate::database::{Database, DatabaseError};
use crate::identity::random_token;

/// What readers' tokens begin with, so that one is known for what it is.
const PREFIX: &str = "cfr_";
/// Longest name of a reader, in bytes.
const NAME_MAX: usize = 128;

/// Somebody who may read a team's audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Whose.
    pub team: String,
    /// For people.
    pub name: String,
    /// Since when, in RFC 3339.
    pub created: String,
}

impl Reader {
    /// All readers, by team and name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn list(database: &Database) -> Result<Vec<Self>, DatabaseError> {
        let rows =
            sqlx::query("SELECT team, name, created_us FROM audit_reader ORDER BY team, name")
                .fetch_all(database.pool())
                .await?;
        let readers = rows.iter().map(|row| {
            Ok(Self {
                team: row.try_get("team")?,
                name: row.try_get("name")?,
                created: created(row.try_get("created_us")?),
            })
        });
        readers.collect()
    }

    /// Whose token this is: the team and the name. One look-up, and only for what could be a token.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn of_token(
        database: &Database,
        token: &[u8],
    ) -> Result<Option<Self>, DatabaseError> {
        if !token.starts_with(PREFIX.as_bytes()) || token.len() > 128 {
            return Ok(None);
        }
        let row = sqlx::query("SELECT team, name, created_us FROM audit_reader WHERE token = $1")
            .bind(hash(token))
            .fetch_optional(database.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            team: row.try_get("team")?,
            name: row.try_get("name")?,
            created: created(row.try_get("created_us")?),
        }))
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({ "team": self.team, "name": self.name, "created": self.created })
    }
}

impl Provisioner<'_> {
    /// Makes a reader. The token is in the answer alone.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where it exists, or there is no such team.
    pub async fn reader_add(
        &self,
        team: &str,
        name: &str,
    ) -> Result<(Reader, String), ProvisionError> {
        let mut transaction = self.database.begin_administration().await?;
        if member::team_name(&mut transaction, team).await?.is_none() {
            return Err(ProvisionError::Missing {
                what: "team",
                name: team.to_owned(),
            });
        }
        let fits = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(char::is_control);
        if !fits {
            return Err(ProvisionError::ReaderName);
        }
        let token = format!("{PREFIX}{}", random_token()?);
        let made = sqlx::query(
            "INSERT INTO audit_reader (team, name, token, created_us) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (team, name) DO NOTHING",
        )
        .bind(team)
        .bind(name)
        .bind(hash(token.as_bytes()))
        .bind(self.now_us())
        .execute(&mut *transaction)
        .await?;
        if made.rows_affected() == 0 {
            return Err(ProvisionError::Exists {
                what: "reader",
                name: name.to_owned(),
            });
        }
        let record = self.of_reader("audit_reader_add", team, name);
        audit::insert(&mut transaction, vec![record]).await?;
        transaction.commit().await?;
        let reader = Reader {
            team: team.to_owned(),
            name: name.to_owned(),
            created: created(self.now_us()),
        };
        Ok((reader, token))
    }

    /// Removes a reader: its token opens nothing from now on.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is none.
    pub async fn reader_revoke(&self, team: &str, name: &str) -> Result<(), ProvisionError> {
        let mut transaction = self.database.begin_administration().await?;
        let removed = sqlx::query("DELETE FROM audit_reader WHERE team = $1 AND name = $2")
            .bind(team)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 0 {
            return Err(ProvisionError::NoReader {
                team: team.to_owned(),
                name: name.to_owned(),
            });
        }
        let record = self.of_reader("audit_reader_revoke", team, name);
        audit::insert(&mut transaction, vec![record]).await?;
        Ok(transaction.commit().await?)
    }

    fn of_reader(&self, event: &str, team: &str, name: &str) -> Record {
        let detail = json!({ "name": name });
        Record::administration(self.now, event, Some(team), self.actor, detail)
    }
}

/// A token has 256 bits of its own: a plain hash gives nothing away.
fn hash(token: &[u8]) -> String {
    blake3::hash(token).to_hex().to_string()
}
