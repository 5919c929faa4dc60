//! The policy's view of the database: [`Directory`] for one login, and for a whole world.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use sqlx::Row as _;
use tokio::sync::Mutex;

use super::account::{OnRecord, team_id};
use crate::database::{Database, DatabaseError};
use crate::policy::{Directory, Principal, TeamId, TeamMembers};

/// The members of the teams that somebody has logged in to, shared with their grants.
///
/// Another process changes them in the database (`cofferdam apply`), so they are read again when
/// the database's revision is not the one they were read at: before a login is admitted, and by
/// [`Self::follow`] for those who are in already.
#[derive(Debug)]
pub(super) struct Members {
    teams: DashMap<TeamId, Arc<TeamMembers>>,
    revision: AtomicI64,
    /// Held while reading: of many logins that find a new revision, one reads.
    reading: Mutex<()>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self {
            teams: DashMap::new(),
            revision: AtomicI64::new(-1),
            reading: Mutex::new(()),
        }
    }

    /// The members of `team`, no older than `revision`.
    pub(super) async fn of(
        &self,
        database: &Database,
        team: &TeamId,
        revision: i64,
    ) -> Result<Arc<TeamMembers>, DatabaseError> {
        let current = || self.revision.load(Ordering::Acquire) >= revision;
        if current()
            && let Some(members) = self.teams.get(team)
        {
            return Ok(Arc::clone(&members));
        }
        let _reading = self.reading.lock().await;
        if !current() {
            self.read_again(database).await?;
        }
        if let Some(members) = self.teams.get(team) {
            return Ok(Arc::clone(&members));
        }
        let members = Arc::<TeamMembers>::default();
        replace(database, team, &members).await?;
        self.teams.insert(team.clone(), Arc::clone(&members));
        Ok(members)
    }

    /// Reads the members again whenever the revision changes, for ever.
    pub(super) async fn follow(&self, database: &Database, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            // Away: the next login finds that out, and what is known stays in force.
            if let Ok(revision) = revision(database).await
                && revision != self.revision.load(Ordering::Acquire)
            {
                let _reading = self.reading.lock().await;
                if let Err(error) = self.read_again(database).await {
                    tracing::warn!(%error, "cannot read the teams' members again");
                }
            }
        }
    }

    /// With `reading` held. The revision is taken first: what changes meanwhile is read next time.
    async fn read_again(&self, database: &Database) -> Result<(), DatabaseError> {
        let revision = revision(database).await?;
        // A team that nobody holds a grant of is forgotten.
        self.teams
            .retain(|_, members| Arc::strong_count(members) > 1);
        let known: Vec<_> = self
            .teams
            .iter()
            .map(|entry| (entry.key().clone(), Arc::clone(entry.value())))
            .collect();
        for (team, members) in known {
            replace(database, &team, &members).await?;
        }
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }
}

async fn revision(database: &Database) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM revision")
        .fetch_one(database.pool())
        .await
}

async fn replace(
    database: &Database,
    team: &TeamId,
    members: &TeamMembers,
) -> Result<(), DatabaseError> {
    let instances: Vec<String> =
        sqlx::query_scalar("SELECT id FROM principal WHERE kind = 'instance' AND team = $1")
            .bind(team.as_str())
            .fetch_all(database.pool())
            .await?;
    members.replace_instances(instances.iter().map(String::as_str));
    Ok(())
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
