//! One HTTP request at a time: POST, and the reply within bounds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Most bytes of a reply's body.
const BODY_MAX: usize = 64 << 10;

/// How long a connection is kept for the next question. Shorter than the 5 s after which Node.js
/// closes it by default: a question that crosses such a close may or may not have been heard.
const IDLE: Duration = Duration::from_secs(4);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How long to wait after a 429 that does not say, and at most.
const LATER: Duration = Duration::from_millis(250);
const LATER_MAX: Duration = Duration::from_secs(10);

/// Posts questions. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Said to be JSON.
    pub(super) is_json: bool,
    /// Empty where the status says enough.
    pub(super) body: Bytes,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection was made: the question was not heard.
    #[error("no connection: {0}")]
    Unreached(String),
    /// The hook is too busy, and heard nothing but that there is a question (429).
    #[error("too busy, asks for {} ms", .0.as_millis())]
    Later(Duration),
    /// Nothing is asked now, for the hook is away.
    #[error("away")]
    Away,
    /// It was not its turn in time: too many of its team's were before it.
    #[error("too many questions before it")]
    Crowded,
    /// It may have been heard; whatever it came to was not an answer.
    #[error("{0}")]
    NoAnswer(String),
    /// What stands before the hook says that it is not there (502, 503, 504).
    #[error("status {0}")]
    Gateway(u16),
    /// It may have been heard; the time was up.
    #[error("no answer in time")]
    Timeout,
}

/// Why questions cannot be posted at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of certificate authorities.
    #[error("[identity.http] ca: {} cannot be read: {why}", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Client {
    /// A client that trusts the authorities in this file, or those of the public web.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, ClientError> {
        let roots = match ca {
            Some(path) => authorities(path)?,
            None => RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { http })
    }

    /// Posts JSON. A redirection is a reply like any other: nothing is followed.
    pub(super) async fn post(&self, uri: &Uri, body: &[u8]) -> Result<Reply, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("cofferdam/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| Failure::NoAnswer(error.to_string()))?;
        let response = self.http.request(request).await.map_err(|error| {
            let why = in_full(&error);
            match error.is_connect() {
                true => Failure::Unreached(why),
                false => Failure::NoAnswer(why),
            }
        })?;
        let status = response.status().as_u16();
        match status {
            429 => return Err(Failure::Later(retry_after(response.headers()))),
            502..=504 => return Err(Failure::Gateway(status)),
            200 => {}
            _ => {
                return Ok(Reply {
                    status,
                    is_json: false,
                    body: Bytes::new(),
                });
            }
        }
        let is_json = is_json(response.headers());
        let body = Limited::new(response.into_body(), BODY_MAX);
        let body = body.collect().await;
        let body = body.map_err(|error| Failure::NoAnswer(error.to_string()))?;
        Ok(Reply {
            status,
            is_json,
            body: body.to_bytes(),
        })
    }
}

/// An error with what it comes from.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Seconds are all that limiters of rate say in it (RFC 9110, section 10.2.3, has dates too).
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers.get(header::RETRY_AFTER);
    let seconds = value.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds
        .map_or(LATER, Duration::from_secs)
        .clamp(LATER, LATER_MAX)
}

fn authorities(path: &Path) -> Result<RootCertStore, ClientError> {
    let failed = |why: String| ClientError::Authorities {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|error: io::Error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(failed("there is no certificate in it".to_owned())),
        false => Ok(roots),
    }
}
