//! `cofferdam team …`.

use sqlx::Row as _;

use super::{Change, ProvisionError, Provisioner, Verb, member, names};
use crate::audit::rfc3339;
use crate::config::parse_plan_changes;
use crate::database::{Database, DatabaseError};
use crate::time::Time;

/// A team as `team list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TeamEntry {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its plan; `None`: the default one.
    pub plan: Option<String>,
    /// What differs from the plan for this team, as lines of TOML.
    pub limits: String,
    /// Whether its members are barred from logging in.
    pub suspended: bool,
    /// How many instances it has.
    pub instances: i64,
    /// How many devices.
    pub devices: i64,
    /// How many clients.
    pub clients: i64,
    /// Since when, in RFC 3339.
    pub created: String,
}

impl TeamEntry {
    /// All teams, by id.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn list(database: &Database) -> Result<Vec<Self>, DatabaseError> {
        let rows = sqlx::query(
            "SELECT t.id, t.name, t.plan, t.limits, t.suspended, t.created_us, \
                    COUNT(CASE WHEN p.kind = 'instance' THEN 1 END) AS instances, \
                    COUNT(CASE WHEN p.kind = 'device' THEN 1 END) AS devices, \
                    COUNT(CASE WHEN p.kind = 'client' THEN 1 END) AS clients \
             FROM team t LEFT JOIN principal p ON p.team = t.id \
             GROUP BY t.id, t.name, t.plan, t.limits, t.suspended, t.created_us ORDER BY t.id",
        )
        .fetch_all(database.pool())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Self {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    plan: row.try_get("plan")?,
                    limits: row.try_get("limits")?,
                    suspended: row.try_get::<i64, _>("suspended")? == 1,
                    instances: row.try_get("instances")?,
                    devices: row.try_get("devices")?,
                    clients: row.try_get("clients")?,
                    created: created(row.try_get("created_us")?),
                })
            })
            .collect()
    }
}

/// A stored time for people.
pub(super) fn created(micros: i64) -> String {
    rfc3339(Time::from_micros(u64::try_from(micros).unwrap_or(0)))
}

impl Provisioner<'_> {
    /// Makes a team.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where it exists.
    pub async fn team_add(
        &self,
        id: &str,
        name: Option<&str>,
        plan: Option<&str>,
    ) -> Result<Change, ProvisionError> {
        names::team(id, self.policy)?;
        plan.map_or(Ok(()), |plan| self.plans.known(plan))?;
        let mut transaction = self.database.begin_administration().await?;
        if member::team_name(&mut transaction, id).await?.is_some() {
            return Err(ProvisionError::Exists {
                what: "team",
                name: id.to_owned(),
            });
        }
        let team = member::TeamRow {
            name: name.unwrap_or(id).to_owned(),
            plan: plan.map(str::to_owned),
            limits: String::new(),
        };
        member::insert_team(&mut transaction, id, &team, self.now_us()).await?;
        let change = of_team(Verb::Add, id);
        self.commit(transaction, std::slice::from_ref(&change), "team")
            .await?;
        Ok(change)
    }

    /// Gives a team another plan (`None`: the default one), or changes it for this team alone:
    /// `changes` is TOML with the keys of a plan, in place of those before. `None`: it was so already.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is no such team.
    pub async fn team_plan(
        &self,
        id: &str,
        plan: Option<&str>,
        changes: &str,
    ) -> Result<Option<Change>, ProvisionError> {
        plan.map_or(Ok(()), |plan| self.plans.known(plan))?;
        let limits = parse_plan_changes("--set", changes, self.plans)?;
        let mut transaction = self.database.begin_administration().await?;
        let there = member::team(&mut transaction, id).await?;
        let there = there.ok_or_else(|| missing(id))?;
        let new = member::TeamRow {
            plan: plan.map(str::to_owned),
            limits,
            ..there.clone()
        };
        let change = (there != new).then(|| Change {
            fields: there.differences(&new),
            ..of_team(Verb::Change, id)
        });
        if change.is_some() {
            member::update_team(&mut transaction, id, &new).await?;
        }
        self.commit(transaction, change.as_slice(), "team").await?;
        Ok(change)
    }

    /// Bars a team's members from logging in, or lets them again. `None`: it was so already.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is no such team.
    pub async fn team_suspend(
        &self,
        id: &str,
        suspended: bool,
    ) -> Result<Option<Change>, ProvisionError> {
        let mut transaction = self.database.begin_administration().await?;
        if member::team_name(&mut transaction, id).await?.is_none() {
            return Err(missing(id));
        }
        let changed =
            sqlx::query("UPDATE team SET suspended = $1 WHERE id = $2 AND suspended <> $1")
                .bind(i64::from(suspended))
                .bind(id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        let verb = if suspended {
            Verb::Suspend
        } else {
            Verb::Resume
        };
        let change = (changed > 0).then(|| of_team(verb, id));
        self.commit(transaction, change.as_slice(), "team").await?;
        Ok(change)
    }

    /// Removes a team with all its members. Its audit records stay.
    ///
    /// # Errors
    /// [`ProvisionError`]; also where there is no such team.
    pub async fn team_remove(&self, id: &str) -> Result<Change, ProvisionError> {
        let mut transaction = self.database.begin_administration().await?;
        let members: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM principal WHERE team = $1")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await?;
        let removed = sqlx::query("DELETE FROM team WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if removed.rows_affected() == 0 {
            return Err(missing(id));
        }
        let mut change = of_team(Verb::Remove, id);
        change.fields.push(format!("with {members} members"));
        self.commit(transaction, std::slice::from_ref(&change), "team")
            .await?;
        Ok(change)
    }
}

fn of_team(verb: Verb, id: &str) -> Change {
    Change {
        verb,
        what: "team",
        name: id.to_owned(),
        team: Some(id.to_owned()),
        fields: Vec::new(),
    }
}

fn missing(id: &str) -> ProvisionError {
    ProvisionError::Missing {
        what: "team",
        name: id.to_owned(),
    }
}
