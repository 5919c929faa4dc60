//! The configuration in force, as text.

use serde_json::{Map, Value, json};

use super::guard;
use super::limits::{Slot, rows};
use super::quantity::{format_size, format_span};
use super::{Config, Listener, audit, identity};
use crate::limits::Limits;
use crate::time::Span;

pub(super) fn json(config: &Config) -> Value {
    let mut value = json!({
        "data_dir": config.data_dir,
        "shards": config.shards,
        "listener": config.listeners.iter().map(|l| listener(l, &config.limits)).collect::<Vec<_>>(),
        "admin": { "bind": config.admin.bind.to_string() },
        "database": {
            "url": config.database.url.to_string(),
            "serve_without": format_span(config.database.serve_without),
        },
        "audit": audit::json(&config.audit),
        "journal": { "durability": config.journal.durability.as_str() },
        "limits": limits(&config.limits),
        "plan": config.plans.show(),
        "log": { "filter": config.log.filter },
    });
    for (key, section) in guard::show(&config.addresses, &config.logins) {
        value["limits"][key] = section;
    }
    if let Some(file) = &config.admin.token_file {
        value["admin"]["token_file"] = json!(file);
    }
    let policy = [
        ("file", &config.policy.file),
        ("observe", &config.policy.observe),
    ];
    for (key, file) in policy {
        if let Some(file) = file {
            value["policy"][key] = json!(file);
        }
    }
    if let Some(identity) = identity::json(&config.identity) {
        value["identity"] = identity;
    }
    value
}

/// TOML in the order of the default file. Written by hand: a serialiser would sort the keys.
pub(super) fn toml(config: &Config) -> String {
    const SECTIONS: [&str; 7] = [
        "admin", "database", "audit", "journal", "limits", "policy", "log",
    ];
    let value = json(config);
    let mut out = String::new();
    for key in ["data_dir", "shards"] {
        line(&mut out, key, &value[key]);
    }
    for entry in value["listener"].as_array().into_iter().flatten() {
        out.push_str("\n[[listener]]\n");
        let order = [
            "name",
            "transport",
            "bind",
            "certificate",
            "private_key",
            "client_ca",
            "client_crl",
            "client_certificate",
            "anonymous_team",
            "allow_anonymous_remote",
            "proxies",
            "proxy_protocol",
            "paths",
            "allowed_origins",
            "max_frame_size",
        ];
        for key in order {
            if let Some(value) = entry.get(key) {
                line(&mut out, key, value);
            }
        }
        if let Some(limits) = entry.get("limits").and_then(Value::as_object) {
            out.push_str("[listener.limits]\n");
            for (key, value) in limits {
                line(&mut out, key, value);
            }
        }
    }
    for (name, plan) in value["plan"].as_object().into_iter().flatten() {
        out.push_str(&format!("\n[plan.{name}]\n"));
        let entries = plan.as_object().into_iter().flatten();
        let (sections, keys): (Vec<_>, Vec<_>) = entries.partition(|(_, value)| value.is_object());
        for (key, value) in keys {
            line(&mut out, key, value);
        }
        for (section, entries) in sections {
            out.push_str(&format!("[plan.{name}.{section}]\n"));
            for (key, value) in entries.as_object().into_iter().flatten() {
                line(&mut out, key, value);
            }
        }
    }
    for section in SECTIONS {
        if let Some(entries) = value[section].as_object() {
            out.push('\n');
            table(&mut out, section, entries);
        }
    }
    for (section, keys) in identity::show(&config.identity) {
        out.push_str(&format!("\n[identity.{section}]\n"));
        for (key, value) in keys {
            line(&mut out, key, &value);
        }
    }
    out
}

/// `url` with its password, if it has one, left out.
pub(super) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // The last `@` ends the user part: a password may hold others.
    let shown = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let query: Vec<&str> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            if part.starts_with("password=") {
                "password=***"
            } else {
                part
            }
        })
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{shown}{path}{mark}{}", query.join("&"))
}

/// A table, and those within it.
fn table(out: &mut String, path: &str, entries: &Map<String, Value>) {
    let (within, keys): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, value)| value.is_object());
    if !keys.is_empty() || within.is_empty() {
        out.push_str(&format!("[{path}]\n"));
    }
    for (key, value) in keys {
        line(out, key, value);
    }
    for (name, entries) in within {
        if let Some(entries) = entries.as_object() {
            table(out, &format!("{path}.{name}"), entries);
        }
    }
}

/// TOML writes these kinds of value as JSON does.
fn line(out: &mut String, key: &str, value: &Value) {
    out.push_str(&format!("{key} = {value}\n"));
}

fn listener(listener: &Listener, base: &Limits) -> Value {
    let mut value = json!({
        "name": listener.name.as_ref(),
        "transport": listener.transport.as_str(),
        "bind": listener.bind.to_string(),
    });
    if let Some(files) = &listener.certificate {
        value["certificate"] = json!(files.certificate);
        value["private_key"] = json!(files.private_key);
    }
    if let Some(clients) = &listener.client_certificates {
        value["client_ca"] = json!(clients.ca);
        value["client_certificate"] = json!(match clients.required {
            true => "required",
            false => "optional",
        });
        if let Some(crl) = &clients.crl {
            value["client_crl"] = json!(crl);
        }
    }
    if let Some(team) = &listener.anonymous_team {
        value["anonymous_team"] = json!(team.as_str());
        value["allow_anonymous_remote"] = json!(listener.allow_anonymous_remote);
    }
    if !listener.proxies.is_empty() {
        value["proxies"] = json!(listener.proxies.texts());
        value["proxy_protocol"] = json!(listener.proxy_protocol);
    }
    if let Some(websocket) = &listener.websocket {
        value["paths"] = json!(websocket.paths);
        value["allowed_origins"] = json!(websocket.allowed_origins);
        value["max_frame_size"] = json!(format_size(websocket.max_frame_size));
    }
    // Only what differs: the rest is the broker's.
    let mut own = limits(&listener.limits);
    let shared = limits(base);
    own.retain(|key, value| shared.get(key) != Some(value));
    if !own.is_empty() {
        value["limits"] = Value::Object(own);
    }
    value
}

fn limits(limits: &Limits) -> Map<String, Value> {
    let mut limits = limits.clone();
    let mut shown = Map::new();
    for (key, slot, _) in rows(&mut limits) {
        let value = match slot {
            Slot::Size32(size) => json!(format_size(u64::from(*size))),
            Slot::Size64(size) => json!(format_size(*size)),
            Slot::Count16(count) => json!(*count),
            Slot::Count32(count) => json!(*count),
            Slot::QoS(qos) => json!(*qos as u8),
            Slot::Flag(flag) => json!(*flag),
            Slot::Span(span) => json!(format_span(*span)),
            Slot::Seconds(Some(s)) => json!(format_span(Span::from_secs(u64::from(*s)))),
            Slot::Seconds(None) => continue,
        };
        shown.insert(key.to_owned(), value);
    }
    shown
}
