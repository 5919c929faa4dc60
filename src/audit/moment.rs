//! Times as people read and write them, for records, the command line and the API.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::time::{Span, Time};

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
