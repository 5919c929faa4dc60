//! Why a journal could not be opened.

use std::io;

use super::disk::FolderError;

/// Why a journal could not be opened. Damage is no reason: what is damaged is set aside, and reported.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A later version of the broker wrote it.
    #[error(
        "the journal's file {file} has format {version}, and this version of cofferdam reads {newest} at most: \
         start the later version that wrote it"
    )]
    Newer {
        /// The file's name.
        file: String,
        /// Its version.
        version: u32,
        /// The newest that can be read.
        newest: u32,
    },
    /// The system refuses something.
    #[error("the journal's file {name}: cannot {what}: {source}")]
    Io {
        /// What was done.
        what: &'static str,
        /// The file's name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It never held still for a copy.
    #[error(
        "the journal could not be copied in {tries} tries, for it grows faster than it is read: try \
         again when there is less to write"
    )]
    Restless {
        /// How often it was tried.
        tries: usize,
    },
    /// The system has no randomness.
    #[error("the journal needs randomness, and the system has none: {0}")]
    Randomness(getrandom::Error),
}
