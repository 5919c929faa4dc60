//! Bodies of requests: JSON of a bounded size, refused in the API's own words.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Largest body of a request, in bytes: two policies with room to spare.
pub(crate) const BODY_MAX: usize = 4 << 20;

/// A body that was read as JSON.
pub(super) struct Input<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let body = body(request).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| Problem::malformed(error.to_string()))
    }
}

async fn body(request: Request) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), BODY_MAX)
        .await
        .map_err(|error| {
            // The limit and a client that went away look alike here; the latter reads no answer.
            tracing::debug!(%error, "a request's body was not read");
            let title = "The request is too large";
            let detail = format!("a body has at most {BODY_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title, detail)
        })
}
