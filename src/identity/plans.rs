//! What teams may have and do, from the configuration's plans and the database: read at the start,
//! whenever the database changes and when the plans are others, and put in force in the core.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use tokio::sync::Mutex;

use super::account::team_id;
use crate::config::Plans;
use crate::database::{Database, DatabaseError, Place};
use crate::team::{Entitlements, World};

/// Keeps the limits of teams as the database has them.
#[derive(Debug)]
pub struct TeamPlans {
    /// Held while they are put in force, so that none of before comes after.
    plans: Mutex<Plans>,
    world: Arc<World>,
}

impl TeamPlans {
    /// Of these plans, for the teams of this world.
    pub fn new(plans: Plans, world: Arc<World>) -> Self {
        let plans = Mutex::new(plans);
        Self { plans, world }
    }

    /// Reads every team's plan and puts it in force, at once and for everybody who is connected.
    /// Returns the revision that it read at the latest.
    ///
    /// # Errors
    /// [`DatabaseError`]; then all is as before.
    pub async fn apply(&self, database: &Database) -> Result<i64, DatabaseError> {
        let plans = self.plans.lock().await;
        self.put_in_force(&plans, database).await
    }

    /// Puts other plans in force, for teams as the database has them now. Returns the names of those
    /// that differ; where none does nothing is done.
    ///
    /// # Errors
    /// [`DatabaseError`]; then the plans before stay.
    pub async fn replace(
        &self,
        plans: Plans,
        database: &Database,
    ) -> Result<Vec<String>, DatabaseError> {
        let mut in_force = self.plans.lock().await;
        let changed = in_force.differences(&plans);
        if !changed.is_empty() {
            self.put_in_force(&plans, database).await?;
            *in_force = plans;
        }
        Ok(changed)
    }

    async fn put_in_force(&self, plans: &Plans, database: &Database) -> Result<i64, DatabaseError> {
        let Place { revision, .. } = Place::end(database).await?;
        let sql = "SELECT id, plan, limits FROM team WHERE plan IS NOT NULL OR limits <> ''";
        let rows = sqlx::query(sql).fetch_all(database.pool()).await?;
        let (default, _) = plans.resolve(None, "");
        let mut entitlements = Entitlements {
            default,
            ..Entitlements::default()
        };
        for row in rows {
            let team: String = row.try_get("id")?;
            let plan: Option<String> = row.try_get("plan")?;
            let changes: String = row.try_get("limits")?;
            let (limits, wrong) = plans.resolve(plan.as_deref(), &changes);
            if let Some(wrong) = wrong {
                tracing::warn!(team, "{wrong}: the default holds instead");
            }
            entitlements.teams.insert(team_id(&team)?, limits);
        }
        self.world.entitle(entitlements);
        Ok(revision)
    }

    /// Applies them again whenever the database changes, for ever. `seen` is the revision that they
    /// were applied at last.
    pub async fn follow(&self, database: &Database, mut seen: i64, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            // Away: what is in force stays.
            if Place::end(database)
                .await
                .is_ok_and(|end| end.revision != seen)
            {
                match self.apply(database).await {
                    Ok(revision) => seen = revision,
                    Err(error) => tracing::warn!(%error, "cannot read the teams' plans again"),
                }
            }
        }
    }
}
