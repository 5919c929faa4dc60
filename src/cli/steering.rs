//! What steers a broker that runs: the control socket and the API behind it, SIGHUP, and the policy
//! that they read again. Called by `serve` once there are shards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Failure;
use super::certificates::Certificates;
use super::plans::PlanFile;
use super::store::{failed, unreadable};
use crate::admin::{Api, ControlSocket, Gate, PutInForce, Readiness, Rulebook, Slot, Token, Tools};
use crate::audit::AuditSink;
use crate::config::Config;
use crate::database::Database;
use crate::net::clock::Clock;
use crate::net::server::{Record, Shards};
use crate::policy::Policy;
use crate::telemetry::{Board, metric as m};

/// How long a stop waits for requests that are under way.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Who asked, in records of what a signal brought about.
const BY_SIGNAL: &str = "SIGHUP";
/// Who asked, where the configuration did.
const BY_CONFIGURATION: &str = "configuration";

/// What it steers with.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    /// In force from the start.
    pub(super) policy: Arc<Policy>,
    /// Carries a new policy out.
    pub(super) put_in_force: PutInForce,
    pub(super) shards: Shards,
    pub(super) sink: AuditSink,
    pub(super) record: Record,
    /// Where the audit store is, and who may read it.
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) readiness: Arc<Readiness>,
    pub(super) board: &'a Board,
    pub(super) certificates: Certificates,
    pub(super) plans: PlanFile,
    /// Where the admin pages look for the API.
    pub(super) slot: Slot,
}

/// Steering that is under way.
pub(super) struct Steering {
    stop: oneshot::Sender<()>,
    socket: Option<JoinHandle<()>>,
}

/// What opens the API on the admin address, where the configuration wants it there.
pub(super) fn gate(config: &Config, slot: &Slot) -> Result<Option<Gate>, Failure> {
    let Some(path) = &config.admin.token_file else {
        return Ok(None);
    };
    let token = Token::read(path).map_err(|error| Failure::Usage(error.to_string()))?;
    for why in ["no_token", "wrong_token"] {
        m::ADMIN_REFUSED.count(&[why], 0);
    }
    let slot = Arc::clone(slot);
    Ok(Some(Gate { token, slot }))
}

/// The policy that the configuration wants observed from the start.
pub(super) fn observed(config: &Config) -> Result<Option<(String, String)>, Failure> {
    let Some(path) = &config.policy.observe else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(Some((path.display().to_string(), text)))
}

impl Steering {
    /// Begins to listen to whoever steers.
    pub(super) async fn start(parts: Parts<'_>) -> Result<Self, Failure> {
        let Parts {
            config,
            policy,
            put_in_force,
            shards,
            sink,
            record,
            database,
            clock,
            readiness,
            board,
            certificates,
            plans,
            slot,
        } = parts;
        let hangups = signal(SignalKind::hangup()).map_err(failed)?;
        let rulebook = Arc::new(Rulebook::new(
            policy,
            Tools {
                file: config.policy.file.clone(),
                put_in_force,
                shards: shards.clone(),
                sink: sink.clone(),
                clock,
            },
        ));
        let counted = Arc::clone(&rulebook);
        board.source(move |snapshot| counted.count(snapshot));
        if let Some((file, text)) = observed(config)? {
            let observed = rulebook.observe(&file, &text, BY_CONFIGURATION).await;
            observed.map_err(|refused| Failure::Usage(refused.to_string()))?;
        }
        let certificates = Arc::new(certificates);
        let read_certificates = move || {
            let (certificates, sink) = (Arc::clone(&certificates), sink.clone());
            tokio::task::spawn_blocking(move || certificates.reload(BY_SIGNAL, &sink, clock))
        };
        tokio::spawn(follow_signals(
            hangups,
            Arc::clone(&rulebook),
            plans,
            read_certificates,
        ));
        let api = Api {
            shards,
            rulebook,
            readiness,
            record,
            database,
            regions: Arc::new(super::chronicle::region_readers(config).await?),
            names: super::chronicle::pseudonyms(config),
            clock,
        };
        // It is set once, here.
        let _ = slot.set(api);
        let (stop, stopped) = oneshot::channel();
        let socket = open(&config.data_dir, slot, stopped);
        Ok(Self { stop, socket })
    }

    /// Answers what is under way, for a moment, and takes the control socket away.
    pub(super) async fn stop(self) {
        drop(self.stop);
        if let Some(mut socket) = self.socket
            && timeout(LAST_ANSWERS, &mut socket).await.is_err()
        {
            socket.abort();
            let _ = socket.await;
        }
    }
}

/// Serves the control socket. Without it the broker still does what it is there for.
fn open(data_dir: &Path, slot: Slot, stopped: oneshot::Receiver<()>) -> Option<JoinHandle<()>> {
    let socket = match ControlSocket::open(data_dir) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(
                %error,
                "the control socket cannot be opened: the command line cannot reach this broker"
            );
            return None;
        }
    };
    Some(tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        if let Err(error) = socket.serve(slot, until).await {
            tracing::error!(%error, "the control socket is no longer served");
        }
    }))
}

/// SIGHUP: what was read from files is read again.
async fn follow_signals(
    mut hangups: Signal,
    rulebook: Arc<Rulebook>,
    plans: PlanFile,
    read_certificates: impl Fn() -> JoinHandle<()>,
) {
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: reading policy, plans and certificates again");
        // Refused or not, it is in the log and on record.
        let _ = rulebook.reload(BY_SIGNAL).await;
        plans.reload(BY_SIGNAL).await;
        let _ = read_certificates().await;
    }
}
