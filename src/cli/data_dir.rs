//! The data directory, which a running broker has to itself. Called by `serve` before anything is
//! read or made there; the other subcommands work beside a running broker and do without.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// What is locked. It stays behind, and means nothing without the lock on it.
const FILE: &str = "broker.lock";

/// What a restore lays ready here, until all of it is in its place.
pub(super) const RESTORING: &str = ".restoring";

/// The claim to a data directory. The system lets go of it when this is dropped or the process
/// ends, however it ends.
#[derive(Debug)]
pub(super) struct DataDir {
    _locked: File,
}

/// Why a data directory could not be claimed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataDirError {
    /// Another broker runs in it.
    #[error(
        "data_dir {} is in use by another running broker{}: stop that one, or set another data_dir",
        path.display(), named(.process)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// That broker's process id, where it is known.
        process: Option<u32>,
    },
    /// Not everything of a backup is in its place.
    #[error(
        "a restore into data_dir {} was broken off: empty it and the database, and restore again",
        path.display()
    )]
    HalfRestored {
        /// The directory.
        path: PathBuf,
    },
    /// It could not be made or written to.
    #[error("data_dir {} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory, for its owner alone, where it is missing, and claims it.
    pub(super) fn claim(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable {
            path: path.to_owned(),
            source,
        };
        create_folder(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path.join(FILE)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::InUse {
                    path: path.to_owned(),
                    process: process(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // Only for the message above: the lock is what counts.
        let written = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(unusable)?;
        if path.join(RESTORING).exists() {
            let path = path.to_owned();
            return Err(DataDirError::HalfRestored { path });
        }
        Ok(Self { _locked: file })
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn named(process: &Option<u32>) -> String {
    process.map_or_else(String::new, |id| format!(" (process {id})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_dir_is_one_brokers_until_it_lets_go() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new/data");
        let first = DataDir::claim(&path).expect("free");
        let own = std::process::id();
        let refused = DataDir::claim(&path).expect_err("taken");
        assert_eq!(
            refused.to_string(),
            format!(
                "data_dir {} is in use by another running broker (process {own}): stop that one, \
                 or set another data_dir",
                path.display()
            )
        );
        drop(first);
        DataDir::claim(&path).expect("free again");
    }

    #[test]
    fn a_data_dir_that_is_a_file_is_named() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("file");
        std::fs::write(&path, "").expect("a file");
        let refused = DataDir::claim(&path).expect_err("no directory").to_string();
        assert!(refused.starts_with(&format!("data_dir {} cannot be used: ", path.display())));
    }
}
