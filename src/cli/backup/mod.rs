//! `backup` and `restore`: the database and the data directory into a folder, and back into empty ones.
//!
//! ```text
//! backup.json       what there is, with its hashes; written last
//! database.jsonl    every row of every table
//! data/             what goes into the data directory: journal/, audit/, keys
//! ```

mod bring_back;
mod gather;
mod manifest;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::data_dir::{DataDir, DataDirError};
use super::store::failed;
use super::{BackupExtent, BackupPart, Context, Failure, print};
use crate::audit::{AuditKey, AuditKeyError, rfc3339};
use crate::config::Config;
use crate::database::{BackupError, Database, DatabaseError, Settings};
use crate::identity::{TokenKey, TokenKeyError};
use crate::journal::JournalError;
use crate::time::Time;
use gather::Gathered;
use manifest::{DATABASE, Hashed, Manifest};

/// The development CA's folder in the data directory.
const TLS: &str = "tls";

/// The keys of a broker.
const KEYS: [KeyKind; 2] = [
    KeyKind {
        file: AuditKey::FILE,
        variable: AuditKey::VARIABLE,
        id: |data_dir, variable| match AuditKey::read(data_dir, variable) {
            Ok(key) => Ok(Some(key.public().to_string())),
            Err(AuditKeyError::File { source, .. }) if is_missing(&source) => Ok(None),
            Err(error) => Err(error.into()),
        },
        loss: "checkpoints of the audit cannot be told from a forger's",
    },
    KeyKind {
        file: TokenKey::FILE,
        variable: TokenKey::VARIABLE,
        id: |data_dir, variable| match TokenKey::read(data_dir, variable) {
            Ok(key) => Ok(Some(key.id().to_owned())),
            Err(TokenKeyError::File { source, .. }) if is_missing(&source) => Ok(None),
            Err(error) => Err(error.into()),
        },
        loss: "no machine token of before lets anybody in",
    },
];

/// One of them.
struct KeyKind {
    file: &'static str,
    variable: &'static str,
    /// Which it is; `None`: there is none.
    id: fn(&Path, Option<&str>) -> Result<Option<String>, BackupFault>,
    /// What comes of its loss.
    loss: &'static str,
}

/// Why a backup was not taken, or not brought back.
#[derive(Debug, thiserror::Error)]
enum BackupFault {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no whole backup: it has no backup.json, which is written last", .0.display())]
    Unfinished(PathBuf),
    #[error("the backup is damaged: {0} is not what was written; take another backup")]
    Damaged(String),
    #[error("the backup is of a newer cofferdam ({version}): use that one")]
    Newer { version: String },
    #[error(
        "data_dir {} is in use: it has {name}; restore into an empty one, and set data_dir to it \
         (or --only database)", data_dir.display()
    )]
    Occupied {
        data_dir: PathBuf,
        name: &'static str,
    },
    #[error(
        "{file} ({id}) belongs to this backup and is not in it: put it into {}, or set {variable}; with \
         --without-keys the broker makes a new one, and {loss}", data_dir.display()
    )]
    Key {
        file: &'static str,
        variable: &'static str,
        id: String,
        loss: &'static str,
        data_dir: PathBuf,
    },
    #[error("the backup has no {0}: it was taken without")]
    Without(&'static str),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Rows(#[from] BackupError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    AuditKey(#[from] AuditKeyError),
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
}

impl BackupFault {
    fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::File { path, source }
    }
}

impl From<BackupFault> for Failure {
    fn from(fault: BackupFault) -> Self {
        failed(fault)
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

impl BackupExtent {
    fn includes(self, part: BackupPart) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// Writes a backup to `folder`, which must be new or empty.
pub(super) fn back_up(
    context: &Context,
    folder: &Path,
    extent: BackupExtent,
) -> Result<ExitCode, Failure> {
    super::descriptors::raise();
    prepare(folder)?;
    let mut manifest = Manifest::new(rfc3339(now()));
    let config = &context.config;
    let gathered = match extent.includes(BackupPart::DataDir) {
        true => {
            let with_keys = !extent.without_keys;
            Some(gather::gather(config, folder, with_keys, &mut manifest)?)
        }
        false => None,
    };
    let rows = match extent.includes(BackupPart::Database) {
        true => Some(back_up_database(config, folder, &mut manifest)?),
        false => None,
    };
    manifest.write(folder)?;
    if context.json {
        let gathered = gathered.unwrap_or_default();
        print(&format!(
            "{}\n",
            json!({
                "folder": folder, "rows": rows, "keys_missing": gathered.missing_keys,
                "journal_bytes": gathered.journal_bytes, "journal_damaged": gathered.damaged,
            })
        ))?;
    } else {
        print(&told(config, folder, gathered.as_ref(), rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was taken, and what was not, in words.
fn told(config: &Config, folder: &Path, gathered: Option<&Gathered>, rows: Option<u64>) -> String {
    let mut text = String::new();
    let mut line = |line: String| text.extend([&*line, "\n"]);
    if let Some(it) = gathered {
        let (segments, bytes) = (it.segments, it.journal_bytes);
        line(format!("journal: {segments} files, {bytes} bytes"));
        if it.damaged > 0 {
            line(format!(
                "journal: {} bytes are damaged where they are, and so they are in the backup",
                it.damaged
            ));
        }
        line(format!(
            "audit spool and checkpoints: {} files",
            it.spool_files
        ));
        for file in &it.missing_keys {
            line(format!(
                "NOT in it: {file}. Keep it elsewhere; restore asks for it."
            ));
        }
    }
    if let Some(rows) = rows {
        line(format!("database: {rows} rows"));
    }
    for region in &config.audit.regions {
        let name = &region.name;
        line(format!("NOT in it: the database of audit.region.{name}."));
    }
    line("NOT in it: configuration, policy and certificates that it names.".to_owned());
    line(format!(
        "{} is whole. Keep it as secret as the broker's own files.",
        folder.display()
    ));
    text
}

fn back_up_database(
    config: &Config,
    folder: &Path,
    manifest: &mut Manifest,
) -> Result<u64, BackupFault> {
    let path = folder.join(DATABASE);
    let in_file = |error| BackupFault::file(&path, error);
    let mut file = Hashed::new(BufWriter::new(create(&path).map_err(in_file)?));
    let rows = on_database(config, async |database| {
        Ok(database.back_up(&mut file).await?)
    })?;
    file.flush().map_err(in_file)?;
    let synced = File::open(&path).and_then(|it| it.sync_all());
    synced.map_err(in_file)?;
    manifest.files.push(file.entry(DATABASE));
    Ok(rows)
}

/// Reads a backup of `folder` into the configured database and data directory.
pub(super) fn restore(
    context: &Context,
    folder: &Path,
    extent: BackupExtent,
) -> Result<ExitCode, Failure> {
    let config = &context.config;
    let manifest = Manifest::read(folder)?;
    let database = manifest.files.iter().find(|it| it.name == DATABASE);
    let database = database.filter(|_| extent.includes(BackupPart::Database));
    let has_data = manifest.has_data() && extent.includes(BackupPart::DataDir);
    if database.is_none() && !has_data {
        let part = match extent.only {
            Some(BackupPart::DataDir) => "data directory",
            _ => "database",
        };
        return Err(BackupFault::Without(part).into());
    }
    if let Some(entry) = database {
        manifest::check(folder, entry, &mut io::sink())?;
    }
    let claimed = match has_data {
        true => {
            let claimed = DataDir::claim(&config.data_dir).map_err(BackupFault::from)?;
            bring_back::check_place(&config.data_dir, &manifest, extent.without_keys)?;
            let (dir, without_keys) = (&config.data_dir, extent.without_keys);
            let ready = bring_back::lay_ready(dir, folder, &manifest, without_keys)?;
            Some((ready, claimed))
        }
        false => None,
    };
    let path = folder.join(DATABASE);
    let rows = match database {
        Some(_) => {
            let file = File::open(&path).map_err(|error| BackupFault::file(&path, error))?;
            Some(on_database(config, async |database| {
                Ok(database.restore(BufReader::new(file)).await?)
            })?)
        }
        None => None,
    };
    let journal = claimed
        .as_ref()
        .and_then(|(ready, _)| ready.journal.clone());
    if let Some((ready, _claimed)) = claimed {
        ready.settle()?;
    }
    let (sessions, messages) = journal.map_or((0, 0), |it| (it.sessions, it.messages));
    match context.json {
        true => print(&format!(
            "{}\n",
            json!({ "rows": rows, "sessions": sessions, "messages": messages })
        ))?,
        false => print(&format!(
            "{} rows, {sessions} sessions, {messages} messages, as of {}\n",
            rows.unwrap_or_default(),
            manifest.taken
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `command` on the configured database alone: nothing is made in the data directory.
fn on_database<F>(config: &Config, command: F) -> Result<u64, BackupFault>
where
    F: AsyncFnOnce(&Database) -> Result<u64, BackupFault>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| BackupFault::file(Path::new("the runtime"), error))?;
    runtime.block_on(async {
        let url = config.database.url.expose();
        let database = Database::open(url, &Settings::default()).await?;
        let done = command(&database).await;
        database.close().await;
        done
    })
}

fn now() -> Time {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = passed.map_or(0, |passed| passed.as_micros());
    Time::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// What is in a backup is as secret as what it is of.
fn create(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn prepare(folder: &Path) -> Result<(), Failure> {
    let unusable = |error| BackupFault::file(folder, error);
    create_folder(folder).map_err(unusable)?;
    match fs::read_dir(folder).map_err(unusable)?.count() {
        0 => Ok(()),
        _ => Err(Failure::Usage(format!(
            "{} is not empty: a backup goes to a folder of its own",
            folder.display()
        ))),
    }
}
