//! The data directory's part of a backup, brought back: checked and laid ready beside its place first,
//! and moved there when the database is back too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, check, create_below};
use super::{BackupFault, KEYS, TLS};
use crate::cli::data_dir::RESTORING;
use crate::cli::keep;
use crate::journal::{Journal, Recovery, Settings};

/// What a data directory has none of before a restore.
const TAKEN: [&str; 5] = [keep::FOLDER, "audit", TLS, "accounts.db", "accounts.at"];

/// Files that are checked and lie ready. Dropped before [`settle`](Self::settle), they are removed.
pub(super) struct Ready {
    data_dir: PathBuf,
    staging: PathBuf,
    is_settled: bool,
    /// What the journal among them has.
    pub journal: Option<Recovery>,
}

/// Whether the data directory is free, and has the keys that the backup needs and does not have.
pub(super) fn check_place(
    data_dir: &Path,
    manifest: &Manifest,
    without_keys: bool,
) -> Result<(), BackupFault> {
    let in_backup = KEYS.iter().map(|it| it.file).filter(|it| manifest.has(it));
    for name in TAKEN.into_iter().chain(in_backup) {
        if data_dir.join(name).exists() {
            return Err(BackupFault::Occupied {
                data_dir: data_dir.to_owned(),
                name,
            });
        }
    }
    for needed in &manifest.keys {
        let Some(key) = KEYS.iter().find(|it| it.file == needed.file) else {
            continue;
        };
        let variable = std::env::var(key.variable).ok();
        let given = (key.id)(data_dir, variable.as_deref())?;
        let is_there = match given {
            Some(id) => id == needed.id,
            None => manifest.has(key.file),
        };
        if !is_there && !without_keys {
            return Err(BackupFault::Key {
                file: key.file,
                variable: key.variable,
                id: needed.id.clone(),
                loss: key.loss,
                data_dir: data_dir.to_owned(),
            });
        }
    }
    Ok(())
}

/// Checks the data directory's files and lays them ready.
pub(super) fn lay_ready(
    data_dir: &Path,
    folder: &Path,
    manifest: &Manifest,
    without_keys: bool,
) -> Result<Ready, BackupFault> {
    let staging = data_dir.join(RESTORING);
    let failed = |path: &Path, error| BackupFault::file(path, error);
    super::create_folder(&staging).map_err(|error| failed(&staging, error))?;
    let mut ready = Ready {
        data_dir: data_dir.to_owned(),
        staging: staging.clone(),
        is_settled: false,
        journal: None,
    };
    for entry in &manifest.files {
        let Some(name) = entry.name.strip_prefix("data/") else {
            continue;
        };
        let is_secret = KEYS.iter().any(|it| it.file == name) || name.starts_with(TLS);
        if is_secret && without_keys {
            continue;
        }
        let made = create_below(&staging, name);
        let (path, mut file) = made.map_err(|error| failed(&staging.join(name), error))?;
        check(folder, entry, &mut file)?;
        file.sync_all().map_err(|error| failed(&path, error))?;
    }
    let journal = staging.join(keep::FOLDER);
    if journal.exists() {
        let opened = Journal::open(&journal, Settings::default(), &mut |_| {})?;
        ready.journal = Some(opened.report);
    }
    // The folder's own names.
    let synced = File::open(&staging).and_then(|it| it.sync_all());
    synced.map_err(|error| failed(&staging, error))?;
    Ok(ready)
}

impl Ready {
    /// Puts everything in its place.
    pub(super) fn settle(mut self) -> Result<(), BackupFault> {
        self.is_settled = true;
        let moved = || {
            for entry in fs::read_dir(&self.staging)? {
                let entry = entry?;
                fs::rename(entry.path(), self.data_dir.join(entry.file_name()))?;
            }
            File::open(&self.data_dir)?.sync_all()?;
            fs::remove_dir(&self.staging)?;
            File::open(&self.data_dir)?.sync_all()
        };
        moved().map_err(|error| BackupFault::file(&self.staging, error))
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if !self.is_settled {
            // Nothing was brought back: the place is as it was.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}
