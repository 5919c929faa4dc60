//! What the journal stands on: a folder of files, and no more of it than the journal uses.
//!
//! [`Folder`] is a real one. [`Memory`] is one for tests and simulations, in which power fails, space
//! runs out and syncs fail as a seed says.

mod folder;
mod memory;

use std::io;

pub use folder::{Folder, FolderError};
pub use memory::Memory;

/// A folder. What is done to its names is sure to outlive a crash only after
/// [`sync_names`](Self::sync_names); without it, any beginning of it may.
pub trait Disk: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// An empty file, in the place of one of that name, which has room for `bytes` bytes: as long as
    /// no more are written, there is no lack of space. It reads as zeros.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` where there is no room; otherwise as the system says.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in the place of one of that name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes sure of all names.
    ///
    /// # Errors
    /// As the system says.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file.
pub trait DiskFile: Send {
    /// Its length in bytes, preallocated space included.
    ///
    /// # Errors
    /// As the system says.
    fn length(&self) -> io::Result<u64>;

    /// Reads as much as there is from `offset` on, into the beginning of `into`; how much that was.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`. Where it fails, a part may have been written.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes sure of all that was written. Where it fails, nothing is known of what was written since
    /// the last that did not, and a later one makes sure of none of it.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&self) -> io::Result<()>;

    /// Cuts it, or gives back its preallocated space.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
