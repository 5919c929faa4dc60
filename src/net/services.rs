//! What a shard asks of the rest of the broker, and what it counts on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::desk::{ASK_AGAIN, Desk};
use crate::audit::Kept;
use crate::broker::{
    Answer, Breach, Counters, DisconnectCause, Drop, Event, EventKind, Login, Question, Refusal,
    Verdict, Way,
};
use crate::telemetry::metric as m;
use crate::telemetry::{Reporter, Snapshot};
use crate::time::Span;

/// Where events go on record: never waits, may be called from any thread. What it returns says
/// whether the event is worth waiting for.
pub type Record = Arc<dyn Fn(Box<Event>) -> Kept + Send + Sync>;

/// A login, and the shard that waits for its verdict.
pub struct Request {
    /// Where the verdict goes.
    pub shard: u16,
    /// What is to be judged.
    pub login: Box<Login>,
}

/// The rest of the broker, for one shard.
pub(super) struct Services {
    shard: u16,
    judge: mpsc::Sender<Request>,
    desk: Option<Desk>,
    record: Record,
    reporter: Reporter,
    /// What events amount to, since the shard began.
    events: Snapshot,
    /// Connections that are logged in, by listener and team.
    online: BTreeMap<(Arc<str>, Arc<str>), u64>,
}

impl Services {
    pub(super) fn new(
        shard: u16,
        judge: mpsc::Sender<Request>,
        desk: Option<Desk>,
        record: Record,
        reporter: Reporter,
    ) -> Self {
        let (events, online) = (Snapshot::default(), BTreeMap::new());
        Self {
            shard,
            judge,
            desk,
            record,
            reporter,
            events,
            online,
        }
    }

    /// Has a login judged elsewhere. Where too many wait already, the verdict is at once that
    /// nothing could be judged.
    pub(super) fn judge(&self, login: Box<Login>) -> Result<(), Verdict> {
        let request = Request {
            shard: self.shard,
            login,
        };
        self.judge
            .try_send(request)
            .map_err(|_| Verdict::Undecided(Refusal::Busy))
    }

    /// Has a question answered elsewhere. Where too many of its team are open already, or there is
    /// nobody to ask, it has no answer.
    pub(super) fn ask(&mut self, question: Box<Question>) -> Result<(), Answer> {
        let Some(desk) = &self.desk else {
            return Err(Answer::Missing(ASK_AGAIN));
        };
        let asked = desk.ask(self.shard, question);
        if asked.is_err() {
            self.events
                .add(&m::HOOK_QUESTIONS, &["authorize", "crowded"], 1);
        }
        asked
    }

    /// Lets the platform hear of a topic, where not too many wait already.
    pub(super) fn report_topic(&mut self, question: Box<Question>) {
        let heard = self.desk.as_ref().map(|desk| desk.report(question));
        if heard != Some(true) {
            self.events.add(&m::HOOK_REPORTS, &["dropped"], 1);
        }
    }

    /// Counts an event and puts it on record.
    pub(super) fn record(&mut self, event: Box<Event>) -> Kept {
        let listener = &event.who.peer.listener;
        match &event.kind {
            EventKind::Connected { version, .. } => {
                self.events
                    .add(&m::CONNECTS, &[listener, version.as_str()], 1);
                *self.online.entry(seat(&event)).or_default() += 1;
            }
            EventKind::ConnectRefused { reason, .. } => {
                self.events
                    .add(&m::CONNECTS_REFUSED, &[listener, reason.as_str()], 1);
            }
            EventKind::Disconnected { cause, .. } => {
                self.events
                    .add(&m::DISCONNECTS, &[listener, cause.as_str()], 1);
                if let DisconnectCause::Review(change) = cause {
                    self.events
                        .add(&m::CONNECTIONS_ENDED, &[change.kind.as_str()], 1);
                }
                if let Some(online) = self.online.get_mut(&seat(&event)) {
                    *online = online.saturating_sub(1);
                }
            }
            EventKind::PublishRefused { why, .. } => {
                self.events.add(&m::PUBLISHES_REFUSED, &[why], 1);
            }
            EventKind::SubscribeRefused { why, .. } => {
                self.events.add(&m::SUBSCRIBES_REFUSED, &[why], 1);
            }
            EventKind::UnsubscribeRefused { why, .. } => {
                self.events.add(&m::UNSUBSCRIBES_REFUSED, &[why], 1);
            }
            EventKind::SubscriptionEnded { change, .. } => {
                self.events
                    .add(&m::SUBSCRIPTIONS_ENDED, &[change.kind.as_str()], 1);
            }
            EventKind::Reauthenticated => {
                self.events.add(&m::REAUTHENTICATIONS, &[listener, "ok"], 1);
            }
            EventKind::ReauthenticationRefused { reason, .. } => {
                self.events
                    .add(&m::REAUTHENTICATIONS, &[listener, reason.as_str()], 1);
            }
            // Each is counted where it is, the events are of many.
            EventKind::TakenOver { .. }
            | EventKind::LimitHit { .. }
            | EventKind::WillSent { .. }
            | EventKind::SessionExpired { .. }
            | EventKind::Crossed { .. }
            | EventKind::Observed { .. }
            | EventKind::AdminRefused { .. } => {}
        }
        (self.record)(event)
    }

    /// Counts what a client broke below MQTT.
    pub(super) fn count_breach(&mut self, listener: &str, breach: Breach) {
        match breach {
            Breach::Tls | Breach::Certificate(_) => {
                self.events
                    .add(&m::TLS_HANDSHAKES, &[listener, "failed"], 1)
            }
            Breach::WebSocket(code) if code < 1000 => {
                self.events
                    .add(&m::WEBSOCKET_REFUSED, &[listener, &code.to_string()], 1);
            }
            Breach::WebSocket(code) => {
                self.events
                    .add(&m::WEBSOCKET_CLOSED, &[listener, &code.to_string()], 1);
            }
        }
    }

    /// Counts a TLS handshake: `ok` or `timeout`; one that failed is a breach.
    pub(super) fn count_handshake(&mut self, listener: &str, result: &str) {
        self.events.add(&m::TLS_HANDSHAKES, &[listener, result], 1);
    }

    /// One turn took this long, from the first read to the last write, for so many messages.
    pub(super) fn routed(&mut self, took: Duration, messages: u64) {
        let span = Span::from_micros(took.as_micros() as u64);
        self.events.routing.observe(span, messages);
    }

    /// Leaves the totals where the metrics page finds them.
    pub(super) fn report(&self, counters: &Counters) {
        let mut snapshot = self.events.clone();
        for (qos, label) in ["0", "1", "2"].into_iter().enumerate() {
            snapshot.add(&m::MESSAGES_RECEIVED, &[label], counters.messages_in[qos]);
            snapshot.add(&m::MESSAGES_SENT, &[label], counters.messages_out[qos]);
            snapshot.add(&m::MESSAGE_BYTES_RECEIVED, &[label], counters.bytes_in[qos]);
            snapshot.add(&m::MESSAGE_BYTES_SENT, &[label], counters.bytes_out[qos]);
        }
        for (label, dropped) in Drop::LABELS.into_iter().zip(counters.dropped) {
            snapshot.add(&m::MESSAGES_DROPPED, &[label], dropped);
        }
        for (way, crossed) in Way::LABELS.into_iter().zip(counters.crossings) {
            snapshot.add(&m::CROSSINGS, &[way], crossed);
        }
        for bytes in &counters.listeners {
            let labels: &[&str] = &[&bytes.listener];
            snapshot.add(&m::BYTES_RECEIVED, labels, bytes.received);
            snapshot.add(&m::BYTES_SENT, labels, bytes.sent);
        }
        for (act, would, count) in counters.observed.labelled() {
            snapshot.add(&m::POLICY_OBSERVED, &[act, would], count);
        }
        snapshot.add(&m::CONNECTIONS_TURNED_AWAY, &[], counters.turned_away);
        snapshot.add(&m::SESSIONS_EXPIRED, &[], counters.sessions_expired);
        snapshot.add(&m::FAIR_SHARE_WAITS, &[], counters.waited);
        snapshot.add(&m::SESSIONS_REVIEWED, &[], counters.sessions_reviewed);
        for ((listener, team), count) in &self.online {
            snapshot.add(&m::CONNECTIONS, &[listener, team], *count);
        }
        self.reporter.report(snapshot);
    }
}

/// Listener and team, as the gauge of connections has them.
fn seat(event: &Event) -> (Arc<str>, Arc<str>) {
    let team = event.who.team.as_ref().map_or("", |team| team.as_str());
    (Arc::clone(&event.who.peer.listener), Arc::from(team))
}
