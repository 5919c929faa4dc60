//! Who may use the API: on the admin address whoever has the token, on the control socket whoever
//! may open it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::{FOR_READERS, ROOT, Slot};
use crate::audit::Scope;
use crate::broker::{Event, EventKind, Peer, Who};
use crate::provision::Reader;
use crate::telemetry::metric as m;

/// Fewest characters of a token: what is shorter can be guessed.
const TOKEN_MIN: usize = 32;
/// Most bytes of a token.
const TOKEN_MAX: usize = 1024;
/// Longest name that a client of the control socket may go by, in bytes.
const ACTOR_MAX: usize = 128;
/// How the CLI says on whose behalf it asks. Heeded on the control socket alone.
pub(crate) const ACTOR: &str = "cofferdam-actor";
/// The name of the admin address in records.
const LISTENER: &str = "admin";

/// The admin token. Only its hash is kept, so that comparing takes the same time whatever was sent.
#[derive(Clone)]
pub(crate) struct Token(blake3::Hash);

/// A token file that is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// It cannot be read.
    #[error("[admin] token_file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is in it cannot be a token.
    #[error(
        "[admin] token_file {} holds no token: write one line of {TOKEN_MIN} to {TOKEN_MAX} \
         printable ASCII characters, such as `openssl rand -hex 32` prints", path.display()
    )]
    Useless {
        /// Which.
        path: PathBuf,
    },
}

impl Token {
    /// Reads the token's file; spaces and line ends around it do not count.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let useless = || TokenError::Useless {
            path: path.to_owned(),
        };
        Self::new(text.trim()).ok_or_else(useless)
    }

    /// `None` where the text could be guessed, or could not stand in a header.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let fits = (TOKEN_MIN..=TOKEN_MAX).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && visible).then(|| Self(blake3::hash(text.as_bytes())))
    }

    fn is(&self, presented: &[u8]) -> bool {
        let presented = blake3::hash(presented);
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What stands before the API on the admin address.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) token: Token,
    /// The API, which puts failed attempts on record once it is there; they are counted before.
    pub(crate) slot: Slot,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// For the record of what is then done.
    pub(super) name: Arc<str>,
    /// What it may see of the audit.
    pub(super) scope: Scope,
}

/// Lets in whoever has the token; everybody else is told the same, counted and put on record.
pub(super) async fn with_token(
    State(gate): State<Gate>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let why = match presented(request.headers()) {
        Some(token) if gate.token.is(token) => {
            let caller = Caller {
                name: Arc::from(format!("api:{}", remote.ip())),
                scope: Scope::All,
            };
            request.extensions_mut().insert(caller);
            return next.run(request).await;
        }
        Some(token) => match reader(&gate, token).await {
            Err(problem) => return problem.into_response(),
            Ok(Some(caller)) => {
                let path = request.uri().path();
                let path = path.strip_prefix(ROOT).unwrap_or(path);
                if !FOR_READERS.contains(&path) {
                    return Problem::forbidden().into_response();
                }
                request.extensions_mut().insert(caller);
                return next.run(request).await;
            }
            Ok(None) => "wrong_token",
        },
        None => "no_token",
    };
    m::ADMIN_REFUSED.count(&[why], 1);
    let peer = Peer {
        address: remote,
        listener: Arc::from(LISTENER),
    };
    let who = Who {
        team: None,
        username: None,
        client_id: None,
        peer,
    };
    if let Some(api) = gate.slot.get() {
        let (at, kind) = (api.clock.now(), EventKind::AdminRefused { why });
        (api.record)(Box::new(Event { at, who, kind }));
    }
    Problem::unauthorized().into_response()
}

/// Whose token this is, where it is that of a team's reader.
async fn reader(gate: &Gate, token: &[u8]) -> Result<Option<Caller>, Problem> {
    let Some(api) = gate.slot.get() else {
        return Ok(None);
    };
    match Reader::of_token(&api.database, token).await {
        Ok(found) => Ok(found.map(|reader| Caller {
            name: Arc::from(format!("reader:{}", reader.name)),
            scope: Scope::Team(reader.team),
        })),
        Err(error) => {
            tracing::warn!(%error, "a reader's token cannot be looked up");
            Err(Problem::not_running())
        }
    }
}

/// On the control socket: the file's permissions have said who may.
pub(super) async fn local(mut request: Request, next: Next) -> Response {
    let named = request.headers().get(ACTOR);
    let named = named.and_then(|name| name.to_str().ok());
    let fits = |name: &&str| !name.is_empty() && name.len() <= ACTOR_MAX;
    let actor = named.filter(fits).unwrap_or("control socket");
    let caller = Caller {
        name: Arc::from(actor),
        scope: Scope::All,
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_can_stand_in_a_header() {
        let good = "0123456789abcdef0123456789abcdef";
        let token = Token::new(good).expect("a token");
        assert!(token.is(good.as_bytes()));
        for wrong in [
            "",
            "0123456789abcdef0123456789abcdeF",
            &good[1..],
            &format!("{good}0"),
        ] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        for useless in [
            &good[1..],
            &good.replace('0', " "),
            &good.replace('0', "ä"),
            "",
        ] {
            assert!(Token::new(useless).is_none(), "{useless}");
        }
        assert!(Token::new(&"x".repeat(1025)).is_none());
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
