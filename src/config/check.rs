//! What must hold beyond the kind of each value.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::filter::Targets;

use super::section::Section;
use super::{Admin, Config, Listener, Transport};
use crate::limits::Limits;

/// A listener's name: it stands in metrics, in audit records and in variables.
pub(super) fn name(name: String) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if name.len() <= 32 && name.chars().all(good) && !name.contains("__") {
        Ok(name)
    } else {
        Err(format!(
            "{name:?} is no name: at most 32 lower-case letters, digits, - and single _"
        ))
    }
}

pub(super) fn readable(path: PathBuf) -> Result<PathBuf, String> {
    let opened = File::open(&path).and_then(|file| file.metadata());
    match opened {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(format!("{} is not a file", path.display())),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

pub(super) fn database_url(url: String) -> Result<String, String> {
    let known = ["sqlite:", "postgres://", "postgresql://"];
    if known.iter().any(|scheme| url.starts_with(scheme)) {
        Ok(url)
    } else {
        // The value may hold a password: it is not repeated.
        Err(
            "is no database: write \"sqlite://data/cofferdam.db\" or \"postgres://user@host/name\""
                .to_owned(),
        )
    }
}

pub(super) fn log_filter(filter: String) -> Result<String, String> {
    match filter.parse::<Targets>() {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!("{filter:?} is no filter: {error}")),
    }
}

pub(super) fn paths(paths: Vec<String>) -> Result<Vec<String>, String> {
    if paths.is_empty() {
        return Err("names no path: leave it out for / and /mqtt".to_owned());
    }
    let bad = |path: &&String| !path.starts_with('/') || path.contains(['?', '#', ' ']);
    match paths.iter().find(bad) {
        Some(path) => Err(format!("{path:?} is no path: write \"/mqtt\"")),
        None => Ok(paths),
    }
}

/// An origin as browsers write it (RFC 6454): scheme, host and perhaps a port, nothing after.
pub(super) fn origins(origins: Vec<String>) -> Result<Vec<String>, String> {
    let good = |origin: &String| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
    };
    match origins.iter().find(|origin| !good(origin)) {
        Some(origin) => Err(format!(
            "{origin:?} is no origin: write \"https://app.example.com\", without a path or wildcard"
        )),
        None => Ok(origins),
    }
}

pub(super) fn limits(section: &Section<'_>, limits: &Limits) {
    if limits.max_outbox_bytes < limits.max_packet_size {
        section.problem(
            "max_outbox_bytes",
            "is below max_packet_size: a message of full size could not be delivered",
        );
    }
}

pub(super) fn certificate(section: &Section<'_>, transport: Transport) {
    let keys = ["certificate", "private_key"];
    for (key, other) in [keys, [keys[1], keys[0]]].map(|[a, b]| (a, b)) {
        if !section.has(key) {
            continue;
        }
        if !transport.is_tls() {
            section.problem(
                key,
                format!("has no use: {} is not encrypted", transport.as_str()),
            );
        } else if !section.has(other) {
            section.problem(
                key,
                format!("needs {other} beside it (leave both out for the development certificate)"),
            );
        }
    }
}

pub(super) fn client_certificates(section: &Section<'_>, transport: Transport) {
    for key in ["client_ca", "client_crl", "client_certificate"] {
        if !section.has(key) {
            continue;
        }
        if !transport.is_tls() {
            section.problem(
                key,
                format!("has no use: {} is not encrypted", transport.as_str()),
            );
        } else if !section.has("client_ca") {
            section.problem(key, "needs client_ca beside it");
        }
    }
}

pub(super) fn websocket(section: &Section<'_>, transport: Transport) {
    for key in ["paths", "allowed_origins", "max_frame_size"] {
        if section.has(key) && !transport.is_websocket() {
            section.problem(
                key,
                format!("has no use: {} is no WebSocket", transport.as_str()),
            );
        }
    }
}

pub(super) fn anonymous(section: &Section<'_>, listener: &Listener) {
    let remote = !listener.bind.ip().to_canonical().is_loopback();
    if listener.anonymous_team.is_some() && remote && !listener.allow_anonymous_remote {
        section.problem(
            "anonymous_team",
            format!(
                "lets anybody in who can reach {}: bind to 127.0.0.1, or set \
                 allow_anonymous_remote = true if that is meant",
                listener.bind
            ),
        );
    }
}

pub(super) fn proxies(section: &Section<'_>, listener: &Listener) {
    let is_read = listener.proxy_protocol || listener.transport.is_websocket();
    if section.has("proxies") && !is_read {
        section.problem(
            "proxies",
            format!(
                "has no use: over {} a proxy tells the client's address by proxy_protocol = true only",
                listener.transport.as_str()
            ),
        );
    }
    if listener.proxy_protocol && !section.has("proxies") {
        section.problem(
            "proxy_protocol",
            "needs proxies beside it: the addresses that may connect, and that are believed",
        );
    }
}

/// Names and addresses are used once.
pub(super) fn distinct(
    section: &Section<'_>,
    listener: &Listener,
    others: &[Listener],
    admin: &Admin,
) {
    if others.iter().any(|other| other.name == listener.name) {
        section.problem("name", "another listener has this name");
    }
    let taken = others
        .iter()
        .find(|other| overlap(other.bind, listener.bind))
        .map(|other| format!("listener `{}`", other.name))
        .or_else(|| overlap(admin.bind, listener.bind).then(|| "[admin]".to_owned()));
    if let Some(owner) = taken {
        section.problem("bind", format!("{} is taken by {owner}", listener.bind));
    }
}

/// Whether both would be bound to the same port of the same address. Port 0 is a new one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || everywhere)
}

/// What an operator should know though nothing is wrong.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for listener in &config.listeners {
        let remote = !listener.bind.ip().to_canonical().is_loopback();
        if remote && !listener.transport.is_tls() {
            warnings.push(format!(
                "listener `{}` takes passwords unencrypted on {}: use it only behind a proxy that \
                 ends TLS",
                listener.name, listener.bind
            ));
        }
        if let (true, Some(team)) = (remote, &listener.anonymous_team) {
            warnings.push(format!(
                "listener `{}` lets anybody who can reach {} into team `{}`",
                listener.name,
                listener.bind,
                team.as_str()
            ));
        }
        if let Some(network) = listener.proxies.everybody() {
            warnings.push(format!(
                "listener `{}` takes {network} for proxies: every client may say that it is another",
                listener.name
            ));
        }
        if remote && listener.transport.is_tls() && listener.certificate.is_none() {
            warnings.push(format!(
                "listener `{}` on {} uses the development certificate, which clients trust only \
                 with its CA",
                listener.name, listener.bind
            ));
        }
    }
    if let Some(hook) = &config.identity.http {
        warnings.extend(hook.warnings());
    }
    warnings
}
