//! `/policy/explain`: a decision for connections that are there, by the grants in force.

use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::input::Input;
use super::problem::Problem;
use crate::broker::{Found, Wanted};
use crate::policy::{Action, TeamId};

/// Most connections of one answer. A client identifier is one principal's of one team's; as many of
/// them may have the same.
const CONNECTIONS_MAX: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    client_id: Box<str>,
    /// Of this team alone.
    team: Option<String>,
    action: Action,
    /// As the client would write it.
    topic: String,
}

pub(super) async fn explain(
    api: Api,
    Input(asked): Input<Question>,
) -> Result<Json<Value>, Problem> {
    let team = match &asked.team {
        None => None,
        Some(team) => Some(
            TeamId::new(team)
                .ok_or_else(|| Problem::malformed(format!("{team:?} cannot be a team's id")))?,
        ),
    };
    let wanted = Wanted {
        client_id: Some(asked.client_id.clone()),
        team,
        connected: true,
    };
    let mut connections = Vec::new();
    for shard in 0..api.shards.count() {
        let mut next = Some(0);
        while let Some(from) = next {
            let wanted = wanted.clone();
            let page = api
                .shards
                .visit(shard, move |shard, _| shard.survey(from, &wanted))
                .await;
            let page = page.ok_or_else(Problem::not_running)?;
            next = page.next;
            for found in page.sessions {
                if connections.len() < CONNECTIONS_MAX {
                    connections.push(answer(shard, &found, &asked));
                }
            }
        }
    }
    if connections.is_empty() {
        let whose = asked
            .team
            .map_or(String::new(), |team| format!(" of team {team}"));
        let detail = format!(
            "no client with the identifier {:?}{whose} is connected",
            asked.client_id
        );
        let title = "There is no such connection";
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-connection",
            title,
            detail,
        ));
    }
    Ok(Json(json!({ "connections": connections })))
}

fn answer(shard: u16, found: &Found, asked: &Question) -> Value {
    json!({
        "client_id": &*found.key.client_id,
        "remote": found.peer.address.to_string(),
        "listener": &*found.peer.listener,
        "shard": shard,
        "mount": found.grant.mount(),
        "explanation": found.grant.explain(asked.action, &asked.topic),
    })
}
