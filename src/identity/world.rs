//! The policy's view of the database: [`Directory`] for one login, and for a whole world.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use sqlx::Row as _;

use super::account::{OnRecord, team_id};
use crate::database::{Database, DatabaseError};
use crate::policy::{Directory, Principal, TeamId, TeamMembers};

/// The members of the teams that somebody has logged in to, shared with their grants.
///
/// Another process changes them in the database (`cofferdam apply`), so they are read again when
/// the database's revision is not the one they were read at: before a login to the team is admitted,
/// and for those who are in already when the log of changes names the team. Nothing is held while
/// the database is asked, so what was read may be old news by then: it counts only where it is newer
/// than what is there.
#[derive(Debug)]
pub(super) struct Members {
    teams: DashMap<TeamId, AtRevision>,
}

/// A team's members, and how old they are.
#[derive(Debug)]
struct AtRevision {
    members: Arc<TeamMembers>,
    /// They are no older than this.
    revision: i64,
}

impl Members {
    pub(super) fn new() -> Self {
        Self {
            teams: DashMap::new(),
        }
    }

    /// The members of `team`, no older than `revision`.
    pub(super) async fn of(
        &self,
        database: &Database,
        team: &TeamId,
        revision: i64,
    ) -> Result<Arc<TeamMembers>, DatabaseError> {
        if let Some(known) = self.teams.get(team)
            && known.revision >= revision
        {
            return Ok(Arc::clone(&known.members));
        }
        let instances = instances_of(database, team).await?;
        Ok(self.learn(team, &instances, revision))
    }

    /// Reads a team's members again, where somebody holds them; no older than `revision` then.
    pub(super) async fn renew(
        &self,
        database: &Database,
        team: &TeamId,
        revision: i64,
    ) -> Result<(), DatabaseError> {
        self.forget_unheld();
        if self.teams.contains_key(team) {
            self.of(database, team, revision).await?;
        }
        Ok(())
    }

    /// What a query that began at `revision` or later found out about one team.
    fn learn(&self, team: &TeamId, instances: &[String], revision: i64) -> Arc<TeamMembers> {
        let mut known = self
            .teams
            .entry(team.clone())
            .or_insert_with(|| AtRevision {
                members: Arc::default(),
                revision: i64::MIN,
            });
        known.learn(instances, revision);
        Arc::clone(&known.members)
    }

    /// A team that nobody holds a grant of is forgotten.
    fn forget_unheld(&self) {
        self.teams
            .retain(|_, known| Arc::strong_count(&known.members) > 1);
    }
}

impl AtRevision {
    fn learn(&mut self, instances: &[String], revision: i64) {
        if revision > self.revision {
            let ids = instances.iter().map(String::as_str);
            self.members.replace_instances(ids);
            self.revision = revision;
        }
    }
}

async fn instances_of(database: &Database, team: &TeamId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM principal WHERE kind = 'instance' AND team = $1")
        .bind(team.as_str())
        .fetch_all(database.pool())
        .await
}

/// What is known about one principal at its login.
pub(super) struct AtLogin<'a> {
    pub(super) record: &'a OnRecord,
    pub(super) members: Option<Arc<TeamMembers>>,
}

impl Directory for AtLogin<'_> {
    fn members(&self, _team: &TeamId) -> Arc<TeamMembers> {
        self.members.clone().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        self.record.complete(principal);
    }
}

/// All that is on record, read at once: for `policy explain` and `policy test`.
#[derive(Debug, Default)]
pub struct World {
    records: HashMap<String, OnRecord>,
    members: HashMap<TeamId, Arc<TeamMembers>>,
}

impl World {
    /// Reads the database.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn load(database: &Database) -> Result<Self, DatabaseError> {
        let rows = sqlx::query(
            "SELECT username, kind, team, id, owner_type, owner, patterns FROM principal",
        )
        .fetch_all(database.pool())
        .await?;
        let mut world = Self::default();
        let mut instances: HashMap<TeamId, Vec<String>> = HashMap::new();
        for row in rows {
            let kind: String = row.try_get("kind")?;
            let team: Option<String> = row.try_get("team")?;
            if let Some(team) = team
                && kind == "instance"
            {
                let ids = instances.entry(team_id(&team)?).or_default();
                ids.push(row.try_get("id")?);
            }
            let record = OnRecord::from_row(&row)?;
            world.records.insert(row.try_get("username")?, record);
        }
        for (team, ids) in instances {
            let members = TeamMembers::new(ids.iter().map(String::as_str));
            world.members.insert(team, Arc::new(members));
        }
        Ok(world)
    }

    /// Every username on record, in order.
    pub fn usernames(&self) -> Vec<&str> {
        let mut usernames: Vec<_> = self.records.keys().map(String::as_str).collect();
        usernames.sort_unstable();
        usernames
    }

    /// Whether this username is on record.
    pub fn knows(&self, username: &str) -> bool {
        self.records.contains_key(username)
    }
}

impl Directory for World {
    fn members(&self, team: &TeamId) -> Arc<TeamMembers> {
        self.members.get(team).cloned().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        if let Some(record) = self.records.get(&*principal.username) {
            record.complete(principal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(id: &str) -> TeamId {
        TeamId::new(id).unwrap()
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn what_was_read_earlier_never_replaces_what_was_read_later() {
        let members = Members::new();
        let held = members.learn(&team("a"), &ids(&["new"]), 2);
        // A slower login, whose query began before the change.
        let same = members.learn(&team("a"), &ids(&["old"]), 1);
        assert!(Arc::ptr_eq(&held, &same));
        assert!(held.has_instance("new") && !held.has_instance("old"));
    }

    #[test]
    fn a_team_that_nobody_holds_is_forgotten() {
        let members = Members::new();
        let held = members.learn(&team("a"), &[], 1);
        drop(members.learn(&team("b"), &[], 1));
        members.forget_unheld();
        let known: Vec<_> = members.teams.iter().map(|it| it.key().clone()).collect();
        assert_eq!(known, [team("a")]);
        drop(held);
    }
}
