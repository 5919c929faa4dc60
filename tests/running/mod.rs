//! A running broker, for tests over real sockets: the binary itself, in a directory of its own,
//! with every transport on a free port of loopback.
//!
//! A test makes one with [`Broker::start`] or, where it needs more, with [`Setup`]; it talks to it
//! as a [`Client`] or, below MQTT, over a bare [`Stream`]. The broker ends with its fixture; a
//! panic in its log fails the test, and a test that fails shows the log.

#![allow(dead_code, unused_imports)] // each test takes what it needs

mod api;
pub mod authority;
mod client;
mod hook;
pub mod issuer;
mod numbers;
mod postgres;
mod process;
mod record;
mod schema;
mod stream;
pub mod web;
mod world;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

pub use api::Answer;
pub use client::{Bystander, Client, Link, lasting};
pub use hook::{Hook, Mood};
pub use numbers::Numbers;
pub use postgres::Postgres;
pub use process::Process;
pub use record::Record;
pub use schema::Document;
pub use stream::{Stream, Tls};
pub use world::{Login, World};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The listeners that every test broker has, and their transports.
const LISTENERS: &str = r#"
data_dir = "data"
shards = 2

[admin]
bind = "127.0.0.1:0"

[[listener]]
name = "tcp"
transport = "tcp"
bind = "127.0.0.1:0"

[[listener]]
name = "tls"
transport = "tls"
bind = "127.0.0.1:0"

[[listener]]
name = "ws"
transport = "ws"
bind = "127.0.0.1:0"

[[listener]]
name = "wss"
transport = "wss"
bind = "127.0.0.1:0"

# Takes clients without a name.
[[listener]]
name = "open"
transport = "tcp"
bind = "127.0.0.1:0"
anonymous_team = "open"

# Takes browsers from one place.
[[listener]]
name = "origins"
transport = "ws"
bind = "127.0.0.1:0"
allowed_origins = ["https://app.example.com"]
"#;

/// What a broker is started with.
pub struct Setup {
    config: String,
    variables: Vec<(&'static str, String)>,
    provisions: Option<String>,
    files: Vec<(&'static str, String)>,
}

/// A running broker.
pub struct Broker {
    process: Process,
    /// By listener's name, and `admin`.
    addresses: BTreeMap<String, SocketAddr>,
    place: Place,
}

/// Where a broker has its files; outlives it, so that another can be started there.
pub struct Place {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    /// Every listener, two shards, and the [`World`].
    pub fn new() -> Self {
        Self {
            config: LISTENERS.to_owned(),
            variables: Vec::new(),
            files: Vec::new(),
            provisions: Some(World::provisions()),
        }
    }

    /// Exactly this configuration.
    pub fn config(self, config: &str) -> Self {
        Self {
            config: config.to_owned(),
            ..self
        }
    }

    /// With more of a configuration, such as listeners.
    pub fn and_config(mut self, more: &str) -> Self {
        self.config.push_str(more);
        self
    }

    /// With a file beside the configuration, which may name it.
    pub fn file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.to_owned()));
        self
    }

    /// With a variable in the environment.
    pub fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// With more teams and clients: lines for `cofferdam apply`.
    pub fn and(mut self, provisions: &str) -> Self {
        self.provisions.get_or_insert_default().push_str(provisions);
        self
    }

    /// With nobody: a first start.
    pub fn empty(self) -> Self {
        Self {
            provisions: None,
            ..self
        }
    }

    /// Makes the place, and everybody in it.
    pub fn place(self) -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place {
            directory,
            variables: self.variables,
        };
        for (name, text) in &self.files {
            place.write(name, text);
        }
        place.write("cofferdam.toml", &self.config);
        if let Some(provisions) = &self.provisions {
            place.write("world.toml", provisions);
            place.run_well(&["apply", "world.toml"]);
            place.run_well(&["team", "suspend", World::SUSPENDED_TEAM]);
        }
        place
    }

    /// Starts the broker and waits until it is ready.
    pub fn start(self) -> Broker {
        self.place().start()
    }
}

impl Place {
    /// A file or folder of the broker's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Sets a variable for all that runs here from now on.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// The binary, in this place and with nothing of the test's own configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_cofferdam"));
        command.args(arguments);
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COFFERDAM_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.directory.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Has a shell carry out a line in which `cofferdam` is the binary. It must do well; gives what
    /// it printed.
    pub fn paste(&self, line: &str) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_cofferdam"));
        let folder = binary.parent().expect("a folder").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
        let output = self
            .program("sh")
            .env("PATH", std::env::join_paths(folders).expect("a path"))
            .args(["-c", line])
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Runs a subcommand that must do well; gives what it printed.
    pub fn run_well(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The audit store, oldest first.
    pub fn audit(&self) -> Vec<Value> {
        let text = self.run_well(&["audit", "list", "--json", "--limit", "1000000"]);
        let parsed = text.lines().map(serde_json::from_str);
        parsed
            .collect::<Result<_, _>>()
            .expect("JSON, a row a line")
    }

    /// Starts a broker here and waits until it is ready.
    pub fn start(self) -> Broker {
        let serve = self.command(&["serve"]);
        self.start_as(serve)
    }

    /// Starts a broker here in another way.
    pub fn start_as(self, serve: Command) -> Broker {
        let process = Process::start(serve);
        let welcome = process.wait_for("Ctrl-C stops it.");
        let broker = Broker {
            addresses: addresses(&welcome),
            process,
            place: self,
        };
        eventually("readiness", || {
            let (status, body) = broker.get("/readyz");
            (status == 200).then_some(()).ok_or(body)
        });
        broker
    }
}

impl Broker {
    /// With every listener, two shards, and the [`World`].
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self.addresses.get(listener).expect("a listener's name")
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Ends it, if it has not ended already.
    pub fn into_place(self) -> Place {
        self.place
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A connection to a listener, in the listener's own way up to where MQTT or HTTP begins.
    pub fn dial(&self, listener: &str) -> Stream {
        let address = self.address(listener);
        match listener {
            "tls" | "wss" => Stream::tls(address, &self.tls(Tls::Any)),
            _ => Stream::tcp(address),
        }
    }

    /// What a TLS client trusts and offers.
    pub fn tls(&self, versions: Tls) -> std::sync::Arc<rustls::ClientConfig> {
        stream::client_config(&self.place.path("data/tls/ca.pem"), versions)
    }

    /// What a TLS client offers that trusts the certificate in a file of the broker's place.
    pub fn trusting(&self, file: &str, versions: Tls) -> std::sync::Arc<rustls::ClientConfig> {
        stream::client_config(&self.place.path(file), versions)
    }

    /// GET from the admin address: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = Stream::tcp(self.address("admin"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status.expect("a status"), body.to_owned())
    }

    /// What `/metrics` says now.
    pub fn numbers(&self) -> Numbers {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        Numbers::parse(&body)
    }

    /// Waits until the metrics are as `wanted` says.
    pub fn wait_for_numbers(&self, mut wanted: impl FnMut(&Numbers) -> Result<(), String>) {
        eventually("metrics", || wanted(&self.numbers()));
    }

    /// Waits until the audit store has a row that is `wanted`, and gives it.
    pub fn audited(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("an audit row", || {
            let rows = self.place.audit();
            let found = rows.iter().find(|row| wanted(row)).cloned();
            found.ok_or_else(|| format!("{rows:#?}"))
        })
    }

    /// Stops the broker as Ctrl-C does. Gives its place, and how long it took to end.
    pub fn stop(self) -> (Place, Duration) {
        let Self { process, place, .. } = self;
        let began = Instant::now();
        process.signal("INT");
        let code = process.wait();
        assert_eq!(code, Some(0), "the broker ended badly");
        (place, began.elapsed())
    }
}

/// The addresses in what the broker prints once it is ready: a name and a URL a line.
fn addresses(welcome: &str) -> BTreeMap<String, SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, url) = (words.next()?, words.next()?);
        let (_, authority) = url.split_once("://")?;
        let authority = authority.replace("localhost", "127.0.0.1");
        Some((name.to_owned(), authority.parse().ok()?))
    };
    welcome.lines().filter_map(address).collect()
}

/// Asks again and again until `wanted` says yes; fails with what it said last.
pub fn eventually<T, E: std::fmt::Display>(
    what: &str,
    mut wanted: impl FnMut() -> Result<T, E>,
) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match wanted() {
            Ok(value) => return value,
            Err(missing) if Instant::now() > until => panic!("{what}: {missing}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// What a user is promised within `limit`: says how long an attempt took. The machine may be busy with
/// something else, so the best of a few attempts counts; a broker that is too slow is so in all of them.
pub fn within(limit: Duration, mut attempt: impl FnMut() -> Duration) {
    const ATTEMPTS: usize = 4;
    let mut took = Vec::new();
    while took.len() < ATTEMPTS {
        took.push(attempt());
        if took.last().is_some_and(|last| *last < limit) {
            return;
        }
    }
    panic!("not within {limit:?}: {took:?}");
}

/// Something that must be done while it lasts, such as a login by a token that is soon over. `attempt`
/// is told how many seconds it may last; `None`: the machine was too busy, and it gets longer.
pub fn while_it_lasts<T>(attempt: impl FnMut(i64) -> Option<T>) -> T {
    let done = [2, 4, 8, 16].into_iter().find_map(attempt);
    done.expect("done in sixteen seconds")
}

/// Lets this process have so many open files; many systems start it with a thousand.
pub fn allow_sockets(count: usize) {
    let wanted = count as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let current = Some(maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("within the hard limit");
}
