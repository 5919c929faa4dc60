//! `cofferdam client …`.

use sqlx::Row as _;

use super::document::{Nobody, filter};
use super::member::{self, NewMember};
use super::teams::created;
use super::{Change, NameError, ProvisionError, Provisioner, Verb, names};
use crate::database::{Database, DatabaseError, Transaction};
use crate::identity::{Credential, Kind, random_token, read_patterns};
use crate::policy::Pattern;

/// A client as `client list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEntry {
    /// `<name>@<team>`.
    pub username: String,
    /// Its team.
    pub team: String,
    /// What it may do, in the order given.
    pub patterns: Vec<Pattern>,
    /// Whether it has a password.
    pub can_log_in: bool,
    /// Since when, in RFC 3339.
    pub created: String,
    /// When it was last changed.
    pub changed: String,
}

impl ClientEntry {
    /// All clients, or those of one team, by team and name.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn list(database: &Database, team: Option<&str>) -> Result<Vec<Self>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT username, team, patterns, secret, scram, created_us, changed_us FROM principal \
             WHERE kind = 'client' AND ($1 = '' OR team = $1) ORDER BY team, username",
        )
        .bind(team.unwrap_or_default())
        .fetch_all(database.pool())
        .await?;
        rows.iter()
            .map(|row| {
                let patterns: String = row.try_get("patterns")?;
                let credential = Credential {
                    secret: row.try_get("secret")?,
                    scram: row.try_get("scram")?,
                };
                Ok(Self {
                    username: row.try_get("username")?,
                    team: row.try_get("team")?,
                    patterns: read_patterns(&patterns)?,
                    can_log_in: !credential.is_empty(),
                    created: created(row.try_get("created_us")?),
                    changed: created(row.try_get("changed_us")?),
                })
            })
            .collect()
    }
}

impl Provisioner<'_> {
    /// Makes a client, `<name>@<team>`, and returns its new random password: the only time that
    /// anybody sees it.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where it exists or its team does not.
    pub async fn client_add(
        &self,
        username: &str,
        patterns: &[Pattern],
    ) -> Result<(Change, String), ProvisionError> {
        for pattern in patterns {
            filter(&pattern.filter).map_err(|why| ProvisionError::Pattern {
                text: pattern.filter.to_string(),
                why,
            })?;
        }
        let mut transaction = self.database.begin_administration().await?;
        let (change, password) = self
            .insert_client(&mut transaction, username, patterns)
            .await?;
        self.commit(transaction, std::slice::from_ref(&change), "client")
            .await?;
        Ok((change, password))
    }

    pub(super) async fn insert_client(
        &self,
        transaction: &mut Transaction,
        username: &str,
        patterns: &[Pattern],
    ) -> Result<(Change, String), ProvisionError> {
        let (id, team) = names::client_username(username)?;
        let principal = self.policy.principal(username, &Nobody);
        let read = principal.and_then(|principal| principal.team);
        if read.is_none_or(|read| read.as_str() != team) {
            return Err(NameError::Client(username.to_owned()).into());
        }
        if member::team_name(transaction, team).await?.is_none() {
            return Err(ProvisionError::Missing {
                what: "team",
                name: team.to_owned(),
            });
        }
        if member::find(transaction, Kind::Client, team, id)
            .await?
            .is_some()
        {
            return Err(ProvisionError::Exists {
                what: "client",
                name: username.to_owned(),
            });
        }
        let (password, credential) = self.new_password(username)?;
        let client = NewMember {
            kind: Kind::Client,
            team: Some(team),
            id,
            owner: None,
            patterns,
            credential: &credential,
        };
        member::write(transaction, None, &client, self.now_us()).await?;
        Ok((of_client(Verb::Add, username, team), password))
    }

    /// Gives a client a new random password and returns it; the old one ends here.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is no such client.
    pub async fn client_rotate(&self, username: &str) -> Result<(Change, String), ProvisionError> {
        let (_, team) = names::client_username(username)?;
        let (password, credential) = self.new_password(username)?;
        let mut transaction = self.database.begin_administration().await?;
        let rotated = sqlx::query(
            "UPDATE principal SET secret = $1, scram = $2, changed_us = $3 \
             WHERE kind = 'client' AND username = $4",
        )
        .bind(credential.secret)
        .bind(credential.scram)
        .bind(self.now_us())
        .bind(username)
        .execute(&mut *transaction)
        .await?;
        if rotated.rows_affected() == 0 {
            return Err(missing(username));
        }
        let change = of_client(Verb::Rotate, username, team);
        self.commit(transaction, std::slice::from_ref(&change), "client")
            .await?;
        Ok((change, password))
    }

    /// A random password, and what to store for it.
    fn new_password(&self, username: &str) -> Result<(String, Credential), ProvisionError> {
        let password = random_token()?;
        let nothing = Credential::default();
        let credential = self.secrets.credential(username, &password, &nothing)?;
        Ok((password, credential))
    }

    /// Removes a client.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is no such client.
    pub async fn client_revoke(&self, username: &str) -> Result<Change, ProvisionError> {
        let (_, team) = names::client_username(username)?;
        let mut transaction = self.database.begin_administration().await?;
        let revoked = sqlx::query("DELETE FROM principal WHERE kind = 'client' AND username = $1")
            .bind(username)
            .execute(&mut *transaction)
            .await?;
        if revoked.rows_affected() == 0 {
            return Err(missing(username));
        }
        let change = of_client(Verb::Revoke, username, team);
        self.commit(transaction, std::slice::from_ref(&change), "client")
            .await?;
        Ok(change)
    }
}

fn of_client(verb: Verb, username: &str, team: &str) -> Change {
    Change {
        verb,
        what: "client",
        name: username.to_owned(),
        team: Some(team.to_owned()),
        fields: Vec::new(),
    }
}

fn missing(username: &str) -> ProvisionError {
    ProvisionError::Missing {
        what: "client",
        name: username.to_owned(),
    }
}
