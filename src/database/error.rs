//! What can go wrong with a database, in words for the operator.

use std::path::PathBuf;

use super::Backend;

/// Why the database could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is no database's. The URL itself is left out: it may hold a password.
    #[error(
        "database.url is not usable: {why}; write sqlite://<path of a file> or \
         postgres://<user>:<password>@<host>:<port>/<database>"
    )]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// The SQLite file or its folder could not be made.
    #[error(
        "cannot create the database file {path}: {source}; make its folder writable for the user \
         that runs cofferdam, or set database.url to another place"
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No connection.
    #[error("cannot open the {} {place}: {source}; {}", noun(*.backend), advice(*.backend))]
    Unreachable {
        /// Where.
        place: String,
        /// Which kind.
        backend: Backend,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error(
        "cannot bring the tables of {place} up to date: {source}; a database that a newer \
         cofferdam has used needs that version or a newer one"
    )]
    Migration {
        /// Where.
        place: String,
        /// Why.
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// A query failed.
    #[error("the database did not answer as it should: {0}")]
    Query(#[from] sqlx::Error),
    /// A row holds what no version of cofferdam writes.
    #[error("the database holds something unreadable: {what}")]
    Corrupt {
        /// Which row, and what about it.
        what: String,
    },
}

impl DatabaseError {
    /// Whether the same may go well later: the database is away, or out of reach for now.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } | Self::Query(source) => is_away(source),
            _ => false,
        }
    }
}

fn noun(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "SQLite file",
        Backend::Postgres => "PostgreSQL",
    }
}

fn advice(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "see that the file is a database and that no other program locks it",
        Backend::Postgres => {
            "see that the server runs and that database.url names its host, port, database, user \
             and password"
        }
    }
}

/// Whether the error says that the database is away or out of reach for now (as against: it was
/// asked something wrong). What failed may be tried again.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // SQLite: busy, locked, I/O error, full, cannot open. PostgreSQL: classes 08 (connection), 53
        // (resources), 57 (operator intervention) and 40 (serialisation).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.parse::<u32>()
                .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14) && code < 10_000)
                || (code.len() == 5
                    && ["08", "53", "57", "40"]
                        .iter()
                        .any(|class| code.starts_with(class)))
        }),
        _ => false,
    }
}
