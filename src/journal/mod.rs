//! The journal: keeps the facts that shards state on disk, and gives back on start what they add up to.
//!
//! ```text
//! shard ── Commit ──▶ Journal ──▶ committer ──▶ log ──▶ disk        one thread, one write and one
//! shard ◀── Told::Committed ──────────┘          │                  sync for all that waits
//!                                                ├─ index           what is live, and where
//!                                                └─ clean           space given back
//! open ──▶ recovery ──▶ State, Recovery                             before any listener opens
//! ```
//!
//! A segmented, append-only log: [`segment`] and [`record`] say how it looks on disk, [`codec`] what
//! its records say. Nothing is rewritten in place; space is given back from the oldest segment on,
//! what lives of it is carried to the newest. `docs/decisions/journal.md` says why it is so, and what
//! it costs.
//!
//! Not here: what the facts mean (`fact`), when an acknowledgement waits for them (`broker`). A broker
//! that keeps nothing has no journal.
//!
//! Called by `cli`, which opens it, gives the shards what it held and copies it for backups, and by `net`, which hands it the
//! commits of its shards.

mod bytes;
mod clean;
mod codec;
mod committer;
pub mod disk;
mod error;
mod index;
mod log;
mod record;
mod recovery;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use committer::{Commit, Journal, THREAD, Tell, Told, Unfinished};
pub use error::JournalError;
pub use recovery::{Damage, Progress, Recovery};
pub use snapshot::{Copied, Snapshot};

use crate::fact::{Fact, KeptMessage, State};
use crate::team::Message;
use disk::{Disk, Folder};
use log::Log;
use recovery::Loaded;

/// How it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Size of one file, in bytes: 4,096 to 1 GiB. Two more are there in advance.
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
        }
    }
}

/// A journal that was read back and does not run yet.
pub struct Opened {
    /// What was kept.
    pub state: State<Arc<Message>>,
    /// What was read, and what could not be.
    pub report: Recovery,
    /// The rest of it, to be started.
    pub log: Ready,
}

/// A journal that can be started.
pub struct Ready(Log);

impl Journal {
    /// Claims the directory, makes it where it is missing, and reads back everything that it holds.
    /// `progress` hears of each file that was read.
    ///
    /// # Errors
    /// Another process has it; a later version of the broker wrote it; the system refuses something.
    /// Damage is no error: see [`Recovery`].
    pub fn open(
        dir: &Path,
        settings: Settings,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Opened, JournalError> {
        let salt = getrandom::u32().map_err(JournalError::Randomness)?;
        Self::open_on(Box::new(Folder::claim(dir)?), settings, salt, progress)
    }

    /// The same on any disk. A new journal has this salt, which no client may know.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(
        disk: Box<dyn Disk>,
        settings: Settings,
        salt: u32,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Opened, JournalError> {
        let settings = Settings {
            segment_bytes: settings.segment_bytes.clamp(4 << 10, 1 << 30),
        };
        let read = recovery::read_back(&*disk, progress)?;
        Log::remove_old_spares(&*disk).map_err(recovery::failed("tidy", "directory"))?;
        let state = read.index.state.copy(whole);
        let index = read.index.map(|it| it.place);
        let salt = read.salt.unwrap_or(salt);
        let mut log = Log::new(disk, settings, index, read.ends, salt);
        if !read.unknown.is_empty() {
            // So that they are over for the next start too, whatever is said until then.
            log.append(read.unknown.into_iter().map(Fact::Ended).collect());
        }
        Ok(Opened {
            state,
            report: read.report,
            log: Ready(log),
        })
    }
}

/// The message, as shards have it.
fn whole(kept: &KeptMessage<Loaded>) -> Arc<Message> {
    Arc::clone(&kept.message.message)
}
