//! One row of the audit store.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fold::{Folded, Scope};
use super::moment::rfc3339;
use super::queue::Gap;
use crate::broker::{Change, DisconnectCause, Event, EventKind, Refusal};
use crate::time::{Span, Time};
use crate::wire::ReasonCode;

/// Longest text of a column, in bytes. What comes before a login was judged is as long as the
/// sender likes; a record is not.
pub(super) const MAX_TEXT_BYTES: usize = 1024;

/// Longest record in the spool, in bytes.
const RECORD_BYTES_MAX: usize = 256 << 10;

/// Whose business a record is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The operator's.
    Platform,
    /// One team's, and the operator's.
    Team,
}

impl Level {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Team => "team",
        }
    }

    /// What [`as_str`](Self::as_str) gave.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Platform, Self::Team]
            .into_iter()
            .find(|level| level.as_str() == word)
    }
}

/// One row of the audit store.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// When.
    #[serde(with = "micros")]
    pub at: Time,
    /// Whose business.
    pub level: Level,
    /// Which team's, where there is one; also of removed teams.
    pub team: Option<String>,
    /// What happened, in one word.
    pub event: String,
    /// Who did it: a username as sent, or the person at the command line.
    pub actor: Option<String>,
    /// The client identifier.
    pub client_id: Option<String>,
    /// The far end's address and port.
    pub remote: Option<String>,
    /// The listener's name.
    pub listener: Option<String>,
    /// Everything else, by event.
    pub detail: Map<String, Value>,
    /// The team that the username of a refused login names by its form, where the name is a pseudonym
    /// already. In the spool alone: it says which database, and whose chain, the record belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
}

/// A time as microseconds since the Unix epoch.
mod micros {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Time;

    pub(super) fn serialize<S: Serializer>(at: &Time, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(at.as_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        u64::deserialize(from).map(Time::from_micros)
    }
}

impl Record {
    /// As it stands in the spool. What is longer than a record may be loses its detail.
    pub(super) fn to_spool(&self) -> Vec<u8> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if bytes.len() <= RECORD_BYTES_MAX {
            return bytes;
        }
        let detail = Map::from_iter([("left_out_bytes".to_owned(), bytes.len().into())]);
        let short = Self {
            detail,
            ..self.clone()
        };
        serde_json::to_vec(&short).unwrap_or_default()
    }

    /// What [`to_spool`](Self::to_spool) gave.
    pub(super) fn from_spool(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
    /// A record of an administrative change. `detail` is a JSON object.
    pub fn administration(
        at: Time,
        event: &str,
        team: Option<&str>,
        actor: &str,
        detail: Value,
    ) -> Self {
        // Teams come and go by the operator's hand; what is inside a team is the team's business.
        let level = match team {
            Some(_) if !event.starts_with("team_") => Level::Team,
            _ => Level::Platform,
        };
        Self {
            at,
            level,
            team: team.map(text),
            event: event.to_owned(),
            actor: Some(text(actor)),
            client_id: None,
            remote: None,
            listener: None,
            detail: match detail {
                Value::Object(detail) => detail,
                _ => Map::new(),
            },
            home: None,
        }
    }

    /// The detail as it is stored: JSON without spaces, its keys in order.
    pub(super) fn detail_text(&self) -> String {
        Value::Object(self.detail.clone()).to_string()
    }

    /// For programs: the columns by their names, the time in RFC 3339 and in microseconds since the
    /// Unix epoch.
    pub fn to_json(&self) -> Value {
        json!({
            "time": rfc3339(self.at),
            "time_us": self.at.as_micros(),
            "level": self.level.as_str(),
            "team": self.team,
            "event": self.event,
            "actor": self.actor,
            "client_id": self.client_id,
            "remote": self.remote,
            "listener": self.listener,
            "detail": self.detail,
        })
    }

    /// What [`to_json`](Self::to_json) gave.
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let text = |key: &str| match json.get(key)? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text.clone())),
            _ => None,
        };
        Some(Self {
            at: Time::from_micros(json.get("time_us")?.as_u64()?),
            level: Level::from_word(json.get("level")?.as_str()?)?,
            team: text("team")?,
            event: text("event")??,
            actor: text("actor")?,
            client_id: text("client_id")?,
            remote: text("remote")?,
            listener: text("listener")?,
            detail: json.get("detail")?.as_object()?.clone(),
            home: None,
        })
    }

    /// A record of events of one team, or of nobody's, that had to be left out.
    pub(super) fn gap(gap: &Gap) -> Self {
        let detail = json!({
            "dropped": gap.count,
            "first": rfc3339(gap.first),
            "last": rfc3339(gap.last),
        });
        let team = gap.team.as_ref().map(|team| team.as_str());
        let mut record = Self::administration(gap.last, "gap", team, "cofferdam", detail);
        record.actor = None;
        record
    }

    /// A record of several refusals: the last of them, without what they do not have in common.
    pub(super) fn folded(folded: &Folded) -> Self {
        let mut record = Self::from(&*folded.event);
        match folded.scope {
            Scope::Client => {}
            Scope::Address => (record.actor, record.client_id) = (None, None),
            Scope::Team => {
                (record.actor, record.client_id) = (None, None);
                (record.remote, record.listener) = (None, None);
                record.detail = Map::new();
            }
        }
        if folded.count > 1 || folded.scope == Scope::Team {
            let since = rfc3339(folded.since).into();
            record
                .detail
                .insert("count".to_owned(), folded.count.into());
            record.detail.insert("since".to_owned(), since);
        }
        record
    }
}

impl From<&Event> for Record {
    fn from(event: &Event) -> Self {
        let who = &event.who;
        let team = who.team.as_ref().map(|team| team.as_str());
        Self {
            at: event.at,
            level: team.map_or(Level::Platform, |_| Level::Team),
            team: team.map(text),
            event: event.kind.as_str().to_owned(),
            actor: who.username.as_deref().map(text),
            client_id: who.client_id.as_deref().map(text),
            remote: Some(who.peer.address.to_string()),
            listener: Some(text(&who.peer.listener)),
            detail: detail(&event.kind),
            home: None,
        }
    }
}

fn detail(kind: &EventKind) -> Map<String, Value> {
    let mut detail = Map::new();
    let mut put = |key: &str, value: Value| drop(detail.insert(key.to_owned(), value));
    match kind {
        EventKind::Connected {
            version,
            clean_start,
            session_present,
            keep_alive,
            session_expiry,
        } => {
            put("version", version.as_str().into());
            put("clean_start", (*clean_start).into());
            put("session_present", (*session_present).into());
            put("keep_alive_s", (*keep_alive).into());
            put("session_expiry_ms", millis(*session_expiry));
        }
        EventKind::ConnectRefused { reason, told } => {
            put("reason", reason.as_str().into());
            match reason {
                Refusal::Malformed(code) => put("malformed", code_name(*code)),
                Refusal::WebSocket(code) => put("websocket_code", (*code).into()),
                _ => {}
            }
            put("told", told.map_or(Value::Null, code_name));
            put(
                "told_code",
                told.map_or(Value::Null, |code| (code as u8).into()),
            );
        }
        EventKind::Disconnected {
            cause,
            duration,
            messages_in,
            messages_out,
            bytes_in,
            bytes_out,
        } => {
            put("cause", cause.as_str().into());
            match cause {
                DisconnectCause::Client(code)
                | DisconnectCause::Protocol(code)
                | DisconnectCause::Server(code) => {
                    put("reason", code_name(*code));
                    put("reason_code", (*code as u8).into());
                }
                DisconnectCause::WebSocket(code) => put("websocket_code", (*code).into()),
                DisconnectCause::Review(change) => {
                    put("reason", code_name(change.told()));
                    put("reason_code", (change.told() as u8).into());
                    put_change(&mut put, *change);
                }
                DisconnectCause::Lost
                | DisconnectCause::KeepAlive
                | DisconnectCause::Expired
                | DisconnectCause::Certificate(_)
                | DisconnectCause::TakenOver
                | DisconnectCause::Tls => {}
            }
            put("duration_ms", millis(*duration));
            put("messages_in", (*messages_in).into());
            put("messages_out", (*messages_out).into());
            put("bytes_in", (*bytes_in).into());
            put("bytes_out", (*bytes_out).into());
        }
        EventKind::Reauthenticated => {}
        EventKind::ReauthenticationRefused { reason, told } => {
            put("reason", reason.as_str().into());
            put("told", code_name(*told));
            put("told_code", (*told as u8).into());
        }
        EventKind::Observed {
            act,
            would_allow,
            topic,
        } => {
            put("action", act.as_str().into());
            put("would", if *would_allow { "allow" } else { "deny" }.into());
            put("topic", text(topic).into());
        }
        EventKind::AdminRefused { why } => put("reason", (*why).into()),
        EventKind::WillSent { topic, retain } => {
            put("topic", text(topic).into());
            put("retain", (*retain).into());
        }
        EventKind::SessionExpired { after } => put("after_ms", millis(*after)),
        EventKind::TakenOver { by } => put("by", by.to_string().into()),
        EventKind::LimitHit { limit, count } => {
            put("limit", limit.as_str().into());
            put("hits", (*count).into());
        }
        EventKind::PublishRefused {
            topic,
            reason,
            why,
            will,
        } => {
            put("topic", text(topic).into());
            put("reason", code_name(*reason));
            put("reason_code", (*reason as u8).into());
            put("why", (*why).into());
            put("will", (*will).into());
        }
        EventKind::Crossed {
            way,
            topic,
            rule,
            count,
            since,
        } => {
            put("way", way.as_str().into());
            put("topic", text(topic).into());
            put("rule", text(rule).into());
            put("count", (*count).into());
            put("since", rfc3339(*since).into());
        }
        EventKind::SubscribeRefused {
            filter,
            reason,
            why,
        }
        | EventKind::UnsubscribeRefused {
            filter,
            reason,
            why,
        } => {
            put("filter", text(filter).into());
            put("reason", code_name(*reason));
            put("reason_code", (*reason as u8).into());
            put("why", (*why).into());
        }
        EventKind::SubscriptionEnded {
            filter,
            why,
            change,
        } => {
            put("filter", text(filter).into());
            put("why", (*why).into());
            put_change(&mut put, *change);
        }
    }
    detail
}

/// What was changed, and the number under which the record of that change has it.
fn put_change(put: &mut impl FnMut(&str, Value), change: Change) {
    put("change", change.kind.as_str().into());
    if change.number > 0 {
        put("revision", change.number.into());
    }
}

/// The standard's own name, as `ReasonCode` writes it.
fn code_name(code: ReasonCode) -> Value {
    format!("{code:?}").into()
}

fn millis(span: Span) -> Value {
    span.as_millis().into()
}

/// Text that both databases store: no U+0000, which PostgreSQL refuses (one such row would hold up
/// all that come after it), and not longer than [`MAX_TEXT_BYTES`].
fn text(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut kept = text[..end].replace('\0', "\u{fffd}");
    if end < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character_and_rid_of_null() {
        assert_eq!(text("plain ÿ"), "plain ÿ");
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        let long = format!("x{}", "ÿ".repeat(MAX_TEXT_BYTES));
        assert_eq!(
            text(&long),
            format!("x{}…", "ÿ".repeat(MAX_TEXT_BYTES / 2 - 1))
        );
    }
}
