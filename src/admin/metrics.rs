//! Every metric: its name, its labels, and what it says. Nothing else in the code spells a name.
//!
//! Names follow Prometheus' conventions: `_total` on counters, base units as suffixes. What shards
//! count reaches the recorder through a [`Snapshot`](super::Snapshot); what happens elsewhere
//! (audit, logins) is counted there and then with [`Metric::count`] and [`Metric::set`].

use metrics::{Label, SetRecorderError, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::broker::{DisconnectCause, Refusal};
use crate::wire::Version;

/// What is measured.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// With its unit and suffix.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The names of its labels; values are given in this order.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

macro_rules! metrics {
    ($($const:ident $kind:ident $name:literal [$($label:literal),*] $help:literal)+) => {
        $(
            #[doc = $help]
            pub static $const: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+
        /// All of them, in the order of this file.
        pub static ALL: &[&Metric] = &[$(&$const),+];
    };
}

metrics! {
    BUILD_INFO Gauge "cofferdam_build_info" ["version"]
        "Always 1; the version of the broker is in the label."
    CONNECTIONS Gauge "cofferdam_connections" ["listener", "team"]
        "Connections that are logged in; team is empty for principals that span teams."
    CONNECTS Counter "cofferdam_connects_total" ["listener", "version"]
        "Connections that were logged in."
    CONNECTS_REFUSED Counter "cofferdam_connects_refused_total" ["listener", "reason"]
        "Connections that ended before they were logged in, by the true reason."
    DISCONNECTS Counter "cofferdam_disconnects_total" ["listener", "cause"]
        "Logged-in connections that ended."
    MESSAGES_RECEIVED Counter "cofferdam_messages_received_total" ["qos"]
        "PUBLISH packets from clients."
    MESSAGES_SENT Counter "cofferdam_messages_sent_total" ["qos"]
        "PUBLISH packets to clients."
    MESSAGE_BYTES_RECEIVED Counter "cofferdam_messages_received_bytes_total" ["qos"]
        "Bytes of PUBLISH packets from clients."
    MESSAGE_BYTES_SENT Counter "cofferdam_messages_sent_bytes_total" ["qos"]
        "Bytes of PUBLISH packets to clients."
    BYTES_RECEIVED Counter "cofferdam_received_bytes_total" ["listener"]
        "Bytes of MQTT from clients, all packets."
    BYTES_SENT Counter "cofferdam_sent_bytes_total" ["listener"]
        "Bytes of MQTT to clients, all packets."
    MESSAGES_DROPPED Counter "cofferdam_messages_dropped_total" ["reason"]
        "Messages that were accepted and not delivered to a matching session."
    PUBLISHES_REFUSED Counter "cofferdam_publishes_refused_total" ["reason"]
        "Publishes and wills that were not accepted."
    SUBSCRIBES_REFUSED Counter "cofferdam_subscribes_refused_total" ["reason"]
        "Filters that were not granted."
    RETAINED_MESSAGES Gauge "cofferdam_retained_messages" ["team"]
        "Retained messages that are kept."
    SESSIONS Gauge "cofferdam_sessions" ["team", "state"]
        "Sessions, connected or stored."
    SUBSCRIPTIONS Gauge "cofferdam_subscriptions" ["team"]
        "Subscriptions of all sessions."
    ROUTING_DURATION Histogram "cofferdam_routing_duration_seconds" []
        "Time from the read that completed a PUBLISH to the write of its deliveries, per message."
    AUDIT_QUEUE Gauge "cofferdam_audit_queue_events" []
        "Audit events that wait to be written."
    AUDIT_WRITTEN Counter "cofferdam_audit_written_events_total" []
        "Audit events that are in the store."
    AUDIT_DROPPED Counter "cofferdam_audit_dropped_events_total" []
        "Audit events that were lost because their queue was full."
    LOGINS_WAITING Gauge "cofferdam_logins_waiting" []
        "Logins that wait to be judged."
    TLS_HANDSHAKES Counter "cofferdam_tls_handshakes_total" ["listener", "result"]
        "TLS handshakes: ok, failed or timeout."
    WEBSOCKET_REFUSED Counter "cofferdam_websocket_refused_total" ["listener", "status"]
        "WebSocket requests that were refused, by HTTP status."
    WEBSOCKET_CLOSED Counter "cofferdam_websocket_closed_total" ["listener", "code"]
        "WebSockets that the broker closed for an error, by close code."
}

impl Metric {
    /// Adds to a counter, one value for each label in the metric's order. For what is rare: each
    /// call looks the series up.
    pub fn count(&'static self, labels: &[&str], value: u64) {
        metrics::counter!(self.name, self.named(labels)).increment(value);
    }

    /// Sets a gauge, one value for each label in the metric's order.
    pub fn set(&'static self, labels: &[&str], value: f64) {
        metrics::gauge!(self.name, self.named(labels)).set(value);
    }

    fn named(&'static self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        pairs
            .map(|(name, value)| Label::new(*name, value.to_string()))
            .collect()
    }
}

/// Makes Prometheus the recorder of this process and describes every metric.
///
/// # Errors
/// There is a recorder already.
pub fn install() -> Result<PrometheusHandle, SetRecorderError<PrometheusRecorder>> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    Ok(handle)
}

/// Gives the recorder in force every metric's help, and the build its version.
pub(super) fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => {
                metrics::describe_histogram!(metric.name, Unit::Seconds, metric.help)
            }
        }
    }
    BUILD_INFO.set(&[env!("CARGO_PKG_VERSION")], 1.0);
}

/// The label `version` of [`CONNECTS`].
pub const fn version_label(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

/// The label `reason` of [`CONNECTS_REFUSED`].
pub const fn refusal_label(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownUser => "unknown_user",
        Refusal::NoCredential => "no_credential",
        Refusal::WrongPassword => "wrong_password",
        Refusal::Anonymous => "anonymous",
        Refusal::TeamSuspended => "team_suspended",
        Refusal::ClientId => "client_id",
        Refusal::Unavailable => "unavailable",
        Refusal::Busy => "busy",
        Refusal::ConnectTimeout => "connect_timeout",
        Refusal::Malformed(_) => "malformed",
        Refusal::Quota => "quota",
        Refusal::Gone => "gone",
        Refusal::Stopping => "stopping",
    }
}

/// The label `cause` of [`DISCONNECTS`].
pub const fn disconnect_label(cause: DisconnectCause) -> &'static str {
    match cause {
        DisconnectCause::Client(_) => "client",
        DisconnectCause::Lost => "lost",
        DisconnectCause::KeepAlive => "keep_alive",
        DisconnectCause::TakenOver => "taken_over",
        DisconnectCause::Protocol(_) => "protocol",
        DisconnectCause::Server(_) => "server",
    }
}
