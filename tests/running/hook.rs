//! A platform's own store behind HTTP, as `[identity.http]` asks it: both contracts, one-time
//! credentials that are gone at their first success, a limiter of rate, and every way in which such
//! a store can fail or lie.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use super::PATIENCE;

/// Whether a username may do something with a topic, as the platform sees it.
type Rule = Box<dyn Fn(&str, &str, &str) -> bool + Send>;

/// The server. It stops when it is dropped.
pub struct Hook {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    credentials: HashMap<String, Credential>,
    rule: Rule,
    mood: Mood,
    /// Every question that came, with its path.
    asked: Vec<Asked>,
}

#[derive(Clone)]
struct Credential {
    password: String,
    once: bool,
    mount: String,
}

/// A question that came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub body: Value,
}

/// How the server behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    /// As it should.
    Well,
    /// 429 for so many questions, which it does not look at.
    TooBusy(u32),
    /// It hears the question and does not answer until its mood changes.
    Silent,
    /// It takes so long for each answer.
    Slow(Duration),
    /// It hears the question, acts on it, and answers this status.
    Status(u16),
    /// Everybody is let in, everything is allowed, and this is everybody's mount.
    Lying(&'static str),
    /// 200, and this body of this type.
    Body(&'static str, String),
    /// It hears the question and closes the connection.
    Closing,
}

impl Hook {
    /// A server on a free port, which lets in nobody and allows nothing.
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// A server on this address; fails while something else is there.
    pub fn at(address: SocketAddr) -> Self {
        Self::open(address, None)
    }

    /// A server behind TLS, and the PEM of its certificate for `localhost`, which nobody signed.
    pub fn behind_tls() -> (Self, String) {
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate with its key");
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        (Self::open(address, Some(Arc::new(config))), made.cert.pem())
    }

    fn open(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).expect("an address");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                credentials: HashMap::new(),
                rule: Box::new(|_, _, _| false),
                mood: Mood::Well,
                asked: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let stopping = Arc::new(AtomicBool::new(false));
        let (served, until) = (Arc::clone(&shared), Arc::clone(&stopping));
        let thread = std::thread::spawn(move || serve(&listener, tls.as_ref(), &served, &until));
        Self {
            address,
            shared,
            stopping,
            thread: Some(thread),
        }
    }

    /// An address where nobody listens, for a server to come.
    pub fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.local_addr().expect("an address")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The lines of `[identity.http]` for a server there.
    pub fn config(address: SocketAddr, style: &str, ask: &str) -> String {
        let (authenticate, authorize) = match style {
            "emqx" => ("api/comms/v2/auth", "api/comms/v2/acls"),
            _ => ("api/comms/auth/client", "api/comms/auth/acl"),
        };
        format!(
            "\n[identity.http]\nstyle = \"{style}\"\nask = \"{ask}\"\n\
             authenticate = \"http://{address}/{authenticate}\"\n\
             authorize = \"http://{address}/{authorize}\"\n"
        )
    }

    /// Lets this username in, as often as it comes, with the mount that the platform gives it.
    pub fn knows(&self, username: &str, password: &str) {
        self.learn(username, password, false);
    }

    /// Lets it in once.
    pub fn knows_once(&self, username: &str, password: &str) {
        self.learn(username, password, true);
    }

    fn learn(&self, username: &str, password: &str, once: bool) {
        let team = username.rsplit_once('@').map(|(_, team)| team);
        let hosted = username
            .strip_prefix("mq:")
            .and_then(|rest| rest.split(':').nth(1));
        let mount = team.or(hosted).map(|team| format!("ff/v1/{team}/c/"));
        let credential = Credential {
            password: password.to_owned(),
            once,
            mount: mount.unwrap_or_default(),
        };
        self.state()
            .credentials
            .insert(username.to_owned(), credential);
    }

    /// What is allowed: username, action, topic.
    pub fn allows(&self, rule: impl Fn(&str, &str, &str) -> bool + Send + 'static) {
        self.state().rule = Box::new(rule);
    }

    pub fn mood(&self, mood: Mood) {
        self.state().mood = mood;
        self.shared.changed.notify_all();
    }

    /// What was asked at paths that end so.
    pub fn asked(&self, path: &str) -> Vec<Value> {
        let state = self.state();
        let asked = state
            .asked
            .iter()
            .filter(|asked| asked.path.ends_with(path));
        asked.map(|asked| asked.body.clone()).collect()
    }

    /// Questions about logins so far.
    pub fn logins(&self) -> Vec<Value> {
        [self.asked("/v2/auth"), self.asked("/auth/client")].concat()
    }

    /// Questions about topics so far: username, action or acc, topic.
    pub fn topics(&self) -> Vec<String> {
        let asked = [self.asked("/v2/acls"), self.asked("/auth/acl")].concat();
        let text = |body: &Value| {
            let action = match (&body["action"], body["acc"].as_u64()) {
                (Value::String(action), _) => action.clone(),
                (_, Some(1)) => "subscribe".to_owned(),
                (_, Some(2)) => "publish".to_owned(),
                _ => panic!("no action: {body}"),
            };
            let text = |key: &str| body[key].as_str().expect("a text").to_owned();
            format!("{} {action} {}", text("username"), text("topic"))
        };
        asked.iter().map(text).collect()
    }

    /// Waits until so many questions about logins have come.
    pub fn wait_for_logins(&self, count: usize) {
        let is_login = |asked: &&Asked| !asked.path.contains("acl");
        self.wait_until(|state| state.asked.iter().filter(is_login).count() >= count);
    }

    /// Waits until this was asked about a topic.
    pub fn wait_for_topic(&self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.topics().iter().any(|asked| asked == wanted) {
            assert!(
                Instant::now() < until,
                "{wanted} was not asked: {:?}",
                self.topics()
            );
            let state = self.state();
            let waited = self
                .shared
                .changed
                .wait_timeout(state, Duration::from_millis(100));
            drop(waited.expect("no panic while it was held"));
        }
    }

    fn wait_until(&self, wanted: impl Fn(&State) -> bool) {
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(self.state(), PATIENCE, |state| !wanted(state))
            .expect("no panic while it was held");
        assert!(!waited.timed_out(), "it never came: {:?}", state.asked);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("no panic while it was held")
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    listener: &TcpListener,
    tls: Option<&Arc<rustls::ServerConfig>>,
    shared: &Arc<Shared>,
    stopping: &Arc<AtomicBool>,
) {
    let mut open: Vec<TcpStream> = Vec::new();
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        open.extend(stream.try_clone());
        let (shared, stopping) = (Arc::clone(shared), Arc::clone(stopping));
        let tls = tls.cloned();
        let socket = stream.try_clone();
        std::thread::spawn(move || {
            // The broker may go away in the middle of anything.
            let _ = stream.set_nodelay(true);
            let _ = match tls {
                None => converse(stream, &shared, &stopping),
                Some(tls) => {
                    let session = rustls::ServerConnection::new(tls).expect("a session");
                    let stream = rustls::StreamOwned::new(session, stream);
                    converse(stream, &shared, &stopping)
                }
            };
            // Here is not its last owner.
            let _ = socket.map(|socket| socket.shutdown(std::net::Shutdown::Both));
        });
    }
    for stream in open {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

/// Requests of one connection, one after the other.
fn converse(
    stream: impl io::Read + io::Write,
    shared: &Shared,
    stopping: &AtomicBool,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(line.starts_with("POST "), "{line}");
        let (mut length, mut is_json) = (0, false);
        loop {
            let mut field = String::new();
            reader.read_line(&mut field)?;
            let field = field.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            is_json |= field == "content-type: application/json";
        }
        assert!(is_json, "the question is not said to be JSON");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let Some(answer) = answer(path, body, shared, stopping) else {
            return Ok(());
        };
        reader.get_mut().write_all(&answer)?;
        reader.get_mut().flush()?;
    }
}

/// `None`: the connection is closed without an answer.
fn answer(path: String, body: Value, shared: &Shared, stopping: &AtomicBool) -> Option<Vec<u8>> {
    let mut state = shared.state.lock().expect("no panic while it was held");
    if let Mood::TooBusy(left @ 1..) = &mut state.mood {
        *left -= 1;
        return Some(response(429, "application/json", "{\"error\":\"later\"}"));
    }
    let fields = match path.as_str() {
        "/api/comms/v2/auth" => ["username", "password", "clientId"].as_slice(),
        "/api/comms/v2/acls" => &["username", "topic", "action"],
        "/api/comms/auth/client" => &["username", "password", "clientid"],
        "/api/comms/auth/acl" => &["username", "clientid", "topic", "acc"],
        other => panic!("nothing is at {other}"),
    };
    let mut found: Vec<&str> = body.as_object()?.keys().map(String::as_str).collect();
    let mut wanted = fields.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "exactly the contract's fields");
    let asked = Asked { path, body };
    state.asked.push(asked.clone());
    shared.changed.notify_all();
    while state.mood == Mood::Silent && !stopping.load(Ordering::SeqCst) {
        state = shared
            .changed
            .wait(state)
            .expect("no panic while it was held");
    }
    if let Mood::Slow(pause) = state.mood {
        drop(state);
        std::thread::sleep(pause);
        state = shared.state.lock().expect("no panic while it was held");
    }
    let (is_good, mount) = judge(&mut state, &asked);
    let emqx = asked.path.contains("/v2/");
    match state.mood.clone() {
        Mood::Status(status) => Some(response(
            status,
            "application/json",
            "{\"result\":\"allow\"}",
        )),
        Mood::Body(kind, body) => Some(response(200, kind, &body)),
        Mood::Closing => None,
        Mood::Lying(mount) => Some(verdict(emqx, true, mount)),
        Mood::Well | Mood::TooBusy(_) | Mood::Silent | Mood::Slow(_) => {
            Some(verdict(emqx, is_good, &mount))
        }
    }
}

/// What the platform thinks; a one-time credential is gone once it was good.
fn judge(state: &mut State, asked: &Asked) -> (bool, String) {
    let text = |key: &str| {
        asked.body[key]
            .as_str()
            .unwrap_or_else(|| panic!("{key} is no text"))
    };
    let username = text("username");
    if asked.path.contains("acl") {
        let action = match asked.body["acc"].as_u64() {
            Some(1) => "subscribe",
            Some(2) => "publish",
            _ => text("action"),
        };
        return ((state.rule)(username, action, text("topic")), String::new());
    }
    let password = text("password");
    let known = state.credentials.get(username).cloned();
    let Some(known) = known.filter(|known| known.password == password) else {
        return (false, String::new());
    };
    if known.once {
        state.credentials.remove(username);
    }
    (true, known.mount)
}

fn verdict(emqx: bool, is_good: bool, mount: &str) -> Vec<u8> {
    if !emqx {
        let status = if is_good { 200 } else { 401 };
        return response(status, "text/plain", "");
    }
    let result = if is_good { "allow" } else { "deny" };
    let body = json!({
        "result": result, "is_superuser": is_good, "client_attrs": { "team": mount },
    });
    response(200, "application/json; charset=utf-8", &body.to_string())
}

fn response(status: u16, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
