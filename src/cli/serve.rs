//! `serve`: starts everything in order, says that it is ready, and stops when it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::certificates::Certificates;
use super::chronicle;
use super::data_dir::DataDir;
use super::descriptors;
use super::hook;
use super::keep;
use super::plans::PlanFile;
use super::steering::{self, Steering};
use super::store::policy;
use super::vouchers::{self, ClientVerifiers};
use super::welcome::Welcome;
use super::{Context, Failure, panics, print};
use crate::admin::{self, Pages, Readiness, Slot};
use crate::audit::{AuditWriter, rfc3339};
use crate::config::{AuditMode, Config, Listener};
use crate::database::{Database, Place};
use crate::identity::{
    self, Accounts, Authenticator, Follower, HandOver, Presence, Secrets, TeamPlans, TokenKey,
};
use crate::net::addresses::Addresses;
use crate::net::clock::Clock;
use crate::net::server::{Bound, ListenerSpec, Parts, Request, Server, Verdicts};
use crate::net::tls::{self, Development, Made};
use crate::provision::Provisioner;
use crate::team::World;
use crate::telemetry::metric as m;
use crate::telemetry::{Board, Snapshot, install};

/// Logins that may wait for a judge; beyond it a new one is closed without CONNACK.
const LOGINS_WAITING_MAX: usize = 16_384;

/// How long a stop waits for the audit to be written.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(800);

/// How often to look whether teams have other plans.
const PLANS_POLL: Duration = Duration::from_millis(500);

/// Threads for all that is not the data path: logins, database, HTTP.
const SERVICE_THREADS: usize = 2;

/// The parts that `/readyz` names.
const LISTENERS: &str = "listeners";
const DATABASE: &str = "database";

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// What could not be opened, read or bound, with what to do about it.
pub fn run(context: &Context) -> Result<ExitCode, Failure> {
    panics::end_with_a_needed_thread();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .thread_name("services")
        .enable_all()
        .build()
        .map_err(failed)?;
    let code = runtime.block_on(serve(&context.config));
    // A password that is just being hashed is not waited for.
    runtime.shutdown_background();
    code
}

async fn serve(config: &Config) -> Result<ExitCode, Failure> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    tracing::info!(source = %config.source, "configuration read");
    descriptors::raise();
    let clock = Clock::start();
    let policy = Arc::new(policy(config)?);
    let _claimed = DataDir::claim(&config.data_dir).map_err(failed)?;

    let prometheus = install().map_err(failed)?;
    let readiness = Arc::new(Readiness::starting(&[LISTENERS, DATABASE]));
    let board = Board::default();
    let api = Slot::default();
    let pages = Pages {
        prometheus,
        board: board.clone(),
        readiness: Arc::clone(&readiness),
        api: steering::gate(config, &api)?,
    };
    let (stop_admin, admin_address) = serve_admin(config, pages).await?;

    tracing::info!(url = %config.database.url, "opening the database");
    let accounts = Accounts::open(
        config.database.url.expose(),
        &Default::default(),
        &config.data_dir,
        config.database.serve_without,
    )
    .await
    .map_err(failed)?;
    let database = accounts.primary().clone();
    let is_away = accounts.is_away();
    readiness.ready(DATABASE);
    let heeded = Arc::clone(&readiness);
    let keeping = accounts
        .clone()
        .keep(move |presence| heed(&heeded, presence));
    tokio::spawn(keeping);

    let variable = std::env::var(TokenKey::VARIABLE).ok();
    let key = TokenKey::load(&config.data_dir, variable.as_deref()).map_err(failed)?;
    let secrets = Arc::new(Secrets::new(key).map_err(failed)?);
    let orphans = identity::tokens_under_another_key(accounts.database(), secrets.key())
        .await
        .map_err(failed)?;
    if orphans > 0 {
        tracing::warn!(
            orphans,
            "machine tokens were stored under another {}: their owners cannot log in until the \
             key is put back or they are rotated",
            TokenKey::FILE
        );
    }

    let (clients, followed) = vouchers::client_verifiers(config)?;
    let (listeners, ca) = listeners(config, &clients)?;
    let certificates = Certificates::of(config, &listeners, clients.clone());
    let listeners = Bound::bind(listeners, config.shards.get()).map_err(failed)?;
    let judge = Authenticator::new(
        accounts.clone(),
        Arc::clone(&policy),
        Arc::clone(&secrets),
        anonymous_teams(config),
        identity::Settings {
            logins: config.logins.clone(),
            ..identity::Settings::default()
        },
    )
    .map_err(failed)?;
    let hook = hook::open(config)?;
    let judge = match &hook {
        Some(opened) => judge.with_hook(Arc::clone(&opened.hook)),
        None => judge,
    };
    let judge = vouchers::attach(judge, config)?;
    let (sink, writer) = chronicle::open(config, database.clone()).await?;
    let strict = config.audit.mode == AuditMode::Strict;
    let record = chronicle::record(&sink, strict);

    // Makes passwords that are shown only once, so it comes after all that may keep the broker
    // from showing them.
    let provisioner = Provisioner {
        database: &database,
        secrets: &secrets,
        policy: &policy,
        plans: &config.plans,
        actor: "first start",
        now: clock.now(),
    };
    let first_start = match is_away {
        false => provisioner.first_start().await.map_err(failed)?,
        true => None,
    };

    // Read before anybody logs in: what is changed from here on counts for those who are in.
    let place = Place::end(accounts.database()).await.map_err(failed)?;

    // Read back before any listener is served.
    let reading = config.clone();
    let opened = tokio::task::spawn_blocking(move || keep::open(&reading));
    let opened = opened.await.map_err(failed)??;

    let signals = Signals::listen().map_err(failed)?;
    let (requests, waiting) = mpsc::channel(LOGINS_WAITING_MAX);
    let world = hook::with_reports(World::new(config.limits.clone(), &policy), config);
    let listener_limits = config.listeners.iter();
    let world = Arc::new(listener_limits.fold(world, |world, listener| {
        world.with_listener(&listener.name, listener.limits.clone())
    }));
    let plans = Arc::new(TeamPlans::new(config.plans.clone(), Arc::clone(&world)));
    let applied = plans.apply(accounts.database()).await.map_err(failed)?;
    let (of_plans, followed_plans) = (database.clone(), Arc::clone(&plans));
    tokio::spawn(async move { followed_plans.follow(&of_plans, applied, PLANS_POLL).await });
    let kept = match opened {
        Some(opened) => {
            let revision = place.revision;
            Some(keep::restore(opened, &world, &judge, revision, clock.now()).await?)
        }
        None => None,
    };
    let counted = Arc::clone(&world);
    board.source(move |snapshot| count_teams(&counted, snapshot));
    let server = Server::start(Parts {
        world,
        reporters: (0..config.shards.get()).map(|_| board.reporter()).collect(),
        listeners,
        addresses: Addresses::new(config.addresses.clone()),
        clock,
        judge: requests,
        desk: hook.as_ref().map(hook::Opened::desk),
        record: Arc::clone(&record),
        kept,
        strict,
    })
    .map_err(failed)?;
    let spooling = server.spooling();
    sink.on_spooled(move |spooled| spooling.tell(spooled));
    let reviews = server.reviews();
    let hand_over: HandOver = Arc::new(move |review| reviews.hand_over(review));
    let follower = Arc::new(Follower::new(judge.clone(), place, hand_over));
    let reloads = Arc::clone(&follower);
    tokio::spawn(async move { follower.follow().await });
    let steering = Steering::start(steering::Parts {
        config,
        policy,
        put_in_force: Box::new(move |policy| reloads.reload(policy)),
        shards: server.shards(),
        sink: sink.clone(),
        record,
        database: database.clone(),
        clock,
        readiness: Arc::clone(&readiness),
        board: &board,
        certificates,
        plans: PlanFile::of(config, plans, database.clone(), sink.clone(), clock),
        slot: api,
    })
    .await?;
    tokio::spawn(judge_logins(judge, waiting, server.verdicts(), clock));
    if let Some(opened) = hook {
        opened.serve(server.verdicts(), sink.clone(), clock);
    }
    clients.follow(followed, &server.verdicts());
    let life = chronicle::begin(config, &sink, &server, clock)?;
    readiness.ready(LISTENERS);

    let bound = as_bound(config, &server, admin_address);
    let welcome = Welcome {
        config: &bound,
        ca: ca.as_deref(),
        first_start: first_start.as_ref(),
    };
    print(&welcome.to_string())?;

    let signal = signals.wait().await;
    tracing::info!(signal, "stopping");
    readiness.not_ready(LISTENERS, "the broker is stopping");
    steering.stop().await;
    stop(server, life, writer, database).await;
    let _ = stop_admin.send(());
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Opens the admin pages first, so that progress can be watched.
async fn serve_admin(
    config: &Config,
    pages: Pages,
) -> Result<(oneshot::Sender<()>, SocketAddr), Failure> {
    let bind = config.admin.bind;
    let listener = TcpListener::bind(bind)
        .await
        .map_err(|error| failed(format!("[admin] cannot use {bind}: {error}")))?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        if let Err(error) = admin::serve(listener, pages, until).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok((stop, address))
}

fn heed(readiness: &Readiness, presence: Presence) {
    match presence {
        Presence::There => readiness.ready(DATABASE),
        Presence::Away { why } => readiness.not_ready(DATABASE, why),
        Presence::Copied { why, until } => {
            let until = rfc3339(until);
            let what = format!("{why}; who was known before can log in until {until}");
            readiness.makes_do(DATABASE, what);
        }
    }
}

/// What each compartment holds now; the team is empty for the commons.
fn count_teams(world: &World, snapshot: &mut Snapshot) {
    let teams = world.teams();
    for team in teams.iter().chain([world.commons()]) {
        let id = team.id().map_or("", |id| id.as_str());
        let connected = u64::try_from(team.connections.load(Ordering::Relaxed)).unwrap_or(0);
        let stored = (team.registry.len() as u64).saturating_sub(connected);
        let retained = team.with_retained(|retained| retained.len() as u64);
        snapshot.add(&m::SESSIONS, &[id, "connected"], connected);
        snapshot.add(&m::SESSIONS, &[id, "stored"], stored);
        snapshot.add(&m::SUBSCRIPTIONS, &[id], team.subscriptions() as u64);
        snapshot.add(&m::RETAINED_MESSAGES, &[id], retained);
        snapshot.add(&m::QUEUED_BYTES, &[id], team.bounds.queued.bytes());
        for (limit, count) in team.bounds.hits() {
            snapshot.add(&m::LIMIT_HITS, &[id, limit.as_str()], count);
        }
    }
}

/// Which listeners take clients without a name, and for which team.
fn anonymous_teams(config: &Config) -> HashMap<Arc<str>, crate::policy::TeamId> {
    let named = config.listeners.iter().filter_map(|listener| {
        let team = listener.anonymous_team.clone()?;
        Some((Arc::clone(&listener.name), team))
    });
    named.collect()
}

/// The listeners as the server wants them, and the development CA where one of them uses it.
fn listeners(
    config: &Config,
    clients: &ClientVerifiers,
) -> Result<(Vec<ListenerSpec>, Option<PathBuf>), Failure> {
    let development = development(config)?;
    let mut specs = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        let tls = tls_of(listener, development.as_ref(), clients)?;
        let tls = tls.map(|tls| Arc::new(ArcSwap::new(tls)));
        specs.push(ListenerSpec {
            name: Arc::clone(&listener.name),
            bind: listener.bind,
            tls,
            websocket: listener.websocket.clone().map(Arc::new),
            proxies: listener.proxies.clone(),
            proxy_protocol: listener
                .proxy_protocol
                .then(|| Duration::from_micros(listener.limits.connect_timeout.as_micros())),
        });
    }
    Ok((specs, development.map(|development| development.ca)))
}

/// What a listener shakes hands with, where it is encrypted.
fn tls_of(
    listener: &Listener,
    development: Option<&Development>,
    clients: &ClientVerifiers,
) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
    let files = listener.certificate.as_ref();
    let files = files.or(development.map(|development| &development.files));
    match (listener.transport.is_tls(), files) {
        (true, Some(files)) => {
            let clients = clients.of(&listener.name);
            let tls = tls::server_config(files, listener.transport, clients);
            Ok(Some(tls.map_err(failed)?))
        }
        _ => Ok(None),
    }
}

/// The same for the listener of a name, read from its files now.
pub(super) fn listener_tls(
    config: &Config,
    name: &str,
    clients: &ClientVerifiers,
) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
    let Some(listener) = config.listeners.iter().find(|it| *it.name == *name) else {
        return Ok(None);
    };
    tls_of(listener, development(config)?.as_ref(), clients)
}

/// The development certificate, where a listener needs it.
fn development(config: &Config) -> Result<Option<Development>, Failure> {
    let needs = |listener: &Listener| listener.transport.is_tls() && listener.certificate.is_none();
    if !config.listeners.iter().any(needs) {
        return Ok(None);
    }
    let hostname = tls::hostname();
    let development =
        Development::prepare(&config.data_dir, hostname.as_deref(), SystemTime::now())
            .map_err(failed)?;
    match development.made {
        Made::Nothing => {}
        Made::Server => tracing::info!("development certificate renewed; its CA is the same"),
        Made::Authority => {
            tracing::info!(ca = %development.ca.display(), "development CA and certificate made");
        }
    }
    Ok(Some(development))
}

/// Judges logins as they come, each in a task of its own; the judge bounds their number.
async fn judge_logins(
    judge: Authenticator,
    mut waiting: mpsc::Receiver<Request>,
    verdicts: Verdicts,
    clock: Clock,
) {
    while let Some(Request { shard, login }) = waiting.recv().await {
        let (judge, verdicts) = (judge.clone(), verdicts.clone());
        tokio::spawn(async move {
            let conn = login.conn;
            let verdict = judge.judge(*login, clock.now()).await;
            verdicts.give(shard, conn, verdict);
        });
    }
}

/// The configuration with the addresses that the system chose.
fn as_bound(config: &Config, server: &Server, admin: SocketAddr) -> Config {
    let mut bound = config.clone();
    bound.admin.bind = admin;
    for (listener, (_, address)) in bound.listeners.iter_mut().zip(server.addresses()) {
        listener.bind = *address;
    }
    bound
}

/// What tells the broker to stop. From `listen` on, a signal ends it in order and not at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for SIGINT (Ctrl-C) or SIGTERM, and names it.
    async fn wait(mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Tells every client to go, then writes down that they went.
async fn stop(server: Server, life: chronicle::Life, writer: AuditWriter, database: Database) {
    match tokio::task::spawn_blocking(move || server.stop()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the journal is not whole"),
        Err(_) => tracing::error!("the shards did not stop in order"),
    }
    life.end();
    chronicle::close(writer).await;
    let _ = tokio::time::timeout(LAST_WORDS, database.close()).await;
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::Failed(error.into())
}
