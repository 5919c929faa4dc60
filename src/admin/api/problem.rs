//! What the API says when it cannot do what it was asked: problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// One problem, as the client is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    /// The end of the problem's type, `urn:cofferdam:problem:…`: it never changes.
    kind: &'static str,
    /// The same for every problem of this kind.
    title: &'static str,
    /// What is wrong this time.
    detail: String,
    /// Where there is more than one thing wrong: each of them.
    errors: Vec<Value>,
}

impl Problem {
    /// A problem of a kind; `detail` is what is wrong this time.
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The same problem with everything that is wrong.
    pub(super) fn with_errors(self, errors: Vec<Value>) -> Self {
        Self { errors, ..self }
    }

    /// The request is not of the form that the API takes.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        let title = "The request is not as the API takes it";
        Self::new(StatusCode::BAD_REQUEST, "malformed", title, detail)
    }

    /// There is nothing at this path.
    pub(super) fn no_such_path() -> Self {
        let detail = "GET /api/v1/openapi.json describes what there is";
        let title = "There is nothing at this path";
        Self::new(StatusCode::NOT_FOUND, "no-such-path", title, detail)
    }

    /// The path takes other methods.
    pub(super) fn no_such_method() -> Self {
        let detail = "GET /api/v1/openapi.json describes what there is";
        let title = "This path takes other methods";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no-such-method",
            title,
            detail,
        )
    }

    /// The broker is not that far yet, or on its way out.
    pub(super) fn not_running() -> Self {
        let title = "The broker is starting or stopping";
        let detail = "GET /readyz says what it waits for";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", title, detail)
    }

    /// Who asks may do other things, and not this.
    pub(super) fn forbidden() -> Self {
        let title = "This token reads one team's audit and does nothing else";
        let detail = "GET /api/v1/audit and /api/v1/audit/export are open to it";
        Self::new(StatusCode::FORBIDDEN, "forbidden", title, detail)
    }

    /// Who asks has not shown that it may.
    pub(super) fn unauthorized() -> Self {
        let title = "A token is needed";
        let detail = "send Authorization: Bearer with the token of [admin] token_file";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", title, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:cofferdam:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        let media = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"cofferdam\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
