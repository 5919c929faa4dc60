//! `/policy/diff`: which live subscriptions and recent publishes another policy would answer
//! otherwise. A page a request: a shard is asked for so many sessions at a time, and what it gives is
//! judged here, so that its connections notice nothing.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::input::Input;
use super::policy::{Document, refused};
use super::problem::Problem;
use crate::admin::rulebook;
use crate::broker::{Found, Wanted};
use crate::policy::{Action, Changed, Pair, Policy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// `None`: the policy in force.
    old: Option<Document>,
    new: Document,
    /// Where the last page ended; `None`: the first page.
    after: Option<Cursor>,
}

/// A place in the walk over all sessions.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    shard: u16,
    place: u32,
}

/// What was looked at on one page.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct LookedAt {
    sessions: usize,
    subscriptions: usize,
    publishes: usize,
}

pub(super) async fn diff(api: Api, Input(asked): Input<Question>) -> Result<Json<Value>, Problem> {
    let old = match asked.old {
        Some(document) => parse(document)?,
        None => Arc::clone(&api.rulebook.in_force().policy),
    };
    let new = parse(asked.new)?;
    let Cursor { shard, place } = asked.after.unwrap_or(Cursor { shard: 0, place: 0 });
    if shard >= api.shards.count() {
        return Err(Problem::malformed(format!("there is no shard {shard}")));
    }
    let everyone = Wanted::default();
    let page = api
        .shards
        .visit(shard, move |shard, _| shard.survey(place, &everyone))
        .await
        .ok_or_else(Problem::not_running)?;
    let next = match page.next {
        Some(place) => Some(Cursor { shard, place }),
        None => Some(shard + 1)
            .filter(|shard| *shard < api.shards.count())
            .map(|shard| Cursor { shard, place: 0 }),
    };
    let judged = tokio::task::spawn_blocking(move || judge(&old, &new, &page.sessions)).await;
    let (differences, looked_at) = judged.map_err(|_| Problem::not_running())?;
    Ok(Json(json!({
        "differences": differences, "looked_at": looked_at, "next": next,
    })))
}

fn parse(document: Document) -> Result<Arc<Policy>, Problem> {
    let policy = rulebook::parse(&document.file, &document.text);
    policy.map(Arc::new).map_err(refused)
}

fn judge(old: &Policy, new: &Policy, sessions: &[Found]) -> (Vec<Value>, LookedAt) {
    let mut differences = Vec::new();
    let mut looked_at = LookedAt::default();
    for found in sessions {
        let pair = Pair::again(old, new, &found.grant);
        let mount = found.grant.mount();
        let standing = found.subscriptions.iter();
        let standing = standing.filter_map(|key| pair.stands(key, mount));
        let recent = found.published.iter();
        let recent = recent.filter_map(|topic| pair.ask(Action::Publish, topic));
        differences.extend(
            standing
                .chain(recent)
                .map(|changed| answer(found, &changed)),
        );
        looked_at.sessions += 1;
        looked_at.subscriptions += found.subscriptions.len();
        looked_at.publishes += found.published.len();
    }
    (differences, looked_at)
}

fn answer(found: &Found, changed: &Changed) -> Value {
    let mut answer = json!(changed);
    answer["client_id"] = (&*found.key.client_id).into();
    answer["connected"] = found.connected.into();
    answer
}
