//! The spool at a start: what an earlier run left is found, and cut where it is torn.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::frame::{self, HEADER_BYTES, HeaderFault, Next};
use super::{Appender, Bounds, Segment, Segments, Shared, Spool, set_aside};

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory or a file in it.
    #[error(
        "the audit spool {} cannot be used: {source}; make the folder readable and writable for \
         the user that runs cofferdam", path.display()
    )]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A segment of a newer cofferdam.
    #[error(
        "the audit spool {} is of a newer cofferdam (format {version}): start that one, and let it \
         write its records to the database", path.display()
    )]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What an earlier run left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Found {
    /// Records that are whole; the database may have some of them.
    pub(in crate::audit) records: u64,
    /// Bytes of records that were not written to their end: nobody was told that they are kept.
    pub(in crate::audit) cut_bytes: u64,
    /// Segments with damage, which was set aside.
    pub(in crate::audit) damaged: u64,
}

/// Opens the spool in `directory`, which is made where it is missing.
///
/// # Errors
/// [`SpoolError`].
pub(in crate::audit) fn open(
    directory: &Path,
    bounds: Bounds,
) -> Result<(Spool, Appender, Found), SpoolError> {
    let failed = |path: &Path, source| SpoolError::Disk {
        path: path.to_owned(),
        source,
    };
    create(directory).map_err(|error| failed(directory, error))?;
    let mut ordinals = ordinals(directory).map_err(|error| failed(directory, error))?;
    ordinals.sort_unstable();
    let mut found = Found::default();
    let mut known = VecDeque::new();
    for &ordinal in &ordinals {
        let path = super::path(directory, ordinal);
        let segment = examine(&path, ordinal, &mut found);
        match segment {
            Ok(segment) => known.extend(segment),
            Err(Examined::Disk(error)) => return Err(failed(&path, error)),
            Err(Examined::Newer(version)) => return Err(SpoolError::Newer { path, version }),
        }
    }
    let run = getrandom::u64().map_err(SpoolError::Random)? >> 1;
    let spool = Spool(Arc::new(Shared {
        directory: directory.to_owned(),
        segments: Mutex::new(Segments {
            known,
            ..Segments::default()
        }),
        grown: watch::Sender::new(()),
        freed: Condvar::new(),
    }));
    let next = ordinals.last().map_or(0, |last| last + 1);
    let run = i64::try_from(run).unwrap_or_default();
    let appender = Appender::new(spool.clone(), bounds, run, next);
    Ok((spool, appender, found))
}

enum Examined {
    Disk(io::Error),
    Newer(u32),
}

impl From<io::Error> for Examined {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Counts a segment's records and cuts what is behind the last good one. `None`: nothing was good.
fn examine(path: &Path, ordinal: u64, found: &mut Found) -> Result<Option<Segment>, Examined> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let run = match frame::run_of(&bytes) {
        Ok(run) => run,
        Err(HeaderFault::Newer(version)) => return Err(Examined::Newer(version)),
        Err(HeaderFault::NotASegment) => {
            // Killed between making the file and writing its header, or not ours at all.
            if bytes.len() > HEADER_BYTES {
                found.damaged += 1;
                set_aside(path, 0)?;
            } else {
                found.cut_bytes += bytes.len() as u64;
            }
            std::fs::remove_file(path)?;
            return Ok(None);
        }
    };
    let mut length = HEADER_BYTES;
    loop {
        match frame::next(&bytes[length..]) {
            Next::Record { length: more, .. } => {
                found.records += 1;
                length += more;
            }
            Next::End => break,
            Next::Damaged => {
                found.damaged += 1;
                tracing::error!(
                    segment = %path.display(), offset = length,
                    "the audit spool is damaged; what follows in this segment is set aside"
                );
                set_aside(path, length as u64)?;
                break;
            }
        }
    }
    if length < bytes.len() {
        found.cut_bytes += (bytes.len() - length) as u64;
        file.set_len(length as u64)?;
        file.sync_all()?;
    }
    Ok(Some(Segment {
        ordinal,
        run,
        length: length as u64,
        open: false,
    }))
}

fn create(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn ordinals(directory: &Path) -> io::Result<Vec<u64>> {
    let mut ordinals = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_segment = super::is_segment(&path);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let (true, Some(Ok(ordinal))) = (is_segment, stem.map(str::parse)) {
            ordinals.push(ordinal);
        }
    }
    Ok(ordinals)
}
