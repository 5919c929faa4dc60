//! Part of `serve`: the audit opened and closed, and the broker's own life on record.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::serve::{LAST_WORDS, failed};
use crate::audit::{
    self, AuditKey, AuditSink, AuditWriter, Cause, Finished, Kept, Personal, Pseudonyms, Record,
    Regions, Settings, Store,
};
use crate::config::{Config, Region};
use crate::database::Database;
use crate::net::clock::Clock;
use crate::net::server::{self, Server};

/// Is there while a broker runs. One that finds it was preceded by one that did not stop in order.
const RUNNING: &str = "running";
/// Who did it, on record.
const BROKER: &str = "cofferdam";

/// Opens the audit: from here on events are kept.
pub(super) async fn open(
    config: &Config,
    database: Database,
) -> Result<(AuditSink, AuditWriter), Failure> {
    let variable = std::env::var(AuditKey::VARIABLE).ok();
    let key = AuditKey::load(&config.data_dir, variable.as_deref()).map_err(failed)?;
    let settings = Settings {
        spool_bytes_max: config.audit.spool_max,
        segment_bytes: (config.audit.spool_max / 16).clamp(64 << 10, 8 << 20),
        checkpoint_every: Duration::from_micros(config.audit.checkpoint_every.as_micros()),
        retention: config.audit.retention,
        personal: personal(config),
        ..Settings::default()
    };
    let mut stores = vec![Store {
        region: None,
        database,
    }];
    stores.extend(region_stores(config).await?);
    let regions = Regions::new(config.audit.regions.iter().flat_map(|region| {
        let name: Arc<str> = Arc::from(region.name.as_str());
        let teams = region.teams.iter();
        teams.map(move |team| (team.clone(), Arc::clone(&name)))
    }));
    audit::start(stores, regions, &config.data_dir, key, settings).map_err(failed)
}

/// The databases of the regions. A server that is away is waited for: records wait in the spool.
async fn region_stores(config: &Config) -> Result<Vec<Store>, Failure> {
    let mut stores = Vec::new();
    for region in &config.audit.regions {
        let database = Database::open_or_later(region.url.expose(), &Default::default()).await;
        let named = |error| failed(format!("[audit.region.{}] {error}", region.name));
        stores.push(Store {
            region: Some(Arc::from(region.name.as_str())),
            database: database.map_err(named)?,
        });
    }
    Ok(stores)
}

/// The same, for who reads them.
pub(super) async fn region_readers(config: &Config) -> Result<Vec<(Region, Database)>, Failure> {
    let stores = region_stores(config).await?.into_iter();
    let regions = config.audit.regions.iter().cloned();
    Ok(regions.zip(stores.map(|store| store.database)).collect())
}

fn personal(config: &Config) -> Personal {
    Personal {
        addresses: config.audit.pseudonymise_addresses,
        usernames: config.audit.pseudonymise_usernames,
    }
}

/// What names and addresses are called on record, where they are not called by themselves.
pub(super) fn pseudonyms(config: &Config) -> Option<Pseudonyms> {
    let variable = std::env::var(AuditKey::VARIABLE).ok();
    let key = AuditKey::read(&config.data_dir, variable.as_deref()).ok()?;
    Pseudonyms::of(&key, personal(config))
}

/// Where shards put their events. While the spool takes nothing they are not to wait for it, unless
/// the audit is strict.
pub(super) fn record(sink: &AuditSink, strict: bool) -> server::Record {
    if cfg!(feature = "unaudited") {
        tracing::error!("built without the audit, to measure what it costs: nothing is on record");
        return Arc::new(|_| Kept::Folded);
    }
    let sink = sink.clone();
    Arc::new(move |event| match sink.record(event) {
        Kept::At(_) if !strict && sink.is_failing() => Kept::Folded,
        kept => kept,
    })
}

/// A broker that runs, on record.
pub(super) struct Life {
    sink: AuditSink,
    clock: Clock,
    listeners: Vec<Value>,
    mark: PathBuf,
}

/// Puts on record that the broker and its listeners are there, and after what.
pub(super) fn begin(
    config: &Config,
    sink: &AuditSink,
    server: &Server,
    clock: Clock,
) -> Result<Life, Failure> {
    let mark = config.data_dir.join("audit").join(RUNNING);
    let after = match was_running(&mark).map_err(failed)? {
        true => "crash",
        false => "stop",
    };
    let detail = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "after": after,
        "process": std::process::id(),
        "audit_mode": config.audit.mode.as_str(),
    });
    let named = server.addresses().iter().zip(&config.listeners);
    let listeners = named.map(|((name, address), listener)| {
        json!({
            "listener": &**name,
            "transport": listener.transport.as_str(),
            "bind": address.to_string(),
        })
    });
    let life = Life {
        sink: sink.clone(),
        clock,
        listeners: listeners.collect(),
        mark,
    };
    life.note("broker_started", detail);
    for listener in &life.listeners {
        life.note("listener_opened", listener.clone());
    }
    for listener in config.listeners.iter().filter(|it| it.transport.is_tls()) {
        let file = listener
            .certificate
            .as_ref()
            .map(|files| &files.certificate);
        let detail = json!({ "listener": &*listener.name, "file": file });
        life.note("certificate_loaded", detail);
    }
    Ok(life)
}

impl Life {
    /// Puts on record that the broker stops in order: after the last connection has gone.
    pub(super) fn end(self) {
        for listener in &self.listeners {
            self.note("listener_closed", listener.clone());
        }
        self.note("broker_stopped", json!({}));
        if let Err(error) = fs::remove_file(&self.mark) {
            tracing::warn!(%error, "the next start will take this one for a crash");
        }
    }

    fn note(&self, event: &str, detail: Value) {
        let record = Record::administration(self.clock.now(), event, None, BROKER, detail);
        self.sink.note(record);
    }
}

/// Whether a broker before this one did not come to its end; from now on this one runs.
fn was_running(mark: &Path) -> std::io::Result<bool> {
    match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(mark)
    {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
        Err(error) => Err(error),
    }
}

/// Waits for the last events, for a moment: what is in the spool by then the next start writes.
pub(super) async fn close(writer: AuditWriter) {
    match writer.finish(LAST_WORDS).await {
        Finished::Whole { written } => tracing::info!(written, "the audit is whole"),
        Finished::Incomplete {
            cause,
            written,
            spooled,
            lost,
        } => {
            let why = match cause {
                Cause::Slow => "the audit store was too slow for the last events",
                Cause::Away => "the audit store took none of the last events",
                Cause::Failed => "the last audit events could not be written",
            };
            let waited_ms = LAST_WORDS.as_millis();
            match lost {
                0 => tracing::warn!(
                    written,
                    spooled,
                    waited_ms,
                    "{why}: they are in the spool, and the next start \
                     writes them"
                ),
                _ => tracing::error!(written, spooled, lost, waited_ms, "{why}"),
            }
        }
    }
}
