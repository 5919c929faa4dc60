//! `/policy`: which one is in force, reading it again, and observing another.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::gate::Caller;
use super::input::Input;
use super::problem::Problem;
use crate::admin::rulebook::{PolicyRefused, Reloaded, Rulebook, Since};
use crate::audit::rfc3339;

/// A policy that is sent along.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// The name that errors and explanations give it.
    pub(super) file: String,
    /// TOML.
    pub(super) text: String,
}

pub(super) async fn show(api: Api) -> Json<Value> {
    Json(in_force(&api.rulebook))
}

pub(super) async fn reload(
    api: Api,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let rulebook = Arc::clone(&api.rulebook);
    let reloaded = to_the_end(async move { rulebook.reload(&caller.name).await }).await?;
    let changed = matches!(reloaded.map_err(refused)?, Reloaded::Changed { .. });
    let mut answer = in_force(&api.rulebook);
    answer["changed"] = changed.into();
    Ok(Json(answer))
}

pub(super) async fn observe(
    api: Api,
    Extension(caller): Extension<Caller>,
    Input(document): Input<Document>,
) -> Result<Json<Value>, Problem> {
    let Document { file, text } = document;
    let rulebook = Arc::clone(&api.rulebook);
    let observed = async move { rulebook.observe(&file, &text, &caller.name).await };
    to_the_end(observed).await?.map_err(refused)?;
    Ok(Json(in_force(&api.rulebook)))
}

pub(super) async fn stop_observing(
    api: Api,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let rulebook = Arc::clone(&api.rulebook);
    let stopped = async move { rulebook.stop_observing(&caller.name).await };
    if to_the_end(stopped).await?.is_none() {
        let (title, detail) = ("No policy is observed", "there is nothing to stop");
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "not-observing",
            title,
            detail,
        ));
    }
    Ok(Json(in_force(&api.rulebook)))
}

/// A change that was begun is carried out on all shards, also when whoever asked for it goes away.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let carried_out = tokio::spawn(change).await;
    carried_out.map_err(|_| Problem::not_running())
}

/// The policy in force, and the one that is observed.
pub(super) fn in_force(rulebook: &Rulebook) -> Value {
    let mut answer = one(&rulebook.in_force());
    answer["observed"] = rulebook.observed().map_or(Value::Null, |it| one(&it));
    answer
}

fn one(since: &Arc<Since>) -> Value {
    json!({
        "file": since.policy.file(),
        "version": since.policy.version(),
        "since": rfc3339(since.since),
    })
}

/// A policy that was not taken, with each of its mistakes.
pub(super) fn refused(why: PolicyRefused) -> Problem {
    let title = "The policy was refused; nothing is changed";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let problem = Problem::new(status, "policy-refused", title, why.to_string());
    match why {
        PolicyRefused::Unreadable { .. }
        | PolicyRefused::TooLarge { .. }
        | PolicyRefused::NeedsRestart { .. } => problem,
        PolicyRefused::Invalid(errors) => {
            let errors = errors.0.iter().map(|error| {
                json!({
                    "file": &*error.file, "line": error.line, "key": error.key,
                    "what": error.fault.to_string(),
                })
            });
            problem.with_errors(errors.collect())
        }
    }
}
