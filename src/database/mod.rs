//! The database: one set of migrations and queries that serves SQLite and PostgreSQL.
//!
//! SQLite is the default and needs nothing installed; PostgreSQL is for production. Queries are
//! written once, with `$1` placeholders and the types TEXT and BIGINT only, and run through sqlx's
//! `Any` driver. What differs between the two is in this module and nowhere else: how a database is
//! opened, how a writing transaction begins, and which errors mean that it is away. Called by
//! `identity`, `audit`, `provision` and the command line; never from a shard's thread.

mod backup;
mod changes;
mod copy;
mod error;
mod postgres;
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::any::AnyPoolOptions;
use sqlx::postgres::PgConnectOptions;

pub use backup::BackupError;
pub use changes::{Concerned, KEPT, News, Place};
pub use error::{DatabaseError, is_away};
pub(crate) use postgres::Part;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Serialises migrations and administrative changes among all processes on one PostgreSQL
/// database. Any fixed number does; these are the bytes of `cofferda`.
const ADVISORY_LOCK: i64 = i64::from_be_bytes(*b"cofferda");

/// A transaction on either database.
pub type Transaction = sqlx::Transaction<'static, sqlx::Any>;

/// How the database is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most connections open at once.
    pub max_connections: u32,
    /// Longest wait for a connection, new or from the pool; then the database counts as away.
    pub acquire_timeout: Duration,
    /// SQLite: longest wait for another writer's transaction.
    pub busy_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 8,
            acquire_timeout: Duration::from_secs(3),
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// An open database with the current schema. Cheap to clone; all clones share one pool.
#[derive(Clone, Debug)]
pub struct Database {
    pool: sqlx::AnyPool,
    backend: Backend,
    place: String,
}

impl Database {
    /// Opens the database at `url` (`sqlite://<path>` or `postgres://…`), creates the SQLite file
    /// and its folder where they are missing, and brings the schema up to date. Safe to call from
    /// several processes at once.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the place and what to do.
    pub async fn open(url: &str, settings: &Settings) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let (backend, place, url) = locate(url, settings).await?;
        let unreachable = |source| DatabaseError::Unreachable {
            place: place.clone(),
            backend,
            source,
        };
        let begun = Instant::now();
        // The pool would try again until its time is up and then say only that it is up.
        tokio::time::timeout(settings.acquire_timeout, sqlx::AnyConnection::connect(&url))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(unreachable)?
            .close()
            .await?;
        let database = Self::with_pool(backend, place.clone(), &url, settings)?;
        database.migrate().await?;
        tracing::debug!(place = %database.place, took_ms = begun.elapsed().as_millis(), "database open");
        Ok(database)
    }

    /// A server that is away now: connections are made when there are some to be had. Whoever finds it
    /// there first calls [`migrate`](Self::migrate).
    pub(crate) fn open_later(url: &str, settings: &Settings) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let place = place_of(url)?;
        Self::with_pool(Backend::Postgres, place, url, settings)
    }

    /// Opens it, now or, where it is a server that is away, later.
    pub(crate) async fn open_or_later(
        url: &str,
        settings: &Settings,
    ) -> Result<Self, DatabaseError> {
        match Self::open(url, settings).await {
            Err(DatabaseError::Unreachable {
                backend: Backend::Postgres,
                ..
            }) => Self::open_later(url, settings),
            opened => opened,
        }
    }

    fn with_pool(
        backend: Backend,
        place: String,
        url: &str,
        settings: &Settings,
    ) -> Result<Self, DatabaseError> {
        let busy_timeout_ms = settings.busy_timeout.as_millis();
        let pool = AnyPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if backend == Backend::Sqlite {
                        sqlite::set_up(connection, busy_timeout_ms).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy(url)
            .map_err(|source| DatabaseError::Unreachable {
                place: place.clone(),
                backend,
                source,
            })?;
        Ok(Self {
            pool,
            backend,
            place,
        })
    }

    /// One transaction around all pending migrations, taken with the writers' lock: of several
    /// processes that start at once one migrates and the others find it done.
    pub(crate) async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut transaction = self.begin_administration().await?;
        MIGRATIONS
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(|source| DatabaseError::Migration {
                place: self.place.clone(),
                source: Box::new(source),
            })?;
        if self.backend == Backend::Postgres {
            postgres::divide(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// PostgreSQL: makes the part of the audit table that a month's records go to.
    pub(crate) async fn make_part(&self, part: Part) -> Result<(), DatabaseError> {
        if self.backend == Backend::Postgres {
            let mut transaction = self.begin_administration().await?;
            postgres::make(&mut transaction, part).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// PostgreSQL: drops the parts of the audit table before a time that hold nothing any more.
    pub(crate) async fn drop_old_parts(&self, before_us: i64) -> Result<(), DatabaseError> {
        if self.backend == Backend::Postgres {
            let mut transaction = self.begin_administration().await?;
            postgres::drop_empty(&mut transaction, before_us).await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Whether there is a table of this name.
    pub(crate) async fn has_table(
        &self,
        transaction: &mut Transaction,
        name: &str,
    ) -> Result<bool, sqlx::Error> {
        let sql = match self.backend {
            Backend::Sqlite => {
                "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1"
            }
            Backend::Postgres => "SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1::text)",
        };
        let count: i64 = sqlx::query_scalar(sql)
            .bind(name)
            .fetch_one(&mut **transaction)
            .await?;
        Ok(count > 0)
    }

    /// Connections to read from, or to write one statement with.
    pub(crate) fn pool(&self) -> &sqlx::AnyPool {
        &self.pool
    }

    /// Most connections that are open at once.
    pub(crate) fn max_connections(&self) -> usize {
        self.pool.options().get_max_connections() as usize
    }

    /// A transaction that is going to write. SQLite takes the write lock at once: a transaction
    /// that first reads and then finds somebody else writing would fail instead of waiting.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        match self.backend {
            Backend::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await,
            Backend::Postgres => self.pool.begin().await,
        }
    }

    /// A transaction that only reads, and sees the database as it is at one moment.
    pub(crate) async fn begin_snapshot(&self) -> Result<Transaction, sqlx::Error> {
        let begin = match self.backend {
            Backend::Sqlite => "BEGIN",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        self.pool.begin_with(begin).await
    }

    /// A transaction for an administrative change: no two of them run at once, so that what one
    /// has checked still holds when it writes.
    pub(crate) async fn begin_administration(&self) -> Result<Transaction, sqlx::Error> {
        let mut transaction = self.begin().await?;
        if self.backend == Backend::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(ADVISORY_LOCK)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction)
    }

    /// Which of the two it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Where it is, without any password: for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether it answers now: for readiness.
    ///
    /// # Errors
    /// What sqlx has to say, when it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Waits for running queries and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes `copy` have the same teams and principals, all of one moment. Returns their revision.
pub(crate) async fn refresh_accounts(from: &Database, to: &Database) -> Result<i64, DatabaseError> {
    let mut reading = from.begin_snapshot().await?;
    let mut writing = to.begin().await?;
    for table in copy::ACCOUNTS.into_iter().rev() {
        copy::clear(&mut writing, table).await?;
    }
    for table in copy::ACCOUNTS {
        let mut rows = copy::Rows::of(table);
        loop {
            let some = rows.next(&mut reading).await?;
            if some.is_empty() {
                break;
            }
            copy::write(&mut writing, table, &some).await?;
        }
    }
    reading.rollback().await?;
    let revision = sqlx::query_scalar("SELECT value FROM revision")
        .fetch_one(&mut *writing)
        .await?;
    writing.commit().await?;
    Ok(revision)
}

/// The backend of `url`, its place in words, and the URL for sqlx.
async fn locate(
    url: &str,
    settings: &Settings,
) -> Result<(Backend, String, String), DatabaseError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = sqlite::path_of(path)?;
        let url = sqlite::create(&path, settings.busy_timeout).await?;
        return Ok((Backend::Sqlite, path.display().to_string(), url));
    }
    Ok((Backend::Postgres, place_of(url)?, url.to_owned()))
}

/// The place of a server's database in words.
fn place_of(url: &str) -> Result<String, DatabaseError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let options = PgConnectOptions::from_str(url).map_err(|source| DatabaseError::Url {
            why: source.to_string(),
        })?;
        let place = format!(
            "database {} at {}:{} as {}",
            options
                .get_database()
                .unwrap_or_else(|| options.get_username()),
            options.get_host(),
            options.get_port(),
            options.get_username()
        );
        return Ok(place);
    }
    Err(DatabaseError::Url {
        why: "it begins with neither sqlite:// nor postgres://".to_owned(),
    })
}

#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod tests;
