//! The data directory's part of a backup: the journal, what of the audit is not in the database yet,
//! and keys. Taken before the database: a record of the spool is in one of the two, or in both.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use super::manifest::{DATA, Key, Manifest, copy, create_below};
use super::{BackupFault, KEYS};
use crate::audit;
use crate::cli::keep;
use crate::config::Config;
use crate::journal::Snapshot;

/// What was taken.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub segments: u64,
    pub journal_bytes: u64,
    /// Bytes of the journal that cannot be read where they are.
    pub damaged: u64,
    pub spool_files: u64,
    /// Keys that are needed and not in it.
    pub missing_keys: Vec<&'static str>,
}

/// Writes it to `folder`.
pub(super) fn gather(
    config: &Config,
    folder: &Path,
    with_keys: bool,
    manifest: &mut Manifest,
) -> Result<Gathered, BackupFault> {
    let mut gathered = Gathered::default();
    let mut put = |name: &str, from: &mut dyn Read| {
        let name = format!("{DATA}/{name}");
        let mut written = || {
            let (_, mut file) = create_below(folder, &name)?;
            let entry = copy(from, &mut file, &name)?;
            file.sync_all()?;
            Ok(entry)
        };
        let entry = written().map_err(|error| BackupFault::file(&folder.join(&name), error))?;
        let bytes = entry.bytes;
        manifest.files.push(entry);
        Ok::<_, BackupFault>(bytes)
    };
    let snapshot = Snapshot::take(&keep::folder(&config.data_dir))?;
    for segment in snapshot.segments() {
        let segment = segment?;
        let name = format!("{}/{}", keep::FOLDER, segment.name);
        gathered.journal_bytes += put(&name, &mut Cursor::new(segment.bytes))?;
        gathered.damaged += segment.damaged;
        gathered.segments += 1;
    }
    let spool = audit::files_to_back_up(&config.data_dir);
    for file in spool.map_err(|error| BackupFault::file(&config.data_dir, error))? {
        let name = file.to_string_lossy();
        if let Some(mut from) = open(&config.data_dir.join(&file))? {
            put(&name, &mut from)?;
            gathered.spool_files += 1;
        }
    }
    let mut keys = Vec::new();
    for key in KEYS {
        let variable = std::env::var(key.variable).ok();
        let Some(id) = (key.id)(&config.data_dir, variable.as_deref())? else {
            continue;
        };
        keys.push(Key {
            file: key.file.to_owned(),
            id,
        });
        match open(&config.data_dir.join(key.file))? {
            Some(mut from) if with_keys && variable.is_none() => drop(put(key.file, &mut from)?),
            _ => gathered.missing_keys.push(key.file),
        }
    }
    for file in ["ca.pem", "ca.key", "server.pem", "server.key"] {
        let name = format!("{}/{file}", super::TLS);
        if with_keys && let Some(mut from) = open(&config.data_dir.join(&name))? {
            put(&name, &mut from)?;
        }
    }
    manifest.keys = keys;
    Ok(gathered)
}

/// `None`: there is none.
fn open(path: &Path) -> Result<Option<File>, BackupFault> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupFault::file(path, error)),
    }
}
