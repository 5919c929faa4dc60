//! `[identity.http]`: the platform's own store, asked over HTTP. Read here, used by `identity`.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use serde_json::{Value, json};

use super::quantity::format_span;
use super::read::readable;
use super::section::Section;
use crate::policy::Ask;
use crate::time::Span;

const DEFAULT_DEADLINE: Span = Span::from_secs(5);
const DEFAULT_CACHE: Span = Span::from_secs(60);
const DEFAULT_CACHE_REFUSALS: Span = Span::from_secs(10);
const DEFAULT_CACHE_ENTRIES: u64 = 100_000;
const DEFAULT_CONNECTIONS: u64 = 32;
const DEFAULT_REPORT_TOPICS: [&str; 1] = ["c/"];
const DEFAULT_REPORT_EVERY: Span = Span::from_secs(30 * 60);

/// When a login is given up, whatever stands here.
const LOGIN_MAX: Span = Span::from_secs(9);
/// Deadlines in milliseconds.
const DEADLINE_MS: std::ops::RangeInclusive<u64> = 50..=60_000;
const DAY_MS: u64 = 24 * 3600 * 1000;

const STYLES: [(&str, Style); 2] = [("emqx", Style::Emqx), ("go-auth", Style::GoAuth)];
const ASKS: [(&str, Ask); 3] = [
    ("never", Ask::Never),
    ("unknown", Ask::Unknown),
    ("always", Ask::Always),
];

/// `[identity.http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// In which contract it is spoken to.
    pub style: Style,
    /// Who asks whether a login is good; `None`: the own store alone knows.
    pub authenticate: Option<Uri>,
    /// Who asks whether a publish or a subscription is allowed; `None`: the policy alone knows.
    pub authorize: Option<Uri>,
    /// When `authorize` is asked. [`Ask::Never`] without it.
    pub ask: Ask,
    /// How long one question may take, with everything that is tried for it.
    pub deadline: Span,
    /// How long a yes of `authorize` is remembered.
    pub cache: Span,
    /// How long a no is; not longer than a yes.
    pub cache_refusals: Span,
    /// Most answers that are remembered.
    pub cache_entries: u32,
    /// Most questions that are on their way at once, each on a connection of its own.
    pub connections: u16,
    /// PEM file of the certificate authorities that an `https` hook is trusted by; `None`: those of
    /// the public web.
    pub ca: Option<PathBuf>,
    /// Subtrees of a team, behind its root, whose topics are reported to `authorize` when they are
    /// new.
    pub report_topics: Vec<String>,
    /// When a topic counts as new again.
    pub report_every: Span,
}

/// A contract with a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As EMQX has it: the answer is in the body.
    Emqx,
    /// As mosquitto-go-auth has it: the answer is the status.
    GoAuth,
}

/// Reads `[identity.http]`; `None` where it is left out or makes no sense, which is reported.
pub(super) fn read(identity: &mut Section<'_>) -> Option<Hook> {
    let mut section = identity.section("http");
    if !identity.has("http") {
        return None;
    }
    let style = section.choice("style", &STYLES);
    if !section.has("style") {
        section.problem("style", "is missing");
    }
    let authenticate = url(&mut section, "authenticate");
    let authorize = url(&mut section, "authorize");
    if !section.has("authenticate") && !section.has("authorize") {
        section.problem(
            "authenticate",
            "is missing, and so is authorize: give one or both",
        );
    }
    let ask = section.choice("ask", &ASKS);
    if ask.is_some_and(|ask| ask != Ask::Never) && !section.has("authorize") {
        section.problem("ask", "needs authorize: there is nobody to ask");
    }
    let deadline = section.span("deadline", &DEADLINE_MS);
    let cache = section
        .span("cache", &(0..=DAY_MS))
        .unwrap_or(DEFAULT_CACHE);
    let refusals = section.span("cache_refusals", &(0..=cache.as_millis()));
    let entries = section.integer("cache_entries", &(1..=10_000_000));
    let connections = section.integer("connections", &(1..=1024));
    let ca = readable(&mut section, "ca");
    let topics = section.texts("report_topics");
    let topics = topics.and_then(|list| section.keep("report_topics", subtrees(list)));
    let every = section.span("report_every", &(1_000..=DAY_MS));
    section.finish();
    let ask = match authorize {
        Some(_) => ask.unwrap_or(Ask::Unknown),
        None => Ask::Never,
    };
    let default_topics = || DEFAULT_REPORT_TOPICS.map(str::to_owned).to_vec();
    Some(Hook {
        style: style?,
        authenticate,
        authorize,
        ask,
        deadline: deadline.unwrap_or(DEFAULT_DEADLINE),
        cache,
        cache_refusals: refusals.unwrap_or(DEFAULT_CACHE_REFUSALS.min(cache)),
        cache_entries: u32::try_from(entries.unwrap_or(DEFAULT_CACHE_ENTRIES)).unwrap_or(u32::MAX),
        connections: u16::try_from(connections.unwrap_or(DEFAULT_CONNECTIONS)).unwrap_or(u16::MAX),
        ca,
        report_topics: topics.unwrap_or_else(default_topics),
        report_every: every.unwrap_or(DEFAULT_REPORT_EVERY),
    })
}

fn url(section: &mut Section<'_>, key: &'static str) -> Option<Uri> {
    let text = section.text(key)?;
    let good = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
    };
    let uri = text.parse::<Uri>().ok().filter(good).ok_or_else(|| {
        format!("{text:?} is no address: write \"http://forge:3000/api/…\", without a user in it")
    });
    section.keep(key, uri)
}

fn subtrees(list: Vec<String>) -> Result<Vec<String>, String> {
    let bad = |text: &&String| !text.ends_with('/') || text.contains(['+', '#', '\0']);
    match list.iter().find(bad) {
        Some(text) => Err(format!("{text:?} is no subtree of a team: write \"c/\"")),
        None => Ok(list),
    }
}

/// With the keys of the file, in its order.
pub(super) fn show(hook: &Hook) -> Vec<(&'static str, Value)> {
    let name = |uri: &Option<Uri>| uri.as_ref().map(ToString::to_string);
    let ask = ASKS.iter().find(|(_, ask)| *ask == hook.ask);
    let all = [
        ("style", json!(hook.style.as_str())),
        ("authenticate", json!(name(&hook.authenticate))),
        ("authorize", json!(name(&hook.authorize))),
        ("ask", json!(ask.map(|(name, _)| *name))),
        ("deadline", json!(format_span(hook.deadline))),
        ("cache", json!(format_span(hook.cache))),
        ("cache_refusals", json!(format_span(hook.cache_refusals))),
        ("cache_entries", json!(hook.cache_entries)),
        ("connections", json!(hook.connections)),
        ("ca", json!(hook.ca)),
        ("report_topics", json!(hook.report_topics)),
        ("report_every", json!(format_span(hook.report_every))),
    ];
    all.into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

impl Hook {
    /// What an operator should know though nothing is wrong.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(uri) = self.authenticate.as_ref().filter(|uri| is_in_the_open(uri)) {
            warnings.push(format!(
                "[identity.http] sends passwords unencrypted to {uri}: use https, or a network that \
                 is yours alone"
            ));
        }
        if self.deadline > LOGIN_MAX {
            let (deadline, most) = (format_span(self.deadline), format_span(LOGIN_MAX));
            warnings.push(format!(
                "[identity.http] deadline is {deadline}, but a login is given up after {most}"
            ));
        }
        warnings
    }
}

/// Whether what is sent there can be read on the way.
fn is_in_the_open(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|it| it.to_canonical().is_loopback());
    uri.scheme_str() != Some("https") && !is_here
}

impl Style {
    /// As in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emqx => "emqx",
            Self::GoAuth => "go-auth",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigErrors};

    const LISTENER: &str =
        "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";

    fn parse(hook: &str) -> Result<Config, ConfigErrors> {
        let text = format!("{LISTENER}[identity.http]\n{hook}");
        Config::parse("test.toml", &text, [])
    }

    fn problems(hook: &str) -> Vec<String> {
        let errors = parse(hook).expect_err("it has problems");
        errors.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn four_keys_are_enough_and_what_is_shown_reads_back() {
        let config = parse(
            "style = \"emqx\"\nauthenticate = \"http://forge:3000/api/comms/v2/auth\"\n\
             authorize = \"https://forge/api/comms/v2/acls\"\nask = \"always\"\n",
        );
        let config = config.expect("sound");
        let hook = config.identity.http.as_ref().expect("a hook");
        assert_eq!((hook.style, hook.ask), (Style::Emqx, Ask::Always));
        assert_eq!(hook.deadline, Span::from_secs(5));
        assert_eq!(hook.cache, Span::from_secs(60));
        assert_eq!(hook.cache_refusals, Span::from_secs(10));
        assert_eq!(hook.report_topics, ["c/"]);
        let again = Config::parse("shown", &config.to_toml(), []).expect("what is shown is sound");
        assert_eq!(again.identity, config.identity);
    }

    #[test]
    fn without_the_section_there_is_no_hook_and_without_authorize_nothing_is_asked() {
        let bare = Config::parse("test.toml", LISTENER, []).expect("sound");
        assert_eq!(bare.identity.http, None);
        let hook = parse("style = \"go-auth\"\nauthenticate = \"http://forge/auth\"\n");
        let hook = hook.expect("sound").identity.http.expect("a hook");
        assert_eq!((hook.style, hook.ask), (Style::GoAuth, Ask::Never));
        let hook = parse("style = \"emqx\"\nauthorize = \"http://forge/acl\"\ncache = \"2 s\"\n");
        let hook = hook.expect("sound").identity.http.expect("a hook");
        assert_eq!(hook.ask, Ask::Unknown);
        assert_eq!(
            hook.cache_refusals,
            Span::from_secs(2),
            "not longer than a yes"
        );
    }

    #[test]
    fn passwords_in_the_open_and_a_deadline_that_is_cut_short_are_worth_a_word() {
        let warnings = |authenticate: &str, more: &str| {
            let hook = format!("style = \"emqx\"\nauthenticate = \"{authenticate}\"\n{more}");
            parse(&hook).expect("sound").warnings()
        };
        for quiet in [
            "https://forge/auth",
            "http://127.0.0.1:3000/auth",
            "http://[::1]/auth",
            "http://localhost/a",
        ] {
            assert_eq!(warnings(quiet, ""), Vec::<String>::new(), "{quiet}");
        }
        let told = warnings("http://forge:3000/auth", "deadline = \"12 s\"\n");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("unencrypted") && told[1].contains("12 s"),
            "{told:?}"
        );
    }

    #[test]
    fn every_contradiction_is_reported() {
        let found = problems(
            "style = \"emq\"\nauthenticate = \"forge/auth\"\nauthorise = \"http://forge/acl\"\n\
             ask = \"always\"\ncache = \"1 s\"\ncache_refusals = \"2 s\"\n\
             report_topics = [\"c/#\"]\n",
        );
        for (wanted, word) in [
            ("identity.http.style", "emqx"),
            ("identity.http.authenticate", "no address"),
            ("identity.http.authorise", "authorize"),
            ("identity.http.ask", "nobody to ask"),
            ("identity.http.cache_refusals", "not between"),
            ("identity.http.report_topics", "no subtree"),
        ] {
            let there = |text: &&String| text.contains(wanted) && text.contains(word);
            assert!(
                found.iter().any(|text| there(&text)),
                "{wanted}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 6, "{found:#?}");
        let found = problems("deadline = \"1 s\"\n");
        assert!(
            found
                .iter()
                .any(|text| text.contains("style") && text.contains("missing"))
        );
        assert!(found.iter().any(|text| text.contains("give one or both")));
        let found = problems("style = \"emqx\"\nauthorize = \"http://me:secret@forge/acl\"\n");
        assert!(found[0].contains("without a user"), "{found:#?}");
    }
}
