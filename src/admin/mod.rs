//! HTTP for operators and orchestrators: health and metrics on an address of its own, and the API
//! that steers the running broker.
//!
//! | path | answer |
//! | --- | --- |
//! | `/healthz` | 200 while the process serves HTTP |
//! | `/readyz` | 200, or 503 and what is waited for, as JSON |
//! | `/metrics` | Prometheus' text format |
//! | `/api/v1` | the API, for who has the token; on the control socket too |
//!
//! Runs on the ordinary runtime, never on a shard. `cli::serve` starts it; shards report to its
//! [`Board`], and whoever opens a listener or loses the database says so to [`Readiness`].

mod api;
mod control;
mod readiness;
mod rulebook;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::telemetry::{Board, metric};

pub(crate) use api::{ACTOR, Gate, ROOT, Token};
pub use api::{Api, Slot};
pub use control::{ControlSocket, FILE as CONTROL_SOCKET};
pub use readiness::Readiness;
pub use rulebook::{PolicyRefused, PutInForce, Reloaded, Rulebook, Since, Tools};

/// How often samples that nobody scrapes are folded together.
const UPKEEP: Duration = Duration::from_secs(5);
/// The version of the text format, as Prometheus asks for it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// What [`install`](crate::telemetry::install) gave.
    pub prometheus: PrometheusHandle,
    /// What the shards count.
    pub board: Board,
    /// Whether the broker is ready.
    pub readiness: Arc<Readiness>,
    /// The API, where it is served here too.
    pub(crate) api: Option<Gate>,
}

/// Serves `pages` until `stop` ends and requests under way are answered.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let prometheus = pages.prometheus.clone();
    let upkeep = async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            prometheus.run_upkeep();
        }
    };
    let routes = router(pages).into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop);
    tokio::select! {
        result = served.into_future() => result,
        () = upkeep => Ok(()),
    }
}

/// The pages as a router.
pub fn router(pages: Pages) -> Router {
    let api = pages.api.clone();
    let api = api.map_or_else(Router::new, api::behind);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(pages)
        .merge(api)
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let waiting_for = pages.readiness.waiting_for();
    let ready = waiting_for.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut body = serde_json::json!({ "ready": ready, "waiting_for": waiting_for });
    let making_do = pages.readiness.making_do();
    if !making_do.is_empty() {
        body["making_do_without"] = serde_json::json!(making_do);
    }
    (status, Json(body)).into_response()
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    let latency = pages.board.publish();
    let mut text = pages.prometheus.render();
    latency.render(&metric::ROUTING_DURATION, &mut text);
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

#[cfg(test)]
mod tests;
