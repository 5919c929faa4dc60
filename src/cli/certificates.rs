//! Certificates read again while the broker runs, on SIGHUP: new handshakes see the new one. One
//! that is of no use is refused, and the listener keeps what it has. Called by `serve`.

use std::sync::Arc;

use serde_json::json;

use super::serve::listener_tls;
use super::vouchers::ClientVerifiers;
use crate::audit::{AuditSink, Record};
use crate::config::Config;
use crate::net::clock::Clock;
use crate::net::server::{ListenerSpec, TlsInForce};
use crate::telemetry::metric as m;

/// The listeners that have one.
pub(super) struct Certificates {
    config: Config,
    /// Who goes on checking those of clients: their files are followed by themselves.
    clients: ClientVerifiers,
    /// By the listeners' names.
    in_force: Vec<(Arc<str>, TlsInForce)>,
}

impl Certificates {
    /// What these listeners show, which they share with it.
    pub(super) fn of(
        config: &Config,
        listeners: &[ListenerSpec],
        clients: ClientVerifiers,
    ) -> Self {
        let tls = listeners.iter().filter_map(|listener| {
            let tls = Arc::clone(listener.tls.as_ref()?);
            for result in ["loaded", "refused"] {
                m::CERTIFICATE_RELOADS.count(&[&listener.name, result], 0);
            }
            Some((Arc::clone(&listener.name), tls))
        });
        Self {
            config: config.clone(),
            clients,
            in_force: tls.collect(),
        }
    }

    /// Reads all of them again; each counts by itself. Blocks for a few files.
    pub(super) fn reload(&self, actor: &str, sink: &AuditSink, clock: Clock) {
        for (name, in_force) in &self.in_force {
            let mut detail = json!({ "listener": &**name });
            let event = match listener_tls(&self.config, name, &self.clients) {
                Ok(Some(read)) => {
                    in_force.store(read);
                    tracing::info!(listener = %name, "the certificate was read again");
                    m::CERTIFICATE_RELOADS.count(&[name, "loaded"], 1);
                    "certificate_reload"
                }
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(
                        listener = %name, %error, "the certificate was refused; the one before stays"
                    );
                    m::CERTIFICATE_RELOADS.count(&[name, "refused"], 1);
                    detail["error"] = error.to_string().into();
                    "certificate_refused"
                }
            };
            sink.note(Record::administration(
                clock.now(),
                event,
                None,
                actor,
                detail,
            ));
        }
    }
}
