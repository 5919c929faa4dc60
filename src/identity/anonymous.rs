//! Clients without username and password, where a listener takes them.

use serde_json::json;

use crate::audit::{self, Record};
use crate::database::{Database, DatabaseError};
use crate::policy::TeamId;
use crate::time::Time;

/// The role of such clients in the policy, and their name: `anonymous@<team>`. No client can be
/// provisioned under it.
pub const ANONYMOUS: &str = "anonymous";

/// Whether the team that they act for is suspended; makes the team where it is missing.
pub(super) async fn is_suspended(
    database: &Database,
    team: &TeamId,
    now: Time,
) -> Result<bool, DatabaseError> {
    let suspended: Option<i64> = sqlx::query_scalar("SELECT suspended FROM team WHERE id = $1")
        .bind(team.as_str())
        .fetch_optional(database.pool())
        .await?;
    if let Some(suspended) = suspended {
        return Ok(suspended == 1);
    }
    let mut transaction = database.begin_administration().await?;
    let made = sqlx::query(
        "INSERT INTO team (id, name, created_us) VALUES ($1, $1, $2) ON CONFLICT (id) DO NOTHING",
    )
    .bind(team.as_str())
    .bind(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    .execute(&mut *transaction)
    .await?;
    if made.rows_affected() == 1 {
        let detail = json!({"via": "anonymous_team"});
        let record =
            Record::administration(now, "team_add", Some(team.as_str()), "cofferdam", detail);
        audit::insert(&mut transaction, vec![record]).await?;
        Database::bump_revision(&mut transaction, &[], now).await?;
    }
    transaction.commit().await?;
    // Made by another login between the two questions, it is as new as ours.
    Ok(false)
}
