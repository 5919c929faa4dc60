//! `/broker`: what runs here.

use axum::Json;
use serde_json::{Value, json};

use super::{Api, policy};

pub(super) async fn show(api: Api) -> Json<Value> {
    let waiting_for = api.readiness.waiting_for();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "shards": api.shards.count(),
        "ready": waiting_for.is_empty(),
        "waiting_for": waiting_for,
        "policy": policy::in_force(&api.rulebook),
    }))
}
