//! `[audit]`: how events are kept.

use serde_json::{Map, Value, json};

use super::quantity::{format_size, format_span};
use super::section::Section;
use super::{DatabaseUrl, check};
use crate::time::Span;

/// Smallest and largest spool.
const SPOOL_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;
const DEFAULT_SPOOL: u64 = 1 << 30;
const CHECKPOINT_MS: std::ops::RangeInclusive<u64> = 1_000..=24 * 60 * 60 * 1_000;
const DEFAULT_CHECKPOINT: Span = Span::from_secs(60);
/// From a day to a hundred years.
const RETENTION_MS: std::ops::RangeInclusive<u64> =
    24 * 60 * 60 * 1_000..=100 * 366 * 24 * 60 * 60 * 1_000;

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// What happens when events cannot be kept.
    pub mode: AuditMode,
    /// Most bytes of the spool on disk.
    pub spool_max: u64,
    /// How often the ends of chains are signed.
    pub checkpoint_every: Span,
    /// How long records are kept; `None`: for ever.
    pub retention: Option<Span>,
    /// Addresses are made unrecognisable.
    pub pseudonymise_addresses: bool,
    /// So are usernames and client identifiers.
    pub pseudonymise_usernames: bool,
    /// Databases that some teams' records go to instead; names and teams are distinct.
    pub regions: Vec<Region>,
}

/// `[audit.region.<name>]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Where its records go.
    pub url: DatabaseUrl,
    /// Whose.
    pub teams: Vec<String>,
}

/// What happens when events cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditMode {
    /// Clients are served all the same, and what is missing is counted.
    Relaxed,
    /// Nobody is admitted whose connect is not in the spool.
    Strict,
}

impl AuditMode {
    const ALL: [(&'static str, Self); 2] = [("relaxed", Self::Relaxed), ("strict", Self::Strict)];

    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Strict => "strict",
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            mode: AuditMode::Relaxed,
            spool_max: DEFAULT_SPOOL,
            checkpoint_every: DEFAULT_CHECKPOINT,
            retention: None,
            pseudonymise_addresses: false,
            pseudonymise_usernames: false,
            regions: Vec::new(),
        }
    }
}

pub(super) fn read(mut section: Section<'_>) -> Audit {
    let mode = section.choice("mode", &AuditMode::ALL);
    let spool_max = section.size("spool_max", &SPOOL_BYTES);
    let checkpoint_every = section.span("checkpoint_every", &CHECKPOINT_MS);
    let retention = section.span("retention", &RETENTION_MS);
    let personal = section.texts("pseudonymise").unwrap_or_default();
    if let Some(other) = personal
        .iter()
        .find(|it| !["address", "username"].contains(&it.as_str()))
    {
        section.problem(
            "pseudonymise",
            format!("{other:?} is neither \"address\" nor \"username\""),
        );
    }
    let regions = regions(&mut section);
    section.finish();
    let has = |what: &str| personal.iter().any(|it| it == what);
    Audit {
        mode: mode.unwrap_or(AuditMode::Relaxed),
        spool_max: spool_max.unwrap_or(DEFAULT_SPOOL),
        checkpoint_every: checkpoint_every.unwrap_or(DEFAULT_CHECKPOINT),
        retention,
        pseudonymise_addresses: has("address"),
        pseudonymise_usernames: has("username"),
        regions,
    }
}

fn regions(audit: &mut Section<'_>) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for (name, mut section) in audit.named("region") {
        if let Err(why) = check::name(name.clone()) {
            section.problem("url", why);
        }
        let url = section.text("url");
        if !section.has("url") {
            section.problem("url", "is missing");
        }
        let url = url.and_then(|url| section.keep("url", check::database_url(url)));
        let teams = section.texts("teams").unwrap_or_default();
        if teams.is_empty() {
            section.problem("teams", "names no team: write teams = [\"acme\"]");
        }
        let mut others = regions.iter().flat_map(|region| &region.teams);
        if let Some(team) = teams.iter().find(|team| others.any(|other| other == *team)) {
            section.problem("teams", format!("{team:?} is in another region already"));
        }
        section.finish();
        regions.extend(url.map(|url| Region {
            name,
            url: DatabaseUrl(url),
            teams,
        }));
    }
    regions
}

/// With the keys of the file, in its order.
pub(super) fn json(audit: &Audit) -> Value {
    let mut shown = Map::new();
    shown.insert("mode".to_owned(), audit.mode.as_str().into());
    shown.insert("spool_max".to_owned(), format_size(audit.spool_max).into());
    let every = format_span(audit.checkpoint_every);
    shown.insert("checkpoint_every".to_owned(), every.into());
    if let Some(retention) = audit.retention {
        shown.insert("retention".to_owned(), format_span(retention).into());
    }
    let personal = [
        ("address", audit.pseudonymise_addresses),
        ("username", audit.pseudonymise_usernames),
    ];
    let personal: Vec<_> = personal.iter().filter(|it| it.1).map(|it| it.0).collect();
    if !personal.is_empty() {
        shown.insert("pseudonymise".to_owned(), json!(personal));
    }
    if !audit.regions.is_empty() {
        let regions = audit.regions.iter().map(|region| {
            let shown = json!({ "url": region.url.to_string(), "teams": region.teams });
            (region.name.clone(), shown)
        });
        shown.insert("region".to_owned(), Value::Object(regions.collect()));
    }
    Value::Object(shown)
}
