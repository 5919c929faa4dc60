//! What is SQLite's alone: the file, its folder and its settings.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::AnyConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{DatabaseError, is_away};

/// Pause between two tries to switch a new file to the write-ahead log.
const RETRY: Duration = Duration::from_millis(20);

/// The path in what follows `sqlite:`; it is taken as it stands.
pub(super) fn path_of(rest: &str) -> Result<PathBuf, DatabaseError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let why = match path {
        "" => "it names no file",
        ":memory:" => "a database in memory would forget everything at the next connection",
        _ if path.contains('?') => "options after ? are not taken",
        _ => return Ok(PathBuf::from(path)),
    };
    Err(DatabaseError::Url { why: why.into() })
}

/// Makes the file, for its owner alone, where it is missing, and switches it to the write-ahead
/// log, in which readers and the one writer do not wait for each other. Returns the URL for sqlx.
pub(super) async fn create(path: &Path, patience: Duration) -> Result<String, DatabaseError> {
    let failed = |source| DatabaseError::Create {
        path: path.to_owned(),
        source,
    };
    let absolute = std::path::absolute(path).map_err(failed)?;
    if let Some(folder) = absolute.parent() {
        create_folder(folder).map_err(failed)?;
    }
    if create_file(&absolute).map_err(failed)? {
        tracing::info!(
            "there was no database at {}: an empty one is made",
            path.display()
        );
    }
    switch_to_wal(&absolute, patience)
        .await
        .map_err(|source| DatabaseError::Unreachable {
            place: path.display().to_string(),
            backend: super::Backend::Sqlite,
            source,
        })?;
    Ok(url_of(&absolute))
}

fn create_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether it was missing and is made. The log and its index, which SQLite puts beside the file, take
/// over the file's mode.
fn create_file(path: &Path) -> std::io::Result<bool> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// SQLite does not wait for its busy timeout here, so we do.
async fn switch_to_wal(path: &Path, patience: Duration) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(patience)
        .journal_mode(SqliteJournalMode::Wal);
    let until = Instant::now() + patience;
    loop {
        match options.connect().await {
            Ok(connection) => return connection.close().await,
            Err(error) if is_away(&error) && Instant::now() < until => {
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// sqlx takes the path out of a URL and decodes it: whatever could mean something in a URL is
/// encoded.
fn url_of(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

/// Settings of each connection. FULL: a commit is on the disk when it returns; a rotated password
/// that was shown must not be forgotten by a power cut, and audit batches make the price small.
pub(super) async fn set_up(
    connection: &mut AnyConnection,
    busy_timeout_ms: u128,
) -> Result<(), sqlx::Error> {
    let settings = format!(
        "PRAGMA busy_timeout = {busy_timeout_ms}; PRAGMA synchronous = FULL; \
         PRAGMA foreign_keys = ON;"
    );
    connection
        .execute(sqlx::AssertSqlSafe(settings))
        .await
        .map(drop)
}
