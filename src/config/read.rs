//! From the tree to [`Config`], key by key.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::Report;
use super::section::Section;
use super::tree::Table;
use super::{
    Admin, CertificateFiles, ClientCertificates, Config, Database, DatabaseUrl, Durability,
    Journal, Listener, Log, Policy, Proxies, Transport, WebSocket, audit, check, guard, identity,
    limits, plan,
};
use crate::limits::Limits;
use crate::policy::TeamId;
use crate::time::Span;

const DEFAULT_DATA_DIR: &str = "data";
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9080);
const DEFAULT_PATHS: [&str; 2] = ["/", "/mqtt"];
const DEFAULT_MAX_FRAME: u64 = 16 << 20;
const DEFAULT_SERVE_WITHOUT: Span = Span::from_secs(3_600);
/// Up to a week.
const SERVE_WITHOUT_MS: std::ops::RangeInclusive<u64> = 0..=7 * 24 * 3_600 * 1_000;
const MAX_SHARDS: u64 = 256;

/// Reads everything; what the report holds afterwards says whether the result is any good.
pub(super) fn config(source: &str, table: Table, report: &Report) -> Config {
    let mut top = Section::top(table, report);
    let data_dir = top
        .path("data_dir")
        .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let shards = top.integer("shards", &(1..=MAX_SHARDS));
    let mut section = top.section("limits");
    let addresses = guard::addresses(section.section("address"));
    let logins = guard::logins(section.section("login"));
    let limits = limits(section, &Limits::default(), limits::read);
    let journal = journal(top.section("journal"));
    let plans = plan::read_all(&mut top, journal.durability);
    let admin = admin(top.section("admin"));
    let listeners = listeners(&mut top, &limits, &admin);
    let config = Config {
        source: source.to_owned(),
        shards: shards
            .and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?))
            .unwrap_or_else(cores),
        listeners,
        admin,
        database: database(top.section("database"), &data_dir),
        audit: audit::read(top.section("audit")),
        journal,
        limits,
        plans,
        addresses,
        logins,
        policy: policy(top.section("policy")),
        identity: identity::read(top.section("identity")),
        log: log(top.section("log")),
        data_dir,
    };
    top.finish();
    config
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn limits(
    mut section: Section<'_>,
    base: &Limits,
    read: fn(&mut Section<'_>, &Limits) -> Limits,
) -> Limits {
    let limits = read(&mut section, base);
    if limits != *base {
        check::limits(&section, &limits);
    }
    section.finish();
    limits
}

fn admin(mut section: Section<'_>) -> Admin {
    let bind = section.address("bind").unwrap_or(DEFAULT_ADMIN);
    let token_file = readable(&mut section, "token_file");
    section.finish();
    Admin { bind, token_file }
}

fn database(mut section: Section<'_>, data_dir: &Path) -> Database {
    let url = section.text("url");
    let url = match url {
        Some(url) => section.keep("url", check::database_url(url)),
        None => None,
    };
    let serve_without = section.span("serve_without", &SERVE_WITHOUT_MS);
    section.finish();
    let beside = || format!("sqlite://{}/cofferdam.db", data_dir.display());
    Database {
        url: DatabaseUrl(url.unwrap_or_else(beside)),
        serve_without: serve_without.unwrap_or(DEFAULT_SERVE_WITHOUT),
    }
}

fn journal(mut section: Section<'_>) -> Journal {
    let durability = section.choice("durability", &plan::DURABILITIES);
    section.finish();
    Journal {
        durability: durability.unwrap_or(Durability::Disk),
    }
}

fn policy(mut section: Section<'_>) -> Policy {
    let file = readable(&mut section, "file");
    let observe = readable(&mut section, "observe");
    section.finish();
    Policy { file, observe }
}

fn log(mut section: Section<'_>) -> Log {
    let filter = section.text("filter");
    let filter = filter.and_then(|filter| section.keep("filter", check::log_filter(filter)));
    section.finish();
    Log {
        filter: filter.unwrap_or_else(|| "info".to_owned()),
    }
}

fn listeners(top: &mut Section<'_>, limits: &Limits, admin: &Admin) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let sections = top.sections("listener");
    if sections.is_empty() {
        top.problem("listener", "there is none: add at least one [[listener]]");
    }
    for mut section in sections {
        if let Some(listener) = listener(&mut section, limits) {
            check::distinct(&section, &listener, &listeners, admin);
            listeners.push(listener);
        }
        section.finish();
    }
    listeners
}

/// `None` where what makes a listener is missing; the report says what.
fn listener(section: &mut Section<'_>, base: &Limits) -> Option<Listener> {
    let name = required(section, "name", Section::text);
    let name = name.and_then(|name| section.keep("name", check::name(name)));
    let transport = required(section, "transport", |section, key| {
        section.choice(key, &Transport::ALL)
    });
    let bind = required(section, "bind", Section::address);
    let certificate = readable(section, "certificate");
    let private_key = readable(section, "private_key");
    let client_ca = readable(section, "client_ca");
    let client_crl = readable(section, "client_crl");
    let client_certificate = section.choice(
        "client_certificate",
        &[("required", true), ("optional", false)],
    );
    let anonymous_team = section.text("anonymous_team");
    let anonymous_team = anonymous_team.and_then(|id| {
        let team = TeamId::new(&id).ok_or_else(|| {
            format!("{id:?} is no team id: it holds none of / + # and does not begin with $")
        });
        section.keep("anonymous_team", team)
    });
    let allow_anonymous_remote = section.boolean("allow_anonymous_remote").unwrap_or(false);
    let proxies = section.texts("proxies");
    let proxies = proxies.and_then(|list| section.keep("proxies", Proxies::parse(&list)));
    let proxy_protocol = section.boolean("proxy_protocol").unwrap_or(false);
    let limits = limits(section.section("limits"), base, limits::read_listener);
    let mut websocket = websocket(section, &limits);
    websocket.listed_origins_only = anonymous_team.is_some();
    let (transport, bind) = (transport?, bind?);
    check::certificate(section, transport);
    check::client_certificates(section, transport);
    check::websocket(section, transport);
    let listener = Listener {
        name: Arc::from(name?),
        transport,
        bind,
        certificate: certificate
            .zip(private_key)
            .map(|(certificate, private_key)| CertificateFiles {
                certificate,
                private_key,
            }),
        client_certificates: client_ca.map(|ca| ClientCertificates {
            ca,
            crl: client_crl,
            required: client_certificate.unwrap_or(true),
        }),
        anonymous_team,
        allow_anonymous_remote,
        proxies: proxies.unwrap_or_default(),
        proxy_protocol,
        websocket: transport.is_websocket().then_some(websocket),
        limits,
    };
    check::anonymous(section, &listener);
    check::proxies(section, &listener);
    Some(listener)
}

fn websocket(section: &mut Section<'_>, limits: &Limits) -> WebSocket {
    let default = || DEFAULT_PATHS.map(str::to_owned).to_vec();
    let paths = section.texts("paths");
    let paths = paths.and_then(|paths| section.keep("paths", check::paths(paths)));
    let origins = section.texts("allowed_origins");
    let origins = origins.and_then(|list| section.keep("allowed_origins", check::origins(list)));
    let smallest = u64::from(limits.max_packet_size);
    let frame = section.size("max_frame_size", &(smallest..=1 << 40));
    WebSocket {
        paths: paths.unwrap_or_else(default),
        allowed_origins: origins.unwrap_or_default(),
        listed_origins_only: false,
        max_frame_size: frame.unwrap_or(DEFAULT_MAX_FRAME.max(smallest)),
    }
}

fn required<'r, T>(
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

/// A file that can be opened for reading.
pub(super) fn readable(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.path(key)?;
    section.keep(key, check::readable(path))
}
