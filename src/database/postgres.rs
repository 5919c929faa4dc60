//! What is PostgreSQL's alone: the audit table in parts by month, each a table of its own, so that what
//! is old can be backed up, moved or dropped as one.

use sqlx::{Executor as _, Row as _};
use time::{Date, Month, OffsetDateTime};

use super::Transaction;

/// Everything that has no part of its own; also times that no clock should show.
const REST: &str = "audit_rest";
/// Years that parts are made for.
const YEARS: std::ops::RangeInclusive<i32> = 2020..=2199;

/// A month of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    year: i32,
    month: Month,
}

impl Part {
    /// The month of a time in microseconds since the Unix epoch.
    pub(crate) fn of(at_us: i64) -> Option<Self> {
        let at = OffsetDateTime::from_unix_timestamp(at_us.div_euclid(1_000_000)).ok()?;
        let (year, month) = (at.year(), at.month());
        YEARS.contains(&year).then_some(Self { year, month })
    }

    fn name(self) -> String {
        format!("audit_y{}m{:02}", self.year, u8::from(self.month))
    }

    fn parse(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("audit_y")?.split_once('m')?;
        Some(Self {
            year: year.parse().ok()?,
            month: Month::try_from(month.parse::<u8>().ok()?).ok()?,
        })
    }

    /// Its first microsecond, and that of the next.
    fn bounds(self) -> (i64, i64) {
        let next = match self.month {
            Month::December => (self.year + 1, Month::January),
            month => (self.year, month.next()),
        };
        (begin(self.year, self.month), begin(next.0, next.1))
    }
}

fn begin(year: i32, month: Month) -> i64 {
    // Both are in range, so that there is such a day.
    let day = Date::from_calendar_date(year, month, 1).unwrap_or(Date::MIN);
    day.midnight().assume_utc().unix_timestamp() * 1_000_000
}

/// Makes the table anew in parts, where it is in one piece: that is where it has just been made.
pub(super) async fn divide(transaction: &mut Transaction) -> Result<(), sqlx::Error> {
    let kind: String =
        sqlx::query_scalar("SELECT relkind::text FROM pg_class WHERE oid = to_regclass('audit')")
            .fetch_one(&mut **transaction)
            .await?;
    if kind == "p" {
        return Ok(());
    }
    let sql = format!(
        "ALTER TABLE audit RENAME TO audit_whole; \
         CREATE TABLE audit (LIKE audit_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS) \
             PARTITION BY RANGE (at_us); \
         ALTER TABLE audit ADD PRIMARY KEY (chain, number, at_us); \
         CREATE TABLE {REST} PARTITION OF audit DEFAULT; \
         INSERT INTO audit SELECT * FROM audit_whole; \
         DROP TABLE audit_whole; \
         CREATE INDEX audit_place ON audit (position); \
         CREATE INDEX audit_at ON audit (at_us); \
         CREATE INDEX audit_event ON audit (event, position); \
         CREATE INDEX audit_actor ON audit (actor, position); \
         CREATE INDEX audit_client ON audit (client_id, position); \
         CREATE INDEX audit_address ON audit (address, position);"
    );
    transaction.execute(sqlx::AssertSqlSafe(sql)).await?;
    Ok(())
}

/// Makes a month's part. What of that month lies among the rest moves there.
pub(super) async fn make(transaction: &mut Transaction, part: Part) -> Result<(), sqlx::Error> {
    let name = part.name();
    let there: Option<String> = sqlx::query_scalar("SELECT to_regclass($1)::text")
        .bind(&name)
        .fetch_one(&mut **transaction)
        .await?;
    if there.is_some() {
        return Ok(());
    }
    let (from, to) = part.bounds();
    let sql = format!(
        "CREATE TABLE {name} (LIKE audit INCLUDING ALL); \
         WITH moved AS (DELETE FROM {REST} WHERE at_us >= {from} AND at_us < {to} RETURNING *) \
             INSERT INTO {name} SELECT * FROM moved; \
         ALTER TABLE audit ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to});"
    );
    transaction.execute(sqlx::AssertSqlSafe(sql)).await?;
    Ok(())
}

/// Drops parts that end before `before_us` and hold nothing.
pub(super) async fn drop_empty(
    transaction: &mut Transaction,
    before_us: i64,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = to_regclass('audit')",
    )
    .fetch_all(&mut **transaction)
    .await?;
    for row in rows {
        let name: String = row.try_get("name")?;
        let Some(part) = Part::parse(&name) else {
            continue;
        };
        let name = part.name();
        if part.bounds().1 > before_us {
            continue;
        }
        let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {name} LIMIT 1) AS one");
        let held: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut **transaction)
            .await?;
        if held == 0 {
            let sql = format!("DROP TABLE {name}");
            transaction.execute(sqlx::AssertSqlSafe(sql)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_month_and_odd_clocks_have_none() {
        let part = Part::of(1_796_025_600_123_456).expect("a month");
        assert_eq!(part.name(), "audit_y2026m11");
        assert_eq!(Part::parse(&part.name()), Some(part));
        let (from, to) = part.bounds();
        assert_eq!((to - from) / 1_000_000 / 86_400, 30);
        assert_eq!(Part::of(from), Some(part));
        assert_eq!(
            Part::of(to).map(Part::name),
            Some("audit_y2026m12".to_owned())
        );
        assert_eq!(
            Part::of(from - 1).map(Part::name),
            Some("audit_y2026m10".to_owned())
        );
        for odd in [0, -1, i64::MAX, i64::MIN] {
            assert_eq!(Part::of(odd), None, "{odd}");
        }
    }
}
