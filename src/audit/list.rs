//! Reading the audit store, for `cofferdam audit list`.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::record::{Level, Record};
use crate::database::{Database, DatabaseError};
use crate::time::{Span, Time};

/// Which records; what is `None` filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this team.
    pub team: Option<String>,
    /// Of this name, such as `connect_refused`.
    pub event: Option<String>,
    /// Of this client identifier.
    pub client_id: Option<String>,
    /// By this username or person.
    pub actor: Option<String>,
    /// Not before.
    pub since: Option<Time>,
    /// Before.
    pub until: Option<Time>,
    /// At most so many, the latest ones.
    pub limit: u32,
}

/// The records that `filter` lets through, newest last.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<Record>, DatabaseError> {
    let texts = [
        ("team =", &filter.team),
        ("event =", &filter.event),
        ("client_id =", &filter.client_id),
        ("actor =", &filter.actor),
    ];
    let times = [("at_us >=", filter.since), ("at_us <", filter.until)];
    let mut conditions = Vec::new();
    let asked = texts
        .iter()
        .filter(|(_, text)| text.is_some())
        .map(|it| it.0);
    let bounded = times
        .iter()
        .filter(|(_, time)| time.is_some())
        .map(|it| it.0);
    for (place, condition) in asked.chain(bounded).enumerate() {
        conditions.push(format!("{condition} ${}", place + 1));
    }
    let limit = conditions.len() + 1;
    let conditions = match conditions.len() {
        0 => String::new(),
        _ => format!("WHERE {}", conditions.join(" AND ")),
    };
    let sql = format!(
        "SELECT at_us, level, team, event, actor, client_id, remote, listener, detail \
         FROM audit {conditions} ORDER BY at_us DESC, run DESC, seq DESC LIMIT ${limit}"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for text in texts.into_iter().filter_map(|(_, text)| text.as_deref()) {
        query = query.bind(text);
    }
    for time in times.into_iter().filter_map(|(_, time)| time) {
        query = query.bind(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    }
    let rows = query
        .bind(i64::from(filter.limit))
        .fetch_all(database.pool())
        .await?;
    rows.iter().rev().map(record).collect()
}

fn record(row: &AnyRow) -> Result<Record, DatabaseError> {
    let at_us: i64 = row.try_get("at_us")?;
    let level: String = row.try_get("level")?;
    let detail: String = row.try_get("detail")?;
    let detail = match serde_json::from_str(&detail) {
        Ok(Value::Object(detail)) => detail,
        _ => {
            return Err(DatabaseError::Corrupt {
                what: format!("the detail of the audit record at {at_us} is no JSON object"),
            });
        }
    };
    Ok(Record {
        at: Time::from_micros(u64::try_from(at_us).unwrap_or(0)),
        level: match level.as_str() {
            "team" => Level::Team,
            _ => Level::Platform,
        },
        team: row.try_get("team")?,
        event: row.try_get("event")?,
        actor: row.try_get("actor")?,
        client_id: row.try_get("client_id")?,
        remote: row.try_get("remote")?,
        listener: row.try_get("listener")?,
        detail,
    })
}

/// The time as RFC 3339 in UTC, with microseconds.
pub fn rfc3339(time: Time) -> String {
    let nanos = i128::from(time.as_micros()) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "never".to_owned())
}

/// A time as people write it: RFC 3339, a date (its first moment in UTC), or how long before `now`
/// (`90s`, `15m`, `2h`, `7d`).
///
/// # Errors
/// In words, when it is neither.
pub fn parse_time(text: &str, now: Time) -> Result<Time, String> {
    if let Some(ago) = parse_ago(text) {
        let micros = now.as_micros().saturating_sub(ago.as_micros());
        return Ok(Time::from_micros(micros));
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
        .ok()
        .and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000).ok())
        .map(Time::from_micros)
        .ok_or_else(|| {
            format!("{text:?} is no time: write 2026-11-30T08:00:00Z, 2026-11-30, or 90s, 15m, 2h, 7d for ago")
        })
}

fn parse_ago(text: &str) -> Option<Span> {
    let (at, unit) = text.char_indices().last()?;
    let count: u64 = text[..at].parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    Some(Span::from_secs(count.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_rfc_3339_and_read_back() {
        let at = Time::from_micros(1_796_025_600_123_456);
        assert_eq!(rfc3339(at), "2026-11-30T08:00:00.123456Z");
        assert_eq!(
            parse_time("2026-11-30T08:00:00.123456Z", Time::EPOCH),
            Ok(at)
        );
        assert_eq!(
            parse_time("2026-11-30T09:00:00.123456+01:00", Time::EPOCH),
            Ok(at)
        );
        let midnight = Time::from_micros(1_795_996_800_000_000);
        assert_eq!(parse_time("2026-11-30", Time::EPOCH), Ok(midnight));
        assert_eq!(rfc3339(Time::NEVER), "never");
    }

    #[test]
    fn a_time_may_be_said_as_how_long_ago() {
        let now = Time::EPOCH + Span::from_secs(1_000_000);
        let ago = |text| parse_time(text, now).map(|at| (now - at).as_secs());
        assert_eq!(ago("90s"), Ok(90));
        assert_eq!(ago("15m"), Ok(900));
        assert_eq!(ago("2h"), Ok(7_200));
        assert_eq!(ago("7d"), Ok(604_800));
        assert!(ago("99999999999999999999d").is_err());
        assert_eq!(ago("9999999999999d"), Ok(1_000_000));
        for text in ["", "m", "15", "-5m", "5 m", "yesterday", "2026-11-31"] {
            assert!(ago(text).is_err(), "{text}");
        }
    }
}
