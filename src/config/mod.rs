//! The configuration: a TOML file, overlaid with environment variables, checked as a whole.
//!
//! One of two files is read: the operator's, or the default that is compiled in
//! (`config/cofferdam.toml`, the same text that operators copy). Every key can also be set by a
//! variable, `COFFERDAM__SECTION__KEY`; a listener is named by its `name` (capitals, `-` as `_`) or
//! by its place from 0: `COFFERDAM__LISTENER__WSS__BIND`, `COFFERDAM__LISTENER__0__BIND`. A
//! variable changes listeners that the file has and never adds one, so that a misspelt name is an
//! error. Lists are separated by commas. Relative paths are relative to the working directory.
//!
//! Reading is strict and reports every problem at once: an unknown key, a wrong value or a
//! contradiction names the file and line (or the variable), the key, and the nearest known key.
//! Called by `cli`; everything below it takes the finished [`Config`].

mod audit;
mod check;
mod followed;
mod guard;
mod hook;
mod identity;
mod limits;
mod plan;
mod problem;
mod proxies;
mod quantity;
mod read;
mod section;
mod show;
mod template;
mod tree;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::limits::Durability;
use crate::limits::Limits;
use crate::policy::TeamId;
use crate::time::Span;

pub use audit::{Audit, AuditMode, Region};
pub use followed::{FollowError, Followed};
pub use guard::{AddressLimits, LoginLimits};
pub use hook::{Hook, Style};
pub use identity::{Identity, Jwt, Mapping};
pub use plan::{Plans, UnknownPlan};
pub(crate) use plan::{changes as plan_changes, parse_changes as parse_plan_changes};
pub use problem::{ConfigErrors, Problem};
pub use proxies::Proxies;
pub use template::{ExpandError, Template};
// Other files of the operator's are read in the same way, with the same messages.
pub(crate) use problem::{Origin, Report};
pub(crate) use section::Section;
pub(crate) use tree::parse as parse_toml;

/// The file that is read where none is named and it exists.
pub const DEFAULT_FILE: &str = "cofferdam.toml";

/// The annotated default, compiled in.
pub const EMBEDDED: &str = include_str!("../../config/cofferdam.toml");

/// The name under which problems of [`EMBEDDED`] are reported.
const EMBEDDED_NAME: &str = "(embedded default)";

/// A configuration that has been checked: what it names exists, what it says agrees with itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it was read from: a path, or the embedded default.
    pub source: String,
    /// Where the broker keeps its own files.
    pub data_dir: PathBuf,
    /// Threads that serve connections.
    pub shards: NonZeroUsize,
    /// At least one; names and addresses are distinct.
    pub listeners: Vec<Listener>,
    /// HTTP for health and metrics.
    pub admin: Admin,
    /// Credentials, policy data, audit.
    pub database: Database,
    /// How events are kept.
    pub audit: Audit,
    /// Durable state.
    pub journal: Journal,
    /// The numbers that bound everything.
    pub limits: Limits,
    /// What teams may have and do.
    pub plans: Plans,
    /// What one source address may do.
    pub addresses: AddressLimits,
    /// What becomes of failed logins.
    pub logins: LoginLimits,
    /// Roles and rules.
    pub policy: Policy,
    /// Who else vouches for clients.
    pub identity: Identity,
    /// What is logged.
    pub log: Log,
}

/// One place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Distinct; lower-case letters, digits, `-` and `_`. Stands in metrics and audit.
    pub name: Arc<str>,
    /// What is spoken beneath MQTT.
    pub transport: Transport,
    /// Port 0 lets the system choose (tests).
    pub bind: SocketAddr,
    /// The operator's certificate; `None` with a TLS transport: the development certificate.
    pub certificate: Option<CertificateFiles>,
    /// Clients without username and password act as clients of this team.
    pub anonymous_team: Option<TeamId>,
    /// `anonymous_team` is accepted on an address that is not loopback.
    pub allow_anonymous_remote: bool,
    /// TLS only: clients show certificates.
    pub client_certificates: Option<ClientCertificates>,
    /// Who may say for whom it speaks.
    pub proxies: Proxies,
    /// Every connection comes from one of `proxies` and begins with its PROXY header.
    pub proxy_protocol: bool,
    /// WebSocket only, else `None`.
    pub websocket: Option<WebSocket>,
    /// The limits of `[limits]`, but for those that `[listener.limits]` sets anew.
    pub limits: Limits,
}

/// What is spoken beneath MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket over plain TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

/// PEM files of a listener; both were readable when they were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
}

/// How a listener checks the certificates of its clients; the files were readable when they were
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM certificates of those who vouch for clients.
    pub ca: PathBuf,
    /// PEM lists of what they have revoked; `None`: nothing is looked up.
    pub crl: Option<PathBuf>,
    /// A client without a certificate is not let in.
    pub required: bool,
}

/// What a WebSocket listener accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Paths of the upgrade request, at least one, each beginning with `/`.
    pub paths: Vec<String>,
    /// Origins that a browser may come from; empty: any, unless `listed_origins_only`. A client
    /// that sends no Origin is no browser and is not judged by it.
    pub allowed_origins: Vec<String>,
    /// An Origin must be listed. So it is where clients need not log in: any page that somebody
    /// on this machine opens could otherwise act for the team.
    pub listed_origins_only: bool,
    /// Largest payload of one frame, in bytes; not below `limits.max_packet_size`.
    pub max_frame_size: u64,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where health and metrics are served, over plain HTTP.
    pub bind: SocketAddr,
    /// The file with the token that opens the API there; `None`: it is on the control socket alone.
    pub token_file: Option<PathBuf>,
}

/// `[database]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `sqlite:…` or `postgres://…`
    pub url: DatabaseUrl,
    /// How long those who were known before can log in while a server is away; zero: not at all.
    pub serve_without: Span,
}

/// A database's URL. May hold a password, so that printing it (also with `Debug`) leaves that out.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// `[journal]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// What an acknowledgement is worth, where a team's plan says nothing else.
    pub durability: Durability,
}

/// `[policy]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `None`: the built-in `flowfuse` profile.
    pub file: Option<PathBuf>,
    /// A policy that decides beside it from the start, and of which nothing is carried out.
    pub observe: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter of the `tracing` kind: `info`, `warn,cofferdam::net=debug`.
    pub filter: String,
}

impl Config {
    /// Reads `file`, or [`DEFAULT_FILE`] where it exists, or the embedded default, and overlays
    /// `variables` (those that do not begin with `COFFERDAM__` are passed over).
    ///
    /// # Errors
    /// Every problem that was found; see [`ConfigErrors`].
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let default = Path::new(DEFAULT_FILE);
        match file.or_else(|| default.exists().then_some(default)) {
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigErrors::unreadable(&name, &error))?;
                Self::parse(&name, &text, variables)
            }
            None => Self::parse(EMBEDDED_NAME, EMBEDDED, variables),
        }
    }

    /// Reads `text`, which problems call `name`, and overlays `variables`.
    ///
    /// # Errors
    /// Every problem that was found; see [`ConfigErrors`].
    pub fn parse(
        name: &str,
        text: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut report = problem::Report::new(name);
        let table = tree::parse(text, &mut report);
        let table = tree::overlay(table, variables, &mut report);
        let config = read::config(name, table, &report);
        report.into_result(config)
    }

    /// What an operator should know though nothing is wrong: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        check::warnings(self)
    }

    /// The configuration in force as TOML that could be read again, but for the password in the
    /// database's URL.
    pub fn to_toml(&self) -> String {
        show::toml(self)
    }

    /// The configuration in force, with the keys of the file.
    pub fn to_json(&self) -> serde_json::Value {
        show::json(self)
    }
}

impl Transport {
    /// Every transport, with its name in the configuration.
    pub const ALL: [(&'static str, Self); 4] = [
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("ws", Self::Ws),
        ("wss", Self::Wss),
    ];

    /// Encrypted.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// MQTT in WebSocket frames.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

impl DatabaseUrl {
    /// The whole URL, password included: for connecting, never for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show::redacted(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests;
