//! Plans read again while the broker runs, on SIGHUP: `[plan.<name>]` of the configuration as it is
//! now, and of nothing else in it. A configuration with anything wrong in it is refused as a whole, and
//! the plans before stay. Called by `steering`.

use std::sync::Arc;

use serde_json::json;

use crate::audit::{AuditSink, Record};
use crate::config::Config;
use crate::database::Database;
use crate::identity::TeamPlans;
use crate::net::clock::Clock;
use crate::telemetry::metric as m;

/// Most mistakes that a record names; the log has all.
const RECORDED_MAX: usize = 10;

/// Where plans come from, and where they go.
pub(super) struct PlanFile {
    config: Config,
    plans: Arc<TeamPlans>,
    database: Database,
    sink: AuditSink,
    clock: Clock,
}

impl PlanFile {
    /// The plans of this configuration, which are in force.
    pub(super) fn of(
        config: &Config,
        plans: Arc<TeamPlans>,
        database: Database,
        sink: AuditSink,
        clock: Clock,
    ) -> Self {
        for result in ["loaded", "unchanged", "refused"] {
            m::PLAN_RELOADS.count(&[result], 0);
        }
        Self {
            config: config.clone(),
            plans,
            database,
            sink,
            clock,
        }
    }

    /// Reads them again and puts them in force, for those who are connected too.
    pub(super) async fn reload(&self, actor: &str) {
        let file = &self.config.source;
        let result = self.read().await;
        m::PLAN_RELOADS.count(&[result.as_ref().map_or("refused", |it| it.0)], 1);
        let (event, detail) = match result {
            Ok(("unchanged", _)) => return tracing::info!(file, "the plans are unchanged"),
            Ok((_, changed)) => {
                tracing::info!(file, ?changed, "other plans are in force");
                ("plans_reload", json!({ "file": file, "changed": changed }))
            }
            Err(refused) => {
                tracing::error!(
                    file,
                    "the plans were not read again and nothing is changed:\n{refused}"
                );
                let errors: Vec<_> = refused.lines().take(RECORDED_MAX).collect();
                let count = refused.lines().count();
                let detail = json!({ "file": file, "errors": errors, "count": count });
                ("plans_refused", detail)
            }
        };
        let at = self.clock.now();
        let record = Record::administration(at, event, None, actor, detail);
        self.sink.note(record);
    }

    /// What came of it, and the names of the plans that are others now, or are new, or gone.
    async fn read(&self) -> Result<(&'static str, Vec<String>), String> {
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || config.read_again(std::env::vars_os()));
        let read = read.await.map_err(|error| error.to_string())?;
        let plans = read.map_err(|errors| errors.to_string())?.plans;
        let changed = self.plans.replace(plans, &self.database).await;
        let changed = changed.map_err(|error| error.to_string())?;
        match changed.is_empty() {
            true => Ok(("unchanged", changed)),
            false => Ok(("loaded", changed)),
        }
    }
}
