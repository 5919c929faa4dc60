//! Every metric: its name, its labels, and what it says. Nothing else in the code spells a name.
//!
//! Names follow Prometheus' conventions: `_total` on counters, base units as suffixes. What shards
//! count reaches the recorder through a [`Snapshot`](super::Snapshot); what happens elsewhere
//! (audit, logins) is counted there and then with [`Metric::count`], [`Metric::set`] and
//! [`Metric::observe`].

use std::time::Duration;

use metrics::{Label, SetRecorderError, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

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

/// Upper ends of the buckets of rare durations, in seconds.
const SECONDS: [f64; 12] = [
    0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0,
];

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
    POLICY_INFO Gauge "cofferdam_policy_info" ["use", "file", "version"]
        "1 for the policy that is in force, and for the one that is observed beside it; 0 for those that were."
    POLICY_SINCE Gauge "cofferdam_policy_loaded_timestamp_seconds" []
        "When the policy came in force, in seconds since the Unix epoch."
    POLICY_RELOADS Counter "cofferdam_policy_reloads_total" ["result"]
        "Times that the policy was to be read again: loaded, unchanged, or refused."
    POLICY_OBSERVED Counter "cofferdam_policy_observed_total" ["action", "would"]
        "Decisions that the observed policy would have made otherwise: would allow or deny."
    CERTIFICATE_RELOADS Counter "cofferdam_certificate_reloads_total" ["listener", "result"]
        "Certificates that were to be read again: loaded, or refused."
    ADMIN_REFUSED Counter "cofferdam_admin_requests_refused_total" ["reason"]
        "Requests for the API on the admin address that did not show the token."
    BUILD_INFO Gauge "cofferdam_build_info" ["version"]
        "Always 1; the version of the broker is in the label."
    CONNECTIONS Gauge "cofferdam_connections" ["listener", "team"]
        "Connections that are logged in; team is empty for principals that span teams."
    CONNECTS Counter "cofferdam_connects_total" ["listener", "version"]
        "Connections that were logged in."
    CONNECTS_REFUSED Counter "cofferdam_connects_refused_total" ["listener", "reason"]
        "Connections that ended before they were logged in, by the true reason."
    CONNECTIONS_TURNED_AWAY Counter "cofferdam_connections_turned_away_total" []
        "Connections closed unheard: there were too many, of the broker or of their address, or they did \
         not come by a listed proxy; refused connects have them too."
    REAUTHENTICATIONS Counter "cofferdam_reauthentications_total" ["listener", "result"]
        "Logged-in connections that were to prove again who they are: ok, or the true reason why not."
    DISCONNECTS Counter "cofferdam_disconnects_total" ["listener", "cause"]
        "Logged-in connections that ended."
    MESSAGES_RECEIVED Counter "cofferdam_messages_received_total" ["qos"]
        "PUBLISH packets from clients."
    MESSAGES_SENT Counter "cofferdam_messages_sent_total" ["qos"]
        "PUBLISH packets to clients."
    MESSAGE_BYTES_RECEIVED Counter "cofferdam_messages_received_bytes_total" ["qos"]
        "Payload bytes of PUBLISH packets from clients."
    MESSAGE_BYTES_SENT Counter "cofferdam_messages_sent_bytes_total" ["qos"]
        "Payload bytes of PUBLISH packets to clients."
    BYTES_RECEIVED Counter "cofferdam_received_bytes_total" ["listener"]
        "Bytes of MQTT from clients, all packets, as they come; without TLS and WebSocket framing."
    BYTES_SENT Counter "cofferdam_sent_bytes_total" ["listener"]
        "Bytes of MQTT to clients, all packets, as they go; without TLS and WebSocket framing."
    MESSAGES_DROPPED Counter "cofferdam_messages_dropped_total" ["reason"]
        "Messages that were accepted and not delivered to a matching session."
    PUBLISHES_REFUSED Counter "cofferdam_publishes_refused_total" ["reason"]
        "Publishes and wills that were not accepted."
    SUBSCRIBES_REFUSED Counter "cofferdam_subscribes_refused_total" ["reason"]
        "Filters that were not granted."
    UNSUBSCRIBES_REFUSED Counter "cofferdam_unsubscribes_refused_total" ["reason"]
        "Filters of UNSUBSCRIBE that nobody of the client's team could have subscribed to."
    CROSSINGS Counter "cofferdam_crossings_total" ["way"]
        "Messages that crossed a team's border because a rule says so: into it from somebody who is \
         not of it (the platform), or out of it to one."
    LIMIT_HITS Counter "cofferdam_limit_hits_total" ["team", "limit"]
        "Times that a limit of a team or its clients was hit."
    QUEUED_BYTES Gauge "cofferdam_queued_bytes" ["team"]
        "Bytes of messages in the queues of all sessions."
    RETAINED_MESSAGES Gauge "cofferdam_retained_messages" ["team"]
        "Retained messages that are kept."
    SESSIONS Gauge "cofferdam_sessions" ["team", "state"]
        "Sessions, connected or stored."
    SESSIONS_EXPIRED Counter "cofferdam_sessions_expired_total" []
        "Sessions that ended because their expiry interval was over."
    CHANGES Counter "cofferdam_changes_total" ["change"]
        "Changes of teams and members in the database that this broker has acted on while it ran."
    SESSIONS_REVIEWED Counter "cofferdam_sessions_reviewed_total" []
        "Sessions that were judged anew because a credential, a team or the policy was changed."
    CONNECTIONS_ENDED Counter "cofferdam_connections_ended_by_change_total" ["change"]
        "Logged-in connections that ended because something was changed; disconnects have them too."
    SUBSCRIPTIONS_ENDED Counter "cofferdam_subscriptions_ended_by_change_total" ["change"]
        "Granted subscriptions that ended because something was changed."
    SUBSCRIPTIONS Gauge "cofferdam_subscriptions" ["team"]
        "Subscriptions of all sessions."
    FAIR_SHARE_WAITS Counter "cofferdam_fair_share_waits_total" []
        "Times that a connection waited because its team had had its share of a shard's turn."
    ROUTING_DURATION Histogram "cofferdam_routing_duration_seconds" []
        "Time from the read that completed a PUBLISH to the write of its deliveries, per message."
    AUDIT_QUEUE Gauge "cofferdam_audit_queue_events" []
        "Audit events that wait for the spool."
    AUDIT_SPOOLED Counter "cofferdam_audit_spooled_events_total" []
        "Records that are synced to the spool."
    AUDIT_SPOOL_BYTES Gauge "cofferdam_audit_spool_bytes" []
        "Bytes of the spool on disk: what the audit store has not taken yet, and the open segment."
    AUDIT_SPOOL_FAILING Gauge "cofferdam_audit_spool_failing" []
        "1 while the spool is full or its disk takes nothing, else 0."
    AUDIT_SPOOL_FAILURES Counter "cofferdam_audit_spool_failures_total" []
        "Writes to the spool that failed and were tried again."
    AUDIT_WRITTEN Counter "cofferdam_audit_written_events_total" []
        "Records that are in the audit store; one may stand for several events."
    AUDIT_FOLDED Counter "cofferdam_audit_folded_events_total" []
        "Refusals that are counted in the record of another: the same again within a second."
    AUDIT_DROPPED Counter "cofferdam_audit_dropped_events_total" []
        "Audit events that were left out because there was no room for them; a gap record has the count."
    AUDIT_WRITE_FAILURES Counter "cofferdam_audit_write_failures_total" []
        "Batches that the audit store did not take and that were tried again."
    AUDIT_BATCH_DURATION Histogram "cofferdam_audit_batch_duration_seconds" []
        "Time from the first try to write a batch until the audit store had it."
    DATABASE_AWAY Gauge "cofferdam_database_away" []
        "1 while the database does not answer, else 0."
    LOGINS_WAITING Gauge "cofferdam_logins_waiting" []
        "Logins that wait for their password to be hashed."
    LOGIN_DURATION Histogram "cofferdam_login_duration_seconds" []
        "Time that judging a login took, without the delay of refusals."
    HOOK_QUESTIONS Counter "cofferdam_hook_questions_total" ["what", "result"]
        "Questions to the platform's store, each try for itself: allow, deny, ignore; malformed, \
         no_answer, gateway, timeout, unreached, later; crowded, its team asks too much."
    HOOK_DURATION Histogram "cofferdam_hook_duration_seconds" []
        "Time that one question to the platform's store took, with an answer or without."
    HOOK_CACHE Counter "cofferdam_hook_cache_total" ["result"]
        "What shards asked about topics: hit, known already; joined, just being asked; miss, asked."
    HOOK_AWAY Gauge "cofferdam_hook_away" ["what"]
        "1 while the platform's store cannot be reached and is tried once a second, else 0."
    HOOK_LIES Counter "cofferdam_hook_lies_total" []
        "Logins that the platform's store gave another mount than the policy gives their username."
    HOOK_REPORTS Counter "cofferdam_hook_reports_total" ["result"]
        "New topics that the platform was to hear of: ok; failed; dropped, too many waited."
    JOURNAL_COMMIT_DURATION Histogram "cofferdam_journal_commit_duration_seconds" []
        "Time from taking up what waited to be kept until it was on disk, per batch."
    JOURNAL_WAITING Gauge "cofferdam_journal_waiting_bytes" []
        "Bytes that shards have handed to the journal and that it has not taken up."
    JOURNAL_SIZE Gauge "cofferdam_journal_size_bytes" []
        "Bytes of the journal's files, without what is preallocated."
    JOURNAL_LIVE Gauge "cofferdam_journal_live_bytes" []
        "Of the journal's bytes, those that say what there is now; the rest is given back in time."
    JOURNAL_WRITTEN Counter "cofferdam_journal_written_bytes_total" []
        "Bytes that the journal has written."
    JOURNAL_CARRIED Counter "cofferdam_journal_carried_bytes_total" []
        "Of the bytes written, those that were carried forward so that an old file could go."
    JOURNAL_FULL Gauge "cofferdam_journal_full" []
        "1 while messages that would have to be kept are refused for lack of room on disk, else 0."
    JOURNAL_FAILURES Counter "cofferdam_journal_failures_total" []
        "Writes and syncs of the journal that the system refused and that were tried again."
    JOURNAL_LOST Counter "cofferdam_journal_lost_messages_total" []
        "Messages in the journal that could not be read any more when their file was to go."
    TLS_HANDSHAKES Counter "cofferdam_tls_handshakes_total" ["listener", "result"]
        "TLS handshakes: ok; timeout, not done when the login's time was over; failed, also of a record \
         later on."
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

    /// Counts a duration of a histogram without labels. For what is rare: the recorder keeps every
    /// sample until its next upkeep.
    pub fn observe(&'static self, took: Duration) {
        metrics::histogram!(self.name).record(took);
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
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    Ok(handle)
}

/// A recorder whose histograms have buckets, which can be added up over brokers.
pub(crate) fn builder() -> PrometheusBuilder {
    let builder = PrometheusBuilder::new();
    match builder.set_buckets(&SECONDS) {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(), // said only of an empty list
    }
}

/// Gives the recorder in force every metric's help, and the build its version. What has no labels
/// is on the page from the start.
pub(crate) fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => {
                metrics::describe_counter!(metric.name, metric.help);
                if metric.labels.is_empty() {
                    metric.count(&[], 0);
                }
            }
            Kind::Gauge => {
                metrics::describe_gauge!(metric.name, metric.help);
                if metric.labels.is_empty() {
                    metric.set(&[], 0.0);
                }
            }
            Kind::Histogram => {
                metrics::describe_histogram!(metric.name, Unit::Seconds, metric.help);
                // That one is the shards', and written by itself.
                if metric.labels.is_empty() && metric.name != ROUTING_DURATION.name {
                    drop(metrics::histogram!(metric.name));
                }
            }
        }
    }
    BUILD_INFO.set(&[env!("CARGO_PKG_VERSION")], 1.0);
}
