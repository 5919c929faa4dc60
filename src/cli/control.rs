//! The command line's way to the running broker: its API, over the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Failure;
use super::store::actor;
use crate::admin::{ACTOR, CONTROL_SOCKET, ROOT};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// The way to the broker that runs on a data directory.
pub(super) struct Control {
    socket: PathBuf,
}

/// Why the broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// Nobody is there.
    #[error(
        "no broker runs here: nothing answers on {}; start one, or name its configuration with \
         --config", socket.display()
    )]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// It may not be asked by this user.
    #[error("{} may be used by the broker's own user alone", socket.display())]
    Forbidden {
        /// The control socket.
        socket: PathBuf,
    },
    /// It said no.
    #[error("{}", problem_text(.problem))]
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// Problem details (RFC 9457).
        problem: Value,
    },
    /// The conversation broke off.
    #[error("the broker at {} did not answer: {what}", socket.display())]
    Broken {
        /// The control socket.
        socket: PathBuf,
        /// How.
        what: String,
    },
}

impl Control {
    /// To the broker that runs on this data directory, if one does.
    pub(super) fn new(data_dir: &Path) -> Self {
        Self {
            socket: data_dir.join(CONTROL_SOCKET),
        }
    }

    /// Asks for something below `/api/v1`, and gives the answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ControlError> {
        let broken = |what: String| ControlError::Broken {
            socket: self.socket.clone(),
            what,
        };
        let stream = self.connect().await?;
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
            let request = Request::builder()
                .method(method)
                .uri(format!("{ROOT}{path}"))
                .header("host", "cofferdam")
                .header("content-type", "application/json")
                .header(ACTOR, header_text(&actor()))
                .body(Full::new(body))?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX)
                .collect()
                .await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body.to_bytes()))
        };
        let answered = timeout(PATIENCE, exchange).await;
        let answered = answered.map_err(|_| broken(format!("nothing within {PATIENCE:?}")))?;
        let (status, body) = answered.map_err(|error| broken(error.to_string()))?;
        let value = serde_json::from_slice(&body).map_err(|error| broken(error.to_string()))?;
        match status.is_success() {
            true => Ok(value),
            false => Err(ControlError::Refused {
                status,
                problem: value,
            }),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ControlError> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let socket = self.socket.clone();
        UnixStream::connect(&socket)
            .await
            .map_err(|error| match error.kind() {
                NotFound | ConnectionRefused => ControlError::NotRunning { socket },
                PermissionDenied => ControlError::Forbidden { socket },
                _ => ControlError::Broken {
                    socket,
                    what: error.to_string(),
                },
            })
    }
}

/// What a header can hold of a name.
fn header_text(name: &str) -> String {
    let visible = |c: char| match c.is_ascii_graphic() {
        true => c,
        false => '?',
    };
    name.chars().take(100).map(visible).collect()
}

/// A problem in plain text; of a policy, each mistake on a line of its own.
fn problem_text(problem: &Value) -> String {
    let (title, detail) = (problem["title"].as_str(), problem["detail"].as_str());
    let (Some(title), Some(detail)) = (title, detail) else {
        return problem.to_string();
    };
    let between = match problem["errors"].is_array() {
        true => '\n',
        false => ' ',
    };
    format!("{title}:{between}{detail}")
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match &error {
            // What was sent along, or asked, is wrong.
            ControlError::Refused { status, .. }
                if matches!(
                    *status,
                    StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST
                ) =>
            {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(Box::new(error)),
        }
    }
}
