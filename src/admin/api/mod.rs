//! The HTTP API of the running broker, `/api/v1`: one file a resource.
//!
//! Served in two places. On the control socket in the data directory, for the CLI and for nobody but
//! the broker's own user; and on the admin address, where there is a token (`[admin] token_file`).
//! Bodies are JSON, errors are problem details (RFC 9457). `openapi.json` beside this file describes
//! it and is served too; a test compares the two.
//!
//! Made by `cli::serve` once there are shards to ask; until then every answer is that the broker is
//! starting. Runs on the ordinary runtime, never on a shard.

mod audit;
mod broker;
mod diff;
mod explain;
mod gate;
mod input;
mod policy;
mod problem;

use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Router, middleware};

use super::Readiness;
use super::rulebook::Rulebook;
use crate::audit::Pseudonyms;
use crate::database::Database;
use crate::net::clock::Clock;
use crate::net::server::{Record, Shards};
use problem::Problem;

pub(crate) use gate::{ACTOR, Gate, Token};

/// What readers of one team may ask for; each of these heeds the caller's scope.
pub(super) const FOR_READERS: [&str; 2] = ["/audit", "/audit/export"];

/// Where it begins.
pub(crate) const ROOT: &str = "/api/v1";

const OPENAPI: &str = include_str!("openapi.json");

/// What the API speaks for.
#[derive(Clone)]
pub struct Api {
    /// Asked what stands on them.
    pub shards: Shards,
    /// The policy in force.
    pub rulebook: Arc<Rulebook>,
    /// Whether the broker is ready.
    pub readiness: Arc<Readiness>,
    /// Where failed attempts to use it go on record.
    pub record: Record,
    /// Where the audit store is, and who may read a team's part of it.
    pub database: Database,
    /// Databases of regions, and the teams whose records are there.
    pub regions: Arc<Vec<(crate::config::Region, Database)>>,
    /// What names and addresses are called on record, where not by themselves.
    pub names: Option<Pseudonyms>,
    /// When.
    pub clock: Clock,
}

/// Where the API is put once there is one.
pub type Slot = Arc<OnceLock<Api>>;

/// Method and path below [`ROOT`], and what answers.
type Operation = (&'static str, &'static str, fn() -> MethodRouter<Slot>);

/// All there is; `openapi.json` has the same.
const OPERATIONS: &[Operation] = &[
    ("get", "/openapi.json", || get(openapi)),
    ("get", "/broker", || get(broker::show)),
    ("get", "/policy", || get(policy::show)),
    ("post", "/policy/reload", || post(policy::reload)),
    ("put", "/policy/observed", || {
        axum::routing::put(policy::observe)
    }),
    ("delete", "/policy/observed", || {
        delete(policy::stop_observing)
    }),
    ("post", "/policy/explain", || post(explain::explain)),
    ("post", "/policy/diff", || post(diff::diff)),
    ("get", "/audit", || get(audit::show)),
    ("get", "/audit/export", || get(audit::export)),
];

/// For the control socket: whoever may open it may ask.
pub(super) fn local(slot: Slot) -> Router {
    nested(slot, |routes| {
        routes.layer(middleware::from_fn(gate::local))
    })
}

/// For the admin address: whoever has the token may ask.
pub(super) fn behind(gate: Gate) -> Router {
    nested(Arc::clone(&gate.slot), |routes| {
        routes.layer(middleware::from_fn_with_state(gate, gate::with_token))
    })
}

fn nested(slot: Slot, guard: impl FnOnce(Router<Slot>) -> Router<Slot>) -> Router {
    let routes = OPERATIONS
        .iter()
        .fold(Router::new(), |routes, (_, path, answer)| {
            routes.route(path, answer())
        });
    let routes = routes
        .fallback(async || Problem::no_such_path())
        .method_not_allowed_fallback(async || Problem::no_such_method());
    Router::new().nest(ROOT, guard(routes)).with_state(slot)
}

async fn openapi() -> impl IntoResponse {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], OPENAPI)
}

impl FromRequestParts<Slot> for Api {
    type Rejection = Problem;

    async fn from_request_parts(_parts: &mut Parts, slot: &Slot) -> Result<Self, Problem> {
        slot.get().cloned().ok_or_else(Problem::not_running)
    }
}

#[cfg(test)]
mod tests;
