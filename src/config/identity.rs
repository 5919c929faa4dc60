//! `[identity]`: who else vouches for clients, besides the own store.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::check;
use super::hook::{self, Hook};
use super::quantity::format_span;
use super::section::Section;
use super::template::Template;
use crate::time::Span;

/// A token's clock may be off by this much, where nothing else is said.
const DEFAULT_LEEWAY: Span = Span::from_secs(30);
const LEEWAY_MAX_MS: u64 = 300_000;
/// Most files with an issuer's keys.
const KEY_FILES_MAX: usize = 16;

/// `[identity]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The platform's own store; `None`: nobody is asked.
    pub http: Option<Hook>,
    /// Tokens as passwords; `None`: there are none.
    pub jwt: Option<Jwt>,
    /// Whom client certificates name; `None`: nobody, they only open the listener.
    pub certificate: Option<Mapping>,
}

/// What a certificate's template may ask for: attributes of the subject, and alternative names.
const CERTIFICATE_NAMES: [&str; 6] = ["cn", "o", "ou", "dns", "uri", "email"];

/// `[identity.jwt]`: an issuer of signed tokens (RFC 7519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Files with its public keys, PEM or JWKS; at least one.
    pub keys: Vec<PathBuf>,
    /// What its tokens call it (`iss`).
    pub issuer: String,
    /// What they call us (`aud`): one of these.
    pub audience: Vec<String>,
    /// How far its clock may be off ours.
    pub leeway: Span,
    /// Usernames in CONNECT that stand for whoever the token says.
    pub placeholders: Vec<String>,
    /// The claim that has a client's own list of patterns.
    pub patterns: Option<String>,
    /// Who its tokens are for.
    pub mapping: Mapping,
}

/// How what is proved elsewhere becomes a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The username, which gives role and team by the policy.
    pub username: Template,
    /// Further bindings, by name.
    pub bindings: Vec<(Arc<str>, Template)>,
    /// The roles that may come of it; `None`: every role of a team.
    pub roles: Option<Vec<String>>,
    /// Only principals that are in the own store.
    pub on_record: bool,
}

pub(super) fn read(mut section: Section<'_>) -> Identity {
    let http = hook::read(&mut section);
    let jwt = section
        .has("jwt")
        .then(|| jwt(section.section("jwt")))
        .flatten();
    let certificate = section
        .has("certificate")
        .then(|| certificate(section.section("certificate")))
        .flatten();
    section.finish();
    Identity {
        http,
        jwt,
        certificate,
    }
}

fn certificate(mut section: Section<'_>) -> Option<Mapping> {
    let mapping = mapping(&mut section, true);
    if let Some(mapping) = &mapping {
        let bound = mapping
            .bindings
            .iter()
            .map(|(_, template)| ("bindings", template));
        for (key, template) in [("username", &mapping.username)].into_iter().chain(bound) {
            for name in template
                .names()
                .filter(|name| !CERTIFICATE_NAMES.contains(name))
            {
                let known = CERTIFICATE_NAMES.join(", ");
                section.problem(key, format!("a certificate has no `{name}`, but {known}"));
            }
        }
    }
    section.finish();
    mapping
}

fn jwt(mut section: Section<'_>) -> Option<Jwt> {
    let keys = needed(&mut section, "keys", Section::texts);
    let keys = keys.and_then(|keys| section.keep("keys", key_files(keys)));
    let issuer = needed(&mut section, "issuer", Section::text);
    let audience = needed(&mut section, "audience", Section::texts);
    let audience = audience.and_then(|list| section.keep("audience", not_empty(list)));
    let leeway = section.span("leeway", &(0..=LEEWAY_MAX_MS));
    let placeholders = section.texts("placeholders");
    let patterns = section.text("patterns");
    let mapping = mapping(&mut section, false);
    section.finish();
    Some(Jwt {
        keys: keys?,
        issuer: issuer?,
        audience: audience?,
        leeway: leeway.unwrap_or(DEFAULT_LEEWAY),
        placeholders: placeholders.unwrap_or_else(|| vec!["jwt".to_owned()]),
        patterns,
        mapping: mapping?,
    })
}

fn mapping(section: &mut Section<'_>, on_record: bool) -> Option<Mapping> {
    let username = needed(section, "username", Section::text);
    let username = username.and_then(|text| section.keep("username", Template::parse(&text)));
    let bindings = section.texts("bindings").unwrap_or_default();
    let bindings = bindings.iter().map(|text| binding(text)).collect();
    let bindings = section.keep("bindings", bindings);
    let roles = section.texts("roles");
    Some(Mapping {
        username: username?,
        bindings: bindings?,
        roles,
        on_record: section.boolean("on_record").unwrap_or(on_record),
    })
}

/// `owner_type={owner_type}`
fn binding(text: &str) -> Result<(Arc<str>, Template), String> {
    let wrong = || format!("{text:?} is no binding: write \"owner={{owner}}\"");
    let (name, template) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.trim();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(wrong());
    }
    if matches!(name, "team" | "username") {
        return Err(format!("`{name}` is the username's to say"));
    }
    Ok((Arc::from(name), Template::parse(template.trim())?))
}

fn key_files(texts: Vec<String>) -> Result<Vec<PathBuf>, String> {
    let texts = not_empty(texts)?;
    if texts.len() > KEY_FILES_MAX {
        return Err(format!("names more than {KEY_FILES_MAX} files"));
    }
    let readable = texts.into_iter().map(|text| check::readable(text.into()));
    readable.collect()
}

fn not_empty(texts: Vec<String>) -> Result<Vec<String>, String> {
    match texts.is_empty() {
        true => Err("is empty".to_owned()),
        false => Ok(texts),
    }
}

fn needed<'r, T>(
    section: &mut Section<'r>,
    key: &'static str,
    read: impl FnOnce(&mut Section<'r>, &'static str) -> Option<T>,
) -> Option<T> {
    let value = read(section, key);
    if !section.has(key) {
        section.problem(key, "is missing");
    }
    value
}

/// The sections that are there, by name, with their keys in order.
pub(super) fn show(identity: &Identity) -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
    let mut sections = Vec::new();
    if let Some(http) = &identity.http {
        sections.push(("http", hook::show(http)));
    }
    if let Some(jwt) = &identity.jwt {
        let mut keys = vec![
            ("keys", json!(jwt.keys)),
            ("issuer", json!(jwt.issuer)),
            ("audience", json!(jwt.audience)),
            ("leeway", json!(format_span(jwt.leeway))),
            ("placeholders", json!(jwt.placeholders)),
        ];
        keys.extend(jwt.patterns.iter().map(|claim| ("patterns", json!(claim))));
        keys.extend(show_mapping(&jwt.mapping));
        sections.push(("jwt", keys));
    }
    if let Some(mapping) = &identity.certificate {
        sections.push(("certificate", show_mapping(mapping)));
    }
    sections
}

fn show_mapping(mapping: &Mapping) -> Vec<(&'static str, Value)> {
    let bindings = mapping.bindings.iter();
    let bindings: Vec<_> = bindings
        .map(|(name, template)| format!("{name}={template}"))
        .collect();
    let mut keys = vec![
        ("username", json!(mapping.username.to_string())),
        ("bindings", json!(bindings)),
    ];
    keys.extend(mapping.roles.iter().map(|roles| ("roles", json!(roles))));
    keys.push(("on_record", json!(mapping.on_record)));
    keys
}

pub(super) fn json(identity: &Identity) -> Option<Value> {
    let sections = show(identity).into_iter();
    let sections: Map<String, Value> = sections
        .map(|(name, keys)| {
            let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value));
            (name.to_owned(), Value::Object(keys.collect()))
        })
        .collect();
    (!sections.is_empty()).then_some(Value::Object(sections))
}
